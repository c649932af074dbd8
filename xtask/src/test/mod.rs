//! `cargo xtask test`: everything that CI runs, in one go, with a table at its end.
//!
//! A failed step does not stop the others, so that one run names all that is wrong; only what
//! the later steps need (system packages, the target, the build) does.

mod config_files;
mod licences;
mod needed;
mod said;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{
    cross,
    eval::recorded::{self, Comparison},
    system, workspace,
};

/// The bare target that shows that the core needs no operating system.
const BARE_TARGET: &str = "thumbv7em-none-eabihf";

/// Enough for most kinds of faults to happen.
const CHAOS_TRIALS: &str = "6";

/// `cargo xtask test`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Only format, lints and unit tests.
    #[arg(long)]
    quick: bool,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// Passed, with something to know.
    Noted(String),
    Failed(String),
}

struct Step {
    name: &'static str,
    /// Without it the steps after it make no sense.
    is_needed: bool,
    run: fn() -> anyhow::Result<Outcome>,
}

const fn step(name: &'static str, run: fn() -> anyhow::Result<Outcome>) -> Step {
    Step { name, is_needed: false, run }
}

const fn needed(name: &'static str, run: fn() -> anyhow::Result<Outcome>) -> Step {
    Step { name, is_needed: true, run }
}

const QUICK: [Step; 3] =
    [step("format", format), step("clippy", clippy), step("unit tests", quick_tests)];

const ALL: [Step; 17] = [
    needed("system packages", needed::packages),
    needed("rust targets", needed::targets),
    step("format", format),
    step("clippy", clippy),
    needed("build", build),
    step("unit, property and golden tests", unit_tests),
    step("end-to-end tests", end_to_end_tests),
    step("chaos", short_chaos),
    step("soak", short_soak),
    step("scores", recorded_scores),
    step("golden arithmetic", golden_arithmetic),
    step("emulated board", emulated_board),
    step("core without std", bare_core),
    step("fuzz targets", fuzz_targets),
    step("documentation", documentation),
    step("licences", licences::check),
    step("config files", config_files::check),
];

/// Runs the steps.
pub(crate) fn run(args: &TestArgs) -> anyhow::Result<()> {
    let steps: &[Step] = if args.quick { &QUICK } else { &ALL };
    let mut table = Vec::new();
    for step in steps {
        println!("\n=== {} ===", step.name);
        let started = Instant::now();
        let outcome = (step.run)().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        let took = started.elapsed();
        println!("=== {}: {} in {} ===", step.name, word(&outcome), seconds(took));
        if let Outcome::Noted(note) = &outcome {
            println!("    {note}");
        }
        let stops = step.is_needed && matches!(outcome, Outcome::Failed(_));
        table.push((step.name, outcome, took));
        if stops {
            break;
        }
    }
    conclude(steps.len(), &table)
}

fn conclude(planned: usize, table: &[(&str, Outcome, Duration)]) -> anyhow::Result<()> {
    for (name, outcome, _) in table {
        if let Outcome::Failed(why) = outcome {
            println!("\n{name} failed: {}", why.trim_end());
        }
    }
    println!("\nsummary");
    for (name, outcome, took) in table {
        println!("  {:<7} {:>7}  {name}", word(outcome), seconds(*took));
    }
    let failed =
        table.iter().filter(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_))).count();
    let skipped = planned - table.len();
    let rest = if skipped == 0 { String::new() } else { format!(", {skipped} not run") };
    println!("{} passed, {failed} failed{rest}", table.len() - failed);
    if failed > 0 {
        bail!("{failed} of {planned} steps failed");
    }
    Ok(())
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed | Outcome::Noted(_) => "ok",
        Outcome::Failed(_) => "FAILED",
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Runs a program in the workspace's root with our own output.
fn command(
    program: impl Into<PathBuf>,
    args: &[&str],
    env: &[(&str, &str)],
) -> anyhow::Result<Outcome> {
    let program = program.into();
    println!("$ {} {}", program.file_name().unwrap_or_default().to_string_lossy(), args.join(" "));
    let mut command = Command::new(&program);
    command.args(args).envs(env.iter().copied()).current_dir(workspace::root()?);
    let (status, last) =
        said::run(&mut command).with_context(|| format!("cannot run {}", program.display()))?;
    Ok(if status.success() {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("{status}\n{last}"))
    })
}

fn cargo(args: &[&str]) -> anyhow::Result<Outcome> {
    command(workspace::cargo(), args, &[])
}

