//! What survives a restart: readings, open days, features, predictions and the outbox.
//!
//! Shaped so that nothing is stored per reading: a commit is **one** journal record with the
//! readings of all sensors, and [`Store::fold`] turns the journal into blocks per sensor and day
//! now and then. Every change is one atomic batch; it is durable once [`Store::flush`] returned.
//!
//! A crash at any point leaves the state between two changes. After it, [`Store::restore`]
//! gives back the readings of open days, and [`Store::dirty`] the sensor-days whose features are
//! yet to be computed: a day that is being closed, or that got late readings.
//!
//! One caller writes at a time (there is a lock); calls block, so they belong on a thread of
//! their own. Records that do not check out are skipped, counted and reported in [`Stats`]. A
//! store that cannot be opened is set aside and a fresh one started.
//!
//! | file | content |
//! |---|---|
//! | `mod.rs` | opening, append, flush |
//! | `readings.rs` | fold, restore, chunks |
//! | `days.rs` | closing and committing days, prune |
//! | `outbox.rs` | what waits for the server |
//! | `arrivals.rs` | what is known of messages without times: quarantine, deliveries, offsets |
//! | `silences.rs` | sensors that have fallen silent |
//! | `inspect.rs` | figures |
//! | `keys.rs`, `records.rs`, `journal.rs` | the layout on disk |
//! | `disk.rs` | sled and durability |

mod arrivals;
mod days;
mod disk;
mod error;
mod inspect;
mod journal;
mod keys;
mod outbox;
mod readings;
mod records;
mod silences;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    num::NonZeroU64,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use daywise_core::{
    reading::{Sample, SensorIx},
    time::{LocalDate, LocalDay, UtcMillis},
};
use tracing::warn;

pub use arrivals::{Held, Quarantined};
pub use days::{DayCommit, Prune};
pub use error::{Remedy, StoreError};
pub use inspect::Stats;
pub use readings::{Folded, Question};
pub use records::{Damage, DayRecord, SensorRecord};

use arrivals::Deliveries;
use disk::{Changes, Disk};
use records::{
    LocalDayValue, OutboxValue, SensorValue, seal, seal_outbox, seal_value, unseal_figures,
    unseal_value,
};

/// The schema of the store as a whole: 2 since marks say when they are due, readings may wait for
/// the clock, and the outbox may have holes and hold silences.
const STORE_SCHEMA: u16 = 2;
/// Distinct damaged records that are remembered, so that each counts once.
const MAX_DAMAGED_KEYS: usize = 1024;
/// Changes in one batch of a long clean-up; bounds its memory.
const CLEAN_UP_BATCH: usize = 512;

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
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 1 << 20,
            // 1,000 sensors for 100 days at about 300 bytes.
            outbox_max_entries: const { NonZeroU64::new(100_000).unwrap() },
            outbox_max_bytes: const { NonZeroU64::new(32 << 20).unwrap() },
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
    damaged: Mutex<BTreeSet<Vec<u8>>>,
}

/// What is known of the store's content without reading it.
#[derive(Debug, Default)]
struct State {
    sensors: u64,
    days: BTreeMap<LocalDate, LocalDayValue>,
    /// With the time from when each is to be computed.
    dirty: BTreeMap<(LocalDate, SensorIx), UtcMillis>,
    next_quarantine: u64,
    quarantined: u64,
    deliveries: Deliveries,
    next_journal: u64,
    journal_records: u64,
    journal_bytes: u64,
    outbox: OutboxValue,
    /// Outbox entries below this number survive a power cut.
    outbox_durable: u64,
}

impl State {
    fn is_open(&self, date: LocalDate) -> bool {
        self.days.get(&date).is_some_and(|known| known.open)
    }
}

