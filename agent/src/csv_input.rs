//! Readings from CSV files, as loggers, spreadsheets and data portals write them.
//!
//! Columns are found by name, in any order and case:
//!
//! | column | names | if there is none |
//! |---|---|---|
//! | time | `ts`, `timestamp`, `time`, `datetime`, `date` | the file is refused |
//! | sensor | `sensor_id`, `sensor`, `id`, `device` | one sensor, named as the file |
//! | value | `value`, `reading`, `measurement`, `val`, `v` | the only column left over |
//!
//! A time is RFC 3339, an epoch number, or without an offset: then it is local in the calendar's
//! zone, and hours, minutes or seconds may be left out. An hour that the clock repeats is taken
//! as its first run. Rows are read one at a time; a bad one is named, counted and skipped.

mod lines;
mod refused;
mod sensors;

use std::{
    io,
    path::{Path, PathBuf},
};

use daywise_core::{
    decode::{
        check_sensor_id, number,
        timestamp::{EARLIEST, LATEST, WrittenTime, from_text},
    },
    reading::Refusal,
    time::UtcMillis,
};

pub use lines::{Line, Lines, MAX_LINE_BYTES, Record};
pub use refused::{MAX_ROWS_SHOWN, RefusedRows, Shown};
pub use sensors::FileSensors;

use crate::calendar::Calendar;

const TIME_NAMES: [&str; 5] = ["ts", "timestamp", "time", "datetime", "date"];
const SENSOR_NAMES: [&str; 4] = ["sensor_id", "sensor", "id", "device"];
const VALUE_NAMES: [&str; 5] = ["value", "reading", "measurement", "val", "v"];

/// A file of rows cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// It cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read to its end.
    #[error("cannot read {} after line {line}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The last line that was read.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// Its first line is not a header that is understood.
    #[error("{}: {reason}", path.display())]
    Header {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It has no row, or none that can be used.
    #[error("{}: none of its {rows} rows can be used", path.display())]
    NothingUsable {
        /// Which file.
        path: PathBuf,
        /// How many rows it has.
        rows: u64,
    },
}

/// One usable row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CsvRow<'a> {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The sensor's id; sound.
    pub sensor: &'a str,
    /// When.
    pub at: UtcMillis,
    /// What; finite, but not checked against a quantity.
    pub value: f64,
}

/// The readings of a CSV file, in the file's order.
pub struct CsvReadings {
    path: PathBuf,
    lines: Lines,
    columns: Columns,
    /// The sensor of a file without a sensor column.
    only_sensor: String,
    calendar: Calendar,
    record: Record,
    rows: u64,
    refused: RefusedRows,
}

/// Which cell holds what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    time: usize,
    sensor: Option<usize>,
    value: usize,
    count: usize,
}

impl CsvReadings {
    /// Opens `path` (`-` for the standard input) and reads its header.
    ///
    /// # Errors
    /// It cannot be read, or the header names no time or no value.
    pub fn open(path: &Path, calendar: Calendar) -> Result<Self, InputError> {
        let lines = Lines::open(path)
            .map_err(|source| InputError::Open { path: path.to_owned(), source })?;
        let refused = RefusedRows::new(path.display().to_string());
        Self::new(path, lines, calendar, refused)
    }

