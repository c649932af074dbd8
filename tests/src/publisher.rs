//! Publishes at QoS 1, message by message, and knows what the broker has taken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

use crate::{
    agent::{CLOCK, READINGS},
    readings::Reading,
    wait::{LONG, SHORT, wait_until},
};

/// Larger than anything a test sends on purpose.
const MAX_PACKET: usize = 64 << 20;

/// The sensors.
pub struct Publisher {
    client: Client,
    sent: u64,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
    now_ms: i64,
}

#[derive(Debug, Default)]
struct Progress {
    connected: AtomicBool,
    acknowledged: AtomicU64,
}

impl Publisher {
    /// Connects to the broker at `url`.
    ///
    /// # Panics
    /// It does not answer.
    #[track_caller]
    #[must_use]
    pub fn connect(url: &str) -> Self {
        let (host, port) = address(url);
        let mut options = MqttOptions::new(unique_id("sensors"), host, port);
        options.set_keep_alive(Duration::from_secs(30)).set_max_packet_size(MAX_PACKET, MAX_PACKET);
        let (client, mut connection) = Client::new(options, 100);
        let progress = Arc::new(Progress::default());
        let seen = Arc::clone(&progress);
        let thread = thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => seen.connected.store(true, SeqCst),
                    Ok(Event::Incoming(Packet::PubAck(_))) => {
                        seen.acknowledged.fetch_add(1, SeqCst);
                    }
                    Ok(_) => {}
                    // A goodbye ends here too. Whoever waits for acknowledgements will notice.
                    Err(_) => break,
                }
            }
        });
        let publisher = Self { client, sent: 0, progress, thread: Some(thread), now_ms: i64::MIN };
        wait_until("the broker takes a publisher", SHORT, || {
            publisher.progress.connected.load(SeqCst)
        });
        publisher
    }

    /// Publishes one message.
    ///
    /// # Panics
    /// The connection is gone.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload.into()).unwrap();
        self.sent += 1;
    }

    /// Moves the agent's clock, if that is earlier: it never goes backwards. An agent that was
    /// restarted knows no later time than that of its newest durable reading, so ticks that
    /// change nothing for others still matter to it.
    #[track_caller]
    pub fn tick(&mut self, at_ms: i64) {
        if at_ms != self.now_ms {
            self.now_ms = at_ms;
            self.publish(CLOCK, at_ms.to_string());
        }
    }

    /// Publishes one reading with its own time.
    #[track_caller]
    pub fn reading(&mut self, reading: &Reading) {
        let (topic, payload) = message(reading);
        self.publish(&topic, payload);
    }

    /// Publishes readings in their own time: the agent's clock goes with them.
    #[track_caller]
    pub fn feed(&mut self, readings: &[Reading]) {
        for reading in readings {
            self.tick(reading.at_ms);
            self.reading(reading);
        }
    }

    /// Waits until the broker has taken everything.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn flush(&mut self) {
        wait_until("the broker has taken everything", LONG, || {
            self.progress.acknowledged.load(SeqCst) >= self.sent
        });
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Either ends the thread's loop; a broker that is gone has ended it already.
        drop(self.client.try_disconnect());
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            drop(thread.join());
        }
    }
}

/// Topic and content of a reading with its own time.
#[must_use]
pub fn message(reading: &Reading) -> (String, Vec<u8>) {
    let Reading { sensor, at_ms, value } = reading;
    let payload = format!("{{\"ts\":{at_ms},\"value\":{value}}}");
    (format!("{READINGS}/{sensor}"), payload.into_bytes())
}

/// Host and port of an `mqtt://` address.
pub(crate) fn address(url: &str) -> (String, u16) {
    let (host, port) = url.trim_start_matches("mqtt://").split_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}

/// A client id that no other client of this process has.
pub(crate) fn unique_id(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst))
}
