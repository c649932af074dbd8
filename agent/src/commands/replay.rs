//! `replay`: readings from a file to a broker, as the devices would have sent them.
//!
//! A row of a CSV file goes to `PREFIX/SENSOR` as `{"ts":…,"value":…}`; a line of a recorded
//! stream goes to its topic as it is. With a clock topic the site's time goes along: a tick before
//! the first message of each minute, so that an agent with that clock lives through the recording
//! in whatever time the replay takes.
//!
//! A thread of its own reads the file, so that a slow pipe does not stop the connection's pings.

mod sender;
mod source;

use std::{fmt, path::PathBuf, str::FromStr, thread};

use daywise_core::{duration::HumanDuration, time::LocalDate};
use rumqttc::ConnectionError;
use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};

use self::{
    sender::{Pace, Sender},
    source::{Message, Messages, Tally},
};
use super::{CommandError, report};
use crate::{
    calendar::Calendar,
    config::BrokerUrl,
    csv_input::{InputError, RefusedRows},
};

/// Messages handed from the reader to the connection at once, and how many such lots may wait.
const BATCH: usize = 256;
const BATCHES_WAITING: usize = 8;

/// Publishes recorded readings as MQTT messages.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own")]
    pub input: ReplayInput,
    /// The broker, such as mqtt://localhost:1883
    #[arg(long, value_name = "URL", value_parser = parse_broker)]
    pub broker: BrokerUrl,
    /// How many seconds of the data pass in a second, or max
    #[arg(long, value_name = "N|max", default_value = "max")]
    pub speed: Speed,
    /// The zone of times without offset and of --from and --to
    #[arg(long, value_name = "TZ", default_value = "UTC")]
    pub timezone: Calendar,
    /// What the topics of a CSV file's rows begin with
    #[arg(long, value_name = "TOPIC", default_value = "readings", value_parser = parse_topic)]
    pub topic_prefix: String,
    /// Publish the data's own time here, in epoch milliseconds
    #[arg(long, value_name = "TOPIC", value_parser = parse_topic)]
    pub clock_topic: Option<String>,
    /// At the end, advance the clock by this much, so that the last day closes
    #[arg(long, value_name = "DURATION", requires = "clock_topic")]
    pub then_advance: Option<HumanDuration>,
    /// Leave out what is before this local day
    #[arg(long, value_name = "DATE")]
    pub from: Option<LocalDate>,
    /// Leave out what is after this local day
    #[arg(long, value_name = "DATE")]
    pub to: Option<LocalDate>,
    /// Publish no more readings than this
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Print the result as JSON, as the last line of the standard output
    #[arg(long)]
    pub json: bool,
}

/// Where the messages come from.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct ReplayInput {
    /// Readings: .csv, .csv.gz, or - for the standard input
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// A recorded broker stream: a JSON object a line with recv, topic, payload or `payload_b64`
    #[arg(long, value_name = "FILE")]
    pub jsonl: Option<PathBuf>,
}

/// How fast the data's time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as the broker takes it.
    Max,
    /// So many seconds of the data a second.
    Times(f64),
}

/// The text is no speed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a number above 0, or max")]
pub struct NotASpeed;

impl FromStr for Speed {
    type Err = NotASpeed;
    fn from_str(text: &str) -> Result<Self, NotASpeed> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Max),
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err(NotASpeed),
        }
    }
}

/// Why a replay could not be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The broker refuses the connection, or is away for too long.
    #[error("no connection to the broker")]
    Broker(#[source] Box<ConnectionError>),
    /// It is there, but acknowledges nothing.
    #[error("the broker acknowledged nothing for {seconds} s")]
    NoAcks {
        /// How long.
        seconds: u64,
    },
}

/// How a replay went. `sent` and `acked` are equal when it succeeded.
#[derive(Debug, Serialize)]
pub struct ReplaySummary {
    /// Rows read from the file.
    pub rows: u64,
    /// Readings published, each counted once.
    pub sent: u64,
    /// Readings that the broker acknowledged.
    pub acked: u64,
    /// Clock ticks that the broker acknowledged.
    pub clock_ticks: u64,
    /// Messages published again because a connection broke.
    pub resent: u64,
    /// Rows outside `--from` and `--to`.
    pub outside: u64,
    /// Rows left out, by reason.
    pub refused: RefusedRows,
    /// How long it took.
    pub seconds: f64,
    /// Readings a second.
    pub rate: f64,
}

impl fmt::Display for ReplaySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, clock_ticks, seconds, rate, .. } = self;
        write!(f, "{acked} readings acknowledged in {seconds:.1} s, {rate:.0} a second")?;
        if *clock_ticks > 0 {
            write!(f, "; {clock_ticks} clock ticks")?;
        }
        if self.resent > 0 {
            write!(f, "; {} messages sent twice", self.resent)?;
        }
        if self.refused.total() > 0 {
            write!(f, "; refused: {}", self.refused)?;
        }
        Ok(())
    }
}

/// Runs the command and reports. Every message is acknowledged when it returns.
///
/// # Errors
/// The input cannot be used, or the broker does not take it all.
pub async fn run(args: &ReplayArgs) -> Result<ReplaySummary, CommandError> {
    let start = Instant::now();
    let messages = Messages::open(args).map_err(CommandError::Input)?;
    let (batches, incoming) = mpsc::channel(BATCHES_WAITING);
    let reader = thread::Builder::new()
        .name("replay-reader".to_owned())
        .spawn(move || read(messages, &batches))
        .map_err(CommandError::Thread)?;
    let speed = match args.speed {
        Speed::Max => None,
        Speed::Times(times) => Some(times),
    };
    let mut sender = Sender::new(&args.broker);
    let outcome = sender.run(incoming, Pace { speed, origin: None }).await;
    let sent = sender.sent;
    if let Err(source) = outcome {
        return Err(CommandError::Replay { sent: sent.sent, acked: sent.acked, source });
    }
    // It has closed its channel, so it is at its end.
    let tally = match reader.join() {
        Ok(tally) => tally.map_err(CommandError::Input)?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = sent.acked as f64 / seconds.max(1e-9);
    let summary = ReplaySummary {
        rows: tally.rows,
        sent: sent.sent,
        acked: sent.acked,
        clock_ticks: sent.clock_ticks,
        resent: sent.resent,
        outside: tally.outside,
        refused: tally.refused,
        seconds,
        rate,
    };
    report(&summary, args.json)?;
    Ok(summary)
}

/// Reads all messages; what was read before the file breaks off is sent nevertheless.
fn read(mut messages: Messages, batches: &mpsc::Sender<Vec<Message>>) -> Result<Tally, InputError> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let next = messages.next();
        let is_end = !matches!(next, Ok(Some(_)));
        if let Ok(Some(message)) = next {
            batch.push(message);
        } else if let Err(error) = next {
            drop(batches.blocking_send(batch));
            return Err(error);
        }
        if batch.len() == BATCH || is_end {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            // Nobody takes them any more: the connection was given up.
            let is_over = batches.blocking_send(full).is_err();
            if is_end || is_over {
                return messages.finish();
            }
        }
    }
}

fn parse_broker(text: &str) -> Result<BrokerUrl, crate::config::NotABroker> {
    BrokerUrl::try_from(text.to_owned())
}

/// A topic to publish to, or the beginning of one.
fn parse_topic(text: &str) -> Result<String, &'static str> {
    let is_plain = !text.chars().any(|c| c.is_control() || matches!(c, '+' | '#'));
    match text.starts_with('$') || !is_plain {
        true => Err("a topic has no +, # or control characters and does not begin with $"),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
