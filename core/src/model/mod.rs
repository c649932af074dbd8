//! The model artifact: one sub-model per family of sensors, checked when it is loaded.
//!
//! Centroids and scales are in feature units, so a distance needs no centring and a cluster can
//! be read as a day; only with [`Scaling::Shape`] hours are the day's shape ([`Family::as_day`] reads
//! them back). A model that loads is sound: sizes match the feature set, every number is
//! finite, every scale positive; prediction cannot fail on it.

mod file;
mod novelty;
mod shape;

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

pub use file::{ArtifactError, MAX_ARTIFACT_BYTES, decode, encode};
pub use novelty::NoveltyTable;

use crate::{features::FeatureSet, quantity::Quantity, time::UtcMillis};

/// The most clusters a family may have.
pub const MAX_CLUSTERS: usize = 64;
/// The most families a model may have.
pub const MAX_FAMILIES: usize = 64;

/// SHA-256 of an artifact's bytes up to the digest itself; its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A trained model for all families of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Only goes up, by one with each training that continues the last model; from 1.
    pub version: u32,
    /// The artifact that training continued from.
    pub parent: Option<Digest>,
    /// When it was trained.
    pub trained_at: UtcMillis,
    /// At most one for a quantity and feature set.
    pub families: Vec<Family>,
}

impl Model {
    /// The sub-model for sensor-days of this kind.
    #[must_use]
    pub fn family(&self, quantity: Quantity, set: FeatureSet) -> Option<&Family> {
        self.families.iter().find(|family| family.quantity == quantity && family.set == set)
    }
}

/// How features were scaled in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// Not at all: every scale is 1.
    None,
    /// By the standard deviation over the training window.
    Standard,
    /// By the interquartile range over 1.349, which equals the deviation of a normal spread.
    Robust,
    /// The hours by their shape, all with one scale, beside level and spread; see
    /// [`Scaling::coordinates`]. For sets without hours as [`Scaling::Standard`].
    #[default]
    Shape,
}

/// The sub-model of one family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// The quantity of its sensors.
    pub quantity: Quantity,
    /// The features it is trained on.
    pub set: FeatureSet,
    /// How `scale` came about.
    pub scaling: Scaling,
    /// One per coordinate, in its unit, positive: a difference of this much counts as 1.
    pub scale: Vec<f32>,
    /// At least one.
    pub clusters: Vec<Cluster>,
    /// Turns a distance into a novelty.
    pub novelty: NoveltyTable,
    /// Sensor-days it was trained on.
    pub sensor_days: u64,
    /// Sum over them of the squared scaled distance to their centroid.
    pub inertia: f64,
}

/// A known kind of day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its identity: stays through the versions of a model.
    pub id: u16,
    /// A short name for people; stays with the identity.
    pub name: String,
    /// Training sensor-days in it.
    pub size: u64,
    /// One coordinate per feature, see [`Scaling::coordinates`].
    pub centroid: Vec<f32>,
}

/// Why a decoded model cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// Version 0, no family, or too many of them.
    #[error("the model has no version or a wrong number of families")]
    Empty,
    /// Two sub-models for the same sensors.
    #[error("two sub-models for {quantity} with {set}")]
    RepeatedFamily {
        /// Their quantity.
        quantity: Quantity,
        /// Their feature set.
        set: FeatureSet,
    },
    /// Sizes or numbers in a family are impossible.
    #[error("the sub-model for {quantity} has an impossible {part}")]
    Family {
        /// Its quantity.
        quantity: Quantity,
        /// Which part.
        part: &'static str,
    },
}

impl Model {
    /// Checks all that prediction relies on.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), Unsound> {
        if self.version == 0 || self.families.is_empty() || self.families.len() > MAX_FAMILIES {
            return Err(Unsound::Empty);
        }
        for (i, family) in self.families.iter().enumerate() {
            let (quantity, set) = (family.quantity, family.set);
            if self.families.iter().take(i).any(|f| f.quantity == quantity && f.set == set) {
                return Err(Unsound::RepeatedFamily { quantity, set });
            }
            family.check().map_err(|part| Unsound::Family { quantity, part })?;
        }
        Ok(())
    }
}

impl Family {
    fn check(&self) -> Result<(), &'static str> {
        let dimensions = self.set.dimensions();
        // A scale below this would let a squared distance overflow to infinity.
        let usable = |scale: &f32| scale.is_finite() && *scale >= 1e-9;
        if self.scale.len() != dimensions || !self.scale.iter().all(usable) {
            return Err("scale");
        }
        if self.clusters.is_empty() || self.clusters.len() > MAX_CLUSTERS {
            return Err("number of clusters");
        }
        for (i, cluster) in self.clusters.iter().enumerate() {
            if cluster.centroid.len() != dimensions
                || !cluster.centroid.iter().all(|c| c.is_finite())
            {
                return Err("centroid");
            }
            if self.clusters.iter().take(i).any(|other| other.id == cluster.id) {
                return Err("cluster identity");
            }
        }
        if !self.novelty.is_sound() {
            return Err("novelty table");
        }
        if !self.inertia.is_finite() || self.inertia < 0.0 {
            return Err("inertia");
        }
        Ok(())
    }
}
