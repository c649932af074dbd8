//! `inspect`: lists what a stopped agent's store holds, one JSON object a line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    config::{AgentConfig, ConfigError},
    run::RunError,
    store::StoreError,
};

/// Arguments of `inspect`.
#[derive(Clone, Debug, Args)]
pub struct InspectArgs {
    /// The agent's config file.
    #[arg(long, global = true, default_value = "/etc/daywise/agent.toml")]
    pub config: PathBuf,
    /// What to list.
    #[command(subcommand)]
    pub what: What,
}

/// What `inspect` can list.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum What {
    /// Every sensor with its number and quantity.
    Sensors,
    /// Every computed sensor-day that is kept, with features and prediction.
    Days,
    /// Every open day, with the samples of each sensor so far.
    OpenDays,
    /// Every entry that waits for the server.
    Outbox,
}

/// Entries read from the outbox at a time.
const OUTBOX_BYTES: usize = 256 * 1_024;

/// Why nothing can be listed.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The config cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be opened; perhaps the agent is running.
    #[error("cannot open the store; stop the agent first, or use `status`")]
    Open(#[source] RunError),
    /// The store cannot be read.
    #[error("cannot read the store")]
    Read(#[source] StoreError),
}

/// Lists to standard output.
///
/// # Errors
/// The config or the store cannot be read.
pub fn run(args: &InspectArgs) -> Result<(), InspectError> {
    let config = AgentConfig::load(&args.config)?;
    let store = crate::run::open_store(&config).map_err(InspectError::Open)?;
    let sensors = store.sensors().map_err(InspectError::Read)?;
    match args.what {
        What::Sensors => {
            for sensor in sensors {
                println!(
                    "{}",
                    json!({ "number": sensor.ix.0, "sensor": sensor.id, "quantity": sensor.quantity })
                );
            }
        }
        What::Days => {
            for sensor in sensors {
                for (date, record) in store.days_of(sensor.ix).map_err(InspectError::Read)? {
                    let features = record.features.as_ref().map(|features| {
                        let names = features.set().feature_names().iter();
                        let named = names
                            .zip(features.iter())
                            .map(|(name, value)| ((*name).to_owned(), json!(value)));
                        named.collect::<serde_json::Map<_, _>>()
                    });
                    println!(
                        "{}",
                        json!({
                            "sensor": sensor.id, "day": date.to_string(), "revision": record.revision,
                            "samples": record.samples, "coverage": record.coverage, "features": features,
                            "prediction": record.prediction, "deviation": record.deviation,
                        })
                    );
                }
            }
        }
        What::OpenDays => {
            for day in store.open_days() {
                for sensor in &sensors {
                    let samples = store.chunk(day.date, sensor.ix).map_err(InspectError::Read)?;
                    if !samples.is_empty() {
                        println!(
                            "{}",
                            json!({ "day": day.date.to_string(), "sensor": sensor.id, "samples": samples.len() })
                        );
                    }
                }
            }
        }
        What::Outbox => {
            let mut next = store.outbox_floor();
            loop {
                let entries = store.outbox_batch(next, OUTBOX_BYTES).map_err(InspectError::Read)?;
                let Some(last) = entries.last() else { break };
                next = last.seq + 1;
                for entry in &entries {
                    println!(
                        "{}",
                        json!({ "seq": entry.seq, "sensor": entry.day.sensor, "day": entry.day.date.to_string(), "revision": entry.day.revision })
                    );
                }
            }
        }
    }
    Ok(())
}
