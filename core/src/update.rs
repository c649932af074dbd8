//! Taking over a model from the server, as a state machine without I/O.
//!
//! ```text
//! Idle ── desired ──> Fetching ── artifact ──> Trial ── enough predictions ──> Confirmed
//!                        │ does not check out     │ restarted too often
//!                        └──────> Refused         └──────> RolledBack
//! ```
//!
//! Generations only go up. An artifact is taken only if it is the one that was offered: size,
//! then digest, then content, then feature set. The caller writes the spare slot and switches
//! before it tells [`Updater::staged`]; whatever the power does, one of two whole models is there.

use crate::{
    features::FeatureSet,
    model::{self, ArtifactError, Digest, Model},
    wire::{Desired, ModelRef, UpdateState},
};

/// Predictions with a new model after which it is kept.
pub const TRIAL_PREDICTIONS: u32 = 10;
/// Starts of the agent within one trial after which the model is given up: it may be what ends
/// the agent.
pub const TRIAL_STARTS: u32 = 3;

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Ask for the artifact with that digest.
    Fetch(Digest),
    /// Make the spare slot the active one; it holds the offered model already.
    SwitchToSpare,
}

/// Why an artifact is not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedArtifact {
    /// Nothing was offered, or something else.
    #[error("not the model that was offered")]
    NotOffered,
    /// Its size is not the offered one.
    #[error("{found} bytes, but {offered} were offered")]
    Size {
        /// How many came.
        found: usize,
        /// How many were offered.
        offered: u32,
    },
    /// It is not a sound model.
    #[error("the offered model cannot be used")]
    Artifact(#[source] ArtifactError),
    /// Its version is not the offered one.
    #[error("version {found}, but {offered} was offered")]
    Version {
        /// The artifact's.
        found: u32,
        /// The offer's.
        offered: u32,
    },
    /// It has no sub-model for what this gateway computes.
    #[error("no family in it uses the feature set {0}")]
    FeatureSet(FeatureSet),
}

/// The state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updater {
    generation: u64,
    active: Option<ModelRef>,
    spare: Option<ModelRef>,
    offered: Option<ModelRef>,
    /// An offer that failed on this gateway; it is not tried again.
    given_up: Option<Digest>,
    state: UpdateState,
    predictions: u32,
}

impl Updater {
    /// Starts from what the slots hold.
    #[must_use]
    pub fn new(
        generation: u64,
        active: Option<ModelRef>,
        spare: Option<ModelRef>,
        given_up: Option<Digest>,
        on_trial: bool,
    ) -> Self {
        let state = if on_trial { UpdateState::Trial } else { UpdateState::Idle };
        Self { generation, active, spare, offered: None, given_up, state, predictions: 0 }
    }

    /// Where the update stands.
    #[must_use]
    pub fn state(&self) -> UpdateState {
        self.state
    }

    /// The last generation acted on.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The model that predicts.
    #[must_use]
    pub fn active(&self) -> Option<ModelRef> {
        self.active
    }

    /// The model in the other slot.
    #[must_use]
    pub fn spare(&self) -> Option<ModelRef> {
        self.spare
    }

    /// The server says what it wants. An older generation than the last is a replay.
    pub fn handle_desired(&mut self, desired: &Desired) -> Step {
        if desired.generation < self.generation {
            return Step::Nothing;
        }
        self.generation = desired.generation;
        let Some(wanted) = desired.model else {
            return Step::Nothing;
        };
        if self.active.is_some_and(|active| active.digest == wanted.digest) {
            self.offered = None;
            if self.state == UpdateState::Fetching {
                self.state = UpdateState::Idle;
            }
            return Step::Nothing;
        }
        if self.given_up == Some(wanted.digest) {
            return Step::Nothing;
        }
        self.offered = Some(wanted);
        if self.spare.is_some_and(|spare| spare.digest == wanted.digest) {
            return Step::SwitchToSpare;
        }
        self.state = UpdateState::Fetching;
        Step::Fetch(wanted.digest)
    }

    /// The artifact arrived: checks it against the offer. The caller then stages it and calls
    /// [`Self::staged`].
    ///
    /// # Errors
    /// Why it is not taken; an offer that cannot be used is given up, one that was damaged on
    /// the way stays open.
    pub fn check_artifact(
        &mut self,
        bytes: &[u8],
        set: FeatureSet,
    ) -> Result<(Model, ModelRef), RefusedArtifact> {
        let offered = self.offered.ok_or(RefusedArtifact::NotOffered)?;
        if u32::try_from(bytes.len()) != Ok(offered.bytes) {
            return Err(RefusedArtifact::Size { found: bytes.len(), offered: offered.bytes });
        }
        let (model, digest) = model::decode(bytes).map_err(|error| {
            if !matches!(error, ArtifactError::Damaged | ArtifactError::Length) {
                self.give_up(UpdateState::Refused);
            }
            RefusedArtifact::Artifact(error)
        })?;
        if digest != offered.digest {
            return Err(RefusedArtifact::NotOffered);
        }
        if model.version != offered.version {
            self.give_up(UpdateState::Refused);
            return Err(RefusedArtifact::Version {
                found: model.version,
                offered: offered.version,
            });
        }
        if !model.families.iter().any(|family| family.set == set) {
            self.give_up(UpdateState::Refused);
            return Err(RefusedArtifact::FeatureSet(set));
        }
        Ok((model, offered))
    }

    fn give_up(&mut self, state: UpdateState) {
        self.given_up = self.offered.take().map(|offered| offered.digest);
        self.state = state;
    }

