//! `cargo xtask cross`: the agent for every target that a board names, built with Debian's cross
//! compilers and tested under QEMU's user emulation, without containers.
//!
//! | step | what must be so |
//! |---|---|
//! | build | the stripped agent is within the smallest budget of the target's boards |
//! | again | sources elsewhere, built into another folder, give the same bytes |
//! | suites | the core's and the agent's own tests pass on the target |
//! | arithmetic | features and predictions are the golden ones, bit by bit |
//! | end to end | an emulated agent, mosquitto and a native server: the whole loop, kills, updates |
//!
//! With `--system` a whole emulated board is booted as well, and its power cut (`board/`).

mod arithmetic;
mod board;
mod build;
mod end_to_end;
mod suites;
mod target;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use daywise_core::board::Board;
use serde_json::{Map, Value, json};

use crate::{boards, system};
pub(crate) use arithmetic::is_golden_here;
pub(crate) use board::run as boot_board;
pub(crate) use build::agent as build_agent;
pub(crate) use target::Target;

/// `cargo xtask cross`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CrossArgs {
    /// Only this target; may be given several times.
    #[arg(long, value_name = "TRIPLE")]
    triple: Vec<String>,
    /// Ends with one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Builds every target twice, not only the first.
    #[arg(long)]
    all_twice: bool,
    /// Takes what this machine computes for golden from now on.
    #[arg(long)]
    bless: bool,
    /// Boots an emulated board, too, and cuts its power.
    #[arg(long)]
    system: bool,
    /// Only boots the emulated board.
    #[arg(long, conflicts_with_all = ["triple", "bless", "all_twice"])]
    only_system: bool,
    /// How often the emulated board's power is cut.
    #[arg(long, value_name = "N", default_value_t = 5)]
    cuts: u32,
    /// Decides the moments of the cuts.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// What is known of a target's agent; `None` is what was not tried or went wrong before it.
#[derive(Clone, Debug, Default)]
struct Report {
    binary: Option<PathBuf>,
    binary_bytes: Option<u64>,
    budget_bytes: u64,
    reproducible: Option<bool>,
    suites: suites::Counts,
    end_to_end: suites::Counts,
    identical: Option<bool>,
    problems: Vec<String>,
}

/// Runs all of it; fails where anything is not as it must be.
pub(crate) fn run(args: &CrossArgs) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    if !args.only_system {
        let targets = targets(args)?;
        system::install(&missing_packages(&targets))?;
        arithmetic::prepare(args.bless)?;
        for (place, target) in targets.iter().enumerate() {
            let is_twice = args.all_twice || place == 0;
            let report = examine(target, is_twice);
            eprintln!("cross: {}: {}", target.triple, report.to_json());
            reports.push((target.triple.clone(), report));
        }
    }
    let booted = (args.system || args.only_system).then(|| board::run(args.cuts, args.seed));
    let booted = booted.transpose()?;
    let mut bad: Vec<&str> = Vec::new();
    for (triple, report) in &reports {
        println!("{triple}: {}", report.to_text());
        if !report.is_good() {
            bad.push(triple);
        }
    }
    if args.json {
        let triples: Map<String, Value> =
            reports.iter().map(|(triple, report)| (triple.clone(), report.to_json())).collect();
        println!("{}", json!({ "triples": triples, "system": booted }));
    }
    if bad.is_empty() { Ok(()) } else { bail!("not as it must be: {}", bad.join(", ")) }
}

/// The agent as that board's package has it, built for size and with its kind of C library, but
/// for this machine.
pub(crate) fn build_here(board: &Board) -> anyhow::Result<PathBuf> {
    let library = if board.triple.ends_with("musl") { "musl" } else { "gnu" };
    let triple = format!("{}-unknown-linux-{library}", std::env::consts::ARCH);
    let target = Target::new(&triple, std::slice::from_ref(board))?;
    target.add_standard_library()?;
    build::agent(&target)
}

fn targets(args: &CrossArgs) -> anyhow::Result<Vec<Target>> {
    let by_triple = boards::by_triple()?;
    for asked in &args.triple {
        if !by_triple.contains_key(asked) {
            let known: Vec<&str> = by_triple.keys().map(String::as_str).collect();
            bail!("no board names {asked}; they name: {}", known.join(", "));
        }
    }
    let wanted = by_triple
        .into_iter()
        .filter(|(triple, _)| args.triple.is_empty() || args.triple.contains(triple));
    wanted.map(|(triple, boards)| Target::new(&triple, &boards)).collect()
}

