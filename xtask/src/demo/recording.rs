//! What the demo feeds: readings as CSV text, by local day, in parts that go out one by one.
//!
//! A file keeps its order, which is the order of arrival, unless it steps back by more than
//! [`MAX_STEP_BACK_MS`]: then it is not a stream but grouped, by sensor for instance, and is
//! sorted by time.

use std::{
    fs::File,
    io::{BufWriter, Read, Write},
    ops::Range,
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use daywise_core::decode::timestamp::{WrittenTime, from_text};
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};

use super::{building::SENSORS, site};

const TIME_COLUMNS: [&str; 5] = ["ts", "timestamp", "time", "datetime", "date"];
const MAX_STEP_BACK_MS: i64 = 86_400_000;
/// Shorter recordings leave nothing to learn from.
pub(super) const MIN_DAYS: usize = 4;

#[derive(Clone, Debug)]
struct Row {
    at_ms: i64,
    text: Range<usize>,
}

/// A local day with at least one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordedDay {
    /// Its date.
    pub(super) date: Date,
    /// The first instant of the next day, in epoch milliseconds.
    pub(super) end_ms: i64,
}

/// A recording of readings.
#[derive(Debug)]
pub(super) struct Recording {
    header: String,
    text: String,
    rows: Vec<Row>,
    /// In rising order.
    days: Vec<RecordedDay>,
}

impl Recording {
    /// The simulated site's.
    pub(super) fn of_site(lines: &[site::Line]) -> anyhow::Result<Self> {
        let mut text = String::with_capacity(lines.len() * 56);
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            let start = text.len();
            let at = Timestamp::from_millisecond(line.at_ms).context("a time out of range")?;
            let sensor = SENSORS.get(line.sensor).context("an unknown sensor")?;
            text.push_str(&format!("{at:.3},{},{}\n", sensor.id, line.value));
            rows.push(Row { at_ms: line.at_ms, text: start..text.len() });
        }
        let zone = TimeZone::get(site::TIMEZONE).context("the site's time zone is unknown")?;
        Self::new("ts,sensor_id,value\n".into(), text, rows, &zone)
    }

    /// A file's; `.gz` is unpacked.
    pub(super) fn of_csv(path: &Path, timezone: &str) -> anyhow::Result<Self> {
        let about = || format!("cannot read {}", path.display());
        let zone =
            TimeZone::get(timezone).with_context(|| format!("unknown time zone `{timezone}`"))?;
        let file = File::open(path).with_context(about)?;
        let mut text = String::new();
        if path.extension().is_some_and(|extension| extension == "gz") {
            flate2::read::MultiGzDecoder::new(file)
                .read_to_string(&mut text)
                .with_context(about)?;
        } else {
            let mut file = file;
            file.read_to_string(&mut text).with_context(about)?;
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let (header, text) = text.split_once('\n').with_context(about)?;
        let rows = rows(header, text, &zone).with_context(about)?;
        Self::new(format!("{header}\n"), text.into(), rows, &zone)
    }

    fn new(
        header: String,
        text: String,
        mut rows: Vec<Row>,
        zone: &TimeZone,
    ) -> anyhow::Result<Self> {
        let mut newest = i64::MIN;
        let steps_back = rows.iter().any(|row| {
            newest = newest.max(row.at_ms);
            newest.saturating_sub(row.at_ms) > MAX_STEP_BACK_MS
        });
        if steps_back {
            rows.sort_by_key(|row| row.at_ms);
        }
        let days = days(&rows, zone)?;
        Ok(Self { header, text, rows, days })
    }

    /// The days, in rising order.
    pub(super) fn days(&self) -> &[RecordedDay] {
        &self.days
    }

    /// Leaves out all days after the first `count`.
    pub(super) fn keep_days(&mut self, count: usize) -> anyhow::Result<()> {
        self.days.truncate(count);
        ensure!(
            self.days.len() >= MIN_DAYS,
            "{} days are too few: at least {MIN_DAYS} are needed to learn from",
            self.days.len()
        );
        let end = self.days.last().map_or(i64::MIN, |day| day.end_ms);
        self.rows.retain(|row| row.at_ms < end);
        Ok(())
    }

    /// The first instant of the recording.
    pub(super) fn start_ms(&self) -> i64 {
        self.rows.iter().map(|row| row.at_ms).min().unwrap_or(0)
    }

    /// Writes the rows from `from` up to before `until` as a CSV file; says how many.
    pub(super) fn write(&self, from: i64, until: i64, path: &Path) -> anyhow::Result<u64> {
        let about = || format!("cannot write {}", path.display());
        let mut out = BufWriter::new(File::create(path).with_context(about)?);
        out.write_all(self.header.as_bytes()).with_context(about)?;
        let mut count = 0;
        for row in self.rows.iter().filter(|row| (from..until).contains(&row.at_ms)) {
            let line = self.text.get(row.text.clone()).unwrap_or_default();
            out.write_all(line.as_bytes()).with_context(about)?;
            count += 1;
        }
        out.flush().with_context(about)?;
        Ok(count)
    }
}

