//! Laws and accidents of the whole store.

mod accidents;
mod golden;
mod laws;
mod schema_1;
mod space;

use std::{fs, path::Path};

use daywise_core::{
    features::{FeatureSet, Features},
    quantity::Quantity,
    reading::{Sample, SensorIx},
    time::{LocalDate, LocalDay, UtcMillis},
    wire::SensorDay,
};

use super::*;

fn open(dir: &Path, options: &StoreOptions) -> Store {
    let opened = Store::open(dir, options).unwrap();
    assert!(opened.set_aside.is_none(), "{:?}", opened.set_aside);
    opened.store
}

fn reading(date: i32, sensor: u32, second: i64, value: f64) -> DayReading {
    let at = UtcMillis(i64::from(date) * 86_400_000 + second * 1000);
    (LocalDate(date), SensorIx(sensor), Sample { at, value })
}

fn day(date: i32) -> LocalDay {
    LocalDay::utc(LocalDate(date))
}

fn sensor(ix: u32) -> SensorRecord {
    let id = format!("room-{ix}/temperature");
    SensorRecord { ix: SensorIx(ix), id, quantity: Quantity::Temperature }
}

/// A commit of one sensor-day; `revision` tells one from another.
fn commit(date: i32, ix: u32, revision: u32) -> DayCommit {
    let features = Features::new(FeatureSet::Moments1, [Some(20.5), None]).unwrap();
    let SensorRecord { id, quantity, .. } = sensor(ix);
    let (samples, coverage, date) = (2, 0.5, LocalDate(date));
    let record = DayRecord {
        revision,
        samples,
        coverage,
        features: Some(features.clone()),
        prediction: None,
        deviation: Some(1.5),
        score: Some(0.5),
        reasons: heapless::Vec::new(),
        drift: None,
    };
    let upload = SensorDay {
        sensor: id,
        quantity,
        date,
        revision,
        samples,
        coverage,
        features: Some(features),
        prediction: None,
        deviation: Some(1.5),
        score: record.score,
        reasons: record.reasons.clone(),
        drift: record.drift,
    };
    let state = Some(revision.to_le_bytes().to_vec());
    DayCommit { date, sensor: SensorIx(ix), record, upload: Some(upload), sensor_state: state }
}

/// What a `kill -9` or a power cut leaves: the files as they are now.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_sensor_of_which_more_is_known_stays_the_same_sensor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path, &StoreOptions::default());
    let first = [sensor(0), sensor(1)];
    let better = [SensorRecord { quantity: Quantity::EnergyTotal, ..sensor(0) }];
    let expected = [better[0].clone(), sensor(1)];
    for (new_sensors, fold) in [(&first[..], false), (&better[..], false), (&[], true)] {
        store.append(&Batch { new_sensors, ..Batch::default() }).unwrap();
        if fold {
            assert_eq!(store.sensors().unwrap(), expected, "before the fold");
            store.fold().unwrap();
        }
    }
    assert_eq!(store.sensors().unwrap(), expected);
    assert_eq!(store.stats().sensors, 2);
    drop(store);
    assert_eq!(open(&path, &StoreOptions::default()).sensors().unwrap(), expected);
}

#[test]
fn readings_of_a_day_that_was_never_open_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"), &StoreOptions::default());
    let (sensors, readings) = ([sensor(0)], [reading(3, 0, 5, 20.0)]);
    let batch = Batch { new_sensors: &sensors, readings: &readings, ..Batch::default() };
    store.append(&batch).unwrap();
    for _ in 0..2 {
        assert_eq!(store.dates().into_iter().collect::<Vec<_>>(), [LocalDate(3)]);
        store.fold().unwrap();
    }
    store.unmark(LocalDate(3), SensorIx(0)).unwrap();
    assert!(store.dates().contains(&LocalDate(3)), "also once it is computed");
}
