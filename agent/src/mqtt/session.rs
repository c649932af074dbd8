//! The session's loop: what waits for the pipeline, for the broker, and for a connection.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Acks, Burst, Delivery, Outputs,
    held::Held,
    link::{Link, LinkError},
    outputs::{self, Outgoing, Output},
    packet::{Introduction, Packet, Version},
    protocol::Choice,
};
use crate::{
    backoff::Backoff,
    config::{BrokerUrl, Protocol},
    metrics::{Counter, Metrics},
};

/// For what is still to be sent when the agent stops.
const GOODBYE: Duration = Duration::from_secs(2);

/// On the status topic while there is a connection.
pub const ONLINE: &str = "online";
/// On the status topic otherwise.
pub const OFFLINE: &str = "offline";

/// What a session is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the broker is.
    pub broker: BrokerUrl,
    /// The session's name there.
    pub client_id: String,
    /// What is subscribed to.
    pub filters: Vec<String>,
    /// Which version of MQTT is spoken.
    pub protocol: Protocol,
    /// How many messages may be unacknowledged, where the protocol lets us say so.
    pub receive_maximum: u16,
    /// The broker takes silence of one and a half times this for our end.
    pub keep_alive: Duration,
    /// Where it is said, retained, whether we are there: [`ONLINE`], or [`OFFLINE`] after a goodbye
    /// and as our last will.
    pub status_topic: Option<String>,
}

/// Where the connection is.
enum Line {
    Waiting(Instant),
    Connecting(Pin<Box<dyn Future<Output = Result<Link, LinkError>> + Send>>),
    Up(Box<Link>),
}

/// What has become of it.
enum Progress {
    Waited,
    Connected(Result<Link, LinkError>),
    Exchanged(Result<(), LinkError>),
}

impl Line {
    /// Goes on with whatever it is at. Cancel safe.
    async fn progress(&mut self, is_reading: bool) -> Progress {
        match self {
            Self::Waiting(until) => {
                sleep_until(*until).await;
                Progress::Waited
            }
            Self::Connecting(connecting) => Progress::Connected(connecting.await),
            Self::Up(link) => Progress::Exchanged(link.exchange(is_reading).await),
        }
    }

    fn link(&mut self) -> Option<&mut Link> {
        match self {
            Self::Up(link) => Some(link),
            Self::Waiting(_) | Self::Connecting(_) => None,
        }
    }
}

