//! The crates' own tests on a target, and how many there were.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::Context as _;

use super::{Target, build};
use crate::workspace;

/// Under emulation a case costs ten times as much; natively all are tried anyway.
const PROPERTY_CASES: &str = "16";
/// What tests that look at the time are to allow for.
const TIMES_SLOWER: &str = "20";

/// How many tests passed, and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

impl Counts {
    /// Some passed, and none failed.
    pub(super) fn are_good(self) -> bool {
        self.passed > 0 && self.failed == 0
    }
}

/// Runs the core's tests and the agent's unit tests. (The agent's crash tests bring a C library
/// of this machine, which no emulated program can load.)
pub(super) fn run(target: &Target) -> anyhow::Result<Counts> {
    let core = tests(target, &["--package", "daywise-core", "--tests"])?;
    let agent = tests(target, &["--package", "daywise-agent", "--lib", "--bins"])?;
    Ok(Counts { passed: core.passed + agent.passed, failed: core.failed + agent.failed })
}

fn tests(target: &Target, which: &[&str]) -> anyhow::Result<Counts> {
    let mut command = build::cargo(target);
    command.args(["test", "--locked", "--no-fail-fast", "--target", &target.triple]).args(which);
    if !target.is_native() {
        command.env("PROPTEST_CASES", PROPERTY_CASES).env("DAYWISE_TIMES_SLOWER", TIMES_SLOWER);
    }
    counted(&mut command)
}

/// Runs tests, passes on what they print, and counts.
pub(super) fn counted(command: &mut Command) -> anyhow::Result<Counts> {
    let output = command
        .current_dir(workspace::root()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run the tests")?;
    std::io::stderr().write_all(&output.stdout).context("cannot pass the tests' output on")?;
    let mut counts = count(&String::from_utf8_lossy(&output.stdout));
    // A suite that does not build or dies has no result line.
    if !output.status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

/// Adds up lines such as `test result: ok. 12 passed; 0 failed; …`.
fn count(text: &str) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let [number, what] = pair else { continue };
            let number = number.parse().unwrap_or(0);
            match *what {
                "passed;" => counts.passed += number,
                "failed;" => counts.failed += number,
                _ => {}
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_result_lines_are_added_up() {
        let text = "running 3 tests\ntest a ... ok\n\n\
                    test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out\n\n\
                    test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured\n";
        assert_eq!(count(text), Counts { passed: 7, failed: 2 });
        assert_eq!(count("error: could not compile"), Counts::default());
    }

    #[test]
    fn a_suite_that_dies_has_failed() {
        let counts = counted(Command::new("sh").args(["-c", "exit 101"])).unwrap();
        assert_eq!(counts, Counts { passed: 0, failed: 1 });
    }
}
