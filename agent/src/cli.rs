//! The command line: what `daywise-agent --help` shows, and man pages and completions are made of.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{check, decode, features, inspect, predict, replay, score, sniff, status};

/// Learns what a normal day looks like for every sensor behind a gateway.
#[derive(Debug, Parser)]
#[command(name = "daywise-agent", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
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
