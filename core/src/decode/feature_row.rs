//! Rows of a features file: `sensor_id,day,revision,n,coverage,<features…>`.
//!
//! One reader for whoever takes such files, so that training and prediction refuse the same
//! rows. The feature set is told by the names in the header; an empty cell is a missing feature.

use alloc::{borrow::ToOwned, string::String};

use super::template::{SensorIdError, check_sensor_id};
use crate::{
    features::{FeatureSet, Features, FeaturesError},
    time::LocalDate,
};

/// The columns before the features, in order.
pub const LEADING_COLUMNS: [&str; 5] = ["sensor_id", "day", "revision", "n", "coverage"];

/// The columns of a features file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureColumns {
    /// The set that the feature columns are.
    pub set: FeatureSet,
}

/// The header is not that of a features file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A leading column is missing or misplaced.
    #[error("column {place} is `{found}`, expected `{expected}`")]
    Column {
        /// Which one, counted from 1.
        place: usize,
        /// Its name; empty if there is none.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The rest are not the features of any known set.
    #[error("the feature columns are those of no known feature set")]
    UnknownSet,
}

/// One sensor's one day, as a features file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRow<'a> {
    /// The sensor's id.
    pub sensor_id: &'a str,
    /// The local day.
    pub day: LocalDate,
    /// From 1.
    pub revision: u32,
    /// Distinct samples.
    pub samples: u32,
    /// Share of the expected readings that arrived, 0 to 1.
    pub coverage: f64,
    /// The features.
    pub features: Features,
}

/// Why a row is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// More or fewer cells than the header has.
    #[error("{found} cells, but the header has {expected}")]
    Cells {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// The sensor is missing or cannot be one.
    #[error("unusable sensor")]
    Sensor(#[source] SensorIdError),
    /// A leading cell is not what its column holds.
    #[error("`{column}` cannot be read")]
    Cell {
        /// Its column.
        column: &'static str,
    },
    /// A feature is not a number.
    #[error("`{column}` is not a number")]
    NotANumber {
        /// Its column.
        column: &'static str,
    },
    /// A feature is NaN or infinite.
    #[error("`{column}` is not finite")]
    NotFinite {
        /// Its column.
        column: &'static str,
    },
    /// Every feature is missing.
    #[error("every feature is missing")]
    Empty,
}

impl RowError {
    /// The reason in one word, as reports name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cells { .. } => "malformed",
            Self::Sensor(_) => "bad_sensor",
            Self::Cell { .. } => "bad_cell",
            Self::NotANumber { .. } => "not_a_number",
            Self::NotFinite { .. } => "not_finite",
            Self::Empty => "no_value",
        }
    }
}

impl FeatureColumns {
    /// Recognises a header.
    ///
    /// # Errors
    /// It is none of a features file.
    pub fn from_header<S: AsRef<str>>(header: &[S]) -> Result<Self, HeaderError> {
        for (index, expected) in LEADING_COLUMNS.into_iter().enumerate() {
            let found = header.get(index).map_or("", AsRef::as_ref).trim();
            if found != expected {
                let found = found.chars().take(40).collect::<String>();
                return Err(HeaderError::Column { place: index + 1, found, expected });
            }
        }
        let names: alloc::vec::Vec<&str> =
            header.iter().skip(LEADING_COLUMNS.len()).map(|name| name.as_ref().trim()).collect();
        let set = FeatureSet::from_feature_names(&names).ok_or(HeaderError::UnknownSet)?;
        Ok(Self { set })
    }

    /// How many cells a row has.
    #[must_use]
    pub const fn cells(&self) -> usize {
        LEADING_COLUMNS.len() + self.set.dimensions()
    }

