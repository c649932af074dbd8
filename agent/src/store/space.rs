//! How much the store may take, and what goes first when that is too little.
//!
//! Two bounds, looked at before every write: the file system keeps a reserve free, so that the
//! engine never meets a full disk in the middle of its work, and the store's own files keep within
//! a limit. When either bites, samples go first, the oldest closed day's before the next: they are
//! files, so their space is free at once. For the limit, when no samples are left to give up, the
//! oldest days' features and predictions go, and last the oldest entries of the outbox. A full disk
//! is not cured by those, as the engine's file does not shrink; then, or when all samples that
//! could go would not be enough, the store gives up nothing and waits.
//!
//! A day whose samples went takes no more readings: they would make a new, thin day of it.

use std::sync::atomic::Ordering;

use daywise_core::time::LocalDate;
use rustix::fs::StatVfsMountFlags;
use tracing::warn;

use super::{
    CLEAN_UP_BATCH, DayReading, State, Store, StoreError,
    disk::{Changes, Disk},
    keys,
    records::seal_value,
};

/// What the engine's file takes for each byte that is live in it, at the most: it cleans a part of
/// its file once less than half of that is live.
const ENGINE_OVERHEAD: u64 = 2;

/// The file system as it is now.
#[derive(Clone, Copy, Debug)]
struct Space {
    free_bytes: u64,
    is_read_only: bool,
}

