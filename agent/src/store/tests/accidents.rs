//! Damage, newer builds, and stores that cannot be opened.

use daywise_core::wire::{Entry, SeqRange};

use super::*;
use crate::store::{
    disk::{self, Changes},
    open::STORE_SCHEMA,
};

/// What to do to a store's files, and what that is called.
type Damaging = (&'static str, fn(&Path));

/// Overwrites a record behind the store's back.
fn overwrite(store: &Store, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let mut record = store.disk.get(key).unwrap().unwrap();
    change(&mut record);
    let mut changes = Changes::default();
    changes.put(key.to_vec(), record);
    store.disk.write(changes).unwrap();
}

#[expect(clippy::ptr_arg, reason = "passed to `overwrite`, which may also shorten a record")]
fn flip_last(record: &mut Vec<u8>) {
    *record.last_mut().unwrap() ^= 0x20;
}

/// Changes a byte in a file of the store, behind its back, counted from the file's end if below 0.
fn flip(file: &Path, place: i64) {
    let mut content = fs::read(file).unwrap();
    let length = i64::try_from(content.len()).unwrap();
    let place = usize::try_from(place.rem_euclid(length)).unwrap();
    content[place] ^= 0x20;
    fs::write(file, content).unwrap();
}

/// Where the journal's record with that number begins.
fn record_in_journal(path: &Path, number: u64) -> i64 {
    let content = fs::read(path.join("journal")).unwrap();
    let beginning = [b"dwj2".as_slice(), &number.to_le_bytes()].concat();
    let place = content.windows(12).position(|window| window == beginning).unwrap();
    i64::try_from(place).unwrap()
}

fn filled(path: &Path) -> Store {
    let store = open(path, &StoreOptions::default());
    let sensors: Vec<SensorRecord> = (0..3).map(sensor).collect();
    for second in 0..3 {
        let readings: Vec<_> = (0..3).map(|ix| reading(0, ix, second, 20.0)).collect();
        let first = second == 0;
        let batch = Batch {
            new_sensors: if first { &sensors } else { &[] },
            new_days: if first { &[day(0)] } else { &[] },
            readings: &readings,
            ..Batch::default()
        };
        store.append(&batch).unwrap();
    }
    store
}

#[test]
fn damaged_records_are_left_out_and_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = filled(&path);
    store.flush().unwrap();
    flip(&path.join("journal"), record_in_journal(&path, 2) + 40);
    store.fold().unwrap();
    for _ in 0..2 {
        let left = store.chunk(LocalDate(0), SensorIx(2)).unwrap();
        assert_eq!(left.len(), 2, "one of three is lost");
    }
    overwrite(&store, &keys::sensor(SensorIx(1)), |record| record.truncate(2));
    for _ in 0..2 {
        assert_eq!(store.sensors().unwrap(), [sensor(0), sensor(2)]);
        assert_eq!(store.stats().damaged, 1);
    }
    assert_eq!(store.journal_size(), (0, 0), "damage does not stay in the journal");
}

/// The journal as a damaged card gives it back: the record in the middle is lost, and nothing else.
#[test]
fn a_damaged_journal_record_takes_no_day_with_it() {
    for place in [0, 5, 13, 22, 30] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let store = filled(&path);
        store.flush().unwrap();
        drop(store);
        flip(&path.join("journal"), record_in_journal(&path, 2) + place);
        let store = open(&path, &StoreOptions::default());
        assert_eq!(store.stats().damaged, 1, "byte {place}");
        let seconds: Vec<i64> = store
            .chunk(LocalDate(0), SensorIx(1))
            .unwrap()
            .iter()
            .map(|sample| sample.at.0 / 1000)
            .collect();
        assert_eq!(seconds, [0, 2], "byte {place}");
        assert_eq!(store.sensors().unwrap().len(), 3);
        assert_eq!(store.open_days(), [day(0)]);
        store.append(&Batch { readings: &[reading(0, 1, 9, 1.0)], ..Batch::default() }).unwrap();
        store.fold().unwrap();
        assert_eq!(store.chunk(LocalDate(0), SensorIx(1)).unwrap().len(), 3);
    }
}

