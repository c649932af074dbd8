//! Training: sensor-days in, a model and a report out. Pure: no clock, no files, no database.
//!
//! One sub-model per family (quantity and feature set). With a parent, each family that the
//! parent knows continues from its centroids and keeps its scale, so that version n+1 measures
//! in version n's units; a family without days in the window is carried over as it is, and a new
//! one is trained afresh. Sizes, inertia and novelty are computed with the finished centroids
//! through the same code that predicts.

mod choose_k;
pub mod csv;
mod fit;
pub mod gates;
mod lloyd;
mod points;
mod report;
mod scale;
#[cfg(test)]
mod tests;
pub mod window;

use daywise_core::{
    features::{FeatureSet, Features},
    model::{Cluster, Digest, Family, MAX_CLUSTERS, MAX_FAMILIES, Model, NoveltyTable, Scaling},
    quantity::Quantity,
    time::UtcMillis,
};
use serde::{Deserialize, Deserializer, de::Error as _};

pub use fit::FitError;
use points::Points;
use report::report;
pub use report::{ClusterReport, FamilyReport};

/// A feature further from zero than this says that the sensor is broken; one such day would
/// stretch every scale. The largest physical range of any quantity is 1e15.
pub const MAX_TRAINABLE: f32 = 1e16;

/// How many clusters a new family gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clusters {
    /// As many as the silhouette finds.
    #[default]
    Auto,
    /// That many, or as many as there are different days.
    Exactly(u16),
}

impl std::str::FromStr for Clusters {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse::<u16>() {
            Ok(k) if k >= 1 && usize::from(k) <= MAX_CLUSTERS => Ok(Self::Exactly(k)),
            _ => Err(format!("`{text}` is neither `auto` nor a number from 1 to {MAX_CLUSTERS}")),
        }
    }
}

impl<'de> Deserialize<'de> for Clusters {
    /// `"auto"` or a number, as text or plain.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(i64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer) {
            Ok(Written::Number(number)) => number.to_string(),
            Ok(Written::Text(text)) => text,
            Err(_) => return Err(D::Error::custom("neither `auto` nor a number")),
        };
        text.parse().map_err(D::Error::custom)
    }
}

/// What a training may decide for families that have no parent.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of clusters.
    pub k: Clusters,
    /// How features are scaled.
    pub scaling: Scaling,
    /// Decides every random choice.
    pub seed: u64,
}

/// The sensor-days of one family, each with features of `set`.
#[derive(Clone, Debug)]
pub struct FamilyDays {
    /// The quantity of their sensors.
    pub quantity: Quantity,
    /// Their feature set.
    pub set: FeatureSet,
    /// The days, in an order that is the same each time.
    pub days: Vec<Features>,
}

/// Sensor-days sorted by family, the ones that cannot be trained on left out.
#[derive(Debug, Default)]
pub struct TrainingSet {
    /// The families, in the order of their quantity and set.
    pub families: Vec<FamilyDays>,
}

impl TrainingSet {
    /// Adds a day; false if its features are too large to be anything but a fault.
    pub fn push(&mut self, quantity: Quantity, features: Features) -> bool {
        if features.iter().flatten().any(|value| value.abs() > MAX_TRAINABLE) {
            return false;
        }
        let set = features.set();
        let place = self
            .families
            .binary_search_by(|family| (family.quantity, family.set).cmp(&(quantity, set)));
        let place = place.unwrap_or_else(|place| {
            self.families.insert(place, FamilyDays { quantity, set, days: Vec::new() });
            place
        });
        if let Some(family) = self.families.get_mut(place) {
            family.days.push(features);
        }
        true
    }

    /// How many sensor-days there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.families.iter().map(|family| family.days.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }
}

/// The model that training continues from.
#[derive(Clone, Copy, Debug)]
pub struct Parent<'a> {
    /// Its content.
    pub model: &'a Model,
    /// Its address.
    pub digest: Digest,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// There is nothing to train on.
    #[error("no sensor-days to train on")]
    Empty,
    /// More families than a model holds.
    #[error("{found} families, but a model holds at most {MAX_FAMILIES}")]
    TooManyFamilies {
        /// How many.
        found: usize,
    },
    /// One family could not be fitted.
    #[error("cannot train {quantity} with {set}")]
    Family {
        /// Its quantity.
        quantity: Quantity,
        /// Its feature set.
        set: FeatureSet,
        /// Why not.
        source: FitError,
    },
}

/// A trained model and how it went.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// A report for each family that was trained; carried-over families have none.
    pub reports: Vec<FamilyReport>,
}

/// Trains version `version` on `days`, continuing `parent` if there is one.
///
/// # Errors
/// No days, too many families, or a family whose numbers overflow.
pub fn train(
    days: &TrainingSet,
    parent: Option<Parent<'_>>,
    version: u32,
    trained_at: UtcMillis,
    options: Options,
) -> Result<Trained, TrainError> {
    if days.is_empty() {
        return Err(TrainError::Empty);
    }
    let mut families = Vec::new();
    let mut reports = Vec::new();
    for group in &days.families {
        let old = parent.and_then(|parent| parent.model.family(group.quantity, group.set));
        let trained = match old {
            Some(old) if is_outgrown(old, group, options.k) => {
                start_family(group, options, next_id(old))
            }
            Some(old) => continue_family(group, old, options.seed),
            None => start_family(group, options, 0),
        };
        let (family, report) = trained.map_err(|source| TrainError::Family {
            quantity: group.quantity,
            set: group.set,
            source,
        })?;
        families.push(family);
        reports.push(report);
    }
    let carried = parent.iter().flat_map(|parent| &parent.model.families).filter(|old| {
        !days.families.iter().any(|new| new.quantity == old.quantity && new.set == old.set)
    });
    families.extend(carried.cloned());
    if families.len() > MAX_FAMILIES {
        return Err(TrainError::TooManyFamilies { found: families.len() });
    }
    let parent = parent.map(|parent| parent.digest);
    Ok(Trained { model: Model { version, parent, trained_at, families }, reports })
}