    /// The offered model is durable in a slot and that slot is active: its trial begins.
    pub fn staged(&mut self) {
        if let Some(offered) = self.offered.take() {
            self.spare = self.active.replace(offered);
            self.state = UpdateState::Trial;
            self.predictions = 0;
        }
    }

    /// The active model made `count` predictions. True when that ends its trial: the caller
    /// confirms it in the slots.
    pub fn handle_predictions(&mut self, count: u32) -> bool {
        if self.state != UpdateState::Trial {
            return false;
        }
        self.predictions = self.predictions.saturating_add(count);
        if self.predictions < TRIAL_PREDICTIONS {
            return false;
        }
        self.state = UpdateState::Confirmed;
        true
    }

    /// The caller went back to the spare slot, because the trial kept ending the agent.
    pub fn rolled_back(&mut self) {
        self.given_up = self.active.map(|active| active.digest);
        core::mem::swap(&mut self.active, &mut self.spare);
        self.state = UpdateState::RolledBack;
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec, vec::Vec};

    use super::*;
    use crate::{
        model::{Cluster, Family, NoveltyTable, Scaling},
        quantity::Quantity,
        time::UtcMillis,
    };

    fn artifact(version: u32) -> (Vec<u8>, ModelRef) {
        let family = Family {
            quantity: Quantity::Generic,
            set: FeatureSet::Moments1,
            scaling: Scaling::None,
            scale: vec![1.0; 2],
            clusters: vec![Cluster { id: 0, name: String::new(), size: 1, centroid: vec![0.0; 2] }],
            novelty: NoveltyTable::from_distances([1.0]),
            sensor_days: 1,
            inertia: 0.0,
        };
        let trained_at = UtcMillis(0);
        let model = Model { version, parent: None, trained_at, families: vec![family] };
        let (bytes, digest) = model::encode(&model).unwrap();
        let size = u32::try_from(bytes.len()).unwrap();
        (bytes, ModelRef { version, digest, bytes: size })
    }

    fn desired(generation: u64, model: ModelRef) -> Desired {
        Desired { generation, model: Some(model), channel: String::new(), overrides: Vec::new() }
    }

    fn fresh() -> Updater {
        Updater::new(0, None, None, None, false)
    }

    #[test]
    fn an_offer_is_fetched_tried_and_confirmed() {
        let (bytes, offer) = artifact(1);
        let mut updater = fresh();
        assert_eq!(updater.handle_desired(&desired(1, offer)), Step::Fetch(offer.digest));
        let (model, _) = updater.check_artifact(&bytes, FeatureSet::Moments1).unwrap();
        assert_eq!(model.version, 1);
        updater.staged();
        assert_eq!((updater.state(), updater.active()), (UpdateState::Trial, Some(offer)));
        assert!(!updater.handle_predictions(TRIAL_PREDICTIONS - 1));
        assert!(updater.handle_predictions(1));
        assert_eq!(updater.state(), UpdateState::Confirmed);
        assert_eq!(updater.handle_desired(&desired(1, offer)), Step::Nothing, "it runs");
    }

    #[test]
    fn an_older_generation_is_a_replay() {
        let (_, first) = artifact(1);
        let (_, second) = artifact(2);
        let mut updater = fresh();
        updater.handle_desired(&desired(5, second));
        assert_eq!(updater.handle_desired(&desired(4, first)), Step::Nothing);
        assert_eq!(updater.generation(), 5);
    }

    #[test]
    fn only_the_offered_artifact_is_taken() {
        let (bytes, offer) = artifact(1);
        let (other, other_offer) = artifact(2);
        let mut updater = fresh();
        let check = |updater: &mut Updater, bytes: &[u8]| {
            updater.check_artifact(bytes, FeatureSet::Moments1).map(|_| ()).unwrap_err()
        };
        assert_eq!(check(&mut updater, &bytes), RefusedArtifact::NotOffered);
        updater.handle_desired(&desired(1, ModelRef { bytes: other_offer.bytes, ..offer }));
        assert_eq!(check(&mut updater, &other), RefusedArtifact::NotOffered);
        let mut damaged = bytes.clone();
        damaged[20] ^= 1;
        let error = check(&mut updater, &damaged);
        assert_eq!(error, RefusedArtifact::Artifact(ArtifactError::Damaged));
        assert!(updater.check_artifact(&bytes, FeatureSet::Moments1).is_ok(), "a second try");
    }

    #[test]
    fn a_model_for_other_features_is_given_up_for_good() {
        let (bytes, offer) = artifact(1);
        let mut updater = fresh();
        updater.handle_desired(&desired(1, offer));
        let refused = updater.check_artifact(&bytes, FeatureSet::Profile1).unwrap_err();
        assert_eq!(refused, RefusedArtifact::FeatureSet(FeatureSet::Profile1));
        assert_eq!(updater.state(), UpdateState::Refused);
        assert_eq!(updater.handle_desired(&desired(2, offer)), Step::Nothing);
    }

    #[test]
    fn rolling_back_returns_to_the_slot_still_held() {
        let (_, first) = artifact(1);
        let (bytes, second) = artifact(2);
        let mut updater = Updater::new(3, Some(first), None, None, false);
        updater.handle_desired(&desired(4, second));
        updater.check_artifact(&bytes, FeatureSet::Moments1).unwrap();
        updater.staged();
        updater.rolled_back();
        assert_eq!((updater.active(), updater.spare()), (Some(first), Some(second)));
        assert_eq!(updater.handle_desired(&desired(5, second)), Step::Nothing, "not again");
        assert_eq!(updater.handle_desired(&desired(6, first)), Step::Nothing, "it runs");
    }
}
