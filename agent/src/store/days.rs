//! Days: closing them, keeping what was computed from them, and forgetting old ones.
//!
//! Closing is two steps: [`Store::begin_close`] marks every sensor-day of the date dirty, which
//! counts from the moment that the day is noted as closed, and each [`Store::commit_days`] unmarks
//! those it carries. So a crash in between leaves just the rest to do, and late readings go the
//! same way.

use std::collections::BTreeMap;

use daywise_core::{
    block,
    reading::SensorIx,
    time::{LocalDate, LocalDay, UtcMillis},
    wire::{Item, SensorDay},
};

use super::{
    CLEAN_UP_BATCH, State, Store, StoreError,
    disk::Changes,
    keys,
    records::{
        Damage, DayRecord, HeldValue, LocalDayValue, seal, seal_as, seal_day, seal_value, unseal,
        unseal_day, unseal_up_to, unseal_value,
    },
};

/// A mark says since its second schema when it is due; before, it was empty.
const MARK_SCHEMA: u8 = 2;

/// The record of a mark that is due then.
pub(super) fn mark(key: &[u8], due: UtcMillis) -> Result<Vec<u8>, StoreError> {
    let mut payload = Vec::new();
    block::put_signed(&mut payload, due.0);
    seal_as(MARK_SCHEMA, "a mark", key, &payload)
}

/// When the mark is due.
pub(super) fn mark_due(key: &[u8], record: &[u8]) -> Result<UtcMillis, Damage> {
    match unseal_up_to(MARK_SCHEMA, key, record)? {
        (1, _) => Ok(UtcMillis::default()),
        (_, payload) => match block::take_signed(payload) {
            Ok((due, [])) => Ok(UtcMillis(due)),
            _ => Err(Damage::Content),
        },
    }
}

/// What was computed from one sensor-day.
#[derive(Clone, Debug, PartialEq)]
pub struct DayCommit {
    /// The day.
    pub date: LocalDate,
    /// The sensor.
    pub sensor: SensorIx,
    /// What is kept here.
    pub record: DayRecord,
    /// What goes to the server; `None` where there is none.
    pub upload: Option<SensorDay>,
    /// The sensor's baseline after this day, opaque here; `None` leaves it as it is.
    pub sensor_state: Option<Vec<u8>>,
}

/// What to forget of old days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prune {
    /// The readings only; features and predictions stay.
    Readings,
    /// Everything but what is in the outbox.
    Days,
}

impl Store {
    /// Closes an open day: from now on its readings are late. Marks all its sensor-days dirty
    /// and returns the sensors. A day that is not open has none to mark.
    ///
    /// # Errors
    /// The disk refuses; the day is then still open.
    pub fn begin_close(&self, date: LocalDate) -> Result<Vec<SensorIx>, StoreError> {
        let mut state = self.ready()?;
        let Some(known) = state.days.get(&date).copied().filter(|known| known.open) else {
            return Ok(Vec::new());
        };
        self.make_room(&mut state)?;
        // So that what the journal says of the day is not read with another day in mind.
        self.fold_all(&mut state)?;
        let sensors = self.sensors_with_readings(&mut state, date)?;
        // The marks first: they do not count while the day is open.
        for some in sensors.chunks(CLEAN_UP_BATCH) {
            let mut changes = Changes::default();
            for &sensor in some {
                let key = keys::dirty(date, sensor);
                let record = mark(&key, UtcMillis::default())?;
                changes.put(key, record);
            }
            self.disk.write(changes)?;
        }
        let closed = LocalDayValue { open: false, ..known };
        let mut changes = Changes::default();
        let key = keys::local_day(date);
        let record = seal_value("a day's record", &key, &closed)?;
        changes.put(key, record);
        self.disk.write(changes)?;
        state.days.insert(date, closed);
        state.dirty.extend(sensors.iter().map(|&sensor| ((date, sensor), UtcMillis::default())));
        Ok(sensors)
    }

    /// The sensor-days whose features are to be computed, by date and sensor.
    #[must_use]
    pub fn dirty(&self) -> Vec<(LocalDate, SensorIx)> {
        self.state().dirty.keys().copied().collect()
    }