/// Whether a family got a single cluster for lack of days and has enough of them now.
///
/// Such a start has nothing worth continuing: its scales came from a handful of days, and one
/// cluster stays one for ever.
fn is_outgrown(old: &Family, group: &FamilyDays, k: Clusters) -> bool {
    let enough = 2 * choose_k::MIN_DAYS_PER_CLUSTER;
    let had = usize::try_from(old.sensor_days).unwrap_or(usize::MAX);
    k == Clusters::Auto && old.clusters.len() == 1 && had < enough && group.days.len() >= enough
}

/// The first cluster number that the family has not used: a number never means two things.
fn next_id(old: &Family) -> u16 {
    old.clusters.iter().map(|cluster| cluster.id).max().unwrap_or(0).saturating_add(1)
}

fn start_family(
    group: &FamilyDays,
    options: Options,
    first_id: u16,
) -> Result<(Family, FamilyReport), FitError> {
    let scaling = options.scaling.for_set(group.set);
    let scale = scale::scales(&group.days, group.set, scaling);
    let points = Points::new(&group.days, scaling, &scale);
    let k = match options.k {
        Clusters::Auto => choose_k::choose(&points, options.seed)?,
        Clusters::Exactly(k) => usize::from(k),
    };
    let rest = fit::fresh(&points, k, fit::RESTARTS, options.seed)?;
    let mut centroids = unscaled(&rest.centroids, &scale);
    sort_by_level(&mut centroids, group.set);
    let clusters = (first_id..).zip(centroids).map(|(id, centroid)| Cluster {
        id,
        name: name(usize::from(id)),
        size: 0,
        centroid,
    });
    let family = finish(group, scaling, scale, clusters.collect());
    let report = report(&family, &points, &rest, options.seed, None);
    Ok((family, report))
}

fn continue_family(
    group: &FamilyDays,
    old: &Family,
    seed: u64,
) -> Result<(Family, FamilyReport), FitError> {
    let scale = old.scale.clone();
    let points = Points::new(&group.days, old.scaling, &scale);
    let start: Vec<f64> =
        old.clusters.iter().flat_map(|cluster| scaled(&cluster.centroid, &scale)).collect();
    let rest = fit::continued(&points, &start, seed)?;
    // By place: cluster i of the fit grew out of the parent's cluster i, so it is that cluster.
    let centroids = unscaled(&rest.centroids, &scale).into_iter();
    let clusters = old.clusters.iter().zip(&rest.sizes).zip(centroids);
    let clusters = clusters.map(|((old, &size), centroid)| Cluster {
        // An empty cluster keeps its centroid to the bit, whatever scaling there and back did.
        centroid: if size == 0 { old.centroid.clone() } else { centroid },
        ..old.clone()
    });
    let family = finish(group, old.scaling, scale, clusters.collect());
    let report = report(&family, &points, &rest, seed, Some(rest.first_inertia));
    Ok((family, report))
}

/// Fills in what follows from the finished centroids, through the code that predicts.
fn finish(group: &FamilyDays, scaling: Scaling, scale: Vec<f32>, clusters: Vec<Cluster>) -> Family {
    let mut family = Family {
        quantity: group.quantity,
        set: group.set,
        scaling,
        scale,
        clusters,
        novelty: NoveltyTable::from_distances([]),
        sensor_days: u64::try_from(group.days.len()).unwrap_or(u64::MAX),
        inertia: 0.0,
    };
    let mut sizes = vec![0; family.clusters.len()];
    let mut distances = Vec::with_capacity(group.days.len());
    for day in &group.days {
        let (cluster, distance) = family.nearest(day);
        if let Some(size) = sizes.get_mut(cluster) {
            *size += 1;
        }
        distances.push(distance);
    }
    family.inertia = distances.iter().map(|distance| distance * distance).sum();
    for (cluster, size) in family.clusters.iter_mut().zip(sizes) {
        cluster.size = size;
    }
    family.novelty = NoveltyTable::from_distances(distances);
    family
}

fn scaled<'a>(centroid: &'a [f32], scale: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
    centroid.iter().zip(scale).map(|(&center, &scale)| f64::from(center) / f64::from(scale))
}

fn unscaled(centroids: &[f64], scale: &[f32]) -> Vec<Vec<f32>> {
    let unscale = |(center, &scale): (&f64, &f32)| {
        let value = center * f64::from(scale);
        #[expect(clippy::cast_possible_truncation, reason = "models hold f32; clamped to it")]
        let value = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        value
    };
    let centroids = centroids.chunks_exact(scale.len().max(1));
    centroids.map(|centroid| centroid.iter().zip(scale).map(unscale).collect()).collect()
}

/// Puts the clusters of a new family into the order of their level, so that their numbers mean
/// something and do not depend on the draw.
fn sort_by_level(centroids: &mut [Vec<f32>], set: FeatureSet) {
    let level = set.feature_names().iter().position(|name| name.ends_with("mean")).unwrap_or(0);
    let key = |centroid: &Vec<f32>| centroid.get(level).copied().unwrap_or(0.0);
    centroids.sort_by(|a, b| {
        key(a).total_cmp(&key(b)).then_with(|| {
            a.iter()
                .zip(b)
                .map(|(a, b)| a.total_cmp(b))
                .find(|o| o.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        })
    });
}

/// A, B, … Z, AA, AB, …
fn name(index: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
    match index / 26 {
        0 => letter.to_string(),
        above => format!("{}{letter}", name(above - 1)),
    }
}
