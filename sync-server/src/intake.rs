//! From gateways' messages to the database, and the acknowledgement back.
//!
//! One message after the other: checked, written in one transaction, and only then acknowledged
//! to the gateway. If anything fails before the commit there is no acknowledgement, and the
//! gateway sends the batch again; writing it twice changes nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use daywise_core::wire::{self, Reported, Up, WireError};
use rumqttc::Publish;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::{debug, error, info, warn};

use crate::{
    chain, clock,
    rollout::Offers,
    session::Publisher,
    storage::{Applied, Storage, StorageError, Tally},
    topics::{GatewayName, Incoming, Topics},
};

/// Messages that wait to be written; with the largest messages that is 64 MB. The embedded
/// broker sends at most a hundred ahead.
pub const QUEUE: usize = 256;

/// What the intake did, for status and logs.
#[derive(Debug, Default)]
pub struct Counters {
    /// Up messages written.
    pub ups: AtomicU64,
    /// Sensor-days that were new or changed.
    pub changed: AtomicU64,
    /// Sensor-days that were there already.
    pub unchanged: AtomicU64,
    /// Sensor-days with impossible content.
    pub refused_days: AtomicU64,
    /// Silences that were new or ended.
    pub changed_silences: AtomicU64,
    /// Silences that were there already.
    pub unchanged_silences: AtomicU64,
    /// Silences with impossible content.
    pub refused_silences: AtomicU64,
    /// Messages that are none of the contract's, or from a gateway without a proper name.
    pub foreign: AtomicU64,
    /// Messages that cannot be read.
    pub malformed: AtomicU64,
    /// Messages from a newer agent.
    pub too_new: AtomicU64,
    /// Messages that the database did not take.
    pub failed: AtomicU64,
}

impl Counters {
    /// Counts one up and returns the new count.
    fn count(counter: &AtomicU64) -> u64 {
        counter.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    fn applied(&self, days: &Tally, silences: &Tally) {
        let counts = [
            (&self.ups, 1),
            (&self.changed, days.changed),
            (&self.unchanged, days.unchanged),
            (&self.refused_days, days.refused),
            (&self.changed_silences, silences.changed),
            (&self.unchanged_silences, silences.unchanged),
            (&self.refused_silences, silences.refused),
        ];
        for (counter, count) in counts {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Writes what gateways send.
pub struct Intake {
    /// The database.
    pub storage: Storage,
    /// The way back.
    pub publisher: Publisher,
    /// The sync topics.
    pub topics: Topics,
    /// Who must be told that a gateway is new.
    pub offers: Offers,
    /// What was done.
    pub counters: Arc<Counters>,
    /// When the last new sensor-day arrived.
    pub last_arrival: watch::Sender<Instant>,
}

impl Intake {
    /// Handles messages until the session is gone and its queue empty.
    pub async fn run(self, mut messages: mpsc::Receiver<Publish>) {
        while let Some(message) = messages.recv().await {
            match self.topics.parse(&message.topic) {
                Some(Incoming::Up(gateway)) => match wire::decode_with_schema(&message.payload) {
                    Ok((schema, up)) => self.up(&gateway, schema, &up).await,
                    Err(error) => self.unreadable(&gateway, &error),
                },
                Some(Incoming::Reported(gateway)) => {
                    // An empty one clears what was retained: the gateway was taken down.
                    if message.payload.is_empty() {
                        continue;
                    }
                    match wire::decode::<Reported>(&message.payload) {
                        Ok(reported) => self.reported(&gateway, &reported).await,
                        Err(error) => self.unreadable(&gateway, &error),
                    }
                }
                None => {
                    let count = Counters::count(&self.counters.foreign);
                    repeated(
                        count,
                        || warn!(topic = ?message.topic, count, "foreign message left out"),
                    );
                }
            }
        }
    }

    async fn up(&self, gateway: &GatewayName, schema: u16, up: &Up) {
        match self.storage.apply_up(gateway.as_str(), up, clock::now()).await {
            Ok(applied) => self.applied(gateway, schema, &applied),
            Err(error) => self.failed(gateway, &error),
        }
    }

    fn applied(&self, gateway: &GatewayName, schema: u16, applied: &Applied) {
        let Applied { ack, days, silences, .. } = applied;
        self.counters.applied(days, silences);
        let refused = days.refused + silences.refused;
        if refused > 0 {
            warn!(%gateway, refused, "entries with impossible content left out");
        }
        if days.changed > 0 {
            self.last_arrival.send_replace(Instant::now());
        }
        debug!(
            %gateway, days = days.changed, silences = silences.changed, up_to = ack.up_to,
            "batch is durable"
        );
        let topic = self.topics.ack(gateway);
        let sent = ack.encode_for(schema).map(|bytes| self.publisher.try_publish(topic, bytes));
        if !matches!(sent, Ok(Ok(()))) {
            debug!(%gateway, "acknowledgement not sent; the gateway will ask again");
        }
        if applied.is_new_gateway {
            info!(%gateway, "new gateway");
            self.offers.to(gateway);
        }
    }

    async fn reported(&self, gateway: &GatewayName, reported: &Reported) {
        match self.storage.record_reported(gateway.as_str(), reported, clock::now()).await {
            Ok(must_offer) => {
                debug!(%gateway, online = reported.online, "report kept");
                if must_offer {
                    info!(%gateway, "gateway is new or ahead of its desired state");
                    self.offers.to(gateway);
                }
            }
            Err(error) => self.failed(gateway, &error),
        }
    }

    fn unreadable(&self, gateway: &GatewayName, error: &WireError) {
        let counter = match error {
            WireError::TooNew { .. } => &self.counters.too_new,
            _ => &self.counters.malformed,
        };
        let count = Counters::count(counter);
        repeated(count, || warn!(%gateway, %error, count, "unreadable message left out"));
    }

    fn failed(&self, gateway: &GatewayName, error: &StorageError) {
        let count = Counters::count(&self.counters.failed);
        let error = chain(error);
        repeated(count, || error!(%gateway, error, count, "message not taken in"));
    }
}

/// Logs the 1st, 2nd, 4th, 8th … of a kind, so that a flood of bad input is no flood of logs.
fn repeated(count: u64, log: impl FnOnce()) {
    if count.is_power_of_two() {
        log();
    }
}
