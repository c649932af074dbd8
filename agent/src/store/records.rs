//! The records' bytes: versioned, checksummed, and bound to their key.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | CRC-32 of key, schema and payload, little endian |
//! | 1 | schema of this kind of record |
//! | n | payload: postcard, or samples as [`daywise_core::block`] writes them |
//!
//! The key is in the checksum, so that a value that turns up under another's key is noticed. A
//! record that does not check out is left where it is and treated as absent.

use daywise_core::{
    baseline::{Drift, MAX_REASONS, Reason},
    features::Features,
    predict::Prediction,
    quantity::Quantity,
    reading::SensorIx,
    time::{LocalDate, LocalDay},
    wire::{Item, Message, Up},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::error::StoreError;

/// The first schema of every kind of record, and still that of most. A kind whose content changed
/// has its own higher number, which it writes, and reads what the lower ones wrote.
pub(super) const RECORD_SCHEMA: u8 = 1;

/// Of `meta/outbox` and `outbox/{seq}`, and that of the `up` whose entries these are. In schema 1
/// an entry was a bare sensor-day, and no entry left before those below it; in schema 2 a
/// sensor-day had no score, reasons and drift.
const OUTBOX_SCHEMA: u8 = 3;
const _: () = assert!(OUTBOX_SCHEMA as u16 == Up::SCHEMA, "entries are kept as an `up` has them");

/// Of `day/{date}/{sensor}`. In schema 1 a day had no score, reasons and drift.
const DAY_SCHEMA: u8 = 2;

/// No record is larger. A leaf of the tree holds up to 17 of them, and a leaf above a quarter of
/// a segment would become a file of its own, which sled does not fsync.
pub(super) const MAX_PAYLOAD_BYTES: usize = 3 * 1024;

/// A sensor in the store's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorRecord {
    /// Its number.
    pub ix: SensorIx,
    /// Its id.
    pub id: String,
    /// What it measures.
    pub quantity: Quantity,
}

/// `sensor/{ix}` without what the key says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SensorValue {
    pub(super) id: String,
    pub(super) quantity: Quantity,
}

/// `localday/{date}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LocalDayValue {
    pub(super) day: LocalDay,
    pub(super) open: bool,
}

/// `held/{date}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeldValue {
    /// Bytes of the date's file of samples that count.
    pub(super) chunk_bytes: u64,
    /// Sensor-days that are kept.
    pub(super) days: u32,
    /// Bytes of their records.
    pub(super) day_bytes: u64,
}

/// `meta/evicted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EvictedValue {
    /// Samples of days before this one are gone, and must not come back as thin days.
    pub(super) before: Option<LocalDate>,
    /// Days whose samples went.
    pub(super) chunk_days: u64,
    /// Sensor-days whose features and predictions went.
    pub(super) sensor_days: u64,
}

/// What is kept of a sensor's closed day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DayRecord {
    /// From 1; one more each time late readings changed the day.
    pub revision: u32,
    /// Distinct samples.
    pub samples: u32,
    /// Share of the day's expected readings that arrived, 0 to 1.
    pub coverage: f32,
    /// `None` when the day has too few samples for any.
    pub features: Option<Features>,
    /// `None` while there is no model for the sensor's family.
    pub prediction: Option<Prediction>,
    /// How far the day is from the sensor's own.
    pub deviation: Option<f32>,
    /// How unusual it is, 0 to 1.
    pub score: Option<f32>,
    /// What sets it apart from the sensor's own days.
    pub reasons: heapless::Vec<Reason, MAX_REASONS>,
    /// What drifts most.
    pub drift: Option<Drift>,
}

/// A day of schema 1: without its score, reasons and drift.
#[derive(Deserialize)]
struct DayRecordV1 {
    revision: u32,
    samples: u32,
    coverage: f32,
    features: Option<Features>,
    prediction: Option<Prediction>,
    deviation: Option<f32>,
}

impl From<DayRecordV1> for DayRecord {
    fn from(day: DayRecordV1) -> Self {
        let DayRecordV1 { revision, samples, coverage, features, prediction, deviation } = day;
        let (score, reasons, drift) = (None, heapless::Vec::new(), None);
        Self { revision, samples, coverage, features, prediction, deviation, score, reasons, drift }
    }
}

/// `meta/outbox`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutboxValue {
    /// Names this outbox; drawn at random when the store was made.
    pub(super) stream: u64,
    /// The next entry's number.
    pub(super) next: u64,
    /// The lowest number held; `next` when there is none.
    pub(super) floor: u64,
    /// Payload bytes held.
    pub(super) bytes: u64,
    /// Entries given up for lack of space, ever.
    pub(super) evicted: u64,
    /// Entries held; fewer than between `floor` and `next` once some above the floor are
    /// acknowledged.
    pub(super) entries: u64,
}

/// `meta/outbox` of schema 1.
#[derive(Deserialize)]
struct OutboxValueV1 {
    stream: u64,
    next: u64,
    floor: u64,
    bytes: u64,
    evicted: u64,
}

