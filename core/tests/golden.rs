//! Frozen bytes: every message and artifact of every released schema still reads, and what is
//! written today is exactly what was agreed. A change here is a change of the protocol: raise
//! the schema number, add a folder, and keep reading the old one.

#![expect(clippy::unwrap_used, reason = "helpers of tests; a failure is the test's")]

use std::{fmt::Debug, path::PathBuf};

use daywise_core::{
    baseline::{DayPart, Drift, Reason, Subject},
    features::{FeatureSet, Features},
    model::{self, Cluster, Digest, Family, Model, NoveltyTable, Scaling},
    predict::{Contribution, Prediction},
    quantity::Quantity,
    time::{LocalDate, UtcMillis},
    wire::{
        self, Ack, Desired, Entry, Health, Item, Message, ModelRef, Reported, SensorDay, SeqRange,
        Silence, Up, UpdateState,
    },
};

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_message<M: Message + PartialEq + Debug>(name: &str, message: &M) {
    let frozen = golden(name);
    let written = wire::encode(message).unwrap();
    assert_eq!(hex(&written), hex(&frozen), "{name}: written bytes");
    assert_eq!(wire::decode::<M>(&frozen).as_ref(), Ok(message), "{name}: read back");
}

fn model_ref() -> ModelRef {
    ModelRef { version: 7, digest: Digest([0xab; 32]), bytes: 4_321 }
}

const STREAM: u64 = 0x0123_4567_89ab_cdef;

/// A whole day, and one with too few samples for anything, as schemas 1 and 2 knew them.
fn days_of_schema_2() -> [SensorDay; 2] {
    let values = (0..36_u8).map(|i| (i != 3).then(|| f32::from(i) * 0.5 - 4.0));
    let top =
        [(35, 4.5), (0, -2.25)].map(|(feature, deviation)| Contribution { feature, deviation });
    let day = SensorDay {
        sensor: "kitchen/temperature".into(),
        quantity: Quantity::Temperature,
        date: LocalDate(19_783),
        revision: 2,
        samples: 1_440,
        coverage: 0.75,
        features: Some(Features::new(FeatureSet::Profile1, values).unwrap()),
        prediction: Some(Prediction {
            cluster: 3,
            distance: 1.5,
            novelty: 0.875,
            top: top.into_iter().collect(),
            model_version: 7,
        }),
        deviation: Some(2.5),
        score: None,
        reasons: heapless::Vec::new(),
        drift: None,
    };
    let thin = SensorDay { features: None, prediction: None, deviation: None, ..day.clone() };
    [day, thin]
}

fn silences() -> [Silence; 2] {
    [None, Some(UtcMillis(1_710_003_600_000))].map(|until| Silence {
        sensor: "cellar/humidity".into(),
        quantity: Quantity::Humidity,
        since: UtcMillis(1_710_000_000_000),
        until,
        expected_every_ms: 60_000,
    })
}

fn up_of(days: impl IntoIterator<Item = SensorDay>) -> Up {
    let items = days.into_iter().map(Item::Day).chain(silences().map(Item::Silence));
    let entries = (41..).zip(items).map(|(seq, item)| Entry { seq, item }).collect();
    Up { stream: STREAM, floor: 40, number: 6, entries }
}

#[test]
fn up_is_as_agreed() {
    let [before, thin] = days_of_schema_2();
    let reasons = [
        Reason { subject: Subject::Part(DayPart::Night), deviate: 3.5, value: 24.5, usual: 21.25 },
        Reason { subject: Subject::Feature(27), deviate: -2.0, value: 0.25, usual: 0.75 },
    ];
    let ends = Some(LocalDate(19_801));
    let day = SensorDay {
        score: Some(0.96875),
        reasons: reasons.into_iter().collect(),
        drift: Some(Drift { drift: 1.25, feature: 24, per_day: -0.015625, ends }),
        ..before.clone()
    };
    // Nothing says when the sensor ends, and nothing stands out.
    let level = SensorDay {
        score: Some(0.5),
        drift: Some(Drift { drift: 0.25, feature: 24, per_day: 0.5, ends: None }),
        ..before
    };
    assert_message("v3/up.hex", &up_of([day, level, thin]));
}

#[test]
fn up_of_schema_2_still_reads() {
    let [day, _] = days_of_schema_2();
    let read = wire::decode_with_schema(&golden("v2/up.hex"));
    assert_eq!(read, Ok((2, up_of([day]))));
}