/// Two sections of a day's file, and every byte of it damaged in turn: at the worst one section is
/// lost, and never the day.
#[test]
fn a_damaged_byte_in_a_days_file_takes_one_section_at_the_most() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = filled(&path);
    store.fold().unwrap();
    let first = store.stats().chunk_bytes;
    let late: Vec<_> = (0..3).map(|ix| reading(0, ix, 7, 30.0)).collect();
    store.append(&Batch { readings: &late, ..Batch::default() }).unwrap();
    store.fold().unwrap();
    let bytes = store.stats().chunk_bytes;
    drop(store);
    let file = path.join("chunks/0.chunks");
    for place in 0..i64::try_from(bytes).unwrap() {
        flip(&file, place);
        let store = open(&path, &StoreOptions::default());
        let samples = |ix| store.chunk(LocalDate(0), SensorIx(ix)).unwrap().len();
        let left = [samples(0), samples(1), samples(2)];
        let whole = if place < first.cast_signed() { 1 } else { 3 };
        assert!(left.iter().all(|&left| left >= whole && left <= 4), "byte {place}: {left:?}");
        assert!(left.iter().sum::<usize>() < 12, "byte {place} is part of something");
        assert_eq!(store.stats().damaged, 1, "byte {place}");
        drop(store);
        flip(&file, place);
    }
    let store = open(&path, &StoreOptions::default());
    assert_eq!(store.chunk(LocalDate(0), SensorIx(2)).unwrap().len(), 4);
    assert_eq!(store.stats().damaged, 0);
}

#[test]
fn a_days_file_that_was_cut_short_gives_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = filled(&path);
    store.fold().unwrap();
    let file = path.join("chunks/0.chunks");
    let content = fs::read(&file).unwrap();
    fs::write(&file, &content[..content.len() - 3]).unwrap();
    assert_eq!(store.chunk(LocalDate(0), SensorIx(0)).unwrap().len(), 3);
    assert_eq!(store.chunk(LocalDate(0), SensorIx(2)).unwrap(), []);
    assert_eq!(store.stats().damaged, 1);
    let mut samples = Vec::new();
    let mut count = |_, chunk: Vec<Sample>| {
        samples.push(chunk.len());
        ControlFlow::Continue(())
    };
    store.chunks(LocalDate(0), &mut count).unwrap();
    assert_eq!(samples, [3, 3, 0]);
}

/// What a crash leaves between a fold's files and its change in the tree.
#[test]
fn what_an_interrupted_fold_left_in_a_days_file_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = filled(&path);
    store.flush().unwrap();
    copy(&path, &dir.path().join("before"));
    store.fold().unwrap();
    let killed = dir.path().join("before");
    fs::copy(path.join("chunks/0.chunks"), killed.join("chunks/0.chunks")).unwrap();
    fs::write(killed.join("chunks/7.chunks"), b"of a day that nobody knows").unwrap();
    let store = open(&killed, &StoreOptions::default());
    assert_eq!(store.chunk(LocalDate(0), SensorIx(2)).unwrap().len(), 3);
    assert!(!killed.join("chunks/7.chunks").exists());
    store.fold().unwrap();
    assert_eq!(store.chunk(LocalDate(0), SensorIx(2)).unwrap().len(), 3);
    drop(store);
    let store = open(&killed, &StoreOptions::default());
    assert_eq!(store.chunk(LocalDate(0), SensorIx(2)).unwrap().len(), 3);
    assert_eq!((store.stats().damaged, store.journal_size().0), (0, 0));
}

#[test]
fn a_record_under_anothers_key_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir.path().join("store"));
    store.fold().unwrap();
    let other = store.disk.get(&keys::sensor(SensorIx(2))).unwrap().unwrap();
    overwrite(&store, &keys::sensor(SensorIx(0)), |record| *record = other);
    assert_eq!(store.sensors().unwrap(), [sensor(1), sensor(2)]);
}

