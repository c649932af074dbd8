//! Readings in, days out: which local day a reading belongs to, and when that day closes.
//!
//! A day stays open for `grace` past its end. A reading for a day that has closed, but is still
//! kept, reopens it: the day is computed again a while later, so that a burst of late readings
//! costs one revision. Samples themselves are the store's; here is only what the live view needs,
//! of fixed size per sensor, without an allocation per reading.
//!
//! The caller passes `now` and the reading's [`LocalDay`], so replaying a log gives the same days.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    baseline::Baseline,
    reading::{Reading, Refusal, Sample, SensorIx},
    time::{LocalDate, LocalDay, UtcMillis},
};

/// Days of one sensor that can be open at once: today, and yesterday in its grace period.
const OPEN_DAYS_PER_SENSOR: usize = 2;
/// Reopened days that may wait for their readings to settle; beyond that the oldest is due.
const MAX_REOPENED: usize = 4_096;

/// The rules of [`Collector`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a day stays open after its end, in milliseconds.
    pub grace_ms: i64,
    /// How long a closed day's readings are kept after its end, in milliseconds.
    pub retention_ms: i64,
    /// How far ahead of `now` a reading may be stamped, in milliseconds.
    pub max_future_ms: i64,
    /// How long a reopened day waits for more late readings, in milliseconds.
    pub settle_ms: i64,
    /// The most sensors.
    pub max_sensors: usize,
    /// The most samples that one sensor's open day takes.
    pub max_samples_per_day: u32,
}

/// One sensor's open day so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DaySoFar {
    /// The day.
    pub date: LocalDate,
    /// Samples so far.
    pub samples: u32,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl DaySoFar {
    fn starting_with(date: LocalDate, value: f64) -> Self {
        Self { date, samples: 1, mean: value, min: value, max: value }
    }

    fn add(&mut self, value: f64) {
        self.samples = self.samples.saturating_add(1);
        self.mean += (value - self.mean) / f64::from(self.samples);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

/// What is held in memory for one sensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SensorState {
    /// The newest sample, by its own time.
    pub last: Option<Sample>,
    /// The live score of `last`, while the baseline can say one.
    pub live_score: Option<f32>,
    /// What its days usually look like.
    pub baseline: Baseline,
    open: heapless::Vec<DaySoFar, OPEN_DAYS_PER_SENSOR>,
}

const _: () = assert!(size_of::<SensorState>() <= 1536, "the budget of state per sensor");

impl SensorState {
    /// The newest open day.
    #[must_use]
    pub fn today(&self) -> Option<&DaySoFar> {
        self.open.iter().max_by_key(|day| day.date)
    }

    fn add(&mut self, day: &LocalDay, sample: Sample) {
        if let Some(so_far) = self.open.iter_mut().find(|so_far| so_far.date == day.date) {
            so_far.add(sample.value);
            return;
        }
        let started = DaySoFar::starting_with(day.date, sample.value);
        if let Err(started) = self.open.push(started)
            && let Some(oldest) = self.open.iter_mut().min_by_key(|so_far| so_far.date)
            && oldest.date < started.date
        {
            // Three open days: only with a grace of more than a day. The live view lets the
            // oldest go; its samples are in the store all the same.
            *oldest = started;
        }
    }
}

/// What became of an accepted reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It joined an open day.
    Open,
    /// It is the first of its day on this gateway; the day is open now.
    OpensDay,
    /// Its day had closed; the day will be computed again.
    Late,
}

/// Collects readings by day and sensor.
#[derive(Debug)]
pub struct Collector {
    limits: Limits,
    sensors: Vec<SensorState>,
    /// Ascending by date, so the first is the next to close.
    open: BTreeMap<LocalDate, LocalDay>,
    /// When each reopened sensor-day is computed again.
    reopened: BTreeMap<(LocalDate, SensorIx), UtcMillis>,
}