    /// Reads from `lines`; `path` names them in messages, refused rows go to `refused`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn new(
        path: &Path,
        mut lines: Lines,
        calendar: Calendar,
        refused: RefusedRows,
    ) -> Result<Self, InputError> {
        let mut record = Record::default();
        let header = |reason: String| InputError::Header { path: path.to_owned(), reason };
        let only_sensor = sensor_from_file_name(path);
        let line = lines.next_line().map_err(|source| read_error(path, 0, source))?;
        let line = line.ok_or_else(|| header("the file is empty".to_owned()))?;
        line.text
            .and_then(|text| record.split(text))
            .map_err(|reason| header(format!("the first line is no header ({reason})")))?;
        let columns = Columns::find(&record).map_err(header)?;
        if columns.sensor.is_none() {
            check_sensor_id(&only_sensor).map_err(|error| {
                header(format!("no sensor column, and the file's name is none: {error}"))
            })?;
        }
        let path = path.to_owned();
        Ok(Self { path, lines, columns, only_sensor, calendar, record, rows: 0, refused })
    }

    /// The next usable row; bad ones before it are named and counted.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn next_row(&mut self) -> Result<Option<CsvRow<'_>>, InputError> {
        let (line, at, value) = loop {
            let line = match self.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(source) => {
                    return Err(read_error(&self.path, self.lines.number(), source));
                }
            };
            self.rows += 1;
            let number = line.number;
            match line.text.and_then(|text| self.record.split(text)) {
                Ok(()) => match self.read_record() {
                    Ok((at, value)) => break (number, at, value),
                    Err((reason, column)) => {
                        let cell = Shown(column.map_or("", |column| self.record.cell(column)));
                        self.refused.note(number, reason.name(), cell);
                    }
                },
                Err(reason) => self.refused.note(number, reason.name(), ""),
            }
        };
        let sensor = match self.columns.sensor {
            Some(column) => self.record.cell(column),
            None => &self.only_sensor,
        };
        Ok(Some(CsvRow { line, sensor, at, value }))
    }

    /// Counts a row that [`Self::next_row`] gave but a rule of the caller's refuses.
    pub fn refuse(&mut self, line: u64, reason: Refusal, detail: impl std::fmt::Display) {
        self.refused.note(line, reason.name(), detail);
    }

    /// The calendar that times are read by.
    pub fn calendar(&mut self) -> &mut Calendar {
        &mut self.calendar
    }

    /// How many rows were read, bad ones included, the header not.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows refused so far.
    #[must_use]
    pub fn refused(&self) -> &RefusedRows {
        &self.refused
    }

    /// Ends the reading: tells how many rows were refused.
    ///
    /// # Errors
    /// Not one row could be used.
    pub fn finish(mut self) -> Result<(u64, RefusedRows), InputError> {
        self.refused.tell();
        if self.refused.total() >= self.rows {
            return Err(InputError::NothingUsable { path: self.path, rows: self.rows });
        }
        Ok((self.rows, self.refused))
    }

    /// Time and value of the record, or why not and which cell is to blame.
    fn read_record(&mut self) -> Result<(UtcMillis, f64), (Refusal, Option<usize>)> {
        let columns = self.columns;
        if self.record.count() != columns.count {
            return Err((Refusal::Malformed, None));
        }
        if let Some(sensor) = columns.sensor
            && check_sensor_id(self.record.cell(sensor)).is_err()
        {
            return Err((Refusal::BadSensor, Some(sensor)));
        }
        let at = read_time(self.record.cell(columns.time), &mut self.calendar)
            .map_err(|reason| (reason, Some(columns.time)))?;
        let value = number::decode_field(self.record.cell(columns.value))
            .map_err(|reason| (reason, Some(columns.value)))?;
        Ok((at, value))
    }
}

impl Columns {
    fn find(header: &Record) -> Result<Self, String> {
        let names: Vec<String> = header.cells().map(str::to_ascii_lowercase).collect();
        let find = |known: &[&str]| {
            known.iter().find_map(|known| names.iter().position(|name| name == known))
        };
        let listed = names.join(", ");
        let time = find(&TIME_NAMES).ok_or_else(|| {
            format!("no column for the time ({}) among: {listed}", TIME_NAMES.join(", "))
        })?;
        let sensor = find(&SENSOR_NAMES);
        let value = find(&VALUE_NAMES).or_else(|| {
            let mut others = names.iter().enumerate().filter(|(index, name)| {
                *index != time && Some(*index) != sensor && !name.is_empty()
            });
            let only = others.next()?.0;
            others.next().is_none().then_some(only)
        });
        let value = value.ok_or_else(|| {
            format!("no column for the value, neither by name nor the only one left: {listed}")
        })?;
        Ok(Self { time, sensor, value, count: names.len() })
    }
}

/// Reads a time as files write it; without an offset it is local in `calendar`.
///
/// # Errors
/// `BadTimestamp`.
pub fn read_time(text: &str, calendar: &mut Calendar) -> Result<UtcMillis, Refusal> {
    let stated_utc = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT"));
    let Some(mut written) = WrittenTime::parse(stated_utc.unwrap_or(text)) else {
        return from_text(text);
    };
    if stated_utc.is_some() && written.offset_ms.is_none() {
        written.offset_ms = Some(0);
    }
    let at = match written.offset_ms {
        Some(_) => written.instant(),
        None => calendar
            .wall_to_utc(written.date, written.wall_ms)
            .filter(|at| (EARLIEST..LATEST).contains(at)),
    };
    at.ok_or(Refusal::BadTimestamp)
}

/// The file's name without folder and extensions.
fn sensor_from_file_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if name == "-" {
        return "stdin".to_owned();
    }
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.strip_suffix(".csv").unwrap_or(name).to_owned()
}

