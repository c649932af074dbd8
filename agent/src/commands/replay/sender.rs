//! Publishes messages in order, at QoS 1, until the broker has acknowledged every one.
//!
//! A window of messages is on its way at a time. Whatever was not acknowledged when a connection
//! breaks is sent again, in its order, on the next one; so a message may arrive twice, but none is
//! skipped. The session is a new one each time: what the broker remembers of the last is not
//! relied on.
//!
//! Packets are written straight to rumqttc's network and flushed once per burst. Its request
//! channel would cost a wake-up and a flush for each message.

use std::{collections::VecDeque, time::Duration};

use rumqttc::{
    ConnectionError, Event, EventLoop, MqttOptions, Packet, Publish, Request, StateError,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{ReplayError, source::Message};
use crate::{backoff::Backoff, config::BrokerUrl};

/// Messages sent but not yet acknowledged.
const WINDOW: u16 = 1_000;
/// The largest packet: a topic and twice the payload that the agent looks at.
const MAX_PACKET_BYTES: usize = 256 * 1024;
/// How long a burst may take to be written.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How long the broker may be unreachable before anything was sent.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may be away after that, or acknowledge nothing.
const ACK_PATIENCE: Duration = Duration::from_secs(120);
/// A shorter wait between tries than an agent's: somebody is looking.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What was sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Readings given to the broker, each counted once.
    pub(super) sent: u64,
    /// Readings that the broker acknowledged.
    pub(super) acked: u64,
    /// Clock ticks, acknowledged ones.
    pub(super) clock_ticks: u64,
    /// Messages sent again after a connection broke.
    pub(super) resent: u64,
}

/// When a message is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Seconds of the data per second; `None` for as fast as possible.
    pub(super) speed: Option<f64>,
    /// The first message's time and when it was due.
    pub(super) origin: Option<(i64, Instant)>,
}

impl Pace {
    /// When a message of `at_ms` is due; `None` if at once. Late ones go at once.
    fn due(&mut self, at_ms: i64) -> Option<Instant> {
        let speed = self.speed?;
        let (first_ms, start) = *self.origin.get_or_insert((at_ms, Instant::now()));
        #[expect(clippy::cast_precision_loss, reason = "a recording is shorter than 2^52 ms")]
        let seconds = at_ms.saturating_sub(first_ms) as f64 / 1_000.0 / speed;
        // A wait that no duration can hold is one that nobody lives to see.
        let wait = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        start.checked_add(wait).filter(|due| *due > Instant::now())
    }
}

struct OnItsWay {
    publish: Publish,
    is_tick: bool,
    was_written: bool,
    is_acked: bool,
}

/// The connection and what is on its way.
pub(super) struct Sender {
    events: EventLoop,
    /// In order; the front is never acknowledged.
    window: VecDeque<OnItsWay>,
    /// Number of the message at the window's front.
    first: u64,
    /// How many of the window were written on this connection.
    written: usize,
    /// The message number that each packet id stands for on this connection.
    numbers: Vec<Option<u64>>,
    last_packet_id: u16,
    is_connected: bool,
    was_connected: bool,
    last_progress: Instant,
    backoff: Backoff,
    pub(super) sent: Sent,
}

