//! `profile/1`: the day's shape by the hour, its level and spread, roughness and completeness.
//!
//! | feature | meaning | unit |
//! |---|---|---|
//! | `hour_00` … `hour_23` | mean of the readings in that hour of the site's wall clock; missing if there are none | the quantity's |
//! | `mean`, `std` | of all readings; `std` with ddof = 1 | the quantity's |
//! | `min`, `q10`, `q50`, `q90`, `max` | order statistics, linear between ranks (Hyndman and Fan's type 7) | the quantity's |
//! | `mean_abs_step`, `max_abs_step` | of the differences between neighbours in time | the quantity's |
//! | `repeat_share` | share of neighbours with equal values | 0 to 1 |
//! | `day_coverage` | see [`Chunk::coverage`] | 0 to 1 |
//! | `longest_gap` | longest stretch without a reading, day bounds included, over the day's length | 0 to 1 |

use alloc::vec::Vec;

use super::{
    FeatureSet, Features,
    moments::{finite, mean_and_std, unreachable_features},
};
use crate::chunk::Chunk;

/// How many of them are hours.
pub(super) const HOURS: usize = 24;

pub(super) const NAMES: [&str; 36] = [
    "hour_00",
    "hour_01",
    "hour_02",
    "hour_03",
    "hour_04",
    "hour_05",
    "hour_06",
    "hour_07",
    "hour_08",
    "hour_09",
    "hour_10",
    "hour_11",
    "hour_12",
    "hour_13",
    "hour_14",
    "hour_15",
    "hour_16",
    "hour_17",
    "hour_18",
    "hour_19",
    "hour_20",
    "hour_21",
    "hour_22",
    "hour_23",
    "mean",
    "std",
    "min",
    "q10",
    "q50",
    "q90",
    "max",
    "mean_abs_step",
    "max_abs_step",
    "repeat_share",
    "day_coverage",
    "longest_gap",
];

/// Whether feature `index` is a share, 0 to 1: the last three are.
pub(super) fn is_share(index: usize) -> bool {
    (NAMES.len() - 3..NAMES.len()).contains(&index)
}

pub(super) fn extract(chunk: &Chunk) -> Features {
    let values = || chunk.samples().iter().map(|sample| sample.value);
    let (mean, std) = mean_and_std(values());
    let mut sorted: Vec<f64> = values().collect();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q| quantile_of_sorted(&sorted, q);
    let (mean_step, max_step, repeat_share) = steps(chunk);
    let rest = [
        mean,
        std,
        quantile(0.0),
        quantile(0.1),
        quantile(0.5),
        quantile(0.9),
        quantile(1.0),
        mean_step,
        max_step,
        repeat_share,
        chunk.coverage(),
        longest_gap(chunk),
    ];
    let all = hourly_means(chunk).into_iter().chain(rest.map(Some));
    Features::new(FeatureSet::Profile1, all.map(|value| value.and_then(finite)))
        .unwrap_or_else(|_| unreachable_features(FeatureSet::Profile1))
}

fn hourly_means(chunk: &Chunk) -> [Option<f64>; 24] {
    let mut hours = [(0.0_f64, 0.0_f64); 24];
    for sample in chunk.samples() {
        if let Some((count, sum)) = hours.get_mut(chunk.day().wall_hour(sample.at)) {
            *count += 1.0;
            *sum += sample.value;
        }
    }
    hours.map(|(count, sum)| (count > 0.0).then(|| sum / count))
}

/// Linear between ranks; `sorted` is not empty.
fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_precision_loss, reason = "a day holds far fewer than 2^52 samples")]
    let rank = q * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 <= rank <= last"
    )]
    let below = libm::floor(rank) as usize;
    let at = |index: usize| sorted.get(index.min(last)).copied().unwrap_or(0.0);
    #[expect(clippy::cast_precision_loss, reason = "as above")]
    let fraction = rank - below as f64;
    at(below) + (at(below + 1) - at(below)) * fraction
}

/// Mean and largest absolute step, and the share of steps that are none.
fn steps(chunk: &Chunk) -> (f64, f64, f64) {
    let (mut count, mut sum, mut largest, mut repeats) = (0.0, 0.0, 0.0_f64, 0.0);
    for pair in chunk.samples().windows(2) {
        if let [before, after] = pair {
            let step = libm::fabs(after.value - before.value);
            count += 1.0;
            sum += step;
            largest = largest.max(step);
            repeats += f64::from(u8::from(step == 0.0));
        }
    }
    (sum / count, largest, repeats / count)
}

fn longest_gap(chunk: &Chunk) -> f64 {
    let day = chunk.day();
    let mut longest = 0;
    let mut previous = day.start;
    for sample in chunk.samples() {
        longest = longest.max(sample.at.since(previous));
        previous = sample.at;
    }
    longest = longest.max(day.end.since(previous));
    #[expect(clippy::cast_precision_loss, reason = "a day has 90 million milliseconds at the most")]
    let share = longest as f64 / day.length_ms() as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        reading::Sample,
        time::{HOUR_MS, LocalDate, LocalDay, UtcMillis},
    };

    fn day(samples: &[(i64, f64)]) -> Features {
        let samples = samples.iter().map(|&(at, value)| Sample { at: UtcMillis(at), value });
        extract(&Chunk::new(LocalDay::utc(LocalDate(0)), samples.collect()))
    }

    #[test]
    fn an_hour_without_readings_is_missing() {
        let features = day(&[(0, 1.0), (HOUR_MS / 2, 3.0), (2 * HOUR_MS, 5.0)]);
        assert_eq!(features.named("hour_00"), Some(2.0));
        assert_eq!(features.named("hour_01"), None);
        assert_eq!(features.named("hour_02"), Some(5.0));
        assert_eq!(features.named("mean"), Some(3.0));
        assert_eq!(features.named("longest_gap"), Some(22.0 / 24.0));
    }

    #[test]
    fn quantiles_lie_between_ranks() {
        let features = day(&[(0, 10.0), (1, 0.0), (2, 20.0), (3, 30.0), (4, 40.0)]);
        assert_eq!(features.named("q10"), Some(4.0));
        assert_eq!(features.named("q50"), Some(20.0));
        assert_eq!(features.named("max"), Some(40.0));
    }

    #[test]
    fn a_stuck_sensor_repeats() {
        let features = day(&[(0, 7.0), (1, 7.0), (2, 7.0), (3, 8.0), (4, 8.0)]);
        assert_eq!(features.named("repeat_share"), Some(0.75));
        assert_eq!(features.named("max_abs_step"), Some(1.0));
        assert_eq!(features.named("mean_abs_step"), Some(0.25));
    }

    #[test]
    fn values_of_any_finite_size_give_finite_features() {
        let features = day(&[(0, f64::MAX), (1, f64::MIN), (2, f64::MAX)]);
        assert!(features.iter().flatten().all(f32::is_finite));
    }
}
