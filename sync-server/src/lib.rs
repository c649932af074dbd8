//! The Daywise sync server: features in, central training, model registry and delivery.
//!
//! [`build`] opens everything that can fail at the start (configuration is checked before);
//! [`Server::run`] runs it until told to stop or until a part of it ends by itself, and then
//! drains in the order of the flow: no new requests, the last messages written, the session
//! closed, the broker stopped, the database folded.
//!
//! | module | |
//! |---|---|
//! | [`broker`] | the embedded broker |
//! | [`session`] | the server's session with whichever broker |
//! | [`intake`] | gateways' messages into the database, and the acknowledgement |
//! | [`storage`] | sensor-days, silences, gateways, registry |
//! | [`train`] | sensor-days to a model, pure |
//! | [`trainer`] | when to train |
//! | [`rollout`] | the champion to the gateways |
//! | [`cluster_mix`] | how gateways' days fall into the clusters, against the training's |
//! | [`api`] | HTTP |

pub mod api;
pub mod broker;
pub mod clock;
pub mod cluster_mix;
pub mod config;
pub mod intake;
pub mod rollout;
pub mod session;
pub mod storage;
pub mod topics;
pub mod train;
pub mod trainer;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use broker::{Broker, BrokerError};
use config::{BrokerConfig, ServerConfig};
use intake::{Counters, Intake};
use rollout::{Offers, Rollout};
use session::Session;
use storage::{Missing, Storage, StorageError};
use topics::Topics;
use trainer::Trainer;

