//! Closing days: stored samples to features, prediction, upload, local message.

use std::collections::BTreeMap;

use daywise_core::{
    baseline::{Baseline, Reason},
    chunk::Chunk,
    day::ClosedDay,
    quantity::Quantity,
    reading::SensorIx,
    time::{LocalDate, LocalDay},
    wire::SensorDay,
};
use rumqttc::QoS;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Pipeline;
use crate::{
    figures::{LastDay, Part},
    metrics::Counter,
    mqtt::Acks,
    store::{DayCommit, DayRecord, Prune, StoreError},
};

/// Sensor-days in one transaction; bounds its memory at a few hundred bytes each.
const DAYS_PER_COMMIT: usize = 32;

/// Features and predictions are kept this many days; readings only for the retention.
const KEEP_DAYS: i32 = 90;

/// A sensor-day ready to be committed, and what is said of it afterwards.
struct Computed {
    commit: DayCommit,
    message: Value,
    topic: String,
    last: LastDay,
}

/// What is said of a sensor-day once it is durable.
#[derive(Debug)]
pub(super) struct Unsaid {
    topic: String,
    payload: Vec<u8>,
    sensor: SensorIx,
    last: LastDay,
}

/// Baselines that days have taught which are not committed yet.
type Taught = BTreeMap<SensorIx, Baseline>;

impl Pipeline {
    /// Computes every day that is due: closed ones first, then those that late readings reopened.
    pub(super) async fn close_days(
        &mut self,
        acks: &mpsc::Sender<Acks>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        while let Some(day) = self.intake.collector.poll_closed(self.intake.clock.now()) {
            // Its last readings may still be in the batch.
            self.commit(acks, stop).await?;
            self.fold(stop).await?;
            let computed = loop {
                match self.close_day(&day) {
                    Ok(computed) => break computed,
                    Err(error) => self.wait_for_store(error, stop).await?,
                }
            };
            self.store_works();
            self.intake.collector.closed(day.date);
            info!(date = %day.date, sensor_days = computed, "day closed");
        }
        let mut reopened = Vec::new();
        while let Some(key) = self.intake.collector.poll_reopened(self.intake.clock.now()) {
            reopened.push(key);
        }
        if !reopened.is_empty() {
            self.commit(acks, stop).await?;
            self.fold(stop).await?;
            while let Err(error) = self.revise(&reopened) {
                self.wait_for_store(error, stop).await?;
            }
            self.store_works();
        }
        self.report_figures();
        Ok(())
    }

    /// Computes all sensors of a day. Interrupted, the rest is still marked dirty in the store and
    /// is computed after the restart.
    fn close_day(&mut self, day: &LocalDay) -> Result<usize, StoreError> {
        self.store.begin_close(day.date)?;
        let due = self.store.dirty().into_iter().filter(|(date, _)| *date == day.date);
        let due: Vec<_> = due.map(|(_, sensor)| (*day, sensor)).collect();
        let mut computed = 0;
        for group in due.chunks(DAYS_PER_COMMIT) {
            computed += self.compute(group)?;
        }
        self.store.prune(Prune::Readings, day.date.plus_days(-self.retention_days))?;
        self.store.prune(Prune::Days, day.date.plus_days(-KEEP_DAYS.max(self.retention_days)))?;
        self.say_days()?;
        self.intake.days.forget_before(day.date.plus_days(-KEEP_DAYS.max(self.retention_days)));
        self.store.renew()?;
        Ok(computed)
    }

    /// Computes sensor-days that late readings reopened, or that a crash left undone.
    fn revise(&mut self, reopened: &[(LocalDate, SensorIx)]) -> Result<(), StoreError> {
        for group in reopened.chunks(DAYS_PER_COMMIT) {
            let days: Vec<_> =
                group.iter().map(|(date, sensor)| (self.intake.days.day(*date), *sensor)).collect();
            let revised = self.compute(&days)?;
            info!(sensor_days = revised, "late readings revised days");
        }
        self.say_days()
    }

