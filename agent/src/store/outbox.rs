//! The outbox: sensor-days that wait for the server, under numbers from 1 without holes.
//!
//! Numbers are given in the same batch that keeps the sensor-day, and never again. What is lost
//! (evicted for lack of space, or damaged) is below the floor, which the server is told.

use std::ops::ControlFlow;

use daywise_core::wire::{Entry, SensorDay};

use super::{
    CLEAN_UP_BATCH, State, Store, StoreError,
    disk::Changes,
    keys,
    records::{OutboxValue, seal_value, unseal_value},
};

impl Store {
    /// Names this outbox; drawn at random when the store was made.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.state().outbox.stream
    }

    /// Entries that wait.
    #[must_use]
    pub fn outbox_len(&self) -> u64 {
        self.state().outbox.entries()
    }

    /// The lowest number held, or to come: all below is acknowledged or given up.
    #[must_use]
    pub fn outbox_floor(&self) -> u64 {
        self.state().outbox.floor
    }

    /// The number the next entry will get.
    #[must_use]
    pub fn outbox_next(&self) -> u64 {
        self.state().outbox.next
    }

    /// Entries from `from_seq` on, in order and without holes, of about `max_bytes` together;
    /// at least one if there is any. Empty when nothing waits from there on.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn outbox_batch(&self, from_seq: u64, max_bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let mut state = self.state();
        loop {
            let from = from_seq.max(state.outbox.floor);
            let (entries, unreadable) = self.read_outbox(from, max_bytes)?;
            match unreadable {
                // Nothing before it is left to send: it is what holds the outbox up.
                Some(seq) if seq == state.outbox.floor => {
                    self.drop_entries(&mut state, seq, true)?
                }
                _ => return Ok(entries),
            }
        }
    }

    /// Reads on to the first entry that is missing or damaged, whose number is returned.
    fn read_outbox(
        &self,
        from: u64,
        max_bytes: usize,
    ) -> Result<(Vec<Entry>, Option<u64>), StoreError> {
        let (mut entries, mut bytes, mut unreadable) = (Vec::new(), 0, None);
        let mut expected = from;
        self.disk.scan(keys::outbox_from(from), |key, record| {
            bytes += record.len();
            if !entries.is_empty() && bytes > max_bytes {
                return ControlFlow::Break(());
            }
            let seq = keys::seq_of(key).filter(|&seq| seq == expected);
            let day = self.sound(key, unseal_value::<SensorDay>(key, record));
            let (Some(seq), Some(day)) = (seq, day) else {
                unreadable = Some(expected);
                return ControlFlow::Break(());
            };
            entries.push(Entry { seq, day });
            expected = expected.saturating_add(1);
            ControlFlow::Continue(())
        })?;
        Ok((entries, unreadable))
    }

    /// Removes the entries up to and including `up_to`; what the server never got cannot be
    /// acknowledged.
    ///
    /// # Errors
    /// The disk refuses; entries that went are gone.
    pub fn outbox_ack(&self, up_to: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        let up_to = up_to.min(state.outbox.next.saturating_sub(1));
        self.drop_entries(&mut state, up_to, false)
    }

    /// Raises the floor above `up_to` in atomic batches.
    fn drop_entries(&self, state: &mut State, up_to: u64, lost: bool) -> Result<(), StoreError> {
        while state.outbox.floor <= up_to {
            let mut outbox = state.outbox;
            let last = up_to.min(outbox.floor.saturating_add(CLEAN_UP_BATCH as u64 - 1));
            let mut changes = Changes::default();
            let mut range = keys::outbox_from(outbox.floor);
            range.end = keys::outbox(last.saturating_add(1));
            self.disk.scan(range, |key, record| {
                outbox.bytes = outbox.bytes.saturating_sub(record.len() as u64);
                changes.remove(key.to_vec());
                ControlFlow::Continue(())
            })?;
            if lost {
                outbox.evicted += last.saturating_sub(outbox.floor) + 1;
            }
            outbox.floor = last.saturating_add(1);
            self.put_figures(&mut changes, &outbox)?;
            self.disk.write(changes)?;
            state.outbox = outbox;
        }
        Ok(())
    }

    pub(super) fn put_in_outbox(
        &self,
        changes: &mut Changes,
        outbox: &mut OutboxValue,
        upload: &SensorDay,
    ) -> Result<(), StoreError> {
        let key = keys::outbox(outbox.next);
        let record = seal_value("an outbox entry", &key, upload)?;
        outbox.next = outbox.next.saturating_add(1);
        outbox.bytes += record.len() as u64;
        changes.put(key, record);
        Ok(())
    }

    /// Gives up the oldest entries beyond the bounds, and writes the figures if they changed.
    pub(super) fn finish_outbox(
        &self,
        changes: &mut Changes,
        before: &OutboxValue,
        outbox: &mut OutboxValue,
    ) -> Result<(), StoreError> {
        if outbox == before {
            return Ok(());
        }
        let max_entries = self.options.outbox_max_entries.get();
        let max_bytes = self.options.outbox_max_bytes.get();
        let over =
            |outbox: &OutboxValue| outbox.entries() > max_entries || outbox.bytes > max_bytes;
        if over(outbox) {
            let mut range = keys::outbox_from(before.floor);
            range.end = keys::outbox(before.next);
            self.disk.scan(range, |key, record| {
                if !over(outbox) {
                    return ControlFlow::Break(());
                }
                let floor = keys::seq_of(key).map_or(before.next, |seq| seq.saturating_add(1));
                outbox.evicted += floor.saturating_sub(outbox.floor);
                outbox.floor = floor;
                outbox.bytes = outbox.bytes.saturating_sub(record.len() as u64);
                changes.remove(key.to_vec());
                ControlFlow::Continue(())
            })?;
        }
        self.put_figures(changes, outbox)
    }

    fn put_figures(&self, changes: &mut Changes, outbox: &OutboxValue) -> Result<(), StoreError> {
        let key = keys::META_OUTBOX;
        changes.put(key.to_vec(), seal_value("the outbox's figures", key, outbox)?);
        Ok(())
    }
}
