//! How much a difference in a coordinate counts: one positive scale for each.
//!
//! There is no centring: distances do not need it, and centroids stay readable as days.

use daywise_core::{
    features::{FeatureSet, Features},
    model::Scaling,
};

/// The interquartile range of a normal spread, in standard deviations.
const NORMAL_IQR: f64 = 1.349;
/// A spread below this share of the feature's size is rounding noise, not variation: features
/// are single precision, whose steps are 6e-8 of the value.
const NOISE_SHARE: f64 = 1e-6;

/// How much level and spread count beside the shape, whose hours count 1 each.
const LEVEL: f64 = 2.0;
const SPREAD: f64 = 1.0;
/// And each of the other figures: enough to tell that a day is new, too little to make kinds of day.
const OTHER: f64 = 0.3;
/// A difference of level or spread counts as one only from this share of what an hour usually
/// differs by from day to day; of roughness from a tenth of it.
const LEAST_LEVEL: f64 = 0.25;
const LEAST_STEP: f64 = 0.1;
/// Of a share of the day or of its readings from this.
const LEAST_SHARE: f64 = 0.1;

/// The scale of each coordinate over `days`; missing values do not take part. `days` are features.
///
/// A feature that does not vary gets the scale 1, in its own unit. Dividing by its tiny spread
/// would instead make it outweigh all others on the first day that differs by a rounding error.
pub(crate) fn scales(days: &[Features], set: FeatureSet, scaling: Scaling) -> Vec<f32> {
    match scaling {
        Scaling::Shape => shape_scales(days, set),
        other => (0..set.dimensions()).map(|feature| scale(days, feature, other)).collect(),
    }
}

/// The scales beside a day's shape: one for all its hours, so that an hour in which days differ
/// counts for more than one in which they do not.
fn shape_scales(days: &[Features], set: FeatureSet) -> Vec<f32> {
    let coordinates: Vec<Features> =
        days.iter().map(|day| Scaling::Shape.coordinates(day)).collect();
    let of_shape = mean_deviation(&coordinates, set.hours());
    let of_hours = mean_deviation(days, set.hours());
    let one = |(place, name): (usize, &&str)| {
        let spread = deviation(column(&coordinates, place));
        let scale = match *name {
            _ if place < set.hours() => of_shape,
            "mean" => spread.max(LEAST_LEVEL * of_hours) / LEVEL,
            "std" => spread.max(LEAST_LEVEL * of_hours) / SPREAD,
            "min" | "q10" | "q50" | "q90" | "max" => spread.max(LEAST_LEVEL * of_hours) / OTHER,
            "mean_abs_step" | "max_abs_step" => spread.max(LEAST_STEP * of_hours) / OTHER,
            _ => spread.max(LEAST_SHARE) / OTHER,
        };
        if scale >= SMALLEST { to_f32(scale) } else { 1.0 }
    };
    set.feature_names().iter().enumerate().map(one).collect()
}

/// The root of the mean of the variances of the first `count` columns.
fn mean_deviation(days: &[Features], count: usize) -> f64 {
    let squares = (0..count).map(|place| deviation(column(days, place)).powi(2));
    #[expect(clippy::cast_precision_loss, reason = "at most MAX_FEATURES")]
    let mean = squares.sum::<f64>() / count.max(1) as f64;
    mean.sqrt()
}

fn column(days: &[Features], place: usize) -> impl Iterator<Item = f64> + Clone {
    days.iter().filter_map(move |day| day.get(place)).map(f64::from)
}

/// A model's scale is at least this; a smaller one would let squared distances overflow.
const SMALLEST: f64 = 1e-9;

/// The scale of one feature by itself.
fn scale(days: &[Features], feature: usize, scaling: Scaling) -> f32 {
    let values = || column(days, feature);
    let size = values().fold(0.0_f64, |size, value| size.max(value.abs()));
    let noise = (size * NOISE_SHARE).max(f64::from(f32::MIN_POSITIVE));
    let spread = match scaling {
        Scaling::None => return 1.0,
        Scaling::Standard | Scaling::Shape => deviation(values()),
        Scaling::Robust => {
            let spread = interquartile(values().collect()) / NORMAL_IQR;
            // Half of the days being equal (a lamp that is off at night) says nothing about the
            // other half.
            if spread > noise { spread } else { deviation(values()) }
        }
    };
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
    use super::*;

    fn days(values: &[[Option<f32>; 2]]) -> Vec<Features> {
        values.iter().map(|day| Features::new(FeatureSet::Moments1, *day).unwrap()).collect()
    }

    #[test]
    fn standard_scale_is_the_deviation_of_what_was_observed() {
        let days = days(&[[Some(1.0), Some(5.0)], [Some(3.0), None], [Some(5.0), Some(9.0)]]);
        let scales = scales(&days, FeatureSet::Moments1, Scaling::Standard);
        assert!((scales[0] - (8.0_f32 / 3.0).sqrt()).abs() < 1e-6);
        assert_eq!(scales[1], 2.0);
    }

    #[test]
    fn a_feature_that_never_varies_counts_in_its_own_unit() {
        let noisy = 1000.0_f32;
        let next = f32::from_bits(noisy.to_bits() + 1);
        let days = days(&[[Some(noisy), Some(0.0)], [Some(next), Some(0.0)]]);
        for scaling in [Scaling::None, Scaling::Standard, Scaling::Robust] {
            assert_eq!(scales(&days, FeatureSet::Moments1, scaling), [1.0, 1.0], "{scaling:?}");
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
        let scales = scales(&days, FeatureSet::Moments1, Scaling::Robust);
        assert!((scales[0] - 50.0 / 1.349).abs() < 1e-3);
    }
}