#[test]
fn a_damaged_outbox_entry_does_not_hold_up_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"), &StoreOptions::default());
    let commits: Vec<DayCommit> = (0..6).map(|ix| commit(0, ix, 1)).collect();
    store.commit_days(&commits).unwrap();
    store.flush().unwrap();
    for seq in [1, 2, 4] {
        overwrite(&store, &keys::outbox(seq), flip_last);
    }
    let seqs = |entries: Vec<Entry>| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    let newest = store.outbox_newest(SeqRange { first: 1, last: 4 }, 0).unwrap();
    assert_eq!(seqs(newest), [3], "the damaged one above it is given up");
    assert_eq!((store.outbox_floor(), store.outbox_len(), store.outbox_evicted()), (1, 5, 1));
    assert_eq!(seqs(store.outbox_batch(0, 10_000).unwrap()), [3, 5, 6]);
    assert_eq!((store.outbox_floor(), store.outbox_len(), store.outbox_evicted()), (3, 3, 3));
    store.outbox_ack(6, &[]).unwrap();
    assert_eq!((store.outbox_floor(), store.stats().outbox_bytes), (7, 0));
}

#[test]
fn a_lost_outbox_record_starts_a_new_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path, &StoreOptions::default());
    store.commit_days(&[commit(0, 0, 1), commit(0, 1, 1)]).unwrap();
    store.flush().unwrap();
    store.outbox_ack(1, &[]).unwrap();
    let stream = store.stream();
    overwrite(&store, keys::META_OUTBOX, flip_last);
    drop(store);
    let store = open(&path, &StoreOptions::default());
    assert_ne!(store.stream(), stream);
    assert_eq!((store.outbox_floor(), store.outbox_next(), store.outbox_len()), (2, 3, 1));
    assert_eq!(store.stats().damaged, 1);
}

/// What a kill within an opening leaves.
#[test]
fn a_half_written_snapshot_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(filled(&path));
    drop(open(&path, &StoreOptions::default()));
    fs::write(path.join("snap.0FFFFFFFFFFFFFFF.generating"), [1; 20]).unwrap();
    let store = open(&path, &StoreOptions::default());
    assert_eq!(store.sensors().unwrap().len(), 3);
    assert_eq!(store.stats().damaged, 0);
}

#[test]
fn a_newer_builds_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = filled(&path);
    let newer = seal_value("schema", keys::META_SCHEMA, &(STORE_SCHEMA + 1)).unwrap();
    overwrite(&store, keys::META_SCHEMA, |record| *record = newer);
    drop(store);
    let error = Store::open(&path, &StoreOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "the store has schema 3; this build reads up to 2");
    assert_eq!(error.remedy(), Remedy::Stop);
    assert!(path.exists());
}

#[test]
fn a_store_in_use_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = filled(&path);
    let error = Store::open(&path, &StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    drop(store);
    assert_eq!(open(&path, &StoreOptions::default()).sensors().unwrap().len(), 3);
}

/// Damages sled's file so that sled returns an error, or panics, in opening.
#[test]
fn a_store_that_cannot_be_opened_is_set_aside() {
    let damages: [Damaging; 3] = [
        ("garbage log", |store| {
            let garbage: Vec<u8> = (0..=u8::MAX).cycle().step_by(31).take(600_000).collect();
            fs::write(store.join("db"), garbage).unwrap();
        }),
        ("garbage settings", |store| fs::write(store.join("conf"), [0xff; 64]).unwrap()),
        ("log replaced by nothing while a snapshot counts on it", |store| {
            fs::write(store.join("db"), []).unwrap();
        }),
    ];
    for (damage, inflict) in damages {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        drop(filled(&path));
        drop(open(&path, &StoreOptions::default()));
        inflict(&path);
        let opened = Store::open(&path, &StoreOptions::default()).unwrap();
        assert_eq!(opened.store.sensors().unwrap(), [], "{damage}: a fresh store");
        if let Some((moved, error)) = &opened.set_aside {
            assert_eq!(*moved, dir.path().join("store.damaged-1"), "{damage}");
            assert!(moved.join("db").exists() && matches!(error, StoreError::Damaged { .. }));
        } else {
            // sled took it for an empty one.
            assert_eq!(damage, "log replaced by nothing while a snapshot counts on it");
        }
        drop(opened);
        let opened = Store::open(&path, &StoreOptions::default()).unwrap();
        assert!(opened.set_aside.is_none(), "{damage}: not again");
    }
}