/// Finds each row's time. A row without one goes where the row before it goes, so that the
/// replay is the one to name it.
fn rows(header: &str, text: &str, zone: &TimeZone) -> anyhow::Result<Vec<Row>> {
    let names = header.trim_start_matches('\u{feff}').split(',');
    let known = |name: &str| {
        let name = name.trim().trim_matches('"');
        TIME_COLUMNS.iter().any(|column| column.eq_ignore_ascii_case(name))
    };
    let column = names.into_iter().position(known).context("no column for the time")?;
    let mut rows = Vec::new();
    let mut start = 0;
    let mut last = None;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if !line.trim().is_empty() {
            let field = line.split(',').nth(column).map(|field| field.trim().trim_matches('"'));
            if let Some(at_ms) = field.and_then(|field| instant_ms(field, zone)).or(last) {
                last = Some(at_ms);
                rows.push(Row { at_ms, text: start..end });
            }
        }
        start = end;
    }
    if rows.is_empty() {
        bail!("no row has a time");
    }
    Ok(rows)
}

fn instant_ms(field: &str, zone: &TimeZone) -> Option<i64> {
    match WrittenTime::parse(field) {
        Some(written) if written.offset_ms.is_none() => {
            let midnight = written.date.to_civil().to_datetime(jiff::civil::Time::midnight());
            let wall =
                midnight.checked_add(SignedDuration::from_millis(i64::from(written.wall_ms)));
            Some(zone.to_ambiguous_timestamp(wall.ok()?).compatible().ok()?.as_millisecond())
        }
        _ => from_text(field).ok().map(|at| at.0),
    }
}

fn days(rows: &[Row], zone: &TimeZone) -> anyhow::Result<Vec<RecordedDay>> {
    let mut days = std::collections::BTreeMap::new();
    let mut current: Option<(i64, i64)> = None;
    for row in rows {
        if current.is_some_and(|(start, end)| (start..end).contains(&row.at_ms)) {
            continue;
        }
        let at = Timestamp::from_millisecond(row.at_ms).context("a time out of range")?;
        let date = at.to_zoned(zone.clone()).date();
        let midnight = |date: Date| -> anyhow::Result<i64> {
            let start = date.to_zoned(zone.clone()).context("a day out of range")?;
            Ok(start.timestamp().as_millisecond())
        };
        let end_ms = midnight(date.saturating_add(1.day()))?;
        current = Some((midnight(date)?, end_ms));
        days.insert(date, RecordedDay { date, end_ms });
    }
    Ok(days.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(text: &str, zone: &str) -> Recording {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("readings.csv");
        std::fs::write(&path, text).unwrap();
        Recording::of_csv(&path, zone).unwrap()
    }

    fn written(recording: &Recording, from: i64, until: i64) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part.csv");
        recording.write(from, until, &path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn days_follow_the_sites_calendar() {
        let text = "ts,sensor_id,value\n2024-03-30T23:30:00Z,a,1\n2024-03-31T21:30:00Z,a,2\n\
                    2024-03-31T22:30:00Z,a,3\n";
        let recording = recording(text, "Europe/Berlin");
        let dates: Vec<String> = recording.days().iter().map(|day| day.date.to_string()).collect();
        assert_eq!(dates, ["2024-03-31", "2024-04-01"], "23 hours, from 23:00Z to 22:00Z");
        let end = recording.days()[0].end_ms;
        assert_eq!(written(&recording, i64::MIN, end).lines().count(), 3);
        assert_eq!(written(&recording, end, i64::MAX).lines().count(), 2);
    }

    #[test]
    fn a_stream_keeps_its_order_and_a_grouped_file_is_sorted() {
        let late = "ts,sensor_id,value\n2024-01-02T10:00:00Z,a,1\n2024-01-02T09:00:00Z,b,2\n";
        assert_eq!(written(&recording(late, "UTC"), i64::MIN, i64::MAX), late);
        let grouped = "ts,sensor_id,value\n2024-01-01T10:00:00Z,a,1\n2024-01-09T09:00:00Z,a,2\n\
                       2024-01-01T11:00:00Z,b,3\n";
        let sorted = written(&recording(grouped, "UTC"), i64::MIN, i64::MAX);
        let order: Vec<&str> = sorted.lines().skip(1).map(|line| &line[line.len() - 1..]).collect();
        assert_eq!(order, ["1", "3", "2"]);
    }

    #[test]
    fn times_without_an_offset_are_the_sites_and_a_bad_row_stays_for_the_replay_to_name() {
        let text = "Timestamp,v\n2024-06-01 00,1\nsoon,2\n1717200000,3\n";
        let recording = recording(text, "Europe/Berlin");
        let times: Vec<i64> = recording.rows.iter().map(|row| row.at_ms).collect();
        let midnight = 1_717_192_800_000;
        assert_eq!(times, [midnight, midnight, 1_717_200_000_000]);
    }
}
