//! Messages of older schemas, as they were written; read forward into today's, and written for
//! receivers that know no newer one.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{Ack, Entry, Item, SensorDay, Silence, Up};
use crate::{features::Features, predict::Prediction, quantity::Quantity, time::LocalDate};

/// A sensor's day of schemas 1 and 2: without its score, reasons and drift.
#[derive(Deserialize)]
pub(super) struct SensorDayV2 {
    sensor: String,
    quantity: Quantity,
    date: LocalDate,
    revision: u32,
    samples: u32,
    coverage: f32,
    features: Option<Features>,
    prediction: Option<Prediction>,
    deviation: Option<f32>,
}

impl From<SensorDayV2> for SensorDay {
    fn from(day: SensorDayV2) -> Self {
        let SensorDayV2 { sensor, quantity, date, revision, samples, coverage, .. } = day;
        Self {
            sensor,
            quantity,
            date,
            revision,
            samples,
            coverage,
            features: day.features,
            prediction: day.prediction,
            deviation: day.deviation,
            score: None,
            reasons: heapless::Vec::new(),
            drift: None,
        }
    }
}

/// `up` of schema 1: sensor-days only.
#[derive(Deserialize)]
pub(super) struct UpV1 {
    stream: u64,
    floor: u64,
    entries: Vec<EntryV1>,
}

#[derive(Deserialize)]
struct EntryV1 {
    seq: u64,
    day: SensorDayV2,
}

impl From<UpV1> for Up {
    fn from(UpV1 { stream, floor, entries }: UpV1) -> Self {
        let forward = |EntryV1 { seq, day }| Entry { seq, item: Item::Day(day.into()) };
        let entries = entries.into_iter().map(forward).collect();
        Self { stream, floor, number: 0, entries }
    }
}

/// `up` of schema 2.
#[derive(Deserialize)]
pub(super) struct UpV2 {
    stream: u64,
    floor: u64,
    number: u64,
    entries: Vec<EntryV2>,
}

#[derive(Deserialize)]
struct EntryV2 {
    seq: u64,
    item: ItemV2,
}

/// What an outbox entry carried in schema 2.
#[expect(clippy::large_enum_variant, reason = "nearly all are days; each in a box would cost more")]
#[derive(Deserialize)]
pub(super) enum ItemV2 {
    Day(SensorDayV2),
    Silence(Silence),
}

impl From<ItemV2> for Item {
    fn from(item: ItemV2) -> Self {
        match item {
            ItemV2::Day(day) => Self::Day(day.into()),
            ItemV2::Silence(silence) => Self::Silence(silence),
        }
    }
}

impl From<UpV2> for Up {
    fn from(UpV2 { stream, floor, number, entries }: UpV2) -> Self {
        let forward = |EntryV2 { seq, item }| Entry { seq, item: item.into() };
        let entries = entries.into_iter().map(forward).collect();
        Self { stream, floor, number, entries }
    }
}

/// `ack` of schema 1: only what is contiguous.
#[derive(Serialize, Deserialize)]
pub(super) struct AckV1 {
    pub(super) stream: u64,
    pub(super) up_to: u64,
}

impl From<AckV1> for Ack {
    fn from(AckV1 { stream, up_to }: AckV1) -> Self {
        Self { stream, up_to, answers: 0, received: Vec::new() }
    }
}
