//! What one sensor's own days usually look like, in fixed size.
//!
//! Exponentially weighted mean and variance of each feature and of the readings in each hour of
//! the site's wall clock. A day teaches once, when it first closes. An outlying day teaches
//! little: its step is cut at three deviations, so a fault has to last before it is normal.
//!
//! Cold start: nothing is said before [`MIN_DAYS`] days; until [`MEMORY_DAYS`] days every day
//! counts the same, after that the past fades with that time constant.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{
    chunk::Chunk,
    features::{Features, MAX_FEATURES},
    time::LocalDate,
};

/// Days before the baseline says anything.
pub const MIN_DAYS: u8 = 3;
/// The past fades with this time constant.
pub const MEMORY_DAYS: u8 = 21;
/// A day's step is cut at this many standard deviations.
const CUT: f32 = 3.0;
/// Beyond this many standard deviations a larger number says nothing more: what never moved so
/// far has no spread to measure by.
const FARTHEST: f32 = 100.0;
/// How many features make up a day's deviation: the worst few, so that one odd hour counts and
/// thirty ordinary features do not drown it.
const WORST: usize = 3;

/// Mean and variance with forgetting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Usual {
    /// Days seen, saturating at [`MEMORY_DAYS`].
    days: u8,
    mean: f32,
    variance: f32,
}

impl Usual {
    /// Takes in one day's `value` and the variance of the readings around it, 0 if it is alone.
    fn learn(&mut self, value: f32, within: f32) {
        if self.days == 0 {
            *self = Self { days: 1, mean: value, variance: within };
            return;
        }
        let mut step = value - self.mean;
        if self.days >= MIN_DAYS {
            let most = CUT * self.deviation(0.0);
            step = step.clamp(-most, most);
        }
        let weight = 1.0 / (f32::from(self.days) + 1.0);
        self.mean += weight * step;
        self.variance = (1.0 - weight) * (self.variance + weight * step * step) + weight * within;
        self.days = (self.days + 1).min(MEMORY_DAYS - 1);
    }

    /// The standard deviation, at least what rounding and a near-constant sensor need: 0.5 % of
    /// the level, and `least`. Few days know their spread badly, so theirs is widened.
    fn deviation(&self, least: f32) -> f32 {
        let few = 1.0 + 2.0 / f32::from(self.days.max(1));
        let floor = (0.005 * self.mean.abs() + 1e-6).max(least);
        (libm::sqrtf(self.variance.max(0.0)) * few).max(floor)
    }

    /// Signed distance of `value` in standard deviations, at most `FARTHEST`; `None` while too few days are known.
    fn z(&self, value: f32, least: f32) -> Option<f32> {
        let z = (value - self.mean) / self.deviation(least);
        (self.days >= MIN_DAYS && z.is_finite()).then_some(z.clamp(-FARTHEST, FARTHEST))
    }
}

/// One sensor's memory of its own days; under 1 KiB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The last day that taught it.
    last: Option<LocalDate>,
    hours: [Usual; 24],
    features: Vec<Usual, MAX_FEATURES>,
}

const _: () = assert!(size_of::<Baseline>() <= 1024, "the baseline's budget");

impl Baseline {
    /// Learns a closed day, unless it or a later one has taught before. Says whether it did.
    pub fn learn(&mut self, chunk: &Chunk, features: &Features) -> bool {
        let date = chunk.day().date;
        if self.last.is_some_and(|last| date <= last) {
            return false;
        }
        self.last = Some(date);
        // A change of the feature set starts its part afresh.
        if self.features.len() != features.len() {
            self.features.clear();
            // Cannot fail: no feature set is longer than the buffer.
            if self.features.resize_default(features.len()).is_err() {
                return false;
            }
        }
        for (usual, value) in self.features.iter_mut().zip(features.iter()) {
            if let Some(value) = value {
                usual.learn(value, 0.0);
            }
        }
        self.learn_hours(chunk);
        true
    }

    #[expect(clippy::cast_possible_truncation, reason = "the memory is kept in f32")]
    fn learn_hours(&mut self, chunk: &Chunk) {
        let mut sums = [(0.0_f64, 0.0_f64); 24];
        for sample in chunk.samples() {
            if let Some((count, sum)) = sums.get_mut(chunk.day().wall_hour(sample.at)) {
                *count += 1.0;
                *sum += sample.value;
            }
        }
        let means = sums.map(|(count, sum)| if count > 0.0 { sum / count } else { 0.0 });
        let mut squares = [0.0_f64; 24];
        for sample in chunk.samples() {
            let hour = chunk.day().wall_hour(sample.at);
            if let (Some(square), Some(mean)) = (squares.get_mut(hour), means.get(hour)) {
                *square += (sample.value - mean) * (sample.value - mean);
            }
        }
        for (((usual, mean), square), (count, _)) in
            self.hours.iter_mut().zip(means).zip(squares).zip(sums)
        {
            let (mean, within) = (mean as f32, (square / count.max(1.0)) as f32);
            if count > 0.0 && mean.is_finite() && within.is_finite() {
                usual.learn(mean, within);
            }
        }
    }

