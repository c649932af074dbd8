//! Stores that the first schema's build left behind, killed and stopped, are read forward.
//!
//! Three sensors reported every two hours on three days in Berlin, the meter not on the second;
//! one reading came twice and one after its day had closed. On the fourth day five rounds came,
//! and one more reading for the first day, just before the end. The killed store has that one
//! still to be computed; the stopped one was started again first, so that it is.

use std::{fs::File, io::Read, path::PathBuf};

use daywise_core::{
    time::{DAY_MS, HOUR_MS},
    wire::Item,
};
use flate2::read::GzDecoder;

use super::*;

const FIRST: LocalDate = LocalDate(19_783);
const IDS: [&str; 3] = ["boiler/temperature", "hall/humidity", "meter/power"];

/// Puts what was left behind into a folder of its own.
fn unpack(name: &str, into: &Path) -> PathBuf {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/tests/golden/schema-1");
    let store = into.join(name);
    fs::create_dir_all(store.join("blobs")).unwrap();
    for entry in fs::read_dir(frozen.join(name)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let mut content = Vec::new();
        let opened = File::open(&path).unwrap();
        match file.strip_suffix(".gz") {
            Some(_) => GzDecoder::new(opened).read_to_end(&mut content).unwrap(),
            None => { opened }.read_to_end(&mut content).unwrap(),
        };
        fs::write(store.join(file.trim_end_matches(".gz")), content).unwrap();
    }
    store
}

/// What was fed for one sensor-day, by time.
fn fed(day: i32, ix: u32) -> Vec<Sample> {
    let midnight = i64::from(FIRST.0 + day) * DAY_MS - HOUR_MS;
    let rounds = match (day, ix) {
        (1, 2) => 0,
        (3, _) => 5,
        _ => 12,
    };
    let mut samples: Vec<Sample> = (0..rounds)
        .map(|round| {
            let (k, d) = (f64::from(round), f64::from(day));
            let values = [20.0 + d + k * 0.25, 50.0 + k * 0.5 - d, 100.0 + k * 10.5 + d * 0.125];
            let at = UtcMillis(midnight + (2 * i64::from(round) + 1) * HOUR_MS);
            Sample { at, value: values[ix as usize] }
        })
        .collect();
    match (day, ix) {
        (0, 0) => {
            samples.push(Sample { at: UtcMillis(midnight + 43 * HOUR_MS / 2), value: 19.5 });
        }
        (0, 1) => samples.push(Sample { at: UtcMillis(midnight + 6 * HOUR_MS), value: 44.5 }),
        _ => {}
    }
    samples.sort_by_key(|sample| sample.at);
    samples
}

fn expect_what_was_fed(store: &Store) {
    let sensors = store.sensors().unwrap();
    assert_eq!(sensors.iter().map(|sensor| sensor.id.as_str()).collect::<Vec<_>>(), IDS);
    let quantities = [Quantity::Temperature, Quantity::Humidity, Quantity::Power];
    assert_eq!(sensors.iter().map(|sensor| sensor.quantity).collect::<Vec<_>>(), quantities);
    for day in 0..4 {
        let date = FIRST.plus_days(day);
        let known = store.local_day(date).unwrap();
        assert_eq!(known.start, UtcMillis(i64::from(date.0) * DAY_MS - HOUR_MS), "a day in Berlin");
        for ix in 0..3 {
            let mut chunk = store.chunk(date, SensorIx(ix)).unwrap();
            chunk.sort_by_key(|sample| sample.at);
            assert_eq!(chunk, fed(day, ix), "{date}, sensor {ix}");
            let record = store.day_record(date, SensorIx(ix)).unwrap();
            assert_eq!(record.is_some(), day < 3 && (day, ix) != (1, 2));
        }
    }
    let open: Vec<LocalDate> = store.open_days().iter().map(|day| day.date).collect();
    assert_eq!(open, [FIRST.plus_days(3)]);
    assert!((0..3).all(|ix| store.sensor_state(SensorIx(ix)).unwrap().is_some()));
    assert_eq!(store.stats().damaged, 0);
}

