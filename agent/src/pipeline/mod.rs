//! Moves readings from the broker to the disk, and closed days to features and predictions.
//!
//! Persist, then speak: readings of a burst are decoded, checked and gathered; a group commit
//! makes them durable; only then are their messages acknowledged. A day that is due is computed
//! from what the store holds, committed with its upload, and only then published. Whatever is
//! interrupted is either not acknowledged (the broker sends it again) or still due (the day is
//! computed again, to the same result).
//!
//! Runs on a thread of its own, because the store blocks. Every decision is the core's, the
//! commit policy's or the store's.

mod days;
mod durability;
mod home;
#[cfg(test)]
mod home_tests;
mod live;
mod silences;
#[cfg(test)]
mod tests;
mod wear;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use daywise_core::{
    clock_trust::ClockEvent, decode::Request, features::FeatureSet, time::UtcMillis,
};
use rumqttc::QoS;
use tokio::{
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
        watch,
    },
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::{
    days::Unsaid, durability::Flushing, home::Home, live::Live, silences::Silences, wear::Wear,
};
use crate::{
    calendar::Calendar,
    commit_policy::CommitPolicy,
    config::AgentConfig,
    figures::Figures,
    health::{Condition, Health},
    intake::{Intake, Message},
    metrics::{Counter, Metrics},
    mqtt::{Acks, Burst, Delivery, Outputs},
    seen::Seen,
    slots::ActiveModel,
    store::{Store, StoreError, in_words},
    watchdog::Heartbeat,
};

/// The pipeline looks for due days at least this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A failed write is tried again after this long; until then nothing is acknowledged.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A journal of this many records is folded into blocks: at a commit every five seconds about
/// an hour's worth, which bounds both the replay after a crash and the memory of a fold.
const FOLD_RECORDS: u64 = 720;
/// The same bound by size, for gateways with many readings per commit.
const FOLD_BYTES: u64 = 1 << 20;

/// Records of the quarantine that are released before anything else gets its turn again: each
/// is a commit of its own.
const RELEASED_AT_ONCE: usize = 64;

/// Where the pipeline gets and gives what is not readings.
#[derive(Debug)]
pub struct Links {
    /// The model to predict with.
    pub model: watch::Receiver<Option<Arc<ActiveModel>>>,
    /// Told when the outbox has something new.
    pub outbox_ready: Arc<Notify>,
    /// Local outputs.
    pub outputs: Outputs,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where the pipeline says why it is not well.
    pub health: Arc<Health>,
    /// Where the pipeline says that it moves.
    pub heartbeat: Arc<Heartbeat>,
    /// What the broker carries is noted there.
    pub seen: Arc<Seen>,
    /// Each sensor's figures are kept there.
    pub figures: Arc<Figures>,
}

/// The pipeline; see the module.
#[derive(Debug)]
pub struct Pipeline {
    gateway: String,
    output_prefix: String,
    set: FeatureSet,
    retention_days: i32,
    store: Arc<Store>,
    state_dir: PathBuf,
    intake: Intake,
    policy: CommitPolicy,
    flushing: Flushing,
    wear: Wear,
    live: Live,
    links: Links,
    connection: u64,
    /// Since when, by the agent's clock, the broker's messages have come without a break.
    listening_since: UtcMillis,
    silences: Silences,
    /// Where Home Assistant is told.
    home: Option<Home>,
    acks: Vec<u16>,
    /// Days that are committed and not published yet.
    unsaid: Vec<Unsaid>,
}

