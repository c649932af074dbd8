//! How many sensor-days fell into which cluster: of gateways as predicted, of models as trained.

use daywise_core::{features::FeatureSet, model, quantity::Quantity, time::LocalDate};
use sqlx::Row as _;

use super::{Doing as _, Storage, StorageError, sensor_days};
use crate::cluster_mix::{Predicted, TrainedMix};

/// Gateways one by one, so that the index leads to their last days: a range of names would read
/// through all days that there ever were.
pub(super) const COUNT: &str = "SELECT gateway, date, quantity, feature_set, model_version, \
     cluster, COUNT(*) AS sensor_days FROM sensor_days \
     WHERE gateway IN (SELECT gateway FROM gateways WHERE gateway >= $1 AND gateway <= $2) \
     AND date >= $3 AND date <= $4 AND model_version IS NOT NULL \
     GROUP BY gateway, date, quantity, feature_set, model_version, cluster";

/// Sensor-days of one gateway and date that a model put into one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDays {
    /// Whose.
    pub gateway: String,
    /// What their sensors measure.
    pub quantity: Quantity,
    /// The set of their features.
    pub set: FeatureSet,
    /// When, by which version, into which cluster, and how many.
    pub predicted: Predicted,
}

impl Storage {
    /// Sensor-days by cluster, of the gateways from `first` to `last` by name and the dates from
    /// `from` to `to`. Days that no model predicted are not among them, nor are those that a
    /// server before this schema wrote.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn cluster_days(
        &self,
        (first, last): (&str, &str),
        (from, to): (LocalDate, LocalDate),
    ) -> Result<Vec<ClusterDays>, StorageError> {
        let doing = "count sensor-days by cluster";
        let rows = sqlx::query(COUNT)
            .bind(first)
            .bind(last)
            .bind(i64::from(from.0))
            .bind(i64::from(to.0))
            .fetch_all(&self.pool)
            .await
            .doing(doing)?;
        let mut counts = Vec::with_capacity(rows.len());
        for row in rows {
            let number = |column| row.try_get::<i64, _>(column).doing(doing);
            let set: &str = row.try_get("feature_set").doing(doing)?;
            // A set that a newer server knew, before this one took its place again.
            let Ok(set) = set.parse::<FeatureSet>() else { continue };
            counts.push(ClusterDays {
                gateway: row.try_get("gateway").doing(doing)?,
                quantity: sensor_days::quantity(&row)?,
                set,
                predicted: Predicted {
                    date: LocalDate(i32::try_from(number("date")?).unwrap_or(i32::MAX)),
                    version: u32::try_from(number("model_version")?).unwrap_or(u32::MAX),
                    cluster: u16::try_from(number("cluster")?).unwrap_or(u16::MAX),
                    sensor_days: u64::try_from(number("sensor_days")?).unwrap_or(0),
                },
            });
        }
        Ok(counts)
    }

    /// What a version's training put into each cluster; `None` if there is no such version or its
    /// bytes are unusable.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn trained_mix(&self, version: u32) -> Result<Option<TrainedMix>, StorageError> {
        let doing = "read a model's clusters";
        let row = sqlx::query("SELECT artifact FROM models WHERE version = $1")
            .bind(i64::from(version))
            .fetch_optional(&self.pool)
            .await
            .doing(doing)?;
        let Some(row) = row else { return Ok(None) };
        let artifact: &[u8] = row.try_get("artifact").doing(doing)?;
        Ok(model::decode(artifact).ok().map(|(model, _)| TrainedMix::of(&model)))
    }
}
