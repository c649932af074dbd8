//! Local outputs on their way to the broker: queued here, because a connection may end at any
//! time and the next one may speak another version of the protocol.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use rumqttc::QoS;
use tokio::sync::mpsc;
use tracing::debug;

use super::link::Link;
use crate::metrics::{Counter, Metrics};

/// Local outputs waiting for the broker: a midnight's worth of predictions of 2,000 sensors.
const OUTPUT_QUEUE: usize = 4_096;
/// Sent and not acknowledged by the broker, where it does not want fewer.
const WINDOW: usize = 100;

/// A message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    /// To be acknowledged by the broker.
    pub(super) acknowledged: bool,
    pub(super) retain: bool,
}

/// Publishes local outputs over the session.
#[derive(Clone, Debug)]
pub struct Outputs {
    queue: mpsc::Sender<Output>,
    metrics: Arc<Metrics>,
}

impl Outputs {
    /// Queues a message; when the queue is full it is dropped and counted.
    pub fn publish(&self, topic: String, payload: Vec<u8>, qos: QoS, retain: bool) {
        let acknowledged = qos != QoS::AtMostOnce;
        let output = Output { topic, payload: payload.into(), acknowledged, retain };
        if self.queue.try_send(output).is_err() {
            self.metrics.add(Counter::OutputsDropped, 1);
        }
    }

    /// Whether at least half of the queue is free: what can wait, waits until it is.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queue.capacity() >= OUTPUT_QUEUE / 2
    }
}

/// The session's end of the queue, and what the broker has not acknowledged yet.
#[derive(Debug)]
pub(crate) struct Outgoing {
    queue: mpsc::Receiver<Output>,
    /// To be sent before the queue; under their old numbers where the broker may know them.
    first: VecDeque<(Option<u16>, Output)>,
    unacked: VecDeque<(u16, Output)>,
    last_packet: u16,
    window: usize,
    metrics: Arc<Metrics>,
}

/// Both ends of a queue.
pub(crate) fn queue(metrics: Arc<Metrics>) -> (Outputs, Outgoing) {
    let (sender, queue) = mpsc::channel(OUTPUT_QUEUE);
    let outgoing = Outgoing {
        queue,
        first: VecDeque::new(),
        unacked: VecDeque::new(),
        last_packet: 0,
        window: WINDOW,
        metrics: Arc::clone(&metrics),
    };
    (Outputs { queue: sender, metrics }, outgoing)
}

impl Outgoing {
    /// A new connection: what was not acknowledged goes again. A broker that kept the session
    /// gets it under the same numbers and can tell that it is the same.
    pub(super) fn handle_connected(&mut self, session_kept: bool, window: u16) {
        self.window = WINDOW.min(window.into());
        while let Some((packet, output)) = self.unacked.pop_back() {
            self.first.push_front((session_kept.then_some(packet), output));
        }
        if !session_kept {
            self.first.iter_mut().for_each(|(packet, _)| *packet = None);
        }
    }

    /// Goes before all else, and takes the place of what its topic was still to say.
    pub(super) fn put_first(&mut self, output: Output) {
        self.first.retain(|(_, waiting)| waiting.topic != output.topic);
        self.first.push_front((None, output));
    }

    /// The broker has one.
    pub(super) fn handle_ack(&mut self, packet: u16) {
        // Brokers acknowledge in order, so it is found at the front.
        if let Some(place) = self.unacked.iter().position(|(number, _)| *number == packet) {
            self.unacked.remove(place);
        }
    }

    /// A packet number that nothing is waiting under.
    pub(super) fn next_packet(&mut self) -> u16 {
        loop {
            self.last_packet = self.last_packet.checked_add(1).unwrap_or(1);
            let number = self.last_packet;
            let is_used = self.unacked.iter().any(|(used, _)| *used == number)
                || self.first.iter().any(|(used, _)| *used == Some(number));
            if !is_used {
                return number;
            }
        }
    }