/// The session.
pub struct Session {
    settings: Settings,
    choice: Choice,
    line: Line,
    outgoing: Outgoing,
    outputs: Outputs,
    metrics: Arc<Metrics>,
    version: watch::Sender<Option<Version>>,
    connection: u64,
    held: Held,
    /// Nothing more is taken; what is not acknowledged comes again another day.
    is_stopping: bool,
    /// The broker takes no last will of ours.
    is_without_will: bool,
    backoff: Backoff,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let (outputs, outgoing) = outputs::queue(Arc::clone(&metrics));
        Self {
            choice: Choice::new(settings.protocol),
            settings,
            line: Line::Waiting(Instant::now()),
            outgoing,
            outputs,
            metrics,
            version: watch::Sender::new(None),
            connection: 0,
            held: Held::default(),
            is_stopping: false,
            is_without_will: false,
            backoff: Backoff::default(),
        }
    }

    /// A handle that publishes over this session.
    #[must_use]
    pub fn outputs(&self) -> Outputs {
        self.outputs.clone()
    }

    /// The version spoken at the last connection.
    #[must_use]
    pub fn version(&self) -> watch::Receiver<Option<Version>> {
        self.version.subscribe()
    }

    /// Runs until `stop`, or until the pipeline is gone.
    pub async fn run(
        mut self,
        bursts: mpsc::Sender<Burst>,
        mut acks: mpsc::Receiver<Acks>,
        stop: CancellationToken,
    ) {
        loop {
            let is_reading = !self.held.is_full();
            let takes_outputs = self.takes_outputs();
            tokio::select! {
                () = stop.cancelled() => break,
                permit = bursts.reserve(), if !self.held.is_empty() => {
                    let Ok(permit) = permit else { break };
                    permit.send(Burst { connection: self.connection, deliveries: self.held.take() });
                }
                done = acks.recv() => {
                    let Some(done) = done else { break };
                    self.acknowledge(&done);
                }
                () = self.outgoing.wait(), if takes_outputs => {}
                progress = self.line.progress(is_reading) => self.handle(progress),
            }
            self.send_outputs();
        }
        drop(bursts);
        self.drain(acks).await;
    }

    /// Acknowledges what the pipeline still makes durable on its way out, and says goodbye.
    async fn drain(mut self, mut acks: mpsc::Receiver<Acks>) {
        self.is_stopping = true;
        loop {
            let (is_up, takes_outputs) = (self.line.link().is_some(), self.takes_outputs());
            tokio::select! {
                done = acks.recv() => {
                    let Some(done) = done else { break };
                    self.acknowledge(&done);
                }
                () = self.outgoing.wait(), if takes_outputs => {}
                progress = self.line.progress(true), if is_up => self.handle(progress),
            }
            self.send_outputs();
        }
        if self.line.link().is_some() && timeout(GOODBYE, self.say_goodbye()).await.is_err() {
            warn!("the sensor broker did not take the goodbye in time");
        }
    }

    /// Outputs that are queued go out first. A connection with unread bytes would be reset, and
    /// what was written with it, so it is read to its end.
    async fn say_goodbye(&mut self) {
        self.say_status(OFFLINE);
        let mut is_said = false;
        while self.line.link().is_some() {
            self.send_outputs();
            let is_done = self.outgoing.is_done();
            if let Some(link) = self.line.link()
                && is_done
                && link.is_written()
                && !is_said
            {
                link.disconnect();
                is_said = true;
            }
            match self.line.progress(true).await {
                Progress::Exchanged(Err(_)) if is_said => break,
                progress => self.handle(progress),
            }
        }
    }

    fn takes_outputs(&mut self) -> bool {
        self.outgoing.has_room() && self.line.link().is_some_and(|link| link.has_room())
    }

    fn send_outputs(&mut self) {
        if let Some(link) = self.line.link() {
            self.outgoing.send(link);
        }
    }

    fn handle(&mut self, progress: Progress) {
        let outcome = match progress {
            Progress::Waited => {
                self.line = Line::Connecting(Box::pin(self.connect()));
                Ok(())
            }
            Progress::Connected(Ok(link)) => self.connected(link),
            Progress::Connected(Err(error)) => {
                self.not_connected(&error);
                Ok(())
            }
            Progress::Exchanged(exchanged) => exchanged.and_then(|()| self.take_packets()),
        };
        if let Err(error) = outcome {
            self.disconnected(&error);
        }
    }

    fn connect(&self) -> impl Future<Output = Result<Link, LinkError>> + Send + use<> {
        let Settings { broker, client_id, receive_maximum, keep_alive, .. } = self.settings.clone();
        let will = self.status(OFFLINE).filter(|_| !self.is_without_will);
        let introduction = Introduction { client_id, keep_alive, receive_maximum, will };
        Link::connect(broker, self.choice.version(), introduction)
    }

    fn connected(&mut self, mut link: Link) -> Result<(), LinkError> {
        let (version, session_kept) = (self.choice.version(), link.grant().session_present);
        self.choice.handle_connected();
        self.version.send_replace(Some(version));
        self.connection += 1;
        self.metrics.set(Counter::Connected, 1);
        self.backoff.handle_connected(Instant::now());
        self.held.forget_packets(session_kept);
        self.outgoing.handle_connected(session_kept, link.grant().window);
        info!(protocol = version.name(), session_kept, "connected to the sensor broker");
        // Also with a kept session: the sources may have changed in the config.
        link.subscribe(self.outgoing.next_packet(), &self.settings.filters)?;
        self.line = Line::Up(Box::new(link));
        self.say_status(ONLINE);
        self.take_packets()
    }

    fn status(&self, status: &'static str) -> Option<Output> {
        let topic = self.settings.status_topic.clone()?;
        Some(Output { topic, payload: status.into(), acknowledged: true, retain: true })
    }

    fn say_status(&mut self, status: &'static str) {
        if let Some(output) = self.status(status) {
            self.outgoing.put_first(output);
        }
    }

    fn not_connected(&mut self, error: &LinkError) {
        let tried = self.choice.version().name();
        if let LinkError::Refused { for_will: true, .. } = error
            && !std::mem::replace(&mut self.is_without_will, true)
        {
            info!(%error, "the sensor broker takes no retained last will; going on without one");
            self.line = Line::Waiting(Instant::now());
            return;
        }
        if self.choice.handle_failure(error) {
            let next = self.choice.version().name();
            info!(%error, tried, next, "the sensor broker may speak another version of MQTT");
            if self.choice.is_untried() {
                self.line = Line::Waiting(Instant::now());
                return;
            }
        }
        self.wait(error);
    }

    fn disconnected(&mut self, error: &LinkError) {
        self.metrics.add(Counter::Disconnects, 1);
        self.metrics.set(Counter::Connected, 0);
        self.wait(error);
    }

    fn wait(&mut self, error: &LinkError) {
        let delay = self.backoff.handle_failure(Instant::now());
        warn!(%error, retry_in = ?delay, "no connection to the sensor broker");
        self.line = Line::Waiting(Instant::now() + delay);
    }

    /// Takes all packets that have been read.
    fn take_packets(&mut self) -> Result<(), LinkError> {
        while let Some(link) = self.line.link()
            && let Some(packet) = link.packet()?
        {
            match packet {
                Packet::Publish(delivery) => self.hold(delivery),
                Packet::PubAck(packet) => self.outgoing.handle_ack(packet),
                Packet::SubAck { refused } if refused > 0 => {
                    warn!(refused, "the sensor broker refused subscriptions");
                }
                Packet::Disconnect(reason) => return Err(LinkError::Ended(reason)),
                Packet::SubAck { .. }
                | Packet::Granted(_)
                | Packet::Refused { .. }
                | Packet::Other => {}
            }
        }
        Ok(())
    }

    fn hold(&mut self, delivery: Delivery) {
        if self.is_stopping {
            return;
        }
        self.metrics.add(Counter::Messages, 1);
        if !self.held.push(delivery) {
            self.metrics.add(Counter::Overrun, 1);
        }
    }

    /// Gathers all acknowledgements; they are written at once.
    fn acknowledge(&mut self, done: &Acks) {
        // Numbers of an earlier connection: the broker sends those messages again.
        if done.connection == self.connection
            && let Some(link) = self.line.link()
        {
            link.acknowledge(&done.packets);
        }
    }
}
