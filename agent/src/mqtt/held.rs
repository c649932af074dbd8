//! Messages that wait for the pipeline, and what happens when they are too many.
//!
//! At QoS 0 a message that finds no room is dropped and counted: nobody would send it again. At
//! QoS 1 nothing is dropped, because a broker sends what is not acknowledged again only over a
//! new connection, and all of it. Instead nothing more is read, so that TCP holds the broker back,
//! while pings go on. In MQTT 5 the window we ask for is smaller than the room here.

use super::Delivery;

/// Messages held while the pipeline is behind.
pub const MAX_HELD: usize = 10_000;
/// Bytes of them: readings are small, but 10,000 messages of the largest size would not be.
const MAX_HELD_BYTES: usize = 4 << 20;

/// What waits, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    deliveries: Vec<Delivery>,
    all: Size,
    /// The part that cannot be dropped: at QoS 1.
    kept: Size,
}

#[derive(Clone, Copy, Debug, Default)]
struct Size {
    messages: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, delivery: &Delivery) {
        self.messages += 1;
        self.bytes += delivery.topic.len() + delivery.payload.len();
    }

    fn is_full(self) -> bool {
        self.messages >= MAX_HELD || self.bytes >= MAX_HELD_BYTES
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Takes a message, unless it may be dropped and has to be.
    #[must_use]
    pub(super) fn push(&mut self, delivery: Delivery) -> bool {
        if delivery.packet.is_some() {
            self.kept.add(&delivery);
        } else if self.all.is_full() {
            return false;
        }
        self.all.add(&delivery);
        self.deliveries.push(delivery);
        true
    }

    /// Whether nothing more may be read.
    pub(super) fn is_full(&self) -> bool {
        self.kept.is_full()
    }

    pub(super) fn take(&mut self) -> Vec<Delivery> {
        (self.all, self.kept) = (Size::default(), Size::default());
        std::mem::take(&mut self.deliveries)
    }

    /// Packet numbers of the last connection mean nothing on the next. With a kept session the
    /// broker sends what was not acknowledged again; without one it has forgotten it, and what is
    /// held here is the last copy.
    pub(super) fn forget_packets(&mut self, session_kept: bool) {
        if !session_kept {
            self.deliveries.iter_mut().for_each(|delivery| delivery.packet = None);
            return;
        }
        for again in self.deliveries.extract_if(.., |delivery| delivery.packet.is_some()) {
            let bytes = again.topic.len() + again.payload.len();
            for size in [&mut self.all, &mut self.kept] {
                size.messages = size.messages.saturating_sub(1);
                size.bytes = size.bytes.saturating_sub(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn delivery(packet: Option<u16>, bytes: usize) -> Delivery {
        let payload = Bytes::from(vec![b'1'; bytes]);
        Delivery { topic: "t".into(), payload, packet, dup: false, retained: false }
    }

    fn holding(packets: &[Option<u16>]) -> Held {
        let mut held = Held::default();
        assert!(packets.iter().all(|packet| held.push(delivery(*packet, 0))));
        held
    }

    #[test]
    fn a_kept_session_sends_unacknowledged_messages_again() {
        let mut held = holding(&[Some(1), None, Some(2)]);
        held.forget_packets(true);
        assert_eq!(held.all.messages, 1);
        assert_eq!(held.take().len(), 1, "only what the broker does not keep stays");
    }

    #[test]
    fn a_lost_session_leaves_the_last_copies_here_without_their_numbers() {
        let mut held = holding(&[Some(1), None, Some(2)]);
        held.forget_packets(false);
        assert_eq!(held.kept.messages, 2, "they count as what cannot be dropped");
        let packets: Vec<_> = held.take().iter().map(|delivery| delivery.packet).collect();
        assert_eq!(packets, [None, None, None]);
    }

    #[test]
    fn without_room_what_is_not_acknowledged_is_dropped_and_the_rest_is_not_read() {
        let mut held = Held::default();
        for _ in 0..MAX_HELD {
            assert!(held.push(delivery(None, 1)));
        }
        assert!(!held.push(delivery(None, 1)));
        assert!(!held.is_full(), "what can be dropped stops nobody");
        for packet in 0..u16::try_from(MAX_HELD).unwrap() {
            assert!(held.push(delivery(Some(packet), 1)));
        }
        assert!(held.is_full());
        assert!(held.push(delivery(Some(1), 1)), "read already, so it is kept");
        assert_eq!(held.take().len(), 2 * MAX_HELD + 1);
        assert!(!held.is_full());
    }

    #[test]
    fn few_large_messages_fill_it_too() {
        let mut held = Held::default();
        for _ in 0..MAX_HELD_BYTES / 65_536 {
            assert!(held.push(delivery(Some(1), 65_536)));
        }
        assert!(held.is_full());
        assert!(!held.push(delivery(None, 1)));
    }
}
