//! `sniff`: listens to a broker for a while and shows what the agent would make of it: sensors with
//! their formats, quantities and rates, what it would leave out and why, and a config to begin with.
//!
//! It listens at QoS 0 in a session of its own, publishes nothing, and leaves nothing behind.

mod heard;

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS};
use tokio::time::{Instant, timeout_at};

use self::heard::{Heard, SniffSummary};
use super::{
    CommandError,
    scratch::{self, Scratch},
};
use crate::{calendar::Calendar, clock, config::BrokerUrl, intake::Message};

/// The largest packet: a topic and twice the payload that the agent looks at.
const MAX_PACKET_BYTES: usize = 256 * 1024;
/// Readings that are gathered before they are forgotten: the command keeps none.
const GATHERED: usize = 4_096;

/// Shows what is on a broker.
#[derive(Clone, Debug, clap::Args)]
pub struct SniffArgs {
    /// The broker, mqtt://host:port
    #[arg(long, value_name = "URL", value_parser = parse_broker)]
    pub broker: BrokerUrl,
    /// How long to listen; slow sensors need longer
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub seconds: u64,
    /// Which topics to listen to
    #[arg(long, value_name = "FILTER", default_value = "#")]
    pub topics: String,
    /// The site's time zone, for devices that send their local time
    #[arg(long, value_name = "TZ", default_value = "UTC")]
    pub timezone: Calendar,
    /// An agent's config, for its sources and rules; else every topic is read
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the result as JSON, as the last line of the standard output
    #[arg(long)]
    pub json: bool,
}

fn parse_broker(text: &str) -> Result<BrokerUrl, String> {
    BrokerUrl::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// Runs the command and reports.
///
/// # Errors
/// The config cannot be used, the broker not be reached, or the result not be printed.
pub async fn run(args: &SniffArgs) -> Result<SniffSummary, CommandError> {
    let config = scratch::config(args.config.as_ref())?;
    let mut scratch = Scratch::new(&config, args.timezone.clone())?;
    let mut heard = Heard::default();
    listen(args, |message| take(&mut scratch, &mut heard, message)).await?;
    let summary = heard.summary(&args.broker, args.seconds);
    let mut out = io::stdout();
    let printed = match args.json {
        true => serde_json::to_string(&summary)
            .map_err(io::Error::from)
            .and_then(|text| writeln!(out, "{text}")),
        false => write!(out, "{summary}"),
    };
    printed.map_err(CommandError::Print)?;
    Ok(summary)
}

/// Gives every message that arrives in time to `take`.
async fn listen(
    args: &SniffArgs,
    mut take: impl FnMut(&Publish) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let id = format!("daywise-sniff-{}", std::process::id());
    let mut options = MqttOptions::new(id, &args.broker.host, args.broker.port);
    options.set_clean_session(true);
    options.set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    let (client, mut events): (AsyncClient, EventLoop) = AsyncClient::new(options, 16);
    let failed =
        |source| CommandError::Listen { broker: args.broker.clone(), source: Box::new(source) };
    let deadline = Instant::now() + Duration::from_secs(args.seconds);
    while let Ok(event) = timeout_at(deadline, events.poll()).await {
        match event.map_err(failed)? {
            Event::Incoming(Packet::ConnAck(_)) => {
                client
                    .try_subscribe(&args.topics, QoS::AtMostOnce)
                    .map_err(|_| failed(rumqttc::ConnectionError::RequestsDone))?;
            }
            Event::Incoming(Packet::Publish(publish)) => take(&publish)?,
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
    Ok(())
}

fn take(scratch: &mut Scratch, heard: &mut Heard, publish: &Publish) -> Result<(), CommandError> {
    scratch.intake.clock.tick(clock::system_now());
    let message = Message {
        topic: &publish.topic,
        payload: &publish.payload,
        packet: None,
        is_again: false,
        is_retained: publish.retain,
    };
    scratch.intake.take(&message);
    let resolved = scratch.intake.resolve(&scratch.store);
    resolved.map_err(|source| scratch.failed(source))?;
    let verdicts = scratch.intake.verdicts.replace(Vec::new()).unwrap_or_default();
    heard.note(&scratch.intake, &publish.topic, &verdicts);
    scratch.intake.heard.clear();
    if scratch.intake.batch.len() >= GATHERED {
        scratch.intake.batch.clear();
    }
    Ok(())
}
