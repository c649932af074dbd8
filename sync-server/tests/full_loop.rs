//! The server as a whole, in this process, with its embedded broker: what a gateway sends
//! becomes durable, is acknowledged, trained on and comes back as a model.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::{collections::HashMap, path::Path, time::Duration};

use daywise_core::{
    features::{FeatureSet, Features},
    model,
    predict::Prediction,
    quantity::Quantity,
    time::{LocalDate, UtcMillis},
    wire::{self, Ack, Desired, Entry, Item, Reported, SensorDay, SeqRange, Silence, Up},
};
use daywise_server::{
    EndedEarly, build,
    config::{BrokerConfig, ServerConfig},
    storage::{Missing, Storage},
};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

fn config(state_dir: &Path) -> ServerConfig {
    ServerConfig {
        state_dir: state_dir.to_owned(),
        database: state_dir.join("daywise.sqlite"),
        broker: BrokerConfig::Embedded { listen: ([127, 0, 0, 1], 0).into(), backlog_mb: 240 },
        http_listen: ([127, 0, 0, 1], 0).into(),
        ..ServerConfig::default()
    }
}

struct Running {
    http: String,
    mqtt_port: u16,
    stop: CancellationToken,
    task: JoinHandle<Result<(), EndedEarly>>,
}

#[expect(clippy::disallowed_methods, reason = "a test waits for its own task")]
async fn start(config: ServerConfig) -> Running {
    let server = build(config).await.unwrap();
    let (http, mqtt) = (server.http_address.to_string(), server.mqtt_address.unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(stop.clone()));
    let running = Running { http, mqtt_port: mqtt.port(), stop, task };
    // A gateway would send again what was sent before the server listened; these do not.
    while running.request("GET", "/health").await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running
}

impl Running {
    async fn request(&self, method: &str, path: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.http).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task).await.expect("drains in time").unwrap().unwrap();
    }
}

/// A gateway that keeps the last message of each topic.
struct Gateway {
    name: &'static str,
    client: AsyncClient,
    events: rumqttc::EventLoop,
    held: HashMap<String, Vec<u8>>,
}

impl Gateway {
    async fn connect(name: &'static str, port: u16) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_max_packet_size(2 << 20, 2 << 20);
        let (client, events) = AsyncClient::new(options, 64);
        for topic in ["ack", "desired"] {
            let topic = format!("daywise/v1/gw/{name}/{topic}");
            client.subscribe(topic, QoS::AtLeastOnce).await.unwrap();
        }
        Self { name, client, events, held: HashMap::new() }
    }

    async fn send<M: wire::Message>(&self, topic: &str, message: &M) {
        let topic = format!("daywise/v1/gw/{}/{topic}", self.name);
        let bytes = wire::encode(message).unwrap();
        self.client.publish(topic, QoS::AtLeastOnce, false, bytes).await.unwrap();
    }

