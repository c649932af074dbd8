//! `train`: features files to a model file, by the same code as the server's training.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use daywise_core::model::{self, Digest, Model, Scaling};
use daywise_server::{
    clock,
    train::{self, Clusters, FamilyReport, Options, Parent, csv, gates},
};
use serde_json::{Map, Value, json};

use super::print;

/// Refused rows that are named one by one; the rest is only counted.
const NAMED_ROWS: u64 = 20;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Features files as `daywise-agent features` writes them: .csv, .csv.gz, or - for stdin.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    features: Vec<PathBuf>,
    /// Where to write the model.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The model to continue: its clusters, their names and its scales are kept.
    #[arg(long = "continue", value_name = "FILE")]
    parent: Option<PathBuf>,
    /// Clusters of each new family: a number or `auto`.
    #[arg(long, default_value = "auto", value_name = "N|auto")]
    k: Clusters,
    /// How features of each new family are scaled.
    #[arg(long, value_enum, default_value = "shape")]
    scale: Scale,
    /// Decides every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object as the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scale {
    None,
    Standard,
    Robust,
    /// Hours by the day's shape; by the standard deviation where a set has no hours.
    Shape,
}

impl From<Scale> for Scaling {
    fn from(scale: Scale) -> Self {
        match scale {
            Scale::None => Self::None,
            Scale::Standard => Self::Standard,
            Scale::Robust => Self::Robust,
            Scale::Shape => Self::Shape,
        }
    }
}

pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<()> {
    let parent = arguments.parent.as_deref().map(read_model).transpose()?;
    let loaded = load(&arguments.features)?;
    if let Some((model, _)) = &parent {
        agree(arguments, model)?;
    }
    let from = parent.as_ref().map(|(model, digest)| Parent { model, digest: *digest });
    let version = match &parent {
        Some((model, _)) => {
            model.version.checked_add(1).context("the version number is used up")?
        }
        None => 1,
    };
    let options = Options { k: arguments.k, scaling: arguments.scale.into(), seed: arguments.seed };
    let trained = train::train(&loaded.days, from, version, clock::now(), options)?;
    let (bytes, digest) = gates::check(&trained, parent.as_ref().map(|(m, _)| m), &loaded.days)
        .context("the trained model was refused and not written")?;
    write(&arguments.out, &bytes)?;
    for report in &trained.reports {
        describe(report)?;
    }
    print(&format!("version {version}, {} bytes, sha256 {digest}", bytes.len()))?;
    if arguments.json {
        print(&summary(&loaded, &trained, digest, parent.map(|(_, digest)| digest)).to_string())?;
    }
    Ok(())
}

fn read_model(path: &Path) -> anyhow::Result<(Model, Digest)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    model::decode(&bytes).with_context(|| format!("cannot use the model {}", path.display()))
}

/// A continued family keeps its parent's clusters; asking for another number is a mistake that
/// should not pass in silence.
fn agree(arguments: &Arguments, parent: &Model) -> anyhow::Result<()> {
    if let Clusters::Exactly(k) = arguments.k
        && let Some(other) = parent.families.iter().find(|f| f.clusters.len() != usize::from(k))
    {
        anyhow::bail!(
            "--k {k} cannot be had by continuing: the {} clusters are {}",
            other.quantity,
            other.clusters.len()
        );
    }
    Ok(())
}

fn load(files: &[PathBuf]) -> anyhow::Result<csv::Loaded> {
    let mut refused: u64 = 0;
    let loaded = csv::load(files, |path, line, reason| {
        refused += 1;
        if refused <= NAMED_ROWS {
            eprintln!("{}:{line}: row left out: {reason}", path.display());
        }
    })?;
    if refused > NAMED_ROWS {
        eprintln!("… and {} more", refused - NAMED_ROWS);
    }
    if refused > 0 {
        let counts: Vec<String> =
            loaded.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        eprintln!("{refused} of {} rows left out: {}", loaded.rows, counts.join(", "));
    }
    if loaded.days.is_empty() {
        anyhow::bail!("none of the {} rows can be trained on", loaded.rows);
    }
    Ok(loaded)
}

/// Renamed into place, so that a reader never sees half a model.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().context("--out names no file")?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = fs::write(&new, bytes)
        .and_then(|()| fs::File::open(&new)?.sync_all())
        .and_then(|()| fs::rename(&new, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn describe(report: &FamilyReport) -> anyhow::Result<()> {
    print(&format!("{} {}: {} sensor-days", report.quantity, report.set, report.sensor_days))?;
    if let Some(first) = report.first_iteration_inertia {
        print(&format!("  first iteration inertia  {first:.4}"))?;
    }
    print(&format!("  k                        {}", report.k))?;
    print(&format!("  inertia                  {:.4}", report.inertia))?;
    print(&format!("  cluster sizes            {:?}", report.cluster_sizes))?;
    let silhouette = report.silhouette.map_or("-".into(), |value| format!("{value:.4}"));
    print(&format!("  silhouette               {silhouette}"))?;
    print(&format!("  99 % distance            {:.4}", report.p99_distance))?;
    let scale: Vec<String> = report
        .scale
        .iter()
        .map(|(name, scale)| format!("{name} {:.4}", scale.as_f64().unwrap_or(1.0)))
        .collect();
    print(&format!("  scaling                  {:?}: {}", report.scaling, scale.join(", ")))
}

/// The whole training as one object. With a single family, its figures stand at the top too.
fn summary(
    loaded: &csv::Loaded,
    trained: &train::Trained,
    digest: Digest,
    parent: Option<Digest>,
) -> Value {
    let refused: Map<String, Value> =
        loaded.refused.iter().map(|(reason, count)| (reason.to_string(), json!(count))).collect();
    let inertia: f64 = trained.reports.iter().map(|report| report.inertia).sum();
    let mut summary = json!({
        "version": trained.model.version,
        "digest": digest.to_string(),
        "parent": parent.map(|digest| digest.to_string()),
        "rows": loaded.rows,
        "refused": refused,
        "sensor_days": loaded.days.len(),
        "inertia": inertia,
        "families": trained.reports,
    });
    if let ([only], Value::Object(summary)) = (trained.reports.as_slice(), &mut summary) {
        let only = serde_json::to_value(only).unwrap_or_default();
        for key in [
            "k",
            "cluster_sizes",
            "silhouette",
            "scaling",
            "scale",
            "first_iteration_inertia",
            "p99_distance",
        ] {
            summary.insert(key.into(), only.get(key).cloned().unwrap_or_default());
        }
    }
    summary
}
