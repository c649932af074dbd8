//! Sensor-days: one row per gateway, sensor and date, the highest revision.

use daywise_core::{
    baseline::{Drift, Reason},
    features::{FeatureSet, Features},
    predict::Prediction,
    quantity::Quantity,
    time::{DAY_MS, LocalDate, UtcMillis},
    wire::SensorDay,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};

use super::{Doing as _, MAX_SENSOR_BYTES, Storage, StorageError, record};

/// A date further ahead of the server's clock than this comes from a gateway whose clock is
/// wrong; it must not lead into a future where nobody else has days.
const MAX_AHEAD_DAYS: i32 = 2;

/// Revisions go up; what is not a higher one changes nothing.
const UPSERT: &str = "INSERT INTO sensor_days (gateway, sensor, date, quantity, revision, samples, \
     coverage, features, prediction, deviation, arrival, score, reasons, drift, feature_set, \
     model_version, cluster) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
     ON CONFLICT (gateway, sensor, date) DO UPDATE SET quantity = excluded.quantity, \
     revision = excluded.revision, samples = excluded.samples, coverage = excluded.coverage, \
     features = excluded.features, prediction = excluded.prediction, \
     deviation = excluded.deviation, arrival = excluded.arrival, score = excluded.score, \
     reasons = excluded.reasons, drift = excluded.drift, feature_set = excluded.feature_set, \
     model_version = excluded.model_version, cluster = excluded.cluster \
     WHERE excluded.revision > sensor_days.revision";

/// A sensor-day as the database has it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDay {
    /// Whose.
    pub gateway: String,
    /// The day.
    pub day: SensorDay,
}

impl Storage {
    /// How many sensor-days there are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn count_sensor_days(&self) -> Result<i64, StorageError> {
        self.number("SELECT COUNT(*) FROM sensor_days", "count sensor-days").await
    }

    /// The number of the newest arrival; 0 before the first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn newest_arrival(&self) -> Result<i64, StorageError> {
        self.number("SELECT COALESCE(MAX(arrival), 0) FROM sensor_days", "read the newest arrival")
            .await
    }

    /// How many sensor-days with features arrived after `arrival`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn arrived_since(&self, arrival: i64) -> Result<i64, StorageError> {
        let doing = "count new sensor-days";
        let row = sqlx::query(
            "SELECT COUNT(*) FROM sensor_days WHERE arrival > $1 AND features IS NOT NULL",
        )
        .bind(arrival)
        .fetch_one(&self.pool)
        .await
        .doing(doing)?;
        row.try_get(0).doing(doing)
    }

    /// The newest date up to `horizon` that has features.
    pub(super) async fn newest_date(
        &self,
        horizon: LocalDate,
    ) -> Result<Option<LocalDate>, StorageError> {
        let doing = "read the newest date";
        let row = sqlx::query(
            "SELECT MAX(date) FROM sensor_days WHERE date <= $1 AND features IS NOT NULL",
        )
        .bind(i64::from(horizon.0))
        .fetch_one(&self.pool)
        .await
        .doing(doing)?;
        let date: Option<i64> = row.try_get(0).doing(doing)?;
        Ok(date.and_then(|date| i32::try_from(date).ok()).map(LocalDate))
    }

    /// The newest date with features that is no wrong clock's. If all lie ahead of `now`, it is the
    /// server's clock that is wrong, or a replay: then simply the newest.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn last_date(&self, now: UtcMillis) -> Result<Option<LocalDate>, StorageError> {
        let today = i32::try_from(now.0.div_euclid(DAY_MS)).unwrap_or(i32::MAX);
        match self.newest_date(LocalDate(today).plus_days(MAX_AHEAD_DAYS)).await? {
            Some(date) => Ok(Some(date)),
            None => self.newest_date(LocalDate(i32::MAX)).await,
        }
    }

    /// Features of the days from `from` to `to`, the newest `limit` of them, always in the same
    /// order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn features(
        &self,
        from: LocalDate,
        to: LocalDate,
        limit: u32,
    ) -> Result<Vec<(Quantity, Features)>, StorageError> {
        let doing = "read features";
        let rows = sqlx::query(
            "SELECT quantity, features FROM sensor_days \
             WHERE date >= $1 AND date <= $2 AND features IS NOT NULL \
             ORDER BY date DESC, gateway, sensor LIMIT $3",
        )
        .bind(i64::from(from.0))
        .bind(i64::from(to.0))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .doing(doing)?;
        let mut features = Vec::with_capacity(rows.len());
        for row in rows {
            let bytes: Vec<u8> = row.try_get("features").doing(doing)?;
            features.push((quantity(&row)?, record::decode(&bytes).doing(doing)?));
        }
        Ok(features)
    }

    /// Sensor-days of one gateway or of all, by date, gateway and sensor.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn sensor_days(
        &self,
        gateway: Option<&str>,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<StoredDay>, StorageError> {
        let rows = sqlx::query(
            "SELECT gateway, sensor, date, quantity, revision, samples, coverage, features, \
             prediction, deviation, score, reasons, drift FROM sensor_days \
             WHERE $1 IS NULL OR gateway = $1 ORDER BY date, gateway, sensor LIMIT $2 OFFSET $3",
        )
        .bind(gateway)
        .bind(i64::from(limit))
        .bind(i64::from(offset))
        .fetch_all(&self.pool)
        .await
        .doing("read sensor-days")?;
        rows.iter().map(stored_day).collect()
    }
}

