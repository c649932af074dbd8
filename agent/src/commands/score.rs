//! `score`: readings in a CSV file through the streaming path, in the order of their times: what
//! the running agent would have said at each reading, and of each day when it closed.
//!
//! Nothing that is written depends on later readings. A day closes with the first reading of a
//! later day, of whichever sensor; the file's end closes the rest. All readings are held in memory,
//! 24 bytes each, because a file may list its sensors in any order.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use daywise_core::{
    baseline::Baseline,
    chunk::Chunk,
    collect::{Collector, Limits},
    day::ClosedDay,
    features::FeatureSet,
    model::Model,
    quantity::Quantity,
    reading::{Reading, Sample, SensorIx, check_value},
    time::{LocalDay, UtcMillis},
};
use serde::Serialize;

use super::{CommandError, output::Output, parse_quantity, predict::read_model, report};
use crate::{
    calendar::Calendar,
    csv_input::{CsvReadings, FileSensors, RefusedRows, Shown},
};

const READING_COLUMNS: [&str; 4] = ["ts", "sensor_id", "value", "score"];
const DAY_COLUMNS: [&str; 6] = ["sensor_id", "day", "cluster", "novelty", "drift", "score"];

/// In the order of their times no reading is late, and a file bounds itself.
const LIMITS: Limits = Limits {
    grace_ms: 0,
    retention_ms: i64::MAX,
    max_future_ms: 0,
    settle_ms: 0,
    max_sensors: 1 << 20,
    max_samples_per_day: u32::MAX,
};

/// Scores every reading, and every day, as the running agent would have done.
#[derive(Clone, Debug, clap::Args)]
pub struct ScoreArgs {
    /// Readings: .csv, .csv.gz, or - for the standard input
    #[arg(long, value_name = "FILE")]
    pub csv: PathBuf,
    /// The site's time zone, an IANA name or a fixed offset such as +01:00
    #[arg(long, value_name = "TZ")]
    pub timezone: Calendar,
    /// A model, for the clusters of days and their novelty
    #[arg(long, value_name = "FILE.dwm")]
    pub model: Option<PathBuf>,
    /// The feature set: moments or profile
    #[arg(long, default_value = "profile")]
    pub set: FeatureSet,
    /// What all sensors measure; else told by the last part of each sensor's id
    #[arg(long, value_name = "QUANTITY", value_parser = parse_quantity)]
    pub quantity: Option<Quantity>,
    /// Where the readings with their scores go: .csv, .csv.gz, or - for the standard output
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
    /// Where the closed days with their scores go
    #[arg(long, value_name = "FILE.csv")]
    pub days: Option<PathBuf>,
    /// Print the result as JSON, as the last line of the standard output
    #[arg(long)]
    pub json: bool,
}

/// What became of the rows: `rows` = `readings` + those refused.
#[derive(Debug, Serialize)]
pub struct ScoreSummary {
    /// Rows in the file.
    pub rows: u64,
    /// Rows accepted, each with a score.
    pub readings: u64,
    /// Rows left out, by reason.
    pub refused: RefusedRows,
    /// Sensors with at least one accepted row.
    pub sensors: usize,
    /// Sensor-days that were closed and could be described.
    pub sensor_days: u64,
    /// Of these, the ones that drift.
    pub drifting: u64,
}

impl fmt::Display for ScoreSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, readings, sensors, sensor_days, drifting, .. } = self;
        write!(f, "{readings} of {rows} readings of {sensors} sensors scored, ")?;
        write!(f, "{sensor_days} sensor-days, {drifting} with a drift")?;
        if self.refused.total() > 0 {
            write!(f, "; refused: {}", self.refused)?;
        }
        Ok(())
    }
}

/// Runs the command and reports.
///
/// # Errors
/// The input or the model cannot be used, or an output cannot be written.
pub fn run(args: &ScoreArgs) -> Result<ScoreSummary, CommandError> {
    let model = args.model.as_deref().map(read_model).transpose()?.map(|(model, _)| model);
    let recording = Recording::read(args)?;
    let mut replay = Replay::new(args, model, recording.sensors)?;
    let mut refused = recording.refused;
    for row in recording.rows {
        if let Err(reason) = replay.reading(row)? {
            refused.count(reason.name(), 1);
        }
    }
    let summary = replay.finish(recording.count, refused)?;
    report(&summary, args.json)?;
    Ok(summary)
}

/// A row: when, which sensor, what.
#[derive(Clone, Copy)]
struct Row {
    at: UtcMillis,
    sensor: SensorIx,
    value: f64,
}

/// A file's readings in the order of their times; of one time in that of the file.
struct Recording {
    rows: Vec<Row>,
    sensors: Vec<(String, Quantity)>,
    count: u64,
    refused: RefusedRows,
}