impl Pipeline {
    /// Takes up where the store left off.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(
        config: &AgentConfig,
        calendar: Calendar,
        store: Arc<Store>,
        links: Links,
    ) -> Result<Self, StoreError> {
        let intake = Intake::new(
            config,
            calendar,
            &store,
            Arc::clone(&links.metrics),
            Arc::clone(&links.seen),
        )?;
        let mut pipeline = Self {
            gateway: config.gateway.clone(),
            output_prefix: config.outputs.prefix.clone(),
            set: config.features.set,
            retention_days: config.retention_days(),
            store,
            state_dir: config.state_dir.clone(),
            listening_since: intake.clock.now(),
            silences: Silences::restored(intake.silent()),
            intake,
            policy: CommitPolicy::new(config.store.commit_every.0, config.store.max_batch.get()),
            flushing: Flushing::new(&config.store),
            wear: Wear::new(config),
            live: Live::new(config.outputs.live_every.0),
            home: config.home_assistant.enabled.then(|| Home::new(config)),
            links,
            connection: 0,
            acks: Vec::new(),
            unsaid: Vec::new(),
        };
        pipeline.restore_figures()?;
        Ok(pipeline)
    }

    /// Runs until the session with the broker ends, then makes durable what is there.
    ///
    /// # Errors
    /// The store failed for good.
    pub async fn run(
        mut self,
        mut bursts: mpsc::Receiver<Burst>,
        acks: mpsc::Sender<Acks>,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        self.report_clock();
        loop {
            self.links.heartbeat.beat();
            let look = Instant::now() + LOOK_EVERY;
            let mut wake = self.policy.deadline().map_or(look, |deadline| deadline.min(look));
            if self.intake.quarantined() > 0 && self.intake.clock.is_trusted() {
                // More of them can be dated.
                wake = Instant::now();
            }
            tokio::select! {
                biased;
                burst = bursts.recv() => match burst {
                    Some(burst) => self.take(burst, &acks, &stop).await?,
                    None => break,
                },
                () = tokio::time::sleep_until(wake.into()) => self.look_at_clock(),
            }
            if self.policy.is_due(Instant::now()) {
                self.commit(&acks, &stop).await?;
            }
            self.flush_if_due(&stop).await?;
            self.release(&acks, &stop).await?;
            self.close_days(&acks, &stop).await?;
            self.tell_silences(&acks, &stop).await?;
            self.publish_live();
            self.tell_home();
            self.watch_wear();
        }
        self.commit(&acks, &stop).await?;
        self.flush(&stop).await?;
        info!("pipeline drained");
        Ok(())
    }

    async fn take(
        &mut self,
        burst: Burst,
        acks: &mpsc::Sender<Acks>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        self.look_at_clock();
        if burst.connection != self.connection {
            // What is not acknowledged over the old connection comes again over the new one.
            self.acks.clear();
            self.connection = burst.connection;
            self.listening_since = self.intake.clock.now();
        }
        let messages = u32::try_from(burst.deliveries.len()).unwrap_or(u32::MAX);
        let (readings, unacked) = (self.intake.batch.len(), self.acks.len());
        for delivery in burst.deliveries {
            let is_homes = self.home.as_mut().is_some_and(|home| home.hears(&delivery));
            let ticked = !is_homes && self.intake.take(&message(&delivery));
            self.acks.extend(delivery.packet);
            if ticked {
                self.watch_silences();
                self.watch_problems();
            }
            if ticked && self.is_day_due() {
                self.close_days(acks, stop).await?;
            }
            if self.policy.is_full(self.intake.batch.len()) {
                self.commit(acks, stop).await?;
            }
        }
        for Request::Publish { topic, payload } in self.intake.requests.drain(..) {
            self.links.outputs.publish(topic, payload, QoS::AtMostOnce, false);
        }
        self.intake.heard.drain(..).for_each(|sensor| self.live.changed(sensor));
        if self.intake.batch.is_empty() {
            // Nothing to make durable: refusals and ticks only.
            self.acknowledge(acks);
        } else {
            let readings = self.intake.batch.len().saturating_sub(readings);
            let unacked = self.acks.len().saturating_sub(unacked);
            self.policy.handle_messages(Instant::now(), messages, readings, unacked);
        }
        Ok(())
    }

    fn is_day_due(&self) -> bool {
        let due = self.intake.collector.poll_timeout();
        due.is_some_and(|due| due <= self.intake.clock.now())
    }

    /// Notices that the clock was set, or jumped.
    fn look_at_clock(&mut self) {
        let event = self.intake.clock.refresh();
        if event.is_some() {
            // By another clock: what was heard before says nothing about silence.
            self.listening_since = self.intake.clock.now();
        }
        match event {
            // Said again while it lasts: more readings wait, and a tick is no event.
            None if !self.links.health.lasts(Condition::ClockUntrusted) => return,
            None => {}
            Some(ClockEvent::Trusted) => info!(now = %self.intake.clock.now(), "the clock is set"),
            Some(ClockEvent::Stepped(by_ms)) => {
                warn!(by_ms, "the clock was set to another time");
                self.links.metrics.add(Counter::ClockSteps, 1);
            }
            Some(ClockEvent::Doubted(by_ms)) => {
                warn!(by_ms, "the clock jumped; going on from before until that is confirmed");
                self.links.metrics.add(Counter::ClockSteps, 1);
            }
        }
        self.report_clock();
    }

    /// Says in `/health` while the time is not known.
    fn report_clock(&self) {
        let intake = &self.intake;
        let detail = (!intake.clock.is_trusted()).then(|| {
            format!(
                "the clock cannot be believed; {} readings without a time wait for it",
                intake.quarantined()
            )
        });
        self.links.health.set(Condition::ClockUntrusted, detail);
    }

    /// Dates and keeps the readings that waited for the clock, once it is set.
    async fn release(
        &mut self,
        acks: &mpsc::Sender<Acks>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        if self.intake.quarantined() == 0 || !self.intake.clock.is_trusted() {
            return Ok(());
        }
        // Those of the batch must be in the store to be released from it.
        self.commit(acks, stop).await?;
        let waiting = self.intake.quarantined();
        for _ in 0..RELEASED_AT_ONCE {
            if stop.is_cancelled() || !self.release_some(stop).await? {
                break;
            }
            self.commit(acks, stop).await?;
        }
        let waiting = waiting.saturating_sub(self.intake.quarantined());
        if waiting > 0 {
            info!(readings = waiting, "dated the readings that waited for the clock");
        }
        Ok(())
    }

    async fn release_some(&mut self, stop: &CancellationToken) -> Result<bool, StoreError> {
        loop {
            match self.intake.release(&self.store) {
                Ok(released) => return Ok(released),
                Err(error) => self.wait_for_store(error, stop).await?,
            }
        }
    }

    /// Writes the batch and makes it durable as the config asks for, however often it takes, then
    /// acknowledges.
    async fn commit(
        &mut self,
        acks: &mpsc::Sender<Acks>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        self.links.heartbeat.beat();
        if !self.intake.batch.is_empty() {
            while let Err(error) = self.intake.write(&self.store) {
                self.wait_for_store(error, stop).await?;
            }
            self.intake.batch.clear();
            self.intake.collector.keep_from(self.store.kept_from());
            self.flushing.handle_write(Instant::now());
            self.flush_if_due(stop).await?;
            self.links.metrics.add(Counter::Commits, 1);
            let (records, bytes) = self.store.journal_size();
            if records >= FOLD_RECORDS || bytes >= FOLD_BYTES {
                self.fold(stop).await?;
            }
            self.store_works();
        }
        self.acknowledge(acks);
        self.policy.handle_commit(Instant::now());
        Ok(())
    }

    async fn flush_if_due(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        if self.flushing.is_due(Instant::now()) { self.flush(stop).await } else { Ok(()) }
    }

    /// Makes durable what was written. It is not written again for that, so that a batch is in the
    /// store once, however often this takes.
    async fn flush(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        while let Err(error) = self.store.flush() {
            self.wait_for_store(error, stop).await?;
        }
        self.flushing.handle_flush();
        self.store_works();
        Ok(())
    }

    async fn fold(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        while let Err(error) = self.store.fold() {
            self.wait_for_store(error, stop).await?;
        }
        self.store_works();
        Ok(())
    }

    /// After a failed write: waits and lets the caller try again, or gives up while stopping.
    /// Nothing has been acknowledged, so the broker keeps what is not written.
    async fn wait_for_store(
        &self,
        error: StoreError,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        self.links.metrics.add(Counter::StoreFailures, 1);
        self.links.heartbeat.beat();
        if stop.is_cancelled() || error.remedy() == crate::store::Remedy::Stop {
            error!(error = &error as &dyn std::error::Error, state = %self.state_dir.display(), "the store failed for good");
            return Err(error);
        }
        debug!(error = &error as &dyn std::error::Error, retry_in = ?RETRY_AFTER, "the store failed");
        self.links.health.set(Condition::StoreWaiting, Some(in_words(&error)));
        tokio::select! {
            () = sleep(RETRY_AFTER) => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    fn store_works(&self) {
        self.links.health.set(Condition::StoreWaiting, None);
    }

    fn acknowledge(&mut self, acks: &mpsc::Sender<Acks>) {
        if self.acks.is_empty() {
            return;
        }
        let packets = std::mem::take(&mut self.acks);
        match acks.try_send(Acks { connection: self.connection, packets }) {
            Ok(()) => {}
            // The session is busy: they go with the next ones.
            Err(TrySendError::Full(acks)) => self.acks = acks.packets,
            Err(TrySendError::Closed(_)) => debug!("nobody is left to acknowledge to"),
        }
    }
}

fn message(delivery: &Delivery) -> Message<'_> {
    Message {
        topic: &delivery.topic,
        payload: &delivery.payload,
        packet: delivery.packet,
        is_again: delivery.dup,
        is_retained: delivery.retained,
    }
}
