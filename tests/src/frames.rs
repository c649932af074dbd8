//! Just enough MQTT to read along a connection and to publish on one: packets of versions 3.1.1
//! and 5, cut out of a stream of bytes.

/// The first four bits of a packet: what it is.
pub mod kind {
    /// A client says who it is.
    pub const CONNECT: u8 = 1;
    /// The broker takes a client.
    pub const CONNACK: u8 = 2;
    /// A message.
    pub const PUBLISH: u8 = 3;
    /// A message at QoS 1 is acknowledged.
    pub const PUBACK: u8 = 4;
    /// A subscription is confirmed.
    pub const SUBACK: u8 = 9;
    /// A client is still there.
    pub const PINGREQ: u8 = 12;
}

/// The protocol level of MQTT 5; 3.1.1 is 4.
const LEVEL_5: u8 = 5;
/// Reason codes from here on say no.
const FIRST_FAILURE: u8 = 0x80;

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    first: u8,
    body: Vec<u8>,
}

/// A message as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its topic.
    pub topic: String,
    /// Its content.
    pub payload: Vec<u8>,
    /// The number to acknowledge it under; `None` at QoS 0.
    pub packet: Option<u16>,
}

impl Packet {
    /// What it is; see [`kind`].
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The protocol level that a CONNECT asks for.
    #[must_use]
    pub fn level(&self) -> Option<u8> {
        let mut rest = self.body.as_slice();
        take_text(&mut rest)?;
        rest.first().copied()
    }

    /// The message of a PUBLISH.
    #[must_use]
    pub fn published(&self, level: u8) -> Option<Published> {
        let mut rest = self.body.as_slice();
        let topic = take_text(&mut rest)?.to_owned();
        let qos = self.first >> 1 & 3;
        let packet = if qos == 0 { None } else { Some(take_number(&mut rest)?) };
        if level == LEVEL_5 {
            let (length, size) = read_length(rest)??;
            rest = rest.get(size + length..)?;
        }
        Some(Published { topic, payload: rest.to_vec(), packet })
    }

    /// The number that a PUBACK acknowledges; `None` if it says that the message was not taken.
    #[must_use]
    pub fn acknowledged(&self) -> Option<u16> {
        let mut rest = self.body.as_slice();
        let packet = take_number(&mut rest)?;
        rest.first().is_none_or(|reason| *reason < FIRST_FAILURE).then_some(packet)
    }

    /// Whether a CONNACK takes the client.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        self.body.get(1) == Some(&0)
    }
}

/// Packets out of bytes as they come.
#[derive(Debug, Default)]
pub struct Packets(Vec<u8>);

impl Packets {
    /// Adds bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Iterator for Packets {
    type Item = Packet;

    /// The next whole packet, if it has arrived.
    fn next(&mut self) -> Option<Packet> {
        let (first, rest) = self.0.split_first()?;
        let (length, size) = read_length(rest)??;
        let body = rest.get(size..size + length)?.to_vec();
        let packet = Packet { first: *first, body };
        self.0.drain(..1 + size + length);
        Some(packet)
    }
}

/// CONNECT of a client without a session, in version 3.1.1.
#[must_use]
pub fn connect(client_id: &str) -> Vec<u8> {
    const CLEAN_SESSION: u8 = 2;
    const KEEP_ALIVE_S: u16 = 60;
    let mut body = text("MQTT");
    body.extend([4, CLEAN_SESSION]);
    body.extend(KEEP_ALIVE_S.to_be_bytes());
    body.extend(text(client_id));
    packet(kind::CONNECT << 4, &body)
}

/// PUBLISH at QoS 1 in version 3.1.1.
#[must_use]
pub fn publish(topic: &str, payload: &[u8], number: u16) -> Vec<u8> {
    const QOS_1: u8 = 2;
    let mut body = text(topic);
    body.extend(number.to_be_bytes());
    body.extend(payload);
    packet(kind::PUBLISH << 4 | QOS_1, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn take_number(rest: &mut &[u8]) -> Option<u16> {
    let (number, after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    Some(u16::from_be_bytes(*number))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(take_number(rest)?);
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

/// A length of one to four bytes and how many it took; `None` while some are missing, `Some(None)`
/// if it is none.
fn read_length(bytes: &[u8]) -> Option<Option<(usize, usize)>> {
    let mut length = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(Some((length, place + 1)));
        }
    }
    (bytes.len() >= 4).then_some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_whole_however_the_bytes_are_cut() {
        let payload = vec![b'7'; 300];
        let bytes = [connect("me"), publish("a/b", &payload, 515)].concat();
        for cut in 0..bytes.len() {
            let mut packets = Packets::default();
            packets.extend(&bytes[..cut]);
            let mut all: Vec<Packet> = packets.by_ref().collect();
            packets.extend(&bytes[cut..]);
            all.extend(packets);
            assert_eq!(all.iter().map(Packet::kind).collect::<Vec<_>>(), [1, 3], "cut at {cut}");
            assert_eq!(all[0].level(), Some(4));
            let expected =
                Published { topic: "a/b".into(), payload: payload.clone(), packet: Some(515) };
            assert_eq!(all[1].published(4), Some(expected));
        }
    }

    #[test]
    fn version_5_has_properties_before_the_payload_and_reasons_in_acknowledgements() {
        let mut packets = Packets::default();
        // QoS 1, topic `t`, number 9, two bytes of properties (payload format), payload `x`.
        packets.extend(&[0x32, 9, 0, 1, b't', 0, 9, 2, 1, 1, b'x']);
        packets.extend(&[0x40, 2, 0, 9, 0x40, 3, 0, 9, 0x10, 0x40, 4, 0, 9, 0x97, 0]);
        let all: Vec<Packet> = packets.collect();
        let published = all[0].published(LEVEL_5).unwrap();
        assert_eq!((published.payload.as_slice(), published.packet), (&b"x"[..], Some(9)));
        let acks: Vec<_> = all[1..].iter().map(Packet::acknowledged).collect();
        assert_eq!(acks, [Some(9), Some(9), None], "a full quota is no acknowledgement");
    }
}