    /// Reads one row.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn row<'a>(
        &self,
        cells: impl IntoIterator<Item = &'a str>,
    ) -> Result<FeatureRow<'a>, RowError> {
        let mut cells = cells.into_iter().map(str::trim);
        let mut leading = [""; LEADING_COLUMNS.len()];
        for (index, slot) in leading.iter_mut().enumerate() {
            *slot = cells.next().ok_or(RowError::Cells { found: index, expected: self.cells() })?;
        }
        let mut values: heapless::Vec<Option<f32>, { crate::features::MAX_FEATURES }> =
            heapless::Vec::new();
        let mut names = self.set.feature_names().iter();
        let mut found = leading.len();
        let mut wrong = None;
        for cell in cells {
            found += 1;
            let Some(column) = names.next() else { continue };
            match feature(cell, column) {
                // Cannot fail: no set outgrows the buffer.
                Ok(value) => drop(values.push(value)),
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        if found != self.cells() {
            return Err(RowError::Cells { found, expected: self.cells() });
        }
        let [sensor_id, day, revision, samples, coverage] = leading;
        check_sensor_id(sensor_id).map_err(RowError::Sensor)?;
        let bad = |column| RowError::Cell { column };
        let day = day.parse().map_err(|_| bad("day"))?;
        let revision = revision.parse().map_err(|_| bad("revision"))?;
        let samples = samples.parse().map_err(|_| bad("n"))?;
        let coverage: f64 = coverage.parse().map_err(|_| bad("coverage"))?;
        if !(0.0..=1.0).contains(&coverage) {
            return Err(bad("coverage"));
        }
        if let Some(error) = wrong {
            return Err(error);
        }
        let features = Features::new(self.set, values).map_err(|error| match error {
            FeaturesError::Empty => RowError::Empty,
            FeaturesError::Count { .. } | FeaturesError::NotFinite { .. } => bad("features"),
        })?;
        Ok(FeatureRow { sensor_id, day, revision, samples, coverage, features })
    }
}

fn feature(cell: &str, column: &'static str) -> Result<Option<f32>, RowError> {
    if cell.is_empty() {
        return Ok(None);
    }
    match cell.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(Some(value)),
        Ok(_) => Err(RowError::NotFinite { column }),
        Err(_) => Err(RowError::NotANumber { column }),
    }
}

impl FeatureRow<'_> {
    /// The sensor's id, to keep.
    #[must_use]
    pub fn owned_sensor_id(&self) -> String {
        self.sensor_id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const HEADER: &str = "sensor_id,day,revision,n,coverage,daily_mean,daily_std";

    fn columns() -> FeatureColumns {
        let names: Vec<&str> = HEADER.split(',').collect();
        FeatureColumns::from_header(&names).unwrap()
    }

    #[test]
    fn a_row_is_one_sensor_day() {
        let columns = columns();
        assert_eq!(columns.set, FeatureSet::Moments1);
        let row = columns.row("a/temp,2024-02-29,1,24,0.5,21.25,".split(',')).unwrap();
        assert_eq!((row.sensor_id, row.revision, row.samples), ("a/temp", 1, 24));
        assert_eq!(row.day, "2024-02-29".parse().unwrap());
        assert_eq!(row.features.iter().collect::<Vec<_>>(), [Some(21.25), None]);
    }

    #[test]
    fn bad_rows_are_refused_with_their_reason() {
        let reason = |row: &str| columns().row(row.split(',')).unwrap_err().name();
        assert_eq!(reason("a,2024-02-29,1,24,0.5,nan,1"), "not_finite");
        assert_eq!(reason("a,2024-02-29,1,24,0.5,1,-inf"), "not_finite");
        assert_eq!(reason("a,2024-02-29,1,24,0.5,1e39,1"), "not_finite");
        assert_eq!(reason("a,2024-02-29,1,24,0.5,warm,1"), "not_a_number");
        assert_eq!(reason("a,2024-02-29,1,24,0.5,,"), "no_value");
        assert_eq!(reason(",2024-02-29,1,24,0.5,1,1"), "bad_sensor");
        assert_eq!(reason("a,2024-02-30,1,24,0.5,1,1"), "bad_cell");
        assert_eq!(reason("a,2024-02-29,1,-3,0.5,1,1"), "bad_cell");
        assert_eq!(reason("a,2024-02-29,1,24,nan,1,1"), "bad_cell");
        assert_eq!(reason("a,2024-02-29,1,24,0.5,1"), "malformed");
        assert_eq!(reason("a,2024-02-29,1,24,0.5,1,1,1"), "malformed");
        assert_eq!(reason("a"), "malformed");
    }

    #[test]
    fn a_foreign_header_is_told_from_an_unknown_set() {
        let parse = |header: &str| {
            FeatureColumns::from_header(&header.split(',').collect::<Vec<_>>()).unwrap_err()
        };
        assert!(matches!(parse("ts,sensor_id,value"), HeaderError::Column { place: 1, .. }));
        assert_eq!(parse("sensor_id,day,revision,n,coverage,x"), HeaderError::UnknownSet);
    }
}
