//! `features`: readings in a CSV file to one row of features per sensor and local day.
//!
//! Rows come out by sensor, then day. All samples are held in memory, 16 bytes each, because
//! a file may list its sensors and days in any order.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use daywise_core::{
    chunk::Chunk,
    decode::feature_row::LEADING_COLUMNS,
    features::FeatureSet,
    quantity::Quantity,
    reading::{Refusal, Sample, check_value},
    time::LocalDate,
};
use serde::Serialize;

use super::{CommandError, output::Output, parse_quantity, report};
use crate::{
    calendar::Calendar,
    csv_input::{CsvReadings, FileSensors, RefusedRows, Shown},
};

/// A batch describes each day once; only the running agent revises.
const REVISION: u32 = 1;

/// Describes each sensor's each local day by its features.
#[derive(Clone, Debug, clap::Args)]
pub struct FeaturesArgs {
    /// Readings: .csv, .csv.gz, or - for the standard input
    #[arg(long, value_name = "FILE")]
    pub csv: PathBuf,
    /// The site's time zone, an IANA name or a fixed offset such as +01:00
    #[arg(long, value_name = "TZ")]
    pub timezone: Calendar,
    /// The feature set: moments or profile
    #[arg(long, default_value = "profile")]
    pub set: FeatureSet,
    /// What all sensors measure; else told by the last part of each sensor's id
    #[arg(long, value_name = "QUANTITY", value_parser = parse_quantity)]
    pub quantity: Option<Quantity>,
    /// Where the features go: .csv, .csv.gz, or - for the standard output
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Print the result as JSON, as the last line of the standard output
    #[arg(long)]
    pub json: bool,
}

/// What became of the rows: `rows` = `samples` + `samples_in_short_days` + those refused.
#[derive(Debug, Serialize)]
pub struct FeaturesSummary {
    /// Rows in the file.
    pub rows: u64,
    /// Samples that the features were computed from.
    pub samples: u64,
    /// Rows left out, by reason; `duplicate` among them.
    pub refused: RefusedRows,
    /// Sensors with at least one accepted row.
    pub sensors: usize,
    /// Rows written.
    pub sensor_days: u64,
    /// Sensor-days left out because one sample is too few.
    pub short_days: u64,
    /// The samples in them.
    pub samples_in_short_days: u64,
    /// The feature set.
    pub set: FeatureSet,
}

impl fmt::Display for FeaturesSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, samples, sensors, sensor_days, short_days, set, .. } = self;
        write!(
            f,
            "{sensor_days} sensor-days ({set}) of {sensors} sensors from {samples} of {rows} rows"
        )?;
        if self.refused.total() > 0 {
            write!(f, "; refused: {}", self.refused)?;
        }
        if *short_days > 0 {
            write!(f, "; days left out for having a single reading: {short_days}")?;
        }
        Ok(())
    }
}

/// Runs the command and reports.
///
/// # Errors
/// The input cannot be used, no day can be described, or the output cannot be written.
pub fn run(args: &FeaturesArgs) -> Result<FeaturesSummary, CommandError> {
    let readings =
        CsvReadings::open(&args.csv, args.timezone.clone()).map_err(CommandError::Input)?;
    let (days, rows, refused) = collect(readings, args.quantity)?;
    let summary = write(days, rows, refused, args)?;
    report(&summary, args.json)?;
    Ok(summary)
}

/// One sensor's samples by local day, in the order they were read.
struct SensorDays {
    id: String,
    quantity: Quantity,
    days: BTreeMap<LocalDate, Vec<Sample>>,
}

fn collect(
    mut readings: CsvReadings,
    quantity: Option<Quantity>,
) -> Result<(Vec<SensorDays>, u64, RefusedRows), CommandError> {
    let mut sensors = FileSensors::new(quantity);
    let mut days: Vec<BTreeMap<LocalDate, Vec<Sample>>> = Vec::new();
    let mut calendar = readings.calendar().clone();
    while let Some(row) = readings.next_row().map_err(CommandError::Input)? {
        let (line, at, value) = (row.line, row.at, row.value);
        let (sensor, quantity) = sensors.of(row.sensor);
        if let Err(reason) = check_value(quantity, value) {
            readings.refuse(line, reason, Shown(&value.to_string()));
            continue;
        }
        if days.len() <= sensor.place() {
            days.resize_with(sensor.place() + 1, BTreeMap::new);
        }
        let date = calendar.day_of(at).date;
        if let Some(days) = days.get_mut(sensor.place()) {
            days.entry(date).or_default().push(Sample { at, value });
        }
    }
    let (rows, refused) = readings.finish().map_err(CommandError::Input)?;
    let all = sensors.into_all().into_iter().zip(days);
    let mut all: Vec<SensorDays> = all
        .filter(|(_, days)| !days.is_empty())
        .map(|((id, quantity), days)| SensorDays { id, quantity, days })
        .collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    Ok((all, rows, refused))
}

fn write(
    sensors: Vec<SensorDays>,
    rows: u64,
    refused: RefusedRows,
    args: &FeaturesArgs,
) -> Result<FeaturesSummary, CommandError> {
    let mut summary = FeaturesSummary {
        rows,
        samples: 0,
        refused,
        sensors: sensors.len(),
        sensor_days: 0,
        short_days: 0,
        samples_in_short_days: 0,
        set: args.set,
    };
    let mut file = FeaturesFile::create(&args.out, args.set)?;
    for SensorDays { id, quantity, days } in sensors {
        for (date, samples) in days {
            let read = samples.len() as u64;
            let chunk = Chunk::new(args.timezone.day(date), samples);
            let held = chunk.samples().len() as u64;
            summary.refused.count(Refusal::Duplicate.name(), read - held);
            let chunk = chunk.learnt_as(quantity);
            if file.sensor_day(&id, &chunk, held, REVISION)? {
                summary.sensor_days += 1;
                summary.samples += held;
            } else {
                summary.short_days += 1;
                summary.samples_in_short_days += held;
            }
        }
    }
    if summary.sensor_days == 0 {
        return Err(CommandError::NoSensorDay);
    }
    file.finish()?;
    Ok(summary)
}

/// A features file being written.
struct FeaturesFile {
    output: Output,
    set: FeatureSet,
}

impl FeaturesFile {
    fn create(path: &Path, set: FeatureSet) -> Result<Self, CommandError> {
        let mut output = Output::create(path)?;
        output.row(LEADING_COLUMNS.iter().chain(set.feature_names()))?;
        Ok(Self { output, set })
    }

    /// Writes the day's row; `false` if it has too few samples to be described.
    fn sensor_day(
        &mut self,
        id: &str,
        chunk: &Chunk,
        held: u64,
        revision: u32,
    ) -> Result<bool, CommandError> {
        let Ok(features) = self.set.extract(chunk) else { return Ok(false) };
        let leading = [
            id.to_owned(),
            chunk.day().date.to_string(),
            revision.to_string(),
            held.to_string(),
            chunk.coverage().to_string(),
        ];
        // Display of a float is the shortest text that reads back the same.
        let values = features.iter().map(|value| value.map_or(String::new(), |v| v.to_string()));
        self.output.row(leading.into_iter().chain(values))?;
        Ok(true)
    }

    fn finish(self) -> Result<(), CommandError> {
        self.output.finish()
    }
}
