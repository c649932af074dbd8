//! `check`: everything that would keep the agent from working, at once.

mod board;

use std::{io, path::PathBuf, time::Duration};

use clap::Args;
use daywise_core::time::UtcMillis;
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    clock,
    config::{AgentConfig, BrokerUrl},
    http,
    slots::Slots,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A clock before this was never set: 2026-01-01, before this build.
const BUILT_AFTER: UtcMillis = UtcMillis(1_767_225_600_000);
/// Less free space than this and the store may not last a week.
const FREE_BYTES: u64 = 256 << 20;

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The agent's config file.
    #[arg(long)]
    pub config: PathBuf,
    /// Hold machine, program and running agent against a board's budgets, too: the config's, or
    /// the one that is named here.
    #[arg(long, value_name = "BOARD", num_args = 0..=1)]
    pub board: Option<Option<String>>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Why the check did not pass.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Something would keep the agent from working.
    #[error("{0} of the checks failed")]
    Failed(usize),
}

/// Checks everything and prints one line each.
///
/// # Errors
/// How many of the checks failed.
pub async fn run(args: &CheckArgs, config: &AgentConfig) -> Result<(), CheckError> {
    let mut results = vec![
        ("config", Ok("no problems".to_owned())),
        ("clock", check_clock(config)),
        ("disk", check_disk(config)),
        ("store", check_store(config)),
        ("sensor broker", check_broker(&config.mqtt.url).await),
    ];
    if let Some(sync) = &config.sync {
        results.push(("sync broker", check_broker(&sync.url).await));
    }
    match &args.board {
        None => results.push(("board", board::check_config(config))),
        Some(named) => {
            results.extend(board::check_all(config, named.as_ref().unwrap_or(&config.board)));
        }
    }
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    for (what, result) in &results {
        match result {
            Ok(message) => eprintln!("ok    {what}: {message}"),
            Err(message) => eprintln!("FAIL  {what}: {message}"),
        }
    }
    if args.json {
        let entry = |(what, result): &(&str, Result<String, String>)| {
            let message = result.as_ref().unwrap_or_else(|message| message);
            json!({ "check": what, "ok": result.is_ok(), "message": message })
        };
        println!(
            "{}",
            json!({ "failed": failed, "checks": results.iter().map(entry).collect::<Vec<_>>() })
        );
    }
    if failed == 0 { Ok(()) } else { Err(CheckError::Failed(failed)) }
}

fn check_clock(config: &AgentConfig) -> Result<String, String> {
    if config.clock.source == crate::config::ClockSource::Topic {
        return Ok(format!("ticks on {}", config.clock.topic));
    }
    let now = clock::system_now();
    if now < BUILT_AFTER {
        Err(format!("{now} is before this build: the clock is not set"))
    } else {
        Ok(now.to_string())
    }
}

fn check_disk(config: &AgentConfig) -> Result<String, String> {
    let path = &config.state_dir;
    let in_words = |error: io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(path).map_err(in_words)?;
    let probe = path.join(".writable");
    std::fs::write(&probe, b"probe")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(in_words)?;
    let space = rustix::fs::statvfs(path).map_err(|error| in_words(error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let message = format!("{} MB free at {}", free >> 20, path.display());
    if free < FREE_BYTES { Err(message) } else { Ok(message) }
}

fn check_store(config: &AgentConfig) -> Result<String, String> {
    if http::ask_running(&config.state_dir).is_some() {
        return Ok("in use by the running agent".into());
    }
    let store = crate::run::open_store(config)
        .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))?;
    let slots = Slots::open(&config.state_dir).map_err(|error| error.to_string())?;
    let version = slots.active_ref().map(|model| model.version);
    let model =
        version.map_or("no model yet".to_owned(), |version| format!("model version {version}"));
    Ok(format!("{} entries in the outbox, {model}", store.stats().outbox_entries))
}

async fn check_broker(url: &BrokerUrl) -> Result<String, String> {
    let connect = TcpStream::connect((url.host.trim_matches(['[', ']']), url.port));
    match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(Ok(_)) => Ok(format!("{url} answers")),
        Ok(Err(error)) => Err(format!("{url}: {error}")),
        Err(_) => Err(format!("{url}: no answer within {CONNECT_TIMEOUT:?}")),
    }
}
