//! The outbox: sensor-days and silences that wait for the server, under numbers from 1.
//!
//! Numbers are given in the same batch that keeps the sensor-day, and never again: an entry is
//! shown only once it is durable, or a power cut could give its number to another after the
//! server had it. An entry leaves when the server has it, in whatever order that comes to be, so that what is
//! acknowledged takes no room from what is not. What is lost (evicted for lack of space, or
//! damaged) is gone and counted. The floor is the lowest number held: the server is told that
//! nothing below it will come.

use std::ops::{ControlFlow, Range};

use daywise_core::wire::{Entry, Item, SeqRange};

use super::{
    CLEAN_UP_BATCH, State, Store, StoreError,
    disk::Changes,
    keys,
    records::{OutboxValue, seal_outbox, unseal_item},
};

/// From which end entries are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Oldest,
    Newest,
}

/// An entry's number and the size of its record.
type SeqAndBytes = (u64, u64);

impl State {
    /// The keys of `range` as far as its entries are durable.
    fn durable_between(&self, range: SeqRange) -> Range<Vec<u8>> {
        keys::outbox_between(range.first, range.last.min(self.outbox_durable.saturating_sub(1)))
    }
}

impl Store {
    /// Names this outbox; drawn at random when the store was made.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.state().outbox.stream
    }

    /// Entries that wait.
    #[must_use]
    pub fn outbox_len(&self) -> u64 {
        self.state().outbox.entries
    }

    /// Entries given up for lack of space or because of damage, ever.
    #[must_use]
    pub fn outbox_evicted(&self) -> u64 {
        self.state().outbox.evicted
    }

    /// The lowest number held, or to come: all below is acknowledged or given up, for good.
    #[must_use]
    pub fn outbox_floor(&self) -> u64 {
        let state = self.state();
        state.outbox.floor.min(state.outbox_durable)
    }

    /// The number the next entry to be shown will have: all below are durable.
    #[must_use]
    pub fn outbox_next(&self) -> u64 {
        self.state().outbox_durable
    }

    /// Puts items into the outbox under consecutive numbers, all or none; durable after
    /// [`Self::flush`]. If the outbox is then larger than it may be, its oldest entries are given
    /// up, though never these.
    ///
    /// # Errors
    /// The disk refuses, or an item is too large for a record; nothing has changed then.
    pub fn outbox_put(&self, items: &[Item]) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        self.make_room(&mut state)?;
        let mut outbox = state.outbox;
        let mut changes = Changes::default();
        for item in items {
            self.put_in_outbox(&mut changes, &mut outbox, item)?;
        }
        self.finish_outbox(&mut changes, &state.outbox, &mut outbox)?;
        self.disk.write(changes)?;
        state.outbox = outbox;
        Ok(())
    }

    /// The oldest durable entries from `from_seq` on, in rising order, of about `max_bytes`
    /// together; at least one if there is any.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn outbox_batch(&self, from_seq: u64, max_bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let range = SeqRange { first: from_seq, last: u64::MAX };
        self.read_outbox(range, End::Oldest, max_bytes)
    }

    /// The newest durable entries of `range`, in rising order, of about `max_bytes` together; at
    /// least one if there is any.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn outbox_newest(
        &self,
        range: SeqRange,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.read_outbox(range, End::Newest, max_bytes)?;
        entries.reverse();
        Ok(entries)
    }

    /// Reads from one end. What is damaged can never be sent: it is given up.
    fn read_outbox(
        &self,
        range: SeqRange,
        end: End,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut state = self.ready()?;
        let range = state.durable_between(range);
        loop {
            let (mut entries, mut damaged, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
            let visit = |key: &[u8], record: &[u8]| {
                let is_first = entries.is_empty() && damaged.is_empty();
                bytes = bytes.saturating_add(record.len());
                if bytes > max_bytes && !is_first {
                    return ControlFlow::Break(());
                }
                let Some(seq) = keys::seq_of(key) else { return ControlFlow::Continue(()) };
                match self.sound(key, unseal_item(key, record)) {
                    Some(item) => entries.push(Entry { seq, item }),
                    None => damaged.push((seq, record.len() as u64)),
                }
                ControlFlow::Continue(())
            };
            match end {
                End::Oldest => self.disk.scan(range.clone(), visit)?,
                End::Newest => self.disk.scan_back(range.clone(), visit)?,
            }
            if damaged.is_empty() {
                return Ok(entries);
            }
            damaged.sort_unstable();
            self.remove_entries(&mut state, &damaged, true)?;
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
    }

    /// Removes what the server has: all up to and including `up_to`, and `ranges` beyond it. What
    /// it never got cannot be acknowledged.
    ///
    /// # Errors
    /// The disk refuses; entries that went are gone.
    pub fn outbox_ack(&self, up_to: u64, ranges: &[SeqRange]) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        self.check_writable()?;
        let contiguous = SeqRange { first: 0, last: up_to };
        for range in std::iter::once(&contiguous).chain(ranges) {
            let range = state.durable_between(*range);
            loop {
                let mut acknowledged: Vec<SeqAndBytes> = Vec::new();
                self.disk.scan(range.clone(), |key, record| {
                    acknowledged.extend(keys::seq_of(key).map(|seq| (seq, record.len() as u64)));
                    if acknowledged.len() < CLEAN_UP_BATCH {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                })?;
                if acknowledged.is_empty() {
                    break;
                }
                self.remove_entries(&mut state, &acknowledged, false)?;
            }
        }
        Ok(())
    }

    /// Gives up the oldest entries, some at a time; says how many.
    pub(super) fn give_up_oldest(&self, state: &mut State) -> Result<usize, StoreError> {
        let mut oldest: Vec<SeqAndBytes> = Vec::new();
        self.disk.scan(keys::outbox_from(state.outbox.floor), |key, record| {
            oldest.extend(keys::seq_of(key).map(|seq| (seq, record.len() as u64)));
            if oldest.len() < CLEAN_UP_BATCH {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if !oldest.is_empty() {
            self.remove_entries(state, &oldest, true)?;
        }
        Ok(oldest.len())
    }

    /// Removes entries, given in rising order, in one atomic batch.
    fn remove_entries(
        &self,
        state: &mut State,
        removed: &[SeqAndBytes],
        lost: bool,
    ) -> Result<(), StoreError> {
        let mut outbox = state.outbox;
        let mut changes = Changes::default();
        for &(seq, bytes) in removed {
            changes.remove(keys::outbox(seq));
            outbox.bytes = outbox.bytes.saturating_sub(bytes);
        }
        outbox.entries = outbox.entries.saturating_sub(removed.len() as u64);
        if lost {
            outbox.evicted += removed.len() as u64;
        }
        outbox.floor = outbox.next;
        self.disk.scan(keys::outbox_from(state.outbox.floor), |key, _| {
            match keys::seq_of(key) {
                Some(seq) if removed.binary_search_by_key(&seq, |(seq, _)| *seq).is_err() => {
                    outbox.floor = seq;
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        })?;
        self.put_figures(&mut changes, &outbox)?;
        self.disk.write(changes)?;
        state.outbox = outbox;
        Ok(())
    }

    pub(super) fn put_in_outbox(
        &self,
        changes: &mut Changes,
        outbox: &mut OutboxValue,
        item: &Item,
    ) -> Result<(), StoreError> {
        let key = keys::outbox(outbox.next);
        let record = seal_outbox("an outbox entry", &key, item)?;
        outbox.next = outbox.next.saturating_add(1);
        outbox.bytes += record.len() as u64;
        outbox.entries += 1;
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
        let over = |outbox: &OutboxValue| outbox.entries > max_entries || outbox.bytes > max_bytes;
        if over(outbox) {
            // If none of the older ones stays, the first of these is the lowest held.
            let mut floor = before.next;
            let mut range = keys::outbox_from(before.floor);
            range.end = keys::outbox(before.next);
            self.disk.scan(range, |key, record| {
                if !over(outbox) {
                    floor = keys::seq_of(key).unwrap_or(floor);
                    return ControlFlow::Break(());
                }
                outbox.evicted += 1;
                outbox.entries = outbox.entries.saturating_sub(1);
                outbox.bytes = outbox.bytes.saturating_sub(record.len() as u64);
                changes.remove(key.to_vec());
                ControlFlow::Continue(())
            })?;
            outbox.floor = floor;
        }
        self.put_figures(changes, outbox)
    }

    fn put_figures(&self, changes: &mut Changes, outbox: &OutboxValue) -> Result<(), StoreError> {
        let key = keys::META_OUTBOX;
        changes.put(key.to_vec(), seal_outbox("the outbox's figures", key, outbox)?);
        Ok(())
    }
}
