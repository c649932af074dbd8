//! The packets of a session, in terms of neither version of the protocol.
//!
//! rumqttc's codecs write and read the bytes; what they say is the same in both versions, and so
//! are the bytes of what is sent most: a PUBACK that reports no problem.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use daywise_core::decode::MAX_PAYLOAD_BYTES;
use rumqttc::{
    QoS,
    mqttbytes::{self, v4},
    v5::mqttbytes::{self as mqttbytes_5, v5},
};

use super::{Delivery, Output};

/// Largest packet taken. A reading is small, but whoever shares the topic may not be, and a
/// packet that is not taken cannot be acknowledged: the broker would send it at each connection
/// anew, and nothing behind it. Here they are [`cut`]. Still larger ones are the broker's to
/// refuse; in MQTT 5 it is told so.
const MAX_PACKET: u32 = 8 << 20;
/// In MQTT 5 a session ends with its connection unless told otherwise; this is "never".
const NEVER_EXPIRES: u32 = u32::MAX;

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1: how much is unacknowledged is the broker's choice.
    V311,
    /// 5: how much is unacknowledged is ours.
    V5,
}

/// What a session introduces itself with.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    pub(super) client_id: String,
    pub(super) keep_alive: Duration,
    pub(super) receive_maximum: u16,
    /// What the broker is to publish if we are gone without a goodbye.
    pub(super) will: Option<Output>,
}

/// What the broker granted with the connection; nothing before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    /// It has kept the session, and with it all that was not acknowledged.
    pub(super) session_present: bool,
    /// How many messages of ours it takes before it has acknowledged one.
    pub(super) window: u16,
    /// The largest packet it takes.
    pub(super) max_packet: u32,
    /// Whether it keeps retained messages.
    pub(super) retains: bool,
    /// Whether it acknowledges messages of ours.
    pub(super) acknowledges: bool,
    /// How often it wants to hear of us, where it insists.
    pub(super) keep_alive: Option<Duration>,
}

/// A packet from the broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// The connection stands.
    Granted(Grant),
    /// It does not.
    Refused {
        /// In the broker's words.
        reason: String,
        /// Another version of the protocol may be taken.
        for_version: bool,
        /// It keeps no retained messages or acknowledges none, and a last will is to be both.
        for_will: bool,
    },
    /// A message.
    Publish(Delivery),
    /// It has taken a message of ours.
    PubAck(u16),
    /// It has answered a subscription, so many filters of which it refused.
    SubAck {
        /// How many.
        refused: usize,
    },
    /// It ends the connection, in its words.
    Disconnect(String),
    /// It lives.
    Other,
}

/// What came is no packet.
#[derive(Debug, thiserror::Error)]
#[error("the broker sent what is not MQTT: {0}")]
pub(super) struct Malformed(String);

impl Malformed {
    fn new(error: impl ToString) -> Self {
        Self(error.to_string())
    }
}

/// The broker would not take it.
#[derive(Debug, thiserror::Error)]
#[error("cannot be sent: {0}")]
pub(super) struct Unsendable(String);

impl Unsendable {
    fn new(error: impl ToString) -> Self {
        Self(error.to_string())
    }
}

impl Version {
    /// As in the config and the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }

    /// Takes the next whole packet out of `input`.
    pub(super) fn read(self, input: &mut BytesMut) -> Result<Option<Packet>, Malformed> {
        match self {
            Self::V311 => read_311(input),
            Self::V5 => read_5(input),
        }
    }

