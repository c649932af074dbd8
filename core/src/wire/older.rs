//! Messages of older schemas, as they were written; read forward into today's, and written for
//! receivers that know no newer one.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Ack, Entry, Item, SensorDay, Up};

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
    day: SensorDay,
}

impl From<UpV1> for Up {
    fn from(UpV1 { stream, floor, entries }: UpV1) -> Self {
        let forward = |EntryV1 { seq, day }| Entry { seq, item: Item::Day(day) };
        let entries = entries.into_iter().map(forward).collect();
        Self { stream, floor, number: 0, entries }
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
