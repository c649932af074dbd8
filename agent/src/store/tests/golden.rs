//! The bytes of each kind of record, frozen: what schema 1 wrote, every later build reads.

use super::*;
use crate::store::records::{LocalDayValue, OutboxValue, SensorValue, unseal, unseal_value};

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
    assert_eq!(sealed(keys::META_SCHEMA, &STORE_SCHEMA), "GOLDEN_SCHEMA");
    let outbox = OutboxValue { stream: 42, next: 9, floor: 3, bytes: 1000, evicted: 1 };
    assert_eq!(sealed(keys::META_OUTBOX, &outbox), "GOLDEN_OUTBOX");
    let value = SensorValue { id: "kitchen/temperature".into(), quantity: Quantity::Temperature };
    assert_eq!(sealed(&keys::sensor(SensorIx(3)), &value), "GOLDEN_SENSOR");
    let value = LocalDayValue { day: LocalDay::utc(date), open: true };
    assert_eq!(sealed(&keys::local_day(date), &value), "GOLDEN_DAY");
    let DayCommit { record, upload, .. } = commit(date.0, 1, 2);
    assert_eq!(sealed(&keys::day(date, SensorIx(1)), &record), "GOLDEN_RECORD");
    assert_eq!(sealed(&keys::outbox(7), &upload.unwrap()), "GOLDEN_ENTRY");
}

#[test]
fn samples_are_the_agreed_bytes() {
    let readings = [
        reading(19_783, 2, 60, 21.5),
        reading(19_783, 0, 60, 55.0),
        reading(19_783, 2, 120, 21.4),
        reading(19_782, 0, 86_399, 54.0),
    ];
    let payloads = journal::encode(&readings);
    let [payload] = payloads.as_slice() else { panic!("one payload, not {}", payloads.len()) };
    let key = keys::journal(5);
    let record = seal("test", &key, payload).unwrap();
    assert_eq!(hex(&record), "GOLDEN_JOURNAL");
    let mut expected = readings.to_vec();
    expected.sort_by_key(|&(date, sensor, _)| (date, sensor));
    assert_eq!(journal::decode(unseal(&key, &record).unwrap()).unwrap(), expected);
}

#[test]
fn keys_are_the_agreed_bytes() {
    let (date, ix) = (LocalDate(-1), SensorIx(258));
    assert_eq!(hex(&keys::block(date, ix, 1)), "627fffffff0000010200000001");
    assert_eq!(hex(&keys::dirty(date, ix)), "647fffffff00000102");
    assert_eq!(hex(&keys::day(date, ix)), "727fffffff00000102");
    assert_eq!(hex(&keys::local_day(date)), "6c7fffffff");
    assert_eq!(hex(&keys::sensor(ix)), "7300000102");
    assert_eq!(hex(&keys::state(ix)), "7400000102");
    assert_eq!(hex(&keys::journal(258)), "6a0000000000000102");
    assert_eq!(hex(&keys::outbox(258)), "6f0000000000000102");
}
