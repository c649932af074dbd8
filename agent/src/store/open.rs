//! Opening: the tree, the journal and the days' files, and reading older schemas forward.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    ops::ControlFlow,
    path::Path,
    sync::Mutex,
};

use daywise_core::time::LocalDate;
use serde::de::DeserializeOwned;
use tracing::info;

use super::{
    CLEAN_UP_BATCH, Damaged, Opened, State, Store, StoreError, StoreOptions, Unfolded,
    arrivals::Known,
    chunks::{self, Block, Chunks},
    disk::{self, CHUNKS_FOLDER, Changes, Disk, JOURNAL_FILE},
    journal::{self, Commit, decode_readings},
    keys,
    log::{Log, Records},
    readings::add_to_chunks,
    records::{
        Damage, EvictedValue, HeldValue, LocalDayValue, OutboxValue, seal_outbox, seal_value,
        unseal, unseal_figures, unseal_value,
    },
};

/// The schema of the store as a whole: 2 since marks say when they are due, readings may wait for
/// the clock, the outbox may have holes and hold silences, and samples are in files.
pub(super) const STORE_SCHEMA: u16 = 2;

impl Store {
    /// Opens the store in the folder `dir`, or makes it. One that is damaged beyond opening is
    /// renamed to `{dir}.damaged-{n}` and a fresh one made in its place. One that an older build
    /// wrote is read forward.
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
        let damaged = Damaged::default();
        read_forward(&disk, &damaged)?;
        let state = load(&disk, &damaged)?;
        let kept_from = state.evicted.before.map_or(i32::MIN, |date| date.0).into();
        Ok(Self { disk, options: *options, state: Mutex::new(state), damaged, kept_from })
    }
}

/// Brings a store of any schema that this build knows to the newest.
fn read_forward(disk: &Disk, damaged: &Damaged) -> Result<(), StoreError> {
    let found = get::<u16>(disk, damaged, keys::META_SCHEMA)?;
    if let Some(found) = found.filter(|found| *found > STORE_SCHEMA) {
        return Err(StoreError::TooNew { found, newest: STORE_SCHEMA });
    }
    let has_files = disk.get(keys::META_FOLDED)?.is_some();
    if !has_files && (disk.has_any(keys::all_blocks())? || disk.has_any(keys::all_journal())?) {
        move_samples_out_of_the_tree(disk, damaged)?;
    } else if !has_files || found != Some(STORE_SCHEMA) {
        // Other older records are read forward where they are met; an older build must not.
        let mut changes = schema_change()?;
        if !has_files {
            let mut held = BTreeMap::new();
            count_days(disk, &mut held)?;
            note_files(&mut changes, &held)?;
        }
        disk.write(changes)?;
    }
    // What an interrupted move left.
    disk.remove_all(keys::all_blocks(), CLEAN_UP_BATCH)?;
    disk.remove_all(keys::all_journal(), CLEAN_UP_BATCH)
}

fn schema_change() -> Result<Changes, StoreError> {
    let mut changes = Changes::default();
    let record = seal_value("the store's schema", keys::META_SCHEMA, &STORE_SCHEMA)?;
    changes.put(keys::META_SCHEMA.to_vec(), record);
    Ok(changes)
}

/// From here on samples are in files, and of these so much counts.
fn note_files(
    changes: &mut Changes,
    held: &BTreeMap<LocalDate, HeldValue>,
) -> Result<(), StoreError> {
    for (&date, value) in held {
        let key = keys::held(date);
        let record = seal_value("what is held of a date", &key, value)?;
        changes.put(key, record);
    }
    let key = keys::META_FOLDED;
    changes.put(key.to_vec(), seal_value("the journal's state", key, &0_u64)?);
    Ok(())
}

