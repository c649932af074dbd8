//! What the tasks read: readings, labels, and what the product's commands wrote.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use anyhow::{Context as _, bail};
use flate2::read::MultiGzDecoder;
use jiff::{Timestamp, civil::Date};

/// Readings or scores of one sensor: milliseconds of UTC and a number, in the file's order.
pub(super) type Series = Vec<(i64, f64)>;

/// Opens a CSV file, compressed or not.
fn open(path: &Path) -> anyhow::Result<csv::Reader<Box<dyn Read>>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let is_compressed = path.extension().is_some_and(|ending| ending == "gz");
    let bytes: Box<dyn Read> = if is_compressed {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    Ok(csv::Reader::from_reader(bytes))
}

/// Whether the file has all of these columns.
pub(super) fn has_columns(path: &Path, columns: &[&str]) -> anyhow::Result<bool> {
    let mut reader = open(path)?;
    let header = reader.headers().with_context(|| format!("cannot read {}", path.display()))?;
    Ok(columns.iter().all(|column| header.iter().any(|name| name == *column)))
}

/// Gives every row's fields of these columns.
pub(super) fn each_row<const N: usize>(
    path: &Path,
    columns: [&str; N],
    mut take: impl FnMut([&str; N]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut reader = open(path)?;
    let header = reader.headers().with_context(|| format!("cannot read {}", path.display()))?;
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        let found = header.iter().position(|name| name == column);
        *place = found.with_context(|| format!("{} has no column {column}", path.display()))?;
    }
    let mut record = csv::StringRecord::new();
    let mut row = 1_u64;
    while reader.read_record(&mut record).with_context(|| format!("{}", path.display()))? {
        row += 1;
        let fields = places.map(|place| record.get(place).unwrap_or_default());
        take(fields).with_context(|| format!("row {row} of {}", path.display()))?;
    }
    Ok(())
}

/// An instant in milliseconds.
pub(super) fn instant(text: &str) -> anyhow::Result<i64> {
    let time: Timestamp = text.parse().with_context(|| format!("`{text}` is no time"))?;
    Ok(time.as_millisecond())
}

fn date(text: &str) -> anyhow::Result<Date> {
    text.parse().with_context(|| format!("`{text}` is no date"))
}

fn number(text: &str) -> anyhow::Result<f64> {
    text.parse().with_context(|| format!("`{text}` is no number"))
}

/// A column of numbers by sensor; rows whose number is missing or NaN are left out.
pub(super) fn series(path: &Path, column: &str) -> anyhow::Result<BTreeMap<String, Series>> {
    let mut sensors = BTreeMap::<String, Series>::new();
    each_row(path, ["ts", "sensor_id", column], |[time, sensor, value]| {
        let value = value.parse().unwrap_or(f64::NAN);
        if value.is_nan() {
            return Ok(());
        }
        let row = (instant(time)?, value);
        match sensors.get_mut(sensor) {
            Some(rows) => rows.push(row),
            None => drop(sensors.insert(sensor.into(), vec![row])),
        }
        Ok(())
    })?;
    Ok(sensors)
}

/// A sensor's day as `score` wrote it.
#[derive(Clone, Debug)]
pub(super) struct ScoredDay {
    pub(super) sensor: String,
    pub(super) day: Date,
    pub(super) drift: f64,
    pub(super) score: f64,
}

/// All days that `score` wrote.
pub(super) fn scored_days(path: &Path) -> anyhow::Result<Vec<ScoredDay>> {
    let mut days = Vec::new();
    each_row(path, ["sensor_id", "day", "drift", "score"], |[sensor, day, drift, score]| {
        let (day, drift, score) = (date(day)?, number(drift)?, number(score)?);
        days.push(ScoredDay { sensor: sensor.into(), day, drift, score });
        Ok(())
    })?;
    Ok(days)
}

/// A sensor's day as `predict` wrote it.
#[derive(Clone, Debug)]
pub(super) struct PredictedDay {
    pub(super) sensor: String,
    pub(super) day: Date,
    pub(super) cluster: usize,
    pub(super) novelty: f64,
}

