//! `inspect`: lists what a stopped agent's store holds, one JSON object a line.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::PathBuf,
};

use clap::{Args, Subcommand};
use daywise_core::{
    features::Features,
    reading::{Sample, SensorIx},
    time::LocalDate,
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
    /// Every computed sensor-day that is kept, by day and sensor, with features and prediction.
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

/// The sensors' ids by their numbers.
struct Ids(BTreeMap<SensorIx, String>);

impl Ids {
    fn of(store: &Store) -> Result<Self, InspectError> {
        let sensors = store.sensors().map_err(InspectError::Read)?;
        Ok(Self(sensors.into_iter().map(|sensor| (sensor.ix, sensor.id)).collect()))
    }

    /// The sensor's id; its number where its record was damaged.
    fn name(&self, sensor: SensorIx) -> Value {
        self.0.get(&sensor).map_or_else(|| json!(sensor.0), |id| json!(id))
    }
}

fn list_days(store: &Store, out: &mut impl Write) -> Result<(), InspectError> {
    let ids = Ids::of(store)?;
    let mut printed = Ok(());
    let read = store.day_records(&mut |date, sensor, record| {
        printed = print(
            out,
            &json!({
                "sensor": ids.name(sensor),
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
            }),
        );
        while_fine(&printed)
    });
    read.map_err(InspectError::Read).and(printed)
}

fn named(features: &Features) -> Map<String, Value> {
    let names = features.set().feature_names().iter();
    names.zip(features.iter()).map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

fn list_open_days(store: &Store, out: &mut impl Write) -> Result<(), InspectError> {
    let dates = store.open_days().into_iter().map(|day| day.date);
    each_chunk(store, dates, |date, sensor, samples| {
        print(out, &json!({ "day": date, "sensor": sensor, "samples": samples.len() }))
    })
}

fn list_samples(store: &Store, out: &mut impl Write) -> Result<(), InspectError> {
    each_chunk(store, store.dates(), |date, sensor, samples| {
        let (times, values): (Vec<i64>, Vec<f64>) =
            samples.iter().map(|sample| (sample.at.0, sample.value)).unzip();
        print(out, &json!({ "day": date, "sensor": sensor, "ts": times, "values": values }))
    })
}

/// Shows the samples of each sensor on each of those days, but for days without any.
fn each_chunk(
    store: &Store,
    dates: impl IntoIterator<Item = LocalDate>,
    mut show: impl FnMut(&str, Value, &[Sample]) -> Result<(), InspectError>,
) -> Result<(), InspectError> {
    let ids = Ids::of(store)?;
    for date in dates {
        let (day, mut shown) = (date.to_string(), Ok(()));
        let read = store.chunks(date, &mut |sensor, samples| {
            if !samples.is_empty() {
                shown = show(&day, ids.name(sensor), &samples);
            }
            while_fine(&shown)
        });
        read.map_err(InspectError::Read).and(shown)?;
    }
    Ok(())
}

fn while_fine(result: &Result<(), InspectError>) -> ControlFlow<()> {
    if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
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
