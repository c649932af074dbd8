//! The batch commands: the same code paths as the running agent, from files to files.
//!
//! Each command is a `clap` argument struct and a `run` that does the work and reports: messages
//! to the standard error, data to the standard output, and with `--json` one JSON object as its
//! last line. An output file appears under its name only when it is whole.

pub mod check;
pub mod decode;
pub mod features;
pub mod inspect;
mod output;
pub mod predict;
mod recorded;
pub mod replay;
pub mod score;
mod scratch;
pub mod sniff;
pub mod status;

use std::{
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
};

use daywise_core::{decode::feature_row::HeaderError, model::ArtifactError, quantity::Quantity};
use serde::Serialize;

pub use decode::DecodeArgs;
pub use features::FeaturesArgs;
pub use predict::PredictArgs;
pub use replay::ReplayArgs;
pub use score::ScoreArgs;

use crate::{
    config::{BrokerUrl, ConfigError},
    csv_input::InputError,
    store::StoreError,
};

/// A command could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The input cannot be used.
    #[error(transparent)]
    Input(InputError),
    /// A features file's header is not understood.
    #[error("{} is no features file", path.display())]
    Features {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: HeaderError,
    },
    /// The output cannot be written.
    #[error("cannot write {}", path.display())]
    Output {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The model file cannot be read.
    #[error("cannot read the model {}", path.display())]
    ReadModel {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The model file is damaged, foreign or unsound.
    #[error("cannot use the model {}", path.display())]
    Model {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ArtifactError,
    },
    /// No sensor-day has enough samples to describe.
    #[error("no sensor's day has at least 2 readings")]
    NoSensorDay,
    /// The replay could not be finished.
    #[error("the replay stopped: {sent} messages sent, {acked} acknowledged")]
    Replay {
        /// Messages given to the broker.
        sent: u64,
        /// Messages that it acknowledged.
        acked: u64,
        /// Why.
        source: replay::ReplayError,
    },
    /// No thread can be started to read the file.
    #[error("cannot start the reader")]
    Thread(#[source] io::Error),
    /// The broker cannot be listened to.
    #[error("cannot listen to {broker}")]
    Listen {
        /// Which broker.
        broker: BrokerUrl,
        /// Why.
        source: Box<rumqttc::ConnectionError>,
    },
    /// The config cannot be used.
    #[error(transparent)]
    Config(ConfigError),
    /// A store for the time of the command cannot be made or used.
    #[error("cannot keep readings in {}", path.display())]
    Scratch {
        /// Where.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The result cannot be printed.
    #[error("cannot write to the standard output")]
    Print(#[source] io::Error),
}

/// Tells how a command ended: in words to people, as JSON to programs.
fn report<T: Serialize + Display>(result: &T, json: bool) -> Result<(), CommandError> {
    // Nobody may be listening; the result stands nevertheless.
    drop(writeln!(io::stderr(), "{result}"));
    if json {
        let text = serde_json::to_string(result)
            .map_err(|error| CommandError::Print(io::Error::from(error)))?;
        writeln!(io::stdout(), "{text}").map_err(CommandError::Print)?;
    }
    Ok(())
}

/// Writes out what the standard output still holds; for the end of the program.
///
/// # Errors
/// It cannot be written.
pub fn flush_output() -> io::Result<()> {
    io::stdout().flush()
}

/// Reads `--quantity`.
fn parse_quantity(name: &str) -> Result<Quantity, String> {
    Quantity::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Quantity::ALL.iter().map(|quantity| quantity.name()).collect();
        format!("unknown quantity; known are {}", known.join(", "))
    })
}

#[cfg(test)]
mod pages;
#[cfg(test)]
mod tests;
