//! A sensor's readings one after the other: what each says of how the sensor is doing.
//!
//! Six pieces of evidence, each a number that grows with strangeness and needs fixed memory:
//!
//! | evidence | says | sees |
//! |---|---|---|
//! | jump | distance from the last few readings, in usual distances | spikes |
//! | noise | mean step of late, in usual steps | a sensor that scatters |
//! | stuck | readings in a row with the same value | a sensor that hangs |
//! | level | distance from the last day's readings, in their spread | values out of range |
//! | hour | distance from what is usual at this hour, in its spread | the right value at the wrong time |
//! | lasting | the same for the mean of the last half hour | what stays strange |
//!
//! Spreads learn from cut steps, so that a fault has to last before it counts as normal.

use serde::{Deserialize, Serialize};

use super::{hours::BORROWED, usual::Usual};
use crate::time::{DAY_MS, HOUR_MS, UtcMillis};

/// Kinds of evidence.
pub(super) const KINDS: usize = 6;
/// Their places.
pub(super) const JUMP: usize = 0;
pub(super) const NOISE: usize = 1;
pub(super) const STUCK: usize = 2;
pub(super) const LEVEL: usize = 3;
pub(super) const HOUR: usize = 4;
pub(super) const LASTING: usize = 5;

/// Evidence of one reading, by its place above; 0 is none.
pub(super) type Evidence = [f32; KINDS];

/// What lies further out is as far as this: squares have to fit.
pub(super) const FARTHEST: f64 = 1e17;
/// No evidence counts for more.
const MOST: f32 = 1_000.0;
/// Readings from which on steps are cut, and that the first ones wait for.
const SETTLED: u32 = 20;
/// How fast the level of the last few readings follows.
const FAST: f32 = 0.3;
/// How fast the mean step of late follows.
const LATE: f32 = 0.15;
/// The usual distance and step follow at least this fast: a memory of a thousand readings.
const SLOW: f32 = 0.001;
/// A step teaches the usual one at most this many times its size, a distance likewise.
const CUT: f32 = 5.0;
/// The mean step of late grows by at most so many usual steps at once, so that one spike is no noise.
const LATE_CUT: f32 = 8.0;
/// A day's level is taught by at most this many deviations.
const LEVEL_CUT: f32 = 4.0;
/// Differences below this share of the level mean nothing.
const LEAST_SHARE: f32 = 2e-4;
/// Differences below this share of the smallest step ever seen mean nothing.
const LEAST_STEP_SHARE: f32 = 0.3;
/// An hour that is known from few days is trusted less: its spread is widened by this much over
/// their number.
const FEW_DAYS: f32 = 3.0;

/// What is kept of the readings so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Running {
    /// Readings, saturating.
    count: u32,
    /// The last one.
    last: f64,
    at: UtcMillis,
    /// The mean of the last few readings, of the last half hour, of the last day.
    few: f64,
    half_hour: f64,
    day: f64,
    /// The variance around the last.
    day_variance: f32,
    /// The usual distance from the last few, the usual step, and the mean step of late.
    distance: f32,
    step: f32,
    late_step: f32,
    /// The smallest step ever, 0 before there was one.
    quantum: f32,
    /// Readings in a row that equal the last.
    repeats: u32,
}

impl Running {
    /// Readings so far.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Whether the last reading equals the one before.
    pub(super) fn is_repeat(&self) -> bool {
        self.repeats > 0
    }

    /// The variance of the readings around the level of the last day.
    pub(super) fn day_variance(&self) -> f32 {
        self.day_variance
    }

    /// A spread that means nothing for this sensor.
    #[expect(clippy::cast_possible_truncation, reason = "spreads are kept in f32")]
    pub(super) fn least(&self) -> f32 {
        LEAST_SHARE * (self.day.abs() as f32) + LEAST_STEP_SHARE * self.quantum + 1e-12
    }

