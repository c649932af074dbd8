//! Which part of the outbox goes up next, and what has become of what went.
//!
//! - **Ask first.** After connecting, and when the server has been silent, nothing goes but an
//!   empty message that asks what the server has. So nothing is sent to a server that is away,
//!   and nothing again that it has already.
//! - **Live first.** Entries made since it answered go at once, in order.
//! - **The backlog newest first**, in what the rate allows, with little of it on the way, so that
//!   live entries never wait long behind it. Numbers are given in the order of commit, so this is
//!   newest day first, but for revisions of old days: those count as new, as they are news.
//! - **Lost is found out by number.** Messages stay in order from here to the server, so an answer
//!   to one settles all before it: what is still held after its acknowledgement was lost, and is
//!   backlog again. Only if no answer comes at all is there a timeout.
//!
//! All of it is forgotten when the agent ends; the first answer tells the next one.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use daywise_core::wire::{self, Ack, Entry, SeqRange, Up};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::bucket::Bucket;
use crate::store::{Store, StoreError};

/// Bytes of live entries in one message: well below the wire's bound, large enough to be few.
const LIVE_BATCH_BYTES: usize = 64 * 1_024;
/// Live entries sent and not yet answered; bounds what the broker holds for us.
const LIVE_WINDOW_ENTRIES: usize = 2_000;
/// Bytes of backlog in one message: a quarter of a second's worth within these bounds.
const MIN_BACKLOG_BATCH_BYTES: usize = 1_024;
const MAX_BACKLOG_BATCH_BYTES: usize = 16 * 1_024;
/// Messages of backlog sent and not yet answered: one on its way while another is written.
const BACKLOG_WINDOW: usize = 2;
/// No answer for this long, and the server is asked, again and again.
const ASK_AFTER: Duration = Duration::from_secs(10);

/// Where a message's entries come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ask,
    Live,
    Backlog,
}

/// A message to be sent.
#[derive(Debug)]
pub(super) struct Message {
    /// On the wire.
    pub(super) bytes: Vec<u8>,
    /// How many entries are in it.
    pub(super) entries: usize,
    kind: Kind,
    number: u64,
    range: Option<SeqRange>,
}

/// A message on its way.
#[derive(Debug)]
struct Sent {
    number: u64,
    kind: Kind,
    entries: usize,
    /// From its first entry to its last; what it skipped is not held.
    range: Option<SeqRange>,
}

/// Whether the server answers.
#[derive(Clone, Copy, Debug)]
enum Contact {
    /// Not yet, or no more; when it was asked last.
    Asking(Option<Instant>),
    Answered,
}

/// The upload of one outbox.
#[derive(Debug)]
pub(super) struct Upload {
    store: Arc<Store>,
    bucket: Bucket,
    contact: Contact,
    /// The oldest first.
    sent: VecDeque<Sent>,
    /// Of the last message.
    number: u64,
    /// The lowest entry that is live; held ones below it are backlog, unless on their way.
    next_live: u64,
    /// When the server last answered, or was first given something to answer.
    heard_at: Instant,
}

impl Upload {
    pub(super) fn new(store: Arc<Store>, catch_up_kb_per_s: NonZeroU32) -> Self {
        let now = Instant::now();
        Self {
            bucket: Bucket::new(catch_up_kb_per_s, now),
            contact: Contact::Asking(None),
            sent: VecDeque::new(),
            // So that an answer to an earlier run is not taken for one to this.
            number: RandomState::new().build_hasher().finish() >> 32,
            next_live: store.outbox_next(),
            heard_at: now,
            store,
        }
    }

    /// There is a new connection: what was on its way over the last may be lost.
    pub(super) fn connected(&mut self) {
        self.contact = Contact::Asking(None);
    }

    /// What to send next, if anything may go now. It counts as sent once [`Self::sent`] says so.
    pub(super) fn poll(&mut self) -> Result<Option<Message>, StoreError> {
        let now = Instant::now();
        let is_waiting = matches!(self.contact, Contact::Answered) && !self.sent.is_empty();
        if is_waiting && now.saturating_duration_since(self.heard_at) >= ASK_AFTER {
            warn!("the sync server is silent; asking until it answers");
            self.contact = Contact::Asking(None);
        }
        if let Contact::Asking(asked_at) = self.contact {
            let is_due = asked_at.is_none_or(|at| now.saturating_duration_since(at) >= ASK_AFTER);
            return Ok(if is_due { self.message(Kind::Ask, Vec::new()) } else { None });
        }
        let live = self.live_batch()?;
        if !live.is_empty() {
            return Ok(self.message(Kind::Live, live));
        }
        let backlog = self.backlog_batch(now)?;
        Ok(if backlog.is_empty() { None } else { self.message(Kind::Backlog, backlog) })
    }

