//! What survives a restart: readings, open days, features, predictions and the outbox.
//!
//! Shaped by what a flash card bears: a commit is **one** record in the journal's file with the
//! readings of all sensors, and now and then [`Store::fold`] moves the journal into the files of
//! the days, each reading once. What changes in place and has to change together, the sensors, the
//! days and what was computed of them, the outbox, is in a tree (sled). Every change is atomic, and
//! durable once [`Store::flush`] returned.
//!
//! A crash at any point leaves the state between two changes. After it, [`Store::restore`]
//! gives back the readings of open days, and [`Store::dirty`] the sensor-days whose features are
//! yet to be computed: a day that is being closed, or that got late readings.
//!
//! One caller writes at a time (there is a lock); calls block, so they belong on a thread of
//! their own. Records that do not check out are skipped, counted and reported in [`Stats`]. A
//! store that cannot be opened is set aside and a fresh one started.
//!
//! When the disk is full or read-only, calls fail with [`Remedy::Retry`] and nothing is lost; after
//! any other failure of the disk the next call opens the tree again in place.
//!
//! | file | content |
//! |---|---|
//! | `mod.rs` | append, flush |
//! | `open.rs` | opening, reading older stores forward |
//! | `readings.rs` | fold, restore, chunks |
//! | `days.rs` | closing and committing days, prune |
//! | `outbox.rs` | what waits for the server |
//! | `arrivals.rs` | what is known of messages without times: quarantine, deliveries, offsets |
//! | `silences.rs` | sensors that have fallen silent |
//! | `space.rs` | how much it may take, and what goes when that is too little |
//! | `inspect.rs` | figures |
//! | `keys.rs`, `records.rs` | the tree's layout |
//! | `journal.rs`, `log.rs` | a commit's bytes, and the journal's file |
//! | `chunks.rs` | the days' files |
//! | `disk.rs` | sled and durability |

mod arrivals;
mod chunks;
mod days;
mod disk;
mod error;
mod inspect;
mod journal;
mod keys;
mod log;
mod open;
mod outbox;
mod readings;
mod records;
mod silences;
mod space;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    num::NonZeroU64,
    ops::ControlFlow,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicI32},
};

use daywise_core::{
    reading::{Sample, SensorIx},
    time::{LocalDate, LocalDay, UtcMillis},
};
use tracing::{info, warn};

pub(crate) use arrivals::MAX_DELIVERIES;
pub use arrivals::{Held, Quarantined};
pub use days::{DayCommit, Prune};
pub use error::{Remedy, StoreError, in_words, is_from_the_disk};
pub use inspect::Stats;
pub use readings::{Folded, Question};
pub use records::{Damage, DayRecord, SensorRecord};

use arrivals::Known;
use chunks::Chunks;
use disk::Disk;
use log::Log;
use records::{
    EvictedValue, HeldValue, LocalDayValue, OutboxValue, SensorValue, seal_value, unseal_value,
};

/// Distinct damaged records that are remembered, so that each counts once.
const MAX_DAMAGED_KEYS: usize = 1024;
/// Changes in one batch of a long clean-up; bounds its memory, of which the engine takes some
/// kilobytes for each change until a batch is done.
const CLEAN_UP_BATCH: usize = 128;

/// A reading with the day it belongs to.
pub type DayReading = (LocalDate, SensorIx, Sample);

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// sled's page cache. More only helps scattered reads, which there are few of.
    pub cache_bytes: u64,
    /// The most entries the outbox holds; the oldest go first.
    pub outbox_max_entries: NonZeroU64,
    /// The most bytes the outbox holds; the oldest go first.
    pub outbox_max_bytes: NonZeroU64,
    /// Nothing is written while the file system has less free space than this.
    pub reserve_bytes: u64,
    /// The most bytes that the store's files take.
    pub max_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 1 << 20,
            // 1,000 sensors for 100 days at about 300 bytes.
            outbox_max_entries: const { NonZeroU64::new(100_000).unwrap() },
            outbox_max_bytes: const { NonZeroU64::new(32 << 20).unwrap() },
            reserve_bytes: 32 << 20,
            max_bytes: 512 << 20,
        }
    }
}

/// What one group commit adds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// Sensors seen for the first time.
    pub new_sensors: &'a [SensorRecord],
    /// Days seen for the first time; they are open from now on. Days already known stay as they
    /// are, so a closed one is not reopened by this.
    pub new_days: &'a [LocalDay],
    /// In the order of arrival, each with its local day. One whose day is not open marks its
    /// sensor-day dirty.
    pub readings: &'a [DayReading],
    /// When sensor-days that become dirty by this are to be computed.
    pub late_due: UtcMillis,
    /// Readings that wait for the clock to be set.
    pub quarantined: &'a [Held],
    /// The quarantine record whose readings are among the others now, so that it goes.
    pub released: Option<u64>,
    /// Fingerprints of the messages that had no time of their own.
    pub deliveries: &'a [u32],
    /// Device clocks that were found to be off, or right again.
    pub offsets: &'a [(SensorIx, Option<i64>)],
}

