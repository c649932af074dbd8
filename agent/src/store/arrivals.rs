//! What is kept of readings that have no trustworthy time yet, and of messages without any.
//!
//! - A reading that arrives before the clock is set waits here, with its place on the monotonic
//!   clock of that boot, until it can be stamped ([`Store::quarantined`]).
//! - A message without a time of its own is known by a fingerprint for as long as the broker may
//!   deliver it again: the newest [`MAX_DELIVERIES`] of them, more than any window.
//! - A device whose clock is off keeps its offset over restarts, so that a stamp is corrected to
//!   the same time when it is delivered again.
//!
//! All of it goes into the journal with the readings that it came with. Quarantine and offsets are
//! rare and are put into the tree at once too; fingerprints come with every commit, and are put
//! there when the journal is folded.

use std::{collections::VecDeque, ops::ControlFlow};

use daywise_core::{reading::SensorIx, time::UtcMillis};
use serde::{Deserialize, Serialize};

use super::{
    Batch, Damaged, State, Store, StoreError,
    disk::{Changes, Disk},
    keys,
    records::{Damage, seal, seal_value, unseal, unseal_value},
};

/// Readings in one quarantine record: at 40 bytes in the worst case, below a record's bound.
const HELD_PER_RECORD: usize = 64;
/// Fingerprints in one record.
const FINGERPRINTS_PER_RECORD: usize = 512;
/// Fingerprints kept: of two of the largest commits and what is held before them, so of all that
/// a broker may not have seen acknowledged.
pub(crate) const MAX_DELIVERIES: usize = 20_480;

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

/// What one commit says of arrivals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Arrivals {
    /// The number of the first quarantine record that this makes.
    first: u64,
    quarantined: Vec<Held>,
    released: Option<u64>,
    deliveries: Vec<u32>,
    offsets: Vec<(SensorIx, Option<i64>)>,
}

impl Arrivals {
    /// What it changes in the tree; twice is once.
    fn changes(&self) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        for (seq, held) in (self.first..).zip(self.quarantined.chunks(HELD_PER_RECORD)) {
            let key = keys::quarantine(seq);
            let record = seal_value("readings in quarantine", &key, &held)?;
            changes.put(key, record);
        }
        if let Some(seq) = self.released {
            changes.remove(keys::quarantine(seq));
        }
        for &(sensor, offset) in &self.offsets {
            let key = keys::offset(sensor);
            match offset {
                Some(offset) => {
                    let record = seal_value("a device clock's offset", &key, &offset)?;
                    changes.put(key, record);
                }
                None => changes.remove(key),
            }
        }
        Ok(changes)
    }

    /// Puts what belongs there into the tree.
    pub(super) fn apply(&self, disk: &Disk) -> Result<(), StoreError> {
        disk.write(self.changes()?)
    }
}

/// What is known of arrivals without looking.
#[derive(Debug, Default)]
pub(super) struct Known {
    next_quarantine: u64,
    quarantined: u64,
    /// The newest fingerprints, in the order they came.
    deliveries: VecDeque<u32>,
    /// Some of them are in the journal only.
    is_unfolded: bool,
}

impl Known {
    /// What the tree holds.
    pub(super) fn load(disk: &Disk, damaged: &Damaged) -> Result<Self, StoreError> {
        let mut known = Self::default();
        disk.scan(keys::all_quarantined(), |key, record| {
            let held = damaged.sound(key, unseal_value::<Vec<Held>>(key, record));
            known.quarantined += held.map_or(0, |held| held.len() as u64);
            known.next_quarantine = keys::seq_of(key).map_or(0, |seq| seq.saturating_add(1));
            ControlFlow::Continue(())
        })?;
        disk.scan(keys::all_deliveries(), |key, record| {
            let found = damaged.sound(key, fingerprints(key, record));
            known.deliveries.extend(found.unwrap_or_default());
            ControlFlow::Continue(())
        })?;
        Ok(known)
    }

    /// Takes the fingerprints of a commit that is in the journal.
    pub(super) fn handle_deliveries(&mut self, arrivals: &Arrivals) {
        if arrivals.deliveries.is_empty() {
            return;
        }
        self.is_unfolded = true;
        self.deliveries.extend(&arrivals.deliveries);
        let surplus = self.deliveries.len().saturating_sub(MAX_DELIVERIES);
        self.deliveries.drain(..surplus);
    }

    /// Adds to a fold's changes what only the journal knows.
    pub(super) fn fold(&self, disk: &Disk, changes: &mut Changes) -> Result<(), StoreError> {
        if !self.is_unfolded {
            return Ok(());
        }
        let all: Vec<u8> = self.deliveries.iter().flat_map(|print| print.to_le_bytes()).collect();
        let mut records = 0;
        for (seq, part) in (0..).zip(all.chunks(FINGERPRINTS_PER_RECORD * size_of::<u32>())) {
            let key = keys::deliveries(seq);
            let record = seal("fingerprints", &key, part)?;
            changes.put(key, record);
            records = seq + 1;
        }
        disk.scan(keys::all_deliveries(), |key, _| {
            if keys::seq_of(key).is_none_or(|seq| seq >= records) {
                changes.remove(key.to_vec());
            }
            ControlFlow::Continue(())
        })
    }

    /// The fold is done.
    pub(super) fn handle_fold(&mut self) {
        self.is_unfolded = false;
    }
}

impl State {
    /// What a batch says of arrivals.
    pub(super) fn arrivals_of(&self, batch: &Batch<'_>) -> Arrivals {
        Arrivals {
            first: self.arrivals.next_quarantine,
            quarantined: batch.quarantined.to_vec(),
            released: batch.released,
            deliveries: batch.deliveries.to_vec(),
            offsets: batch.offsets.to_vec(),
        }
    }
}

impl Store {
    /// Takes note of what the journal has, in the tree too.
    pub(super) fn take_arrivals(
        &self,
        state: &mut State,
        arrivals: &Arrivals,
    ) -> Result<(), StoreError> {
        state.arrivals.handle_deliveries(arrivals);
        let released = match arrivals.released {
            Some(seq) => self.quarantine_record(seq)?.map_or(0, |held| held.len() as u64),
            None => 0,
        };
        let changes = arrivals.changes()?;
        if !changes.is_empty() {
            // A power cut must not leave what this does to the tree without the readings that go
            // with it: those would be lost, or come twice.
            state.log.make_durable().inspect_err(|_| self.disk.give_up())?;
        }
        self.disk.write(changes)?;
        let known = &mut state.arrivals;
        let records = arrivals.quarantined.len().div_ceil(HELD_PER_RECORD);
        known.next_quarantine = known.next_quarantine.saturating_add(records as u64);
        known.quarantined = known.quarantined.saturating_sub(released);
        known.quarantined += arrivals.quarantined.len() as u64;
        Ok(())
    }

    /// Readings that wait for the clock to be set.
    #[must_use]
    pub fn quarantined_len(&self) -> u64 {
        self.state().arrivals.quarantined
    }

    /// The oldest record of them. It goes with the batch that names it as released.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn quarantined(&self) -> Result<Option<Quarantined>, StoreError> {
        let _ready = self.ready()?;
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
        Ok(self.ready()?.arrivals.deliveries.iter().copied().collect())
    }

    /// The device clocks that are off, and by how much.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn offsets(&self) -> Result<Vec<(SensorIx, i64)>, StoreError> {
        let _ready = self.ready()?;
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