    /// The message was handed to the client.
    pub(super) fn sent(&mut self, message: &Message) {
        let Message { kind, number, range, entries, .. } = *message;
        let now = Instant::now();
        self.number = number;
        match kind {
            Kind::Ask => {
                self.contact = Contact::Asking(Some(now));
                // An answer to the latest settles those before it.
                while self.sent.back().is_some_and(|last| last.kind == Kind::Ask) {
                    self.sent.pop_back();
                }
            }
            Kind::Live => {
                self.next_live = range.map_or(self.next_live, |range| range.last.saturating_add(1));
            }
            Kind::Backlog => self.bucket.take(message.bytes.len()),
        }
        if self.sent.is_empty() {
            self.heard_at = now;
        }
        self.sent.push_back(Sent { number, kind, entries, range });
    }

    /// Lets go of what the server has.
    pub(super) fn handle_ack(&mut self, ack: &Ack) -> Result<(), StoreError> {
        if ack.stream != self.store.stream() {
            return Ok(());
        }
        let most = ack.received.len().min(wire::MAX_RANGES);
        self.store.outbox_ack(ack.up_to, ack.received.get(..most).unwrap_or_default())?;
        // One from an earlier run of the agent, or to a question asked again since, settles
        // nothing.
        let Some(at) = self.sent.iter().position(|sent| sent.number == ack.answers) else {
            return Ok(());
        };
        self.sent.drain(..=at);
        self.heard_at = Instant::now();
        if matches!(self.contact, Contact::Asking(_)) {
            self.contact = Contact::Answered;
            self.next_live = self.store.outbox_next();
            info!(backlog = self.store.outbox_len(), "the sync server answers");
        }
        Ok(())
    }

    fn live_batch(&self) -> Result<Vec<Entry>, StoreError> {
        let live = self.sent.iter().filter(|sent| sent.kind == Kind::Live);
        let waiting: usize = live.map(|sent| sent.entries).sum();
        if waiting >= LIVE_WINDOW_ENTRIES || self.next_live >= self.store.outbox_next() {
            return Ok(Vec::new());
        }
        self.store.outbox_batch(self.next_live, LIVE_BATCH_BYTES)
    }

    fn backlog_batch(&mut self, now: Instant) -> Result<Vec<Entry>, StoreError> {
        let waiting = self.sent.iter().filter(|sent| sent.kind == Kind::Backlog).count();
        if waiting >= BACKLOG_WINDOW || !self.bucket.is_open(now) {
            return Ok(Vec::new());
        }
        let batch_bytes = self.bucket.bytes_per_s() / 4;
        let batch_bytes = batch_bytes.clamp(MIN_BACKLOG_BATCH_BYTES, MAX_BACKLOG_BATCH_BYTES);
        let mut below = self.next_live;
        while let Some(gap) = self.gap_below(below) {
            let entries = self.store.outbox_newest(gap, batch_bytes)?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            below = gap.first;
        }
        Ok(Vec::new())
    }

    /// The highest numbers below `below` and not below the floor that are not on their way.
    fn gap_below(&self, mut below: u64) -> Option<SeqRange> {
        let on_the_way = || self.sent.iter().filter_map(|sent| sent.range);
        while let Some(range) = on_the_way().find(|range| range.contains(below.wrapping_sub(1))) {
            below = range.first;
        }
        let floor = self.store.outbox_floor();
        let lower = on_the_way().filter(|range| range.last < below).map(|range| range.last + 1);
        let first = lower.max().unwrap_or(floor).max(floor);
        (first < below).then(|| SeqRange { first, last: below - 1 })
    }

    fn message(&self, kind: Kind, entries: Vec<Entry>) -> Option<Message> {
        let number = self.number + 1;
        let (count, ends) = (entries.len(), entries.first().zip(entries.last()));
        let range = ends.map(|(first, last)| SeqRange { first: first.seq, last: last.seq });
        let (stream, floor) = (self.store.stream(), self.store.outbox_floor());
        match wire::encode(&Up { stream, floor, number, entries }) {
            Ok(bytes) => Some(Message { bytes, entries: count, kind, number, range }),
            Err(error) => {
                error!(%error, "outbox entries cannot be sent");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