fn missing_packages(targets: &[Target]) -> Vec<String> {
    let mut missing: Vec<_> = targets.iter().flat_map(Target::missing_packages).collect();
    if system::find("mosquitto").is_none() {
        missing.push("mosquitto".to_owned());
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// One target after another step, as far as the steps before allow.
fn examine(target: &Target, is_twice: bool) -> Report {
    let mut report = Report { budget_bytes: target.budget_bytes, ..Report::default() };
    if let Err(error) = examine_into(target, is_twice, &mut report) {
        report.problems.push(format!("{error:#}"));
    }
    report
}

fn examine_into(target: &Target, is_twice: bool, report: &mut Report) -> anyhow::Result<()> {
    let triple = &target.triple;
    target.add_standard_library()?;
    eprintln!("cross: {triple}: building the agent");
    let binary = build::agent(target)?;
    report.binary_bytes = Some(std::fs::metadata(&binary).context("the agent is gone")?.len());
    report.binary = Some(binary.clone());
    eprintln!("cross: {triple}: features and predictions");
    report.identical = Some(arithmetic::is_golden(target, &binary)?);
    eprintln!("cross: {triple}: unit, property and golden tests");
    report.suites = suites::run(target)?;
    eprintln!("cross: {triple}: end to end");
    report.end_to_end = end_to_end::run(target, &binary)?;
    if is_twice {
        eprintln!("cross: {triple}: building it again, elsewhere");
        report.reproducible = Some(build::is_reproducible(target, &binary)?);
    }
    Ok(())
}

impl Report {
    fn is_good(&self) -> bool {
        self.problems.is_empty()
            && self.binary_bytes.is_some_and(|bytes| bytes <= self.budget_bytes)
            && self.reproducible != Some(false)
            && self.identical == Some(true)
            && self.suites.are_good()
            && self.end_to_end.are_good()
    }

    fn to_json(&self) -> Value {
        json!({
            "built": self.binary.is_some(),
            "tests_passed": self.suites.passed,
            "tests_failed": self.suites.failed,
            "e2e": self.end_to_end.are_good(),
            "e2e_passed": self.end_to_end.passed,
            "binary_bytes": self.binary_bytes,
            "binary_budget_bytes": self.budget_bytes,
            "identical": self.identical == Some(true),
            // null: it was built once only.
            "reproducible": self.reproducible,
            "problems": self.problems,
        })
    }

    fn to_text(&self) -> String {
        let yes_no = |is_so: Option<bool>| match is_so {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "not tried",
        };
        let mut text = format!(
            "{} bytes of {}, {} tests passed, {} failed, end to end {} passed, {} failed, \
             features and predictions identical: {}, same bytes when built elsewhere: {}",
            self.binary_bytes.unwrap_or(0),
            self.budget_bytes,
            self.suites.passed,
            self.suites.failed,
            self.end_to_end.passed,
            self.end_to_end.failed,
            yes_no(self.identical),
            yes_no(self.reproducible),
        );
        for problem in &self.problems {
            text.push_str("\n    ");
            text.push_str(problem);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            binary: Some("daywise-agent".into()),
            binary_bytes: Some(6_000_000),
            budget_bytes: 6_000_000,
            reproducible: None,
            suites: suites::Counts { passed: 5, failed: 0 },
            end_to_end: suites::Counts { passed: 3, failed: 0 },
            identical: Some(true),
            problems: Vec::new(),
        }
    }

    #[test]
    fn one_thing_that_is_not_so_spoils_a_target() {
        assert!(good().is_good());
        let none = suites::Counts::default();
        let some_fail = suites::Counts { passed: 5, failed: 1 };
        let bad = [
            Report { binary_bytes: Some(6_000_001), ..good() },
            Report { binary_bytes: None, ..good() },
            Report { reproducible: Some(false), ..good() },
            Report { suites: none, ..good() },
            Report { suites: some_fail, ..good() },
            Report { end_to_end: none, ..good() },
            Report { identical: None, ..good() },
            Report { problems: vec!["something".into()], ..good() },
        ];
        for report in bad {
            assert!(!report.is_good(), "{report:?}");
        }
    }

    #[test]
    fn what_was_not_tried_is_not_said_to_be_so() {
        let json = Report::default().to_json();
        assert_eq!((&json["built"], &json["e2e"]), (&false.into(), &false.into()));
        assert_eq!((&json["identical"], &json["reproducible"]), (&false.into(), &Value::Null));
    }
}
