//! `inspect`: lists what a stopped agent's store holds, one JSON object a line.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use daywise_core::{
    features::Features,
    wire::{Entry, Item},
};
use serde_json::{Map, Value, json};

use crate::{
    config::AgentConfig,
    run::RunError,
    store::{SensorRecord, Store, StoreError},
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
    /// Every reading that is kept, by day and sensor, in the order they arrived: times in epoch
    /// milliseconds, and values.
    Samples,
    /// Every entry that waits for the server.
    Outbox,
}

/// Entries read from the outbox at a time.
const OUTBOX_BYTES: usize = 256 * 1_024;

/// Why nothing can be listed.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The store cannot be opened; perhaps the agent is running.
    #[error("cannot open the store; stop the agent first, or use `status`")]
    Open(#[source] RunError),
    /// The store cannot be read.
    #[error("cannot read the store")]
    Read(#[source] StoreError),
    /// The list cannot be printed.
    #[error("cannot write to the standard output")]
    Print(#[source] io::Error),
}

/// Lists to standard output.
///
/// # Errors
/// The store cannot be read, or nobody reads the output.
pub fn run(args: &InspectArgs, config: &AgentConfig) -> Result<(), InspectError> {
    let store = crate::run::open_store(config).map_err(InspectError::Open)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match args.what {
        What::Sensors => list_sensors(&store, &mut out),
        What::Days => list_days(&store, &mut out),
        What::OpenDays => list_open_days(&store, &mut out),
        What::Samples => list_samples(&store, &mut out),
        What::Outbox => list_outbox(&store, &mut out),
    }?;
    out.flush().map_err(InspectError::Print)
}

fn print(out: &mut impl Write, line: &Value) -> Result<(), InspectError> {
    writeln!(out, "{line}").map_err(InspectError::Print)
}

fn list_sensors(store: &Store, out: &mut impl Write) -> Result<(), InspectError> {
    for SensorRecord { ix, id, quantity } in store.sensors().map_err(InspectError::Read)? {
        print(out, &json!({ "number": ix.0, "sensor": id, "quantity": quantity }))?;
    }
    Ok(())
}

fn list_days(store: &Store, out: &mut impl Write) -> Result<(), InspectError> {
    for sensor in store.sensors().map_err(InspectError::Read)? {
        for (date, record) in store.days_of(sensor.ix).map_err(InspectError::Read)? {
            let line = json!({
                "sensor": sensor.id,
                "day": date.to_string(),
                "revision": record.revision,
                "samples": record.samples,
                "coverage": record.coverage,
                "features": record.features.as_ref().map(named),
                "prediction": record.prediction,
                "deviation": record.deviation,
                "score": record.score,
                "reasons": record.reasons,
                "drift": record.drift,
            });
            print(out, &line)?;
        }
    }
    Ok(())
}

fn named(features: &Features) -> Map<String, Value> {
    let names = features.set().feature_names().iter();
    names.zip(features.iter()).map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

fn list_open_days(store: &Store, out: &mut impl Write) -> Result<(), InspectError> {
    let sensors = store.sensors().map_err(InspectError::Read)?;
    for day in store.open_days() {
        for sensor in &sensors {
            let samples = store.chunk(day.date, sensor.ix).map_err(InspectError::Read)?.len();
            if samples > 0 {
                let date = day.date.to_string();
                print(out, &json!({ "day": date, "sensor": sensor.id, "samples": samples }))?;
            }
        }
    }
    Ok(())
}

fn list_samples(store: &Store, out: &mut impl Write) -> Result<(), InspectError> {
    let sensors = store.sensors().map_err(InspectError::Read)?;
    for date in store.dates() {
        for sensor in &sensors {
            let samples = store.chunk(date, sensor.ix).map_err(InspectError::Read)?;
            if !samples.is_empty() {
                let (times, values): (Vec<i64>, Vec<f64>) =
                    samples.iter().map(|sample| (sample.at.0, sample.value)).unzip();
                let date = date.to_string();
                let line =
                    json!({ "day": date, "sensor": sensor.id, "ts": times, "values": values });
                print(out, &line)?;
            }
        }
    }
    Ok(())
}

fn list_outbox(store: &Store, out: &mut impl Write) -> Result<(), InspectError> {
    let mut next = store.outbox_floor();
    loop {
        let entries = store.outbox_batch(next, OUTBOX_BYTES).map_err(InspectError::Read)?;
        let Some(last) = entries.last() else { return Ok(()) };
        next = last.seq + 1;
        for Entry { seq, item } in &entries {
            let line = match item {
                Item::Day(day) => {
                    let (date, revision) = (day.date.to_string(), day.revision);
                    json!({ "seq": seq, "sensor": day.sensor, "day": date, "revision": revision })
                }
                Item::Silence(silence) => {
                    let until = silence.until.map(|until| until.to_string());
                    let since = silence.since.to_string();
                    json!({ "seq": seq, "sensor": silence.sensor, "silent_since": since, "until": until })
                }
            };
            print(out, &line)?;
        }
    }
}
