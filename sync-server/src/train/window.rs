//! Which sensor-days a training sees: those of the last days before the newest one.

use daywise_core::time::{LocalDate, UtcMillis};

use super::TrainingSet;
use crate::storage::{Storage, StorageError};

/// Sensor-days held for a training, the newest first if there are more. Their features take
/// about 100 MB.
const MAX_SENSOR_DAYS: u32 = 500_000;

/// What a training is about to see.
#[derive(Debug)]
pub struct Window {
    /// The first date.
    pub from: LocalDate,
    /// The last date.
    pub to: LocalDate,
    /// The sensor-days.
    pub days: TrainingSet,
    /// Sensor-days with features too large to be anything but a fault.
    pub left_out: u64,
    /// The newest arrival at the time; later ones count as new.
    pub arrival: i64,
}

/// Reads the window that ends on the newest day; `None` if there is no day with features.
///
/// # Errors
/// The database cannot be read.
pub async fn read(
    storage: &Storage,
    window_days: u32,
    now: UtcMillis,
) -> Result<Option<Window>, StorageError> {
    // Before the days: one that arrives in between is then counted again, never missed.
    let arrival = storage.newest_arrival().await?;
    let Some(to) = storage.last_date(now).await? else { return Ok(None) };
    let from = to.plus_days(1_i32.saturating_sub_unsigned(window_days));
    let mut days = TrainingSet::default();
    let mut left_out = 0;
    for (quantity, features) in storage.features(from, to, MAX_SENSOR_DAYS).await? {
        if !days.push(quantity, features) {
            left_out += 1;
        }
    }
    Ok(Some(Window { from, to, days, left_out, arrival }))
}
