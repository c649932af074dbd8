//! What a new version must pass before it may be offered to any gateway.
//!
//! A continued fit cannot be worse than its parent on the same days by more than rounding; if it
//! is, something is broken, and the parent stays. A refused version is kept with the reason.

use daywise_core::model::{self, ArtifactError, Digest, Model};

use super::{Trained, TrainingSet};

/// How much worse than the parent, per sensor-day, is still rounding: centroids are stored in
/// single precision, which costs parts per million.
const MAX_WORSE: f64 = 1.01;

/// Why a version is not offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateRefusal {
    /// It cannot be written, or not read back the same.
    #[error("the artifact is unusable")]
    Artifact(#[source] ArtifactError),
    /// What reads back is not what was written.
    #[error("the artifact reads back as another model")]
    ReadsBackDifferently,
    /// The clusters do not hold the days that were trained on.
    #[error("the {quantity} clusters hold {held} of {trained} sensor-days")]
    Sizes {
        /// The family's quantity.
        quantity: daywise_core::quantity::Quantity,
        /// Days in clusters.
        held: u64,
        /// Days trained on.
        trained: u64,
    },
    /// It fits the same days worse than its parent does.
    #[error("the {quantity} inertia is {new:.6}, the parent's on the same days {old:.6}")]
    Worse {
        /// The family's quantity.
        quantity: daywise_core::quantity::Quantity,
        /// The new version's inertia.
        new: f64,
        /// The parent's.
        old: f64,
    },
}

/// Checks a trained model; returns its artifact and address.
///
/// # Errors
/// The first gate that it does not pass.
pub fn check(
    trained: &Trained,
    parent: Option<&Model>,
    days: &TrainingSet,
) -> Result<(Vec<u8>, Digest), GateRefusal> {
    for family in &days.families {
        let Some(new) = trained.model.family(family.quantity, family.set) else { continue };
        let held = new.clusters.iter().map(|cluster| cluster.size).sum();
        let trained = u64::try_from(family.days.len()).unwrap_or(u64::MAX);
        let quantity = family.quantity;
        if held != trained {
            return Err(GateRefusal::Sizes { quantity, held, trained });
        }
        // A family that started over measures in other units and cannot be compared.
        let old = parent
            .and_then(|parent| parent.family(family.quantity, family.set))
            .filter(|old| old.scale == new.scale);
        if let Some(old) = old {
            let old = family.days.iter().map(|day| old.nearest(day).1.powi(2)).sum::<f64>();
            // The floor forgives rounding where the days lie on their centroids.
            let floor = 1e-6 * f64::from(u32::try_from(trained).unwrap_or(u32::MAX));
            if new.inertia > old * MAX_WORSE + floor {
                return Err(GateRefusal::Worse { quantity, new: new.inertia, old });
            }
        }
    }
    let (bytes, digest) = model::encode(&trained.model).map_err(GateRefusal::Artifact)?;
    let (back, back_digest) = model::decode(&bytes).map_err(GateRefusal::Artifact)?;
    if back != trained.model || back_digest != digest {
        return Err(GateRefusal::ReadsBackDifferently);
    }
    Ok((bytes, digest))
}