/// An opened store.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Where a store that could not be opened was moved, and why; the one above is then empty.
    pub set_aside: Option<(PathBuf, StoreError)>,
}

/// The agent's store.
#[derive(Debug)]
pub struct Store {
    disk: Disk,
    options: StoreOptions,
    state: Mutex<State>,
    damaged: Damaged,
    /// Number of the first date that is kept, so that it can be asked for at every reading.
    kept_from: AtomicI32,
}

/// What is known of the store's content without reading it.
#[derive(Debug)]
struct State {
    log: Log,
    chunks: Chunks,
    sensors: u64,
    days: BTreeMap<LocalDate, LocalDayValue>,
    /// With the time from when each is to be computed.
    dirty: BTreeMap<(LocalDate, SensorIx), UtcMillis>,
    arrivals: Known,
    held: BTreeMap<LocalDate, HeldValue>,
    outbox: OutboxValue,
    /// Outbox entries below this number survive a power cut.
    outbox_durable: u64,
    evicted: EvictedValue,
    /// What the tree does not know before the next fold.
    unfolded: Unfolded,
    /// Bytes of the sensors' states in the tree.
    state_bytes: u64,
}

/// What only the journal knows.
#[derive(Debug, Default)]
struct Unfolded {
    sensors: Vec<SensorRecord>,
    days: BTreeSet<LocalDate>,
    /// Sensor-days that it marks, whether the tree knows of the mark or not.
    dirty: BTreeMap<(LocalDate, SensorIx), UtcMillis>,
}

impl State {
    fn is_open(&self, date: LocalDate) -> bool {
        self.days.get(&date).is_some_and(|known| known.open)
    }

    /// Bytes of the date's file that count.
    fn chunk_bytes(&self, date: LocalDate) -> u64 {
        self.held.get(&date).map_or(0, |held| held.chunk_bytes)
    }

    /// Takes note of a commit that is in the journal.
    fn handle_commit(
        &mut self,
        sensors: &[SensorRecord],
        days: &[LocalDay],
        readings: &[DayReading],
        late_due: UtcMillis,
    ) {
        // One that is known already is told anew when more is known of it.
        let numbers = sensors.iter().map(|sensor| u64::from(sensor.ix.0) + 1);
        self.sensors = numbers.fold(self.sensors, u64::max);
        self.unfolded.sensors.extend_from_slice(sensors);
        for &day in days {
            if let Entry::Vacant(place) = self.days.entry(day.date) {
                place.insert(LocalDayValue { day, open: true });
                self.unfolded.days.insert(day.date);
            }
        }
        for &(date, sensor, _) in readings {
            if !self.is_open(date) {
                let due = *self.dirty.entry((date, sensor)).or_insert(late_due);
                self.unfolded.dirty.entry((date, sensor)).or_insert(due);
            }
        }
    }
}

/// The damaged records that were met, each counted once.
#[derive(Debug, Default)]
struct Damaged(Mutex<BTreeSet<Vec<u8>>>);

impl Damaged {
    /// Passes a sound record on; counts and reports a damaged one.
    fn sound<T>(&self, key: &[u8], read: Result<T, Damage>) -> Option<T> {
        read.map_err(|damage| self.note(key, damage)).ok()
    }

    fn note(&self, key: &[u8], damage: Damage) {
        let mut damaged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.len() < MAX_DAMAGED_KEYS && damaged.insert(key.to_vec()) {
            warn!(?key, %damage, damaged = damaged.len(), "a record is damaged, left out");
        }
    }

    fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// Damage in a date's file of samples, by its place there.
    fn in_chunks(&self, date: LocalDate) -> impl FnMut(u64, Damage) {
        move |at, damage| {
            let key = [keys::held(date).as_slice(), &at.to_be_bytes()].concat();
            self.note(&key, damage);
        }
    }
}

