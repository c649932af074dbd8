//! Reads features CSV files: `sensor_id,day,revision,n,coverage,<features…>`.
//!
//! Which feature set it is follows from the names of the feature columns; an empty cell is a
//! missing feature. A row that cannot be trained on is refused by itself, with its line and the
//! reason; the rest trains. Of several revisions of a sensor's day in one file the highest
//! counts. `.gz` is unpacked, `-` is standard input.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use csv::{ByteRecord, ReaderBuilder};
use daywise_core::{
    features::{FeatureSet, Features, FeaturesError},
    quantity::Quantity,
    time::LocalDate,
};
use flate2::read::MultiGzDecoder;

use super::{MAX_TRAINABLE, TrainingSet};

const KEY_COLUMNS: [&str; 5] = ["sensor_id", "day", "revision", "n", "coverage"];
/// Rows of all files together. Their features then take about 2 GB.
pub const MAX_ROWS: usize = 10_000_000;

/// Why one row is left out. A closed set: each is a key of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum RowRefusal {
    /// More or fewer fields than the header.
    #[error("wrong_field_count")]
    FieldCount,
    /// Not UTF-8, or an unreadable number.
    #[error("unreadable_number")]
    Number,
    /// The day is no date.
    #[error("unreadable_day")]
    Day,
    /// No sensor id.
    #[error("no_sensor")]
    NoSensor,
    /// NaN or an infinity.
    #[error("not_finite")]
    NotFinite,
    /// Further from zero than any physical quantity.
    #[error("absurdly_large")]
    TooLarge,
    /// No samples or no features: the sensor vanished.
    #[error("no_features")]
    NoFeatures,
    /// A later row has the same sensor and day with a revision as high or higher.
    #[error("superseded")]
    Superseded,
}

/// Why a file cannot be trained on at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsvError {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Reading failed.
    #[error("cannot read {} at line {line}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: u64,
        /// Why not.
        source: csv::Error,
    },
    /// The columns are not those of a features file.
    #[error(
        "{}: the columns are not sensor_id,day,revision,n,coverage and the features of a known set",
        path.display()
    )]
    Columns {
        /// Which file.
        path: PathBuf,
    },
    /// More rows than are held in memory.
    #[error("more than {MAX_ROWS} rows")]
    TooManyRows,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The days to train on.
    pub days: TrainingSet,
    /// All rows, the headers not counted.
    pub rows: u64,
    /// Rows left out, by reason.
    pub refused: BTreeMap<RowRefusal, u64>,
}

/// A row to train on, and where it stood.
struct Row {
    line: u64,
    sensor: String,
    date: LocalDate,
    revision: u32,
    features: Features,
}

/// Loads all `files`; `refused` hears of each row that is left out: file, line, reason.
///
/// # Errors
/// A file that cannot be read or is no features file; too many rows.
pub fn load(
    files: &[PathBuf],
    mut refused: impl FnMut(&Path, u64, RowRefusal),
) -> Result<Loaded, CsvError> {
    let mut loaded = Loaded::default();
    for path in files {
        let input = open(path)?;
        load_one(path, input, &mut loaded, &mut refused)?;
    }
    Ok(loaded)
}

fn open(path: &Path) -> Result<Box<dyn Read>, CsvError> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file =
        File::open(path).map_err(|source| CsvError::Open { path: path.to_owned(), source })?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(Box::new(MultiGzDecoder::new(io::BufReader::new(file))));
    }
    Ok(Box::new(file))
}

