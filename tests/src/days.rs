//! Sensor-days as the batch command computes them, to hold the server's against.
//!
//! Both sides print a feature as the shortest text that reads back the same, so equal bits are
//! what equal text says.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::{
    command,
    readings::{Reading, to_csv},
    scratch::Scratch,
};

/// Sensor-days by sensor and date.
pub type Days = BTreeMap<(String, String), Day>;

/// What a sensor-day says.
#[derive(Clone, Debug)]
pub struct Day {
    /// From 1.
    pub revision: u64,
    /// How many samples.
    pub samples: u64,
    /// Share of the expected samples, as bits.
    coverage: u32,
    /// Features by name, as bits.
    features: BTreeMap<String, Option<u32>>,
    /// The version of the model that predicted, if one did.
    pub model_version: Option<u64>,
}

/// Equal content, whatever the revision and the prediction.
impl PartialEq for Day {
    fn eq(&self, other: &Self) -> bool {
        self.samples == other.samples
            && self.coverage == other.coverage
            && self.features == other.features
    }
}

impl Day {
    /// Reads a line of what `daywise-agent inspect days` lists.
    ///
    /// # Panics
    /// Something is missing.
    #[track_caller]
    #[must_use]
    pub fn from_store(line: &Value) -> ((String, String), Self) {
        Self::from_row(line, "day")
    }

    /// Reads a row of the server's list.
    ///
    /// # Panics
    /// Something is missing.
    #[track_caller]
    #[must_use]
    pub fn from_server(row: &Value) -> ((String, String), Self) {
        Self::from_row(row, "date")
    }

    #[track_caller]
    fn from_row(row: &Value, date: &str) -> ((String, String), Self) {
        let text = |name: &str| row[name].as_str().unwrap_or_else(|| panic!("{name}: {row:#}"));
        let number = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name}: {row:#}"));
        let features = row["features"].as_object().cloned().unwrap_or_default();
        let features = features.into_iter().map(|(name, value)| (name, value.as_f64().map(bits)));
        let day = Self {
            revision: number("revision"),
            samples: number("samples"),
            coverage: bits(row["coverage"].as_f64().unwrap()),
            features: features.collect(),
            model_version: row["prediction"]["model_version"].as_u64(),
        };
        ((text("sensor").to_owned(), text(date).to_owned()), day)
    }
}

/// JSON and CSV carry features in more digits than they have.
#[expect(clippy::cast_possible_truncation, reason = "it was an f32 before it was written")]
fn bits(value: f64) -> u32 {
    (value as f32).to_bits()
}

/// What `daywise-agent features` makes of the readings.
///
/// # Panics
/// The command fails.
#[track_caller]
#[must_use]
pub fn of_readings(scratch: &Scratch, readings: &[Reading], timezone: &str, set: &str) -> Days {
    let csv = scratch.write("readings.csv", to_csv(readings));
    let out = scratch.file("features.csv");
    let (csv, path) = (csv.to_str().unwrap(), out.to_str().unwrap());
    let arguments = ["features", "--csv", csv, "--timezone", timezone, "--set", set, "--out", path];
    let done = command::run(scratch, command::agent(), &arguments);
    assert_eq!(done.code, Some(0), "{done:#?}");
    parse(&fs::read_to_string(out).unwrap())
}

/// Reads a features file.
///
/// # Panics
/// It is none.
#[must_use]
pub fn parse(text: &str) -> Days {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().unwrap().iter().skip(5).map(str::to_owned).collect();
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        let number = |cell: &str| (!cell.is_empty()).then(|| bits(cell.parse().unwrap()));
        let features = names.iter().cloned().zip(row.iter().skip(5).map(number)).collect();
        let day = Day {
            revision: row[2].parse().unwrap(),
            samples: row[3].parse().unwrap(),
            coverage: bits(row[4].parse().unwrap()),
            features,
            model_version: None,
        };
        ((row[0].to_owned(), row[1].to_owned()), day)
    });
    rows.collect()
}

/// What differs, in words; empty if nothing does.
#[must_use]
pub fn differences(expected: &Days, found: &Days) -> String {
    let mut text = String::new();
    for (key, day) in expected {
        match found.get(key) {
            None => text += &format!("{key:?} is missing\n"),
            Some(other) if other != day => {
                text += &format!("{key:?}: {} samples expected, {}\n", day.samples, other.samples);
                let differ = |(name, value): (&String, &Option<u32>)| {
                    let other = other.features.get(name).copied().flatten();
                    (other != *value).then(|| {
                        format!(
                            "  {name}: {:?}, {:?}\n",
                            value.map(f32::from_bits),
                            other.map(f32::from_bits)
                        )
                    })
                };
                text.extend(day.features.iter().filter_map(differ));
            }
            Some(_) => {}
        }
    }
    text.extend(
        found
            .keys()
            .filter(|key| !expected.contains_key(*key))
            .map(|key| format!("{key:?} is too many\n")),
    );
    text
}