/// All days that `predict` wrote.
pub(super) fn predicted_days(path: &Path) -> anyhow::Result<Vec<PredictedDay>> {
    let mut days = Vec::new();
    each_row(
        path,
        ["sensor_id", "day", "cluster", "novelty"],
        |[sensor, day, cluster, novelty]| {
            let cluster = cluster.parse().with_context(|| format!("`{cluster}` is no cluster"))?;
            let (day, novelty) = (date(day)?, number(novelty)?);
            days.push(PredictedDay { sensor: sensor.into(), day, cluster, novelty });
            Ok(())
        },
    )?;
    Ok(days)
}

/// Which sensors a label is for: one by its id, or all below a device (`device/*`).
#[derive(Clone, Debug)]
pub(super) struct Sensors(String);

impl Sensors {
    pub(super) fn include(&self, sensor: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(device) => sensor.starts_with(device),
            None => sensor == self.0,
        }
    }
}

/// A labelled stretch of time, both ends inclusive.
#[derive(Clone, Debug)]
pub(super) struct Interval {
    pub(super) sensors: Sensors,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The rows of a labels file with `sensor_id,start,end`.
pub(super) fn intervals(path: &Path) -> anyhow::Result<Vec<Interval>> {
    let mut intervals = Vec::new();
    each_row(path, ["sensor_id", "start", "end"], |[sensors, from, to]| {
        let (from, to) = (instant(from)?, instant(to)?);
        if to < from {
            bail!("an interval ends before it begins");
        }
        intervals.push(Interval { sensors: Sensors(sensors.into()), from, to });
        Ok(())
    })?;
    Ok(intervals)
}

/// The stretches of one sensor.
pub(super) fn windows(intervals: &[Interval], sensor: &str) -> Vec<(i64, i64)> {
    let of_it = intervals.iter().filter(|interval| interval.sensors.include(sensor));
    of_it.map(|interval| (interval.from, interval.to)).collect()
}

/// A labelled day.
#[derive(Clone, Debug)]
pub(super) struct DayLabel {
    pub(super) sensors: Sensors,
    pub(super) day: Date,
    pub(super) label: String,
}

/// The rows of a labels file whose columns of sensor, day and label are named so.
pub(super) fn day_labels(path: &Path, columns: [&str; 3]) -> anyhow::Result<Vec<DayLabel>> {
    let mut labels = Vec::new();
    each_row(path, columns, |[sensors, day, label]| {
        let (sensors, day) = (Sensors(sensors.into()), date(day)?);
        labels.push(DayLabel { sensors, day, label: label.into() });
        Ok(())
    })?;
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn columns_are_found_by_name_and_rows_without_a_number_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("readings.csv");
        let text = "sensor_id,value,ts\na,1.5,1970-01-01T00:00:01Z\na,NaN,1970-01-01T00:00:02Z\n\
                    b,2,1970-01-01T00:00:03.5Z\na,,1970-01-01T00:00:04Z\n";
        fs::write(&path, text).unwrap();
        let read = series(&path, "value").unwrap();
        assert_eq!(read["a"], [(1_000, 1.5)]);
        assert_eq!(read["b"], [(3_500, 2.0)]);
        assert!(series(&path, "score").unwrap_err().to_string().contains("no column score"));
    }

    #[test]
    fn a_label_of_a_device_is_for_all_its_channels() {
        let device = Sensors("water/*".into());
        assert!(device.include("water/ph") && !device.include("waters/ph"));
        let one = Sensors("water/ph".into());
        assert!(one.include("water/ph") && !one.include("water/ph2"));
    }

    #[test]
    fn a_wrong_time_is_named_with_its_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        fs::write(&path, "sensor_id,start,end\na,yesterday,2024-01-01T00:00:00Z\n").unwrap();
        let error = format!("{:#}", intervals(&path).unwrap_err());
        assert!(error.contains("row 2") && error.contains("yesterday"), "{error}");
    }
}