    /// The same sensor at the start of a day that is looked at again out of its turn: what is
    /// known of its spreads, but nothing of the readings before.
    pub(super) fn restarted(&self, first: f64, at: UtcMillis) -> Self {
        Self { last: first, at, few: first, half_hour: first, repeats: 0, ..*self }
    }

    /// Takes in a reading, of which `usual` is known for its hour, and says what it is evidence of.
    #[expect(clippy::cast_possible_truncation, reason = "evidence is in f32")]
    pub(super) fn add(&mut self, at: UtcMillis, value: f64, usual: Usual) -> Evidence {
        let value = value.clamp(-FARTHEST, FARTHEST);
        if self.count == 0 {
            *self = self.restarted(value, at);
            self.day = value;
        }
        let passed_ms = at.since(self.at).clamp(0, 30 * DAY_MS);
        let passed = passed_ms as f32;
        let least = self.least();
        let step = (value - self.last).abs() as f32;
        let distance = (value - self.few).abs() as f32;
        let is_settled = self.count > SETTLED;
        let count = self.count as f32;

        let cap = LATE_CUT * (self.step + least + self.late_step);
        let of_late = if is_settled { step.min(cap) } else { step };
        self.late_step += LATE * (of_late - self.late_step);
        self.repeats = if step > 0.0 { 0 } else { self.repeats.saturating_add(1) };
        let half_hour = (1.0 - libm::expf(-passed / (HOUR_MS / 2) as f32)).clamp(0.02, 1.0);
        self.half_hour += f64::from(half_hour) * (value - self.half_hour);

        let few_readings = 1.0 + 5.0 / (count + 1.0);
        let off = value - self.day;
        let spread = libm::sqrtf(self.day_variance) + least;
        let (hour, lasting) = self.against(usual, value, least);
        let evidence = [
            distance / ((self.distance + least) * few_readings),
            self.late_step / ((self.step + least) * few_readings),
            // Where the hour has no spread, as a light's night, staying is what it does.
            if usual.days >= 1.0 && libm::sqrtf(usual.variance) > least {
                self.repeats as f32
            } else {
                0.0
            },
            off.abs() as f32 / (spread * few_readings),
            hour,
            lasting,
        ];

        let share = (1.0 - libm::expf(-passed / DAY_MS as f32)).max(1.0 / (count + 2.0));
        let most = if is_settled { LEVEL_CUT * spread } else { f32::MAX };
        let off = (off as f32).clamp(-most, most);
        self.day += f64::from(share * off);
        self.day_variance = (1.0 - share) * (self.day_variance + share * off * off);
        let share = SLOW.max(1.0 / (count + 2.0));
        let cut = |seen: f32, usual: f32| {
            if is_settled { seen.min(CUT * (usual + least)) } else { seen }
        };
        self.distance += share * (cut(distance, self.distance) - self.distance);
        self.step += share * (cut(step, self.step) - self.step);
        self.few += f64::from(FAST) * (value - self.few);
        if step > 0.0 && (self.quantum == 0.0 || step < self.quantum) {
            self.quantum = step;
        }
        (self.last, self.at, self.count) = (value, at, self.count.saturating_add(1));
        evidence.map(|one| if one.is_finite() { one.min(MOST) } else { MOST })
    }

    /// How far the reading and the last half hour lie from what is usual at this hour.
    #[expect(clippy::cast_possible_truncation, reason = "evidence is in f32")]
    fn against(&self, usual: Usual, value: f64, least: f32) -> (f32, f32) {
        if usual.days < 1.0 {
            return (0.0, 0.0);
        }
        let spread = libm::sqrtf(usual.variance + BORROWED * self.day_variance);
        let spread = spread * (1.0 + FEW_DAYS / usual.days) + least;
        let mean = f64::from(usual.mean);
        let away = |from: f64| (from - mean).abs() as f32 / spread;
        (away(value), away(self.half_hour))
    }
}
