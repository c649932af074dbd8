//! Logs: to stderr, one line each, filtered by `DAYWISE_LOG`.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging. `DAYWISE_LOG` takes filters such as `debug` or `daywise_agent=trace`;
/// `DAYWISE_LOG_FORMAT=json` makes each line a JSON object.
pub fn start() {
    let filter = EnvFilter::try_from_env("DAYWISE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,rumqttc=warn,sled=warn"));
    let logs = fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false);
    let json = std::env::var("DAYWISE_LOG_FORMAT").is_ok_and(|format| format == "json");
    // Fails only if logging was started before, and then there is nothing to do.
    let started =
        if json { logs.json().try_init().is_ok() } else { logs.compact().try_init().is_ok() };
    if !started {
        tracing::debug!("logging was started before");
    }
}
