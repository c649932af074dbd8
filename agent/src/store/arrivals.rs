//! What is kept of readings that have no trustworthy time yet, and of messages without any.
//!
//! - A reading that arrives before the clock is set waits here, with its place on the monotonic
//!   clock of that boot, until it can be stamped ([`Store::quarantined`]).
//! - A message without a time of its own is known by a fingerprint for as long as the broker may
//!   deliver it again: the newest [`MAX_DELIVERIES`] of them, more than any window.
//! - A device whose clock is off keeps its offset over restarts, so that a stamp is corrected to
//!   the same time when it is delivered again.

use std::{collections::VecDeque, ops::ControlFlow};

use daywise_core::{reading::SensorIx, time::UtcMillis};
use serde::{Deserialize, Serialize};

use super::{
    Batch, State, Store, StoreError,
    disk::Changes,
    keys,
    records::{Damage, seal, seal_value, unseal, unseal_value},
};

/// Readings in one quarantine record: at 40 bytes in the worst case, below a record's bound.
const HELD_PER_RECORD: usize = 64;
/// Fingerprints in one record.
const FINGERPRINTS_PER_RECORD: usize = 512;
/// Fingerprints kept; a broker does not have so many messages in flight to one client.
const MAX_DELIVERIES: usize = 4_096;

/// A reading that waits for the clock to be set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Which boot the next figure belongs to.
    pub boot: u64,
    /// When it arrived, in milliseconds since that boot.
    pub since_boot_ms: i64,
    /// The sensor.
    pub sensor: SensorIx,
    /// What its device says of the time.
    pub stamp: Option<UtcMillis>,
    /// The value; finite and in its range.
    pub value: f64,
}

/// One record of the quarantine.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// To be named in [`Batch::released`].
    pub seq: u64,
    /// In the order of their arrival.
    pub readings: Vec<Held>,
}

/// The newest fingerprints, by record.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    records: VecDeque<(u64, usize)>,
    next: u64,
}

impl Deliveries {
    fn add(&mut self, seq: u64, count: usize) {
        self.records.push_back((seq, count));
        self.next = seq.saturating_add(1);
    }

    /// How many of the oldest records can go when so many fingerprints come.
    fn surplus(&self, coming: usize) -> usize {
        let mut held = coming + self.records.iter().map(|(_, count)| count).sum::<usize>();
        let mut surplus = 0;
        for (_, count) in &self.records {
            if held - count < MAX_DELIVERIES {
                break;
            }
            held -= count;
            surplus += 1;
        }
        surplus
    }
}

/// What a batch changed; taken into the state once it is written.
#[derive(Debug, Default)]
pub(super) struct ArrivalChanges {
    quarantine_records: u64,
    quarantined: u64,
    released: u64,
    deliveries_gone: usize,
    deliveries: Vec<(u64, usize)>,
}

impl State {
    pub(super) fn take_arrivals(&mut self, done: ArrivalChanges) {
        self.next_quarantine = self.next_quarantine.saturating_add(done.quarantine_records);
        self.quarantined =
            self.quarantined.saturating_sub(done.released).saturating_add(done.quarantined);
        self.deliveries.records.drain(..done.deliveries_gone.min(self.deliveries.records.len()));
        for (seq, count) in done.deliveries {
            self.deliveries.add(seq, count);
        }
    }
}

impl Store {
    pub(super) fn load_arrivals(&self, state: &mut State) -> Result<(), StoreError> {
        self.disk.scan(keys::all_quarantined(), |key, record| {
            let held = self.sound(key, unseal_value::<Vec<Held>>(key, record));
            state.quarantined += held.map_or(0, |held| held.len() as u64);
            state.next_quarantine = keys::seq_of(key).map_or(0, |seq| seq.saturating_add(1));
            ControlFlow::Continue(())
        })?;
        self.disk.scan(keys::all_deliveries(), |key, record| {
            let count = self.sound(key, fingerprints(key, record)).map_or(0, |found| found.len());
            if let Some(seq) = keys::seq_of(key) {
                state.deliveries.add(seq, count);
            }
            ControlFlow::Continue(())
        })
    }