/// Whether cargo has that subcommand.
fn has_cargo_command(name: &str) -> bool {
    let asked = Command::new(workspace::cargo())
        .args([name, "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

fn format() -> anyhow::Result<Outcome> {
    cargo(&["fmt", "--all", "--check"])
}

fn clippy() -> anyhow::Result<Outcome> {
    cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

fn build() -> anyhow::Result<Outcome> {
    cargo(&["build", "--locked", "--workspace", "--bins"])
}

fn quick_tests() -> anyhow::Result<Outcome> {
    tests(&["--lib", "--bins"])
}

fn unit_tests() -> anyhow::Result<Outcome> {
    match tests(&["--all-targets"])? {
        Outcome::Passed => {}
        other => return Ok(other),
    }
    cargo(&["test", "--locked", "--workspace", "--exclude", "e2e", "--doc"])
}

/// All tests but the end-to-end ones, by the faster runner where it is installed.
fn tests(which: &[&str]) -> anyhow::Result<Outcome> {
    let runner: &[&str] =
        if has_cargo_command("nextest") { &["nextest", "run"] } else { &["test"] };
    let common = ["--locked", "--workspace", "--exclude", "e2e"];
    cargo(&[runner, &common, which].concat())
}

/// By cargo's own runner: they share ports and processors, and order themselves.
fn end_to_end_tests() -> anyhow::Result<Outcome> {
    cargo(&["test", "--locked", "--package", "e2e"])
}

/// A few trials, with the programs that were built for the other tests.
fn short_chaos() -> anyhow::Result<Outcome> {
    let programs = workspace::target_dir()?.join("debug");
    crate::chaos::trials(&programs, &["--trials", CHAOS_TRIALS])?;
    Ok(Outcome::Passed)
}

/// Two days of a few sensors, with the programs that were built for the other tests.
fn short_soak() -> anyhow::Result<Outcome> {
    crate::soak::run(&crate::soak::SoakArgs {
        sensors: 50,
        days: 2,
        speed: "max".into(),
        durability: "acked".into(),
        board: "raspberry-pi-zero-2w".into(),
        json: false,
        programs: Some(workspace::target_dir()?.join("debug")),
    })?;
    Ok(Outcome::Passed)
}

/// Whether scores and clusters are as good as recorded, where the recordings are at hand.
fn recorded_scores() -> anyhow::Result<Outcome> {
    let programs = workspace::target_dir()?.join("debug");
    Ok(match recorded::check(&programs)? {
        Comparison::Kept => Outcome::Passed,
        Comparison::Noted(note) => Outcome::Noted(note),
        Comparison::Worse(what) => Outcome::Failed(what),
    })
}

/// Whether features and predictions are those of every other target, bit by bit.
fn golden_arithmetic() -> anyhow::Result<Outcome> {
    let agent = workspace::target_dir()?.join("debug/daywise-agent");
    Ok(if cross::is_golden_here(&agent)? {
        Outcome::Passed
    } else {
        Outcome::Failed("not what the other targets compute; if on purpose: cross --bless".into())
    })
}

/// A boot, a load, one power cut, and all readings there afterwards.
fn emulated_board() -> anyhow::Result<Outcome> {
    if system::find("apt-get").is_none() {
        return Ok(Outcome::Noted(
            "not run: its kernel is Debian's, and apt-get is not here".into(),
        ));
    }
    println!("{}", cross::boot_board(1, 1)?);
    Ok(Outcome::Passed)
}

fn bare_core() -> anyhow::Result<Outcome> {
    cargo(&["build", "--locked", "--package", "daywise-core", "--target", BARE_TARGET])
}

/// They are no members of the workspace, and would go stale unseen.
fn fuzz_targets() -> anyhow::Result<Outcome> {
    let is_fine = crate::fuzz::check()?;
    Ok(if is_fine { Outcome::Passed } else { Outcome::Failed("see above".into()) })
}

fn documentation() -> anyhow::Result<Outcome> {
    let args = ["doc", "--locked", "--workspace", "--no-deps"];
    command(workspace::cargo(), &args, &[("RUSTDOCFLAGS", "-D warnings")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_whole() {
        let second = Duration::from_secs(1);
        let passed = ("a", Outcome::Noted("but".into()), second);
        assert!(conclude(1, std::slice::from_ref(&passed)).is_ok());
        let failed = ("b", Outcome::Failed("exit status: 1".into()), second);
        assert!(conclude(2, &[passed, failed]).is_err());
    }
}
