//! Builds the agent from its config, runs it until a signal, and drains it in flow order.

use std::{
    io,
    net::TcpListener,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    backoff::Backoff,
    board,
    calendar::{Calendar, CalendarError},
    config::{AgentConfig, ClockSource},
    figures::Figures,
    health::{Condition, Health},
    home_assistant::Names,
    http::{self, Status},
    metrics::Metrics,
    mqtt::{ACK_QUEUE, BURST_QUEUE, Session, Settings},
    pipeline::{Links, Pipeline},
    seen::Seen,
    slots::{Slots, SlotsError},
    store::{self, Remedy, Store, StoreError, StoreOptions, in_words},
    sync::{Parts, Sync, SyncError},
    watchdog::{self, Heartbeat, Watchdog},
};

/// After a signal, this long for the pipeline to make durable what it holds.
const DRAIN_GRACE: Duration = Duration::from_secs(20);
/// Of the session with the sensor broker.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

const KB: NonZeroU64 = NonZeroU64::new(1_024).unwrap();

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The zone is not known.
    #[error("cannot make the site's calendar")]
    Calendar(#[source] CalendarError),
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}", path.display())]
    StateDir {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// The slots failed.
    #[error("the model slots failed")]
    Slots(#[source] SlotsError),
    /// The HTTP server failed.
    #[error("the local HTTP server failed")]
    Http(#[source] io::Error),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    /// The sync failed.
    #[error("the sync failed")]
    Sync(#[source] SyncError),
    /// A task ended that should not have.
    #[error("the {0} ended unexpectedly")]
    Ended(&'static str),
}

impl RunError {
    /// Whether it may pass by itself: the disk is full, read-only or failing.
    fn can_pass(&self) -> bool {
        let is_in_use = matches!(self, Self::Store(StoreError::Busy { .. }));
        let is_stores = matches!(self, Self::Store(error) if error.remedy() == Remedy::Retry);
        !is_in_use && (is_stores || store::is_from_the_disk(self))
    }
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or a part of it failed for good.
pub async fn run(config: AgentConfig) -> Result<(), RunError> {
    if !config.board.is_empty() && board::named(&config.board).is_none() {
        warn!(board = %config.board, "this build does not know the board; generic limits are used");
    }
    let listener = http::bind(config.http.listen).map_err(RunError::Http)?;
    let health = Arc::new(Health::default());
    let agent = tokio::select! {
        agent = build_patiently(&config, &health, &listener) => agent?,
        outcome = wait_for_signal() => return outcome,
    };
    info!(gateway = %config.gateway, broker = %config.mqtt.url, timezone = %config.site.timezone, "agent started");
    agent.run(listener, config.state_dir).await
}

/// Waits out a disk that is full, read-only or failing, and says so in `/health` meanwhile: to end
/// and be started again would only wear it more.
async fn build_patiently(
    config: &AgentConfig,
    health: &Arc<Health>,
    listener: &TcpListener,
) -> Result<Agent, RunError> {
    let mut backoff = Backoff::default();
    loop {
        let error = match Agent::build(config, health) {
            Ok(agent) => {
                health.set(Condition::StoreWaiting, None);
                return Ok(agent);
            }
            Err(error) if error.can_pass() => error,
            Err(error) => return Err(error),
        };
        health.set(Condition::StoreWaiting, Some(in_words(&error)));
        let stop = CancellationToken::new();
        let waited = async {
            sleep(backoff.next_delay()).await;
            stop.cancel();
        };
        let served = http::serve_health(listener, Arc::clone(health), stop.clone());
        let ((), served) = tokio::join!(waited, served);
        served.map_err(RunError::Http)?;
    }
}

/// Everything built, nothing running yet.
struct Agent {
    session: Session,
    pipeline: Pipeline,
    sync: Option<Sync>,
    status: Arc<Status>,
    watchdog: Watchdog,
}

impl Agent {
    fn build(config: &AgentConfig, health: &Arc<Health>) -> Result<Self, RunError> {
        let state_dir = config.state_dir.clone();
        std::fs::create_dir_all(&state_dir)
            .map_err(|source| RunError::StateDir { path: state_dir.clone(), source })?;
        let calendar = Calendar::new(&config.site.timezone).map_err(RunError::Calendar)?;
        let store = open_store(config)?;
        let slots = open_slots(&config.state_dir)?;
        let metrics = Arc::new(Metrics::default());
        let heartbeat = Arc::new(Heartbeat::default());
        let seen = Arc::new(Seen::default());
        let figures = Arc::new(Figures::new(config.max_sensors()));
        let (model_sender, model) = watch::channel(slots.active_model());
        let (update_sender, update) = watch::channel(daywise_core::wire::UpdateState::Idle);
        let outbox_ready = Arc::new(Notify::new());
        let session = session(config, Arc::clone(&metrics));
        let links = Links {
            model: model.clone(),
            outbox_ready: Arc::clone(&outbox_ready),
            outputs: session.outputs(),
            metrics: Arc::clone(&metrics),
            health: Arc::clone(health),
            heartbeat: Arc::clone(&heartbeat),
            seen: Arc::clone(&seen),
            figures: Arc::clone(&figures),
        };
        let pipeline =
            Pipeline::new(config, calendar, store.clone(), links).map_err(RunError::Store)?;
        let watchdog = Watchdog::new(heartbeat, Arc::clone(health));
        let status = Arc::new(Status {
            gateway: config.gateway.clone(),
            board: config.board.clone(),
            started: Instant::now(),
            metrics,
            health: Arc::clone(health),
            seen,
            figures,
            mqtt_version: session.version(),
            store: store.clone(),
            model,
            update,
        });
        let parts = Parts {
            store,
            slots,
            model: model_sender,
            update: update_sender,
            outbox_ready,
            status: Arc::clone(&status),
        };
        let sync = config.sync.as_ref().map(|sync| Sync::new(config, sync, parts));
        Ok(Self { session, pipeline, sync, status, watchdog })
    }

    async fn run(self, listener: TcpListener, state_dir: PathBuf) -> Result<(), RunError> {
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let stop_services = CancellationToken::new();
        let told = listener.try_clone().map_err(RunError::Http)?;
        tasks.spawn(
            stop_services.clone().run_until_cancelled_owned(http::tell_address(told, state_dir)),
        );
        let (bursts, burst_receiver) = mpsc::channel(BURST_QUEUE);
        let (acks, ack_receiver) = mpsc::channel(ACK_QUEUE);
        let mut session = tasks.spawn(self.session.run(bursts, ack_receiver, stop.clone()));
        let mut pipeline = start_pipeline(self.pipeline, burst_receiver, acks, stop.clone());
        let mut http = tasks.spawn(http::serve(listener, self.status, stop_services.clone()));
        let sync_stop = stop_services.clone();
        let mut sync = tasks.spawn(async move {
            match self.sync {
                Some(sync) => sync.run(sync_stop).await,
                None => {
                    sync_stop.cancelled().await;
                    Ok(())
                }
            }
        });
        tasks.spawn(self.watchdog.run(stop_services.clone()));
        tasks.close();
        watchdog::tell_ready();
        let failure = tokio::select! {
            outcome = wait_for_signal() => outcome.err(),
            outcome = &mut pipeline => Some(match outcome {
                Ok(Err(error)) => RunError::Store(error),
                Ok(Ok(())) | Err(_) => RunError::Ended("pipeline"),
            }),
            _ = &mut session => Some(RunError::Ended("session with the sensor broker")),
            outcome = &mut http => Some(match outcome {
                Ok(Err(error)) => RunError::Http(error),
                Ok(Ok(())) | Err(_) => RunError::Ended("HTTP server"),
            }),
            outcome = &mut sync => Some(match outcome {
                Ok(Err(error)) => RunError::Sync(error),
                Ok(Ok(())) | Err(_) => RunError::Ended("sync"),
            }),
        };
        let is_over = matches!(failure, Some(RunError::Store(_) | RunError::Ended("pipeline")));
        drain(stop, stop_services, (!is_over).then_some(pipeline), &tasks).await;
        failure.map_or(Ok(()), Err)
    }
}

/// Stops reading, lets the pipeline finish and acknowledge, unless it has ended already, then
/// stops the rest.
async fn drain(
    stop: CancellationToken,
    stop_services: CancellationToken,
    pipeline: Option<oneshot::Receiver<Result<(), StoreError>>>,
    tasks: &TaskTracker,
) {
    let started = Instant::now();
    watchdog::tell_stopping();
    stop.cancel();
    let drained = match pipeline {
        Some(pipeline) => matches!(timeout(DRAIN_GRACE, pipeline).await, Ok(Ok(Ok(())))),
        None => false,
    };
    stop_services.cancel();
    let ended = timeout(Duration::from_secs(5), tasks.wait()).await.is_ok();
    if drained && ended {
        info!(after = ?started.elapsed(), "drained within the deadline");
    } else {
        warn!(
            drained,
            ended, "not drained within the deadline; what was not acknowledged will come again"
        );
    }
}

/// The pipeline has its own thread, because the store blocks.
fn start_pipeline(
    pipeline: Pipeline,
    bursts: mpsc::Receiver<crate::mqtt::Burst>,
    acks: mpsc::Sender<crate::mqtt::Acks>,
    stop: CancellationToken,
) -> oneshot::Receiver<Result<(), StoreError>> {
    let (done, receiver) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("pipeline".into()).spawn(move || {
        let outcome = runtime.block_on(pipeline.run(bursts, acks, stop));
        if done.send(outcome).is_err() {
            warn!("nobody waited for the pipeline");
        }
    });
    if let Err(error) = thread {
        // The receiver is closed then, which the caller takes for the pipeline's end.
        error!(%error, "cannot start the pipeline's thread");
    }
    receiver
}

async fn wait_for_signal() -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    tokio::select! {
        _ = terminate.recv() => info!("SIGTERM: draining"),
        _ = interrupt.recv() => info!("SIGINT: draining"),
    }
    Ok(())
}

fn session(config: &AgentConfig, metrics: Arc<Metrics>) -> Session {
    let templates = config.sources.iter().filter_map(|source| source.template().ok());
    let mut filters: Vec<String> = templates.map(|template| template.filter().to_owned()).collect();
    // A tick on a topic that a source covers must not be subscribed to twice: brokers order
    // messages within a subscription, and the ticks have to stay between the readings.
    let clock = &config.clock;
    let covered = |filter: &String| rumqttc::matches(&clock.topic, filter);
    if clock.source == ClockSource::Topic && !filters.iter().any(covered) {
        filters.push(clock.topic.clone());
    }
    if config.finds_formats() {
        let prefix = &config.sensors.discovery_prefix;
        filters.extend(["+/+/config", "+/+/+/config"].map(|rest| format!("{prefix}/{rest}")));
    }
    if config.home_assistant.enabled {
        filters.push(config.home_assistant.status_topic.clone());
    }
    filters.sort();
    filters.dedup();
    // Where filters overlap a broker may send a message for each of them.
    let all = filters.clone();
    filters.retain(|one| !all.iter().any(|other| other != one && takes_all_of(other, one)));
    let client_id = config.mqtt.client_id.clone();
    let client_id = client_id.unwrap_or_else(|| format!("daywise-{}", config.gateway));
    let settings = Settings {
        broker: config.mqtt.url.clone(),
        client_id,
        filters,
        protocol: config.mqtt.protocol,
        receive_maximum: config.mqtt.receive_maximum.get(),
        keep_alive: KEEP_ALIVE,
        status_topic: Some(Names::new(config).status_topic()),
    };
    Session::new(settings, metrics)
}

/// Whether a topic filter takes every topic that another one takes.
fn takes_all_of(filter: &str, other: &str) -> bool {
    let (mut levels, mut others) = (filter.split('/'), other.split('/'));
    loop {
        match (levels.next(), others.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(_), Some("#")) => return false,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(other)) if level == other => {}
            _ => return false,
        }
    }
}

/// Opens the store of a config.
///
/// # Errors
/// It cannot be opened or set aside.
pub(crate) fn open_store(config: &AgentConfig) -> Result<Arc<Store>, RunError> {
    let options = StoreOptions {
        cache_bytes: config.store.cache_kb.saturating_mul(1_024),
        outbox_max_entries: config.store.max_outbox,
        outbox_max_bytes: config.store.max_outbox_kb.saturating_mul(KB),
        reserve_bytes: config.store.reserve_mb.saturating_mul(1 << 20),
        max_bytes: config.store.max_mb.get().saturating_mul(1 << 20),
    };
    let opened = Store::open(&config.store_dir(), &options).map_err(RunError::Store)?;
    if let Some((path, error)) = opened.set_aside {
        error!(path = %path.display(), error = &error as &dyn std::error::Error, "the store was damaged beyond opening; it is set aside and a new one started");
    }
    Ok(Arc::new(opened.store))
}

/// Opens the slots; gives up a trial that has been started too often.
fn open_slots(state_dir: &Path) -> Result<Slots, RunError> {
    let mut slots = Slots::open(state_dir).map_err(RunError::Slots)?;
    if slots.on_trial() {
        let starts = slots.count_start().map_err(RunError::Slots)?;
        if starts > daywise_core::update::TRIAL_STARTS {
            slots.roll_back().map_err(RunError::Slots)?;
            error!(starts, "the model on trial did not hold; back to the other slot");
        }
    }
    Ok(slots)
}
