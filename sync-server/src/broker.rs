//! The embedded MQTT broker: rumqttd on a thread and a runtime of its own.
//!
//! It keeps everything in memory, so nothing in it outlives the process: what must not be lost
//! is in the gateways' outboxes until the database has it, and retained messages are published
//! again after every start. Its own runtime is what makes it stoppable: the connections' tasks
//! end with it. Only the router's thread, which waits for messages that no longer come, stays
//! until the process ends.
//!
//! Each topic filter that someone subscribed to has a log in segments; when the last is full,
//! the oldest is dropped, and with it what a slow subscriber has not read yet. rumqttd says so
//! in a warning only, so the logs are large enough for a day's feed at full speed.

use std::{collections::HashMap, io, net::SocketAddr, thread, time::Duration};

use daywise_core::model::MAX_ARTIFACT_BYTES;
use rumqttd::{
    ConnectionSettings, LinkType, Router, RouterConfig, SegmentConfig, Server, ServerSettings,
    protocol::v4::V4,
};
use tokio::{net::TcpStream, sync::oneshot, time};
use tokio_util::sync::CancellationToken;

use crate::topics::Topics;

/// The largest message is a model artifact; topic and headers come on top.
pub(crate) const MAX_PACKET_BYTES: usize = MAX_ARTIFACT_BYTES + 64 * 1024;
/// As many as gateways are taken on, and room for sensors that publish here directly.
const MAX_CONNECTIONS: usize = 12_000;
/// Segments of each log. One in twelve is lost at a time when a log is full, so eleven twelfths
/// of the backlog are always there.
const SEGMENTS: usize = 12;
/// The logs of sync topics are small: what is lost of them is sent again from the outbox or
/// published again at the next connection.
const SYNC_SEGMENT_BYTES: usize = 4 << 20;
const SYNC_SEGMENTS: usize = 8;
/// Messages handed to a client at a time. rumqttd has at most a hundred unacknowledged anyway.
const OUTGOING_BATCH: u64 = 100;
/// Packets read from a client before the router gets them.
const INCOMING_BATCH: usize = 200;
/// A client that connects and then says nothing is dropped.
const CONNECT_TIMEOUT_MS: u16 = 10_000;
/// How long the listener may take to come up.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The address cannot be listened on, usually because something already does.
    #[error("the MQTT broker cannot listen on {listen}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Its thread cannot be started.
    #[error("cannot start the MQTT broker's thread")]
    Thread(#[source] io::Error),
    /// It ended although nobody asked it to.
    #[error("the MQTT broker ended: {0}")]
    Ended(String),
}

/// The running broker.
#[derive(Debug)]
pub struct Broker {
    /// Where it really listens.
    pub address: SocketAddr,
    ended: oneshot::Receiver<Result<(), BrokerError>>,
}

impl Broker {
    /// Starts the broker and waits until it answers.
    ///
    /// # Errors
    /// The address is in use or not this machine's.
    pub async fn start(
        listen: SocketAddr,
        backlog_mb: u32,
        topics: &Topics,
        stop: CancellationToken,
    ) -> Result<Self, BrokerError> {
        // rumqttd would only log that it cannot listen; and with port 0 nobody would learn which
        // port it got. So the address is tried, and the port fixed, before.
        let address = std::net::TcpListener::bind(listen)
            .and_then(|probe| probe.local_addr())
            .map_err(|source| BrokerError::Listen { listen, source })?;
        let router = router_config(backlog_mb, topics);
        let settings = server_settings(address);
        let (tell, mut ended) = oneshot::channel();
        let body = move || {
            let ended = serve(router, settings, &stop);
            // Nobody listens any more once the server is draining.
            drop(tell.send(ended));
        };
        thread::Builder::new()
            .name("mqtt-broker".into())
            .spawn(body)
            .map_err(BrokerError::Thread)?;
        tokio::select! {
            early = &mut ended => {
                Err(early.ok().and_then(Result::err).unwrap_or_else(panicked))
            }
            ready = time::timeout(READY_TIMEOUT, answers(address)) => match ready {
                Ok(()) => Ok(Self { address, ended }),
                Err(_) => Err(BrokerError::Ended("it does not answer".into())),
            },
        }
    }

    /// Waits until the broker has ended: cleanly after `stop`, or with what went wrong.
    ///
    /// # Errors
    /// It ended although nobody asked it to.
    pub async fn ended(self) -> Result<(), BrokerError> {
        self.ended.await.unwrap_or_else(|_| Err(panicked()))
    }
}

fn panicked() -> BrokerError {
    BrokerError::Ended("its thread panicked".into())
}

async fn answers(address: SocketAddr) {
    // A wildcard address is listened on, not connected to.
    let target = if address.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], address.port()))
    } else {
        address
    };
    while TcpStream::connect(target).await.is_err() {
        time::sleep(Duration::from_millis(20)).await;
    }
}

fn serve(
    router: RouterConfig,
    settings: ServerSettings,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BrokerError::Thread)?;
    let router = Router::new(0, router).spawn();
    let mut server = Server::new(settings, router, V4);
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = server.start(LinkType::Remote) => Some(ended),
            () = stop.cancelled() => None,
        }
    });
    runtime.shutdown_background();
    match ended {
        None => Ok(()),
        Some(Ok(())) => Err(BrokerError::Ended("it stopped listening".into())),
        Some(Err(error)) => Err(BrokerError::Ended(error.to_string())),
    }
}

fn router_config(backlog_mb: u32, topics: &Topics) -> RouterConfig {
    let backlog = usize::try_from(backlog_mb).unwrap_or(usize::MAX).saturating_mul(1_000_000);
    let sync =
        SegmentConfig { max_segment_size: SYNC_SEGMENT_BYTES, max_segment_count: SYNC_SEGMENTS };
    RouterConfig {
        max_connections: MAX_CONNECTIONS,
        max_outgoing_packet_count: OUTGOING_BATCH,
        max_segment_size: backlog / SEGMENTS,
        max_segment_count: SEGMENTS,
        custom_segment: Some(HashMap::from([(topics.all(), sync)])),
        ..RouterConfig::default()
    }
}

fn server_settings(listen: SocketAddr) -> ServerSettings {
    ServerSettings {
        name: "v4".into(),
        listen,
        tls: None,
        // Zero would still yield; one millisecond throttles a storm of reconnects.
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: CONNECT_TIMEOUT_MS,
            max_payload_size: MAX_PACKET_BYTES,
            max_inflight_count: INCOMING_BATCH,
            auth: None,
            external_auth: None,
            dynamic_filters: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_a_clear_error() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        let stop = CancellationToken::new();
        let error = Broker::start(listen, 16, &Topics::new("p"), stop).await.unwrap_err();
        assert!(matches!(error, BrokerError::Listen { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_stopped_broker_lets_go_of_its_port() {
        let any = ([127, 0, 0, 1], 0).into();
        let stop = CancellationToken::new();
        let broker = Broker::start(any, 16, &Topics::new("p"), stop.clone()).await.unwrap();
        let address = broker.address;
        stop.cancel();
        broker.ended().await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
        let again = CancellationToken::new();
        Broker::start(address, 16, &Topics::new("p"), again.clone()).await.unwrap();
        again.cancel();
    }
}
