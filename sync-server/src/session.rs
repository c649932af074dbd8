//! The server's session with the broker, be it the embedded one or another.
//!
//! rumqttc reconnects at the next poll without any delay; here it waits first, longer each time,
//! with jitter, up to half a minute. It forgets unsent publishes when the broker remembers no
//! session, so nothing is published while there is no connection: whoever publishes starts over
//! at each new one. Messages are acknowledged to the broker when they are read, not when they
//! are durable, because the sync contract has its own acknowledgement: a gateway keeps what the
//! database has not confirmed.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    time::Duration,
};

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, Publish, QoS,
    SubscribeFilter, SubscribeReasonCode,
};
use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{broker::MAX_PACKET_BYTES, topics::Topics};

/// Publishes and subscriptions that wait to be sent: the acknowledgements of a full intake
/// queue, several times over.
const REQUESTS: usize = 1_024;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A connection that held this long starts the next back-off from the beginning.
const STABLE: Duration = Duration::from_secs(60);
/// How long a full intake queue may hold up reading. Well below the keep-alive, because pings
/// are not answered meanwhile.
const MAX_HOLD_UP: Duration = Duration::from_secs(5);
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Publishes through the session; cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    client: AsyncClient,
    connection: watch::Receiver<u64>,
}

/// The message could not be handed over: there is no connection, or too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not connected to the broker, or too much waits to be sent")]
pub struct NotSent;

impl Publisher {
    /// Which connection this is, counted from 1; 0 while there is none, or none with the
    /// subscriptions in place: what gateways send before that is not heard.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<u64> {
        self.connection.clone()
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.connection.borrow() != 0
    }

    /// Hands over a QoS 1 message at once or not at all.
    ///
    /// # Errors
    /// There is no connection, or too much waits.
    pub fn try_publish(&self, topic: String, payload: Vec<u8>) -> Result<(), NotSent> {
        if !self.is_connected() {
            return Err(NotSent);
        }
        self.client.try_publish(topic, QoS::AtLeastOnce, false, payload).map_err(|_| NotSent)
    }

    /// Hands over a retained QoS 1 message, waiting for room. An empty one clears the topic.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn retain(&self, topic: String, payload: Vec<u8>) -> Result<(), NotSent> {
        if !self.is_connected() {
            return Err(NotSent);
        }
        self.client.publish(topic, QoS::AtLeastOnce, true, payload).await.map_err(|_| NotSent)
    }
}

/// The session's moving part: to be run as a task.
pub struct Session {
    client: AsyncClient,
    events: EventLoop,
    connection: watch::Sender<u64>,
    filters: Vec<SubscribeFilter>,
}

/// Prepares a session; nothing is sent before [`Session::run`].
#[must_use]
pub fn open(host: &str, port: u16, topics: &Topics) -> (Publisher, Session) {
    // Several servers may share one broker, which drops the older of two clients of one name.
    let id = format!("daywise-server-{:016x}", random());
    let mut options = MqttOptions::new(id, host, port);
    options
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_session(true)
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    let (client, events) = AsyncClient::new(options, REQUESTS);
    let (sender, connection) = watch::channel(0);
    let filters = topics.filters().map(|path| SubscribeFilter::new(path, QoS::AtLeastOnce));
    let session =
        Session { client: client.clone(), events, connection: sender, filters: filters.into() };
    (Publisher { client, connection }, session)
}

impl Session {
    /// Keeps the session up and passes on what arrives, until `stop`.
    pub async fn run(mut self, incoming: mpsc::Sender<Publish>, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut connections = 0;
        let mut must_subscribe = false;
        let mut since = None;
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => break,
                event = self.events.poll() => event,
            };
            match event {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                    since = Some(Instant::now());
                    must_subscribe = !ack.session_present;
                    info!("connected to the broker");
                    if ack.session_present {
                        connections += 1;
                        self.connection.send_replace(connections);
                    }
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    deliver(&incoming, publish, &stop).await;
                }
                Ok(Event::Incoming(Packet::SubAck(ack))) => {
                    if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                        error!("the broker refuses the subscription to gateways");
                    }
                    connections += 1;
                    self.connection.send_replace(connections);
                }
                Ok(_) => {}
                Err(cause) => {
                    self.connection.send_replace(0);
                    if since.take().is_some_and(|since: Instant| since.elapsed() >= STABLE) {
                        backoff = Backoff::default();
                    }
                    let delay = backoff.next();
                    lost(&cause, delay);
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = time::sleep(delay) => {}
                    }
                }
            }
            if must_subscribe {
                // Fails only while the queue is full; then the next event tries again.
                must_subscribe = self.client.try_subscribe_many(self.filters.clone()).is_err();
            }
        }
        self.connection.send_replace(0);
        self.goodbye().await;
    }

    async fn goodbye(mut self) {
        if self.client.try_disconnect().is_err() {
            return;
        }
        // The poll after the goodbye fails, because the broker hangs up.
        let said = time::timeout(GOODBYE, async { while self.events.poll().await.is_ok() {} });
        let in_time = said.await.is_ok();
        debug!(in_time, "said goodbye to the broker");
    }
}

fn lost(cause: &ConnectionError, retry_in: Duration) {
    warn!(error = %cause, ?retry_in, "no connection to the broker");
}

/// Passes a message to the intake. When that is far behind, reading pauses, which fills the
/// broker's window for this session; if even that does not help, the message is dropped and its
/// gateway sends it again.
async fn deliver(incoming: &mpsc::Sender<Publish>, publish: Publish, stop: &CancellationToken) {
    let sent = tokio::select! {
        () = stop.cancelled() => return,
        sent = incoming.send_timeout(publish, MAX_HOLD_UP) => sent,
    };
    if sent.is_err() {
        warn!("the intake is stuck; a message is left to be sent again by its gateway");
    }
}

/// Delays that double from 0.2 s to 30 s, each with a quarter of jitter, so that a fleet of
/// servers does not come back in step.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let doubled = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(16)).min(MAX_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        let jitter = u32::try_from(random() % 251).unwrap_or(0);
        doubled.mul_f64(0.75 + f64::from(jitter) / 1000.0)
    }
}

/// Random enough for names and jitter: the standard library's per-process keys.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..12).map(|_| backoff.next()).collect();
        assert!(delays[0] >= Duration::from_millis(150) && delays[0] <= FIRST_BACKOFF);
        for pair in delays.windows(2).take(7) {
            assert!(pair[1] > pair[0], "{pair:?}");
        }
        assert!(delays.iter().all(|delay| *delay <= MAX_BACKOFF));
        assert!(delays[11] >= MAX_BACKOFF.mul_f64(0.75));
    }
}
