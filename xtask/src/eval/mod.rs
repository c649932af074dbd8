//! `cargo xtask eval`: how good the scores and clusters are, on labelled recordings.
//!
//! The product's own commands run over each set with their defaults; only the zone is given, and
//! no label is learnt from. What they say is compared with the labels, beside a simple detector
//! and the floor that must not be missed. See docs/evaluation.md.

mod detectors;
mod input;
mod metrics;
mod nab_score;
mod product;
pub(crate) mod recorded;
mod rows;
mod tasks;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, bail};

use crate::{demo, process::Interrupt, workspace};
use product::Product;
use rows::Row;
use tasks::Set;

/// Where the recordings are unless asked otherwise, from the workspace's root.
const DATA: &str = "../shared/data";

/// `cargo xtask eval`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EvalArgs {
    /// The folder of recordings, one folder each, instead of ../shared/data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Ends with one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Only these recordings, by the names of their folders.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    sets: Vec<String>,
    /// Only the recordings that `cargo xtask test` looks at.
    #[arg(long, conflicts_with = "sets")]
    quick: bool,
    /// Record the figures that `cargo xtask test` compares with; implies --quick.
    #[arg(long, conflicts_with_all = ["sets", "data"])]
    bless: bool,
    /// Run the programs in this folder instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// The figures, the sets that are not there, and the ones that could not be judged.
#[derive(Debug, Default)]
struct Findings {
    rows: Vec<Row>,
    skipped: Vec<String>,
    failed: Vec<String>,
}

/// Runs it; fails where a floor is missed.
pub(crate) fn run(args: &EvalArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let data = args.data.clone().map_or_else(data, Ok)?;
    if !data.is_dir() {
        bail!("no recordings at {}: name their folder with --data", data.display());
    }
    let names = if args.quick || args.bless {
        tasks::QUICK.map(str::to_owned).to_vec()
    } else if args.sets.is_empty() {
        all(&data)?
    } else {
        args.sets.clone()
    };
    let programs = args.programs.clone().map_or_else(demo::build, Ok)?;
    let findings = judge(&data, &names, &Product::new(&programs, interrupt)?)?;
    print!("{}", rows::to_text(&findings.rows));
    if args.bless && findings.failed.is_empty() {
        recorded::write(&findings.rows)?;
    }
    conclude(&findings, args.json)
}

fn conclude(findings: &Findings, json: bool) -> anyhow::Result<()> {
    let Findings { rows, skipped, failed } = findings;
    for what in skipped {
        println!("skipped: {what}");
    }
    for what in failed {
        println!("failed: {what}");
    }
    if json {
        println!("{}", rows::to_json(rows, skipped, failed));
    }
    let missed = rows.iter().filter(|row| row.is_below_floor()).count();
    if missed + failed.len() > 0 {
        bail!("{missed} figures miss their floors, {} sets failed", failed.len());
    }
    Ok(())
}

/// Where the recordings are.
fn data() -> anyhow::Result<PathBuf> {
    Ok(workspace::root()?.join(DATA))
}

/// The known sets in their order, then whatever else is there.
fn all(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = tasks::known().map(str::to_owned).collect();
    let mut others = BTreeSet::new();
    let entries = fs::read_dir(data).with_context(|| format!("cannot list {}", data.display()))?;
    for entry in entries {
        let entry = entry.context("cannot list the recordings")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_labelled = tasks::task(&name, &entry.path()).is_some();
        if entry.path().is_dir() && is_labelled && !names.contains(&name) {
            let _ = others.insert(name);
        }
    }
    names.extend(others);
    Ok(names)
}

/// One set after the other; one that cannot be judged does not hide the others.
fn judge(data: &Path, names: &[String], product: &Product) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    for name in names {
        let folder = data.join(name);
        if !folder.is_dir() {
            findings.skipped.push(format!("{name}: not in {}", data.display()));
            continue;
        }
        let Some(task) = tasks::task(name, &folder) else {
            findings.skipped.push(format!("{name}: no readings.csv.gz with a labels.csv"));
            continue;
        };
        let started = Instant::now();
        match task(&Set { name, folder, product }) {
            Ok(rows) => findings.rows.extend(rows),
            Err(error) => findings.failed.push(format!("{name}: {error:#}")),
        }
        product.check()?;
        eprintln!("eval: {name}: {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(findings)
}