    pub(super) fn write_connect(
        self,
        introduction: &Introduction,
        out: &mut BytesMut,
    ) -> Result<(), Unsendable> {
        let Introduction { client_id, keep_alive, receive_maximum, will } = introduction;
        let client_id = client_id.clone();
        let keep_alive = u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX);
        // The broker keeps the session, and with it what is not acknowledged, while we are away.
        match self {
            Self::V311 => {
                let mut connect = v4::Connect::new(client_id);
                connect.keep_alive = keep_alive;
                connect.clean_session = false;
                connect.last_will = will.as_ref().map(|will| {
                    let payload = will.payload.to_vec();
                    v4::LastWill::new(&will.topic, payload, QoS::AtLeastOnce, will.retain)
                });
                connect.write(out).map(drop).map_err(Unsendable::new)
            }
            Self::V5 => {
                let mut properties = v5::ConnectProperties::new();
                properties.session_expiry_interval = Some(NEVER_EXPIRES);
                properties.receive_maximum = Some(*receive_maximum);
                properties.max_packet_size = Some(MAX_PACKET);
                let properties = Some(properties);
                let connect = v5::Connect { keep_alive, client_id, clean_start: false, properties };
                let will = will.as_ref().map(|will| v5::LastWill {
                    topic: will.topic.clone().into(),
                    message: will.payload.clone(),
                    qos: mqttbytes_5::QoS::AtLeastOnce,
                    retain: will.retain,
                    properties: None,
                });
                connect.write(&will, &None, out).map(drop).map_err(Unsendable::new)
            }
        }
    }

    pub(super) fn write_subscribe(
        self,
        packet: u16,
        filters: &[String],
        out: &mut BytesMut,
    ) -> Result<(), Unsendable> {
        let filters = filters.iter().cloned();
        match self {
            Self::V311 => {
                let filters =
                    filters.map(|filter| v4::SubscribeFilter::new(filter, QoS::AtLeastOnce));
                let mut subscribe = v4::Subscribe::new_many(filters);
                subscribe.pkid = packet;
                subscribe.write(out).map(drop).map_err(Unsendable::new)
            }
            Self::V5 => {
                let qos = mqttbytes_5::QoS::AtLeastOnce;
                let filters = filters.map(|filter| v5::Filter::new(filter, qos));
                let mut subscribe = v5::Subscribe::new_many(filters, None);
                subscribe.pkid = packet;
                subscribe.write(out).map(drop).map_err(Unsendable::new)
            }
        }
    }

    /// Writes a message under a packet number, within what the broker granted.
    pub(super) fn write_publish(
        self,
        output: &Output,
        packet: u16,
        is_repeat: bool,
        grant: &Grant,
        out: &mut BytesMut,
    ) -> Result<(), Unsendable> {
        let Output { topic, payload, acknowledged, retain } = output;
        if topic.len() > usize::from(u16::MAX) {
            return Err(Unsendable::new("its topic is too long"));
        }
        let acknowledged = *acknowledged && grant.acknowledges;
        let (retain, dup) = (*retain && grant.retains, is_repeat && acknowledged);
        let pkid = if acknowledged { packet } else { 0 };
        let (topic, payload) = (topic.clone(), payload.clone());
        match self {
            Self::V311 => {
                let qos = if acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                let publish = v4::Publish { dup, qos, retain, topic, pkid, payload };
                let size = usize::try_from(grant.max_packet).unwrap_or(usize::MAX);
                let written = v4::Packet::Publish(publish).write(out, size);
                written.map(drop).map_err(Unsendable::new)
            }
            Self::V5 => {
                let qos = if acknowledged {
                    mqttbytes_5::QoS::AtLeastOnce
                } else {
                    mqttbytes_5::QoS::AtMostOnce
                };
                let topic = topic.into();
                let publish =
                    v5::Publish { dup, qos, retain, topic, pkid, payload, properties: None };
                let written = v5::Packet::Publish(publish).write(out, Some(grant.max_packet));
                written.map(drop).map_err(Unsendable::new)
            }
        }
    }
}

/// Acknowledges a message.
pub(super) fn write_puback(packet: u16, out: &mut BytesMut) {
    out.put_slice(&[0x40, 2]);
    out.put_u16(packet);
}

/// Asks for a sign of life.
pub(super) fn write_ping(out: &mut BytesMut) {
    out.put_slice(&[0xC0, 0]);
}

/// Says goodbye; the session stays.
pub(super) fn write_disconnect(out: &mut BytesMut) {
    out.put_slice(&[0xE0, 0]);
}

