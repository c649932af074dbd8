//! Offers the champion to the gateways: the artifact first, then each gateway's desired state.
//!
//! Both are retained, and both are published again at every connection, because the embedded
//! broker starts empty. The database holds the truth (generation and version per gateway), so a
//! crash anywhere here is repaired by the next connection. A promotion or roll-back on the
//! command line is noticed by looking at the champion twice a second.

use std::{collections::BTreeSet, time::Duration};

use daywise_core::wire::{self, Desired, ModelRef};
use tokio::{
    sync::mpsc,
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::{
    chain,
    session::{NotSent, Publisher},
    storage::{Storage, StorageError},
    topics::{GatewayName, Topics},
};

/// Gateways waiting to be told; when more are new at once, all are told.
const WAITING: usize = 256;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Older versions whose retained artifacts are cleared after a start, in case an external broker
/// still holds them.
const OLD_VERSIONS: u32 = 32;
/// Until gateways can be put on other channels.
const CHANNEL: &str = "stable";

/// The other tasks' way to say that a gateway must be told what it is to be.
#[derive(Clone, Debug)]
pub struct Offers {
    gateways: mpsc::Sender<Option<GatewayName>>,
}

impl Offers {
    /// A way to say so, and the end that hears it.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Option<GatewayName>>) {
        // One place more than is used for single gateways, so that "all" always fits.
        let (gateways, receiver) = mpsc::channel(WAITING + 1);
        (Self { gateways }, receiver)
    }

    /// Tells one gateway, or all if too many wait.
    pub fn to(&self, gateway: &GatewayName) {
        let message = (self.gateways.capacity() > 1).then(|| gateway.clone());
        // Full means that "all" is already in the queue behind the single ones.
        if self.gateways.try_send(message).is_err() {
            debug!("every gateway is about to be told anyway");
        }
    }
}

/// Why an offer was not made; the next look tries again.
#[derive(Debug, thiserror::Error)]
enum OfferError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    NotSent(#[from] NotSent),
    #[error("the desired state cannot be written")]
    Wire(#[from] wire::WireError),
}

/// Keeps what is retained on the broker in step with the database.
pub struct Rollout {
    /// The database.
    pub storage: Storage,
    /// The way to the broker.
    pub publisher: Publisher,
    /// The sync topics.
    pub topics: Topics,
}

/// What is on the broker now.
#[derive(Debug, Default)]
struct Published {
    /// The champion, once all gateways were told; `None` when they must be told again.
    champion: Option<Option<u32>>,
    /// Digests of retained artifacts, in hexadecimal.
    artifacts: BTreeSet<String>,
}

impl Rollout {
    /// Offers until `stop`.
    pub async fn run(
        self,
        mut gateways: mpsc::Receiver<Option<GatewayName>>,
        stop: CancellationToken,
    ) {
        let mut published = Published::default();
        let mut connection = self.publisher.connection();
        let mut look = time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let only = tokio::select! {
                () = stop.cancelled() => return,
                changed = connection.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    published.champion = None;
                    None
                }
                Some(gateway) = gateways.recv() => {
                    if gateway.is_none() {
                        published.champion = None;
                    }
                    gateway
                }
                _ = look.tick() => None,
            };
            if !self.publisher.is_connected() {
                published.champion = None;
                continue;
            }
            if let Err(error) = self.step(&mut published, only.as_ref()).await {
                published.champion = None;
                match error {
                    OfferError::NotSent(_) => debug!("the connection went while offering"),
                    error => error!(error = chain(&error), "cannot offer the model; trying again"),
                }
            }
        }
    }

    async fn step(
        &self,
        published: &mut Published,
        only: Option<&GatewayName>,
    ) -> Result<(), OfferError> {
        let version = self.storage.champion_version().await?;
        if published.champion != Some(version) {
            self.offer_all(published).await?;
            published.champion = Some(version);
        } else if let Some(gateway) = only {
            self.storage.desire(version).await?;
            let champion = self.storage.champion().await?.map(|champion| champion.model);
            self.tell(Some(gateway.as_str()), champion).await?;
        }
        Ok(())
    }

    async fn offer_all(&self, published: &mut Published) -> Result<(), OfferError> {
        let champion = self.storage.champion().await?;
        let parent = match champion.as_ref().and_then(|champion| champion.parent) {
            // Kept at hand, so that rolling back needs no upload.
            Some(parent) => self.storage.offered(parent).await?,
            None => None,
        };
        let mut kept = BTreeSet::new();
        for model in champion.iter().chain(&parent) {
            let digest = model.model.digest.to_string();
            let topic = self.topics.model(model.model.digest);
            self.publisher.retain(topic, model.artifact.clone()).await?;
            kept.insert(digest);
        }
        let reference = champion.as_ref().map(|champion| champion.model);
        self.storage.desire(reference.map(|model| model.version)).await?;
        let told = self.tell(None, reference).await?;
        let mut stale = std::mem::take(&mut published.artifacts);
        stale.extend(self.storage.digests(OLD_VERSIONS).await?);
        for digest in stale.difference(&kept) {
            self.publisher.retain(self.topics.model(digest), Vec::new()).await?;
        }
        published.artifacts = kept;
        info!(gateways = told, version = reference.map(|model| model.version), "model offered");
        Ok(())
    }

    /// Publishes the desired state of one gateway or of all; returns how many.
    async fn tell(
        &self,
        gateway: Option<&str>,
        model: Option<ModelRef>,
    ) -> Result<usize, OfferError> {
        let gateways = self.storage.desired(gateway).await?;
        for gateway in &gateways {
            let desired = Desired {
                generation: gateway.generation,
                model,
                channel: CHANNEL.into(),
                overrides: Vec::new(),
            };
            let topic = self.topics.desired(&gateway.gateway);
            self.publisher.retain(topic, wire::encode(&desired)?).await?;
        }
        Ok(gateways.len())
    }
}