    /// Waits until there is something to send; pending while the broker takes no more. Cancel
    /// safe.
    pub(super) async fn wait(&mut self) {
        if self.first.is_empty()
            && let Some(output) = self.queue.recv().await
        {
            self.first.push_back((None, output));
        }
        if self.first.is_empty() {
            // Nobody is left who could send.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the broker takes more.
    pub(super) fn has_room(&self) -> bool {
        self.unacked.len() < self.window
    }

    /// Nothing is queued and nothing unacknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.first.is_empty() && self.queue.is_empty() && self.unacked.is_empty()
    }

    /// Takes all that is queued: topic, content, and whether it is to be kept.
    #[cfg(test)]
    pub(crate) fn drain(&mut self) -> Vec<(String, Bytes, bool)> {
        std::iter::from_fn(|| self.next())
            .map(|(_, output)| (output.topic, output.payload, output.retain))
            .collect()
    }

    /// Gives the connection as much as it takes.
    pub(super) fn send(&mut self, link: &mut Link) {
        while self.has_room() && link.has_room() {
            let Some((packet, output)) = self.next() else { break };
            let is_repeat = packet.is_some();
            let packet = packet.unwrap_or_else(|| self.next_packet());
            if let Err(error) = link.publish(&output, packet, is_repeat) {
                debug!(topic = %output.topic, %error, "local output dropped");
                self.metrics.add(Counter::OutputsDropped, 1);
            } else if output.acknowledged && link.grant().acknowledges {
                self.unacked.push_back((packet, output));
            }
        }
    }

    fn next(&mut self) -> Option<(Option<u16>, Output)> {
        self.first.pop_front().or_else(|| self.queue.try_recv().ok().map(|output| (None, output)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing_with(unacked: &[u16]) -> Outgoing {
        let (outputs, mut outgoing) = queue(Arc::default());
        for packet in unacked {
            outputs.publish(format!("t/{packet}"), Vec::new(), QoS::AtLeastOnce, false);
            let output = outgoing.queue.try_recv().unwrap();
            outgoing.unacked.push_back((*packet, output));
        }
        outgoing
    }

    fn first(outgoing: &Outgoing) -> Vec<(Option<u16>, &str)> {
        outgoing.first.iter().map(|(packet, output)| (*packet, output.topic.as_str())).collect()
    }

    #[test]
    fn what_a_lost_connection_left_unacknowledged_goes_first_and_in_order() {
        let mut outgoing = outgoing_with(&[7, 8, 9]);
        outgoing.handle_ack(8);
        outgoing.handle_connected(true, 20);
        assert_eq!(first(&outgoing), [(Some(7), "t/7"), (Some(9), "t/9")]);
        outgoing.handle_connected(false, 20);
        assert_eq!(first(&outgoing), [(None, "t/7"), (None, "t/9")], "nobody knows the numbers");
    }

    #[test]
    fn of_what_goes_first_only_the_newest_of_a_topic_does() {
        let mut outgoing = outgoing_with(&[7, 8]);
        outgoing.handle_connected(true, 20);
        let status = |payload: &'static str| Output {
            topic: "t/8".into(),
            payload: payload.into(),
            acknowledged: true,
            retain: true,
        };
        outgoing.put_first(status("online"));
        outgoing.put_first(status("offline"));
        assert_eq!(first(&outgoing), [(None, "t/8"), (Some(7), "t/7")]);
        assert_eq!(outgoing.first[0].1.payload, "offline");
    }

    #[test]
    fn a_packet_number_is_not_given_twice() {
        let mut outgoing = outgoing_with(&[1, u16::MAX]);
        outgoing.last_packet = u16::MAX - 1;
        assert_eq!(outgoing.next_packet(), 2, "0 is no number, 1 and the largest are used");
    }

    #[test]
    fn beyond_the_queue_outputs_are_dropped_and_counted() {
        let metrics = Arc::new(Metrics::default());
        let (outputs, _outgoing) = queue(Arc::clone(&metrics));
        for _ in 0..OUTPUT_QUEUE + 3 {
            outputs.publish("t".into(), Vec::new(), QoS::AtMostOnce, false);
        }
        assert_eq!(metrics.get(Counter::OutputsDropped), 3);
    }
}
