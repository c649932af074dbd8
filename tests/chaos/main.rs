//! `cargo xtask chaos`: real processes, faults at random moments, and nothing lost.
//!
//! Each trial starts a broker, a server and an agent of its own, feeds three days of readings
//! through them, and lets them suffer: kills, pauses, power cuts, wires that are cut. In the end
//! everything that the agent acknowledged must be in its store, and every sensor-day, there and
//! at the server, must be bit for bit what the batch command makes of the same readings.
//!
//! A trial's faults and their moments follow from its seed; what the processes are doing at such
//! a moment is up to the machine.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is test code: a surprise is to end the trial where it happens"
)]

mod plan;
mod recovery;
mod report;
mod sensors;
mod site;
mod store;
mod trial;
mod truth;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use clap::Parser;
use e2e::image::Image;

use crate::{plan::Possible, report::Report, trial::Outcome};

/// Runs trials with faults at random moments.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask chaos")]
struct Args {
    /// How many trials.
    #[arg(long, default_value_t = 20)]
    trials: u64,
    /// The first trial's seed; each following one has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many trials run at a time.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Does not measure the recovery with a full outbox.
    #[arg(long)]
    skip_recovery: bool,
    /// Ends with one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let possible = possible();
    let next = AtomicU64::new(0);
    let report = Mutex::new(Report::new(args.trials, args.seed));
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, SeqCst);
                    if number >= args.trials {
                        return;
                    }
                    let seed = args.seed + number;
                    let outcome = run_one(seed, possible);
                    report.lock().unwrap().add(seed, &outcome);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap();
    if !args.skip_recovery {
        eprintln!("chaos: filling a store with 1,000 sensors and a full outbox");
        report.set_full_store(recovery::measure());
    }
    print!("{}", report.to_text());
    if args.json {
        println!("{}", report.to_json());
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A trial that ends by a panic of the harness is one that is not as it should be.
fn run_one(seed: u64, possible: Possible) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| trial::run(seed, possible))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let problem = text.unwrap_or("the trial ended by a panic").to_owned();
        Outcome { problems: vec![problem], ..Outcome::default() }
    })
}

/// Tries what this machine allows.
fn possible() -> Possible {
    let place = tempfile::tempdir().unwrap();
    match Image::mount(&place.path().join("disk")) {
        Ok(_) => Possible { power_cut: true, disk_full: true },
        Err(error) => {
            eprintln!("chaos: no power cuts and no full disks here: {error}");
            Possible { power_cut: false, disk_full: false }
        }
    }
}
