//! The session against a broker that does as it is told here, byte by byte.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use daywise_core::{
    decode::{MAX_PAYLOAD_BYTES, decode},
    reading::Refusal,
};
use proptest::prelude::*;
use rumqttc::{
    QoS,
    mqttbytes::v4,
    v5::mqttbytes::{QoS as QoS5, v5},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{packet::Packet, *};
use crate::{
    config::{BrokerUrl, Protocol},
    metrics::{Counter, Metrics},
};

const LONG: Duration = Duration::from_secs(10);

/// One connection, seen from the broker.
struct Peer {
    stream: TcpStream,
    input: BytesMut,
    is_5: bool,
    /// Topic, content, quality and whether it is retained.
    will: Option<(String, Bytes, u8, bool)>,
}

impl Peer {
    /// Accepts a connection and reads its CONNECT.
    async fn accept(listener: &TcpListener) -> (Self, v5::Connect) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Self { stream, input: BytesMut::new(), is_5: false, will: None };
        while peer.input.len() < 2 || peer.input.len() < 2 + usize::from(peer.input[1]) {
            peer.stream.read_buf(&mut peer.input).await.unwrap();
        }
        // Byte 8 is the version; a CONNECT of ours is short.
        peer.is_5 = peer.input[8] == 5;
        let connect = if peer.is_5 {
            match v5::Packet::read(&mut peer.input, None).unwrap() {
                v5::Packet::Connect(connect, will, None) => {
                    peer.will = will.map(|will| {
                        let topic = String::from_utf8(will.topic.to_vec()).unwrap();
                        (topic, will.message, will.qos as u8, will.retain)
                    });
                    connect
                }
                other => panic!("{other:?}"),
            }
        } else {
            match v4::Packet::read(&mut peer.input, 1 << 20).unwrap() {
                v4::Packet::Connect(connect) => {
                    peer.will = connect
                        .last_will
                        .map(|will| (will.topic, will.message, will.qos as u8, will.retain));
                    v5::Connect {
                        keep_alive: connect.keep_alive,
                        client_id: connect.client_id,
                        clean_start: connect.clean_session,
                        properties: None,
                    }
                }
                other => panic!("{other:?}"),
            }
        };
        (peer, connect)
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Takes the session, and the subscription that follows.
    async fn grant(&mut self, session_present: bool) {
        let flag = u8::from(session_present);
        let connack: &[u8] = if self.is_5 { &[0x20, 3, flag, 0, 0] } else { &[0x20, 2, flag, 0] };
        self.send(connack).await;
        let subscribe = self.read().await;
        assert_eq!(subscribe[0], 0x82, "{subscribe:?}");
        let (high, low) = (subscribe[2], subscribe[3]);
        let suback: &[u8] =
            if self.is_5 { &[0x90, 4, high, low, 0, 1] } else { &[0x90, 3, high, low, 1] };
        self.send(suback).await;
    }

    /// One whole packet, as it came.
    async fn read(&mut self) -> Bytes {
        loop {
            // The packets of ours are short, but for one byte more in their length.
            let length = self.input.get(1).map(|byte| usize::from(*byte));
            assert!(length.is_none_or(|length| length < 128), "a long packet: {:?}", self.input);
            if let Some(length) = length
                && self.input.len() >= 2 + length
            {
                return self.input.split_to(2 + length).freeze();
            }
            let read = timeout(LONG, self.stream.read_buf(&mut self.input)).await;
            assert_ne!(read.expect("nothing came").unwrap(), 0, "the session has ended");
        }
    }

    async fn publish(&mut self, packet: u16, payload: &[u8]) {
        self.send(&publication(self.is_5, packet, payload)).await;
    }
}

/// A PUBLISH at QoS 1.
fn publication(is_5: bool, packet: u16, payload: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    if is_5 {
        let mut publish = v5::Publish::new("t/a", QoS5::AtLeastOnce, payload.to_vec(), None);
        publish.pkid = packet;
        publish.write(&mut bytes).unwrap();
    } else {
        let mut publish = v4::Publish::new("t/a", QoS::AtLeastOnce, payload);
        publish.pkid = packet;
        publish.write(&mut bytes).unwrap();
    }
    bytes
}

/// A session's other ends.
struct Ends {
    bursts: mpsc::Receiver<Burst>,
    acks: mpsc::Sender<Acks>,
    outputs: Outputs,
    metrics: Arc<Metrics>,
    version: tokio::sync::watch::Receiver<Option<Version>>,
    stop: CancellationToken,
}

impl Ends {
    async fn burst(&mut self) -> Burst {
        timeout(LONG, self.bursts.recv()).await.expect("no burst").expect("the session has ended")
    }
}

async fn broker() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn settings(port: u16, protocol: Protocol) -> Settings {
    Settings {
        broker: BrokerUrl { host: "127.0.0.1".into(), port },
        client_id: "test".into(),
        filters: vec!["t/#".into()],
        protocol,
        receive_maximum: 77,
        keep_alive: Duration::from_secs(30),
        status_topic: None,
    }
}

/// Runs a session while `script` plays the broker and the pipeline.
async fn play<F: Future<Output = ()>>(settings: Settings, script: impl FnOnce(Ends) -> F) {
    let metrics = Arc::new(Metrics::default());
    let session = Session::new(settings, Arc::clone(&metrics));
    let (burst_sender, bursts) = mpsc::channel(BURST_QUEUE);
    let (acks, ack_receiver) = mpsc::channel(ACK_QUEUE);
    let stop = CancellationToken::new();
    let (outputs, version) = (session.outputs(), session.version());
    let ends = Ends { bursts, acks, outputs, metrics, version, stop: stop.clone() };
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    tokio::join!(session.run(burst_sender, ack_receiver, stop), async {
        script(ends).await;
        ended.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert!(ended.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn in_version_5_the_broker_is_told_what_may_be_unacknowledged_and_to_keep_the_session() {
    let (listener, port) = broker().await;
    play(settings(port, Protocol::Auto), async |mut ends| {
        let (mut peer, connect) = Peer::accept(&listener).await;
        let properties = connect.properties.unwrap();
        assert_eq!(properties.receive_maximum, Some(77));
        assert_eq!(properties.session_expiry_interval, Some(u32::MAX));
        assert!(!connect.clean_start);
        peer.grant(false).await;
        peer.publish(5, b"20.5").await;
        peer.publish(6, b"20.6").await;
        let mut packets = Vec::new();
        while packets.len() < 2 {
            let burst = ends.burst().await;
            assert_eq!(burst.connection, 1);
            packets.extend(burst.deliveries.into_iter().filter_map(|delivery| delivery.packet));
        }
        ends.acks.send(Acks { connection: 1, packets }).await.unwrap();
        assert_eq!(peer.read().await[..], [0x40, 2, 0, 5]);
        assert_eq!(peer.read().await[..], [0x40, 2, 0, 6]);
        assert_eq!(*ends.version.borrow(), Some(Version::V5));
    })
    .await;
}

/// Plays a broker that does not speak 5 and answers a CONNECT in it with `answer`.
async fn falls_back_after(answer: &[u8]) {
    let (listener, port) = broker().await;
    play(settings(port, Protocol::Auto), async |mut ends| {
        let (mut first, _) = Peer::accept(&listener).await;
        assert!(first.is_5);
        let started = Instant::now();
        first.send(answer).await;
        drop(first);
        let (mut peer, connect) = Peer::accept(&listener).await;
        assert!(!peer.is_5);
        assert!(!connect.clean_start);
        peer.grant(false).await;
        peer.publish(1, b"20.5").await;
        assert_eq!(ends.burst().await.deliveries[0].packet, Some(1));
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        assert_eq!(*ends.version.borrow(), Some(Version::V311));
        drop(peer);
        let (again, _) = Peer::accept(&listener).await;
        assert!(!again.is_5, "it stays with what worked");
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_closes_on_version_5_is_spoken_to_in_3_1_1() {
    falls_back_after(b"").await;
}

#[tokio::test]
async fn a_broker_that_refuses_version_5_in_its_own_version_is_spoken_to_in_3_1_1() {
    falls_back_after(&[0x20, 2, 0, 1]).await;
}

#[tokio::test]
async fn a_broker_that_refuses_version_5_in_version_5_is_spoken_to_in_3_1_1() {
    falls_back_after(&[0x20, 3, 0, 0x84, 0]).await;
}

#[tokio::test]
async fn a_broker_that_answers_nonsense_is_spoken_to_in_3_1_1() {
    falls_back_after(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
}

/// The pipeline takes nothing for much longer than the broker waits for a sign of life, and the
/// broker's window has no limit.
#[tokio::test]
async fn a_stalled_pipeline_costs_neither_the_connection_nor_a_message() {
    const MESSAGES: u16 = 30_000;
    let (listener, port) = broker().await;
    let impatient =
        Settings { keep_alive: Duration::from_secs(1), ..settings(port, Protocol::V311) };
    play(impatient, async |mut ends| {
        let (mut peer, _) = Peer::accept(&listener).await;
        peer.grant(false).await;
        let (mut reader, mut writer) = peer.stream.into_split();
        // Long enough that what cannot be held does not fit into the sockets' buffers either.
        let payload = [b'7'; 300];
        let send = async move {
            for packet in 1..=MESSAGES {
                writer.write_all(&publication(false, packet, &payload)).await.unwrap();
            }
            writer
        };
        let is_alive = async {
            let mut pings = 0;
            while pings < 6 {
                let mut byte = [0; 2];
                let read = timeout(Duration::from_millis(1_500), reader.read_exact(&mut byte));
                read.await.expect("a broker would have closed by now").unwrap();
                assert_eq!(byte, [0xC0, 0]);
                pings += 1;
            }
            assert!(ends.metrics.get(Counter::Messages) < u64::from(MESSAGES), "it did not stall");
        };
        let mut received = Vec::new();
        let receive = async {
            is_alive.await;
            while received.len() < usize::from(MESSAGES) {
                let burst = timeout(LONG, ends.bursts.recv()).await.unwrap().unwrap();
                received.extend(burst.deliveries.into_iter().filter_map(|d| d.packet));
            }
        };
        let (_writer, ()) = tokio::join!(send, receive);
        assert!(received.into_iter().eq(1..=MESSAGES), "lost or out of order");
        assert_eq!(ends.metrics.get(Counter::Disconnects), 0);
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_answers_no_ping_is_left() {
    let (listener, port) = broker().await;
    let impatient = Settings { keep_alive: Duration::from_secs(1), ..settings(port, Protocol::V5) };
    play(impatient, async |_ends| {
        let (mut silent, _) = Peer::accept(&listener).await;
        silent.grant(false).await;
        assert_eq!(silent.read().await[..], [0xC0, 0]);
        timeout(LONG, Peer::accept(&listener)).await.expect("it did not connect anew");
    })
    .await;
}

#[tokio::test]
async fn an_output_without_acknowledgement_goes_again_over_the_next_connection() {
    let (listener, port) = broker().await;
    play(settings(port, Protocol::V5), async |ends| {
        ends.outputs.publish("o/day".into(), b"{}".to_vec(), QoS::AtLeastOnce, false);
        let (mut peer, _) = Peer::accept(&listener).await;
        peer.grant(false).await;
        let first = peer.read().await;
        assert_eq!(first[0], 0x32, "QoS 1, not a repeat");
        drop(peer);
        let (mut peer, _) = Peer::accept(&listener).await;
        peer.grant(true).await;
        let second = peer.read().await;
        assert_eq!(second[0], 0x3A, "a repeat");
        assert_eq!(first[1..], second[1..], "the same, under the same number");
        // A goodbye waits for the acknowledgement.
        ends.stop.cancel();
        drop(ends);
        let number = &second[second.len() - 5..second.len() - 3];
        peer.send(&[0x40, 2, number[0], number[1]]).await;
        assert_eq!(peer.read().await[..], [0xE0, 0]);
    })
    .await;
}

#[tokio::test]
async fn what_was_durable_is_acknowledged_on_the_way_out() {
    let (listener, port) = broker().await;
    play(settings(port, Protocol::V311), async |mut ends| {
        let (mut peer, _) = Peer::accept(&listener).await;
        peer.grant(false).await;
        peer.publish(1, b"1").await;
        let burst = ends.burst().await;
        ends.stop.cancel();
        assert!(timeout(LONG, ends.bursts.recv()).await.unwrap().is_none());
        ends.acks.send(Acks { connection: burst.connection, packets: vec![1] }).await.unwrap();
        drop(ends);
        assert_eq!(peer.read().await[..], [0x40, 2, 0, 1]);
        assert_eq!(peer.read().await[..], [0xE0, 0]);
    })
    .await;
}

fn with_status(port: u16, protocol: Protocol) -> Settings {
    Settings { status_topic: Some("o/status".into()), ..settings(port, protocol) }
}

/// Reads a retained message at QoS 1 on the status topic, and takes it.
async fn expect_status(peer: &mut Peer, status: &str) {
    let packet = peer.read().await;
    assert_eq!(packet[0], 0x33, "QoS 1, retained: {packet:?}");
    let text = String::from_utf8_lossy(&packet);
    assert!(text.contains("o/status") && text.ends_with(status), "{status}: {text}");
    let number = 4 + "o/status".len();
    peer.send(&[0x40, 2, packet[number], packet[number + 1]]).await;
}

#[tokio::test]
async fn whether_we_are_there_is_said_at_each_connection_at_the_end_and_by_the_last_will() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let (listener, port) = broker().await;
        play(with_status(port, protocol), async |ends| {
            for _ in 0..2 {
                let (mut peer, _) = Peer::accept(&listener).await;
                let will = ("o/status".to_owned(), Bytes::from(OFFLINE), 1, true);
                assert_eq!(peer.will, Some(will));
                peer.grant(true).await;
                expect_status(&mut peer, ONLINE).await;
            }
            let (mut peer, _) = Peer::accept(&listener).await;
            peer.grant(true).await;
            expect_status(&mut peer, ONLINE).await;
            ends.stop.cancel();
            drop(ends);
            expect_status(&mut peer, OFFLINE).await;
            assert_eq!(peer.read().await[..], [0xE0, 0]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_broker_that_keeps_nothing_is_spoken_to_without_a_last_will() {
    let (listener, port) = broker().await;
    play(with_status(port, Protocol::V5), async |ends| {
        let (mut peer, _) = Peer::accept(&listener).await;
        assert!(peer.will.is_some());
        peer.send(&[0x20, 3, 0, 0x9A, 0]).await;
        drop(peer);
        let (mut peer, _) = Peer::accept(&listener).await;
        assert_eq!(peer.will, None);
        peer.grant(false).await;
        assert_eq!(*ends.version.borrow(), Some(Version::V5));
    })
    .await;
}

#[tokio::test]
async fn acknowledgements_of_an_earlier_connection_are_not_sent() {
    let (listener, port) = broker().await;
    play(settings(port, Protocol::V5), async |mut ends| {
        let (mut peer, _) = Peer::accept(&listener).await;
        peer.grant(false).await;
        peer.publish(9, b"1").await;
        assert_eq!(ends.burst().await.connection, 1);
        drop(peer);
        let (mut peer, _) = Peer::accept(&listener).await;
        peer.grant(true).await;
        ends.acks.send(Acks { connection: 1, packets: vec![9] }).await.unwrap();
        peer.publish(1, b"1").await;
        assert_eq!(ends.burst().await.connection, 2);
        ends.acks.send(Acks { connection: 2, packets: vec![1] }).await.unwrap();
        assert_eq!(peer.read().await[..], [0x40, 2, 0, 1]);
    })
    .await;
}

fn read_one(version: Version, bytes: &[u8]) -> Packet {
    version.read(&mut bytes.into()).unwrap().unwrap()
}

#[test]
fn repeats_and_retained_messages_are_told_apart() {
    let flags = |bytes: &[u8], version: Version| match read_one(version, bytes) {
        Packet::Publish(delivery) => (delivery.dup, delivery.retained, delivery.packet),
        other => panic!("{other:?}"),
    };
    for (version, properties) in [(Version::V311, &[][..]), (Version::V5, &[0][..])] {
        let length = u8::try_from(6 + properties.len()).unwrap();
        let with = |first: u8| [&[first, length, 0, 1, b't', 0, 7], properties, b"1"].concat();
        assert_eq!(flags(&with(0x32), version), (false, false, Some(7)));
        assert_eq!(flags(&with(0x3A), version), (true, false, Some(7)));
        assert_eq!(flags(&with(0x33), version), (false, true, Some(7)));
    }
}

#[test]
fn of_a_huge_message_only_what_refuses_it_is_held() {
    for is_5 in [false, true] {
        let version = if is_5 { Version::V5 } else { Version::V311 };
        let huge = publication(is_5, 1, &vec![b'1'; 5_000_000]);
        let Packet::Publish(delivery) = read_one(version, &huge) else { panic!("no message") };
        assert_eq!(delivery.payload.len(), MAX_PAYLOAD_BYTES + 1);
        assert_eq!(decode(&delivery.payload), Err(Refusal::TooLarge));
        let largest = publication(is_5, 1, &vec![b' '; MAX_PAYLOAD_BYTES]);
        let Packet::Publish(delivery) = read_one(version, &largest) else { panic!("no message") };
        assert_eq!(delivery.payload.len(), MAX_PAYLOAD_BYTES);
    }
}

/// Bytes that begin like packets of every kind, with lengths that are right, wrong or cut off.
fn nearly_packets() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..40);
    let packet =
        (any::<u8>(), body, prop::option::of(any::<u8>())).prop_map(|(first, body, length)| {
            let length = length.unwrap_or_else(|| u8::try_from(body.len()).unwrap());
            [vec![first, length], body].concat()
        });
    prop::collection::vec(packet, 0..4).prop_map(|packets| packets.concat())
}

proptest! {
    #[test]
    fn no_bytes_from_a_broker_panic_or_stall(bytes in nearly_packets()) {
        for version in [Version::V311, Version::V5] {
            let mut input = BytesMut::from(&bytes[..]);
            let mut left = input.len() + 1;
            while let Ok(Some(_)) = version.read(&mut input) {
                prop_assert!(input.len() < left, "nothing was taken");
                left = input.len();
            }
        }
    }
}