    /// How unusual `value` is for this sensor at that hour of the wall clock, 0 to 1: the share
    /// of a normal spread that lies nearer to the usual. `None` while too few days are known.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the memory is kept in f32")]
    pub fn live_score(&self, wall_hour: usize, value: f64) -> Option<f32> {
        let z = self.hours.get(wall_hour)?.z(value as f32, 0.0)?;
        Some(libm::erff(z.abs() * core::f32::consts::FRAC_1_SQRT_2))
    }

    /// How far a day lies from this sensor's usual day: the mean of its three largest absolute
    /// z-scores. `None` while too few days are known.
    #[must_use]
    pub fn deviation(&self, features: &Features) -> Option<f32> {
        if self.features.len() != features.len() {
            return None;
        }
        let mut worst = [0.0_f32; WORST];
        let mut known = 0_u8;
        for (index, (usual, value)) in self.features.iter().zip(features.iter()).enumerate() {
            let least = features.set().least_spread(index);
            let Some(z) = value.and_then(|value| usual.z(value, least)) else { continue };
            known = known.saturating_add(1);
            if let Some(least) = worst.iter_mut().min_by(|a, b| a.total_cmp(b)) {
                *least = least.max(z.abs());
            }
        }
        let counted = f32::from(known.min(3));
        (known > 0).then(|| worst.iter().sum::<f32>() / counted)
    }

    /// What feature `index` usually is for this sensor.
    #[must_use]
    pub fn usual(&self, index: usize) -> Option<f32> {
        self.features.get(index).filter(|usual| usual.days >= MIN_DAYS).map(|usual| usual.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        features::FeatureSet,
        reading::Sample,
        time::{HOUR_MS, LocalDay},
    };

    /// A day around `level` that rises by 4 until noon, with a ripple.
    fn day(number: i32, level: f64) -> (Chunk, Features) {
        let day = LocalDay::utc(LocalDate(number));
        let samples = (0..96).map(|quarter: i32| {
            let hour = f64::from(quarter) / 4.0;
            let ripple = f64::from((quarter * 7 + number * 3) % 5) * 0.1;
            let value = level + 4.0 - (hour - 12.0).abs() / 3.0 + ripple;
            Sample { at: day.start + i64::from(quarter) * HOUR_MS / 4, value }
        });
        let chunk = Chunk::new(day, samples.collect());
        let features = FeatureSet::Profile1.extract(&chunk).unwrap();
        (chunk, features)
    }

    fn taught(days: i32) -> Baseline {
        let mut baseline = Baseline::default();
        for number in 0..days {
            let (chunk, features) = day(number, 20.0);
            assert!(baseline.learn(&chunk, &features));
        }
        baseline
    }

    #[test]
    fn nothing_is_said_before_enough_days_are_known() {
        let (_, features) = day(9, 20.0);
        assert_eq!(taught(2).deviation(&features), None);
        assert_eq!(taught(2).live_score(12, 24.0), None);
        assert!(taught(3).deviation(&features).is_some());
    }

    #[test]
    fn an_ordinary_day_is_near_and_a_shifted_one_is_far() {
        let baseline = taught(14);
        let ordinary = baseline.deviation(&day(15, 20.0).1).unwrap();
        let shifted = baseline.deviation(&day(15, 26.0).1).unwrap();
        assert!(ordinary < 3.0, "{ordinary}");
        assert!(shifted > 10.0, "{shifted}");
    }

    #[test]
    fn a_reading_is_scored_against_its_own_hour() {
        let baseline = taught(14);
        assert!(baseline.live_score(12, 24.2).unwrap() < 0.9);
        assert!(baseline.live_score(0, 24.2).unwrap() > 0.99, "noon's value at midnight");
    }

    #[test]
    fn a_little_less_coverage_than_ever_is_no_news() {
        let baseline = taught(14);
        let (chunk, _) = day(15, 20.0);
        let mut samples = chunk.samples().to_vec();
        samples.remove(40);
        let thinner = Chunk::new(*chunk.day(), samples);
        let features = FeatureSet::Profile1.extract(&thinner).unwrap();
        assert!(baseline.deviation(&features).unwrap() < 3.0);
    }

    #[test]
    fn a_day_teaches_once() {
        let mut baseline = taught(5);
        let before = baseline.clone();
        let (chunk, features) = day(4, 80.0);
        assert!(!baseline.learn(&chunk, &features));
        assert_eq!(baseline, before);
    }

    #[test]
    fn one_faulty_day_does_not_become_the_norm() {
        let mut baseline = taught(14);
        let (chunk, features) = day(14, 90.0);
        baseline.learn(&chunk, &features);
        assert!(baseline.deviation(&day(15, 90.0).1).unwrap() > 10.0, "still unusual");
        assert!(baseline.deviation(&day(15, 20.0).1).unwrap() < 4.0, "still usual");
    }
}
