//! Decides when to train, and carries a training from the database to the registry.
//!
//! One training at a time, on the blocking pool. It is entered into the registry in one
//! transaction, so a crash before leaves no trace and a crash after is a finished version; the
//! rollout notices the new champion by itself.

use std::sync::Arc;

use daywise_core::{
    model::{self, Model},
    time::UtcMillis,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{self, JoinError},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    chain, clock,
    config::TrainingConfig,
    storage::{NewModel, Storage, StorageError, StoredModel},
    train::{self, FamilyReport, Parent, TrainError, Trained, TrainingSet, gates, window},
};

/// Requests to train at once that may wait; each waits for the one before.
const REQUESTS: usize = 4;
/// A family with fewer days waits: its clusters and scales would be chance, and later versions
/// continue from them.
const MIN_FAMILY_DAYS: usize = 5;

/// Why nothing was trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// Too many trainings are asked for already.
    #[error("trainings are waiting already")]
    Busy,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// No family has enough days.
    #[error("no family of sensors has at least {MIN_FAMILY_DAYS} sensor-days with features yet")]
    TooFewDays,
    /// The days cannot be trained on.
    #[error("training failed")]
    Train(#[source] TrainError),
    /// Training panicked, which is a fault of the program.
    #[error("training broke off")]
    Broke(#[source] JoinError),
    /// The database failed.
    #[error("training cannot use the database")]
    Storage(#[from] StorageError),
    /// The version did not pass its gates; it is in the registry as refused.
    #[error("model version {version} was refused: {reason}")]
    Refused {
        /// Which.
        version: u32,
        /// Why.
        reason: String,
    },
}

type Reply = oneshot::Sender<Result<StoredModel, TrainingError>>;

/// Asks for a training; cheap to clone.
#[derive(Clone, Debug)]
pub struct Trainings {
    requests: mpsc::Sender<Reply>,
}

impl Trainings {
    /// Trains now and waits for the outcome.
    ///
    /// # Errors
    /// There is nothing to train on, or training failed.
    pub async fn train(&self) -> Result<StoredModel, TrainingError> {
        let (reply, outcome) = oneshot::channel();
        self.requests.try_send(reply).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => TrainingError::Busy,
            mpsc::error::TrySendError::Closed(_) => TrainingError::Stopping,
        })?;
        outcome.await.unwrap_or(Err(TrainingError::Stopping))
    }
}

/// The trainer's moving part: to be run as a task.
pub struct Trainer {
    storage: Storage,
    config: TrainingConfig,
    last_arrival: watch::Receiver<Instant>,
    requests: mpsc::Receiver<Reply>,
}

/// Prepares a trainer that looks at what `last_arrival` says.
#[must_use]
pub fn new(
    storage: Storage,
    config: TrainingConfig,
    last_arrival: watch::Receiver<Instant>,
) -> (Trainings, Trainer) {
    let (sender, requests) = mpsc::channel(REQUESTS);
    (Trainings { requests: sender }, Trainer { storage, config, last_arrival, requests })
}

impl Trainer {
    /// Trains when there is enough new, or when asked, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        // After a restart at once rather than after a whole period: a server that is restarted
        // daily would otherwise never train.
        let mut look_at = Instant::now() + self.config.settle.0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = time::sleep_until(look_at) => look_at = self.look().await,
                Some(reply) = self.requests.recv() => {
                    let outcome = train_once(&self.storage, self.config).await;
                    if let Err(error) = &outcome {
                        warn!(error = chain(error), "training on request came to nothing");
                    }
                    // Whoever asked may have gone away; the model is in the registry anyway.
                    drop(reply.send(outcome));
                }
            }
        }
    }

    /// Trains if it is time to; returns when to look again.
    async fn look(&self) -> Instant {
        let next = Instant::now() + self.config.every.0;
        let new = match self.new_days().await {
            Ok(new) => new,
            Err(error) => {
                error!(error = chain(&error), "cannot look for new sensor-days");
                return next;
            }
        };
        if new < i64::from(self.config.min_new_sensor_days) {
            return next;
        }
        let settled = *self.last_arrival.borrow() + self.config.settle.0;
        if settled > Instant::now() {
            return settled;
        }
        info!(new_sensor_days = new, "training");
        if let Err(error) = train_once(&self.storage, self.config).await {
            error!(error = chain(&error), "training came to nothing");
        }
        next
    }

    async fn new_days(&self) -> Result<i64, StorageError> {
        let trained = self.storage.trained_arrival().await?;
        self.storage.arrived_since(trained).await
    }
}