#[test]
fn up_of_schema_1_still_reads() {
    let entries =
        (41..).zip(days_of_schema_2()).map(|(seq, day)| Entry { seq, item: Item::Day(day) });
    let up = Up { stream: STREAM, floor: 40, number: 0, entries: entries.collect() };
    assert_eq!(wire::decode_with_schema(&golden("v1/up.hex")), Ok((1, up)));
}

/// Entries are kept as the bytes that an `up` carries.
#[test]
fn an_entry_of_every_schema_reads_alone() {
    let [day, _] = days_of_schema_2();
    let item = Item::Day(day);
    // As far as the score, which began schema 3 behind what a day was before.
    let whole = postcard::to_allocvec(&item).unwrap();
    let second = &whole[..whole.len() - 3];
    assert_eq!(Item::read(3, &whole).as_ref(), Some(&item));
    assert_eq!(Item::read(2, second).as_ref(), Some(&item));
    assert_eq!(Item::read(1, &second[1..]).as_ref(), Some(&item), "a bare sensor-day");
    for silence in silences().map(Item::Silence) {
        let bytes = postcard::to_allocvec(&silence).unwrap();
        assert_eq!(Item::read(2, &bytes), Some(silence.clone()));
        assert_eq!(Item::read(3, &bytes), Some(silence));
    }
    for (schema, bytes) in [(0, second), (2, &whole[..]), (3, second), (4, &whole[..])] {
        assert_eq!(Item::read(schema, bytes), None, "schema {schema}");
    }
}

#[test]
fn ack_is_as_agreed() {
    let received = vec![SeqRange { first: 50, last: 61 }, SeqRange { first: 90, last: 300 }];
    let ack = Ack { stream: STREAM, up_to: 42, answers: 6, received };
    assert_message("v2/ack.hex", &ack);
    for up_schema in [2, 3] {
        assert_eq!(hex(&ack.encode_for(up_schema).unwrap()), hex(&golden("v2/ack.hex")));
    }
}

#[test]
fn ack_of_schema_1_still_reads_and_an_agent_of_schema_1_still_gets_it() {
    let frozen = golden("v1/ack.hex");
    let ack = Ack { stream: STREAM, up_to: 42, answers: 0, received: Vec::new() };
    assert_eq!(wire::decode_with_schema(&frozen), Ok((1, ack.clone())));
    let received = vec![SeqRange { first: 50, last: 61 }];
    let newer = Ack { answers: 6, received, ..ack };
    assert_eq!(hex(&newer.encode_for(1).unwrap()), hex(&frozen));
}

#[test]
fn desired_is_as_agreed() {
    let overrides = vec![("days.grace".to_owned(), "3h".to_owned())];
    let channel = "stable".to_owned();
    let desired = Desired { generation: 9, model: Some(model_ref()), channel, overrides };
    assert_message("v1/desired.hex", &desired);
}

#[test]
fn reported_is_as_agreed() {
    let health = Health {
        uptime_s: 3_600,
        rss_kb: 9_000,
        sensors: 12,
        accepted: 100_000,
        refused: vec![("out_of_range".into(), 3)],
        outbox: 5,
        store_kb: 640,
    };
    let reported = Reported {
        online: true,
        agent_version: "0.1.0".into(),
        board: "raspberry-pi-4".into(),
        generation: 9,
        active: Some(model_ref()),
        spare: None,
        update: UpdateState::Trial,
        health,
    };
    assert_message("v1/reported.hex", &reported);
}

#[test]
fn model_artifact_is_as_agreed() {
    let cluster = |id: u16, centroid: [f32; 2]| Cluster {
        id,
        name: format!("day-{id}"),
        size: 10,
        centroid: centroid.to_vec(),
    };
    let model = Model {
        version: 7,
        parent: Some(Digest([0xcd; 32])),
        trained_at: UtcMillis(1_710_000_000_000),
        families: vec![Family {
            quantity: Quantity::Humidity,
            set: FeatureSet::Moments1,
            scaling: Scaling::Robust,
            scale: vec![2.0, 0.5],
            clusters: vec![cluster(0, [40.0, 2.0]), cluster(4, [70.0, 5.5])],
            novelty: NoveltyTable::from_distances([0.25, 0.5, 1.0, 4.0]),
            sensor_days: 20,
            inertia: 12.5,
        }],
    };
    let frozen = golden("v1/model.hex");
    let (bytes, digest) = model::encode(&model).unwrap();
    assert_eq!(hex(&bytes), hex(&frozen));
    assert_eq!(model::decode(&frozen), Ok((model, digest)));
}
