//! The session with the sync server: the outbox up, models down.
//!
//! An outbox entry leaves the store only on the server's own acknowledgement, which it sends
//! after its database has committed; the broker's acknowledgement says nothing of that. What goes
//! when, and again if it was lost, is in `upload.rs`.
//!
//! A model goes from the wire through core's checks into the spare slot, is switched to, and is
//! kept after enough predictions. Power lost anywhere leaves one of two whole models.

mod bucket;
mod upload;

use std::{sync::Arc, time::Duration};

use daywise_core::{
    features::FeatureSet,
    model::{Digest, MAX_ARTIFACT_BYTES},
    update::{Step, Updater},
    wire::{self, Ack, Desired, Message, Reported, UpdateState},
};
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, Publish, QoS};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    backoff::Backoff,
    config::{AgentConfig, SyncConfig},
    http::Status,
    metrics::{Counter, Metrics},
    slots::{ActiveModel, Slots, SlotsError},
    store::{Remedy, Store, StoreError},
};
use upload::Upload;

/// Requests between here and rumqttc; a window is a few messages.
const REQUEST_QUEUE: usize = 64;
/// Also how often the rate of catching up is looked at, which may save up as much.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const REPORT_EVERY: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What stops the sync for good.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The store failed.
    #[error("the outbox cannot be read or written")]
    Store(#[source] StoreError),
    /// The slots failed.
    #[error("the model slots cannot be written")]
    Slots(#[source] SlotsError),
}

/// What the sync works with.
#[derive(Debug)]
pub struct Parts {
    /// The outbox is in it.
    pub store: Arc<Store>,
    /// The two models.
    pub slots: Slots,
    /// Tells the pipeline which model predicts.
    pub model: watch::Sender<Option<Arc<ActiveModel>>>,
    /// Tells the status where the update stands.
    pub update: watch::Sender<UpdateState>,
    /// The outbox has something new.
    pub outbox_ready: Arc<Notify>,
    /// For the report.
    pub status: Arc<Status>,
}

/// The session.
pub struct Sync {
    parts: Parts,
    topics: Topics,
    client: AsyncClient,
    events: EventLoop,
    updater: Updater,
    set: FeatureSet,
    metrics: Arc<Metrics>,
    fetching: Option<Digest>,
    upload: Upload,
    reported_at: Option<Instant>,
    predictions_seen: u64,
    is_connected: bool,
    backoff: Backoff,
}

#[derive(Debug)]
struct Topics {
    prefix: String,
    up: String,
    ack: String,
    desired: String,
    reported: String,
}

impl Topics {
    fn new(prefix: &str, gateway: &str) -> Self {
        let of_gateway = |leaf: &str| format!("{prefix}/gw/{gateway}/{leaf}");
        Self {
            prefix: prefix.to_owned(),
            up: of_gateway("up"),
            ack: of_gateway("ack"),
            desired: of_gateway("desired"),
            reported: of_gateway("reported"),
        }
    }

    fn model(&self, digest: Digest) -> String {
        format!("{}/model/{digest}", self.prefix)
    }
}

impl Sync {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(config: &AgentConfig, sync: &SyncConfig, parts: Parts) -> Self {
        let topics = Topics::new(&sync.prefix, &config.gateway);
        let id = format!("daywise-sync-{}", config.gateway);
        let mut options = MqttOptions::new(id, &sync.url.host, sync.url.port);
        options.set_keep_alive(KEEP_ALIVE);
        // The outbox is the session: nothing needs to wait at the broker.
        options.set_clean_session(true);
        options.set_max_packet_size(MAX_ARTIFACT_BYTES + 4_096, wire::MAX_MESSAGE_BYTES + 4_096);
        let gone = Reported {
            agent_version: env!("CARGO_PKG_VERSION").into(),
            board: config.board.clone(),
            ..Reported::default()
        };
        if let Ok(bytes) = wire::encode(&gone) {
            options.set_last_will(LastWill::new(&topics.reported, bytes, QoS::AtLeastOnce, true));
        }
        let (client, events) = AsyncClient::new(options, REQUEST_QUEUE);
        let slots = &parts.slots;
        let updater = Updater::new(
            slots.generation(),
            slots.active_ref(),
            slots.spare_ref(),
            slots.given_up(),
            slots.on_trial(),
        );
        let metrics = Arc::clone(&parts.status.metrics);
        let upload = Upload::new(Arc::clone(&parts.store), sync.catch_up_kb_per_s);
        Self {
            parts,
            topics,
            client,
            events,
            updater,
            set: config.features.set,
            metrics,
            fetching: None,
            upload,
            reported_at: None,
            predictions_seen: 0,
            is_connected: false,
            backoff: Backoff::default(),
        }
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// The store or the slots failed for good.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), SyncError> {
        let outbox_ready = Arc::clone(&self.parts.outbox_ready);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.parts.update.send_replace(self.updater.state());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = outbox_ready.notified() => self.count_predictions()?,
                _ = look.tick() => self.count_predictions()?,
                event = self.events.poll() => match event {
                    Ok(event) => self.handle(event)?,
                    Err(error) => {
                        let delay = self.disconnected();
                        warn!(%error, retry_in = ?delay, "no connection to the sync server");
                        tokio::select! {
                            () = stop.cancelled() => break,
                            () = sleep(delay) => {}
                        }
                    }
                },
            }
            if self.is_connected {
                self.send_outbox()?;
                self.report_if_due();
            }
        }
        self.say_goodbye().await;
        Ok(())
    }

    fn disconnected(&mut self) -> Duration {
        self.is_connected = false;
        self.backoff.handle_failure(Instant::now())
    }

    fn handle(&mut self, event: Event) -> Result<(), SyncError> {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                info!("connected to the sync server");
                self.is_connected = true;
                self.backoff.handle_connected(Instant::now());
                self.upload.connected();
                self.reported_at = None;
                let fetching = self.fetching.map(|digest| self.topics.model(digest));
                let wanted =
                    [Some(self.topics.ack.clone()), Some(self.topics.desired.clone()), fetching];
                for topic in wanted.into_iter().flatten() {
                    self.subscribe(topic);
                }
                Ok(())
            }
            Event::Incoming(Packet::Publish(publish)) => self.handle_publish(&publish),
            _ => Ok(()),
        }
    }

    fn subscribe(&self, topic: String) {
        if let Err(error) = self.client.try_subscribe(topic, QoS::AtLeastOnce) {
            warn!(%error, "cannot subscribe; trying again with the next connection");
        }
    }

    fn handle_publish(&mut self, publish: &Publish) -> Result<(), SyncError> {
        if publish.topic == self.topics.ack {
            match self.read::<Ack>(publish) {
                // What is not taken note of now is sent, and acknowledged, again.
                Some(ack) => self.upload.handle_ack(&ack).or_else(wait_for_store),
                None => Ok(()),
            }
        } else if publish.topic == self.topics.desired {
            // An empty retained message withdraws what was desired.
            if publish.payload.is_empty() {
                return Ok(());
            }
            self.read::<Desired>(publish).map_or(Ok(()), |desired| self.handle_desired(&desired))
        } else if self.fetching.is_some_and(|digest| publish.topic == self.topics.model(digest)) {
            self.handle_artifact(&publish.payload)
        } else {
            Ok(())
        }
    }

    fn read<M: Message>(&self, publish: &Publish) -> Option<M> {
        match wire::decode(&publish.payload) {
            Ok(message) => Some(message),
            Err(error) => {
                self.metrics.add(Counter::SyncMalformed, 1);
                warn!(topic = %publish.topic, %error, "message from the server left out");
                None
            }
        }
    }

    fn handle_desired(&mut self, desired: &Desired) -> Result<(), SyncError> {
        let step = self.updater.handle_desired(desired);
        if self.updater.generation() != self.parts.slots.generation() {
            self.parts.slots.set_generation(self.updater.generation()).map_err(SyncError::Slots)?;
        }
        match step {
            Step::Nothing => {}
            Step::Fetch(digest) => {
                info!(generation = desired.generation, %digest, "new model offered");
                self.fetching = Some(digest);
                self.subscribe(self.topics.model(digest));
            }
            Step::SwitchToSpare => {
                self.parts.slots.start_trial().map_err(SyncError::Slots)?;
                self.take_over();
            }
        }
        self.changed();
        Ok(())
    }

    fn handle_artifact(&mut self, bytes: &[u8]) -> Result<(), SyncError> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.updater.check_artifact(bytes, self.set) {
            Ok(_) => {
                self.parts.slots.stage(bytes).map_err(SyncError::Slots)?;
                self.parts.slots.start_trial().map_err(SyncError::Slots)?;
                self.stop_fetching();
                self.take_over();
            }
            Err(refused) => {
                self.metrics.add(Counter::ArtifactsRefused, 1);
                error!(error = &refused as &dyn std::error::Error, "model refused");
                if self.updater.state() == UpdateState::Refused
                    && let Some(digest) = self.fetching
                {
                    self.parts.slots.give_up(digest).map_err(SyncError::Slots)?;
                    self.stop_fetching();
                }
            }
        }
        self.changed();
        Ok(())
    }

    fn stop_fetching(&mut self) {
        if let Some(digest) = self.fetching.take()
            && let Err(error) = self.client.try_unsubscribe(self.topics.model(digest))
        {
            warn!(%error, "cannot unsubscribe from a model");
        }
    }

    /// The slots have switched: the pipeline predicts with the new model from now on.
    fn take_over(&mut self) {
        self.updater.staged();
        self.predictions_seen = self.metrics.get(Counter::Predictions);
        let active = self.parts.slots.active_model();
        if let Some(active) = &active {
            info!(version = active.reference.version, digest = %active.reference.digest, "model on trial");
        }
        self.parts.model.send_replace(active);
    }

    /// Counts predictions towards the end of a trial.
    fn count_predictions(&mut self) -> Result<(), SyncError> {
        let now = self.metrics.get(Counter::Predictions);
        let new = u32::try_from(now.saturating_sub(self.predictions_seen)).unwrap_or(u32::MAX);
        self.predictions_seen = now;
        if new > 0 && self.updater.handle_predictions(new) {
            self.parts.slots.confirm().map_err(SyncError::Slots)?;
            info!(version = self.updater.active().map(|active| active.version), "model confirmed");
            self.changed();
        }
        Ok(())
    }

    /// Something worth reporting changed.
    fn changed(&mut self) {
        self.parts.update.send_replace(self.updater.state());
        self.reported_at = None;
    }

    fn send_outbox(&mut self) -> Result<(), SyncError> {
        loop {
            let message = match self.upload.poll() {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(error) => return wait_for_store(error),
            };
            let bytes = message.bytes.clone();
            if self.client.try_publish(&self.topics.up, QoS::AtLeastOnce, false, bytes).is_err() {
                // The client is busy: the next event leads back here.
                return Ok(());
            }
            self.upload.sent(&message);
            self.metrics.add(Counter::Sent, message.entries as u64);
        }
    }

    fn report_if_due(&mut self) {
        if self.reported_at.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return;
        }
        let reported = self.report(true);
        if let Ok(bytes) = wire::encode(&reported)
            && self.client.try_publish(&self.topics.reported, QoS::AtLeastOnce, true, bytes).is_ok()
        {
            self.reported_at = Some(Instant::now());
        }
    }

    fn report(&self, online: bool) -> Reported {
        Reported {
            online,
            agent_version: env!("CARGO_PKG_VERSION").into(),
            board: self.parts.status.board.clone(),
            generation: self.updater.generation(),
            active: self.updater.active(),
            spare: self.updater.spare(),
            update: self.updater.state(),
            health: self.parts.status.figures(),
        }
    }

    async fn say_goodbye(&mut self) {
        if !self.is_connected {
            return;
        }
        let Ok(bytes) = wire::encode(&self.report(false)) else { return };
        let queued = self.client.try_publish(&self.topics.reported, QoS::AtLeastOnce, true, bytes);
        if queued.is_ok() && self.client.try_disconnect().is_ok() {
            let goodbye = async { while self.events.poll().await.is_ok() {} };
            if tokio::time::timeout(Duration::from_secs(2), goodbye).await.is_err() {
                warn!("the sync server did not take the goodbye in time");
            }
        }
    }
}

/// Passes on what cannot be waited out. The rest is the pipeline's to report; here it is tried
/// again in time.
fn wait_for_store(error: StoreError) -> Result<(), SyncError> {
    if error.remedy() == Remedy::Stop {
        return Err(SyncError::Store(error));
    }
    debug!(error = &error as &dyn std::error::Error, "the outbox has to wait for the store");
    Ok(())
}