    /// Computes and commits some sensor-days, then publishes them. What it did of that before it
    /// failed is not done again.
    fn compute(&mut self, days: &[(LocalDay, SensorIx)]) -> Result<usize, StoreError> {
        self.links.heartbeat.beat();
        let mut commits = Vec::with_capacity(days.len());
        let (mut taught, mut unsaid) = (Taught::new(), Vec::with_capacity(days.len()));
        for (day, sensor) in days {
            if let Some(computed) = self.compute_one(day, *sensor, &mut taught)? {
                let Computed { topic, message, last, .. } = computed;
                let payload = message.to_string().into_bytes();
                unsaid.push(Unsaid { topic, payload, sensor: *sensor, last });
                commits.push(computed.commit);
            } else {
                self.store.unmark(day.date, *sensor)?;
            }
        }
        if commits.is_empty() {
            return Ok(0);
        }
        self.store.commit_days(&commits)?;
        // Only now: a day that is computed again must not be compared with itself.
        for (sensor, baseline) in taught {
            self.intake.collector.teach(sensor, baseline);
        }
        self.unsaid.append(&mut unsaid);
        let predicted = commits.iter().filter(|commit| commit.record.prediction.is_some()).count();
        self.links.metrics.add(Counter::SensorDays, commits.len() as u64);
        self.links.metrics.add(Counter::Predictions, predicted as u64);
        self.say_days()?;
        Ok(commits.len())
    }

    /// Publishes the days that are committed, once they are durable.
    fn say_days(&mut self) -> Result<(), StoreError> {
        self.store.flush()?;
        if !self.unsaid.is_empty() {
            self.links.outbox_ready.notify_one();
        }
        for Unsaid { topic, payload, sensor, last } in std::mem::take(&mut self.unsaid) {
            self.links.outputs.publish(topic, payload, QoS::AtLeastOnce, false);
            self.note_last_day(sensor, last);
        }
        Ok(())
    }

    /// One sensor's day from the stored samples; `None` if that is what is stored already.
    fn compute_one(
        &mut self,
        day: &LocalDay,
        sensor: SensorIx,
        taught: &mut Taught,
    ) -> Result<Option<Computed>, StoreError> {
        let Some((id, quantity)) = self.intake.routes.describe(sensor) else {
            warn!(sensor = sensor.0, "stored readings of an unknown sensor");
            return Ok(None);
        };
        let id = id.to_owned();
        let chunk = Chunk::new(*day, self.store.chunk(day.date, sensor)?);
        let samples = u32::try_from(chunk.samples().len()).unwrap_or(u32::MAX);
        let chunk = chunk.learnt_as(quantity);
        let features = self.set.extract(&chunk).ok();
        let earlier = self.store.day_record(day.date, sensor)?;
        if earlier.as_ref().is_some_and(|e| e.samples == samples && e.features == features) {
            return Ok(None);
        }
        let revision = earlier.map_or(1, |earlier| earlier.revision.saturating_add(1));
        let usual = taught
            .get(&sensor)
            .or_else(|| self.intake.collector.sensor(sensor).map(|state| &state.baseline));
        let mut baseline = usual.cloned().unwrap_or_default();
        let closed = features.map(|features| {
            let active = self.links.model.borrow();
            let model = active.as_ref().map(|active| &active.model);
            ClosedDay::new(&chunk, features, quantity, &mut baseline, model)
        });
        let is_learnt = closed.as_ref().is_some_and(|closed| closed.is_learnt);
        let record = day_record(revision, samples, &chunk, closed);
        let set = self.set;
        let last = LastDay::new(day, &record, |place| baseline.usual(set, day.date, place));
        let upload = uploaded(id, quantity, day.date, &record);
        let computed = Computed {
            topic: format!("{}/{}/{}/day", self.output_prefix, self.gateway, upload.sensor),
            message: day_message(&upload, &last),
            last,
            commit: DayCommit {
                date: day.date,
                sensor,
                record,
                upload: Some(upload),
                sensor_state: (is_learnt || revision == 1).then(|| baseline.to_bytes()).flatten(),
            },
        };
        taught.extend(is_learnt.then_some((sensor, baseline)));
        Ok(Some(computed))
    }

