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
    let outbox = OutboxValue { stream: 42, next: 9, floor: 3, bytes: 1000, evicted: 1 };
    let kitchen = SensorValue { id: "kitchen/temperature".into(), quantity: Quantity::Temperature };
    let open = LocalDayValue { day: LocalDay::utc(date), open: true };
    let DayCommit { record, upload, .. } = commit(date.0, 1, 2);
    let written = [
        sealed(keys::META_SCHEMA, &STORE_SCHEMA),
        sealed(keys::META_OUTBOX, &outbox),
        sealed(&keys::sensor(SensorIx(3)), &kitchen),
        sealed(&keys::local_day(date), &open),
        sealed(&keys::day(date, SensorIx(1)), &record),
        sealed(&keys::outbox(7), &upload.unwrap()),
    ];
    let agreed = [
        "1c27a3d00101",
        "7807bcc2012a0903e80701",
        "cc10288001136b69746368656e2f74656d706572617475726501",
        "f945abcc018eb5028090fcf4be638080afc7bf63000001",
        "913c35570102020000003f010101010000a44100010000c03f",
        "fcc0eea40112726f6f6d2d312f74656d7065726174757265018eb50202020000003f010101010000a44100010000c03f",
    ];
    assert_eq!(written, agreed);
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
    assert_eq!(
        hex(&record),
        "4d2b985a018cb502b0e0b2520108006c008eb502c0a9070108006e031900ae03780100"
    );
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
