//! The bytes of each kind of record, frozen: what an earlier schema wrote, every later build reads.

use super::*;
use daywise_core::{
    baseline::{DayPart, Drift, Reason, Subject},
    wire::{Item, Silence},
};

use crate::store::{
    arrivals::Arrivals,
    open::STORE_SCHEMA,
    records::{
        EvictedValue, HeldValue, LocalDayValue, OutboxValue, SensorValue, seal, seal_outbox,
        unseal_figures, unseal_item, unseal_value,
    },
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value as the store writes it and reads it back.
fn sealed<T>(key: &[u8], value: &T) -> String
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let record = seal_value("test", key, value).unwrap();
    assert_eq!(unseal_value::<T>(key, &record).as_ref(), Ok(value));
    hex(&record)
}

#[test]
fn records_are_the_agreed_bytes() {
    let date = LocalDate(19_783);
    let kitchen = SensorValue { id: "kitchen/temperature".into(), quantity: Quantity::Temperature };
    let open = LocalDayValue { day: LocalDay::utc(date), open: true };
    let DayCommit { record, .. } = commit(date.0, 1, 2);
    let written = [
        sealed(keys::META_SCHEMA, &STORE_SCHEMA),
        sealed(&keys::sensor(SensorIx(3)), &kitchen),
        sealed(&keys::local_day(date), &open),
        sealed(&keys::day(date, SensorIx(1)), &record),
        sealed(&keys::held(date), &HeldValue { chunk_bytes: 5000, days: 3, day_bytes: 700 }),
        sealed(keys::META_FOLDED, &77_u64),
        sealed(
            keys::META_EVICTED,
            &EvictedValue { before: Some(date), chunk_days: 2, sensor_days: 9 },
        ),
    ];
    let agreed = [
        "a676aa490102",
        "cc10288001136b69746368656e2f74656d706572617475726501",
        "f945abcc018eb5028090fcf4be638080afc7bf63000001",
        "d4cc30110102020000003f010101010000a44100010000c03f010000003f0000",
        "4847d21901882703bc05",
        "58b23ebc014d",
        "80ba11d201018eb5020209",
    ];
    assert_eq!(written, agreed);
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn records_of_the_outbox_are_the_agreed_bytes() {
    let (key, first, second) = (keys::META_OUTBOX, keys::outbox(7), keys::outbox(8));
    let figures =
        OutboxValue { stream: 42, next: 9, floor: 3, bytes: 1000, evicted: 1, entries: 4 };
    let reason =
        Reason { subject: Subject::Part(DayPart::Night), deviate: 3.5, value: 24.5, usual: 21.25 };
    let day = Item::Day(SensorDay {
        reasons: [reason].into_iter().collect(),
        drift: Some(Drift { drift: 1.25, feature: 0, per_day: 0.5, ends: Some(LocalDate(19_801)) }),
        ..commit(19_783, 1, 2).upload.unwrap()
    });
    let silence = Item::Silence(silence());
    let written = [
        seal_outbox("test", key, &figures).unwrap(),
        seal_outbox("test", &first, &day).unwrap(),
        seal_outbox("test", &second, &silence).unwrap(),
    ];
    let agreed = [
        "e06956c9032a0903e8070104",
        "b851c3cc030012726f6f6d2d312f74656d7065726174757265018eb50202020000003f010101010000a44100010000c03f010000003f010000000060400000c4410000aa41010000a03f000000003f01b2b502",
        "5a3cfe360301136b69746368656e2f74656d70657261747572650180b08abfc4630180eac1c2c463c0a907",
    ];
    assert_eq!(written.each_ref().map(|record| hex(record)), agreed);
    let [figures_record, day_record, silence_record] = &written;
    assert_eq!(unseal_figures(key, figures_record), Ok(figures));
    assert_eq!(unseal_item(&first, day_record), Ok(day));
    assert_eq!(unseal_item(&second, silence_record), Ok(silence));
}

#[test]
fn records_of_the_outbox_of_schema_1_still_read() {
    let figures =
        OutboxValue { stream: 42, next: 9, floor: 3, bytes: 1000, evicted: 1, entries: 6 };
    assert_eq!(unseal_figures(keys::META_OUTBOX, &bytes("7807bcc2012a0903e80701")), Ok(figures));
    let day = "fcc0eea40112726f6f6d2d312f74656d7065726174757265018eb50202020000003f010101010000a44100010000c03f";
    assert_eq!(unseal_item(&keys::outbox(7), &bytes(day)), Ok(Item::Day(without_score())));
}

#[test]
fn records_of_the_outbox_of_schema_2_still_read() {
    let figures =
        OutboxValue { stream: 42, next: 9, floor: 3, bytes: 1000, evicted: 1, entries: 4 };
    let records = [
        "7e69fc05022a0903e8070104",
        "6e340d46020012726f6f6d2d312f74656d7065726174757265018eb50202020000003f010101010000a44100010000c03f",
        "f33777780201136b69746368656e2f74656d70657261747572650180b08abfc4630180eac1c2c463c0a907",
    ];
    assert_eq!(unseal_figures(keys::META_OUTBOX, &bytes(records[0])), Ok(figures));
    assert_eq!(unseal_item(&keys::outbox(7), &bytes(records[1])), Ok(Item::Day(without_score())));
    assert_eq!(unseal_item(&keys::outbox(8), &bytes(records[2])), Ok(Item::Silence(silence())));
}

/// A sensor-day as it was before it had a score, reasons and drift.
fn without_score() -> SensorDay {
    SensorDay { score: None, ..commit(19_783, 1, 2).upload.unwrap() }
}

fn silence() -> Silence {
    Silence {
        sensor: "kitchen/temperature".into(),
        quantity: Quantity::Temperature,
        since: UtcMillis(1_710_000_000_000),
        until: Some(UtcMillis(1_710_003_600_000)),
        expected_every_ms: 60_000,
    }
}

#[test]
fn samples_are_the_agreed_bytes() {
    let readings = [
        reading(19_783, 2, 60, 21.5),
        reading(19_783, 0, 60, 55.0),
        reading(19_783, 2, 120, 21.4),
        reading(19_782, 0, 86_399, 54.0),
    ];
    let batch = Batch {
        new_sensors: &[sensor(2)],
        new_days: &[LocalDay::utc(LocalDate(19_783))],
        readings: &readings,
        late_due: UtcMillis(1_710_000_000_000),
        ..Batch::default()
    };
    let payload = journal::encode(&batch, &Arrivals::default()).unwrap();
    assert_eq!(
        hex(&payload),
        "01010212726f6f6d2d322f74656d706572617475726501018eb5028090fcf4be638080afc7bf630000\
         80b08abfc46300000000008cb502b0e0b2520108006c008eb502c0a9070108006e031900ae03780100"
    );
    let mut expected = readings.to_vec();
    expected.sort_by_key(|&(date, sensor, _)| (date, sensor));
    let commit = journal::decode(&payload).unwrap();
    assert_eq!(commit.readings, expected);
    assert_eq!((commit.new_sensors, commit.new_days), (vec![sensor(2)], batch.new_days.to_vec()));
}

#[test]
fn the_files_of_the_journal_and_of_a_day_are_the_agreed_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path, &StoreOptions::default());
    let readings = [reading(19_783, 2, 60, 21.5), reading(19_783, 0, 60, 55.0)];
    let batch = Batch { readings: &readings, ..Batch::default() };
    store.append(&batch).unwrap();
    store.flush().unwrap();
    let journal = fs::read(path.join("journal")).unwrap();
    assert_eq!(
        hex(&journal[..44]),
        "64776a32010000000000000019000000cc4cad4d29fd0fdf0100000000000000008eb502c0a9070108006e03"
    );
    store.fold().unwrap();
    assert_eq!(
        hex(&fs::read(path.join("chunks/19783.chunks")).unwrap()),
        "6477633104000000c0daa5910003020489df4fbc08786e3a7db0ee0978ae03"
    );
}