/// How long draining may take before the process ends anyway. Nothing acknowledged is lost
/// then; a running training is.
const GRACE: Duration = Duration::from_secs(10);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The state folder cannot be made or written.
    #[error("cannot write to the state folder {}", path.display())]
    StateDir {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The API's address cannot be listened on.
    #[error("the HTTP API cannot listen on {listen}")]
    Http {
        /// Where.
        listen: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The embedded broker did not start.
    #[error("cannot start the embedded broker")]
    Broker(#[source] BrokerError),
    /// The database cannot be used.
    #[error("cannot use the database")]
    Storage(#[source] StorageError),
}

/// A part of the server ended although nobody asked it to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} ended by itself: {reason}")]
pub struct EndedEarly {
    /// Which part.
    pub part: &'static str,
    /// What it said.
    pub reason: String,
}

/// A server, ready to run.
pub struct Server {
    /// Where the API listens.
    pub http_address: SocketAddr,
    /// Where the embedded broker listens, if there is one.
    pub mqtt_address: Option<SocketAddr>,
    storage: Storage,
    listener: TcpListener,
    broker: Option<Broker>,
    stop_broker: CancellationToken,
    api: api::Api,
    session: Session,
    intake: Intake,
    rollout: Rollout,
    offers: mpsc::Receiver<Option<topics::GatewayName>>,
    trainer: Trainer,
}

/// Opens the database, the listeners and the broker, and connects the parts.
///
/// # Errors
/// The first thing that cannot be opened.
pub async fn build(config: ServerConfig) -> Result<Server, BuildError> {
    let state_dir = &config.state_dir;
    std::fs::create_dir_all(state_dir)
        .map_err(|source| BuildError::StateDir { path: state_dir.clone(), source })?;
    let storage = Storage::open(config.database.clone(), Missing::Create)
        .await
        .map_err(BuildError::Storage)?;
    let listen = config.http_listen;
    let http_error = |source| BuildError::Http { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(http_error)?;
    let http_address = listener.local_addr().map_err(http_error)?;

    let topics = Topics::new(&config.prefix);
    let stop_broker = CancellationToken::new();
    let (broker, host, port) = match config.broker {
        BrokerConfig::Embedded { listen, backlog_mb } => {
            let broker = Broker::start(listen, backlog_mb, &topics, stop_broker.clone())
                .await
                .map_err(BuildError::Broker)?;
            let host = broker.address.ip();
            let host = if host.is_unspecified() { "127.0.0.1".into() } else { host.to_string() };
            let port = broker.address.port();
            (Some(broker), host, port)
        }
        BrokerConfig::External { host, port } => (None, host, port),
    };
    let mqtt_address = broker.as_ref().map(|broker| broker.address);
    write_address(state_dir, "http.addr", Some(http_address))?;
    write_address(state_dir, "mqtt.addr", mqtt_address)?;

    let (publisher, session) = session::open(&host, port, &topics);
    let counters = Arc::new(Counters::default());
    let (last_arrival, arrivals) = watch::channel(Instant::now());
    let (trainings, trainer) = trainer::new(storage.clone(), config.training, arrivals);
    let (offers, offered) = Offers::channel();
    let intake = Intake {
        storage: storage.clone(),
        publisher: publisher.clone(),
        topics: topics.clone(),
        offers,
        counters: counters.clone(),
        last_arrival,
    };
    let rollout = Rollout { storage: storage.clone(), publisher: publisher.clone(), topics };
    let api = api::Api { storage: storage.clone(), trainings, publisher, counters };
    Ok(Server {
        http_address,
        mqtt_address,
        storage,
        listener,
        broker,
        stop_broker,
        api,
        session,
        intake,
        rollout,
        offers: offered,
        trainer,
    })
}

/// Writes a real address into the state folder, for whoever configured port 0; an address that
/// no longer holds is removed.
fn write_address(
    state_dir: &Path,
    name: &str,
    address: Option<SocketAddr>,
) -> Result<(), BuildError> {
    let path = state_dir.join(name);
    let failed = |source| BuildError::StateDir { path: path.clone(), source };
    match address {
        Some(address) => {
            // Renamed into place, so that a waiting reader never sees half of it.
            let written = state_dir.join(format!("{name}.new"));
            std::fs::write(&written, address.to_string()).map_err(failed)?;
            std::fs::rename(&written, &path).map_err(failed)
        }
        None => match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        },
    }
}

/// The parts' tasks, and the first that ended by itself.
#[derive(Clone)]
struct Parts {
    tracker: TaskTracker,
    stop: CancellationToken,
    ended: mpsc::Sender<EndedEarly>,
}

impl Parts {
    /// Runs a part. If it ends before `stop`, everything stops.
    fn spawn<E: std::error::Error>(
        &self,
        part: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (stop, ended) = (self.stop.clone(), self.ended.clone());
        self.tracker.spawn(async move {
            let result = task.await;
            if stop.is_cancelled() {
                return;
            }
            let reason = result.map_or_else(|error| chain(&error), |()| "no reason".into());
            // Only the first matters, and there is room for it.
            drop(ended.try_send(EndedEarly { part, reason }));
            stop.cancel();
        });
    }
}

async fn fine(task: impl Future<Output = ()>) -> Result<(), io::Error> {
    task.await;
    Ok(())
}

impl Server {
    /// Runs until `stop` or until a part ends by itself; then drains.
    ///
    /// # Errors
    /// Which part ended by itself.
    pub async fn run(self, stop: CancellationToken) -> Result<(), EndedEarly> {
        let (ended, mut first_ended) = mpsc::channel(1);
        let parts = Parts { tracker: TaskTracker::new(), stop: stop.clone(), ended };
        let (messages, queue) = mpsc::channel(intake::QUEUE);
        info!(http = %self.http_address, mqtt = ?self.mqtt_address, "running");

        // Tracked apart, because it ends last.
        let broker = Parts { tracker: TaskTracker::new(), ..parts.clone() };
        if let Some(running) = self.broker {
            broker.spawn("the MQTT broker", running.ended());
        }
        parts.spawn("the intake", fine(self.intake.run(queue)));
        parts.spawn("the session", fine(self.session.run(messages, stop.clone())));
        parts.spawn("the rollout", fine(self.rollout.run(self.offers, stop.clone())));
        parts.spawn("the trainer", fine(self.trainer.run(stop.clone())));
        let api = axum::serve(self.listener, api::router(self.api))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        parts.spawn("the HTTP API", async move { api.await });

        stop.cancelled().await;
        info!("draining");
        parts.tracker.close();
        broker.tracker.close();
        let stop_broker = self.stop_broker;
        let storage = self.storage;
        // What was read from the broker is still written. It is acknowledged the next time its
        // gateway sends it.
        let drained = time::timeout(GRACE, async {
            parts.tracker.wait().await;
            stop_broker.cancel();
            broker.tracker.wait().await;
            storage.close().await;
        });
        if drained.await.is_err() {
            warn!("not everything ended in time");
        }
        match first_ended.try_recv() {
            Ok(ended) => {
                error!(part = ended.part, reason = ended.reason, "a part ended by itself");
                Err(ended)
            }
            Err(_) => Ok(()),
        }
    }
}

/// The error and its causes on one line. A cause that its error already quotes is not repeated.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
