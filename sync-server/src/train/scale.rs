//! How much a difference in a feature counts: one positive scale per feature.
//!
//! There is no centring: distances do not need it, and centroids stay readable as days.

use daywise_core::{features::Features, model::Scaling};

/// The interquartile range of a normal spread, in standard deviations.
const NORMAL_IQR: f64 = 1.349;
/// A spread below this share of the feature's size is rounding noise, not variation: features
/// are single precision, whose steps are 6e-8 of the value.
const NOISE_SHARE: f64 = 1e-6;

/// The scale of each feature over `days`; missing values do not take part.
///
/// A feature that does not vary gets the scale 1, in its own unit. Dividing by its tiny spread
/// would instead make it outweigh all others on the first day that differs by a rounding error.
pub(crate) fn scales(days: &[Features], dimensions: usize, scaling: Scaling) -> Vec<f32> {
    (0..dimensions).map(|feature| scale(days, feature, scaling)).collect()
}

fn scale(days: &[Features], feature: usize, scaling: Scaling) -> f32 {
    let values = || days.iter().filter_map(|day| day.get(feature)).map(f64::from);
    let size = values().fold(0.0_f64, |size, value| size.max(value.abs()));
    let noise = (size * NOISE_SHARE).max(f64::from(f32::MIN_POSITIVE));
    let spread = match scaling {
        Scaling::None => return 1.0,
        Scaling::Standard => deviation(values()),
        Scaling::Robust => {
            let spread = interquartile(values().collect()) / NORMAL_IQR;
            // Half of the days being equal (a lamp that is off at night) says nothing about the
            // other half.
            if spread > noise { spread } else { deviation(values()) }
        }
    };
    // A model's scale is at least this; a smaller one would let squared distances overflow.
    const SMALLEST: f64 = 1e-9;
    if spread > noise && spread >= SMALLEST { to_f32(spread) } else { 1.0 }
}

#[expect(clippy::cast_possible_truncation, reason = "models hold scales in f32; clamped before")]
fn to_f32(value: f64) -> f32 {
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// Population standard deviation, in two passes; 0 without values.
fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let (count, sum) = values.clone().fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    if count == 0.0 {
        return 0.0;
    }
    let mean = sum / count;
    let squares = values.fold(0.0, |sum, value| sum + (value - mean) * (value - mean));
    (squares / count).sqrt()
}

/// The distance between the quartiles, each the nearest order statistic; 0 without values.
fn interquartile(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values.get(values.len().saturating_sub(1) * quarter / 4).copied();
    match (at(1), at(3)) {
        (Some(low), Some(high)) => high - low,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use daywise_core::features::FeatureSet;

    use super::*;

    fn days(values: &[[Option<f32>; 2]]) -> Vec<Features> {
        values.iter().map(|day| Features::new(FeatureSet::Moments1, *day).unwrap()).collect()
    }

    #[test]
    fn standard_scale_is_the_deviation_of_what_was_observed() {
        let days = days(&[[Some(1.0), Some(5.0)], [Some(3.0), None], [Some(5.0), Some(9.0)]]);
        let scales = scales(&days, 2, Scaling::Standard);
        assert!((scales[0] - (8.0_f32 / 3.0).sqrt()).abs() < 1e-6);
        assert_eq!(scales[1], 2.0);
    }

    #[test]
    fn a_feature_that_never_varies_counts_in_its_own_unit() {
        let noisy = 1000.0_f32;
        let next = f32::from_bits(noisy.to_bits() + 1);
        let days = days(&[[Some(noisy), Some(0.0)], [Some(next), Some(0.0)]]);
        for scaling in [Scaling::None, Scaling::Standard, Scaling::Robust] {
            assert_eq!(scales(&days, 2, scaling), [1.0, 1.0], "{scaling:?}");
        }
    }

    #[test]
    fn robust_scale_ignores_the_outlier() {
        let days: Vec<Features> = (0..101_u8)
            .map(|i| {
                let value = if i == 100 { 1e6 } else { f32::from(i) };
                Features::new(FeatureSet::Moments1, [Some(value), Some(0.0)]).unwrap()
            })
            .collect();
        let scales = scales(&days, 2, Scaling::Robust);
        assert!((scales[0] - 50.0 / 1.349).abs() < 1e-3);
    }
}