pub(super) fn is_possible(day: &SensorDay) -> bool {
    !day.sensor.is_empty()
        && day.sensor.len() <= MAX_SENSOR_BYTES
        && day.coverage.is_finite()
        && day.deviation.is_none_or(f32::is_finite)
        && day.score.is_none_or(f32::is_finite)
        && day.reasons.iter().all(|reason| {
            [reason.deviate, reason.value, reason.usual].into_iter().all(f32::is_finite)
        })
        && day.drift.is_none_or(|drift| drift.drift.is_finite() && drift.per_day.is_finite())
}

pub(super) async fn newest_arrival(tx: &mut Transaction<'_, Sqlite>) -> Result<i64, StorageError> {
    let doing = "read the newest arrival";
    let row = sqlx::query("SELECT COALESCE(MAX(arrival), 0) FROM sensor_days")
        .fetch_one(&mut **tx)
        .await
        .doing(doing)?;
    row.try_get(0).doing(doing)
}

/// Inserts the day or replaces one of a lower revision; whether it did either.
pub(super) async fn upsert(
    tx: &mut Transaction<'_, Sqlite>,
    gateway: &str,
    day: &SensorDay,
    arrival: i64,
) -> Result<bool, StorageError> {
    let doing = "write a sensor-day";
    let features = day.features.as_ref().map(record::encode).transpose().doing(doing)?;
    let prediction = day.prediction.as_ref().map(record::encode).transpose().doing(doing)?;
    let reasons = (!day.reasons.is_empty()).then(|| record::encode(&day.reasons));
    let reasons = reasons.transpose().doing(doing)?;
    let drift = day.drift.as_ref().map(record::encode).transpose().doing(doing)?;
    // Beside the bytes, to be counted by.
    let counted = day.prediction.as_ref().zip(day.features.as_ref());
    let done = sqlx::query(UPSERT)
        .bind(gateway)
        .bind(&day.sensor)
        .bind(i64::from(day.date.0))
        .bind(i64::from(day.quantity as u8))
        .bind(i64::from(day.revision))
        .bind(i64::from(day.samples))
        .bind(f64::from(day.coverage))
        .bind(features)
        .bind(prediction)
        .bind(day.deviation.map(f64::from))
        .bind(arrival)
        .bind(day.score.map(f64::from))
        .bind(reasons)
        .bind(drift)
        .bind(counted.map(|(_, features)| features.set().name()))
        .bind(counted.map(|(prediction, _)| i64::from(prediction.model_version)))
        .bind(counted.map(|(prediction, _)| i64::from(prediction.cluster)))
        .execute(&mut **tx)
        .await
        .doing(doing)?;
    Ok(done.rows_affected() > 0)
}

