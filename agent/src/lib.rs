//! Daywise's edge agent: readings over MQTT in, day features, predictions and sync out.
//!
//! [`run`] is the one place that knows every module. Entry points are in `main.rs`.

pub mod backoff;
pub mod board;
pub mod calendar;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod commit_policy;
pub mod config;
pub mod csv_input;
pub mod figures;
pub mod flash;
pub mod health;
pub mod home_assistant;
pub mod http;
mod intake;
pub mod logging;
pub mod metrics;
pub mod mqtt;
pub mod owner;
pub mod pipeline;
mod run;
pub mod seen;
pub mod site_days;
pub mod slots;
pub mod store;
pub mod sync;
pub mod watchdog;

pub use run::{RunError, run};
