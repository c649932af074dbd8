//! Messages without a time of their own that the broker delivers again.
//!
//! A reading with a time is known by it. One without would count twice when it comes again after
//! a lost connection or a crash: stamped with its second arrival, it looks new. The broker says
//! "again" (DUP) of all that it has not seen acknowledged, whether it was kept here or not, so
//! the messages that were kept are remembered by a fingerprint: packet number, topic and payload.

use std::collections::{HashMap, VecDeque};

use super::Message;
use crate::store::MAX_DELIVERIES;

/// The newest messages without times.
#[derive(Debug, Default)]
pub(super) struct Redelivery {
    order: VecDeque<u32>,
    held: HashMap<u32, u32>,
}

impl Redelivery {
    pub(super) fn restored(prints: Vec<u32>) -> Self {
        let mut redelivery = Self::default();
        prints.into_iter().for_each(|print| redelivery.add(print));
        redelivery
    }

    /// Whether the message was kept before: one that is not sent "again" never was.
    pub(super) fn knows(&self, message: &Message<'_>) -> bool {
        message.is_again && fingerprint(message).is_some_and(|print| self.held.contains_key(&print))
    }

    /// Remembers the message, and returns what is to be made durable with it. At QoS 0 nothing
    /// comes again.
    pub(super) fn remember(&mut self, message: &Message<'_>) -> Option<u32> {
        let print = fingerprint(message)?;
        self.add(print);
        Some(print)
    }

    fn add(&mut self, print: u32) {
        self.order.push_back(print);
        *self.held.entry(print).or_default() += 1;
        if self.order.len() > MAX_DELIVERIES
            && let Some(oldest) = self.order.pop_front()
            && let Some(count) = self.held.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&oldest);
            }
        }
    }
}

fn fingerprint(message: &Message<'_>) -> Option<u32> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&message.packet?.to_be_bytes());
    crc.update(message.topic.as_bytes());
    crc.update(&[0]);
    crc.update(message.payload);
    Some(crc.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(packet: u16, payload: &str, is_again: bool) -> Message<'_> {
        let packet = Some(packet);
        Message { topic: "a", payload: payload.as_bytes(), packet, is_again, is_retained: false }
    }

    #[test]
    fn only_what_was_kept_and_is_sent_again_is_known() {
        let mut redelivery = Redelivery::default();
        let print = redelivery.remember(&message(7, "21.5", false)).unwrap();
        assert!(redelivery.knows(&message(7, "21.5", true)));
        assert!(!redelivery.knows(&message(7, "21.5", false)), "a new message of that number");
        assert!(!redelivery.knows(&message(8, "21.5", true)));
        assert!(!redelivery.knows(&message(7, "21.6", true)));
        assert!(Redelivery::restored(vec![print]).knows(&message(7, "21.5", true)));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut redelivery = Redelivery::default();
        redelivery.remember(&message(1, "old", false));
        for number in 0..MAX_DELIVERIES {
            let number = u16::try_from(number).unwrap();
            redelivery.remember(&message(number, "new", false));
        }
        assert!(!redelivery.knows(&message(1, "old", true)));
        assert!(redelivery.knows(&message(1, "new", true)));
        assert!(redelivery.held.len() <= MAX_DELIVERIES);
    }
}
