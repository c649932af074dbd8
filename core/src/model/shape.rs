//! The coordinates that distances are measured on: with [`Scaling::Shape`], a day's hours become
//! its shape.
//!
//! `s = (hour's mean - day's mean) / day's standard deviation`, then `sign(s) |s|^1.5`, so that an
//! hour counts more the further it lies from the day's mean: peaks tell kinds of day apart, the
//! flat hours between them hardly. Level and spread stay coordinates of their own.

use super::{Cluster, Family, Scaling};
use crate::features::{FeatureSet, Features};

/// A spread below this share of the level is none.
const LEAST: f64 = 1e-3;

impl Scaling {
    /// This way of scaling where the set has a shape, else by the standard deviation.
    #[must_use]
    pub fn for_set(self, set: FeatureSet) -> Self {
        match self {
            Self::Shape if set.hours() == 0 => Self::Standard,
            other => other,
        }
    }

    /// The coordinates of a day before they are divided by the family's scale: the features
    /// themselves or, with [`Scaling::Shape`], the hours' shape in place of the hours. What is
    /// missing stays missing; without mean or spread there is no shape.
    #[must_use]
    pub fn coordinates(self, features: &Features) -> Features {
        let mut coordinates = features.clone();
        if self != Self::Shape {
            return coordinates;
        }
        let (mean, std) = (features.named("mean"), features.named("std"));
        let spread = mean.zip(std).map(|(mean, std)| {
            let (mean, std) = (f64::from(mean), f64::from(std));
            (mean, std.max(LEAST * mean.abs()))
        });
        coordinates.replace(features.set().hours(), |value| {
            let (mean, spread) = spread?;
            let shape = (f64::from(value?) - mean) / spread;
            let peaked = libm::copysign(shape.abs() * libm::sqrt(shape.abs()), shape);
            // What f32 cannot hold is as far as it goes: missing would bring the day nearer.
            let most = f64::from(f32::MAX);
            #[expect(clippy::cast_possible_truncation, reason = "coordinates are f32")]
            let coordinate = peaked.clamp(-most, most) as f32;
            Some(if spread > 0.0 { coordinate } else { 0.0 })
        });
        coordinates
    }
}

impl Family {
    /// A cluster's centroid as a day, in feature units: what [`Scaling::coordinates`] makes of the
    /// result is the centroid again.
    #[must_use]
    pub fn as_day(&self, cluster: &Cluster) -> alloc::vec::Vec<f32> {
        let mut day = cluster.centroid.clone();
        if self.scaling != Scaling::Shape {
            return day;
        }
        let names = self.set.feature_names();
        let of = |name: &str| {
            let place = names.iter().position(|known| *known == name)?;
            cluster.centroid.get(place).copied().map(f64::from)
        };
        let (mean, std) = (of("mean").unwrap_or(0.0), of("std").unwrap_or(0.0));
        let spread = std.max(LEAST * mean.abs());
        for hour in day.iter_mut().take(self.set.hours()) {
            let peaked = f64::from(*hour);
            let shape = libm::copysign(libm::cbrt(peaked * peaked), peaked);
            #[expect(clippy::cast_possible_truncation, reason = "features are f32")]
            let value = (mean + spread * shape) as f32;
            *hour = value;
        }
        day
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        chunk::Chunk,
        model::NoveltyTable,
        quantity::Quantity,
        reading::Sample,
        time::{HOUR_MS, LocalDate, LocalDay},
    };

    fn day(values: impl Iterator<Item = f64>) -> Features {
        let day = LocalDay::utc(LocalDate(0));
        let sample = |(hour, value): (i64, f64)| Sample { at: day.start + hour * HOUR_MS, value };
        let chunk = Chunk::new(day, (0..24).zip(values).map(sample).collect());
        FeatureSet::Profile1.extract(&chunk).unwrap()
    }

    fn hours(features: &Features) -> Vec<f32> {
        features.iter().take(24).map(|value| value.unwrap_or(f32::NAN)).collect()
    }

    #[test]
    fn the_shape_does_not_depend_on_level_and_gain() {
        let base = day((0..24).map(|hour| f64::from((hour * 7) % 11)));
        let moved = day((0..24).map(|hour| 100.0 + 3.0 * f64::from((hour * 7) % 11)));
        let (base, moved) = (Scaling::Shape.coordinates(&base), Scaling::Shape.coordinates(&moved));
        for (a, b) in hours(&base).iter().zip(hours(&moved)) {
            assert!((a - b).abs() < 1e-4, "{a} and {b}");
        }
        assert_ne!(base.named("mean"), moved.named("mean"), "level is told apart all the same");
    }

    #[test]
    fn a_day_without_any_spread_has_a_flat_shape() {
        let flat = Scaling::Shape.coordinates(&day(core::iter::repeat_n(21.5, 24)));
        assert!(hours(&flat).iter().all(|hour| *hour == 0.0));
        let zero = Scaling::Shape.coordinates(&day(core::iter::repeat_n(0.0, 24)));
        assert!(hours(&zero).iter().all(|hour| *hour == 0.0));
    }

    #[test]
    fn an_hour_out_of_all_bounds_stays_a_coordinate() {
        let mut features = day((0..24).map(f64::from));
        features.replace(1, |_| Some(f32::MAX));
        let far = Scaling::Shape.coordinates(&features);
        assert!(far.get(0).is_some_and(|hour| hour > 1e30), "{:?}", far.get(0));
        assert_eq!(far.observed(), features.observed());
    }

    #[test]
    fn an_hour_that_is_missing_has_no_shape() {
        let start = LocalDay::utc(LocalDate(0));
        let sample = |hour: i64| Sample { at: start.start + hour * HOUR_MS, value: hour as f64 };
        let chunk = Chunk::new(start, [1, 2, 5].map(sample).to_vec());
        let features = FeatureSet::Profile1.extract(&chunk).unwrap();
        let shape = Scaling::Shape.coordinates(&features);
        assert_eq!(shape.get(0), None);
        assert!(shape.get(1).unwrap() < 0.0 && shape.get(5).unwrap() > 0.0);
        assert_eq!(shape.observed(), features.observed());
    }

    #[test]
    fn a_set_without_hours_has_no_shape() {
        assert_eq!(Scaling::Shape.for_set(FeatureSet::Moments1), Scaling::Standard);
        assert_eq!(Scaling::Shape.for_set(FeatureSet::Profile1), Scaling::Shape);
        assert_eq!(Scaling::None.for_set(FeatureSet::Moments1), Scaling::None);
    }

    proptest! {
        #[test]
        fn a_centroid_can_be_read_as_a_day(values in prop::collection::vec(-1e3..1e3_f64, 24)) {
            let features = day(values.into_iter());
            let shape = Scaling::Shape.coordinates(&features);
            let centroid = shape.iter().map(Option::unwrap).collect();
            let name = alloc::string::String::new();
            let cluster = Cluster { id: 0, name, size: 1, centroid };
            let family = Family {
                quantity: Quantity::Generic,
                set: FeatureSet::Profile1,
                scaling: Scaling::Shape,
                scale: alloc::vec![1.0; 36],
                clusters: alloc::vec![cluster.clone()],
                novelty: NoveltyTable::from_distances([1.0]),
                sensor_days: 1,
                inertia: 0.0,
            };
            for (back, value) in family.as_day(&cluster).iter().zip(features.iter()) {
                let value = value.unwrap();
                prop_assert!((back - value).abs() <= 0.01 + 1e-3 * value.abs(), "{back} {value}");
            }
        }
    }
}
