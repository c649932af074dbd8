//! One MQTT 3.1.1 message, published at QoS 1: how the demo moves the agent's replay clock once
//! a recording has ended. Not worth a client library and its runtime.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};

const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT: [u8; 14] = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 30, 0, 0];
const CONNACK: u8 = 0x20;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const DISCONNECT: [u8; 2] = [0xe0, 0];
const CLIENT_ID: &[u8] = b"xtask-clock";

/// Publishes and returns once the broker has taken it.
pub(crate) fn publish(broker: SocketAddr, topic: &str, payload: &str) -> anyhow::Result<()> {
    let about = || format!("cannot publish on {topic} at {broker}");
    let mut stream = TcpStream::connect_timeout(&broker, TIMEOUT).with_context(about)?;
    stream.set_read_timeout(Some(TIMEOUT)).with_context(about)?;
    stream.write_all(&connect()?).with_context(about)?;
    ensure!(
        answer(&mut stream).with_context(about)? == [CONNACK, 2, 0, 0],
        "the broker refused us"
    );
    stream.write_all(&message(topic, payload)?).with_context(about)?;
    ensure!(
        answer(&mut stream).with_context(about)? == [PUBACK, 2, 0, 1],
        "the broker lost a message"
    );
    stream.write_all(&DISCONNECT).with_context(about)
}

fn connect() -> anyhow::Result<Vec<u8>> {
    let mut packet = CONNECT.to_vec();
    packet.truncate(packet.len() - 2);
    let id = u8::try_from(CLIENT_ID.len()).context("the client's id is too long")?;
    packet.extend([0, id]);
    packet.extend(CLIENT_ID);
    let length = u8::try_from(packet.len() - 2).context("the client's id is too long")?;
    if let Some(at) = packet.get_mut(1) {
        *at = length;
    }
    Ok(packet)
}

fn message(topic: &str, payload: &str) -> anyhow::Result<Vec<u8>> {
    let length = 2 + topic.len() + 2 + payload.len();
    // One byte of remaining length is enough for a topic and a number.
    let remaining = u8::try_from(length).ok().filter(|n| *n < 128).context("too long a message")?;
    let topic_length = u8::try_from(topic.len()).context("too long a topic")?;
    let mut packet = vec![PUBLISH_QOS_1, remaining, 0, topic_length];
    packet.extend(topic.as_bytes());
    packet.extend([0, 1]);
    packet.extend(payload.as_bytes());
    Ok(packet)
}

fn answer(stream: &mut TcpStream) -> anyhow::Result<[u8; 4]> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).context("no answer")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_the_standard_lays_them_out() {
        let packet = connect().unwrap();
        assert_eq!(usize::from(packet[1]), packet.len() - 2, "remaining length");
        assert_eq!(&packet[2..8], b"\0\x04MQTT");
        assert_eq!(packet[8..14], [4, 2, 0, 30, 0, 11], "level, clean session, keep alive, id");
        assert_eq!(message("a/b", "12").unwrap(), b"\x32\x09\0\x03a/b\0\x0112");
        assert!(message(&"x".repeat(200), "1").is_err());
    }
}