    /// Adds what a batch says of arrivals to its changes.
    pub(super) fn put_arrivals(
        &self,
        state: &State,
        changes: &mut Changes,
        batch: &Batch<'_>,
    ) -> Result<ArrivalChanges, StoreError> {
        let mut done =
            ArrivalChanges { quarantined: batch.quarantined.len() as u64, ..Default::default() };
        for held in batch.quarantined.chunks(HELD_PER_RECORD) {
            let key =
                keys::quarantine(state.next_quarantine.saturating_add(done.quarantine_records));
            let record = seal_value("readings in quarantine", &key, &held)?;
            changes.put(key, record);
            done.quarantine_records += 1;
        }
        if let Some(seq) = batch.released {
            done.released = self.quarantine_record(seq)?.map_or(0, |held| held.len() as u64);
            changes.remove(keys::quarantine(seq));
        }
        for &(sensor, offset) in batch.offsets {
            let key = keys::offset(sensor);
            match offset {
                Some(offset) => {
                    let record = seal_value("a device clock's offset", &key, &offset)?;
                    changes.put(key, record);
                }
                None => changes.remove(key),
            }
        }
        if !batch.deliveries.is_empty() {
            done.deliveries_gone = state.deliveries.surplus(batch.deliveries.len());
            for (seq, _) in state.deliveries.records.iter().take(done.deliveries_gone) {
                changes.remove(keys::deliveries(*seq));
            }
        }
        for (seq, part) in
            (state.deliveries.next..).zip(batch.deliveries.chunks(FINGERPRINTS_PER_RECORD))
        {
            let key = keys::deliveries(seq);
            let bytes: Vec<u8> = part.iter().flat_map(|print| print.to_le_bytes()).collect();
            let record = seal("fingerprints", &key, &bytes)?;
            changes.put(key, record);
            done.deliveries.push((seq, part.len()));
        }
        Ok(done)
    }

    /// Readings that wait for the clock to be set.
    #[must_use]
    pub fn quarantined_len(&self) -> u64 {
        self.state().quarantined
    }

    /// The oldest record of them. It goes with the batch that names it as released.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn quarantined(&self) -> Result<Option<Quarantined>, StoreError> {
        let mut first = None;
        self.disk.scan(keys::all_quarantined(), |key, record| {
            // A damaged one comes as an empty one, so that it is released too.
            let readings = self.sound(key, unseal_value(key, record)).unwrap_or_default();
            first = keys::seq_of(key).map(|seq| Quarantined { seq, readings });
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    fn quarantine_record(&self, seq: u64) -> Result<Option<Vec<Held>>, StoreError> {
        let key = keys::quarantine(seq);
        let record = self.disk.get(&key)?;
        Ok(record.and_then(|record| self.sound(&key, unseal_value(&key, &record))))
    }

    /// The fingerprints of the newest messages without times, in the order they came.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn deliveries(&self) -> Result<Vec<u32>, StoreError> {
        let mut all = Vec::new();
        self.disk.scan(keys::all_deliveries(), |key, record| {
            all.extend(self.sound(key, fingerprints(key, record)).unwrap_or_default());
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    /// The device clocks that are off, and by how much.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn offsets(&self) -> Result<Vec<(SensorIx, i64)>, StoreError> {
        let mut offsets = Vec::new();
        self.disk.scan(keys::all_offsets(), |key, record| {
            let offset = self.sound(key, unseal_value(key, record));
            offsets.extend(keys::sensor_of(key).zip(offset));
            ControlFlow::Continue(())
        })?;
        Ok(offsets)
    }
}

fn fingerprints(key: &[u8], record: &[u8]) -> Result<Vec<u32>, Damage> {
    let (parts, rest) = unseal(key, record)?.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Damage::Content);
    }
    Ok(parts.iter().map(|part| u32::from_le_bytes(*part)).collect())
}
