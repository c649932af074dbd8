//! `daywise-agent`: arguments, config, exit codes; nothing else.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use daywise_agent::{
    commands::{check, decode, features, inspect, predict, replay, score, sniff, status},
    config::{AgentConfig, ConfigError},
    logging,
};

/// Learns what a normal day looks like for every sensor behind a gateway.
#[derive(Debug, Parser)]
#[command(name = "daywise-agent", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the agent until SIGTERM.
    Run {
        /// The agent's config file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Checks config, state directory, clock and brokers; names every problem.
    Check(check::CheckArgs),
    /// Computes the features of every sensor-day in a CSV of readings.
    Features(features::FeaturesArgs),
    /// Predicts every sensor-day in a CSV of features.
    Predict(predict::PredictArgs),
    /// Scores every reading and every day in a CSV of readings, as the running agent would have.
    Score(score::ScoreArgs),
    /// Shows what the running agent would make of a recorded broker stream.
    Decode(decode::DecodeArgs),
    /// Listens to a broker and shows which sensors are there, with a config for them.
    Sniff(sniff::SniffArgs),
    /// Publishes recorded readings as MQTT messages.
    Replay(replay::ReplayArgs),
    /// Shows what the agent holds and counts, while it runs or not.
    Status(status::StatusArgs),
    /// Lists what the store holds; the agent must not be running.
    Inspect(inspect::InspectArgs),
}

/// Exit code for a config that cannot be used, as in BSD's sysexits.
const BAD_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("daywise-agent: {error:#}");
            let bad_config = error.downcast_ref::<ConfigError>().is_some();
            ExitCode::from(if bad_config { BAD_CONFIG } else { 1 })
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { config } => {
            let config = AgentConfig::load(&config)?;
            runtime()?.block_on(daywise_agent::run(config))?;
        }
        Command::Check(args) => runtime()?.block_on(check::run(&args))?,
        Command::Features(args) => {
            features::run(&args)?;
        }
        Command::Predict(args) => {
            predict::run(&args)?;
        }
        Command::Score(args) => {
            score::run(&args)?;
        }
        Command::Decode(args) => {
            decode::run(&args)?;
        }
        Command::Sniff(args) => {
            runtime()?.block_on(sniff::run(&args))?;
        }
        Command::Replay(args) => {
            runtime()?.block_on(replay::run(&args))?;
        }
        Command::Status(args) => status::run(&args)?,
        Command::Inspect(args) => inspect::run(&args)?,
    }
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // One worker beside the pipeline's own thread: a gateway has few cores and little memory.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(4).enable_all();
    builder.build().context("cannot start the runtime")
}
