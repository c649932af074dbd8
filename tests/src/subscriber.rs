//! Collects what is published under a topic filter.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::Value;

use crate::{
    publisher::{address, unique_id},
    wait::{SHORT, wait_until},
};

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its content.
    pub payload: Vec<u8>,
}

impl Message {
    /// The content as JSON.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The subscriber.
pub struct Subscriber {
    client: Client,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Subscriber {
    /// Connects to the broker at `url` and subscribes; returns once the broker has said yes.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    #[must_use]
    pub fn connect(url: &str, filter: &str) -> Self {
        let (host, port) = address(url);
        let mut options = MqttOptions::new(unique_id("listener"), host, port);
        options.set_keep_alive(Duration::from_secs(30)).set_max_packet_size(1 << 24, 1 << 24);
        let (client, mut connection) = Client::new(options, 16);
        client.subscribe(filter, QoS::AtLeastOnce).unwrap();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let subscribed = Arc::new(AtomicBool::new(false));
        let (collected, confirmed) = (Arc::clone(&messages), Arc::clone(&subscribed));
        thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::SubAck(_))) => confirmed.store(true, SeqCst),
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let (topic, payload) = (publish.topic, publish.payload.to_vec());
                        collected.lock().unwrap().push(Message { topic, payload });
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        });
        wait_until("the broker takes a subscriber", SHORT, || subscribed.load(SeqCst));
        Self { client, messages }
    }

    /// All messages so far.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap().clone()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Ends the thread; a broker that is gone has ended it already.
        drop(self.client.try_disconnect());
    }
}