fn read_311(input: &mut BytesMut) -> Result<Option<Packet>, Malformed> {
    let largest = usize::try_from(MAX_PACKET).unwrap_or(usize::MAX);
    match mqttbytes::check(input.iter(), largest) {
        Ok(_) => {}
        Err(mqttbytes::Error::InsufficientBytes(missing)) => {
            input.reserve(missing);
            return Ok(None);
        }
        Err(error) => return Err(Malformed::new(error)),
    }
    let packet = v4::Packet::read(input, largest).map_err(Malformed::new)?;
    Ok(Some(match packet {
        v4::Packet::ConnAck(ack) if ack.code == v4::ConnectReturnCode::Success => {
            Packet::Granted(Grant {
                session_present: ack.session_present,
                window: u16::MAX,
                max_packet: MAX_PACKET,
                retains: true,
                acknowledges: true,
                keep_alive: None,
            })
        }
        v4::Packet::ConnAck(ack) => Packet::Refused {
            reason: format!("{:?}", ack.code),
            for_version: ack.code == v4::ConnectReturnCode::RefusedProtocolVersion,
            for_will: false,
        },
        v4::Packet::Publish(publish) => Packet::Publish(Delivery {
            topic: publish.topic,
            payload: cut(publish.payload),
            packet: (publish.qos != QoS::AtMostOnce).then_some(publish.pkid),
            dup: publish.dup,
            retained: publish.retain,
        }),
        v4::Packet::PubAck(ack) => Packet::PubAck(ack.pkid),
        v4::Packet::SubAck(ack) => {
            let failed = |code: &&_| matches!(code, v4::SubscribeReasonCode::Failure);
            Packet::SubAck { refused: ack.return_codes.iter().filter(failed).count() }
        }
        _ => Packet::Other,
    }))
}

fn read_5(input: &mut BytesMut) -> Result<Option<Packet>, Malformed> {
    match v5::check(input.iter(), Some(MAX_PACKET)) {
        Ok(_) => {}
        Err(mqttbytes_5::Error::InsufficientBytes(missing)) => {
            input.reserve(missing);
            return Ok(None);
        }
        Err(error) => return Err(Malformed::new(error)),
    }
    let packet = v5::Packet::read(input, Some(MAX_PACKET)).map_err(Malformed::new)?;
    Ok(Some(match packet {
        v5::Packet::ConnAck(ack) if ack.code == v5::ConnectReturnCode::Success => {
            Packet::Granted(grant_5(ack.session_present, ack.properties.as_ref()))
        }
        v5::Packet::ConnAck(ack) => Packet::Refused {
            reason: format!("{:?}", ack.code),
            for_version: matches!(
                ack.code,
                v5::ConnectReturnCode::RefusedProtocolVersion
                    | v5::ConnectReturnCode::UnsupportedProtocolVersion
                    | v5::ConnectReturnCode::MalformedPacket
                    | v5::ConnectReturnCode::ProtocolError
            ),
            for_will: matches!(
                ack.code,
                v5::ConnectReturnCode::RetainNotSupported | v5::ConnectReturnCode::QoSNotSupported
            ),
        },
        v5::Packet::Publish(publish) => Packet::Publish(Delivery {
            // A topic that is not UTF-8 is no source's: refused and acknowledged, it is gone.
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: cut(publish.payload),
            packet: (publish.qos != mqttbytes_5::QoS::AtMostOnce).then_some(publish.pkid),
            dup: publish.dup,
            retained: publish.retain,
        }),
        v5::Packet::PubAck(ack) => Packet::PubAck(ack.pkid),
        v5::Packet::SubAck(ack) => {
            let failed = |code: &&_| !matches!(code, v5::SubscribeReasonCode::Success(_));
            Packet::SubAck { refused: ack.return_codes.iter().filter(failed).count() }
        }
        v5::Packet::Disconnect(goodbye) => Packet::Disconnect(format!("{:?}", goodbye.reason_code)),
        _ => Packet::Other,
    }))
}

fn grant_5(session_present: bool, properties: Option<&v5::ConnAckProperties>) -> Grant {
    let keep_alive = properties.and_then(|granted| granted.server_keep_alive);
    Grant {
        session_present,
        window: properties.and_then(|granted| granted.receive_max).unwrap_or(u16::MAX).max(1),
        max_packet: properties
            .and_then(|granted| granted.max_packet_size)
            .map_or(MAX_PACKET, |size| size.min(MAX_PACKET)),
        retains: properties.and_then(|granted| granted.retain_available) != Some(0),
        acknowledges: properties.and_then(|granted| granted.max_qos) != Some(0),
        keep_alive: keep_alive.filter(|s| *s > 0).map(|s| Duration::from_secs(s.into())),
    }
}

/// A payload that is too large to be read is refused for that, so one byte more than can be read
/// is all that is kept of it. Copied, because a part would keep the whole in memory.
fn cut(payload: Bytes) -> Bytes {
    match payload.get(..=MAX_PAYLOAD_BYTES) {
        Some(start) => Bytes::copy_from_slice(start),
        None => payload,
    }
}
