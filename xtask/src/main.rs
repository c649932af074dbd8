//! Daywise's developer commands: `cargo xtask bench`, `cargo xtask chaos`, `cargo xtask cross`,
//! `cargo xtask demo`, `cargo xtask dist`, `cargo xtask eval`, `cargo xtask fuzz`, `cargo xtask soak`,
//! `cargo xtask test`.
//!
//! Exit codes: 0 ok, 1 failure, 2 usage. Reports go to stdout, progress and messages to stderr.

mod bench;
mod boards;
mod chaos;
mod cross;
mod demo;
mod dist;
mod eval;
mod fuzz;
mod http;
mod mosquitto;
mod process;
mod soak;
mod system;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Daywise's developer commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures what the work costs, beside a reference.
    Bench(bench::BenchArgs),
    /// Feeds real processes while they are killed, paused and cut off; nothing may be lost.
    Chaos(chaos::ChaosArgs),
    /// Builds the agent for every board's target, and tests it there, emulated.
    Cross(cross::CrossArgs),
    /// Runs the whole loop on this machine: readings, days, training, update, predictions.
    Demo(demo::DemoArgs),
    /// Builds packages, their sums and the list of what is in them.
    Dist(dist::DistArgs),
    /// Judges the scores and clusters on labelled recordings, beside simple detectors.
    Eval(eval::EvalArgs),
    /// Feeds every decoder with mutated messages; nothing may panic, grow or hang.
    Fuzz(fuzz::FuzzArgs),
    /// Lives through a month with many sensors; nothing may grow, or wear the flash.
    Soak(soak::SoakArgs),
    /// Runs every check that CI runs.
    Test(test::TestArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Cross(args) => cross::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Test(args) => test::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
