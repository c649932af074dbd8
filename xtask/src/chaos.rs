//! `cargo xtask chaos`: builds the programs and the trials (`tests/chaos/`), and starts the
//! trials, which are a program of their own because they share the end-to-end tests' harness.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::workspace;

/// `cargo xtask chaos`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChaosArgs {
    /// How many trials.
    #[arg(long, value_name = "N", default_value_t = 20)]
    trials: u64,
    /// The first trial's seed; each following one has the next.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many trials run at a time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: u64,
    /// Does not measure the recovery with a full outbox.
    #[arg(long)]
    skip_recovery: bool,
    /// Ends with one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Run the programs in this folder instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// Runs the trials.
pub(crate) fn run(args: &ChaosArgs) -> anyhow::Result<()> {
    let folder = args.programs.clone().map_or_else(build, Ok)?;
    let numbers = [("--trials", args.trials), ("--seed", args.seed), ("--jobs", args.jobs)];
    let numbers = numbers.map(|(name, number)| [name.to_owned(), number.to_string()]);
    let flags = [("--skip-recovery", args.skip_recovery), ("--json", args.json)];
    let flags = flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (*name).to_owned());
    let passed: Vec<String> = numbers.into_iter().flatten().chain(flags).collect();
    trials(&folder, &passed)
}

/// Runs the trials with the programs in `folder`.
pub(crate) fn trials(folder: &Path, args: &[impl AsRef<str>]) -> anyhow::Result<()> {
    let program = folder.join("daywise-chaos");
    let status = Command::new(&program)
        .args(args.iter().map(AsRef::as_ref))
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !status.success() {
        bail!("the trials failed ({status})");
    }
    Ok(())
}

/// Builds agent, server and trials; says where they are.
fn build() -> anyhow::Result<PathBuf> {
    let packages =
        ["--package", "daywise-agent", "--package", "daywise-server", "--package", "e2e"];
    workspace::run_cargo(&[&["build", "--release", "--locked", "--bins"][..], &packages].concat())?;
    Ok(workspace::target_dir()?.join("release"))
}