impl Store {
    /// Adds one group commit: a single record. All of it or nothing is there after a crash;
    /// durable after [`Self::flush`].
    ///
    /// # Errors
    /// The disk refuses, or a sensor's id is too long for a record; nothing has changed then.
    pub fn append(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        self.make_room_for(&mut state, batch.readings)?;
        for SensorRecord { ix, id, quantity } in batch.new_sensors {
            // The fold must not be the first to find out.
            let value = SensorValue { id: id.clone(), quantity: *quantity };
            seal_value("a sensor's record", &keys::sensor(*ix), &value)?;
        }
        let arrivals = state.arrivals_of(batch);
        let payload = journal::encode(batch, &arrivals)?;
        if !state.log.has_room(payload.len()) {
            self.fold_all(&mut state)?;
        }
        // What was changed in the tree before must not be missing where this is there.
        self.make_tree_durable(&mut state)?;
        state.log.append(&payload)?;
        state.handle_commit(batch.new_sensors, batch.new_days, batch.readings, batch.late_due);
        if let Err(error) = self.take_arrivals(&mut state, &arrivals) {
            // The journal has them: the tree is opened again by the next call, and learns of them.
            warn!(error = &error as &dyn std::error::Error, "the store's tree failed");
        }
        Ok(())
    }

    /// Returns once everything written so far survives a power cut. Without cost when nothing
    /// was written. May be tried again: what was not written down then is.
    ///
    /// # Errors
    /// The disk refuses; nothing since the last flush may then be taken as kept.
    pub fn flush(&self) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        state.log.make_durable()?;
        self.make_tree_durable(&mut state)
    }

    /// Gives back the memory that the tree's engine takes for what it has written since it was
    /// opened: some hundred bytes for each record, for as long as it stays open; and what is known
    /// of the file that was read last. Worth its tens of milliseconds once a day. Everything written
    /// so far is durable afterwards.
    ///
    /// # Errors
    /// The disk refuses; the next call opens the tree again.
    pub fn renew(&self) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        state.log.make_durable()?;
        self.make_tree_durable(&mut state)?;
        state.chunks.forget();
        // Nothing may use it until it is open again. What `state` knows of it stays true.
        self.disk.give_up();
        self.disk.reopen()
    }

    /// All sensors, by number.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sensors(&self) -> Result<Vec<SensorRecord>, StoreError> {
        let state = self.ready()?;
        let mut sensors = Vec::new();
        self.disk.scan(keys::all_sensors(), |key, record| {
            let value = self.sound(key, unseal_value::<SensorValue>(key, record));
            if let (Some(ix), Some(SensorValue { id, quantity })) = (keys::sensor_of(key), value) {
                sensors.push(SensorRecord { ix, id, quantity });
            }
            ControlFlow::Continue(())
        })?;
        sensors.extend_from_slice(&state.unfolded.sensors);
        let newest: BTreeMap<SensorIx, SensorRecord> =
            sensors.into_iter().map(|sensor| (sensor.ix, sensor)).collect();
        Ok(newest.into_values().collect())
    }

    /// The open days, by date.
    #[must_use]
    pub fn open_days(&self) -> Vec<LocalDay> {
        self.state().days.values().filter(|known| known.open).map(|known| known.day).collect()
    }

    /// All dates of which readings or bounds are kept. A reading that came late for a day that was
    /// never open is of a date without bounds of its own.
    #[must_use]
    pub fn dates(&self) -> BTreeSet<LocalDate> {
        let state = self.state();
        let marked = state.dirty.keys().map(|(date, _)| *date);
        state.days.keys().chain(state.held.keys()).copied().chain(marked).collect()
    }

    /// All days that were open once and have not been pruned, by date.
    #[must_use]
    pub fn local_days(&self) -> Vec<LocalDay> {
        self.state().days.values().map(|known| known.day).collect()
    }

    /// The newest day that has closed and not been pruned.
    #[must_use]
    pub fn newest_closed_day(&self) -> Option<LocalDay> {
        self.state().days.values().filter(|known| !known.open).map(|known| known.day).next_back()
    }

    /// The day with that date, open or closed, if it has been seen and not been pruned.
    #[must_use]
    pub fn local_day(&self, date: LocalDate) -> Option<LocalDay> {
        self.state().days.get(&date).map(|known| known.day)
    }

    /// All that the tree holds survives a power cut from now on.
    fn make_tree_durable(&self, state: &mut State) -> Result<(), StoreError> {
        self.disk.make_durable()?;
        state.outbox_durable = state.outbox.next;
        Ok(())
    }

    fn sound<T>(&self, key: &[u8], read: Result<T, Damage>) -> Option<T> {
        self.damaged.sound(key, read)
    }

    /// The state, with a tree that can be worked with: one that has failed is opened again first.
    fn ready(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.state();
        if self.disk.is_broken() {
            state.log.make_durable()?;
            self.disk.reopen()?;
            *state = open::load(&self.disk, &self.damaged)?;
            info!("the store was opened again after a failure");
        }
        Ok(state)
    }

    /// The lock is only held within calls, none of which leaves the figures half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