/// Number, sensor, day and revision of everything that waits for the server.
fn outbox(store: &Store) -> Vec<(u64, String, i32, u32)> {
    let entries = store.outbox_batch(0, usize::MAX).unwrap().into_iter();
    entries
        .map(|entry| match entry.item {
            Item::Day(day) => (entry.seq, day.sensor, day.date.0 - FIRST.0, day.revision),
            Item::Silence(_) => panic!("there were none"),
        })
        .collect()
}

fn expected_outbox(entries: usize) -> Vec<(u64, String, i32, u32)> {
    let committed = [
        (0, 0, 1),
        (1, 0, 1),
        (2, 0, 1),
        (0, 0, 2),
        (0, 1, 1),
        (1, 1, 1),
        (0, 2, 1),
        (1, 2, 1),
        (2, 2, 1),
        (1, 0, 2),
    ];
    let numbered = (1..).zip(committed).take(entries);
    numbered.map(|(seq, (ix, day, revision))| (seq, IDS[ix].to_owned(), day, revision)).collect()
}

#[test]
fn a_store_of_schema_1_that_was_killed_opens_and_is_read_forward() {
    let dir = tempfile::tempdir().unwrap();
    let path = unpack("killed", dir.path());
    for opening in ["first", "second"] {
        let store = open(&path, &StoreOptions::default());
        expect_what_was_fed(&store);
        assert_eq!(outbox(&store), expected_outbox(9), "{opening} opening");
        assert_eq!(store.dirty(), [(FIRST, SensorIx(1))]);
        let hall = store.day_record(FIRST, SensorIx(1)).unwrap().unwrap();
        assert_eq!(
            (hall.revision, hall.samples),
            (1, 12),
            "the late reading is yet to be computed"
        );
        let mut restored = 0;
        store.restore(&mut |_, _, _| restored += 1).unwrap();
        assert_eq!(restored, 15, "the open day's readings");
    }
}

#[test]
fn a_store_of_schema_1_that_was_stopped_opens_and_is_read_forward() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&unpack("stopped", dir.path()), &StoreOptions::default());
    expect_what_was_fed(&store);
    assert_eq!(outbox(&store), expected_outbox(10));
    assert_eq!(store.dirty(), []);
    let hall = store.day_record(FIRST, SensorIx(1)).unwrap().unwrap();
    assert_eq!((hall.revision, hall.samples, hall.deviation), (2, 13, Some(100.0)));
    let mean = hall.features.unwrap().named("mean");
    assert_eq!(mean, Some(52.115_383));
}

/// Goes on where the old build stopped: appends, folds, closes, and everything is still there.
#[test]
fn a_store_of_schema_1_is_worked_with_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = unpack("killed", dir.path());
    let fourth = FIRST.plus_days(3);
    let at = UtcMillis(i64::from(fourth.0) * DAY_MS + 20 * HOUR_MS);
    let sample = Sample { at, value: 21.0 };
    {
        let store = open(&path, &StoreOptions::default());
        store
            .append(&Batch { readings: &[(fourth, SensorIx(0), sample)], ..Batch::default() })
            .unwrap();
        store.fold().unwrap();
        assert_eq!(store.begin_close(fourth).unwrap(), [0, 1, 2].map(SensorIx));
        store.flush().unwrap();
    }
    let store = open(&path, &StoreOptions::default());
    let mut chunk = store.chunk(fourth, SensorIx(0)).unwrap();
    chunk.sort_by_key(|sample| sample.at);
    assert_eq!(chunk, [fed(3, 0), vec![sample]].concat());
    assert_eq!(store.dirty().len(), 4, "the closed day's three, and the late one");
    assert_eq!(outbox(&store), expected_outbox(9));
}
