//! Sensors that stop reporting, and those that come back: told locally and to the server.

use std::time::{Duration, Instant};

use daywise_core::{collect::SilenceChange, reading::SensorIx, time::UtcMillis, wire::Silence};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Pipeline;
use crate::{metrics::Counter, mqtt::Acks, store::StoreError};

/// Silences put into the store at once: after an outage all sensors are heard again together.
const SILENCES_AT_ONCE: usize = 64;

/// All sensors are looked at this often,
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// or whenever the agent's clock has moved on by this, as it does fast in a replay.
const LOOK_EVERY_MS: i64 = 60_000;

/// What was noticed and is not yet told.
#[derive(Debug, Default)]
pub(super) struct Silences {
    untold: Vec<SilenceChange>,
    silent: u64,
    is_deaf: bool,
    looked: Option<(Instant, UtcMillis)>,
}

impl Silences {
    /// So many sensors were silent before the restart.
    pub(super) fn restored(silent: u64) -> Self {
        Self { silent, ..Self::default() }
    }
}

impl Pipeline {
    /// Notices which sensors fell silent or were heard again, if it is time to look.
    pub(super) fn watch_silences(&mut self) {
        let (instant, now) = (Instant::now(), self.intake.clock.now());
        if let Some((looked, then)) = self.silences.looked
            && instant.duration_since(looked) < LOOK_EVERY
            && now.since(then) < LOOK_EVERY_MS
        {
            return;
        }
        let looked = self.silences.looked.replace((instant, now));
        let has_paused =
            looked.is_some_and(|(looked, _)| instant.duration_since(looked) > 10 * LOOK_EVERY);
        let is_deaf = self.links.metrics.get(Counter::Connected) == 0;
        let was_deaf = std::mem::replace(&mut self.silences.is_deaf, is_deaf);
        if is_deaf || was_deaf || has_paused {
            // Without the broker, or while the store kept us waiting, nobody could be heard, so
            // nobody is missed.
            self.listening_since = now;
            return;
        }
        let mut changes = self.intake.collector.poll_silences(now, self.listening_since);
        for change in &changes {
            let sensor = self.intake.routes.describe(change.sensor).map_or("", |(id, _)| id);
            let silences = &mut self.silences;
            match change.until {
                None => {
                    silences.silent += 1;
                    info!(sensor, since = %change.since, "the sensor is silent");
                }
                Some(until) => {
                    silences.silent = silences.silent.saturating_sub(1);
                    info!(sensor, since = %change.since, %until, "the sensor reports again");
                }
            }
            self.live.changed(change.sensor);
        }
        self.silences.untold.append(&mut changes);
        self.links.metrics.set(Counter::Silent, self.silences.silent);
    }

    /// Puts what was noticed into the outbox.
    pub(super) async fn tell_silences(
        &mut self,
        acks: &mpsc::Sender<Acks>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        self.watch_silences();
        if self.silences.untold.is_empty() {
            return Ok(());
        }
        // The sensor itself may still be in the batch.
        self.commit(acks, stop).await?;
        let untold = std::mem::take(&mut self.silences.untold);
        let told: Vec<(SensorIx, Silence)> =
            untold.iter().filter_map(|change| self.silence(change)).collect();
        for some in told.chunks(SILENCES_AT_ONCE) {
            while let Err(error) = self.store.put_silences(some) {
                self.wait_for_store(error, stop).await?;
            }
        }
        // Not put again for that: each would get another number.
        while let Err(error) = self.store.flush() {
            self.wait_for_store(error, stop).await?;
        }
        self.links.outbox_ready.notify_one();
        Ok(())
    }

    fn silence(&self, change: &SilenceChange) -> Option<(SensorIx, Silence)> {
        let (id, quantity) = self.intake.routes.describe(change.sensor)?;
        let silence = Silence {
            sensor: id.to_owned(),
            quantity,
            since: change.since,
            until: change.until,
            expected_every_ms: change.usual_ms,
        };
        Some((change.sensor, silence))
    }
}
