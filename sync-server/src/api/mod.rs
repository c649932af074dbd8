//! The HTTP API. HTTP types stop here.
//!
//! Every list is bounded. What a client is told is the error's own chain: it names no path or
//! query of the server's beyond what the operator configured.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::error;

use crate::{
    chain, clock,
    cluster_mix::{self, FamilyMix},
    intake::Counters,
    session::Publisher,
    storage::{Gateway, Storage, StorageError, StoredDay, StoredSilence},
    topics::GatewayName,
    trainer::{TrainingError, Trainings},
};

/// Sensor-days or silences in an answer unless asked otherwise, and the most.
const DEFAULT_LIMIT: u32 = 10_000;
const MAX_LIMIT: u32 = 100_000;

/// What the handlers work with.
#[derive(Clone)]
pub struct Api {
    /// The database.
    pub storage: Storage,
    /// To train on request.
    pub trainings: Trainings,
    /// To say whether there is a broker.
    pub publisher: Publisher,
    /// What the intake did.
    pub counters: Arc<Counters>,
}

/// The routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/api/v1/status", get(status))
        .route("/api/v1/models", get(models))
        .route("/api/v1/models/{version}", get(model))
        .route("/api/v1/gateways", get(gateways))
        .route("/api/v1/sensor-days", get(sensor_days))
        .route("/api/v1/silences", get(silences))
        .route("/api/v1/train", post(train))
        .with_state(api)
}

/// What a client is told when it does not get what it asked for.
struct Failure {
    status: StatusCode,
    reason: String,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.reason }))).into_response()
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        error!(error = chain(&error), "cannot answer a request");
        let reason = "the database failed; the server's log says why".into();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, reason }
    }
}

impl From<TrainingError> for Failure {
    fn from(error: TrainingError) -> Self {
        let status = match error {
            TrainingError::Storage(error) => return error.into(),
            TrainingError::Busy | TrainingError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            TrainingError::Broke(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::CONFLICT,
        };
        Self { status, reason: chain(&error) }
    }
}

async fn health(State(api): State<Api>) -> Response {
    let broker = api.publisher.is_connected();
    let database = api.storage.count_models().await.is_ok();
    let status = if broker && database { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if status == StatusCode::OK { "ok" } else { "degraded" };
    let body = json!({ "status": word, "broker": broker, "database": database });
    (status, Json(body)).into_response()
}

async fn status(State(api): State<Api>) -> Result<Json<Value>, Failure> {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &api.counters;
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "gateways": api.storage.count_gateways().await?,
        "sensor_days": api.storage.count_sensor_days().await?,
        "silences": api.storage.count_silences().await?,
        "models": api.storage.count_models().await?,
        "champion": api.storage.champion_version().await?,
        "broker_connected": api.publisher.is_connected(),
        "intake": {
            "ups": count(&counters.ups),
            "changed": count(&counters.changed),
            "unchanged": count(&counters.unchanged),
            "refused_days": count(&counters.refused_days),
            "changed_silences": count(&counters.changed_silences),
            "unchanged_silences": count(&counters.unchanged_silences),
            "refused_silences": count(&counters.refused_silences),
            "foreign": count(&counters.foreign),
            "malformed": count(&counters.malformed),
            "too_new": count(&counters.too_new),
            "failed": count(&counters.failed),
        },
    })))
}

async fn models(State(api): State<Api>) -> Result<Response, Failure> {
    let mut models = api.storage.models().await?;
    for model in &mut models {
        model.shorten();
    }
    Ok(Json(models).into_response())
}

async fn model(State(api): State<Api>, Path(version): Path<u32>) -> Result<Response, Failure> {
    match api.storage.model(version).await? {
        Some(model) => Ok(Json(model).into_response()),
        None => {
            let reason = format!("there is no model version {version}");
            Err(Failure { status: StatusCode::NOT_FOUND, reason })
        }
    }
}

/// A gateway, and how its days fall into the clusters.
#[derive(Serialize)]
struct GatewayShown {
    #[serde(flatten)]
    gateway: Gateway,
    cluster_mix: Vec<FamilyMix>,
}

async fn gateways(State(api): State<Api>) -> Result<Json<Vec<GatewayShown>>, Failure> {
    let gateways = api.storage.gateways().await?;
    let names: Vec<&str> = gateways.iter().map(|gateway| gateway.gateway.as_str()).collect();
    let mut mixes = cluster_mix::of_gateways(&api.storage, &names, clock::now()).await?;
    let shown = gateways.into_iter().map(|gateway| {
        let cluster_mix = mixes.remove(&gateway.gateway).unwrap_or_default();
        GatewayShown { gateway, cluster_mix }
    });
    Ok(Json(shown.collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    gateway: Option<String>,
    limit: Option<u32>,
    offset: Option<u32>,
}

impl Page {
    /// Gateway, limit and offset, checked.
    fn parts(&self) -> Result<(Option<&str>, u32, u32), Failure> {
        let gateway = self.gateway.as_deref();
        if let Some(Err(error)) = gateway.map(str::parse::<GatewayName>) {
            return Err(Failure { status: StatusCode::BAD_REQUEST, reason: error.to_string() });
        }
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        Ok((gateway, limit, self.offset.unwrap_or(0)))
    }
}

async fn sensor_days(
    State(api): State<Api>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<StoredDay>>, Failure> {
    let (gateway, limit, offset) = page.parts()?;
    Ok(Json(api.storage.sensor_days(gateway, limit, offset).await?))
}

async fn silences(
    State(api): State<Api>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<StoredSilence>>, Failure> {
    let (gateway, limit, offset) = page.parts()?;
    Ok(Json(api.storage.silences(gateway, limit, offset).await?))
}

async fn train(State(api): State<Api>) -> Result<Response, Failure> {
    Ok(Json(api.trainings.train().await?).into_response())
}
