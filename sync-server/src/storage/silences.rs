//! Silences: one row per gateway, sensor and last reading before it.
//!
//! A silence is heard of twice, when it begins and when it ends, in either order; what says more
//! wins, which is the one that knows the end.

use daywise_core::{quantity::Quantity, time::UtcMillis, wire::Silence};
use serde::Serialize;
use serde_json::json;
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};

use super::{Doing as _, MAX_SENSOR_BYTES, Storage, StorageError};

/// Silences kept of one gateway; the oldest go first. A sensor that fails every night fills a
/// hundredth of it in three months.
const MAX_SILENCES: i64 = 10_000;

/// A silence as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSilence {
    /// Whose.
    pub gateway: String,
    /// The silence.
    pub silence: Silence,
}

impl Storage {
    /// How many silences there are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn count_silences(&self) -> Result<i64, StorageError> {
        self.number("SELECT COUNT(*) FROM silences", "count silences").await
    }

    /// Silences of one gateway or of all, by beginning, gateway and sensor.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn silences(
        &self,
        gateway: Option<&str>,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<StoredSilence>, StorageError> {
        let rows = sqlx::query(
            "SELECT gateway, sensor, since_ms, quantity, until_ms, expected_every_ms \
             FROM silences WHERE $1 IS NULL OR gateway = $1 \
             ORDER BY since_ms, gateway, sensor LIMIT $2 OFFSET $3",
        )
        .bind(gateway)
        .bind(i64::from(limit))
        .bind(i64::from(offset))
        .fetch_all(&self.pool)
        .await
        .doing("read silences")?;
        rows.iter().map(stored).collect()
    }
}

pub(super) fn is_possible(silence: &Silence) -> bool {
    !silence.sensor.is_empty()
        && silence.sensor.len() <= MAX_SENSOR_BYTES
        && silence.expected_every_ms > 0
        && silence.until.is_none_or(|until| until >= silence.since)
}

/// Inserts the silence, or its end; whether it did either.
pub(super) async fn upsert(
    tx: &mut Transaction<'_, Sqlite>,
    gateway: &str,
    silence: &Silence,
) -> Result<bool, StorageError> {
    let done = sqlx::query(
        "INSERT INTO silences (gateway, sensor, since_ms, quantity, until_ms, expected_every_ms) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (gateway, sensor, since_ms) DO UPDATE SET quantity = excluded.quantity, \
         until_ms = excluded.until_ms, expected_every_ms = excluded.expected_every_ms \
         WHERE excluded.until_ms IS NOT NULL \
         AND (silences.until_ms IS NULL OR excluded.until_ms > silences.until_ms)",
    )
    .bind(gateway)
    .bind(&silence.sensor)
    .bind(silence.since.0)
    .bind(i64::from(silence.quantity as u8))
    .bind(silence.until.map(|until| until.0))
    .bind(silence.expected_every_ms)
    .execute(&mut **tx)
    .await
    .doing("write a silence")?;
    Ok(done.rows_affected() > 0)
}

/// Forgets a gateway's oldest silences beyond the bound.
pub(super) async fn prune(
    tx: &mut Transaction<'_, Sqlite>,
    gateway: &str,
) -> Result<(), StorageError> {
    sqlx::query(
        "DELETE FROM silences WHERE gateway = $1 AND (since_ms, sensor) < \
         (SELECT since_ms, sensor FROM silences WHERE gateway = $1 \
         ORDER BY since_ms DESC, sensor DESC LIMIT 1 OFFSET $2)",
    )
    .bind(gateway)
    .bind(MAX_SILENCES - 1)
    .execute(&mut **tx)
    .await
    .doing("forget old silences")?;
    Ok(())
}

fn stored(row: &SqliteRow) -> Result<StoredSilence, StorageError> {
    let doing = "read a silence";
    let number = |column| row.try_get::<i64, _>(column).doing(doing);
    let until: Option<i64> = row.try_get("until_ms").doing(doing)?;
    let quantity = u8::try_from(number("quantity")?).ok().and_then(Quantity::from_code);
    let silence = Silence {
        sensor: row.try_get("sensor").doing(doing)?,
        quantity: quantity.unwrap_or_default(),
        since: UtcMillis(number("since_ms")?),
        until: until.map(UtcMillis),
        expected_every_ms: number("expected_every_ms")?,
    };
    Ok(StoredSilence { gateway: row.try_get("gateway").doing(doing)?, silence })
}

impl Serialize for StoredSilence {
    /// As the HTTP API shows it: instants for people and for programs.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let silence = &self.silence;
        json!({
            "gateway": self.gateway,
            "sensor": silence.sensor,
            "quantity": silence.quantity,
            "since": silence.since.to_string(),
            "since_ms": silence.since.0,
            "until": silence.until.map(|until| until.to_string()),
            "until_ms": silence.until.map(|until| until.0),
            "expected_every_ms": silence.expected_every_ms,
        })
        .serialize(serializer)
    }
}
