//! Sensors that have fallen silent: remembered over restarts, so that each silence is told once,
//! and so is its end.

use std::ops::ControlFlow;

use daywise_core::{
    reading::SensorIx,
    time::UtcMillis,
    wire::{Item, Silence},
};

use super::{
    Store, StoreError,
    disk::Changes,
    keys,
    records::{seal_value, unseal_value},
};

impl Store {
    /// Remembers silences that began, forgets those that ended, and puts both into the outbox:
    /// all at once.
    ///
    /// # Errors
    /// The disk refuses; nothing has changed then.
    pub fn put_silences(&self, silences: &[(SensorIx, Silence)]) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        self.make_room(&mut state)?;
        let mut outbox = state.outbox;
        let mut changes = Changes::default();
        for (sensor, silence) in silences {
            let key = keys::silence(*sensor);
            if silence.until.is_none() {
                let value = (silence.since, silence.expected_every_ms);
                let record = seal_value("a silence", &key, &value)?;
                changes.put(key, record);
            } else {
                changes.remove(key);
            }
            let item = Item::Silence(silence.clone());
            self.put_in_outbox(&mut changes, &mut outbox, &item)?;
        }
        self.finish_outbox(&mut changes, &state.outbox, &mut outbox)?;
        self.disk.write(changes)?;
        state.outbox = outbox;
        Ok(())
    }

    /// The sensors that are silent: since when, and how often they usually report, in
    /// milliseconds.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn silences(&self) -> Result<Vec<(SensorIx, UtcMillis, i64)>, StoreError> {
        let _ready = self.ready()?;
        let mut silences = Vec::new();
        self.disk.scan(keys::all_silences(), |key, record| {
            let value = self.sound(key, unseal_value::<(UtcMillis, i64)>(key, record));
            if let (Some(sensor), Some((since, usual_ms))) = (keys::sensor_of(key), value) {
                silences.push((sensor, since, usual_ms));
            }
            ControlFlow::Continue(())
        })?;
        Ok(silences)
    }
}
