//! The session with the sensor broker: bursts of messages in, acknowledgements out.
//!
//! A message is acknowledged only when the pipeline says so, after its readings are durable. All
//! that has arrived is handed on as one burst, and all that may be acknowledged is written and
//! flushed at once; rumqttc's own channel would cost a send and a flush for each.
//!
//! When the pipeline is behind, messages are held here up to a bound while the connection is
//! polled on, so that pings go on; the broker's in-flight window bounds what is unacknowledged.
//! Beyond the bound polling pauses, and TCP holds the broker back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use daywise_core::decode::MAX_PAYLOAD_BYTES;
use rumqttc::{
    AsyncClient, ClientError, ConnectionError, Event, EventLoop, MqttOptions, Packet, PubAck,
    Publish, QoS, Request, SubscribeFilter,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    config::BrokerUrl,
    metrics::{Counter, Metrics},
};

/// Messages held while the pipeline is behind.
const MAX_HELD: usize = 10_000;
/// Bytes of them: readings are small, but 10,000 messages of the largest size would not be.
const MAX_HELD_BYTES: usize = 4 << 20;
/// Bursts between here and the pipeline: one being worked on, one ready.
pub const BURST_QUEUE: usize = 2;
/// Acknowledgements between the pipeline and here; a commit makes one.
pub const ACK_QUEUE: usize = 16;
/// Local outputs waiting for the broker: a midnight's worth of predictions of 2,000 sensors.
const OUTPUT_QUEUE: usize = 4_096;
/// Largest packet taken. A reading is small, but whoever shares the topic may not be, and a
/// packet that is not taken cannot be acknowledged: the broker would send it at each connection
/// anew, and nothing behind it. For a moment rumqttc may hold ten such packets, which it reads at
/// once; here they are [`cut`]. Still larger ones are the broker's to refuse.
const MAX_PACKET: usize = 8 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A connection that held this long ends the back-off.
const STABLE: Duration = Duration::from_secs(60);

/// One message from the broker.
#[derive(Debug)]
pub struct Delivery {
    /// Its topic.
    pub topic: String,
    /// Its content.
    pub payload: Bytes,
    /// To be acknowledged under this number; `None` at QoS 0.
    pub packet: Option<u16>,
}

/// All that had arrived at one time, in order.
#[derive(Debug)]
pub struct Burst {
    /// The connection it came over; its numbers mean nothing on another.
    pub connection: u64,
    /// The messages.
    pub deliveries: Vec<Delivery>,
}

/// Messages that may be acknowledged, in the order they came.
#[derive(Debug)]
pub struct Acks {
    /// The connection they came over.
    pub connection: u64,
    /// Their packet numbers.
    pub packets: Vec<u16>,
}

/// Publishes local outputs over the same session.
#[derive(Clone, Debug)]
pub struct Outputs {
    client: AsyncClient,
    metrics: Arc<Metrics>,
}

impl Outputs {
    /// Queues a message; when the queue is full it is dropped and counted.
    pub fn publish(&self, topic: String, payload: Vec<u8>, qos: QoS, retain: bool) {
        if self.client.try_publish(topic, qos, retain, payload).is_err() {
            self.metrics.add(Counter::OutputsDropped, 1);
        }
    }
}

/// The session.
pub struct Session {
    events: EventLoop,
    client: AsyncClient,
    filters: Vec<String>,
    metrics: Arc<Metrics>,
    connection: u64,
    connected_at: Option<Instant>,
    held: Vec<Delivery>,
    held_bytes: usize,
    backoff: Backoff,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("filters", &self.filters).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(
        broker: &BrokerUrl,
        client_id: &str,
        filters: Vec<String>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut options = MqttOptions::new(client_id, &broker.host, broker.port);
        // The broker keeps the session, and with it what is not acknowledged, while we are away.
        options.set_clean_session(false);
        options.set_manual_acks(true);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
        let (client, events) = AsyncClient::new(options, OUTPUT_QUEUE);
        Self {
            events,
            client,
            filters,
            metrics,
            connection: 0,
            connected_at: None,
            held: Vec::new(),
            held_bytes: 0,
            backoff: Backoff::default(),
        }
    }