/// As the first schema had them. Until its one change is durable the samples in the tree are the ones that
/// count, and a new try begins with empty files.
fn move_samples_out_of_the_tree(disk: &Disk, damaged: &Damaged) -> Result<(), StoreError> {
    let mut chunks = Chunks::open(disk.dir().join(CHUNKS_FOLDER))?;
    chunks.keep_only(|_| false)?;
    let mut dates = BTreeSet::new();
    disk.scan(keys::all_blocks(), |key, _| {
        dates.extend(keys::date_and_sensor(key).map(|(date, _)| date));
        ControlFlow::Continue(())
    })?;
    let mut held: BTreeMap<LocalDate, HeldValue> = BTreeMap::new();
    for date in dates {
        // A section holds one block of a sensor, and the encoding is the same.
        let mut sections: BTreeMap<u32, Vec<Block>> = BTreeMap::new();
        disk.scan(keys::blocks_of_date(date), |key, record| {
            let payload = damaged.sound(key, unseal(key, record));
            let place = (keys::date_and_sensor(key), keys::block_number(key));
            if let (Some(payload), (Some((_, sensor)), Some(n))) = (payload, place) {
                sections.entry(n).or_default().push((sensor, payload.to_vec()));
            }
            ControlFlow::Continue(())
        })?;
        let held = held.entry(date).or_default();
        for section in sections.values() {
            held.chunk_bytes = chunks.append(date, held.chunk_bytes, section)?;
        }
    }
    let mut readings = Vec::new();
    disk.scan(keys::all_journal(), |key, record| {
        let found = unseal(key, record)
            .and_then(|payload| decode_readings(payload).map_err(|_| Damage::Content));
        readings.extend(damaged.sound(key, found).unwrap_or_default());
        ControlFlow::Continue(())
    })?;
    add_to_chunks(&mut chunks, &mut held, &mut readings)?;
    chunks.make_durable()?;
    count_days(disk, &mut held)?;
    let mut changes = schema_change()?;
    note_files(&mut changes, &held)?;
    disk.write(changes)?;
    disk.make_durable()?;
    info!(days = held.len(), "the store of an older build was read forward");
    Ok(())
}

/// Counts the sensor-days that are kept, by date.
fn count_days(disk: &Disk, held: &mut BTreeMap<LocalDate, HeldValue>) -> Result<(), StoreError> {
    disk.scan(keys::all_days(), |key, record| {
        if let Some((date, _)) = keys::date_and_sensor(key) {
            let held = held.entry(date).or_default();
            held.days += 1;
            held.day_bytes += record.len() as u64;
        }
        ControlFlow::Continue(())
    })
}

/// Learns what the store holds.
pub(super) fn load(disk: &Disk, damaged: &Damaged) -> Result<State, StoreError> {
    let mut sensors = 0;
    disk.scan(keys::all_sensors(), |_, _| {
        sensors += 1;
        ControlFlow::Continue(())
    })?;
    let mut days = BTreeMap::new();
    disk.scan(keys::all_local_days(), |key, record| {
        if let Some(known) = damaged.sound(key, unseal_value::<LocalDayValue>(key, record)) {
            days.insert(known.day.date, known);
        }
        ControlFlow::Continue(())
    })?;
    let mut dirty = BTreeMap::new();
    disk.scan(keys::all_dirty(), |key, record| {
        // A damaged mark is a mark all the same, due at once.
        let due = damaged.sound(key, super::days::mark_due(key, record)).unwrap_or_default();
        let place = keys::date_and_sensor(key);
        // Of a day that was about to be closed it does not count yet.
        let place = place.filter(|(date, _)| days.get(date).is_none_or(|known| !known.open));
        dirty.extend(place.map(|place| (place, due)));
        ControlFlow::Continue(())
    })?;
    let mut state_bytes = 0;
    disk.scan(keys::all_states(), |key, record| {
        state_bytes += (key.len() + record.len()) as u64;
        ControlFlow::Continue(())
    })?;
    let mut evicted = get::<EvictedValue>(disk, damaged, keys::META_EVICTED)?.unwrap_or_default();
    let mut held = load_held(disk, damaged)?;
    let mut chunks = Chunks::open(disk.dir().join(CHUNKS_FOLDER))?;
    chunks.keep_only(|date| held.get(&date).is_some_and(|held| held.chunk_bytes > 0))?;
    for (&date, value) in held.iter_mut().filter(|(_, value)| value.chunk_bytes > 0) {
        // It was being given up for lack of space.
        if !chunks.exists(date) {
            value.chunk_bytes = 0;
            evicted.before = evicted.before.max(Some(date.plus_days(1)));
        }
    }
    let folded = get::<u64>(disk, damaged, keys::META_FOLDED)?.unwrap_or(0);
    let mut log = Log::open(&disk.dir().join(JOURNAL_FILE), folded)?;
    log.make_durable()?;
    // The journal's name, whoever made it.
    chunks::sync_folder(disk.dir())?;
    // Decoded one at a time, twice: all of them would take several times their bytes.
    let content = log.content()?;
    for (_, payload) in Records::new(&content, folded) {
        if let Ok(commit) = journal::decode(payload) {
            commit.arrivals.apply(disk)?;
        }
    }
    let mut state = State {
        arrivals: Known::load(disk, damaged)?,
        log,
        chunks,
        sensors,
        days,
        dirty,
        held,
        outbox: load_outbox(disk, damaged)?,
        outbox_durable: 0,
        evicted,
        unfolded: Unfolded::default(),
        state_bytes,
    };
    let mut expected = folded.saturating_add(1);
    for (seq, payload) in Records::new(&content, folded) {
        for lost in (expected..seq).take(super::MAX_DAMAGED_KEYS) {
            damaged.note(&keys::journal(lost), Damage::Checksum);
        }
        expected = seq.saturating_add(1);
        if let Some(commit) = damaged.sound(&keys::journal(seq), journal::decode(payload)) {
            let Commit { new_sensors, new_days, readings, late_due, arrivals } = commit;
            state.handle_commit(&new_sensors, &new_days, &readings, late_due);
            state.arrivals.handle_deliveries(&arrivals);
        }
    }
    disk.make_durable()?;
    state.outbox_durable = state.outbox.next;
    Ok(state)
}

