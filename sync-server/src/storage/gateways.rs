//! Gateways: when they were seen, what they last reported, and what they are to be.

use daywise_core::{
    time::UtcMillis,
    wire::{ModelRef, Reported},
};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};

use super::{Doing as _, Storage, StorageError};

/// Gateways that one server takes on. A new name beyond it is refused, so that a client that
/// invents names cannot fill the database.
const MAX_GATEWAYS: i64 = 10_000;

/// A gateway as the database knows it.
#[derive(Clone, Debug, Serialize)]
pub struct Gateway {
    /// Its name.
    pub gateway: String,
    /// When it was first heard of.
    pub first_seen: String,
    /// When it was last heard of.
    pub last_seen: String,
    /// The same in milliseconds since 1970.
    pub last_seen_ms: i64,
    /// The generation of its desired state.
    pub generation: i64,
    /// The model version it is to run.
    pub desired_version: Option<i64>,
    /// Its last report.
    pub reported: Option<Value>,
}

/// The desired state of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayDesired {
    /// Its name.
    pub gateway: String,
    /// Only goes up.
    pub generation: u64,
}

impl Storage {
    /// Keeps what a gateway reported; whether its desired state must be sent again.
    ///
    /// A gateway that acted on a higher generation than this database knows has met an earlier
    /// life of the server. It would ignore everything lower, so the generation moves past it.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn record_reported(
        &self,
        gateway: &str,
        reported: &Reported,
        now: UtcMillis,
    ) -> Result<bool, StorageError> {
        let doing = "write a gateway's report";
        let mut tx = self.begin().await?;
        let is_new = saw(&mut tx, gateway, now).await?;
        sqlx::query("UPDATE gateways SET reported = $2, reported_ms = $3 WHERE gateway = $1")
            .bind(gateway)
            .bind(reported_json(reported).to_string())
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        let acted_on = i64::try_from(reported.generation).unwrap_or(i64::MAX - 1);
        let moved = sqlx::query(
            "UPDATE gateways SET generation = $2 WHERE gateway = $1 AND generation < $3",
        )
        .bind(gateway)
        .bind(acted_on.saturating_add(1))
        .bind(acted_on)
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok(is_new || moved.rows_affected() > 0)
    }

    /// Makes `version` the desired model of every gateway; those for which it is another one go
    /// up by a generation.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn desire(&self, version: Option<u32>) -> Result<(), StorageError> {
        let Some(version) = version else { return Ok(()) };
        sqlx::query(
            "UPDATE gateways SET generation = generation + 1, desired_version = $1 \
             WHERE desired_version IS NULL OR desired_version <> $1",
        )
        .bind(i64::from(version))
        .execute(&self.pool)
        .await
        .doing("write the desired model")?;
        Ok(())
    }

    /// The desired state of every gateway, or of one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn desired(
        &self,
        gateway: Option<&str>,
    ) -> Result<Vec<GatewayDesired>, StorageError> {
        let doing = "read desired states";
        let rows = sqlx::query(
            "SELECT gateway, generation FROM gateways WHERE $1 IS NULL OR gateway = $1 \
             ORDER BY gateway",
        )
        .bind(gateway)
        .fetch_all(&self.pool)
        .await
        .doing(doing)?;
        rows.iter()
            .map(|row| {
                let generation: i64 = row.try_get("generation").doing(doing)?;
                let gateway = row.try_get("gateway").doing(doing)?;
                Ok(GatewayDesired { gateway, generation: u64::try_from(generation).unwrap_or(0) })
            })
            .collect()
    }

    /// How many gateways there are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn count_gateways(&self) -> Result<i64, StorageError> {
        self.number("SELECT COUNT(*) FROM gateways", "count gateways").await
    }

    /// Every gateway, by name; there are at most ten thousand.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn gateways(&self) -> Result<Vec<Gateway>, StorageError> {
        let rows = sqlx::query(
            "SELECT gateway, first_seen_ms, last_seen_ms, generation, desired_version, reported \
             FROM gateways ORDER BY gateway",
        )
        .fetch_all(&self.pool)
        .await
        .doing("read gateways")?;
        rows.iter().map(gateway).collect()
    }
}

/// Notes that a gateway was heard of; whether for the first time.
pub(super) async fn saw(
    tx: &mut Transaction<'_, Sqlite>,
    gateway: &str,
    now: UtcMillis,
) -> Result<bool, StorageError> {
    let doing = "note a gateway";
    let known = sqlx::query("UPDATE gateways SET last_seen_ms = $2 WHERE gateway = $1")
        .bind(gateway)
        .bind(now.0)
        .execute(&mut **tx)
        .await
        .doing(doing)?;
    if known.rows_affected() > 0 {
        return Ok(false);
    }
    let row =
        sqlx::query("SELECT COUNT(*) FROM gateways").fetch_one(&mut **tx).await.doing(doing)?;
    if row.try_get::<i64, _>(0).doing(doing)? >= MAX_GATEWAYS {
        let gateway = gateway.to_owned();
        return Err(StorageError::TooManyGateways { limit: MAX_GATEWAYS, gateway });
    }
    sqlx::query(
        "INSERT INTO gateways (gateway, first_seen_ms, last_seen_ms, generation) \
         VALUES ($1, $2, $2, 1)",
    )
    .bind(gateway)
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .doing(doing)?;
    Ok(true)
}

fn gateway(row: &SqliteRow) -> Result<Gateway, StorageError> {
    let doing = "read a gateway";
    let last_seen_ms: i64 = row.try_get("last_seen_ms").doing(doing)?;
    let first_seen_ms: i64 = row.try_get("first_seen_ms").doing(doing)?;
    let reported: Option<String> = row.try_get("reported").doing(doing)?;
    Ok(Gateway {
        gateway: row.try_get("gateway").doing(doing)?,
        first_seen: UtcMillis(first_seen_ms).to_string(),
        last_seen: UtcMillis(last_seen_ms).to_string(),
        last_seen_ms,
        generation: row.try_get("generation").doing(doing)?,
        desired_version: row.try_get("desired_version").doing(doing)?,
        reported: reported.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

/// A report as people read it: digests in hexadecimal, refusals by name.
fn reported_json(reported: &Reported) -> Value {
    let model = |model: &Option<ModelRef>| {
        model.map(|model| {
            json!({
                "version": model.version,
                "digest": model.digest.to_string(),
                "bytes": model.bytes,
            })
        })
    };
    let health = &reported.health;
    let refused: serde_json::Map<String, Value> =
        health.refused.iter().map(|(reason, count)| (reason.clone(), json!(count))).collect();
    json!({
        "online": reported.online,
        "agent_version": reported.agent_version,
        "board": reported.board,
        "generation": reported.generation,
        "active": model(&reported.active),
        "spare": model(&reported.spare),
        "update": reported.update,
        "health": {
            "uptime_s": health.uptime_s,
            "rss_kb": health.rss_kb,
            "sensors": health.sensors,
            "accepted": health.accepted,
            "refused": refused,
            "outbox": health.outbox,
            "store_kb": health.store_kb,
        },
    })
}
