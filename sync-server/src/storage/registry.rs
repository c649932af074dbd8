//! The model registry: every version with its lineage, and which one is the champion.
//!
//! The champion is what gateways are offered. A version that did not pass the gates is kept as
//! refused, with the reason, and can never become champion.

use daywise_core::{
    model::Digest,
    time::{LocalDate, UtcMillis},
    wire::ModelRef,
};
use serde::Serialize;
use serde_json::Value;
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};

use super::{Doing as _, Storage, StorageError};

/// Versions kept, the newest first; the champion and its parent stay in any case. Trained once
/// a day, that is nearly three years.
const MAX_MODELS: i64 = 1_000;

/// A version to enter into the registry.
#[derive(Clone, Debug)]
pub struct NewModel {
    /// Its version.
    pub version: u32,
    /// Its address.
    pub digest: Digest,
    /// The version that it continues.
    pub parent: Option<u32>,
    /// When it was trained.
    pub created: UtcMillis,
    /// Why it may not be offered; `None` if it passed the gates.
    pub refusal: Option<String>,
    /// The training window's first date.
    pub from: LocalDate,
    /// The training window's last date.
    pub to: LocalDate,
    /// Sensor-days trained on.
    pub sensor_days: u64,
    /// Over all trained families.
    pub inertia: f64,
    /// The training's report by family.
    pub families: Value,
    /// The newest arrival that it has seen.
    pub arrival: i64,
    /// Its bytes; empty if it could not even be written.
    pub artifact: Vec<u8>,
}

/// A version in the registry, without its bytes.
#[derive(Clone, Debug, Serialize)]
pub struct StoredModel {
    /// Its version.
    pub version: i64,
    /// `champion`, `candidate` or `refused`.
    pub status: &'static str,
    /// Its address, in hexadecimal.
    pub digest: String,
    /// The version that it continues.
    pub parent: Option<i64>,
    /// When it was trained.
    pub created: String,
    /// Why it may not be offered.
    pub refusal: Option<String>,
    /// The training window's first date.
    pub window_from: String,
    /// The training window's last date.
    pub window_to: String,
    /// Sensor-days trained on.
    pub sensor_days: i64,
    /// Over all trained families.
    pub inertia: f64,
    /// The artifact's size.
    pub artifact_bytes: i64,
    /// The training's report by family.
    pub families: Value,
}

/// The version that gateways are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Champion {
    /// What a gateway is told of it.
    pub model: ModelRef,
    /// The version that it continues.
    pub parent: Option<u32>,
    /// Its bytes.
    pub artifact: Vec<u8>,
}

/// Why the champion does not change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is no such version.
    #[error("there is no model version {0}")]
    Unknown(u32),
    /// It did not pass the gates.
    #[error("model version {version} was refused: {reason}")]
    Refused {
        /// Which.
        version: u32,
        /// Why.
        reason: String,
    },
    /// There is nothing to go back to.
    #[error("there is no champion with an earlier version to go back to")]
    NothingEarlier,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

const COLUMNS: &str = "SELECT models.version AS version, digest, parent, created_ms, refusal, \
     window_from, window_to, sensor_days, inertia, families, LENGTH(artifact) AS artifact_bytes, \
     aliases.version AS champion FROM models \
     LEFT JOIN aliases ON aliases.alias = 'champion'";

impl Storage {
    /// Enters a version; one that was not refused becomes champion in the same transaction.
    ///
    /// # Errors
    /// The database cannot be written, or has that version already.
    pub async fn enter_model(&self, new: &NewModel) -> Result<(), StorageError> {
        let doing = "enter a model version";
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO models (version, digest, parent, created_ms, refusal, window_from, \
             window_to, sensor_days, inertia, families, arrival, artifact) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(i64::from(new.version))
        .bind(new.digest.to_string())
        .bind(new.parent.map(i64::from))
        .bind(new.created.0)
        .bind(&new.refusal)
        .bind(i64::from(new.from.0))
        .bind(i64::from(new.to.0))
        .bind(i64::try_from(new.sensor_days).unwrap_or(i64::MAX))
        .bind(new.inertia)
        .bind(new.families.to_string())
        .bind(new.arrival)
        .bind(&new.artifact)
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        if new.refusal.is_none() {
            crown(&mut tx, new.version).await?;
        }
        sqlx::query(
            "DELETE FROM models WHERE version <= $1 AND version NOT IN \
             (SELECT version FROM aliases) AND version NOT IN \
             (SELECT COALESCE(parent, 0) FROM models WHERE version IN \
              (SELECT version FROM aliases))",
        )
        .bind(i64::from(new.version) - MAX_MODELS)
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// The version that the next training gets: one above all there ever were.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn next_version(&self) -> Result<u32, StorageError> {
        let doing = "read the newest model version";
        let newest = self.number("SELECT COALESCE(MAX(version), 0) FROM models", doing).await?;
        Ok(u32::try_from(newest).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// The newest arrival that any training has seen; 0 before the first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn trained_arrival(&self) -> Result<i64, StorageError> {
        let doing = "read what was trained on";
        self.number("SELECT COALESCE(MAX(arrival), 0) FROM models", doing).await
    }

    /// How many versions there are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn count_models(&self) -> Result<i64, StorageError> {
        self.number("SELECT COUNT(*) FROM models", "count models").await
    }

