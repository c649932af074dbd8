//! End-to-end tests: real binaries, real brokers, faults. Needs `daywise-agent`,
//! `daywise-server` and mosquitto, and for one test a `python3` that can make virtual environments
//! and reaches PyPI; see the harness in `tests/src/`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is test code: a surprise is to end the test where it happens"
)]

mod bad_input;
mod broker_restart;
mod clock;
mod commands;
mod dirty_stream;
mod disk_trouble;
mod drain;
mod formats;
mod heritage;
mod home_assistant;
mod killed_agent;
mod late_readings;
mod model_update;
mod protocol;
mod real_encoders;
mod server_away;
mod silence;
mod sniff;
mod watchdog;
mod whole_loop;