impl Sender {
    pub(super) fn new(broker: &BrokerUrl) -> Self {
        let id = format!("daywise-replay-{}", std::process::id());
        let mut options = MqttOptions::new(id, &broker.host, broker.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_session(true);
        options.set_inflight(WINDOW);
        options.set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
        let mut events = EventLoop::new(options, 1);
        // Bursts are put together here; the last packet of one must not wait for more.
        events.network_options.set_tcp_nodelay(true);
        Self {
            events,
            window: VecDeque::with_capacity(WINDOW.into()),
            first: 0,
            written: 0,
            numbers: vec![None; usize::from(WINDOW) + 1],
            last_packet_id: 0,
            is_connected: false,
            was_connected: false,
            last_progress: Instant::now(),
            backoff: Backoff::default(),
            sent: Sent::default(),
        }
    }

    /// Publishes all that comes through `batches`; returns when every message is acknowledged.
    pub(super) async fn run(
        &mut self,
        mut batches: mpsc::Receiver<Vec<Message>>,
        mut pace: Pace,
    ) -> Result<(), ReplayError> {
        let mut ready: VecDeque<Message> = VecDeque::new();
        let mut is_open = true;
        while is_open || !ready.is_empty() || !self.window.is_empty() {
            if !self.is_connected {
                // Not raced with anything: a connection being made would start over.
                let event = self.events.poll().await;
                self.handle(event).await?;
                continue;
            }
            let due = self.admit(&mut ready, &mut pace);
            self.write_burst().await?;
            if !self.is_connected {
                continue;
            }
            let stalls = self.last_progress + ACK_PATIENCE;
            tokio::select! {
                event = self.events.poll() => self.handle(event).await?,
                batch = batches.recv(), if is_open && ready.is_empty() => match batch {
                    Some(batch) => ready.extend(batch),
                    None => is_open = false,
                },
                () = sleep_until(due.unwrap_or(stalls)), if due.is_some() => {}
                () = sleep_until(stalls), if !self.window.is_empty() => {
                    return Err(ReplayError::NoAcks { seconds: ACK_PATIENCE.as_secs() });
                }
            }
            self.take_events();
        }
        self.disconnect().await;
        Ok(())
    }

    /// Moves messages that are due into the window while it has room. When the next one is due,
    /// if only time keeps it back.
    fn admit(&mut self, ready: &mut VecDeque<Message>, pace: &mut Pace) -> Option<Instant> {
        // Filled up after each read of acknowledgements, not in larger bursts: a broker with
        // Nagle's algorithm on holds the next ones back until our kernel confirms these, which
        // it does at once only when there is something to send.
        while self.window.len() < usize::from(WINDOW) {
            let due = pace.due(ready.front()?.at.0);
            if due.is_some() {
                return due;
            }
            let Message { is_tick, publish, .. } = ready.pop_front()?;
            if self.window.is_empty() {
                self.last_progress = Instant::now();
            }
            let (was_written, is_acked) = (false, false);
            self.window.push_back(OnItsWay { publish, is_tick, was_written, is_acked });
        }
        None
    }

    /// Writes what of the window this connection has not seen, and flushes.
    async fn write_burst(&mut self) -> Result<(), ReplayError> {
        if self.written == self.window.len() {
            return Ok(());
        }
        match timeout(WRITE_PATIENCE, self.write_window()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => self.lost(ConnectionError::MqttState(error)).await,
            Err(_) => self.lost(ConnectionError::FlushTimeout).await,
        }
    }

    async fn write_window(&mut self) -> Result<(), StateError> {
        let Some(network) = self.events.network.as_mut() else {
            return Err(StateError::ConnectionAborted);
        };
        while let Some(next) = self.window.get_mut(self.written) {
            // Ids go round in the order of the window, which holds no more than there are ids,
            // so the next one is free.
            self.last_packet_id = self.last_packet_id % WINDOW + 1;
            let mut publish = next.publish.clone();
            publish.pkid = self.last_packet_id;
            publish.dup = next.was_written;
            if let Some(slot) = self.numbers.get_mut(usize::from(publish.pkid)) {
                *slot = Some(self.first + self.written as u64);
            }
            let request = Request::Publish(publish);
            if let Some(packet) = self.events.state.handle_outgoing_packet(request)? {
                network.write(packet).await?;
            }
            self.written += 1;
            if next.was_written {
                self.sent.resent += 1;
            } else {
                next.was_written = true;
                self.sent.sent += u64::from(!next.is_tick);
            }
        }
        network.flush().await
    }

    async fn handle(&mut self, event: Result<Event, ConnectionError>) -> Result<(), ReplayError> {
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                self.connected();
                Ok(())
            }
            Ok(event) => {
                self.take(&event);
                Ok(())
            }
            Err(error) => self.lost(error).await,
        }
    }

    fn connected(&mut self) {
        self.is_connected = true;
        self.was_connected = true;
        self.backoff.reset();
    }

    /// Takes what rumqttc has read but not yet handed out.
    fn take_events(&mut self) {
        while let Some(event) = self.events.state.events.pop_front() {
            self.take(&event);
        }
    }

    fn take(&mut self, event: &Event) {
        let Event::Incoming(Packet::PubAck(ack)) = event else { return };
        let number = self.numbers.get_mut(usize::from(ack.pkid)).and_then(Option::take);
        let place = number.and_then(|number| number.checked_sub(self.first));
        let Some(acked) = place
            .and_then(|place| usize::try_from(place).ok())
            .and_then(|place| self.window.get_mut(place))
        else {
            return;
        };
        if !acked.is_acked {
            acked.is_acked = true;
            self.last_progress = Instant::now();
            self.sent.acked += u64::from(!acked.is_tick);
            self.sent.clock_ticks += u64::from(acked.is_tick);
        }
        while self.window.front().is_some_and(|front| front.is_acked) {
            self.window.pop_front();
            self.first += 1;
            self.written = self.written.saturating_sub(1);
        }
    }

    /// A connection broke or could not be made: waits before the next try, or gives up.
    async fn lost(&mut self, error: ConnectionError) -> Result<(), ReplayError> {
        // Acknowledgements that arrived before the break count.
        self.take_events();
        if self.is_connected && self.window.is_empty() {
            // Nothing was owed until now.
            self.last_progress = Instant::now();
        }
        self.forget_connection();
        let patience = if self.was_connected { ACK_PATIENCE } else { CONNECT_PATIENCE };
        let is_refused = matches!(error, ConnectionError::ConnectionRefused(_));
        if (is_refused && !self.was_connected) || self.last_progress.elapsed() > patience {
            return Err(ReplayError::Broker(Box::new(error)));
        }
        let wait = self.backoff.next_delay().min(LONGEST_WAIT);
        tracing::warn!(%error, retry_in = ?wait, "no connection to the broker");
        sleep(wait).await;
        Ok(())
    }

    /// Everything not acknowledged is to be written again, under new packet ids. What rumqttc
    /// remembers of it is dropped: it would send it a second time.
    fn forget_connection(&mut self) {
        self.events.clean();
        self.events.pending.clear();
        self.events.state.collision = None;
        self.is_connected = false;
        self.written = 0;
        self.last_packet_id = 0;
        self.numbers.fill(None);
        self.window.retain(|message| !message.is_acked);
    }

    async fn disconnect(&mut self) {
        let request = Request::Disconnect(rumqttc::Disconnect);
        let packet = self.events.state.handle_outgoing_packet(request);
        if let (Some(network), Ok(Some(packet))) = (self.events.network.as_mut(), packet)
            && network.write(packet).await.is_ok()
        {
            // All is acknowledged: nothing is lost if the farewell is.
            drop(timeout(WRITE_PATIENCE, network.flush()).await);
        }
    }
}