impl From<OutboxValueV1> for OutboxValue {
    fn from(OutboxValueV1 { stream, next, floor, bytes, evicted }: OutboxValueV1) -> Self {
        Self { stream, next, floor, bytes, evicted, entries: next.saturating_sub(floor) }
    }
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Fewer bytes than any record has.
    #[error("cut short")]
    Short,
    /// Not the bytes that were written, or not where they were written.
    #[error("its checksum does not match")]
    Checksum,
    /// Written by a newer build.
    #[error("its schema is newer than this build's")]
    TooNew,
    /// The checksum is right, but the content cannot be read.
    #[error("its content cannot be read")]
    Content,
}

fn checksum(key: &[u8], schema: u8, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(&[schema]);
    crc.update(payload);
    crc.finalize()
}

/// The record of these payload bytes under `key`.
pub(super) fn seal(what: &'static str, key: &[u8], payload: &[u8]) -> Result<Vec<u8>, StoreError> {
    seal_as(RECORD_SCHEMA, what, key, payload)
}

/// As [`seal`], for a kind of record that is beyond its first schema.
pub(super) fn seal_as(
    schema: u8,
    what: &'static str,
    key: &[u8],
    payload: &[u8],
) -> Result<Vec<u8>, StoreError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        let (bytes, limit) = (payload.len(), MAX_PAYLOAD_BYTES);
        return Err(StoreError::TooLarge { what, bytes, limit });
    }
    let mut record = Vec::with_capacity(5 + payload.len());
    record.extend_from_slice(&checksum(key, schema, payload).to_le_bytes());
    record.push(schema);
    record.extend_from_slice(payload);
    Ok(record)
}

/// The record of a value in postcard under `key`.
pub(super) fn seal_value<T: Serialize>(
    what: &'static str,
    key: &[u8],
    value: &T,
) -> Result<Vec<u8>, StoreError> {
    seal(what, key, &encode(value)?)
}

/// The record of `meta/outbox`, or of an entry, under `key`.
pub(super) fn seal_outbox<T: Serialize>(
    what: &'static str,
    key: &[u8],
    value: &T,
) -> Result<Vec<u8>, StoreError> {
    seal_as(OUTBOX_SCHEMA, what, key, &encode(value)?)
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_allocvec(value).map_err(|source| StoreError::Io {
        operation: "encode a record for",
        source: source.into(),
    })
}

/// The payload of the record under `key`, of a kind that has had no second schema.
pub(super) fn unseal<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], Damage> {
    unseal_up_to(RECORD_SCHEMA, key, record).map(|(_, payload)| payload)
}

/// Schema and payload of the record under `key`, of a kind whose newest schema that is.
pub(super) fn unseal_up_to<'a>(
    newest: u8,
    key: &[u8],
    record: &'a [u8],
) -> Result<(u8, &'a [u8]), Damage> {
    let (stated, rest) = record.split_first_chunk::<4>().ok_or(Damage::Short)?;
    let (&schema, payload) = rest.split_first().ok_or(Damage::Short)?;
    if u32::from_le_bytes(*stated) != checksum(key, schema, payload) {
        return Err(Damage::Checksum);
    }
    match schema {
        0 => Err(Damage::Content),
        schema if schema <= newest => Ok((schema, payload)),
        _ => Err(Damage::TooNew),
    }
}

/// The value of the record under `key`.
pub(super) fn unseal_value<T: DeserializeOwned>(key: &[u8], record: &[u8]) -> Result<T, Damage> {
    content(unseal(key, record)?)
}

/// The figures in `meta/outbox`.
pub(super) fn unseal_figures(key: &[u8], record: &[u8]) -> Result<OutboxValue, Damage> {
    match unseal_up_to(OUTBOX_SCHEMA, key, record)? {
        (1, payload) => content::<OutboxValueV1>(payload).map(OutboxValue::from),
        (_, payload) => content(payload),
    }
}

/// The record of a sensor's closed day under `key`.
pub(super) fn seal_day(key: &[u8], day: &DayRecord) -> Result<Vec<u8>, StoreError> {
    seal_as(DAY_SCHEMA, "a sensor-day", key, &encode(day)?)
}

/// The sensor's closed day under `key`.
pub(super) fn unseal_day(key: &[u8], record: &[u8]) -> Result<DayRecord, Damage> {
    match unseal_up_to(DAY_SCHEMA, key, record)? {
        (1, payload) => content::<DayRecordV1>(payload).map(DayRecord::from),
        (_, payload) => content(payload),
    }
}

/// What the outbox entry under `key` carries.
pub(super) fn unseal_item(key: &[u8], record: &[u8]) -> Result<Item, Damage> {
    let (schema, payload) = unseal_up_to(OUTBOX_SCHEMA, key, record)?;
    Item::read(u16::from(schema), payload).ok_or(Damage::Content)
}

/// All of a payload as one value.
fn content<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Damage> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(Damage::Content),
    }
}
