//! What people and programs are told of a training, family by family.

use daywise_core::{
    features::FeatureSet,
    model::{Family, Scaling},
    quantity::Quantity,
};
use serde::Serialize;

use super::{choose_k, lloyd, points::Points};

/// What came out of a training, family by family.
#[derive(Clone, Debug, Serialize)]
pub struct FamilyReport {
    /// The quantity of its sensors.
    pub quantity: Quantity,
    /// Its feature set.
    pub set: FeatureSet,
    /// Number of clusters.
    pub k: usize,
    /// Sensor-days trained on.
    pub sensor_days: u64,
    /// Sum of the squared scaled distances to the nearest centroid.
    pub inertia: f64,
    /// The same with the parent's centroids, on the same days; absent at a first training.
    pub first_iteration_inertia: Option<f64>,
    /// Sensor-days of each cluster, in the model's order.
    pub cluster_sizes: Vec<u64>,
    /// Mean silhouette on a sample; absent with a single cluster.
    pub silhouette: Option<f64>,
    /// How features are scaled.
    pub scaling: Scaling,
    /// The scale of each feature, by name.
    pub scale: serde_json::Map<String, serde_json::Value>,
    /// Exact iterations after the library's.
    pub iterations: usize,
    /// 99 % of the sensor-days lie closer to their centroid than this.
    pub p99_distance: f32,
    /// The clusters' identity, name and centroid.
    pub clusters: Vec<ClusterReport>,
}

/// One cluster of a [`FamilyReport`].
#[derive(Clone, Debug, Serialize)]
pub struct ClusterReport {
    /// Its identity.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// In feature units and the set's order.
    pub centroid: Vec<f32>,
}

/// The report on `family`, which came out of the fit `rest`.
pub(super) fn report(
    family: &Family,
    points: &Points,
    rest: &lloyd::Rest,
    seed: u64,
    first_iteration_inertia: Option<f64>,
) -> FamilyReport {
    let names = family.set.feature_names().iter();
    let scale = names.zip(&family.scale).map(|(name, &scale)| ((*name).to_owned(), scale.into()));
    let clusters = family.clusters.iter().map(|cluster| ClusterReport {
        id: cluster.id,
        name: cluster.name.clone(),
        centroid: family.as_day(cluster),
    });
    FamilyReport {
        quantity: family.quantity,
        set: family.set,
        k: family.clusters.len(),
        sensor_days: family.sensor_days,
        inertia: family.inertia,
        first_iteration_inertia,
        cluster_sizes: family.clusters.iter().map(|cluster| cluster.size).collect(),
        silhouette: choose_k::silhouette(points, rest, seed),
        scaling: family.scaling,
        scale: scale.collect(),
        iterations: rest.iterations,
        p99_distance: family.novelty.p99(),
        clusters: clusters.collect(),
    }
}
