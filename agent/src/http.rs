//! The local HTTP server: `/health`, `/status`, `/metrics`, `/influx`; and the status document, which the
//! `status` command also makes from the store while the agent does not run.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use daywise_core::wire::{self, UpdateState};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    backoff::Backoff,
    figures::Figures,
    health::{Health, Severity},
    logging,
    metrics::{Counter, Metrics, rss_kb},
    mqtt::Version,
    seen::Seen,
    slots::ActiveModel,
    store::Store,
};

/// The file in the state directory that names the real address.
const ADDRESS_FILE: &str = "http.addr";
/// Largest status document read back by the `status` command.
const MAX_STATUS_BYTES: u64 = 1 << 20;

/// What the status document is made of; shared by HTTP and the report to the server.
#[derive(Debug)]
pub struct Status {
    /// The gateway's name.
    pub gateway: String,
    /// The board's name.
    pub board: String,
    /// When the agent started.
    pub started: Instant,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Why the agent is not well.
    pub health: Arc<Health>,
    /// What the broker carries.
    pub seen: Arc<Seen>,
    /// Each sensor's figures.
    pub figures: Arc<Figures>,
    /// The version of MQTT spoken with the sensor broker.
    pub mqtt_version: watch::Receiver<Option<Version>>,
    /// The store.
    pub store: Arc<Store>,
    /// The model that predicts.
    pub model: watch::Receiver<Option<Arc<ActiveModel>>>,
    /// Where the update stands.
    pub update: watch::Receiver<UpdateState>,
}

impl Status {
    /// The figures that the server is told too.
    #[must_use]
    pub fn figures(&self) -> wire::Health {
        let refused = self.metrics.refused();
        let stats = self.store.stats();
        wire::Health {
            uptime_s: self.started.elapsed().as_secs(),
            rss_kb: rss_kb(),
            sensors: u32::try_from(self.metrics.get(Counter::Sensors)).unwrap_or(u32::MAX),
            accepted: self.metrics.get(Counter::Accepted),
            refused: refused.into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect(),
            outbox: stats.outbox_entries,
            store_kb: stats.bytes_on_disk / 1_024,
        }
    }

    /// The status document.
    #[must_use]
    pub fn document(&self) -> Value {
        let count = |counter| self.metrics.get(counter);
        let figures = self.figures();
        let refused: u64 = figures.refused.iter().map(|(_, n)| n).sum();
        let stats = self.store.stats();
        json!({
            "gateway": self.gateway,
            "board": self.board,
            "version": env!("CARGO_PKG_VERSION"),
            "running": true,
            "health": self.health.severity().name(),
            "uptime_s": figures.uptime_s,
            "now_ms": count(Counter::Now),
            "mqtt_protocol": self.mqtt_version.borrow().map(Version::name),
            "messages": count(Counter::Messages),
            "received": figures.accepted + refused,
            "accepted": figures.accepted,
            "late": count(Counter::Late),
            "refused": self.metrics.refused(),
            "quarantined": count(Counter::Waiting),
            "device_clocks_off": count(Counter::DeviceClocks),
            "clock_steps": count(Counter::ClockSteps),
            "sensors": count(Counter::Sensors),
            "silent": count(Counter::Silent),
            "open_days": count(Counter::OpenDays),
            "sensor_days": count(Counter::SensorDays),
            "predictions": count(Counter::Predictions),
            "commits": count(Counter::Commits),
            "outbox": figures.outbox,
            "outbox_evicted": self.store.outbox_evicted(),
            "update": *self.update.borrow(),
            "model": self.model.borrow().as_ref().map(|active| json!({
                "version": active.reference.version,
                "digest": active.reference.digest.to_string(),
            })),
            "rss_kb": figures.rss_kb,
            "store_kb": figures.store_kb,
            "store_live_kb": stats.live_bytes / 1_024,
            "evicted_chunk_days": stats.evicted_chunk_days,
            "evicted_sensor_days": stats.evicted_sensor_days,
            "damaged_records": stats.damaged,
            "seen": self.seen.document(),
            "flash": {
                "written_kb": count(Counter::FlashWritten) / 1_024,
                "kb_per_day": count(Counter::FlashPerDay) / 1_024,
                "budget_kb_per_day": count(Counter::FlashBudget) / 1_024,
                "commit_every_ms": count(Counter::CommitEvery),
            },
        })
    }
}

