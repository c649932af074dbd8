//! The time of a reading: its device's, corrected where that is known to be off; else that of its
//! arrival, as soon as the gateway's own clock can be believed.

use daywise_core::{
    reading::{Refusal, SensorIx},
    time::{DAY_MS, UtcMillis},
};
use tracing::{info, warn};

use super::{Intake, Judged, Status, Verdict, route::Routes};
use crate::{
    config::AgentConfig,
    store::{Held, Store, StoreError},
};

/// The same value of a sensor again within this is the same message, published twice.
const DOUBLED_MS: i64 = 5_000;
/// Arrivals of one sensor that the clock cannot tell apart are set apart by a millisecond.
const CROWDED_MS: i64 = 60_000;

/// How times are judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeRules {
    max_future_ms: i64,
    retention_ms: i64,
    device_tolerance_ms: i64,
    pub(super) corrects_devices: bool,
    max_quarantined: u64,
}

impl TimeRules {
    pub(super) fn new(config: &AgentConfig) -> Self {
        Self {
            max_future_ms: config.days.max_future.as_ms(),
            retention_ms: config.days.retention.as_ms(),
            device_tolerance_ms: config.clock.device_tolerance.as_ms(),
            corrects_devices: config.clock.correct_devices,
            max_quarantined: config.clock.max_quarantined,
        }
    }
}

impl Routes {
    /// Takes back the offset of a device's clock.
    pub(super) fn restore_offset(&mut self, sensor: SensorIx, offset_ms: i64) {
        let number = self.number_of(sensor);
        if let Some(clock) = number.and_then(|number| self.device_clock(number)) {
            *clock = daywise_core::device_clock::DeviceClock::restored(offset_ms);
        }
    }
}

impl Intake {
    /// A device's stamp, corrected if its clock is known to be off and the config says so.
    pub(super) fn corrected(&mut self, number: usize, stamp: UtcMillis) -> UtcMillis {
        self.clock.hint(stamp);
        let (now, is_trusted) = (self.clock.now(), self.clock.is_trusted());
        let Some(clock) = self.routes.device_clock(number) else { return stamp };
        let was_off = clock.offset_ms().is_some();
        let changed = is_trusted && clock.observe(now, stamp, self.rules.device_tolerance_ms);
        let offset = clock.offset_ms();
        if changed {
            self.clocks_off = match (was_off, offset.is_some()) {
                (false, true) => self.clocks_off + 1,
                (true, false) => self.clocks_off.saturating_sub(1),
                _ => self.clocks_off,
            };
            self.tell_offset(number, offset);
        }
        match offset {
            Some(offset) if self.rules.corrects_devices => stamp + offset.saturating_neg(),
            _ => stamp,
        }
    }

    fn tell_offset(&mut self, number: usize, offset: Option<i64>) {
        let id = self.routes.named(number).map_or("", |(id, _)| id);
        match offset {
            Some(ahead_ms) => warn!(sensor = id, ahead_ms, "the device's clock is off"),
            None => info!(sensor = id, "the device's clock is right again"),
        }
        if let Some(sensor) = self.routes.sensor(number) {
            self.batch.offsets.push((sensor, offset));
        }
    }

    /// The arrival of a reading without a time of its own.
    pub(super) fn arrival(&self, number: usize, value: f64) -> Result<UtcMillis, Refusal> {
        let now = self.clock.now();
        let state = self.routes.sensor(number).and_then(|sensor| self.collector.sensor(sensor));
        let Some((state, last)) = state.and_then(|state| Some((state, state.last?))) else {
            return Ok(now);
        };
        let since = now.since(last.at);
        // A sensor that repeats itself at its own pace does say something new; one that does so
        // much sooner has published twice, or a bridge has.
        let doubled = state.pace.usual_ms().map_or(0, |usual| (usual / 4).min(DOUBLED_MS));
        if value.to_bits() == last.value.to_bits() && (0..doubled).contains(&since) {
            return Err(Refusal::Duplicate);
        }
        Ok(if (-CROWDED_MS..=0).contains(&since) { last.at + 1 } else { now })
    }

    /// Whether a reading with a time cannot be judged before the gateway's clock is set: by the
    /// best guess it lies in the future, or too far back.
    pub(super) fn must_wait(&self, at: UtcMillis) -> bool {
        let (now, rules) = (self.clock.now(), self.rules);
        let is_ahead = at.since(now) > rules.max_future_ms;
        let is_behind = now.since(at) > rules.retention_ms.saturating_add(DAY_MS);
        !self.clock.is_trusted() && (is_ahead || is_behind)
    }

    /// A reading for the quarantine.
    pub(super) fn hold(
        &mut self,
        number: usize,
        stamp: Option<UtcMillis>,
        value: f64,
    ) -> Result<Held, Refusal> {
        if self.quarantined >= self.rules.max_quarantined {
            return Err(Refusal::QuarantineFull);
        }
        let sensor = self.bound(number)?;
        let (boot, since_boot_ms) = self.clock.since_boot();
        let since_boot_ms = self.routes.apart(number, boot, since_boot_ms);
        Ok(Held { boot, since_boot_ms, sensor, stamp, value })
    }

    /// Devices whose clock is known to be off.
    pub(crate) fn clocks_off(&self) -> u64 {
        self.clocks_off
    }

    /// Readings that wait for the clock to be set.
    pub(crate) fn quarantined(&self) -> u64 {
        self.quarantined
    }

    /// Once the clock can be believed, gathers the oldest of the readings that waited for it, to
    /// be committed before this is called again. Says whether there were any.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn release(&mut self, store: &Store) -> Result<bool, StoreError> {
        if self.quarantined == 0 || !self.clock.is_trusted() || self.batch.released.is_some() {
            return Ok(false);
        }
        let Some(waiting) = store.quarantined()? else {
            // What is still in the batch is counted, but not in the store yet.
            self.quarantined = self.batch.quarantined.len() as u64;
            return Ok(false);
        };
        self.batch.released = Some(waiting.seq);
        self.quarantined = self.quarantined.saturating_sub(waiting.readings.len() as u64);
        for held in waiting.readings {
            self.date(&held);
        }
        Ok(true)
    }

    /// Dates a reading that waited.
    fn date(&mut self, held: &Held) {
        let mut about = Verdict::of(0, self.routes.number_of(held.sensor));
        about.value = Some(held.value);
        let at = held.stamp.or_else(|| self.clock.at_boot(held.boot, held.since_boot_ms));
        about.at = at;
        let judged: Result<Judged, Refusal> =
            at.ok_or(Refusal::ClockNeverSet).and_then(|at| self.place(&mut about, at, held.value));
        match judged {
            Ok(judged) => self.carry_out(about, judged),
            Err(reason) => self.conclude(about, Status::left_out(reason)),
        }
    }
}