    /// Every version, the oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn models(&self) -> Result<Vec<StoredModel>, StorageError> {
        let rows = sqlx::query(&format!("{COLUMNS} ORDER BY models.version"))
            .fetch_all(&self.pool)
            .await
            .doing("read models")?;
        rows.iter().map(stored_model).collect()
    }

    /// One version.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn model(&self, version: u32) -> Result<Option<StoredModel>, StorageError> {
        let row = sqlx::query(&format!("{COLUMNS} WHERE models.version = $1"))
            .bind(i64::from(version))
            .fetch_optional(&self.pool)
            .await
            .doing("read a model")?;
        row.as_ref().map(stored_model).transpose()
    }

    /// The digests of the newest `limit` versions, in hexadecimal.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn digests(&self, limit: u32) -> Result<Vec<String>, StorageError> {
        let doing = "read digests";
        let rows = sqlx::query("SELECT digest FROM models ORDER BY version DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .doing(doing)?;
        rows.iter().map(|row| row.try_get("digest").doing(doing)).collect()
    }

    /// Which version is the champion, without its bytes: cheap enough to ask twice a second.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn champion_version(&self) -> Result<Option<u32>, StorageError> {
        let doing = "read the champion's version";
        let query = "SELECT COALESCE(MAX(version), 0) FROM aliases WHERE alias = 'champion'";
        let version = self.number(query, doing).await?;
        Ok(u32::try_from(version).ok().filter(|version| *version > 0))
    }

    /// The champion with its bytes.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn champion(&self) -> Result<Option<Champion>, StorageError> {
        let Some(version) = self.champion_version().await? else { return Ok(None) };
        self.offered(version).await
    }

    /// A version as gateways are offered it; `None` if there is none or its bytes are unusable.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn offered(&self, version: u32) -> Result<Option<Champion>, StorageError> {
        let doing = "read a model's artifact";
        let row = sqlx::query("SELECT parent, artifact FROM models WHERE version = $1")
            .bind(i64::from(version))
            .fetch_optional(&self.pool)
            .await
            .doing(doing)?;
        let Some(row) = row else { return Ok(None) };
        let artifact: Vec<u8> = row.try_get("artifact").doing(doing)?;
        let parent: Option<i64> = row.try_get("parent").doing(doing)?;
        // The address comes from the bytes themselves, so a damaged row is never offered.
        let Ok((_, digest)) = daywise_core::model::decode(&artifact) else { return Ok(None) };
        let bytes = u32::try_from(artifact.len()).unwrap_or(u32::MAX);
        let parent = parent.and_then(|parent| u32::try_from(parent).ok());
        let model = ModelRef { version, digest, bytes };
        Ok(Some(Champion { model, parent, artifact }))
    }

    /// Makes `version` the champion.
    ///
    /// # Errors
    /// There is no such version, it was refused, or the database failed.
    pub async fn promote(&self, version: u32) -> Result<(), RegistryError> {
        let doing = "promote a model version";
        let mut tx = self.begin().await?;
        let row = sqlx::query("SELECT refusal FROM models WHERE version = $1")
            .bind(i64::from(version))
            .fetch_optional(&mut *tx)
            .await
            .doing(doing)?
            .ok_or(RegistryError::Unknown(version))?;
        if let Some(reason) = row.try_get::<Option<String>, _>("refusal").doing(doing)? {
            return Err(RegistryError::Refused { version, reason });
        }
        crown(&mut tx, version).await?;
        tx.commit().await.doing(doing)?;
        Ok(())
    }

    /// Makes the champion's parent the champion; returns its version.
    ///
    /// # Errors
    /// There is no earlier version, or the database failed.
    pub async fn roll_back(&self) -> Result<u32, RegistryError> {
        let version = self.champion_version().await?.ok_or(RegistryError::NothingEarlier)?;
        let champion = self.model(version).await?.ok_or(RegistryError::NothingEarlier)?;
        let parent = champion.parent.and_then(|parent| u32::try_from(parent).ok());
        let parent = parent.ok_or(RegistryError::NothingEarlier)?;
        self.promote(parent).await?;
        Ok(parent)
    }
}

async fn crown(tx: &mut Transaction<'_, Sqlite>, version: u32) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO aliases (alias, version) VALUES ('champion', $1) \
         ON CONFLICT (alias) DO UPDATE SET version = excluded.version",
    )
    .bind(i64::from(version))
    .execute(&mut **tx)
    .await
    .doing("write the champion")?;
    Ok(())
}

fn stored_model(row: &SqliteRow) -> Result<StoredModel, StorageError> {
    let doing = "read a model";
    let number = |column| row.try_get::<i64, _>(column).doing(doing);
    let date = |column| {
        number(column).map(|days| LocalDate(i32::try_from(days).unwrap_or(i32::MAX)).to_string())
    };
    let version = number("version")?;
    let refusal: Option<String> = row.try_get("refusal").doing(doing)?;
    let champion: Option<i64> = row.try_get("champion").doing(doing)?;
    let families: String = row.try_get("families").doing(doing)?;
    let status = if refusal.is_some() {
        "refused"
    } else if champion == Some(version) {
        "champion"
    } else {
        "candidate"
    };
    Ok(StoredModel {
        version,
        status,
        digest: row.try_get("digest").doing(doing)?,
        parent: row.try_get("parent").doing(doing)?,
        created: UtcMillis(number("created_ms")?).to_string(),
        refusal,
        window_from: date("window_from")?,
        window_to: date("window_to")?,
        sensor_days: number("sensor_days")?,
        inertia: row.try_get("inertia").doing(doing)?,
        artifact_bytes: number("artifact_bytes")?,
        families: serde_json::from_str(&families).unwrap_or(Value::Null),
    })
}

impl StoredModel {
    /// Leaves the long parts of the report out, for lists.
    pub fn shorten(&mut self) {
        for family in self.families.as_array_mut().into_iter().flatten() {
            if let Value::Object(family) = family {
                family.remove("scale");
                family.remove("clusters");
            }
        }
    }
}
