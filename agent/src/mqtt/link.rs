//! One connection to the broker: bytes in, bytes out, pings.
//!
//! rumqttc's own event loop is not used here: in MQTT 5 it writes one acknowledgement per turn
//! and flushes each, and in both versions it cannot send a ping without reading what is behind.
//! Here everything to be sent is gathered and written at once, and a session that cannot take
//! more stops reading while its pings go on (`docs/decisions/0006-own-sensor-link.md`).

use std::{io, pin::Pin, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, Sleep, sleep, timeout},
};

use super::{
    Output,
    packet::{
        Grant, Introduction, Malformed, Packet, Unsendable, Version, write_disconnect, write_ping,
        write_puback,
    },
};
use crate::config::BrokerUrl;

/// For the connection to stand, and then for the broker to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Read at once: about two hundred readings.
const READ_BYTES: usize = 16 << 10;
/// Less room than this at the end of the last read's memory, and new memory is taken.
const LEAST_ROOM: usize = 2 << 10;
/// Gathered to be written before more local outputs are taken.
const WRITE_BYTES: usize = 64 << 10;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("no answer within {CONNECT_TIMEOUT:?}")]
    NoAnswer,
    #[error("connection lost: {0}")]
    Lost(io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("the broker ended the session: {0}")]
    Ended(String),
    #[error("the broker refused the session: {reason}")]
    Refused { reason: String, for_version: bool, for_will: bool },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    #[error("the broker does not answer pings")]
    Silent,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    version: Version,
    grant: Grant,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    input: BytesMut,
    output: BytesMut,
    ping_every: Duration,
    ping: Pin<Box<Sleep>>,
    /// A ping was sent, and nothing has been heard since.
    is_unanswered: bool,
}

impl Link {
    /// Connects and introduces us.
    pub(super) async fn connect(
        broker: BrokerUrl,
        version: Version,
        introduction: Introduction,
    ) -> Result<Self, LinkError> {
        let connect = TcpStream::connect((broker.host.trim_matches(['[', ']']), broker.port));
        let stream = match timeout(CONNECT_TIMEOUT, connect).await {
            Ok(stream) => stream.map_err(LinkError::Unreachable)?,
            Err(_) => return Err(LinkError::Unreachable(io::ErrorKind::TimedOut.into())),
        };
        // What is written is gathered here already.
        stream.set_nodelay(true).map_err(LinkError::Unreachable)?;
        let (reader, writer) = stream.into_split();
        let mut link = Self {
            version,
            grant: Grant::default(),
            reader,
            writer,
            input: BytesMut::new(),
            output: BytesMut::new(),
            ping_every: introduction.keep_alive,
            ping: Box::pin(sleep(introduction.keep_alive)),
            is_unanswered: false,
        };
        version.write_connect(&introduction, &mut link.output)?;
        link.grant =
            timeout(CONNECT_TIMEOUT, link.answer()).await.map_err(|_| LinkError::NoAnswer)??;
        let keep_alive = link.grant.keep_alive.unwrap_or(introduction.keep_alive);
        // Sooner than promised: the broker counts from when it has read our last.
        link.ping_every = keep_alive.mul_f64(0.75);
        link.ping.as_mut().reset(Instant::now() + link.ping_every);
        Ok(link)
    }

    async fn answer(&mut self) -> Result<Grant, LinkError> {
        loop {
            self.exchange(true).await?;
            match self.packet()? {
                None => {}
                Some(Packet::Granted(grant)) => return Ok(grant),
                Some(Packet::Refused { reason, for_version, for_will }) => {
                    return Err(LinkError::Refused { reason, for_version, for_will });
                }
                Some(_) => return Err(LinkError::Ended("it did not begin with an answer".into())),
            }
        }
    }

    /// What the broker granted.
    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Reads, if told to, and writes what there is, once. Cancel safe.
    pub(super) async fn exchange(&mut self, is_reading: bool) -> Result<(), LinkError> {
        if self.input.capacity() - self.input.len() < LEAST_ROOM {
            self.input.reserve(READ_BYTES);
        }
        if !is_reading {
            // The answer may be there, unread.
            self.is_unanswered = false;
        }
        tokio::select! {
            read = self.reader.read_buf(&mut self.input), if is_reading => {
                match read.map_err(LinkError::Lost)? {
                    0 => Err(LinkError::Closed),
                    _ => {
                        self.is_unanswered = false;
                        Ok(())
                    }
                }
            }
            written = self.writer.write_buf(&mut self.output), if !self.output.is_empty() => {
                written.map(drop).map_err(LinkError::Lost)
            }
            () = self.ping.as_mut() => {
                if self.is_unanswered {
                    return Err(LinkError::Silent);
                }
                self.ping.as_mut().reset(Instant::now() + self.ping_every);
                self.is_unanswered = true;
                write_ping(&mut self.output);
                Ok(())
            }
        }
    }

    /// The next whole packet of what has been read.
    pub(super) fn packet(&mut self) -> Result<Option<Packet>, LinkError> {
        Ok(self.version.read(&mut self.input)?)
    }

    pub(super) fn subscribe(&mut self, packet: u16, filters: &[String]) -> Result<(), LinkError> {
        Ok(self.version.write_subscribe(packet, filters, &mut self.output)?)
    }

    pub(super) fn publish(
        &mut self,
        output: &Output,
        packet: u16,
        is_repeat: bool,
    ) -> Result<(), Unsendable> {
        self.version.write_publish(output, packet, is_repeat, &self.grant, &mut self.output)
    }

    pub(super) fn acknowledge(&mut self, packets: &[u16]) {
        packets.iter().for_each(|packet| write_puback(*packet, &mut self.output));
    }

    pub(super) fn disconnect(&mut self) {
        write_disconnect(&mut self.output);
    }

    /// Whether more may be gathered to be written.
    pub(super) fn has_room(&self) -> bool {
        self.output.len() < WRITE_BYTES
    }

    /// Whether all that was gathered has been written.
    pub(super) fn is_written(&self) -> bool {
        self.output.is_empty()
    }
}