/// Binds the listener.
///
/// # Errors
/// The port is taken.
pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Writes the listener's real address into the state directory, for whoever asks there; again and
/// again while the disk takes no file, which is no reason not to answer those who know the address.
pub async fn tell_address(listener: TcpListener, state_dir: PathBuf) {
    let mut backoff = Backoff::default();
    let tell = || {
        let address = listener.local_addr()?.to_string();
        std::fs::write(address_file(&state_dir), address)
    };
    while let Err(error) = tell() {
        warn!(%error, "cannot write down where the local HTTP server is");
        sleep(backoff.next_delay()).await;
    }
}

/// Serves `/health` alone until `stop`, while there is nothing else to tell.
///
/// # Errors
/// The listener failed.
pub async fn serve_health(
    listener: &TcpListener,
    health: Arc<Health>,
    stop: CancellationToken,
) -> io::Result<()> {
    let answer = async |State(health): State<Arc<Health>>| said(&health);
    let routes = Router::new().route("/health", get(answer)).with_state(health);
    serve_routes(listener, routes, stop).await
}

/// Serves until `stop`.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    status: Arc<Status>,
    stop: CancellationToken,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/health", get(health))
        .route("/status", get(document))
        .route("/metrics", get(metrics))
        .route("/influx", get(influx))
        .with_state(status);
    serve_routes(&listener, routes, stop).await
}

async fn serve_routes(
    listener: &TcpListener,
    routes: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn health(State(status): State<Arc<Status>>) -> impl IntoResponse {
    said(&status.health)
}

/// 503 once the agent does not work any more; what it works through with less is 200.
fn said(health: &Health) -> (StatusCode, Json<Value>) {
    let code = match health.severity() {
        Severity::Failed => StatusCode::SERVICE_UNAVAILABLE,
        Severity::Ok | Severity::Degraded => StatusCode::OK,
    };
    (code, Json(health.document()))
}

async fn document(State(status): State<Arc<Status>>) -> Json<Value> {
    Json(status.document())
}

async fn metrics(State(status): State<Arc<Status>>) -> impl IntoResponse {
    let stats = status.store.stats();
    status.metrics.set(Counter::Outbox, stats.outbox_entries);
    status.metrics.set(Counter::OutboxBytes, stats.outbox_bytes);
    status.metrics.set(Counter::OutboxEvicted, stats.outbox_evicted);
    status.metrics.set(Counter::LogSuppressed, logging::suppressed());
    status.metrics.set(Counter::StoreBytes, stats.bytes_on_disk);
    status.metrics.set(Counter::StoreLiveBytes, stats.live_bytes);
    status.metrics.set(Counter::EvictedChunkDays, stats.evicted_chunk_days);
    status.metrics.set(Counter::EvictedSensorDays, stats.evicted_sensor_days);
    status.metrics.set(Counter::DamagedRecords, stats.damaged);
    let text = status.metrics.to_prometheus()
        + &status.health.to_prometheus()
        + &status.figures.to_prometheus(&status.gateway);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// The sensors' figures of `/metrics`, for who collects in line protocol.
async fn influx(State(status): State<Arc<Status>>) -> impl IntoResponse {
    let text = status.figures.to_influx(&status.gateway);
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text)
}

fn address_file(state_dir: &Path) -> PathBuf {
    state_dir.join(ADDRESS_FILE)
}

/// Asks a running agent for its status document; `None` if none answers.
#[must_use]
pub fn ask_running(state_dir: &Path) -> Option<Value> {
    let address: SocketAddr =
        std::fs::read_to_string(address_file(state_dir)).ok()?.trim().parse().ok()?;
    let timeout = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    let request = format!("GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.take(MAX_STATUS_BYTES).read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok()).flatten()
}