/// One training from the database to the registry.
async fn train_once(
    storage: &Storage,
    config: TrainingConfig,
) -> Result<StoredModel, TrainingError> {
    let now = clock::now();
    let champion = storage.champion().await?;
    // Not only the champion's successor: a refused version has used up its number.
    let version = storage.next_version().await?;
    let window = window::read(storage, config.window_days, now).await?;
    let mut window = window.ok_or(TrainingError::TooFewDays)?;
    if window.left_out > 0 {
        warn!(sensor_days = window.left_out, "absurd sensor-days left out of the training");
    }
    let parent = champion.and_then(|champion| {
        let (model, digest) = model::decode(&champion.artifact).ok()?;
        Some((model, digest))
    });
    let known = |family: &train::FamilyDays| {
        parent
            .as_ref()
            .is_some_and(|(model, _)| model.family(family.quantity, family.set).is_some())
    };
    window.days.families.retain(|family| family.days.len() >= MIN_FAMILY_DAYS || known(family));
    if window.days.is_empty() {
        return Err(TrainingError::TooFewDays);
    }
    let parent_version = parent.as_ref().map(|(model, _)| model.version);
    let days = Arc::new(window.days);
    let job = {
        let days = days.clone();
        move || run(&days, parent, version, now, config)
    };
    let outcome = task::spawn_blocking(job).await.map_err(TrainingError::Broke)?;
    let outcome = outcome.map_err(TrainingError::Train)?;
    let new = NewModel {
        version,
        digest: outcome.digest,
        parent: parent_version,
        created: now,
        refusal: outcome.refusal.clone(),
        from: window.from,
        to: window.to,
        sensor_days: u64::try_from(days.len()).unwrap_or(u64::MAX),
        inertia: outcome.reports.iter().map(|report| report.inertia).sum(),
        families: serde_json::to_value(&outcome.reports).unwrap_or_default(),
        arrival: window.arrival,
        artifact: outcome.artifact,
    };
    storage.enter_model(&new).await?;
    if let Some(reason) = outcome.refusal {
        return Err(TrainingError::Refused { version, reason });
    }
    info!(version, parent = parent_version, sensor_days = new.sensor_days, "model trained");
    storage.model(version).await?.ok_or(TrainingError::Stopping)
}

/// What a training came to, gates included.
struct Outcome {
    reports: Vec<FamilyReport>,
    refusal: Option<String>,
    artifact: Vec<u8>,
    digest: model::Digest,
}

fn run(
    days: &TrainingSet,
    parent: Option<(Model, model::Digest)>,
    version: u32,
    now: UtcMillis,
    config: TrainingConfig,
) -> Result<Outcome, TrainError> {
    let from = parent.as_ref().map(|(model, digest)| Parent { model, digest: *digest });
    let trained = train::train(days, from, version, now, config.options())?;
    let gated = gates::check(&trained, parent.as_ref().map(|(model, _)| model), days);
    let Trained { model, reports } = trained;
    let (refusal, (artifact, digest)) = match gated {
        Ok(artifact) => (None, artifact),
        // Kept for whoever looks into it, if it can be written at all.
        Err(reason) => (
            Some(chain(&reason)),
            model::encode(&model).unwrap_or((Vec::new(), model::Digest([0; 32]))),
        ),
    };
    Ok(Outcome { reports, refusal, artifact, digest })
}