    /// Polls until `wanted` makes something of the topic's last message.
    async fn until<T>(&mut self, topic: &str, wanted: impl Fn(&[u8]) -> Option<T>) -> T {
        let found = timeout(DEADLINE, async {
            loop {
                if let Some(found) = self.held.get(topic).and_then(|bytes| wanted(bytes)) {
                    return found;
                }
                match self.events.poll().await {
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        self.held.insert(publish.topic, publish.payload.to_vec());
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("nothing fitting arrived on {topic}"))
    }

    async fn ack(&mut self, up_to: u64) -> Ack {
        let topic = format!("daywise/v1/gw/{}/ack", self.name);
        self.until(&topic, |bytes| wire::decode::<Ack>(bytes).ok().filter(|a| a.up_to >= up_to))
            .await
    }

    async fn answer(&mut self, number: u64) -> Ack {
        let topic = format!("daywise/v1/gw/{}/ack", self.name);
        let answers = |ack: &Ack| ack.answers == number;
        self.until(&topic, |bytes| wire::decode::<Ack>(bytes).ok().filter(answers)).await
    }

    async fn desired(&mut self, version: u32) -> Desired {
        let topic = format!("daywise/v1/gw/{}/desired", self.name);
        self.until(&topic, |bytes| {
            let desired = wire::decode::<Desired>(bytes).ok()?;
            desired.model.is_some_and(|model| model.version == version).then_some(desired)
        })
        .await
    }
}

fn entry(seq: u64) -> Entry {
    let level = if seq.is_multiple_of(2) { 10.0 } else { 30.0 };
    let features = [Some(level + f32::from(u16::try_from(seq).unwrap()) * 0.01), Some(1.0)];
    Entry {
        seq,
        item: Item::Day(SensorDay {
            sensor: format!("hive{}/temperature", seq % 4),
            quantity: Quantity::Temperature,
            date: LocalDate(19_000 + i32::try_from(seq).unwrap()),
            revision: 1,
            samples: 24,
            coverage: 1.0,
            features: Some(Features::new(FeatureSet::Moments1, features).unwrap()),
            prediction: None,
            deviation: None,
            score: None,
            reasons: [].into_iter().collect(),
            drift: None,
        }),
    }
}

fn up(seqs: std::ops::RangeInclusive<u64>) -> Up {
    Up { stream: 7, floor: 1, number: *seqs.start(), entries: seqs.map(entry).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn features_go_up_and_a_model_comes_back_and_is_continued() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let (status, refusal) = server.request("POST", "/api/v1/train").await;
    assert_eq!(status, 409, "{refusal}");

    let mut gateway = Gateway::connect("gw1", server.mqtt_port).await;
    gateway.send("up", &up(1..=30)).await;
    gateway.send("up", &up(32..=40)).await;
    let received = vec![SeqRange { first: 32, last: 40 }];
    let expected = Ack { stream: 7, up_to: 30, answers: 32, received };
    assert_eq!(gateway.answer(32).await, expected, "31 has not come");
    let (_, days) = server.request("GET", "/api/v1/sensor-days?gateway=gw1&limit=1").await;
    assert_eq!(days[0]["sensor"], "hive1/temperature");
    assert_eq!(days[0]["features"]["daily_std"], 1.0);

    let (status, first) = server.request("POST", "/api/v1/train").await;
    assert_eq!((status, &first["version"], &first["parent"]), (200, &1.into(), &Value::Null));
    let desired = gateway.desired(1).await;
    let offered = desired.model.unwrap();
    let topic = format!("daywise/v1/model/{}", offered.digest);
    gateway.client.subscribe(&topic, QoS::AtLeastOnce).await.unwrap();
    let (trained, digest) = gateway.until(&topic, |bytes| model::decode(bytes).ok()).await;
    assert_eq!((trained.version, digest), (1, offered.digest));

    gateway.send("up", &up(31..=31)).await;
    assert_eq!(gateway.answer(31).await.up_to, 40, "the hole is filled");
    gateway.send("up", &up(41..=60)).await;
    gateway.ack(60).await;
    let (_, second) = server.request("POST", "/api/v1/train").await;
    assert_eq!((&second["version"], &second["parent"]), (&2.into(), &1.into()));
    let again = gateway.desired(2).await;
    assert!(again.generation > desired.generation);
    let topic = format!("daywise/v1/model/{}", again.model.unwrap().digest);
    gateway.client.subscribe(&topic, QoS::AtLeastOnce).await.unwrap();
    let (continued, _) = gateway.until(&topic, |bytes| model::decode(bytes).ok()).await;
    assert_eq!(continued.parent, Some(offered.digest));
    assert_eq!(continued.families[0].scale, trained.families[0].scale);

    // Another process rolls back; the running server notices.
    let storage = Storage::open(dir.path().join("daywise.sqlite"), Missing::Refuse).await.unwrap();
    assert_eq!(storage.roll_back().await.unwrap(), 1);
    let rolled_back = gateway.desired(1).await;
    assert!(rolled_back.generation > again.generation);

    let (_, status) = server.request("GET", "/api/v1/status").await;
    assert_eq!((&status["gateways"], &status["sensor_days"]), (&1.into(), &60.into()));
    assert_eq!(status["champion"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_everything_retained_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut gateway = Gateway::connect("gw1", server.mqtt_port).await;
    gateway.send("up", &up(1..=20)).await;
    gateway.ack(20).await;
    assert_eq!(server.request("POST", "/api/v1/train").await.0, 200);
    let before = gateway.desired(1).await;
    server.stop().await;

    let server = start(config(dir.path())).await;
    let mut gateway = Gateway::connect("gw1", server.mqtt_port).await;
    assert_eq!(gateway.desired(1).await, before, "the same generation: nothing changed");
    gateway.send("up", &up(1..=21)).await;
    assert_eq!(gateway.ack(21).await.up_to, 21);
    let (_, status) = server.request("GET", "/api/v1/status").await;
    assert_eq!(status["sensor_days"], 21, "every day once");

    // A gateway that the server never saw is told at once.
    let mut newcomer = Gateway::connect("gw2", server.mqtt_port).await;
    newcomer.send("reported", &Reported { online: true, ..Reported::default() }).await;
    newcomer.desired(1).await;
    let (_, gateways) = server.request("GET", "/api/v1/gateways").await;
    assert_eq!(gateways.as_array().unwrap().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_counted_and_what_follows_it_flows_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut gateway = Gateway::connect("gw1", server.mqtt_port).await;
    let poison: [(&str, Vec<u8>); 5] = [
        ("daywise/v1/gw/gw1/up", b"\x01not a message".to_vec()),
        ("daywise/v1/gw/gw1/up", Vec::new()),
        ("daywise/v1/gw/gw1/up", vec![9, 0, 0]),
        ("daywise/v1/gw/gw1/up", vec![0xff; 300 * 1024]),
        ("daywise/v1/gw/bad name/up", wire::encode(&up(1..=1)).unwrap()),
    ];
    for (topic, bytes) in poison {
        gateway.client.publish(topic, QoS::AtLeastOnce, false, bytes).await.unwrap();
    }
    gateway.send("up", &up(1..=3)).await;
    gateway.ack(3).await;
    let (_, status) = server.request("GET", "/api/v1/status").await;
    let intake = &status["intake"];
    assert_eq!(
        (&intake["malformed"], &intake["too_new"], &intake["foreign"]),
        (&3.into(), &1.into(), &1.into()),
        "{intake}"
    );
    assert_eq!(server.request("GET", "/health").await.0, 200);
    assert_eq!(server.request("GET", "/api/v1/sensor-days?gateway=a%2Fb").await.0, 400);
    server.stop().await;
}

/// The bytes are those of the release that spoke schema 1, in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_schema_1_is_understood_and_answered_in_schema_1() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut gateway = Gateway::connect("old", server.mqtt_port).await;
    let bytes = |hex: &str| -> Vec<u8> {
        let digits: Vec<char> = hex.chars().filter(char::is_ascii_hexdigit).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    };
    let up = bytes(include_str!("../../core/tests/golden/v1/up.hex"));
    let mut ack = bytes(include_str!("../../core/tests/golden/v1/ack.hex"));
    *ack.last_mut().unwrap() = 39; // Of the batch from 41 on, whose gateway still holds 40.
    gateway.client.publish("daywise/v1/gw/old/up", QoS::AtLeastOnce, false, up).await.unwrap();
    let answer = |bytes: &[u8]| Some(bytes.to_vec());
    assert_eq!(gateway.until("daywise/v1/gw/old/ack", answer).await, ack);
    let (_, days) = server.request("GET", "/api/v1/sensor-days?gateway=old").await;
    assert_eq!((&days[0]["revision"], days.as_array().unwrap().len()), (&2.into(), 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_sensor_shows_up_and_so_does_its_return() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut gateway = Gateway::connect("gw1", server.mqtt_port).await;
    let silence = |until| Silence {
        sensor: "hive1/temperature".into(),
        quantity: Quantity::Temperature,
        since: UtcMillis(1_710_000_000_000),
        until,
        expected_every_ms: 60_000,
    };
    let wrong = Silence { expected_every_ms: 0, ..silence(None) };
    let ended = silence(Some(UtcMillis(1_710_003_600_000)));
    for (number, items) in [(1, vec![silence(None), wrong]), (3, vec![ended])] {
        let entries = (number..).zip(items.into_iter().map(Item::Silence));
        let entries = entries.map(|(seq, item)| Entry { seq, item }).collect();
        gateway.send("up", &Up { stream: 7, floor: 1, number, entries }).await;
        gateway.answer(number).await;
        let (_, silences) = server.request("GET", "/api/v1/silences?gateway=gw1").await;
        let (first, all) = (&silences[0], silences.as_array().unwrap());
        assert_eq!((&first["sensor"], all.len()), (&"hive1/temperature".into(), 1));
        assert_eq!(first["since"], "2024-03-09T16:00:00Z");
        assert_eq!(first["until"].is_null(), number == 1, "{silences}");
        assert_eq!(first["expected_every_ms"], 60_000);
    }
    let (_, status) = server.request("GET", "/api/v1/status").await;
    let intake = &status["intake"];
    let counts = (&status["silences"], &intake["changed_silences"], &intake["refused_silences"]);
    assert_eq!(counts, (&1.into(), &2.into(), &1.into()), "{status}");
    assert_eq!(server.request("GET", "/api/v1/silences?gateway=a%2Fb").await.0, 400);
    server.stop().await;
}

/// The broker carries sensors' messages too; its log must hold what a subscriber that is slower
/// than the sensors has not read yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_loses_none_of_a_burst() {
    const BURST: u32 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut slow = Gateway::connect("slow", server.mqtt_port).await;
    slow.client.subscribe("site/#", QoS::AtLeastOnce).await.unwrap();
    // The subscription stands once its acknowledgement is here.
    loop {
        if let Event::Incoming(Packet::SubAck(_)) = slow.events.poll().await.unwrap() {
            break;
        }
    }
    for _ in 0..2 {
        while !matches!(slow.events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    }
    let port = server.mqtt_port;
    let feed = std::thread::spawn(move || {
        let options = MqttOptions::new("feed", "127.0.0.1", port);
        let (client, mut connection) = rumqttc::Client::new(options, 1_000);
        let sender = std::thread::spawn(move || {
            for n in 0..BURST {
                let payload = format!("{{\"value\":{n},\"padding\":\"{}\"}}", "x".repeat(70));
                client.publish("site/a/s1/temperature", QoS::AtLeastOnce, false, payload).unwrap();
            }
            client
        });
        let mut acked = 0;
        for event in connection.iter() {
            if let Event::Incoming(Packet::PubAck(_)) = event.unwrap() {
                acked += 1;
                if acked == BURST {
                    break;
                }
            }
        }
        drop(sender.join().unwrap());
    });
    let mut next = 0;
    while next < BURST {
        let event = timeout(DEADLINE, slow.events.poll()).await.expect("more arrives").unwrap();
        if let Event::Incoming(Packet::Publish(publish)) = event
            && publish.topic.starts_with("site/")
        {
            let expected = format!("{{\"value\":{next},");
            assert!(publish.payload.starts_with(expected.as_bytes()), "{next} is missing");
            next += 1;
        }
    }
    feed.join().unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_days_fall_otherwise_than_the_trainings_stands_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut fleet = Gateway::connect("fleet", server.mqtt_port).await;
    fleet.send("up", &up(1..=60)).await;
    fleet.ack(60).await;
    assert_eq!(server.request("POST", "/api/v1/train").await.0, 200);
    let (_, gateways) = server.request("GET", "/api/v1/gateways").await;
    assert_eq!(gateways[0]["cluster_mix"].as_array().unwrap().len(), 0, "{gateways}");
    let (_, model) = server.request("GET", "/api/v1/models/1").await;
    let family = &model["families"][0];
    assert_eq!(family["cluster_sizes"], serde_json::json!([30, 30]), "even and odd days");
    let ids = [0, 1].map(|place| family["clusters"][place]["id"].as_u64().unwrap());

    // One gateway's days alternate as the training's did, the other's are all of one kind.
    for (name, clusters) in [("alike", ids), ("other", [ids[1]; 2])] {
        let predicted = |seq| {
            let Entry { item: Item::Day(day), .. } = entry(seq) else { unreachable!() };
            let cluster = u16::try_from(clusters[usize::from(seq % 2 == 1)]).unwrap();
            let top = [].into_iter().collect();
            let prediction =
                Prediction { cluster, distance: 1.0, novelty: 0.5, top, model_version: 1 };
            let date = LocalDate(19_060 - i32::try_from(seq % 10).unwrap());
            let sensor = format!("hive{seq}/temperature");
            let day = SensorDay { prediction: Some(prediction), sensor, date, ..day };
            Entry { seq, item: Item::Day(day) }
        };
        let mut gateway = Gateway::connect(name, server.mqtt_port).await;
        let entries = (1..=30).map(predicted).collect();
        gateway.send("up", &Up { stream: 7, floor: 1, number: 1, entries }).await;
        gateway.ack(30).await;
    }
    let (_, gateways) = server.request("GET", "/api/v1/gateways").await;
    let mix = |place: usize| &gateways[place]["cluster_mix"][0];
    assert_eq!(
        (&gateways[0]["gateway"], &gateways[2]["gateway"]),
        (&"alike".into(), &"other".into())
    );
    assert_eq!((&mix(0)["psi"], &mix(0)["state"]), (&0.0.into(), &"stable".into()), "{gateways}");
    assert!(gateways[1]["cluster_mix"].as_array().unwrap().is_empty(), "{gateways}");
    let other = mix(2);
    assert_eq!((&other["quantity"], &other["set"]), (&"temperature".into(), &"moments/1".into()));
    assert_eq!((&other["sensor_days"], &other["days"]), (&30.into(), &10.into()));
    assert_eq!(other["state"], "shifted");
    assert!(other["psi"].as_f64().unwrap() > 0.25, "{other}");
    assert_eq!(other["most"]["expected"], 0.5);
    server.stop().await;
}
