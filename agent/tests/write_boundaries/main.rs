//! The store after a crash at each single place where it touches its files.
//!
//! A child process works through [`workload`] and is killed before its Nth write, sync, truncation
//! or rename, or in the middle of its Nth write, for each N; or the power is cut: of what was not
//! synced by then, any part may be on the disk. After each, what was confirmed is there, nothing is
//! half there, and the rest of the work leads to the same content as without a crash.
//!
//! More is tried where the environment asks for it: `DAYWISE_POWER_CUTS` at each sync instead of
//! two, and after kills at `DAYWISE_KILLS_BEFORE_CUTS` places instead of sixteen.
//!
//! | file | content |
//! |---|---|
//! | `workload.rs` | what is done to the store |
//! | `content.rs` | what it must hold, and the check |
//! | `child.rs` | the process that crashes |
//! | `crash_at.c` | what makes it crash, or writes down what it does to its files |
//! | `power.rs` | what a power cut leaves |

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests; a failure is the test's"
)]

mod child;
mod content;
mod power;
mod workload;

use std::{fs, path::Path, process::ExitStatus};

use child::{End, Preload, scratch};
use content::Truth;
use power::{Disk, Operation};

/// How many to try: what the environment says, or `usual`.
fn wanted(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

/// The workload without a crash, what it does to its files, and where all of it happens.
struct Bench {
    preload: Preload,
    dir: tempfile::TempDir,
    truth: Truth,
    operations: Vec<Operation>,
}

impl Bench {
    /// `None` where processes cannot be made to crash, with a message.
    fn set_up() -> Option<Self> {
        let preload = Preload::build()?;
        let dir = scratch();
        let truth = Truth::find(&dir.path().join("truth"));
        let log = dir.path().join("log");
        let (status, _) = preload.run(&dir.path().join("whole"), End::Finished, Some(&log));
        assert!(status.success(), "{status}");
        let operations = power::read_log(&log);
        Some(Self { preload, dir, truth, operations })
    }

    fn kill_everywhere(&self, what: &str, counts: fn(&Operation) -> bool, end: fn(usize) -> End) {
        let expected = self.operations.iter().filter(|operation| counts(operation)).count();
        let (mut tried, mut failures) = (0, Vec::new());
        for place in 1.. {
            let root = self.dir.path().join(format!("kill-{place}"));
            let (status, progress) = self.preload.run(&root, end(place), None);
            if status.success() {
                break;
            }
            assert!(was_killed(status), "place {place}: {status}");
            tried += 1;
            if let Err(failure) = self.truth.check(&root.join("store"), progress) {
                failures.push(format!("at {place}, {progress:?}: {failure}"));
            }
            fs::remove_dir_all(root).unwrap();
        }
        // The engine's own threads do a little more or less from run to run.
        assert!(tried > 100 && tried * 10 > expected * 8, "{tried} of about {expected}");
        conclude(what, tried, &failures);
    }

    /// Cuts the power at each sync among the `operations` from `first` on, which happened in
    /// `root`.
    fn cut_everywhere(
        &self,
        root: &Path,
        operations: &[Operation],
        first: usize,
    ) -> (usize, Vec<String>) {
        let (mut tried, mut failures) = (0, Vec::new());
        let mut disk = Disk::new(root);
        let cuts = wanted("DAYWISE_POWER_CUTS", 2);
        for (place, operation) in operations.iter().enumerate() {
            let is_sync = matches!(operation, Operation::Sync { .. });
            for cut in (0..cuts).filter(|_| is_sync && place >= first) {
                let left = root.with_extension("cut");
                let (seed, progress) = ((place * 1_000 + cut) as u64, disk.progress());
                disk.cut_power(seed, &left);
                tried += 1;
                if let Err(failure) = self.truth.check(&left.join("store"), progress) {
                    failures.push(format!("at {place}, seed {seed}, {progress:?}: {failure}"));
                }
                fs::remove_dir_all(left).unwrap();
            }
            disk.handle(operation);
        }
        (tried, failures)
    }
}

fn is_any(operation: &Operation) -> bool {
    !matches!(operation, Operation::Note { .. })
}

fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(9)
}

fn conclude(what: &str, tried: usize, failures: &[String]) {
    println!("{what}: {tried} tried, {} failed", failures.len());
    assert!(failures.is_empty(), "{what}: {failures:#?}");
}

#[test]
fn a_kill_before_any_operation_on_a_file_loses_nothing() {
    let Some(bench) = Bench::set_up() else { return };
    bench.kill_everywhere("kills", is_any, End::Before);
}

#[test]
fn a_kill_in_the_middle_of_any_write_loses_nothing() {
    let Some(bench) = Bench::set_up() else { return };
    let is_write = |operation: &Operation| matches!(operation, Operation::Write { .. });
    bench.kill_everywhere("torn writes", is_write, End::Within);
}

#[test]
fn a_power_cut_before_any_sync_is_done_loses_nothing() {
    let Some(bench) = Bench::set_up() else { return };
    let root = bench.dir.path().join("whole");
    let (tried, failures) = bench.cut_everywhere(&root, &bench.operations, 0);
    conclude("power cuts", tried, &failures);
}

/// A restart reads what the killed process wrote, whether or not it is on the disk by then.
#[test]
fn a_power_cut_while_a_killed_process_starts_again_loses_nothing() {
    let Some(bench) = Bench::set_up() else { return };
    let (mut tried, mut failures) = (0, Vec::new());
    let places = bench.operations.iter().filter(|operation| is_any(operation)).count();
    let kills = wanted("DAYWISE_KILLS_BEFORE_CUTS", 16);
    for place in (1..=kills).map(|n| n * places / (kills + 1)) {
        let root = bench.dir.path().join(format!("kill-{place}"));
        let log = root.with_extension("log");
        let (status, _) = bench.preload.run(&root, End::Before(place), Some(&log));
        if status.success() {
            continue;
        }
        assert!(was_killed(status), "place {place}: {status}");
        let first = power::read_log(&log).len();
        let (status, _) = bench.preload.run(&root, End::Opened, Some(&log));
        assert!(status.success(), "place {place}: {status}");
        let (of_these, failed) = bench.cut_everywhere(&root, &power::read_log(&log), first);
        tried += of_these;
        failures.extend(failed.into_iter().map(|failure| format!("killed at {place}, {failure}")));
    }
    conclude("power cuts after a kill", tried, &failures);
}