    /// As [`Self::dirty`], each with the time from when it is to be computed.
    #[must_use]
    pub fn dirty_due(&self) -> Vec<(LocalDate, SensorIx, UtcMillis)> {
        let state = self.state();
        state.dirty.iter().map(|(&(date, sensor), &due)| (date, sensor, due)).collect()
    }

    /// Keeps what was computed from some sensor-days, puts their uploads into the outbox under
    /// consecutive numbers, and unmarks them: all at once. No readings of these sensor-days may
    /// be appended between reading their chunks and this.
    ///
    /// If the outbox is then larger than it may be, its oldest entries are given up, though
    /// never those of this commit.
    ///
    /// # Errors
    /// The disk refuses, or something is too large for a record; nothing has changed then.
    pub fn commit_days(&self, commits: &[DayCommit]) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        self.make_room(&mut state)?;
        self.settle_marks(&mut state, commits.iter().map(|commit| (commit.date, commit.sensor)))?;
        let mut outbox = state.outbox;
        let mut held: BTreeMap<LocalDate, HeldValue> = BTreeMap::new();
        let mut state_bytes = state.state_bytes;
        let mut changes = Changes::default();
        for commit in commits {
            let key = keys::day(commit.date, commit.sensor);
            let record = seal_day(&key, &commit.record)?;
            let of_date = || state.held.get(&commit.date).copied().unwrap_or_default();
            let held = held.entry(commit.date).or_insert_with(of_date);
            match self.disk.get(&key)? {
                Some(earlier) => {
                    held.day_bytes = held.day_bytes.saturating_sub(earlier.len() as u64)
                }
                None => held.days += 1,
            }
            held.day_bytes += record.len() as u64;
            changes.put(key, record);
            if let Some(bytes) = &commit.sensor_state {
                let key = keys::state(commit.sensor);
                let record = seal("a sensor's state", &key, bytes)?;
                let earlier = self.disk.get(&key)?.map_or(0, |earlier| key.len() + earlier.len());
                state_bytes = state_bytes.saturating_sub(earlier as u64);
                state_bytes += (key.len() + record.len()) as u64;
                changes.put(key, record);
            }
            if let Some(upload) = &commit.upload {
                self.put_in_outbox(&mut changes, &mut outbox, &Item::Day(upload.clone()))?;
            }
            if state.dirty.contains_key(&(commit.date, commit.sensor)) {
                changes.remove(keys::dirty(commit.date, commit.sensor));
            }
        }
        for (&date, value) in &held {
            let key = keys::held(date);
            let record = seal_value("what is held of a date", &key, value)?;
            changes.put(key, record);
        }
        self.finish_outbox(&mut changes, &state.outbox, &mut outbox)?;
        self.disk.write(changes)?;
        (state.outbox, state.state_bytes) = (outbox, state_bytes);
        state.held.append(&mut held);
        for commit in commits {
            state.dirty.remove(&(commit.date, commit.sensor));
        }
        Ok(())
    }

    /// A mark that only the journal knows would come back with it after a crash.
    fn settle_marks(
        &self,
        state: &mut State,
        mut marks: impl Iterator<Item = (LocalDate, SensorIx)>,
    ) -> Result<(), StoreError> {
        if marks.any(|mark| state.unfolded.dirty.contains_key(&mark)) {
            self.fold_all(state)?;
        }
        Ok(())
    }

    /// Takes a dirty mark off without a commit, such as when the day turns out unchanged.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn unmark(&self, date: LocalDate, sensor: SensorIx) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        if state.dirty.contains_key(&(date, sensor)) {
            self.make_room(&mut state)?;
            self.settle_marks(&mut state, std::iter::once((date, sensor)))?;
            let mut changes = Changes::default();
            changes.remove(keys::dirty(date, sensor));
            self.disk.write(changes)?;
            state.dirty.remove(&(date, sensor));
        }
        Ok(())
    }

    /// What is kept of one sensor-day.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn day_record(
        &self,
        date: LocalDate,
        sensor: SensorIx,
    ) -> Result<Option<DayRecord>, StoreError> {
        let _ready = self.ready()?;
        let key = keys::day(date, sensor);
        let record = self.disk.get(&key)?;
        Ok(record.and_then(|record| self.sound(&key, unseal_day(&key, &record))))
    }

    /// The sensor's state as last committed.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sensor_state(&self, sensor: SensorIx) -> Result<Option<Vec<u8>>, StoreError> {
        let _ready = self.ready()?;
        let key = keys::state(sensor);
        let record = self.disk.get(&key)?;
        Ok(record.and_then(|record| self.sound(&key, unseal(&key, &record).map(<[u8]>::to_vec))))
    }

    /// Forgets days before `before`. Readings of them that come later must be refused by the
    /// caller, or they would make a new, thin day.
    ///
    /// # Errors
    /// The disk refuses; what went is gone.
    pub fn prune(&self, what: Prune, before: LocalDate) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        self.check_writable()?;
        // What is still in the journal would come back with the next fold.
        self.fold_all(&mut state)?;
        self.close_all_before(&mut state, before)?;
        self.disk.remove_all(keys::dirty_before(before), CLEAN_UP_BATCH)?;
        state.dirty.retain(|&(date, _), _| date >= before);
        self.forget_samples(&mut state, before)?;
        if what == Prune::Days {
            self.disk.remove_all(keys::days_before(before), CLEAN_UP_BATCH)?;
            self.disk.remove_all(keys::held_before(before), CLEAN_UP_BATCH)?;
            state.held.retain(|&date, _| date >= before);
            self.disk.remove_all(keys::local_days_before(before), CLEAN_UP_BATCH)?;
            state.days.retain(|&date, _| date >= before);
        }
        Ok(())
    }

    /// The files go after the tree has forgotten them, durably: a file that it does not know is
    /// removed when the store is opened, but one that it misses would be damage.
    fn forget_samples(&self, state: &mut State, before: LocalDate) -> Result<(), StoreError> {
        let mut held: BTreeMap<LocalDate, HeldValue> = BTreeMap::new();
        let mut changes = Changes::default();
        for (&date, value) in state.held.range(..before).filter(|(_, held)| held.chunk_bytes > 0) {
            let value = HeldValue { chunk_bytes: 0, ..*value };
            let key = keys::held(date);
            let record = seal_value("what is held of a date", &key, &value)?;
            changes.put(key, record);
            held.insert(date, value);
        }
        if held.is_empty() {
            return Ok(());
        }
        self.disk.write(changes)?;
        self.disk.make_durable()?;
        for &date in held.keys() {
            state.chunks.remove(date)?;
        }
        state.held.append(&mut held);
        Ok(())
    }

    /// The name of the site's zone when the open days began; `None` in a fresh store.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn zone(&self) -> Result<Option<String>, StoreError> {
        let _ready = self.ready()?;
        let key = keys::META_ZONE;
        let record = self.disk.get(key)?;
        Ok(record.and_then(|record| self.sound(key, unseal_value(key, &record))))
    }

    /// The site is in that zone from now on, and these open days have new bounds.
    ///
    /// # Errors
    /// The disk refuses; nothing has changed then.
    pub fn set_zone(&self, name: &str, open: &[LocalDay]) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        self.make_room(&mut state)?;
        // The journal's days have their old bounds.
        self.fold_all(&mut state)?;
        let mut changes = Changes::default();
        let key = keys::META_ZONE;
        changes.put(key.to_vec(), seal_value("the site's zone", key, &name)?);
        let values = open.iter().map(|&day| LocalDayValue { day, open: true });
        for value in values.clone() {
            let key = keys::local_day(value.day.date);
            let record = seal_value("a day's record", &key, &value)?;
            changes.put(key, record);
        }
        self.disk.write(changes)?;
        state.days.extend(values.map(|value| (value.day.date, value)));
        Ok(())
    }

    /// A day whose readings go cannot be open.
    fn close_all_before(&self, state: &mut State, before: LocalDate) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        for known in state.days.range_mut(..before).map(|(_, known)| known) {
            if std::mem::take(&mut known.open) {
                let key = keys::local_day(known.day.date);
                let record = seal_value("a day's record", &key, known)?;
                changes.put(key, record);
            }
        }
        self.disk.write(changes)
    }
}