#[test]
fn set_aside_stores_are_few() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for n in 1..=5 {
        fs::create_dir_all(&path).unwrap();
        let moved = disk::set_aside(&path).unwrap();
        assert_eq!(moved, dir.path().join(format!("store.damaged-{n}")));
    }
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["store.damaged-3", "store.damaged-4", "store.damaged-5"]);
}

#[test]
fn a_suspect_store_is_read_whole_and_cleared_if_sound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(filled(&path));
    fs::write(dir.path().join("store.suspect"), "the engine panicked").unwrap();
    let store = open(&path, &StoreOptions::default());
    assert_eq!(store.sensors().unwrap().len(), 3);
    assert!(!dir.path().join("store.suspect").exists());
}

#[test]
fn what_is_too_large_for_a_record_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"), &StoreOptions::default());
    let mut large = commit(0, 1, 1);
    large.sensor_state = Some(vec![0; 5000]);
    let error = store.commit_days(&[commit(0, 0, 1), large]).unwrap_err();
    assert_eq!(error.to_string(), "a sensor's state of 5000 bytes; a record holds 3072");
    assert_eq!(error.remedy(), Remedy::SkipRecord);
    assert_eq!(store.outbox_next(), 1);
    assert_eq!(store.day_record(LocalDate(0), SensorIx(0)).unwrap(), None);
}

/// The least that the disk layer must do, against a store that is copied without being closed.
#[test]
fn what_was_flushed_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir.path().join("store"));
    store.flush().unwrap();
    copy(&dir.path().join("store"), &dir.path().join("killed"));
    let killed = open(&dir.path().join("killed"), &StoreOptions::default());
    assert_eq!(killed.stream(), store.stream());
    assert_eq!(killed.journal_size().0, 3);
    assert_eq!(killed.chunk(LocalDate(0), SensorIx(2)).unwrap().len(), 3);
}

#[test]
fn a_panic_in_the_engine_comes_back_as_damage_and_is_looked_into_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = filled(&path);
    let error = store.disk.guarded::<()>("read", |_| panic!("page 7 is gone")).unwrap_err();
    assert_eq!(error.to_string(), "the store is damaged: the engine panicked: page 7 is gone");
    assert_eq!(error.remedy(), Remedy::Stop);
    assert!(disk::is_suspect(&path));
    drop(store);
    let store = open(&path, &StoreOptions::default());
    assert_eq!(store.sensors().unwrap().len(), 3, "nothing was wrong after all");
    assert!(!disk::is_suspect(&path));
}

/// What a crash leaves between the marks of a day that is being closed and the note that it is.
#[test]
fn marks_of_a_day_that_is_still_open_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = filled(&path);
    store.fold().unwrap();
    let key = keys::dirty(LocalDate(0), SensorIx(1));
    let mut changes = Changes::default();
    changes.put(key.clone(), days::mark(&key, UtcMillis(0)).unwrap());
    store.disk.write(changes).unwrap();
    drop(store);
    let store = open(&path, &StoreOptions::default());
    assert_eq!((store.open_days(), store.dirty()), (vec![day(0)], vec![]));
    assert_eq!(store.begin_close(LocalDate(0)).unwrap().len(), 3);
    drop(store);
    let store = open(&path, &StoreOptions::default());
    assert_eq!((store.open_days(), store.dirty().len()), (vec![], 3));
}

#[test]
fn the_newest_closed_day_is_known_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"), &StoreOptions::default());
    assert_eq!(store.newest_closed_day(), None);
    let readings: Vec<DayReading> = (4..7).map(|date| reading(date, 0, 5, 20.0)).collect();
    let new_days = [day(4), day(5), day(6)];
    let batch = Batch {
        new_sensors: &[sensor(0)],
        new_days: &new_days,
        readings: &readings,
        ..Batch::default()
    };
    store.append(&batch).unwrap();
    store.begin_close(LocalDate(4)).unwrap();
    store.begin_close(LocalDate(5)).unwrap();
    store.flush().unwrap();
    copy(&dir.path().join("store"), &dir.path().join("killed"));
    let killed = open(&dir.path().join("killed"), &StoreOptions::default());
    assert_eq!(killed.newest_closed_day(), Some(day(5)), "the 6th is still open");
}
