//! A broker and a server, in the arrangements that are supported.

use crate::{
    agent::AgentSettings,
    mosquitto::{DEFAULT_INFLIGHT, Mosquitto},
    ports::free_port,
    publisher::Publisher,
    scratch::Scratch,
    server::{Server, ServerBroker},
    subscriber::Subscriber,
};

/// Which broker a test runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// A real mosquitto that gives a subscriber so many unacknowledged messages.
    Mosquitto {
        /// 0 is no limit.
        max_inflight: u16,
    },
    /// The one inside the server.
    Embedded,
}

impl Broker {
    /// mosquitto as it is installed.
    pub const MOSQUITTO: Self = Self::Mosquitto { max_inflight: DEFAULT_INFLIGHT };
}

/// Broker and server; the agents are the test's. Fields are in the order they are to end.
#[derive(Debug)]
pub struct Site {
    /// The server.
    pub server: Server,
    /// The sensors' broker, unless it is the server's.
    pub mosquitto: Option<Mosquitto>,
    /// The sensors' broker's address.
    pub broker: String,
    /// The server's broker's address.
    pub sync_broker: String,
    /// Where everything is kept.
    pub scratch: Scratch,
}

impl Site {
    /// Sensors and server at one broker.
    #[track_caller]
    #[must_use]
    pub fn start(broker: Broker) -> Self {
        Self::start_with(broker, broker)
    }

    /// Sensors at one broker, the server at another or the same.
    ///
    /// # Panics
    /// Something does not start, or the sensors are to be at a broker that is not there.
    #[track_caller]
    #[must_use]
    pub fn start_with(sensors: Broker, sync: Broker) -> Self {
        let scratch = Scratch::new();
        let mosquitto = match (sensors, sync) {
            (Broker::Mosquitto { max_inflight }, _) => {
                Some(Mosquitto::start(&scratch, max_inflight))
            }
            (Broker::Embedded, Broker::Embedded) => None,
            (Broker::Embedded, Broker::Mosquitto { .. }) => panic!("then there is no such broker"),
        };
        let own = |mosquitto: &Option<Mosquitto>| mosquitto.as_ref().map(Mosquitto::url);
        let server_broker = match sync {
            Broker::Embedded => ServerBroker::Embedded(free_port()),
            Broker::Mosquitto { .. } => ServerBroker::External(own(&mosquitto).unwrap()),
        };
        let sync_broker = match &server_broker {
            ServerBroker::Embedded(port) => format!("mqtt://127.0.0.1:{port}"),
            ServerBroker::External(url) => url.clone(),
        };
        let server = Server::start(&scratch, &server_broker);
        let broker = own(&mosquitto).unwrap_or_else(|| sync_broker.clone());
        Self { server, mosquitto, broker, sync_broker, scratch }
    }

    /// Settings of an agent at this site.
    #[must_use]
    pub fn agent_settings(&self) -> AgentSettings {
        AgentSettings {
            sync_broker: Some(self.sync_broker.clone()),
            ..AgentSettings::at(&self.broker)
        }
    }

    /// Sensors that publish at this site.
    #[track_caller]
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::connect(&self.broker)
    }

    /// Someone who listens to the sensors' broker.
    #[track_caller]
    #[must_use]
    pub fn subscriber(&self, filter: &str) -> Subscriber {
        Subscriber::connect(&self.broker, filter)
    }
}