    /// Updates the figures that go up and down.
    pub(super) fn report_figures(&mut self) {
        let (metrics, intake) = (&self.links.metrics, &self.intake);
        metrics.set(Counter::Sensors, intake.collector.sensor_count() as u64);
        metrics.set(Counter::OpenDays, intake.collector.open_days() as u64);
        metrics.set(Counter::Waiting, intake.quarantined());
        metrics.set(Counter::DeviceClocks, intake.clocks_off());
        metrics.set(Counter::Now, u64::try_from(intake.clock.now().0).unwrap_or(0));
    }
}

/// What is stored of a day, which is not described if it had too few readings.
fn day_record(revision: u32, samples: u32, chunk: &Chunk, closed: Option<ClosedDay>) -> DayRecord {
    #[expect(clippy::cast_possible_truncation, reason = "a share fits f32")]
    let coverage = chunk.coverage() as f32;
    let (features, prediction, verdict, score) = match closed {
        Some(it) => (Some(it.features), it.prediction, it.verdict, it.score),
        None => (None, None, None, None),
    };
    DayRecord {
        revision,
        samples,
        coverage,
        features,
        prediction,
        deviation: verdict.as_ref().map(|verdict| verdict.deviation),
        score,
        drift: verdict.as_ref().and_then(|verdict| verdict.drift),
        reasons: verdict.map(|verdict| verdict.reasons).unwrap_or_default(),
    }
}

/// What the server gets of a day.
fn uploaded(sensor: String, quantity: Quantity, date: LocalDate, record: &DayRecord) -> SensorDay {
    SensorDay {
        sensor,
        quantity,
        date,
        revision: record.revision,
        samples: record.samples,
        coverage: record.coverage,
        features: record.features.clone(),
        prediction: record.prediction.clone(),
        deviation: record.deviation,
        score: record.score,
        reasons: record.reasons.clone(),
        drift: record.drift,
    }
}

/// `…/day`: what is said of one sensor-day.
fn day_message(day: &SensorDay, said: &LastDay) -> Value {
    let prediction = day.prediction.as_ref();
    let name = |place: u8| said.set.feature_names().get(usize::from(place)).copied();
    let part = |part: &Part| {
        json!({
            "feature": name(part.feature),
            "value": part.value,
            "deviation": part.deviation,
            "usual": part.usual,
        })
    };
    let reason = |reason: &Reason| {
        json!({
            "subject": reason.subject.name(said.set),
            "value": reason.value,
            "usual": reason.usual,
            "deviate": reason.deviate,
        })
    };
    json!({
        "sensor": day.sensor,
        "quantity": day.quantity.name(),
        "unit": day.quantity.unit(),
        "day": day.date.to_string(),
        "revision": day.revision,
        "samples": day.samples,
        "coverage": day.coverage,
        "score": said.score,
        "why": said.in_words(day.quantity),
        "cluster": prediction.map(|p| p.cluster),
        "distance": prediction.map(|p| p.distance),
        "novelty": prediction.map(|p| p.novelty),
        "top_features": prediction.map(|_| said.top.iter().map(part).collect::<Vec<_>>()),
        "model_version": prediction.map(|p| p.model_version),
        "deviation": day.deviation,
        "reasons": said.reasons.iter().map(reason).collect::<Vec<_>>(),
        "drift": said.drift.map(|drift| json!({
            "drift": drift.drift,
            "feature": name(drift.feature),
            "per_day": drift.per_day,
            "ends": drift.ends.map(|date| date.to_string()),
        })),
        "reason": day.features.is_none().then_some("too_few_samples"),
    })
}