fn read_error(path: &Path, line: u64, source: io::Error) -> InputError {
    InputError::Read { path: path.to_owned(), line, source }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn open(name: &str, zone: &str, text: &str) -> Result<CsvReadings, InputError> {
        let lines = Lines::new(Cursor::new(text.as_bytes().to_vec())).unwrap();
        let refused = RefusedRows::with_output(name.to_owned(), Box::new(io::sink()));
        CsvReadings::new(Path::new(name), lines, Calendar::new(zone).unwrap(), refused)
    }

    fn rows(name: &str, zone: &str, text: &str) -> Vec<(String, String, f64)> {
        let mut readings = open(name, zone, text).unwrap();
        let mut found = Vec::new();
        while let Some(row) = readings.next_row().unwrap() {
            found.push((row.sensor.to_owned(), row.at.to_string(), row.value));
        }
        found
    }

    fn row(sensor: &str, at: &str, value: f64) -> (String, String, f64) {
        (sensor.to_owned(), at.to_owned(), value)
    }

    #[test]
    fn columns_are_found_by_name() {
        assert_eq!(
            rows("x.csv", "UTC", "sensor_id,timestamp,temperature\r\n25572,2023-02-15 07,26\r\n"),
            [row("25572", "2023-02-15T07:00:00Z", 26.0)]
        );
        assert_eq!(
            rows("x", "UTC", "\u{feff}Value,unit,\"Device\",TS\n1e1,C,\"a, b\",1711321200\n"),
            [row("a, b", "2024-03-24T23:00:00Z", 10.0)]
        );
        assert_eq!(
            rows("dir/boiler.csv.gz", "UTC", "date,power\n2024-03-01,5\n"),
            [row("boiler", "2024-03-01T00:00:00Z", 5.0)]
        );
    }

    #[test]
    fn times_without_offset_are_local() {
        let text = "time,value\n2024-07-01 12:30,1\n2024-07-01T12:30:00Z,2\n\
                    2024-07-01 12:30:00 UTC,3\n2024-07-01 12:30:00+05:00,4\n1719837000123,5\n";
        let at = |time: &str, value| row("x", time, value);
        assert_eq!(
            rows("x", "Europe/Berlin", text),
            [
                at("2024-07-01T10:30:00Z", 1.0),
                at("2024-07-01T12:30:00Z", 2.0),
                at("2024-07-01T12:30:00Z", 3.0),
                at("2024-07-01T07:30:00Z", 4.0),
                at("2024-07-01T12:30:00.123Z", 5.0),
            ]
        );
    }

    #[test]
    fn a_header_without_time_or_value_is_named() {
        let reason = |text: &str| match open("x.csv", "UTC", text) {
            Err(InputError::Header { reason, .. }) => reason,
            other => panic!("{:?}", other.map(|_| ())),
        };
        assert_eq!(reason(""), "the file is empty");
        assert!(reason("a,b\n").starts_with("no column for the time"));
        assert!(reason("ts,id,a,b\n").starts_with("no column for the value"));
        assert!(reason("ts,id\n").starts_with("no column for the value"));
    }

    #[test]
    fn bad_rows_are_counted_by_reason_and_the_rest_goes_on() {
        let text = "ts,sensor,value\n\
                    2024-07-01T12:00:00Z,a,1\n\
                    yesterday,a,1\n\
                    2024-07-01T12:00:00Z,a,NaN\n\
                    2024-07-01T12:00:00Z,a,\n\
                    2024-07-01T12:00:00Z,a,warm\n\
                    2024-07-01T12:00:00Z,,1\n\
                    2024-07-01T12:00:00Z,a\n\
                    2024-07-01T12:00:00Z,\"a,1\n\
                    1823-07-01 12,a,1\n\
                    2024-07-01T12:00:01Z,a,2\n";
        let mut readings = open("x.csv", "UTC", text).unwrap();
        let mut lines = Vec::new();
        while let Some(row) = readings.next_row().unwrap() {
            lines.push(row.line);
        }
        assert_eq!(lines, [2, 11]);
        readings.refuse(11, Refusal::OutOfRange, "");
        let (rows, refused) = readings.finish().unwrap();
        assert_eq!(rows, 10);
        let expected = [
            ("bad_sensor", 1),
            ("bad_timestamp", 2),
            ("malformed", 2),
            ("no_value", 1),
            ("not_a_number", 1),
            ("not_finite", 1),
            ("out_of_range", 1),
        ];
        assert_eq!(refused.by_reason().iter().map(|(r, n)| (*r, *n)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_file_without_a_usable_row_fails() {
        for text in ["ts,value\n", "ts,value\nx,1\n"] {
            let mut readings = open("x.csv", "UTC", text).unwrap();
            assert_eq!(readings.next_row().unwrap(), None);
            assert!(matches!(readings.finish(), Err(InputError::NothingUsable { .. })));
        }
    }
}