    /// A handle that publishes over this session.
    #[must_use]
    pub fn outputs(&self) -> Outputs {
        Outputs { client: self.client.clone(), metrics: Arc::clone(&self.metrics) }
    }

    /// Runs until `stop`, or until the pipeline is gone.
    pub async fn run(
        mut self,
        bursts: mpsc::Sender<Burst>,
        mut acks: mpsc::Receiver<Acks>,
        stop: CancellationToken,
    ) {
        loop {
            let connected = self.connected_at.is_some();
            tokio::select! {
                () = stop.cancelled() => break,
                permit = bursts.reserve(), if !self.held.is_empty() => {
                    let Ok(permit) = permit else { break };
                    let deliveries = std::mem::take(&mut self.held);
                    self.held_bytes = 0;
                    permit.send(Burst { connection: self.connection, deliveries });
                }
                done = acks.recv(), if connected => {
                    let Some(done) = done else { break };
                    self.acknowledge(done).await;
                }
                event = self.events.poll(), if !self.is_full() => {
                    if let Err(delay) = self.handle(event) {
                        tokio::select! {
                            () = stop.cancelled() => break,
                            () = sleep(delay) => {}
                        }
                    }
                }
            }
        }
        drop(bursts);
        self.drain(acks).await;
    }

    /// Acknowledges what the pipeline still makes durable on its way out, and says goodbye.
    async fn drain(&mut self, mut acks: mpsc::Receiver<Acks>) {
        while let Some(done) = acks.recv().await {
            if self.connected_at.is_some() {
                self.acknowledge(done).await;
            }
        }
        if self.connected_at.is_some() && self.client.try_disconnect().is_ok() {
            // Outputs queued before the goodbye go out first; a broker that hangs is left.
            let goodbye = async { while self.events.poll().await.is_ok() {} };
            if tokio::time::timeout(Duration::from_secs(2), goodbye).await.is_err() {
                warn!("the sensor broker did not take the goodbye in time");
            }
        }
    }

    /// Takes one event and all others that are there already. An error is the time to wait.
    fn handle(&mut self, event: Result<Event, ConnectionError>) -> Result<(), Duration> {
        match event {
            Ok(event) => {
                self.take(event);
                while let Some(event) = self.events.state.events.pop_front() {
                    self.take(event);
                }
                Ok(())
            }
            Err(error) => Err(self.disconnected(&error)),
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Incoming(Packet::Publish(publish)) => self.hold(publish),
            Event::Incoming(Packet::ConnAck(ack)) => {
                self.connection += 1;
                self.connected_at = Some(Instant::now());
                self.forget_packets(ack.session_present);
                info!(session_kept = ack.session_present, "connected to the sensor broker");
                // Also with a kept session: the sources may have changed in the config.
                if let Err(error) = self.subscribe() {
                    warn!(%error, "cannot subscribe yet");
                }
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                let refused = |code: &&_| matches!(code, rumqttc::SubscribeReasonCode::Failure);
                if ack.return_codes.iter().filter(refused).count() > 0 {
                    warn!("the sensor broker refused a subscription");
                }
            }
            _ => {}
        }
    }

    /// Packet numbers of the last connection mean nothing on this one. With a kept session the
    /// broker sends what was not acknowledged again; without one it has forgotten it, and what is
    /// held here is the last copy.
    fn forget_packets(&mut self, session_kept: bool) {
        if session_kept {
            self.held.retain(|delivery| delivery.packet.is_none());
        } else {
            self.held.iter_mut().for_each(|delivery| delivery.packet = None);
        }
    }