impl Recording {
    fn read(args: &ScoreArgs) -> Result<Self, CommandError> {
        let readings = CsvReadings::open(&args.csv, args.timezone.clone());
        let mut readings = readings.map_err(CommandError::Input)?;
        let (mut rows, mut sensors) = (Vec::new(), FileSensors::new(args.quantity));
        while let Some(row) = readings.next_row().map_err(CommandError::Input)? {
            let (line, at, value) = (row.line, row.at, row.value);
            let (sensor, quantity) = sensors.of(row.sensor);
            match check_value(quantity, value) {
                Ok(()) => rows.push(Row { at, sensor, value }),
                Err(reason) => readings.refuse(line, reason, Shown(&value.to_string())),
            }
        }
        let (count, refused) = readings.finish().map_err(CommandError::Input)?;
        // Stable, so that of several values for an instant the first in the file counts.
        rows.sort_by_key(|row| row.at);
        Ok(Self { rows, sensors: sensors.into_all(), count, refused })
    }
}

/// The streaming path, fed from a recording.
struct Replay {
    calendar: Calendar,
    collector: Collector,
    sensors: Vec<(String, Quantity)>,
    set: FeatureSet,
    model: Option<Model>,
    /// The open day's samples.
    open: BTreeMap<SensorIx, Vec<Sample>>,
    readings_out: Output,
    days_out: Option<Output>,
    readings: u64,
    sensor_days: u64,
    drifting: u64,
}

impl Replay {
    fn new(
        args: &ScoreArgs,
        model: Option<Model>,
        sensors: Vec<(String, Quantity)>,
    ) -> Result<Self, CommandError> {
        let mut collector = Collector::new(LIMITS);
        for (number, (_, quantity)) in (0..).zip(&sensors) {
            collector.restore_sensor(Baseline::default());
            collector.measures(SensorIx(number), *quantity);
        }
        let mut readings_out = Output::create(&args.out)?;
        readings_out.row(READING_COLUMNS)?;
        let mut days_out = args.days.as_deref().map(Output::create).transpose()?;
        if let Some(output) = &mut days_out {
            output.row(DAY_COLUMNS)?;
        }
        Ok(Self {
            calendar: args.timezone.clone(),
            collector,
            sensors,
            set: args.set,
            model,
            open: BTreeMap::new(),
            readings_out,
            days_out,
            readings: 0,
            sensor_days: 0,
            drifting: 0,
        })
    }

    /// Takes the next reading, and closes the days that it ends.
    fn reading(
        &mut self,
        row: Row,
    ) -> Result<Result<(), daywise_core::reading::Refusal>, CommandError> {
        let Row { at, sensor, value } = row;
        while let Some(day) = self.collector.poll_closed(at) {
            self.close(day)?;
        }
        let day = self.calendar.day_of(at);
        let reading = Reading { sensor, sample: Sample { at, value } };
        if let Err(reason) = self.collector.judge(at, &day, &reading) {
            return Ok(Err(reason));
        }
        self.collector.accept(at, &day, reading);
        self.open.entry(sensor).or_default().push(reading.sample);
        self.readings += 1;
        // Before anything is known nothing is strange.
        let score = self.collector.sensor(sensor).and_then(|state| state.live_score).unwrap_or(0.0);
        let id = self.sensors.get(sensor.place()).map_or("", |(id, _)| id.as_str());
        let (at, value, score) = (at.to_string(), value.to_string(), score.to_string());
        self.readings_out.row([at.as_str(), id, &value, &score])?;
        Ok(Ok(()))
    }

    fn close(&mut self, day: LocalDay) -> Result<(), CommandError> {
        for (sensor, samples) in std::mem::take(&mut self.open) {
            let Some((id, quantity)) = self.sensors.get(sensor.place()) else { continue };
            let Some(state) = self.collector.sensor(sensor) else { continue };
            let mut baseline = state.baseline.clone();
            let chunk = Chunk::new(day, samples).learnt_as(*quantity);
            let Ok(features) = self.set.extract(&chunk) else { continue };
            let model = self.model.as_ref();
            let closed = ClosedDay::new(&chunk, features, *quantity, &mut baseline, model);
            self.sensor_days += 1;
            let drift = closed.verdict.as_ref().and_then(|verdict| verdict.drift);
            let drift = drift.map_or(0.0, |drift| drift.drift);
            self.drifting += u64::from(drift >= 1.0);
            if let Some(output) = &mut self.days_out {
                let prediction = closed.prediction.as_ref();
                let text = |value: Option<f32>| value.map_or(String::new(), |v| v.to_string());
                output.row([
                    id.clone(),
                    day.date.to_string(),
                    prediction.map_or(String::new(), |prediction| prediction.cluster.to_string()),
                    text(prediction.map(|prediction| prediction.novelty)),
                    drift.to_string(),
                    closed.score.unwrap_or(0.0).to_string(),
                ])?;
            }
            self.collector.teach(sensor, baseline);
        }
        self.collector.closed(day.date);
        Ok(())
    }

    fn finish(mut self, rows: u64, refused: RefusedRows) -> Result<ScoreSummary, CommandError> {
        while let Some(day) = self.collector.poll_closed(UtcMillis(i64::MAX)) {
            self.close(day)?;
        }
        let states = (0..).map(SensorIx).map_while(|sensor| self.collector.sensor(sensor));
        let sensors = states.filter(|state| state.last.is_some()).count();
        self.readings_out.finish()?;
        self.days_out.map(Output::finish).transpose()?;
        Ok(ScoreSummary {
            rows,
            readings: self.readings,
            refused,
            sensors,
            sensor_days: self.sensor_days,
            drifting: self.drifting,
        })
    }
}