#[test]
fn keys_are_the_agreed_bytes() {
    let (date, ix) = (LocalDate(-1), SensorIx(258));
    assert_eq!(hex(&keys::held(date)), "687fffffff");
    assert_eq!(hex(&keys::dirty(date, ix)), "647fffffff00000102");
    assert_eq!(hex(&keys::day(date, ix)), "727fffffff00000102");
    assert_eq!(hex(&keys::local_day(date)), "6c7fffffff");
    assert_eq!(hex(&keys::sensor(ix)), "7300000102");
    assert_eq!(hex(&keys::state(ix)), "7400000102");
    assert_eq!(hex(&keys::journal(258)), "6a0000000000000102");
    assert_eq!(hex(&keys::outbox(258)), "6f0000000000000102");
}

#[test]
fn marks_are_the_agreed_bytes() {
    let key = keys::dirty(LocalDate(-1), SensorIx(258));
    let record = days::mark(&key, UtcMillis(1_711_321_200_000)).unwrap();
    assert_eq!(hex(&record), "d29b1a790280d689abce63");
    assert_eq!(days::mark_due(&key, &record), Ok(UtcMillis(1_711_321_200_000)));
    let first_schema = seal("test", &key, &[]).unwrap();
    assert_eq!(days::mark_due(&key, &first_schema), Ok(UtcMillis(0)), "due at once");
}

#[test]
fn arrivals_are_the_agreed_bytes() {
    let held = Held {
        boot: 42,
        since_boot_ms: 61_000,
        sensor: SensorIx(3),
        stamp: Some(UtcMillis(1_711_321_200_000)),
        value: 21.5,
    };
    assert_eq!(
        sealed(&keys::quarantine(1), &vec![held]),
        "d3ab175001012a90b907030180d689abce630000000000803540"
    );
    assert_eq!(sealed(&keys::offset(SensorIx(3)), &-3_600_000_i64), "b026a94401ffb9b703");
    assert_eq!(
        sealed(keys::META_ZONE, &"Europe/Berlin".to_owned()),
        "737658cb010d4575726f70652f4265726c696e"
    );
}
