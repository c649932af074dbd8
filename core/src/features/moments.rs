//! `moments/1`: the heritage set, mean and sample standard deviation of the day's values.

use super::{FeatureSet, Features};
use crate::chunk::Chunk;

pub(super) const NAMES: [&str; 2] = ["daily_mean", "daily_std"];

pub(super) fn extract(chunk: &Chunk) -> Features {
    let (mean, std) = mean_and_std(chunk.samples().iter().map(|sample| sample.value));
    Features::new(FeatureSet::Moments1, [finite(mean), finite(std)])
        .unwrap_or_else(|_| unreachable_features(FeatureSet::Moments1))
}

/// Mean and sample standard deviation (ddof = 1), in two passes in the given order; the second
/// is 0 for a single value.
pub(super) fn mean_and_std(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (count, sum) = values.clone().fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    let mean = sum / count;
    let squares = values.fold(0.0, |sum, value| sum + (value - mean) * (value - mean));
    let std = if count > 1.0 { libm::sqrt(squares / (count - 1.0)) } else { 0.0 };
    (mean, std)
}

/// The feature as stored: single precision, clamped to what that can hold, so that readings of
/// any finite size give a finite feature.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the purpose; the range is clamped"
)]
pub(super) fn finite(value: f64) -> Option<f32> {
    if value.is_nan() {
        None
    } else {
        Some(value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32)
    }
}

/// Every coordinate overflowed to NaN: huge values of both signs. Zeros keep the day visible.
pub(super) fn unreachable_features(set: FeatureSet) -> Features {
    let zeros = set.feature_names().iter().map(|_| Some(0.0));
    match Features::new(set, zeros) {
        Ok(features) => features,
        Err(_) => unreachable!("the set's own number of finite values"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chunk::Chunk,
        reading::Sample,
        time::{LocalDate, LocalDay, UtcMillis},
    };

    #[test]
    fn moments_are_mean_and_sample_deviation() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        let samples =
            values.iter().zip(0..).map(|(&value, i)| Sample { at: UtcMillis(i * 1000), value });
        let chunk = Chunk::new(LocalDay::utc(LocalDate(0)), samples.collect());
        let features = extract(&chunk);
        assert_eq!(features.get(0), Some(5.0));
        let expected = libm::sqrtf(32.0 / 7.0);
        assert!((features.get(1).unwrap() - expected).abs() < 1e-6);
    }
}