pub(super) fn quantity(row: &SqliteRow) -> Result<Quantity, StorageError> {
    let code: i64 = row.try_get("quantity").doing("read a quantity")?;
    Ok(u8::try_from(code).ok().and_then(Quantity::from_code).unwrap_or_default())
}

fn stored_day(row: &SqliteRow) -> Result<StoredDay, StorageError> {
    let doing = "read a sensor-day";
    let number = |column| row.try_get::<i64, _>(column).doing(doing);
    let count = |column| number(column).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let features: Option<Vec<u8>> = row.try_get("features").doing(doing)?;
    let prediction: Option<Vec<u8>> = row.try_get("prediction").doing(doing)?;
    let reasons: Option<Vec<u8>> = row.try_get("reasons").doing(doing)?;
    let drift: Option<Vec<u8>> = row.try_get("drift").doing(doing)?;
    #[expect(clippy::cast_possible_truncation, reason = "was an f32 when it was stored")]
    let single = |value: f64| value as f32;
    let day = SensorDay {
        sensor: row.try_get("sensor").doing(doing)?,
        quantity: quantity(row)?,
        date: LocalDate(i32::try_from(number("date")?).unwrap_or(i32::MAX)),
        revision: count("revision")?,
        samples: count("samples")?,
        coverage: single(row.try_get("coverage").doing(doing)?),
        features: features.as_deref().map(record::decode).transpose().doing(doing)?,
        prediction: prediction.as_deref().map(record::decode).transpose().doing(doing)?,
        deviation: row.try_get::<Option<f64>, _>("deviation").doing(doing)?.map(single),
        score: row.try_get::<Option<f64>, _>("score").doing(doing)?.map(single),
        reasons: reasons
            .as_deref()
            .map(record::decode)
            .transpose()
            .doing(doing)?
            .unwrap_or_default(),
        drift: drift.as_deref().map(record::decode).transpose().doing(doing)?,
    };
    Ok(StoredDay { gateway: row.try_get("gateway").doing(doing)?, day })
}

impl Serialize for StoredDay {
    /// As the HTTP API shows it: features, contributions and reasons by name.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let day = &self.day;
        let set = day.features.as_ref().map(Features::set);
        let features = day.features.as_ref().map(features_by_name);
        let reasons: Vec<Value> = day.reasons.iter().map(|one| reason_json(one, set)).collect();
        let prediction = day
            .prediction
            .as_ref()
            .map(|prediction| prediction_json(prediction, day.features.as_ref()));
        json!({
            "gateway": self.gateway,
            "sensor": day.sensor,
            "quantity": day.quantity,
            "date": day.date.to_string(),
            "revision": day.revision,
            "samples": day.samples,
            "coverage": day.coverage,
            "feature_set": set,
            "features": features,
            "prediction": prediction,
            "deviation": day.deviation,
            "score": day.score,
            "reasons": reasons,
            "drift": day.drift.as_ref().map(|drift| drift_json(drift, set)),
        })
        .serialize(serializer)
    }
}

fn features_by_name(features: &Features) -> Map<String, Value> {
    let names = features.set().feature_names().iter();
    names.zip(features.iter()).map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

fn reason_json(reason: &Reason, set: Option<FeatureSet>) -> Value {
    json!({
        "subject": set.map(|set| reason.subject.name(set)),
        "value": reason.value,
        "usual": reason.usual,
        "deviate": reason.deviate,
    })
}

fn drift_json(drift: &Drift, set: Option<FeatureSet>) -> Value {
    let feature = set.and_then(|set| set.feature_names().get(usize::from(drift.feature)));
    json!({
        "feature": feature,
        "drift": drift.drift,
        "per_day": drift.per_day,
        "ends": drift.ends.map(|date| date.to_string()),
    })
}

fn prediction_json(prediction: &Prediction, features: Option<&Features>) -> Value {
    let top: Vec<Value> = prediction
        .top
        .iter()
        .map(|part| {
            let name = features.map(|features| part.name(features.set()));
            json!({ "feature": name, "deviation": part.deviation })
        })
        .collect();
    json!({
        "cluster": prediction.cluster,
        "distance": prediction.distance,
        "novelty": prediction.novelty,
        "top_features": top,
        "model_version": prediction.model_version,
    })
}