    fn subscribe(&self) -> Result<(), ClientError> {
        let filters = self.filters.iter();
        self.client.try_subscribe_many(
            filters.map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce)),
        )
    }

    fn hold(&mut self, publish: Publish) {
        self.metrics.add(Counter::Messages, 1);
        let packet = (publish.qos != QoS::AtMostOnce).then_some(publish.pkid);
        if packet.is_none() && self.is_full() {
            self.metrics.add(Counter::Overrun, 1);
            return;
        }
        let Publish { topic, payload, .. } = publish;
        let payload = cut(payload);
        self.held_bytes += topic.len() + payload.len();
        self.held.push(Delivery { topic, payload, packet });
    }

    fn is_full(&self) -> bool {
        self.held.len() >= MAX_HELD || self.held_bytes >= MAX_HELD_BYTES
    }

    fn disconnected(&mut self, error: &ConnectionError) -> Duration {
        if let Some(since) = self.connected_at.take() {
            self.metrics.add(Counter::Disconnects, 1);
            if since.elapsed() >= STABLE {
                self.backoff.reset();
            }
        }
        let delay = self.backoff.next_delay();
        warn!(%error, retry_in = ?delay, "no connection to the sensor broker");
        delay
    }

    /// Writes all acknowledgements and flushes once.
    async fn acknowledge(&mut self, done: Acks) {
        // Numbers of an earlier connection: the broker sends those messages again.
        if done.connection != self.connection {
            return;
        }
        if let Err(error) = self.write_acks(&done.packets).await {
            self.events.clean();
            self.connected_at = None;
            warn!(%error, "connection to the sensor broker lost while acknowledging");
        }
        while let Some(event) = self.events.state.events.pop_front() {
            self.take(event);
        }
    }

    async fn write_acks(&mut self, packets: &[u16]) -> Result<(), rumqttc::StateError> {
        let Some(network) = self.events.network.as_mut() else { return Ok(()) };
        for &packet in packets {
            let ack = Request::PubAck(PubAck::new(packet));
            if let Some(outgoing) = self.events.state.handle_outgoing_packet(ack)? {
                network.write(outgoing).await?;
            }
        }
        network.flush().await
    }
}

/// A payload that is too large to be read is refused for that, so one byte more than can be read
/// is all that is kept of it. Copied, because a part would keep the whole in memory.
fn cut(payload: Bytes) -> Bytes {
    match payload.get(..=MAX_PAYLOAD_BYTES) {
        Some(start) => Bytes::copy_from_slice(start),
        None => payload,
    }
}

#[cfg(test)]
mod tests {
    use daywise_core::{decode::decode, reading::Refusal};

    use super::*;

    #[test]
    fn of_a_huge_message_only_what_refuses_it_is_held() {
        let held = cut(Bytes::from(vec![b'1'; 5_000_000]));
        assert_eq!(held.len(), MAX_PAYLOAD_BYTES + 1);
        assert_eq!(decode(&held), Err(Refusal::TooLarge));
        let largest = Bytes::from(vec![b' '; MAX_PAYLOAD_BYTES]);
        assert_eq!(cut(largest.clone()), largest);
    }

    fn session_holding(packets: &[Option<u16>]) -> Session {
        let broker = BrokerUrl { host: "localhost".into(), port: 1 };
        let mut session = Session::new(&broker, "test", Vec::new(), Arc::default());
        let delivery = |packet: &Option<u16>| Delivery {
            topic: "t".into(),
            payload: Bytes::new(),
            packet: *packet,
        };
        session.held = packets.iter().map(delivery).collect();
        session
    }

    #[test]
    fn a_kept_session_sends_unacknowledged_messages_again() {
        let mut session = session_holding(&[Some(1), None, Some(2)]);
        session.forget_packets(true);
        assert_eq!(session.held.len(), 1, "only what the broker does not keep stays");
    }

    #[test]
    fn a_lost_session_leaves_the_last_copies_here_without_their_numbers() {
        let mut session = session_holding(&[Some(1), None, Some(2)]);
        session.forget_packets(false);
        let packets: Vec<_> = session.held.iter().map(|delivery| delivery.packet).collect();
        assert_eq!(packets, [None, None, None]);
    }
}