impl Collector {
    /// An empty collector.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, sensors: Vec::new(), open: BTreeMap::new(), reopened: BTreeMap::new() }
    }

    /// How many sensors are known.
    #[must_use]
    pub fn sensor_count(&self) -> usize {
        self.sensors.len()
    }

    /// How many days are open.
    #[must_use]
    pub fn open_days(&self) -> usize {
        self.open.len()
    }

    /// What is known of one sensor.
    #[must_use]
    pub fn sensor(&self, sensor: SensorIx) -> Option<&SensorState> {
        self.sensors.get(usize::try_from(sensor.0).ok()?)
    }

    /// Gives a new sensor its number.
    ///
    /// # Errors
    /// [`Refusal::TooManySensors`].
    pub fn add_sensor(&mut self, baseline: Baseline) -> Result<SensorIx, Refusal> {
        let number = u32::try_from(self.sensors.len()).map_err(|_| Refusal::TooManySensors)?;
        if self.sensors.len() >= self.limits.max_sensors {
            return Err(Refusal::TooManySensors);
        }
        self.sensors.push(SensorState { baseline, ..SensorState::default() });
        Ok(SensorIx(number))
    }

    /// Gives the number of a sensor that the store knows already, whatever the limit says now.
    pub fn restore_sensor(&mut self, baseline: Baseline) {
        self.sensors.push(SensorState { baseline, ..SensorState::default() });
    }

    /// Checks the time of a reading that belongs to `day`. [`Self::push`] does so too; before a
    /// sensor is given its number, so that nonsense takes no sensor's place.
    ///
    /// # Errors
    /// The reading lies in the future, or its day is no longer kept.
    pub fn check_time(&self, now: UtcMillis, day: &LocalDay, at: UtcMillis) -> Result<(), Refusal> {
        if at.since(now) > self.limits.max_future_ms {
            return Err(Refusal::FromTheFuture);
        }
        if now.since(day.end) > self.limits.retention_ms {
            return Err(Refusal::TooOld);
        }
        Ok(())
    }

    /// Takes a reading that belongs to `day`.
    ///
    /// # Errors
    /// Why it was left out; nothing has changed then.
    pub fn push(
        &mut self,
        now: UtcMillis,
        day: &LocalDay,
        reading: Reading,
    ) -> Result<Accepted, Refusal> {
        let Reading { sensor, sample } = reading;
        self.check_time(now, day, sample.at)?;
        let limits = self.limits;
        let place = usize::try_from(sensor.0).map_err(|_| Refusal::TooManySensors)?;
        let state = self.sensors.get_mut(place).ok_or(Refusal::TooManySensors)?;
        // The cheap half of duplicate removal: a redelivery right behind. The rest falls out
        // when the stored chunk is sorted.
        if state.last.is_some_and(|last| last.at == sample.at) {
            return Err(Refusal::Duplicate);
        }
        let so_far = state.open.iter().find(|so_far| so_far.date == day.date);
        if so_far.is_some_and(|so_far| so_far.samples >= limits.max_samples_per_day) {
            return Err(Refusal::DayFull);
        }
        if state.last.is_none_or(|last| last.at < sample.at) {
            state.last = Some(sample);
            state.live_score = state.baseline.live_score(day.wall_hour(sample.at), sample.value);
        }
        if self.open.contains_key(&day.date) {
            state.add(day, sample);
            return Ok(Accepted::Open);
        }
        if now.since(day.end) < limits.grace_ms {
            state.add(day, sample);
            self.open.insert(day.date, *day);
            return Ok(Accepted::OpensDay);
        }
        self.reopen(now, day.date, sensor);
        Ok(Accepted::Late)
    }

    /// Notes that a closed sensor-day has readings that its last features do not know.
    fn reopen(&mut self, now: UtcMillis, date: LocalDate, sensor: SensorIx) {
        self.reopened.entry((date, sensor)).or_insert(now + self.limits.settle_ms);
    }

    /// Takes back a sensor-day that was closed or reopened, but not computed, when the power went:
    /// it is due at once.
    pub fn restore_dirty(&mut self, now: UtcMillis, date: LocalDate, sensor: SensorIx) {
        self.reopened.insert((date, sensor), now);
    }

    /// Takes back a day that was open when the power went; its readings follow by
    /// [`Self::restore`].
    pub fn restore_day(&mut self, day: LocalDay) {
        self.open.insert(day.date, day);
    }

    /// Takes back a stored reading, without asking whether it is late: a day that ended while
    /// the power was off is still predicted.
    pub fn restore(&mut self, date: LocalDate, sensor: SensorIx, sample: Sample) {
        let Some(day) = self.open.get(&date).copied() else { return };
        let Some(state) =
            usize::try_from(sensor.0).ok().and_then(|place| self.sensors.get_mut(place))
        else {
            return;
        };
        state.add(&day, sample);
        if state.last.is_none_or(|last| last.at < sample.at) {
            state.last = Some(sample);
        }
    }

    /// When [`Self::poll_closed`] or [`Self::poll_reopened`] next has work.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<UtcMillis> {
        let close = self.open.values().next().map(|day| day.end + self.limits.grace_ms);
        let settled = self.reopened.values().min().copied();
        [close, settled].into_iter().flatten().min()
    }

    /// The oldest day that is to close by `now`; call [`Self::closed`] once it is durable.
    #[must_use]
    pub fn poll_closed(&self, now: UtcMillis) -> Option<LocalDay> {
        let day = self.open.values().next()?;
        (now.since(day.end) >= self.limits.grace_ms).then_some(*day)
    }

    /// The day is computed and durable.
    pub fn closed(&mut self, date: LocalDate) {
        self.open.remove(&date);
        for state in &mut self.sensors {
            state.open.retain(|so_far| so_far.date != date);
        }
    }

    /// Takes a reopened sensor-day whose late readings have settled by `now`. Call until `None`.
    pub fn poll_reopened(&mut self, now: UtcMillis) -> Option<(LocalDate, SensorIx)> {
        let key = if self.reopened.len() > MAX_REOPENED {
            *self.reopened.keys().next()?
        } else {
            *self.reopened.iter().find(|(_, due)| **due <= now)?.0
        };
        self.reopened.remove(&key);
        Some(key)
    }

    /// Teaches a sensor one of its closed days. Says whether the day was new to it.
    pub fn learn(
        &mut self,
        sensor: SensorIx,
        chunk: &crate::chunk::Chunk,
        features: &crate::features::Features,
    ) -> bool {
        let state = usize::try_from(sensor.0).ok().and_then(|place| self.sensors.get_mut(place));
        state.is_some_and(|state| state.baseline.learn(chunk, features))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{DAY_MS, HOUR_MS};

    const LIMITS: Limits = Limits {
        grace_ms: 2 * HOUR_MS,
        retention_ms: 3 * DAY_MS,
        max_future_ms: 60_000,
        settle_ms: 10 * 60_000,
        max_sensors: 2,
        max_samples_per_day: 3,
    };
    const DAY: i32 = 100;

    fn collector() -> (Collector, SensorIx) {
        let mut collector = Collector::new(LIMITS);
        let sensor = collector.add_sensor(Baseline::default()).unwrap();
        (collector, sensor)
    }

    fn at(hours: i64) -> UtcMillis {
        LocalDay::utc(LocalDate(DAY)).start + hours * HOUR_MS
    }

    fn push(
        collector: &mut Collector,
        now: UtcMillis,
        sensor: SensorIx,
        at: UtcMillis,
        value: f64,
    ) -> Result<Accepted, Refusal> {
        let date = LocalDate(i32::try_from(at.0.div_euclid(DAY_MS)).unwrap());
        let sample = Sample { at, value };
        collector.push(now, &LocalDay::utc(date), Reading { sensor, sample })
    }

    #[test]
    fn reading_delayed_past_midnight_joins_its_own_day() {
        let (mut collector, sensor) = collector();
        assert_eq!(push(&mut collector, at(25), sensor, at(23), 61.5), Ok(Accepted::OpensDay));
        assert_eq!(collector.poll_closed(at(25)), None, "still open at 01:00");
        assert_eq!(collector.poll_timeout(), Some(at(26)));
        assert_eq!(collector.poll_closed(at(26)).map(|day| day.date), Some(LocalDate(DAY)));
    }

    #[test]
    fn reading_for_a_closed_day_reopens_it_once() {
        let (mut collector, sensor) = collector();
        push(&mut collector, at(1), sensor, at(1), 1.0).unwrap();
        collector.closed(LocalDate(DAY));

        let late = |hour| (at(30), at(hour));
        for hour in [2, 3] {
            let (now, at) = late(hour);
            assert_eq!(push(&mut collector, now, sensor, at, 2.0), Ok(Accepted::Late));
        }
        assert_eq!(collector.poll_reopened(at(30)), None, "more may follow");
        let settled = at(30) + LIMITS.settle_ms;
        assert_eq!(collector.poll_reopened(settled), Some((LocalDate(DAY), sensor)));
        assert_eq!(collector.poll_reopened(settled), None);
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_name() {
        let (mut collector, sensor) = collector();
        let mut push_at = |now, at, value| push(&mut collector, now, sensor, at, value);
        assert_eq!(push_at(at(1), at(2), 1.0), Err(Refusal::FromTheFuture));
        assert_eq!(push_at(at(24 + 73), at(2), 1.0), Err(Refusal::TooOld));
        assert_eq!(push_at(at(2), at(2), 1.0), Ok(Accepted::OpensDay));
        assert_eq!(push_at(at(2), at(2), 7.0), Err(Refusal::Duplicate));
        assert_eq!(push_at(at(3), at(3), 1.0), Ok(Accepted::Open));
        assert_eq!(push_at(at(4), at(4), 1.0), Ok(Accepted::Open));
        assert_eq!(push_at(at(5), at(5), 1.0), Err(Refusal::DayFull));
        assert!(collector.add_sensor(Baseline::default()).is_ok());
        assert_eq!(collector.add_sensor(Baseline::default()), Err(Refusal::TooManySensors));
    }

    #[test]
    fn day_that_ended_while_the_power_was_off_still_closes() {
        let mut collector = Collector::new(LIMITS);
        collector.restore_sensor(Baseline::default());
        collector.restore_day(LocalDay::utc(LocalDate(DAY)));
        collector.restore(LocalDate(DAY), SensorIx(0), Sample { at: at(5), value: 3.0 });
        assert_eq!(collector.sensor(SensorIx(0)).unwrap().today().unwrap().samples, 1);
        assert!(collector.poll_closed(at(24 * 30)).is_some());
    }
}