impl Space {
    fn of(disk: &Disk) -> Result<Self, StoreError> {
        let space = rustix::fs::statvfs(disk.dir()).map_err(|source| StoreError::Folder {
            path: disk.dir().to_owned(),
            source: source.into(),
        })?;
        Ok(Self {
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
            is_read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }
}

impl State {
    /// Bytes of the days' files that count.
    pub(super) fn all_chunk_bytes(&self) -> u64 {
        self.held.values().map(|held| held.chunk_bytes).sum()
    }

    /// Bytes of what is live in the tree, small things left out.
    pub(super) fn tree_bytes(&self) -> u64 {
        let days: u64 = self.held.values().map(|held| held.day_bytes).sum();
        days + self.outbox.bytes + self.state_bytes
    }
}

impl Store {
    /// Samples of days before this are gone, and later readings for them are to be refused.
    #[must_use]
    pub fn kept_from(&self) -> LocalDate {
        LocalDate(self.kept_from.load(Ordering::Relaxed))
    }

    /// Returns once there is room to write; gives up what may be given up for it.
    pub(super) fn make_room(&self, state: &mut State) -> Result<(), StoreError> {
        self.make_room_for(state, &[])
    }

    /// As [`Self::make_room`], without giving up anything of the days of `readings`.
    pub(super) fn make_room_for(
        &self,
        state: &mut State,
        readings: &[DayReading],
    ) -> Result<(), StoreError> {
        self.check_writable()?;
        let limit_bytes = self.options.max_bytes;
        while self.bytes_taken(state) > limit_bytes {
            if !self.give_up(state, readings)? {
                let used_bytes = self.bytes_taken(state);
                return Err(StoreError::Full { used_bytes, limit_bytes });
            }
        }
        let reserve_bytes = self.options.reserve_bytes;
        loop {
            let free_bytes = Space::of(&self.disk)?.free_bytes;
            if free_bytes >= reserve_bytes {
                return Ok(());
            }
            // Nothing is given up that would not help.
            let helps = free_bytes + samples_to_spare(state, readings) >= reserve_bytes;
            if !helps || !self.give_up_samples(state, readings)? {
                return Err(StoreError::DiskFull { free_bytes, reserve_bytes });
            }
        }
    }

    /// Returns if the file system takes writes at all.
    pub(super) fn check_writable(&self) -> Result<(), StoreError> {
        if Space::of(&self.disk)?.is_read_only {
            return Err(StoreError::ReadOnly { path: self.disk.dir().to_owned() });
        }
        Ok(())
    }

    /// What the store's files take, the engine's at their usual overhead: what its file has beyond
    /// that it fills before it grows.
    fn bytes_taken(&self, state: &State) -> u64 {
        let engine = state.tree_bytes().saturating_mul(ENGINE_OVERHEAD);
        state.all_chunk_bytes() + state.log.allocated() + engine
    }

    /// Gives up what is worth least; `false` when nothing is left to.
    fn give_up(&self, state: &mut State, readings: &[DayReading]) -> Result<bool, StoreError> {
        Ok(self.give_up_samples(state, readings)?
            || self.give_up_days(state, readings)?
            || self.give_up_outbox(state)?)
    }

    /// The samples of the oldest date that is done with.
    fn give_up_samples(
        &self,
        state: &mut State,
        readings: &[DayReading],
    ) -> Result<bool, StoreError> {
        let mut candidates = state.held.iter().filter(|(_, held)| held.chunk_bytes > 0);
        let found = candidates.find(|(date, _)| is_done_with(state, **date, readings));
        let Some((&date, &held)) = found else { return Ok(false) };
        // The file first: with a full disk the tree may have no room to take note. A date whose
        // file is missing has no samples, nothing worse.
        state.chunks.remove(date)?;
        let held_now = super::HeldValue { chunk_bytes: 0, ..held };
        let mut evicted = state.evicted;
        evicted.before = evicted.before.max(Some(date.plus_days(1)));
        evicted.chunk_days += 1;
        let mut changes = Changes::default();
        let key = keys::held(date);
        let record = seal_value("what is held of a date", &key, &held_now)?;
        changes.put(key, record);
        let key = keys::META_EVICTED;
        changes.put(key.to_vec(), seal_value("what was evicted", key, &evicted)?);
        self.disk.write(changes)?;
        state.held.insert(date, held_now);
        state.evicted = evicted;
        self.kept_from.fetch_max(date.plus_days(1).0, Ordering::Relaxed);
        warn!(%date, bytes = held.chunk_bytes, "no room: the samples of a closed day were given up");
        Ok(true)
    }

    /// Features and predictions of the oldest date that is done with.
    fn give_up_days(&self, state: &mut State, readings: &[DayReading]) -> Result<bool, StoreError> {
        let mut candidates = state.held.iter().filter(|(_, held)| held.days > 0);
        let found = candidates.find(|(date, _)| is_done_with(state, **date, readings));
        let Some((&date, &held)) = found else { return Ok(false) };
        self.disk.remove_all(keys::days_of_date(date), CLEAN_UP_BATCH)?;
        let mut evicted = state.evicted;
        evicted.sensor_days += u64::from(held.days);
        let mut changes = Changes::default();
        changes.remove(keys::held(date));
        let key = keys::META_EVICTED;
        changes.put(key.to_vec(), seal_value("what was evicted", key, &evicted)?);
        self.disk.write(changes)?;
        state.held.remove(&date);
        state.evicted = evicted;
        warn!(%date, sensor_days = held.days, "no room: features and predictions of a day were given up");
        Ok(true)
    }

    /// The oldest entries of the outbox.
    fn give_up_outbox(&self, state: &mut State) -> Result<bool, StoreError> {
        let entries = self.give_up_oldest(state)?;
        if entries == 0 {
            return Ok(false);
        }
        warn!(entries, "no room: the oldest entries of the outbox were given up");
        Ok(true)
    }
}

/// Whether a date is neither open, nor yet to be computed, nor among `readings`.
fn is_done_with(state: &State, date: LocalDate, readings: &[DayReading]) -> bool {
    !state.is_open(date)
        && !state.dirty.keys().any(|&(dirty, _)| dirty == date)
        && !readings.iter().any(|reading| reading.0 == date)
}

/// Bytes of all samples that may be given up.
fn samples_to_spare(state: &State, readings: &[DayReading]) -> u64 {
    let spare = state.held.iter().filter(|(date, _)| is_done_with(state, **date, readings));
    spare.map(|(_, held)| held.chunk_bytes).sum()
}
