//! `predict`: features in a CSV file and a model to one prediction per sensor-day.
//!
//! Rows come out in the order of the features file. A row that training would refuse is refused
//! here too, named and counted; so is one whose quantity the model knows nothing of.

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use daywise_core::{
    decode::feature_row::{FeatureColumns, FeatureRow},
    model::{self, Digest, MAX_ARTIFACT_BYTES, Model},
    quantity::Quantity,
};
use serde::Serialize;

use super::{CommandError, output::Output, parse_quantity, report};
use crate::csv_input::{InputError, Lines, Record, RefusedRows};

const COLUMNS: [&str; 8] = [
    "sensor_id",
    "day",
    "revision",
    "cluster",
    "distance",
    "novelty",
    "top_features",
    "model_version",
];
/// The reason for a row whose quantity and feature set no sub-model is for.
const NO_FAMILY: &str = "no_family";

/// Tells which kind of day each sensor-day is, and how unusual.
#[derive(Clone, Debug, clap::Args)]
pub struct PredictArgs {
    /// Features: .csv, .csv.gz, or - for the standard input
    #[arg(long, value_name = "FILE.csv")]
    pub features: PathBuf,
    /// The model
    #[arg(long, value_name = "FILE.dwm")]
    pub model: PathBuf,
    /// What all sensors measure; else told by the last part of each sensor's id
    #[arg(long, value_name = "QUANTITY", value_parser = parse_quantity)]
    pub quantity: Option<Quantity>,
    /// Where the predictions go: .csv, .csv.gz, or - for the standard output
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
    /// Print the result as JSON, as the last line of the standard output
    #[arg(long)]
    pub json: bool,
}

/// What became of the rows: `rows` = `predictions` + those refused.
#[derive(Debug, Serialize)]
pub struct PredictSummary {
    /// Rows in the file.
    pub rows: u64,
    /// Rows written.
    pub predictions: u64,
    /// Rows left out, by reason.
    pub refused: RefusedRows,
    /// Version of the model.
    pub model_version: u32,
    /// Its digest, in hex.
    pub model_digest: String,
}

impl fmt::Display for PredictSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, predictions, model_version, .. } = self;
        write!(f, "{predictions} predictions by model version {model_version} from {rows} rows")?;
        if self.refused.total() > 0 {
            write!(f, "; refused: {}", self.refused)?;
        }
        Ok(())
    }
}

/// Runs the command and reports.
///
/// # Errors
/// Model or features cannot be used, or the output cannot be written.
pub fn run(args: &PredictArgs) -> Result<PredictSummary, CommandError> {
    let (model, digest) = read_model(&args.model)?;
    let mut rows = FeatureRows::open(&args.features)?;
    let mut output = Output::create(&args.out)?;
    output.row(COLUMNS)?;
    let mut predictions = 0;
    while let Some(line) = rows.next_row()? {
        let row = match rows.columns.row(rows.record.cells()) {
            Ok(row) => row,
            Err(error) => {
                let detail = format!(": {error}");
                rows.refused.note(line, error.name(), detail);
                continue;
            }
        };
        let quantity = args.quantity.unwrap_or_else(|| Quantity::infer(row.sensor_id));
        match predict(&model, quantity, &row) {
            Some(cells) => {
                output.row(cells)?;
                predictions += 1;
            }
            None => {
                let set = row.features.set();
                let detail = format!(": the model knows no {quantity} with {set}");
                rows.refused.note(line, NO_FAMILY, detail);
            }
        }
    }
    let (count, refused) = rows.finish()?;
    output.finish()?;
    let summary = PredictSummary {
        rows: count,
        predictions,
        refused,
        model_version: model.version,
        model_digest: digest.to_string(),
    };
    report(&summary, args.json)?;
    Ok(summary)
}

/// One row of predictions; `None` if the model has no family for it.
fn predict(model: &Model, quantity: Quantity, row: &FeatureRow<'_>) -> Option<[String; 8]> {
    let set = row.features.set();
    let prediction = model.family(quantity, set)?.predict(&row.features, model.version);
    let top: Vec<&str> = prediction.top.iter().map(|part| part.name(set)).collect();
    Some([
        row.sensor_id.to_owned(),
        row.day.to_string(),
        row.revision.to_string(),
        prediction.cluster.to_string(),
        prediction.distance.to_string(),
        prediction.novelty.to_string(),
        top.join(";"),
        prediction.model_version.to_string(),
    ])
}

/// Reads and checks a model file.
///
/// # Errors
/// It cannot be read, or is damaged, foreign, too new or unsound.
pub fn read_model(path: &Path) -> Result<(Model, Digest), CommandError> {
    let mut bytes = Vec::new();
    File::open(path)
        // One byte more than allowed is enough to see that it is too large.
        .and_then(|file| file.take(MAX_ARTIFACT_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| CommandError::ReadModel { path: path.to_owned(), source })?;
    model::decode(&bytes).map_err(|source| CommandError::Model { path: path.to_owned(), source })
}

/// The rows of a features file, one at a time.
struct FeatureRows {
    path: PathBuf,
    lines: Lines,
    columns: FeatureColumns,
    record: Record,
    rows: u64,
    refused: RefusedRows,
}

impl FeatureRows {
    fn open(path: &Path) -> Result<Self, CommandError> {
        let at = path.to_owned();
        let mut lines = Lines::open(path)
            .map_err(|source| CommandError::Input(InputError::Open { path: at.clone(), source }))?;
        let mut record = Record::default();
        let header = lines.next_line().map_err(|source| {
            CommandError::Input(InputError::Read { path: at.clone(), line: 0, source })
        })?;
        // An empty or unreadable first line has no columns, which the header's check tells.
        if let Some(Ok(text)) = header.map(|line| line.text)
            && record.split(text).is_err()
        {
            record = Record::default();
        }
        let columns = FeatureColumns::from_header(&record.cells().collect::<Vec<_>>())
            .map_err(|source| CommandError::Features { path: at.clone(), source })?;
        let refused = RefusedRows::new(path.display().to_string());
        Ok(Self { path: at, lines, columns, record, rows: 0, refused })
    }

    /// Goes to the next row that has cells; its line number, or `None` at the end.
    fn next_row(&mut self) -> Result<Option<u64>, CommandError> {
        loop {
            let line = match self.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(source) => {
                    let (path, line) = (self.path.clone(), self.lines.number());
                    return Err(CommandError::Input(InputError::Read { path, line, source }));
                }
            };
            self.rows += 1;
            match line.text.and_then(|text| self.record.split(text)) {
                Ok(()) => return Ok(Some(line.number)),
                Err(reason) => self.refused.note(line.number, reason.name(), ""),
            }
        }
    }

    fn finish(mut self) -> Result<(u64, RefusedRows), CommandError> {
        self.refused.tell();
        if self.refused.total() >= self.rows {
            let (path, rows) = (self.path, self.rows);
            return Err(CommandError::Input(InputError::NothingUsable { path, rows }));
        }
        Ok((self.rows, self.refused))
    }
}
