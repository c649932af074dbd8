//! `cargo xtask bench`: what the work costs, each figure beside a named reference of the same run.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use crate::workspace;

/// The benchmarks: a package, and one of its bench targets.
const BENCHES: [(&str, &str); 2] = [("daywise-core", "decode"), ("daywise-core", "score")];

/// `cargo xtask bench`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Ends with one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

/// Runs the benchmarks, and gathers what each says in its last line.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let mut all = Map::new();
    for (package, bench) in BENCHES {
        let output = Command::new(workspace::cargo())
            .args(["bench", "--locked", "--package", package, "--bench", bench])
            .current_dir(workspace::root()?)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run the benchmark {bench}"))?;
        if !output.status.success() {
            bail!("the benchmark {bench} failed ({})", output.status);
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let (table, last) = said.trim_end().rsplit_once('\n').context("the benchmark is silent")?;
        println!("{table}");
        let figures: Map<String, Value> = serde_json::from_str(last)
            .with_context(|| format!("the benchmark {bench} does not end with its figures"))?;
        all.extend(figures);
    }
    if args.json {
        println!("{}", Value::Object(all));
    }
    Ok(())
}
