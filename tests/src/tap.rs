//! What a subscriber was given over a connection, and what of it it has acknowledged.
//!
//! The broker's own word says less: it has acknowledged to the sensors what it may yet lose. What
//! the subscriber has acknowledged is its own to keep.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::frames::{Packets, Published, kind};

/// A message's topic and content.
pub type Content = (String, Vec<u8>);

/// Reads along the connections of one subscriber.
#[derive(Debug, Default)]
pub struct Tap(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Nothing that is said from now on counts.
    is_deaf: bool,
    connections: HashMap<u64, Connection>,
    acknowledged: HashSet<Content>,
    deliveries: u64,
    welcomes: u64,
    subscriptions: u64,
}

#[derive(Debug, Default)]
struct Connection {
    level: u8,
    from_client: Packets,
    from_broker: Packets,
    unacknowledged: HashMap<u16, Content>,
}

impl Tap {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes on their way to the subscriber.
    pub fn from_broker(&self, connection: u64, bytes: &[u8]) {
        let mut state = self.state();
        let State { connections, deliveries, welcomes, subscriptions, .. } = &mut *state;
        let connection = connections.entry(connection).or_default();
        connection.from_broker.extend(bytes);
        for packet in connection.from_broker.by_ref() {
            match packet.kind() {
                kind::CONNACK if packet.is_welcome() => *welcomes += 1,
                kind::SUBACK => *subscriptions += 1,
                kind::PUBLISH => {
                    *deliveries += 1;
                    let published = packet.published(connection.level);
                    if let Some(Published { topic, payload, packet: Some(number) }) = published {
                        connection.unacknowledged.insert(number, (topic, payload));
                    }
                }
                _ => {}
            }
        }
    }

    /// Bytes from the subscriber. Says whether they may go on to the broker: not once it was told
    /// to [`Self::stop_listening`].
    pub fn from_client(&self, connection: u64, bytes: &[u8]) -> bool {
        let mut state = self.state();
        if state.is_deaf {
            return false;
        }
        let State { connections, acknowledged, .. } = &mut *state;
        let connection = connections.entry(connection).or_default();
        connection.from_client.extend(bytes);
        for packet in connection.from_client.by_ref() {
            if packet.kind() == kind::CONNECT {
                connection.level = packet.level().unwrap_or_default();
            }
            if packet.kind() == kind::PUBACK
                && let Some(number) = packet.acknowledged()
                && let Some(content) = connection.unacknowledged.remove(&number)
            {
                acknowledged.insert(content);
            }
        }
        true
    }

    /// The connection is gone, and its numbers with it.
    pub fn forget(&self, connection: u64) {
        self.state().connections.remove(&connection);
    }

    /// From now on what the subscriber says is neither heard nor passed on, as if its power had
    /// gone at this moment.
    pub fn stop_listening(&self) {
        self.state().is_deaf = true;
    }

    /// Listens again.
    pub fn listen(&self) {
        self.state().is_deaf = false;
    }

    /// Whether the subscriber has acknowledged that message.
    #[must_use]
    pub fn has_acknowledged(&self, content: &Content) -> bool {
        self.state().acknowledged.contains(content)
    }

    /// Different messages that the subscriber has acknowledged, under any topic but `except`.
    #[must_use]
    pub fn acknowledged(&self, except: &str) -> HashSet<Content> {
        let state = self.state();
        state.acknowledged.iter().filter(|(topic, _)| topic != except).cloned().collect()
    }

    /// Messages given to the subscriber, repeats included.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.state().deliveries
    }

    /// Connections that the broker took.
    #[must_use]
    pub fn welcomes(&self) -> u64 {
        self.state().welcomes
    }

    /// Subscriptions that the broker confirmed.
    #[must_use]
    pub fn subscriptions(&self) -> u64 {
        self.state().subscriptions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{connect, publish};

    #[test]
    fn only_what_the_subscriber_acknowledges_on_its_own_connection_counts() {
        let tap = Tap::default();
        let given = |connection, payload: &str, number| {
            tap.from_broker(connection, &publish("t", payload.as_bytes(), number));
        };
        let has = |payload: &str| tap.has_acknowledged(&("t".into(), payload.into()));
        assert!(tap.from_client(1, &connect("me")));
        given(1, "a", 1);
        given(1, "b", 2);
        assert!(tap.from_client(1, &[0x40, 2, 0, 2]));
        assert!(has("b") && !has("a"));
        tap.forget(1);
        assert!(tap.from_client(2, &[0x40, 2, 0, 1]));
        assert!(!has("a"), "numbers of one connection mean nothing on another");
        given(2, "c", 1);
        tap.stop_listening();
        assert!(!tap.from_client(2, &[0x40, 2, 0, 1]));
        assert!(!has("c"), "the power had gone before it said so");
    }
}
