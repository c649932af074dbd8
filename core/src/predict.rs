//! Which known kind of day this is, and how far from anything known.
//!
//! k x d distances in `f64` over `f32` features, summed in feature order, without allocating.
//! Only coordinates that were observed count; the sum is scaled up to all of them, so a day with
//! missing hours is neither near nor far by that alone.

use serde::{Deserialize, Serialize};

use crate::{
    features::{FeatureSet, Features},
    model::Family,
};

/// How many contributing features a prediction names.
pub const TOP_FEATURES: usize = 3;

/// What the model says of one sensor-day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Identity of the nearest cluster.
    pub cluster: u16,
    /// Scaled Euclidean distance to its centroid.
    pub distance: f32,
    /// Share of the family's training sensor-days that lie closer to their centroid, 0 to 1.
    pub novelty: f32,
    /// The features that contribute most to the distance, largest first.
    pub top: heapless::Vec<Contribution, TOP_FEATURES>,
    /// The version of the model that said so.
    pub model_version: u32,
}

/// One feature's part in a distance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Its place in the feature set.
    pub feature: u8,
    /// Its difference from the centroid in scaled units, signed.
    pub deviation: f32,
}

impl Contribution {
    /// The feature's name, for features of `set`.
    #[must_use]
    pub fn name(&self, set: FeatureSet) -> &'static str {
        set.feature_names().get(usize::from(self.feature)).copied().unwrap_or("unknown")
    }
}

impl Family {
    /// The squared scaled distance of a day's coordinates to one centroid.
    fn squared_distance(&self, features: &Features, centroid: &[f32]) -> f64 {
        let mut sum = 0.0;
        for ((value, &center), &scale) in features.iter().zip(centroid).zip(&self.scale) {
            if let Some(value) = value {
                let difference = (f64::from(value) - f64::from(center)) / f64::from(scale);
                sum += difference * difference;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "at most MAX_FEATURES")]
        let rescale = features.len() as f64 / features.observed().max(1) as f64;
        sum * rescale
    }

    /// Index of the nearest cluster and the distance to it; the first of equals.
    #[must_use]
    pub fn nearest(&self, features: &Features) -> (usize, f64) {
        self.nearest_to(&self.scaling.coordinates(features))
    }

    fn nearest_to(&self, coordinates: &Features) -> (usize, f64) {
        let mut best = (0, f64::INFINITY);
        for (index, cluster) in self.clusters.iter().enumerate() {
            let squared = self.squared_distance(coordinates, &cluster.centroid);
            if squared < best.1 {
                best = (index, squared);
            }
        }
        (best.0, libm::sqrt(best.1))
    }

    /// Predicts one sensor-day; `features` are of the family's own set.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the report is in f32")]
    pub fn predict(&self, features: &Features, model_version: u32) -> Prediction {
        let coordinates = self.scaling.coordinates(features);
        let (index, distance) = self.nearest_to(&coordinates);
        let cluster = self.clusters.get(index);
        Prediction {
            cluster: cluster.map_or(0, |cluster| cluster.id),
            distance: distance.min(f64::from(f32::MAX)) as f32,
            novelty: self.novelty.novelty(distance),
            top: cluster
                .map(|cluster| self.top(&coordinates, &cluster.centroid))
                .unwrap_or_default(),
            model_version,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "places below MAX_FEATURES; the report is in f32"
    )]
    fn top(
        &self,
        features: &Features,
        centroid: &[f32],
    ) -> heapless::Vec<Contribution, TOP_FEATURES> {
        let mut top: heapless::Vec<Contribution, TOP_FEATURES> = heapless::Vec::new();
        for (place, ((value, &center), &scale)) in
            features.iter().zip(centroid).zip(&self.scale).enumerate()
        {
            let Some(value) = value else { continue };
            let deviation = (f64::from(value) - f64::from(center)) / f64::from(scale);
            let deviation = deviation.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
            let rank =
                top.iter().take_while(|held| held.deviation.abs() >= deviation.abs()).count();
            if rank < TOP_FEATURES {
                if top.is_full() {
                    top.pop();
                }
                // Cannot fail: there is room, and `rank` is at most the length.
                if top.insert(rank, Contribution { feature: place as u8, deviation }).is_err() {
                    break;
                }
            }
        }
        top
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec, vec::Vec};

    use super::*;
    use crate::{
        model::{Cluster, NoveltyTable, Scaling},
        quantity::Quantity,
    };

    fn family(set: FeatureSet, scale: f32, centroids: &[f32]) -> Family {
        let d = set.dimensions();
        Family {
            quantity: Quantity::Generic,
            set,
            scaling: Scaling::Standard,
            scale: vec![scale; d],
            clusters: centroids
                .iter()
                .zip(10..)
                .map(|(&c, id)| Cluster { id, name: String::new(), size: 1, centroid: vec![c; d] })
                .collect(),
            novelty: NoveltyTable::from_distances((0..100).map(f64::from)),
            sensor_days: 100,
            inertia: 1.0,
        }
    }

    #[test]
    fn the_nearest_cluster_wins_and_its_distance_is_scaled() {
        let family = family(FeatureSet::Moments1, 2.0, &[0.0, 10.0]);
        let features = Features::new(FeatureSet::Moments1, [Some(16.0), Some(2.0)]).unwrap();
        let prediction = family.predict(&features, 3);
        assert_eq!(prediction.cluster, 11);
        assert_eq!(prediction.distance, 5.0, "a 3-4-5 triangle");
        assert_eq!(prediction.model_version, 3);
        let order: Vec<u8> = prediction.top.iter().map(|c| c.feature).collect();
        assert_eq!(order, [1, 0], "the larger deviation first");
        assert_eq!(prediction.top[0].deviation, -4.0);
    }

    #[test]
    fn missing_hours_do_not_bring_a_day_nearer() {
        let family = family(FeatureSet::Profile1, 1.0, &[0.0]);
        let full = Features::new(FeatureSet::Profile1, vec![Some(1.0); 36]).unwrap();
        let mut gaps = vec![Some(1.0); 36];
        gaps[..12].fill(None);
        let gaps = Features::new(FeatureSet::Profile1, gaps).unwrap();
        assert_eq!(family.nearest(&full).1, 6.0);
        assert_eq!(family.nearest(&gaps).1, 6.0);
    }

    #[test]
    fn the_three_largest_deviations_are_named() {
        let family = family(FeatureSet::Profile1, 1.0, &[0.0]);
        let values = (0..36_u8).map(|i| {
            Some(match i {
                5 => -9.0,
                7 => 4.0,
                30 => 6.0,
                _ => 0.5,
            })
        });
        let features = Features::new(FeatureSet::Profile1, values).unwrap();
        let top: Vec<(u8, f32)> =
            family.predict(&features, 1).top.iter().map(|c| (c.feature, c.deviation)).collect();
        assert_eq!(top, [(5, -9.0), (30, 6.0), (7, 4.0)]);
    }
}