/// What is held by date. Where the note of a date is lost, so is how much of its file counts: all
/// of it is then taken, since damage in it is noticed block by block.
fn load_held(disk: &Disk, damaged: &Damaged) -> Result<BTreeMap<LocalDate, HeldValue>, StoreError> {
    let mut held = BTreeMap::new();
    let mut lost = Vec::new();
    disk.scan(keys::all_held(), |key, record| {
        if let Some(date) = keys::date_of(key) {
            match damaged.sound(key, unseal_value::<HeldValue>(key, record)) {
                Some(value) => drop(held.insert(date, value)),
                None => lost.push(date),
            }
        }
        ControlFlow::Continue(())
    })?;
    for date in lost {
        let path = chunks::path(&disk.dir().join(CHUNKS_FOLDER), date);
        let chunk_bytes = std::fs::metadata(path).map_or(0, |file| file.len());
        let mut value = HeldValue { chunk_bytes, ..HeldValue::default() };
        disk.scan(keys::days_of_date(date), |_, record| {
            value.days += 1;
            value.day_bytes += record.len() as u64;
            ControlFlow::Continue(())
        })?;
        held.insert(date, value);
    }
    Ok(held)
}

/// Reads the outbox's figures. If they are lost, the entries stay, but the stream is a new
/// one: numbers that the server may have seen before must not come again under its name.
fn load_outbox(disk: &Disk, damaged: &Damaged) -> Result<OutboxValue, StoreError> {
    let key = keys::META_OUTBOX;
    let record = disk.get(key)?;
    let known = record.and_then(|record| damaged.sound(key, unseal_figures(key, &record)));
    if let Some(known) = known {
        return Ok(known);
    }
    let mut outbox = OutboxValue { stream: new_stream(), next: 1, floor: 1, ..Default::default() };
    let mut first = None;
    disk.scan(keys::outbox_from(0), |key, record| {
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
    disk.write(changes)?;
    Ok(outbox)
}

/// The value under `key`, unless there is none or it is damaged.
fn get<T: DeserializeOwned>(
    disk: &Disk,
    damaged: &Damaged,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    let record = disk.get(key)?;
    Ok(record.and_then(|record| damaged.sound(key, unseal_value(key, &record))))
}

/// A random number from the operating system, by way of the standard library's hasher keys.
fn new_stream() -> u64 {
    RandomState::new().build_hasher().finish()
}
