//! The end-to-end tests' harness: real processes in temporary directories, with fault switches.
//!
//! Everything listens on free ports of loopback, is killed when it goes out of scope, and keeps
//! its log, whose end is printed when a test fails. Nothing here knows the insides of agent and
//! server: only their commands, files, topics and HTTP answers.
//!
//! A harness fails by panicking, at the caller's line wherever that helps.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is test code: a surprise is to end the test where it happens"
)]

pub mod agent;
pub mod command;
pub mod days;
pub mod fake_time;
pub mod frames;
pub mod http;
pub mod image;
pub mod mosquitto;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod python;
pub mod readings;
pub mod scratch;
pub mod server;
pub mod site;
pub mod small_disk;
pub mod subscriber;
pub mod systemd;
pub mod tap;
pub mod wait;

pub use agent::{Agent, AgentClock, AgentSettings};
pub use days::{Day, Days};
pub use mosquitto::Mosquitto;
pub use publisher::Publisher;
pub use python::Python;
pub use readings::{Random, Reading};
pub use scratch::Scratch;
pub use server::Server;
pub use site::{Broker, Site};
pub use small_disk::SmallDisk;
pub use subscriber::Subscriber;
pub use wait::{LONG, SHORT, wait_for, wait_until};
