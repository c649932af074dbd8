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
mod live;
mod route;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use daywise_core::{
    baseline::Baseline,
    collect::{Accepted, Collector},
    decode,
    features::FeatureSet,
    reading::{Reading, Refusal, Sample, SensorIx, check_value},
    time::{LocalDay, UtcMillis},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, trace, warn};

use self::{
    live::Live,
    route::{Route, Routes},
};
use crate::{
    calendar::Calendar,
    clock::Clock,
    commit_policy::CommitPolicy,
    config::{AgentConfig, ClockSource},
    health::Health,
    metrics::{Counter, Metrics},
    mqtt::{Acks, Burst, Delivery, Outputs},
    slots::ActiveModel,
    store::{Batch, DayReading, SensorRecord, Store, StoreError},
};

/// The pipeline looks for due days at least this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A failed write is tried again after this long; until then nothing is acknowledged.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A journal of this many records is folded into blocks: at a commit every five seconds about
/// an hour's worth, which bounds both the replay after a crash and the memory of a fold.
const FOLD_RECORDS: u64 = 720;
/// The same bound by size, for gateways with many readings per commit.
const FOLD_BYTES: u64 = 2 << 20;

/// What the next group commit adds.
#[derive(Debug, Default)]
struct Gathered {
    new_sensors: Vec<SensorRecord>,
    new_days: Vec<LocalDay>,
    readings: Vec<DayReading>,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.new_sensors.is_empty() && self.new_days.is_empty() && self.readings.is_empty()
    }

    fn as_batch(&self) -> Batch<'_> {
        Batch { new_sensors: &self.new_sensors, new_days: &self.new_days, readings: &self.readings }
    }

    fn clear(&mut self) {
        self.new_sensors.clear();
        self.new_days.clear();
        self.readings.clear();
    }
}

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
    calendar: Calendar,
    clock: Clock,
    collector: Collector,
    routes: Routes,
    policy: CommitPolicy,
    live: Live,
    links: Links,
    batch: Gathered,
    connection: u64,
    acks: Vec<u16>,
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
        let mut collector = Collector::new(config.limits());
        let mut routes = Routes::new(config);
        for sensor in store.sensors()? {
            collector.restore_sensor(stored_baseline(&store, sensor.ix));
            routes.add_sensor(sensor.ix, sensor.id, sensor.quantity);
        }
        let mut newest = UtcMillis::default();
        for day in store.open_days() {
            collector.restore_day(day);
        }
        let mut readings = 0_u64;
        store.restore(&mut |date, sensor, sample: Sample| {
            collector.restore(date, sensor, sample);
            newest = newest.max(sample.at);
            readings += 1;
        })?;
        // A day that has closed had ended. Without this a clock that knows no better, such as one
        // not set since the power came back, would refuse what the broker has kept for us.
        if let Some(day) = store.newest_closed_day() {
            newest = newest.max(day.end);
        }
        let mut clock = Clock::new(config.clock.source, newest);
        let now = clock.now();
        for (date, sensor) in store.dirty() {
            collector.restore_dirty(now, date, sensor);
        }
        info!(
            sensors = collector.sensor_count(),
            open_days = collector.open_days(),
            readings,
            "restored from the store"
        );
        let retention_days =
            i32::try_from(config.days.retention.0.as_secs().div_ceil(86_400)).unwrap_or(i32::MAX);
        Ok(Self {
            gateway: config.gateway.clone(),
            output_prefix: config.outputs.prefix.clone(),
            set: config.features.set,
            retention_days,
            store,
            state_dir: config.state_dir.clone(),
            calendar,
            clock,
            collector,
            routes,
            policy: CommitPolicy::new(config.store.commit_every.0),
            live: Live::new(config.outputs.live_every.0),
            links,
            batch: Gathered::default(),
            connection: 0,
            acks: Vec::new(),
        })
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
        loop {
            let look = Instant::now() + LOOK_EVERY;
            let wake = self.policy.deadline().map_or(look, |deadline| deadline.min(look));
            tokio::select! {
                biased;
                burst = bursts.recv() => match burst {
                    Some(burst) => self.take(burst, &acks, &stop).await?,
                    None => break,
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            if self.policy.is_due(Instant::now()) {
                self.commit(&acks, &stop).await?;
            }
            self.close_days(&acks, &stop).await?;
            self.publish_live();
        }
        self.commit(&acks, &stop).await?;
        info!("pipeline drained");
        Ok(())
    }

    async fn take(
        &mut self,
        burst: Burst,
        acks: &mpsc::Sender<Acks>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        if burst.connection != self.connection {
            // What is not acknowledged over the old connection comes again over the new one.
            self.acks.clear();
            self.connection = burst.connection;
        }
        let messages = u32::try_from(burst.deliveries.len()).unwrap_or(u32::MAX);
        let (readings, unacked) = (self.batch.readings.len(), self.acks.len());
        for delivery in burst.deliveries {
            let ticked = self.deliver(&delivery);
            self.acks.extend(delivery.packet);
            if ticked && self.collector.poll_timeout().is_some_and(|due| due <= self.clock.now()) {
                self.close_days(acks, stop).await?;
            }
            if self.batch.readings.len() >= crate::commit_policy::MAX_BATCH {
                self.commit(acks, stop).await?;
            }
        }
        if self.batch.is_empty() {
            // Nothing to make durable: refusals and ticks only.
            self.acknowledge(acks);
        } else {
            let readings = self.batch.readings.len().saturating_sub(readings);
            let unacked = self.acks.len().saturating_sub(unacked);
            self.policy.handle_messages(Instant::now(), messages, readings, unacked);
        }
        Ok(())
    }

    /// Takes one message; says whether it moved the clock.
    fn deliver(&mut self, delivery: &Delivery) -> bool {
        match self.routes.find(&delivery.topic) {
            Route::Clock => return self.tick(&delivery.payload),
            Route::Refused(reason) => self.refuse(reason, &delivery.topic),
            Route::Sensor(number) => {
                if let Err(reason) = self.read(number, &delivery.payload) {
                    self.refuse(reason, &delivery.topic);
                }
            }
        }
        false
    }

    fn refuse(&self, reason: Refusal, topic: &str) {
        self.links.metrics.refuse(reason);
        debug!(%topic, %reason, "left out");
    }

    fn tick(&mut self, payload: &[u8]) -> bool {
        let text = std::str::from_utf8(payload).ok();
        let Some(ms) = text.and_then(|text| text.trim().parse().ok()) else {
            warn!("a clock tick is not a number of milliseconds");
            return false;
        };
        self.clock.tick(UtcMillis(ms));
        true
    }

    /// Decodes, checks, dates and gathers one message's reading.
    fn read(&mut self, number: usize, payload: &[u8]) -> Result<(), Refusal> {
        let decoded = decode::decode(payload)?;
        let quantity = self.routes.quantity(number);
        check_value(quantity, decoded.value)?;
        if let Some(at) = decoded.ts {
            self.clock.hint(at);
        }
        let now = self.clock.now();
        let sample = Sample { at: decoded.ts.unwrap_or(now), value: decoded.value };
        let day = self.calendar.day_of(sample.at);
        let sensor = match self.routes.sensor(number) {
            Some(sensor) => sensor,
            None => {
                self.collector.check_time(now, &day, sample.at)?;
                self.new_sensor(number)?
            }
        };
        match self.collector.push(now, &day, Reading { sensor, sample })? {
            Accepted::Open => {}
            Accepted::OpensDay => {
                info!(date = %day.date, "day opened");
                self.batch.new_days.push(day);
            }
            Accepted::Late => self.links.metrics.add(Counter::Late, 1),
        }
        trace!(sensor = sensor.0, at = %sample.at, value = sample.value, "reading");
        self.batch.readings.push((day.date, sensor, sample));
        self.live.changed(sensor);
        self.links.metrics.add(Counter::Accepted, 1);
        Ok(())
    }

    fn new_sensor(&mut self, number: usize) -> Result<SensorIx, Refusal> {
        let ix = self.collector.add_sensor(Baseline::default())?;
        let (id, quantity) = self.routes.bind(number, ix);
        info!(sensor = %id, %quantity, "new sensor");
        self.batch.new_sensors.push(SensorRecord { ix, id, quantity });
        Ok(ix)
    }

    /// Makes the batch durable, however often it takes, then acknowledges.
    async fn commit(
        &mut self,
        acks: &mpsc::Sender<Acks>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        if !self.batch.is_empty() {
            while let Err(error) =
                self.store.append(&self.batch.as_batch()).and_then(|()| self.store.flush())
            {
                self.wait_for_store(error, stop).await?;
            }
            self.batch.clear();
            self.links.metrics.add(Counter::Commits, 1);
            let (records, bytes) = self.store.journal_size();
            if records >= FOLD_RECORDS || bytes >= FOLD_BYTES {
                self.fold(stop).await?;
            }
        }
        self.acknowledge(acks);
        self.policy.handle_commit(Instant::now());
        Ok(())
    }

    async fn fold(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        while let Err(error) = self.store.fold() {
            self.wait_for_store(error, stop).await?;
        }
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
        if stop.is_cancelled() || error.remedy() == crate::store::Remedy::Stop {
            error!(error = &error as &dyn std::error::Error, state = %self.state_dir.display(), "the store failed for good");
            return Err(error);
        }
        warn!(error = &error as &dyn std::error::Error, retry_in = ?RETRY_AFTER, "the store failed");
        sleep(RETRY_AFTER).await;
        Ok(())
    }

    fn acknowledge(&mut self, acks: &mpsc::Sender<Acks>) {
        if self.acks.is_empty() {
            return;
        }
        let packets = std::mem::take(&mut self.acks);
        // A session that takes no more has lost its connection: the broker sends them again.
        if acks.try_send(Acks { connection: self.connection, packets }).is_err() {
            debug!("acknowledgements not taken; the messages will come again");
        }
    }
}

fn stored_baseline(store: &Store, sensor: SensorIx) -> Baseline {
    let stored = store.sensor_state(sensor).ok().flatten();
    // A baseline of another version is learnt anew rather than misread.
    stored.and_then(|bytes| postcard::from_bytes(&bytes).ok()).unwrap_or_default()
}

/// The clock source decides whether ticks are listened to.
pub(crate) fn clock_topic(config: &AgentConfig) -> Option<&str> {
    (config.clock.source == ClockSource::Topic).then_some(config.clock.topic.as_str())
}
