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
    baseline::{Baseline, Live},
    quantity::Quantity,
    rate,
    reading::{Reading, Refusal, Sample, SensorIx},
    silence::Pace,
    time::{LocalDate, LocalDay, UtcMillis},
};

/// Days of one sensor that can be open at once: today, and yesterday in its grace period.
const OPEN_DAYS_PER_SENSOR: usize = 2;
/// Readings that arrive within this are one burst.
const BURST_MS: i64 = 1_000;
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
    /// How many of them the figures are of: of a counter, those that had one before them.
    pub measured: u32,
    /// The mean of the values, or of a counter's rate.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl DaySoFar {
    fn new(date: LocalDate) -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { date, samples: 0, measured: 0, mean: 0.0, min, max }
    }

    fn add(&mut self, measured: Option<f64>) {
        self.samples = self.samples.saturating_add(1);
        if let Some(value) = measured {
            self.measured = self.measured.saturating_add(1);
            self.mean += (value - self.mean) / f64::from(self.measured);
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
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
    /// Where its stream of readings stands.
    live: Live,
    /// How often it reports.
    pub pace: Pace,
    /// What it measures.
    quantity: Quantity,
    /// When the gateway last heard of it.
    heard: Option<UtcMillis>,
    /// It was told to be silent, and had last been heard then.
    silent_since: Option<UtcMillis>,
    open: heapless::Vec<DaySoFar, OPEN_DAYS_PER_SENSOR>,
}

const _: () = assert!(size_of::<SensorState>() <= 1536, "the budget of state per sensor");

impl SensorState {
    /// When it was last heard, if it has fallen silent.
    #[must_use]
    pub fn silent_since(&self) -> Option<UtcMillis> {
        self.silent_since
    }

    /// The newest open day.
    #[must_use]
    pub fn today(&self) -> Option<&DaySoFar> {
        self.open.iter().max_by_key(|day| day.date)
    }

    /// What a new reading says: its value, or how fast a counter has run since the last one.
    fn measured(&self, sample: Sample) -> Option<f64> {
        if self.quantity.of_total().is_none() {
            return Some(sample.value);
        }
        self.last.and_then(|last| rate::between(self.quantity, last, sample))
    }

    /// Takes the newest sample into the live view.
    fn follow(&mut self, day: &LocalDay, sample: Sample, measured: Option<f64>) {
        self.last = Some(sample);
        self.live_score = measured
            .and_then(|value| self.live.add(&self.baseline, day, Sample { at: sample.at, value }));
    }

    fn add(&mut self, day: &LocalDay, measured: Option<f64>) {
        if let Some(so_far) = self.open.iter_mut().find(|so_far| so_far.date == day.date) {
            so_far.add(measured);
            return;
        }
        let mut started = DaySoFar::new(day.date);
        started.add(measured);
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

/// What can be said of a reading without asking the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Newer than all that is held of its sensor, for a day that is open or opens with it.
    Fresh,
    /// The store may hold it already: it lies before others, or its day has closed.
    Unsure,
}

/// A sensor fell silent, or was heard again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilenceChange {
    /// Which sensor.
    pub sensor: SensorIx,
    /// When it was last heard before the silence.
    pub since: UtcMillis,
    /// When it was heard again; `None` while it is silent.
    pub until: Option<UtcMillis>,
    /// How often it usually reports, in milliseconds.
    pub usual_ms: i64,
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
    /// Samples of earlier dates are gone, whatever the retention.
    kept_from: LocalDate,
}

impl Collector {
    /// An empty collector.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            sensors: Vec::new(),
            open: BTreeMap::new(),
            reopened: BTreeMap::new(),
            kept_from: LocalDate(i32::MIN),
        }
    }

    /// Takes no more readings of dates before `date`: what was kept of them is gone, and they
    /// would make new, thin days.
    pub fn keep_from(&mut self, date: LocalDate) {
        self.kept_from = self.kept_from.max(date);
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
        self.sensors.get(sensor.place())
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

    /// Says what a sensor measures: of a counter the rate is looked at.
    pub fn measures(&mut self, sensor: SensorIx, quantity: Quantity) {
        if let Some(state) = self.sensor_mut(sensor) {
            state.quantity = quantity;
        }
    }

    /// Checks the time of a reading that belongs to `day`. [`Self::judge`] does so too; before a
    /// sensor is given its number, so that nonsense takes no sensor's place.
    ///
    /// # Errors
    /// The reading lies in the future, or its day is no longer kept.
    pub fn check_time(&self, now: UtcMillis, day: &LocalDay, at: UtcMillis) -> Result<(), Refusal> {
        if at.since(now) > self.limits.max_future_ms {
            return Err(Refusal::FromTheFuture);
        }
        if now.since(day.end) > self.limits.retention_ms || day.date < self.kept_from {
            return Err(Refusal::TooOld);
        }
        Ok(())
    }

    /// What can be said of a reading that belongs to `day` before the store is asked. Every
    /// reading is judged before it is accepted.
    ///
    /// # Errors
    /// Why it is left out.
    pub fn judge(
        &self,
        now: UtcMillis,
        day: &LocalDay,
        reading: &Reading,
    ) -> Result<Standing, Refusal> {
        let Reading { sensor, sample } = reading;
        self.check_time(now, day, sample.at)?;
        let state = self.sensor(*sensor).ok_or(Refusal::TooManySensors)?;
        if let Some(last) = state.last.filter(|last| last.at == sample.at) {
            return Err(repeat(last.value, sample.value));
        }
        let so_far = state.open.iter().find(|so_far| so_far.date == day.date);
        if so_far.is_some_and(|so_far| so_far.samples >= self.limits.max_samples_per_day) {
            return Err(Refusal::DayFull);
        }
        // All samples of open days have been seen, before a restart or since, so what is newer
        // than the newest cannot be held. Of closed days that is not known.
        let is_newest = state.last.is_none_or(|last| last.at < sample.at);
        let is_open = self.open.contains_key(&day.date) || self.can_open(now, day);
        Ok(if is_newest && is_open { Standing::Fresh } else { Standing::Unsure })
    }

    /// Takes a reading that was judged and that the store does not hold yet.
    pub fn accept(&mut self, now: UtcMillis, day: &LocalDay, reading: Reading) -> Accepted {
        let Reading { sensor, sample } = reading;
        let can_open = self.can_open(now, day);
        let is_open = self.open.contains_key(&day.date);
        if let Some(state) = self.sensor_mut(sensor) {
            // By arrivals, not stamps: who sends a day's readings in one burst is heard once a day.
            let gap = state.heard.map_or(0, |heard| now.since(heard));
            if gap >= BURST_MS {
                state.pace.learn(gap);
            }
            state.heard = state.heard.max(Some(now));
            let measured = state.measured(sample);
            if state.last.is_none_or(|last| last.at < sample.at) {
                state.follow(day, sample, measured);
            }
            if is_open || can_open {
                state.add(day, measured);
            }
        }
        if is_open {
            return Accepted::Open;
        }
        if can_open {
            self.open.insert(day.date, *day);
            return Accepted::OpensDay;
        }
        self.reopen(now, day.date, sensor);
        Accepted::Late
    }

    /// Whether a day that is not open may be opened by a reading.
    fn can_open(&self, now: UtcMillis, day: &LocalDay) -> bool {
        now.since(day.end) < self.limits.grace_ms
    }

    fn sensor_mut(&mut self, sensor: SensorIx) -> Option<&mut SensorState> {
        self.sensors.get_mut(sensor.place())
    }

    /// When late readings that come at `now` are taken to be all there.
    #[must_use]
    pub fn settled_at(&self, now: UtcMillis) -> UtcMillis {
        now + self.limits.settle_ms
    }

    /// The most samples that one sensor's day takes.
    #[must_use]
    pub fn max_samples_per_day(&self) -> u32 {
        self.limits.max_samples_per_day
    }

    /// Takes back a silence that was told before the restart.
    pub fn restore_silence(&mut self, sensor: SensorIx, since: UtcMillis, usual_ms: i64) {
        if let Some(state) = self.sensor_mut(sensor) {
            if state.pace.usual_ms().is_none() {
                state.pace = Pace::restored(usual_ms);
            }
            state.silent_since = Some(since);
            state.heard = Some(since);
        }
    }

    /// The sensors that fell silent or were heard again since the last call. While the gateway
    /// itself could not hear, nobody is missed: it has listened without a break since
    /// `listening_since`.
    pub fn poll_silences(
        &mut self,
        now: UtcMillis,
        listening_since: UtcMillis,
    ) -> Vec<SilenceChange> {
        let mut changes = Vec::new();
        for (number, state) in (0..).zip(&mut self.sensors) {
            // A clock that was set back has heard it in the future.
            let Some(heard) = state.heard.map(|heard| heard.min(now)) else { continue };
            let usual_ms = state.pace.usual_ms().unwrap_or_default();
            let change =
                |since, until| SilenceChange { sensor: SensorIx(number), since, until, usual_ms };
            match state.silent_since {
                Some(since) if heard > since => {
                    state.silent_since = None;
                    changes.push(change(since, Some(heard)));
                }
                None if state.pace.is_silent(heard.max(listening_since), now) => {
                    state.silent_since = Some(heard);
                    changes.push(change(heard, None));
                }
                _ => {}
            }
        }
        changes
    }

    /// Notes that a closed sensor-day has readings that its last features do not know.
    fn reopen(&mut self, now: UtcMillis, date: LocalDate, sensor: SensorIx) {
        self.reopened.entry((date, sensor)).or_insert(now + self.limits.settle_ms);
    }

    /// Takes back a sensor-day that was closed or reopened, but not computed, when the power went.
    pub fn restore_dirty(&mut self, date: LocalDate, sensor: SensorIx, due: UtcMillis) {
        self.reopened.insert((date, sensor), due);
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
        let Some(state) = self.sensor_mut(sensor) else { return };
        let measured = state.measured(sample);
        state.add(&day, measured);
        if state.last.is_none_or(|last| last.at < sample.at) {
            state.follow(&day, sample, measured);
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

    /// Gives a sensor the baseline that one of its closed days has taught, once that is stored.
    pub fn teach(&mut self, sensor: SensorIx, taught: Baseline) {
        if let Some(state) = self.sensor_mut(sensor) {
            state.baseline = taught;
        }
    }
}

/// Why a second value for an instant is left out: it says the same, or something else.
#[must_use]
pub fn repeat(held: f64, value: f64) -> Refusal {
    if held.to_bits() == value.to_bits() { Refusal::Duplicate } else { Refusal::Conflict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{DAY_MS, HOUR_MS};

    #[test]
    fn of_a_counter_the_rate_is_shown_and_a_restart_changes_nothing() {
        let day = LocalDay::utc(LocalDate(0));
        let mut live = Collector::new(LIMITS);
        let sensor = live.add_sensor(Baseline::default()).unwrap();
        live.measures(sensor, Quantity::EnergyTotal);
        let mut restored = Collector::new(LIMITS);
        restored.restore_sensor(Baseline::default());
        restored.measures(sensor, Quantity::EnergyTotal);
        restored.restore_day(day);
        for (hour, value) in [(1, 100.0), (2, 110.0), (3, 140.0)] {
            let sample = Sample { at: UtcMillis(hour * HOUR_MS), value };
            live.accept(sample.at, &day, Reading { sensor, sample });
            restored.restore(day.date, sensor, sample);
        }
        let today = *live.sensor(sensor).unwrap().today().unwrap();
        assert_eq!((today.samples, today.measured), (3, 2));
        assert_eq!((today.mean, today.min, today.max), (20.0, 10.0, 30.0));
        assert_eq!(restored.sensor(sensor).unwrap().today(), Some(&today));
    }

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
        let (day, reading) =
            (LocalDay::utc(date), Reading { sensor, sample: Sample { at, value } });
        collector.judge(now, &day, &reading)?;
        Ok(collector.accept(now, &day, reading))
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
    fn days_whose_samples_are_gone_take_no_more_readings() {
        let (mut collector, sensor) = collector();
        push(&mut collector, at(1), sensor, at(1), 1.0).unwrap();
        collector.closed(LocalDate(DAY));
        collector.keep_from(LocalDate(DAY));
        assert_eq!(push(&mut collector, at(30), sensor, at(2), 2.0), Ok(Accepted::Late));
        collector.keep_from(LocalDate(DAY + 1));
        assert_eq!(push(&mut collector, at(30), sensor, at(3), 2.0), Err(Refusal::TooOld));
        collector.keep_from(LocalDate(DAY));
        assert_eq!(push(&mut collector, at(30), sensor, at(4), 2.0), Err(Refusal::TooOld));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_name() {
        let (mut collector, sensor) = collector();
        let mut push_at = |now, at, value| push(&mut collector, now, sensor, at, value);
        assert_eq!(push_at(at(1), at(2), 1.0), Err(Refusal::FromTheFuture));
        assert_eq!(push_at(at(24 + 73), at(2), 1.0), Err(Refusal::TooOld));
        assert_eq!(push_at(at(2), at(2), 1.0), Ok(Accepted::OpensDay));
        assert_eq!(push_at(at(2), at(2), 1.0), Err(Refusal::Duplicate));
        assert_eq!(push_at(at(2), at(2), 7.0), Err(Refusal::Conflict));
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

    #[test]
    fn only_what_is_newer_than_all_that_is_held_is_surely_new() {
        let (mut collector, sensor) = collector();
        let day = LocalDay::utc(LocalDate(DAY));
        let reading = |hour| Reading { sensor, sample: Sample { at: at(hour), value: 1.0 } };
        assert_eq!(collector.judge(at(5), &day, &reading(5)), Ok(Standing::Fresh));
        collector.accept(at(5), &day, reading(5));
        assert_eq!(collector.judge(at(6), &day, &reading(6)), Ok(Standing::Fresh));
        assert_eq!(collector.judge(at(6), &day, &reading(4)), Ok(Standing::Unsure));
        collector.closed(LocalDate(DAY));
        let after_grace = at(27);
        assert_eq!(collector.judge(after_grace, &day, &reading(7)), Ok(Standing::Unsure));
    }

    #[test]
    fn a_sensor_that_falls_silent_is_told_once_and_once_more_when_it_is_back() {
        let limits = Limits { max_samples_per_day: 100, ..LIMITS };
        let mut collector = Collector::new(limits);
        let sensor = collector.add_sensor(Baseline::default()).unwrap();
        let start = at(0);
        let minute = |n: i64| start + n * 60_000;
        for n in 0..10 {
            push(&mut collector, minute(n), sensor, minute(n), 1.0).unwrap();
        }
        assert_eq!(collector.poll_silences(minute(12), start), []);
        assert_eq!(collector.poll_silences(minute(30), minute(29)), [], "the gateway was deaf");
        let fell = SilenceChange { sensor, since: minute(9), until: None, usual_ms: 60_000 };
        assert_eq!(collector.poll_silences(minute(40), minute(29)), [fell]);
        assert_eq!(collector.poll_silences(minute(50), minute(29)), []);
        push(&mut collector, minute(60), sensor, minute(60), 1.0).unwrap();
        let [back] = collector.poll_silences(minute(61), start)[..] else { panic!("told") };
        assert_eq!((back.since, back.until), (minute(9), Some(minute(60))));
    }

    #[test]
    fn a_sensor_that_sends_a_days_readings_in_one_burst_is_not_missed_in_between() {
        let limits = Limits { max_samples_per_day: 10_000, ..LIMITS };
        let mut collector = Collector::new(limits);
        let sensor = collector.add_sensor(Baseline::default()).unwrap();
        let start = at(0);
        for day in 1..9 {
            let night = at(24 * day + 3);
            for minute in 0..100 {
                let measured = at(24 * day) + minute * 60_000;
                push(&mut collector, night + minute, sensor, measured, 1.0).unwrap();
            }
            assert_eq!(collector.poll_silences(night + 20 * HOUR_MS, start), [], "day {day}");
        }
    }

    #[test]
    fn a_silence_goes_on_over_a_restart_although_the_device_is_a_little_ahead() {
        let mut collector = Collector::new(LIMITS);
        collector.restore_sensor(Baseline::default());
        collector.restore_day(LocalDay::utc(LocalDate(DAY)));
        let ahead = at(5) + 5_000;
        collector.restore(LocalDate(DAY), SensorIx(0), Sample { at: ahead, value: 3.0 });
        collector.restore_silence(SensorIx(0), at(5), 60_000);
        assert_eq!(collector.poll_silences(at(8), at(7)), []);
    }
}