impl Store {
    /// Opens the store in the folder `dir`, or makes it. One that is damaged beyond opening is
    /// renamed to `{dir}.damaged-{n}` and a fresh one made in its place.
    ///
    /// # Errors
    /// In use by another process, written by a newer build, or the disk refuses.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Opened, StoreError> {
        match Self::open_once(dir, options) {
            Ok(store) => Ok(Opened { store, set_aside: None }),
            Err(damage @ StoreError::Damaged { .. }) => {
                let moved = disk::set_aside(dir)?;
                let store = Self::open_once(dir, options)?;
                Ok(Opened { store, set_aside: Some((moved, damage)) })
            }
            Err(error) => Err(error),
        }
    }

    fn open_once(dir: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let disk = Disk::open(dir, options.cache_bytes)?;
        if disk::is_suspect(dir) {
            disk.scan(Vec::new()..vec![u8::MAX], |_, _| ControlFlow::Continue(()))?;
            disk::clear_suspicion(dir)?;
        }
        let store =
            Self { disk, options: *options, state: Mutex::default(), damaged: Mutex::default() };
        store.check_schema()?;
        store.load()?;
        Ok(store)
    }

    fn check_schema(&self) -> Result<(), StoreError> {
        let key = keys::META_SCHEMA;
        let found = match self.disk.get(key)? {
            Some(record) => self.sound(key, unseal_value::<u16>(key, &record)),
            None => None,
        };
        match found {
            Some(found) if found > STORE_SCHEMA => {
                Err(StoreError::TooNew { found, newest: STORE_SCHEMA })
            }
            Some(STORE_SCHEMA) => Ok(()),
            // Older records are read forward where they are met; an older build must not.
            Some(_) | None => {
                let mut changes = Changes::default();
                changes.put(key.to_vec(), seal_value("the store's schema", key, &STORE_SCHEMA)?);
                self.disk.write(changes)
            }
        }
    }

    fn load(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        self.disk.scan(keys::all_sensors(), |_, _| {
            state.sensors += 1;
            ControlFlow::Continue(())
        })?;
        self.disk.scan(keys::all_local_days(), |key, record| {
            if let Some(known) = self.sound(key, unseal_value::<LocalDayValue>(key, record)) {
                state.days.insert(known.day.date, known);
            }
            ControlFlow::Continue(())
        })?;
        self.disk.scan(keys::all_dirty(), |key, record| {
            // A damaged mark is a mark all the same, due at once.
            let due = self.sound(key, days::mark_due(key, record)).unwrap_or_default();
            state.dirty.extend(keys::date_and_sensor(key).map(|place| (place, due)));
            ControlFlow::Continue(())
        })?;
        self.load_arrivals(&mut state)?;
        self.disk.scan(keys::all_journal(), |key, record| {
            state.next_journal = keys::seq_of(key).map_or(0, |seq| seq.saturating_add(1));
            state.journal_records += 1;
            state.journal_bytes += record.len() as u64;
            ControlFlow::Continue(())
        })?;
        self.load_outbox(&mut state)?;
        self.disk.make_durable()?;
        state.outbox_durable = state.outbox.next;
        Ok(())
    }

    /// Reads the outbox's figures. If they are lost, the entries stay, but the stream is a new
    /// one: numbers that the server may have seen before must not come again under its name.
    fn load_outbox(&self, state: &mut State) -> Result<(), StoreError> {
        let key = keys::META_OUTBOX;
        let known = match self.disk.get(key)? {
            Some(record) => self.sound(key, unseal_figures(key, &record)),
            None => None,
        };
        state.outbox = match known {
            Some(known) => known,
            None => {
                let mut outbox =
                    OutboxValue { stream: new_stream(), next: 1, floor: 1, ..Default::default() };
                let mut first = None;
                self.disk.scan(keys::outbox_from(0), |key, record| {
                    if let Some(seq) = keys::seq_of(key) {
                        first.get_or_insert(seq);
                        outbox.next = seq.saturating_add(1);
                        outbox.bytes += record.len() as u64;
                        outbox.entries += 1;
                    }
                    ControlFlow::Continue(())
                })?;
                outbox.floor = first.unwrap_or(outbox.next);
                let mut changes = Changes::default();
                changes.put(key.to_vec(), seal_outbox("the outbox's figures", key, &outbox)?);
                self.disk.write(changes)?;
                outbox
            }
        };
        Ok(())
    }

    /// Adds one group commit: a single journal record, unless it is very large or brings new
    /// sensors or days. All of it or nothing is there after a crash; durable after
    /// [`Self::flush`].
    ///
    /// # Errors
    /// The disk refuses, or a sensor's id is too long for a record.
    pub fn append(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let mut state = self.state();
        let mut changes = Changes::default();
        for SensorRecord { ix, id, quantity } in batch.new_sensors {
            let key = keys::sensor(*ix);
            let value = SensorValue { id: id.clone(), quantity: *quantity };
            let record = seal_value("a sensor's record", &key, &value)?;
            changes.put(key, record);
        }
        let mut opened = Vec::new();
        for day in batch.new_days.iter().filter(|day| !state.days.contains_key(&day.date)) {
            let (key, value) = (keys::local_day(day.date), LocalDayValue { day: *day, open: true });
            let record = seal_value("a day's record", &key, &value)?;
            changes.put(key, record);
            opened.push(value);
        }
        let mut late = BTreeMap::new();
        for &(date, sensor, _) in batch.readings {
            let open = state.is_open(date) || opened.iter().any(|known| known.day.date == date);
            if !open
                && !state.dirty.contains_key(&(date, sensor))
                && late.insert((date, sensor), batch.late_due).is_none()
            {
                let key = keys::dirty(date, sensor);
                let record = days::mark(&key, batch.late_due)?;
                changes.put(key, record);
            }
        }
        let arrivals = self.put_arrivals(&state, &mut changes, batch)?;
        let (mut records, mut bytes) = (0, 0);
        for payload in journal::encode(batch.readings) {
            let key = keys::journal(state.next_journal.saturating_add(records));
            let record = seal("readings", &key, &payload)?;
            (records, bytes) = (records + 1, bytes + record.len() as u64);
            changes.put(key, record);
        }
        self.disk.write(changes)?;
        state.sensors += batch.new_sensors.len() as u64;
        state.days.extend(opened.into_iter().map(|known| (known.day.date, known)));
        state.dirty.append(&mut late);
        state.take_arrivals(arrivals);
        state.next_journal = state.next_journal.saturating_add(records);
        state.journal_records += records;
        state.journal_bytes += bytes;
        Ok(())
    }

    /// Returns once everything written so far survives a power cut. Without cost when nothing
    /// was written.
    ///
    /// # Errors
    /// The disk refuses; nothing since the last flush may then be taken as kept.
    pub fn flush(&self) -> Result<(), StoreError> {
        let next = self.state().outbox.next;
        self.disk.make_durable()?;
        let mut state = self.state();
        state.outbox_durable = state.outbox_durable.max(next);
        Ok(())
    }

    /// All sensors, by number.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sensors(&self) -> Result<Vec<SensorRecord>, StoreError> {
        let mut sensors = Vec::new();
        self.disk.scan(keys::all_sensors(), |key, record| {
            let value = self.sound(key, unseal_value::<SensorValue>(key, record));
            if let (Some(ix), Some(SensorValue { id, quantity })) = (keys::sensor_of(key), value) {
                sensors.push(SensorRecord { ix, id, quantity });
            }
            ControlFlow::Continue(())
        })?;
        Ok(sensors)
    }

    /// The open days, by date.
    #[must_use]
    pub fn open_days(&self) -> Vec<LocalDay> {
        self.state().days.values().filter(|known| known.open).map(|known| known.day).collect()
    }

    /// All days of which anything is kept, by date.
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

    /// Passes a sound record on; counts and reports a damaged one.
    fn sound<T>(&self, key: &[u8], read: Result<T, Damage>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(damage) => {
                let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
                if damaged.len() < MAX_DAMAGED_KEYS && damaged.insert(key.to_vec()) {
                    warn!(?key, %damage, damaged = damaged.len(), "a record is damaged, left out");
                }
                None
            }
        }
    }

    /// The lock is only held within calls, none of which leaves the figures half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A random number from the operating system, by way of the standard library's hasher keys.
fn new_stream() -> u64 {
    RandomState::new().build_hasher().finish()
}
