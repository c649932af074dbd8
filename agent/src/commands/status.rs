//! `status`: what the agent holds and counts, from the running agent or from its store.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    config::AgentConfig,
    http,
    run::RunError,
    slots::{Slots, SlotsError},
};

/// Arguments of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// The agent's config file.
    #[arg(long)]
    pub config: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No agent answers and its store cannot be opened.
    #[error("no agent answers, and its store cannot be read")]
    Store(#[source] RunError),
    /// The slots cannot be read.
    #[error("the model slots cannot be read")]
    Slots(#[source] SlotsError),
}

/// Prints the status.
///
/// # Errors
/// The store or the slots cannot be read.
pub fn run(args: &StatusArgs, config: &AgentConfig) -> Result<(), StatusError> {
    let document = match http::ask_running(&config.state_dir) {
        Some(document) => document,
        None => stored(config)?,
    };
    if args.json {
        println!("{document}");
    } else {
        print(&document, "");
    }
    Ok(())
}

/// What a stopped agent's state directory says.
fn stored(config: &AgentConfig) -> Result<Value, StatusError> {
    let store = crate::run::open_store(config).map_err(StatusError::Store)?;
    let slots = Slots::open(&config.state_dir).map_err(StatusError::Slots)?;
    let stats = store.stats();
    let count =
        |outcome: Result<usize, _>| outcome.map_err(RunError::Store).map_err(StatusError::Store);
    Ok(json!({
        "gateway": config.gateway,
        "board": config.board,
        "version": env!("CARGO_PKG_VERSION"),
        "running": false,
        "sensors": count(store.sensors().map(|sensors| sensors.len()))?,
        "open_days": store.open_days().len(),
        "outbox": stats.outbox_entries,
        "outbox_evicted": stats.outbox_evicted,
        "damaged_records": stats.damaged,
        "model": slots.active_ref().map(|model| json!({ "version": model.version, "digest": model.digest.to_string() })),
        "spare_model": slots.spare_ref().map(|model| json!({ "version": model.version, "digest": model.digest.to_string() })),
        "store_kb": stats.bytes_on_disk / 1_024,
    }))
}

/// One `name: value` line each, nested names joined by a dot.
fn print(document: &Value, prefix: &str) {
    let Some(fields) = document.as_object() else { return };
    let sorted: BTreeMap<_, _> = fields.iter().collect();
    for (name, value) in sorted {
        if value.is_object() {
            print(value, &format!("{prefix}{name}."));
        } else {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            println!("{prefix}{name}: {text}");
        }
    }
}