fn load_one(
    path: &Path,
    input: impl Read,
    loaded: &mut Loaded,
    refused: &mut impl FnMut(&Path, u64, RowRefusal),
) -> Result<(), CsvError> {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(input);
    let read_error = |source: csv::Error| {
        let line = source.position().map_or(1, csv::Position::line);
        CsvError::Read { path: path.to_owned(), line, source }
    };
    let header = reader.byte_headers().map_err(read_error)?;
    let set = set_of(header).ok_or_else(|| CsvError::Columns { path: path.to_owned() })?;
    let mut refuse = |line, reason, refusals: &mut BTreeMap<RowRefusal, u64>| {
        refused(path, line, reason);
        *refusals.entry(reason).or_default() += 1;
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut places: HashMap<(String, LocalDate), usize> = HashMap::new();
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(read_error)? {
        loaded.rows += 1;
        if rows.len() + loaded.days.len() >= MAX_ROWS {
            return Err(CsvError::TooManyRows);
        }
        let line = record.position().map_or(0, csv::Position::line);
        let row = match parse(set, line, &record) {
            Ok(row) => row,
            Err(reason) => {
                refuse(line, reason, &mut loaded.refused);
                continue;
            }
        };
        let place = *places.entry((row.sensor.clone(), row.date)).or_insert(rows.len());
        match rows.get_mut(place) {
            None => rows.push(row),
            Some(held) => {
                let loser = if row.revision >= held.revision {
                    std::mem::replace(held, row).line
                } else {
                    row.line
                };
                refuse(loser, RowRefusal::Superseded, &mut loaded.refused);
            }
        }
    }
    for row in rows {
        // Its size was checked with the row.
        loaded.days.push(Quantity::infer(&row.sensor), row.features);
    }
    Ok(())
}

fn set_of(header: &ByteRecord) -> Option<FeatureSet> {
    let names: Vec<&str> = header.iter().map(std::str::from_utf8).collect::<Result<_, _>>().ok()?;
    let features = names.strip_prefix(&KEY_COLUMNS)?;
    FeatureSet::from_feature_names(features)
}

fn parse(set: FeatureSet, line: u64, record: &ByteRecord) -> Result<Row, RowRefusal> {
    if record.len() != KEY_COLUMNS.len() + set.dimensions() {
        return Err(RowRefusal::FieldCount);
    }
    let mut cells =
        record.iter().map(|cell| std::str::from_utf8(cell).unwrap_or("\u{fffd}").trim());
    let mut next = || cells.next().unwrap_or_default();
    let (sensor, date, revision, n, coverage) = (next(), next(), next(), next(), next());
    if sensor.is_empty() {
        return Err(RowRefusal::NoSensor);
    }
    let date = date.parse().map_err(|_| RowRefusal::Day)?;
    let revision = revision.parse().map_err(|_| RowRefusal::Number)?;
    let n: u64 = n.parse().map_err(|_| RowRefusal::Number)?;
    number(coverage)?;
    let values = cells.map(number).collect::<Result<Vec<_>, _>>()?;
    if values.iter().flatten().any(|value| value.abs() > MAX_TRAINABLE) {
        return Err(RowRefusal::TooLarge);
    }
    if n == 0 {
        return Err(RowRefusal::NoFeatures);
    }
    let features = Features::new(set, values).map_err(|error| match error {
        FeaturesError::Count { .. } => RowRefusal::FieldCount,
        FeaturesError::NotFinite { .. } => RowRefusal::NotFinite,
        FeaturesError::Empty => RowRefusal::NoFeatures,
    })?;
    Ok(Row { line, sensor: sensor.to_owned(), date, revision, features })
}

/// `None` for an empty cell.
fn number(cell: &str) -> Result<Option<f32>, RowRefusal> {
    if cell.is_empty() {
        return Ok(None);
    }
    // Read in double precision, so that a value too large for f32 is large and not infinite.
    let value: f64 = cell.parse().map_err(|_| RowRefusal::Number)?;
    if !value.is_finite() {
        return Err(RowRefusal::NotFinite);
    }
    #[expect(clippy::cast_possible_truncation, reason = "features are f32; clamped to it")]
    let value = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "sensor_id,day,revision,n,coverage,daily_mean,daily_std\n";

    fn read(rows: &str) -> (Loaded, Vec<(u64, RowRefusal)>) {
        let mut loaded = Loaded::default();
        let mut refusals = Vec::new();
        let text = format!("{HEADER}{rows}");
        load_one(Path::new("x.csv"), text.as_bytes(), &mut loaded, &mut |_, line, reason| {
            refusals.push((line, reason));
        })
        .unwrap();
        (loaded, refusals)
    }

    #[test]
    fn a_bad_row_is_refused_by_its_line_and_the_rest_trains() {
        let (loaded, refusals) = read(
            "a/temperature,2024-03-01,1,24,1,20.5,1.5\n\
             a,2024-03-02,1,24,1,NaN,1\n\
             a,2024-03-03,1,24,1,inf,1\n\
             a,2024-03-04,1,0,0,,\n\
             a,2024-03-05,1,24,1,1\n\
             a,2024-02-30,1,24,1,1,1\n\
             a,2024-03-07,1,24,1,warm,1\n\
             ,2024-03-08,1,24,1,1,1\n\
             a,2024-03-09,1,24,1,,\n\
             a,2024-03-10,1,24,1,1e30,1\n\
             b,2024-03-01,1,24,1,20.5,\n",
        );
        use RowRefusal as R;
        assert_eq!(
            refusals,
            [
                (3, R::NotFinite),
                (4, R::NotFinite),
                (5, R::NoFeatures),
                (6, R::FieldCount),
                (7, R::Day),
                (8, R::Number),
                (9, R::NoSensor),
                (10, R::NoFeatures),
                (11, R::TooLarge),
            ]
        );
        assert_eq!(loaded.rows, 11);
        assert_eq!(loaded.days.len(), 2);
        assert_eq!(loaded.refused[&R::NotFinite], 2);
        let quantities: Vec<Quantity> = loaded.days.families.iter().map(|f| f.quantity).collect();
        assert_eq!(quantities, [Quantity::Generic, Quantity::Temperature]);
    }

    #[test]
    fn the_highest_revision_of_a_day_counts() {
        let (loaded, refusals) =
            read("a,2024-03-01,2,24,1,2,0\na,2024-03-01,1,24,1,1,0\na,2024-03-01,3,24,1,3,0\n");
        assert_eq!(refusals, [(3, RowRefusal::Superseded), (2, RowRefusal::Superseded)]);
        assert_eq!(loaded.days.families[0].days[0].get(0), Some(3.0));
        assert_eq!(loaded.days.len(), 1);
    }

    #[test]
    fn a_file_with_other_columns_is_no_features_file() {
        let mut loaded = Loaded::default();
        for text in ["ts,sensor_id,value\n1,a,2\n", "", "sensor_id,day,revision,n,coverage\n"] {
            let result = load_one(Path::new("x"), text.as_bytes(), &mut loaded, &mut |_, _, _| ());
            assert!(matches!(result, Err(CsvError::Columns { .. })), "{text:?}");
        }
    }
}
