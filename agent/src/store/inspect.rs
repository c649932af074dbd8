//! What the store holds, for metrics and for people.

use std::ops::ControlFlow;

use daywise_core::{reading::SensorIx, time::LocalDate};

use super::{
    Store, StoreError, keys,
    records::{DayRecord, unseal_day},
};

/// Figures of the store, cheap enough to be asked for at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes that its files take.
    pub bytes_on_disk: u64,
    /// Bytes of what they hold, keys and all: what is in use of the journal and the days' files,
    /// and what is live in the tree.
    pub live_bytes: u64,
    /// Of those, samples of days.
    pub chunk_bytes: u64,
    /// Sensors known.
    pub sensors: u64,
    /// Days that still take readings.
    pub open_days: u64,
    /// Sensor-days whose features are to be computed.
    pub dirty: u64,
    /// Journal records that are not folded yet.
    pub journal_records: u64,
    /// Their bytes.
    pub journal_bytes: u64,
    /// Entries that wait for the server.
    pub outbox_entries: u64,
    /// Their bytes.
    pub outbox_bytes: u64,
    /// Entries given up for lack of space or because of damage, ever.
    pub outbox_evicted: u64,
    /// Days whose samples were given up for lack of space, ever.
    pub evicted_chunk_days: u64,
    /// Sensor-days whose features and predictions were given up for lack of space, ever.
    pub evicted_sensor_days: u64,
    /// Distinct damaged records met since the store was opened.
    pub damaged: u64,
}

impl Store {
    /// The store's figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.state();
        let chunk_bytes = state.all_chunk_bytes();
        let files = state.log.allocated() + chunk_bytes;
        Stats {
            bytes_on_disk: self.disk.size_on_disk() + files,
            live_bytes: chunk_bytes + state.log.bytes() + state.tree_bytes(),
            chunk_bytes,
            sensors: state.sensors,
            open_days: state.days.values().filter(|known| known.open).count() as u64,
            dirty: state.dirty.len() as u64,
            journal_records: state.log.records(),
            journal_bytes: state.log.bytes(),
            outbox_entries: state.outbox.entries,
            outbox_bytes: state.outbox.bytes,
            outbox_evicted: state.outbox.evicted,
            evicted_chunk_days: state.evicted.chunk_days,
            evicted_sensor_days: state.evicted.sensor_days,
            damaged: self.damaged.count(),
        }
    }

    /// Journal records and their bytes, without looking at the disk.
    #[must_use]
    pub fn journal_size(&self) -> (u64, u64) {
        let state = self.state();
        (state.log.records(), state.log.bytes())
    }

    /// Shows all sensor-days that are kept, by date and sensor, until `visit` breaks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn day_records(
        &self,
        visit: &mut dyn FnMut(LocalDate, SensorIx, DayRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let _ready = self.ready()?;
        self.disk.scan(keys::all_days(), |key, record| {
            let place = keys::date_and_sensor(key);
            match (place, self.sound(key, unseal_day(key, record))) {
                (Some((date, sensor)), Some(day)) => visit(date, sensor, day),
                _ => ControlFlow::Continue(()),
            }
        })
    }
}
