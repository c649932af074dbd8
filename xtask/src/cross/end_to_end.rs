//! The whole loop with an emulated agent: end-to-end tests of `tests/`, which take another agent
//! by [`AGENT`]. Server, broker and sensors are this machine's.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::{
    Target,
    suites::{self, Counts},
};
use crate::workspace;

/// What the tests' harness reads: the agent to start instead of the one beside it.
const AGENT: &str = "DAYWISE_E2E_AGENT";
/// Readings in, a model trained, pushed, checked, predicted with; killed again and again under
/// load, and while it takes a model over.
const TESTS: [&str; 3] = [
    "whole_loop::the_whole_loop_runs_through_mosquitto",
    "killed_agent::killed_agent_loses_nothing_behind_mosquitto_as_installed",
    "model_update::power_cut_during_an_update_leaves_one_of_two_models_behind_mosquitto",
];

/// Runs the tests with `agent`.
pub(super) fn run(target: &Target, agent: &Path) -> anyhow::Result<Counts> {
    // The harness looks for programs beside itself, also for those that it is told of elsewhere.
    workspace::run_cargo(&["build", "--locked", "--bins", "--package", "daywise-server"])?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let started = starter(target, agent, folder.path())?;
    let mut command = Command::new(workspace::cargo());
    command.args(["test", "--locked", "--package", "e2e", "--test", "e2e", "--", "--exact"]);
    // One after another: an emulated agent alone keeps a core busy.
    command.args(["--test-threads", "1"]).args(TESTS).env(AGENT, started);
    let counts = suites::counted(&mut command)?;
    let all = u64::try_from(TESTS.len()).unwrap_or(u64::MAX);
    if counts.failed == 0 && counts.passed != all {
        bail!("only {} of {all} end-to-end tests are there", counts.passed);
    }
    Ok(counts)
}

/// A program that becomes the agent, or QEMU with it: whoever kills it kills that.
fn starter(target: &Target, agent: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    if target.is_native() {
        return Ok(agent.into());
    }
    let words: Vec<String> = target.command(agent).iter().map(|word| format!("'{word}'")).collect();
    let path = folder.join("daywise-agent");
    let about = || format!("cannot write {}", path.display());
    fs::write(&path, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))
        .with_context(about)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).with_context(about)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_are_there_under_these_names() {
        let folder = workspace::root().unwrap().join("tests/e2e");
        for test in TESTS {
            let (module, name) = test.split_once("::").unwrap();
            let text = fs::read_to_string(folder.join(format!("{module}.rs"))).unwrap();
            assert!(text.contains(&format!("fn {name}()")), "{test}");
        }
    }
}
