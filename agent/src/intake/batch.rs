//! What the next group commit adds.

use daywise_core::{
    reading::SensorIx,
    time::{LocalDay, UtcMillis},
};

use super::Unsure;
use crate::store::{Batch, DayReading, Held, SensorRecord};

/// What the next group commit adds.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(super) new_sensors: Vec<SensorRecord>,
    pub(super) new_days: Vec<LocalDay>,
    pub(super) readings: Vec<DayReading>,
    pub(super) unsure: Vec<Unsure>,
    pub(super) quarantined: Vec<Held>,
    pub(super) released: Option<u64>,
    pub(super) deliveries: Vec<u32>,
    pub(super) offsets: Vec<(SensorIx, Option<i64>)>,
    /// When the first reading of a closed day arrived.
    pub(super) late_since: Option<UtcMillis>,
}

impl Gathered {
    /// Whether there is nothing to make durable.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
            && self.new_sensors.is_empty()
            && self.new_days.is_empty()
            && self.released.is_none()
            && self.offsets.is_empty()
    }

    /// Readings, those included that may turn out to be held already.
    pub(crate) fn len(&self) -> usize {
        self.readings.len() + self.unsure.len() + self.quarantined.len()
    }

    /// What the store is to take.
    pub(super) fn as_batch(&self, late_due: UtcMillis) -> Batch<'_> {
        Batch {
            new_sensors: &self.new_sensors,
            new_days: &self.new_days,
            readings: &self.readings,
            late_due,
            quarantined: &self.quarantined,
            released: self.released,
            deliveries: &self.deliveries,
            offsets: &self.offsets,
        }
    }

    /// It is durable.
    pub(crate) fn clear(&mut self) {
        self.new_sensors.clear();
        self.new_days.clear();
        self.readings.clear();
        self.quarantined.clear();
        self.released = None;
        self.deliveries.clear();
        self.offsets.clear();
        self.late_since = None;
    }
}
