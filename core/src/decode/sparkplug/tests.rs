use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::{
    payload::{PropertyValue, Value},
    *,
};
use crate::{decode::Devices, quantity::Quantity, time::UtcMillis};

const NODE: &str = "spBv1.0/Factory/NBIRTH/EdgeNode1";
const NODE_DATA: &str = "spBv1.0/Factory/NDATA/EdgeNode1";
/// `bdSeq` 88, `Node Control/Rebirth` and `Temperature` 21.5 under the alias 100, number 0.
const NODE_BIRTH: &str = "08d2e283b9fa32120d0a056264536571100120085858121c0a144e6f646520436f6e74726f6c2f526562697274681002200b7000121a0a0b54656d70657261747572651064200a6900000000008035401800";
/// Alias 100 is 22.5, number 1.
const NEXT: &str = "08d2e283b9fa32120d1064200a6900000000008036401801";
/// Alias 100 is 27, number 5.
const GAP: &str = "08d2e283b9fa32120d1064200a690000000000003b401805";
/// `bdSeq` 0.
const NODE_DEATH: &str = "08d2e283b9fa32120d0a0562645365711000200858001800";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// What came of a message: `device`, `field`, value and time.
type Read = (String, Result<f64, Refusal>, Option<i64>);

struct Host {
    devices: Devices,
    now: UtcMillis,
}

impl Host {
    fn new() -> Self {
        Self { devices: Devices::default(), now: UtcMillis(1_750_000_000_000) }
    }

    fn all(&mut self, topic: &str, payload: &[u8]) -> (Result<(), Refusal>, Vec<(Read, Role)>) {
        let message = Message { topic, payload, device: None, now: self.now };
        let mut found = Vec::new();
        let told = self.devices.decode(Format::SparkplugB, &message, &mut |value| {
            let at = value.at.map(|at| match at {
                Stamp::Utc(at) => at.0,
                Stamp::Local(_) => panic!("Sparkplug's times are instants"),
            });
            let id = [value.device, value.field].join("/");
            found.push(((id, value.value, at), value.role));
        });
        (told, found)
    }

    fn read(&mut self, topic: &str, payload: &[u8]) -> Vec<(String, Result<f64, Refusal>)> {
        self.all(topic, payload).1.into_iter().map(|((id, value, _), _)| (id, value)).collect()
    }

    fn asked(&mut self) -> Vec<String> {
        let requests = self.devices.take_requests();
        requests.into_iter().map(|Request::Publish { topic, .. }| topic).collect()
    }
}

fn metric(name: &str, value: Value, datatype: u32) -> Metric {
    Metric {
        name: Some(name.into()),
        value: Some(value),
        datatype: Some(datatype),
        ..Metric::default()
    }
}

fn message(seq: u64, metrics: &[Metric]) -> Vec<u8> {
    let metrics = metrics.iter().map(Metric::encode_to_vec).collect();
    Payload { timestamp: Some(1_749_999_999_000), metrics, seq: Some(seq) }.encode_to_vec()
}

fn one(id: &str, value: Result<f64, Refusal>) -> Vec<(String, Result<f64, Refusal>)> {
    vec![(id.to_string(), value)]
}

#[test]
fn a_birth_gives_values_and_the_names_of_those_to_come() {
    let mut host = Host::new();
    let (told, found) = host.all(NODE, &bytes(NODE_BIRTH));
    assert_eq!(told, Ok(()));
    let temperature = "Factory/EdgeNode1/Temperature".to_string();
    let at = Some(1_750_855_643_474);
    assert_eq!(found, [((temperature.clone(), Ok(21.5), at), Role::Measurement)]);
    assert_eq!(host.all(NODE_DATA, &bytes(NEXT)).1[0].0, (temperature, Ok(22.5), at));
    assert_eq!(host.asked(), Vec::<String>::new());
}

#[test]
fn a_number_that_no_birth_gave_a_name_to_is_refused_and_asks_for_one() {
    let mut host = Host::new();
    let refused = one("Factory/EdgeNode1/alias 100", Err(Refusal::UnknownAlias));
    assert_eq!(host.read(NODE_DATA, &bytes(NEXT)), refused);
    let [Request::Publish { topic, payload }] = &host.devices.take_requests()[..] else {
        panic!("one request")
    };
    assert_eq!(topic, "spBv1.0/Factory/NCMD/EdgeNode1");
    let command = Payload::decode(payload.as_slice()).unwrap();
    let metric = Metric::decode(command.metrics[0].as_slice()).unwrap();
    assert_eq!(metric.name.as_deref(), Some("Node Control/Rebirth"));
    assert_eq!((metric.value, metric.datatype), (Some(Value::Boolean(true)), Some(11)));
    // Once is enough, until it has had a minute.
    host.read(NODE_DATA, &bytes(GAP));
    assert_eq!(host.asked(), Vec::<String>::new());
    host.now.0 += 60_000;
    host.read(NODE_DATA, &bytes(NEXT));
    assert_eq!(host.asked().len(), 1);
}

#[test]
fn after_a_missing_message_values_are_good_and_a_birth_is_asked_for() {
    let mut host = Host::new();
    host.read(NODE, &bytes(NODE_BIRTH));
    let temperature = "Factory/EdgeNode1/Temperature";
    assert_eq!(host.read(NODE_DATA, &bytes(NEXT)), one(temperature, Ok(22.5)));
    assert_eq!(host.read(NODE_DATA, &bytes(GAP)), one(temperature, Ok(27.0)));
    assert_eq!(host.asked(), ["spBv1.0/Factory/NCMD/EdgeNode1"]);
    host.read(NODE, &bytes(NODE_BIRTH));
    host.read(NODE_DATA, &bytes(NEXT));
    assert_eq!(host.asked(), Vec::<String>::new(), "the birth begins at 0 again");
}

#[test]
fn the_count_goes_from_255_to_0() {
    let mut host = Host::new();
    host.read(NODE, &bytes(NODE_BIRTH));
    for seq in (1..=255).chain(0..=3) {
        let data = Metric { name: None, alias: Some(100), ..metric("", Value::Double(1.0), 10) };
        assert_eq!(host.read(NODE_DATA, &message(seq, &[data])).len(), 1);
    }
    assert_eq!(host.asked(), Vec::<String>::new());
}

#[test]
fn a_death_takes_the_names_along_if_it_is_of_this_life() {
    let mut host = Host::new();
    let death = "spBv1.0/Factory/NDEATH/EdgeNode1";
    let life = |number| message(0, &[metric("bdSeq", Value::Long(number), 8)]);
    let birth = |number| {
        let temperature =
            Metric { alias: Some(100), ..metric("Temperature", Value::Double(20.0), 10) };
        message(0, &[metric("bdSeq", Value::Long(number), 8), temperature])
    };
    host.read(NODE, &birth(7));
    assert_eq!(host.all(death, &life(6)), (Err(Refusal::NotASensor), vec![]));
    assert_eq!(host.read(NODE_DATA, &bytes(NEXT))[0].1, Ok(22.5));
    assert_eq!(host.all(death, &life(7)), (Err(Refusal::NotASensor), vec![]));
    assert_eq!(host.read(NODE_DATA, &bytes(NEXT))[0].1, Err(Refusal::UnknownAlias));
    // A will of an earlier life that comes late.
    host.read(NODE, &bytes(NODE_BIRTH));
    host.read(death, &bytes(NODE_DEATH));
    assert_eq!(host.read(NODE_DATA, &bytes(NEXT))[0].1, Ok(22.5));
}

#[test]
fn devices_are_born_and_die_beside_their_node() {
    let mut host = Host::new();
    let device = |verb: &str| ["spBv1.0/Factory/", verb, "/EdgeNode1/boiler"].concat();
    let flow = Metric { alias: Some(7), ..metric("Flow", Value::Float(1.2), 9) };
    let next = Metric { name: None, ..flow.clone() };
    host.read(NODE, &bytes(NODE_BIRTH));
    let id = "Factory/EdgeNode1/boiler/Flow";
    assert_eq!(host.read(&device("DBIRTH"), &message(1, &[flow])), one(id, Ok(1.2)));
    assert_eq!(
        host.read(&device("DDATA"), &message(2, core::slice::from_ref(&next))),
        one(id, Ok(1.2))
    );
    assert_eq!(host.asked(), Vec::<String>::new());
    // A number is its device's own.
    let unknown = one("Factory/EdgeNode1/alias 7", Err(Refusal::UnknownAlias));
    assert_eq!(host.read(NODE_DATA, &message(3, core::slice::from_ref(&next))), unknown);
    assert_eq!(host.asked().len(), 1);
    assert_eq!(host.all(&device("DDEATH"), &message(4, &[])).0, Err(Refusal::NotASensor));
    let unknown = one("Factory/EdgeNode1/boiler/alias 7", Err(Refusal::UnknownAlias));
    assert_eq!(host.read(&device("DDATA"), &message(5, &[next])), unknown);
}

#[test]
fn a_type_is_remembered_from_the_birth() {
    let mut host = Host::new();
    let born = Metric { alias: Some(1), ..metric("Level", Value::Int(5), 2) };
    host.read(NODE, &message(0, &[born]));
    let low = Metric { alias: Some(1), value: Some(Value::Int(0xffff_fff6)), ..Metric::default() };
    let id = "Factory/EdgeNode1/Level";
    assert_eq!(host.read(NODE_DATA, &message(1, &[low])), one(id, Ok(-10.0)));
    let by_name = Metric { datatype: None, ..metric("Level", Value::Int(0xfff6), 0) };
    assert_eq!(host.read(NODE_DATA, &message(2, &[by_name])), one(id, Ok(-10.0)));
    assert_eq!(host.asked(), Vec::<String>::new());
}

#[test]
fn a_birth_says_the_unit() {
    let mut host = Host::new();
    let unit = PropertyValue { text: Some("°F".into()) };
    let properties = PropertySet {
        keys: vec!["readOnly".into(), "engUnit".into()],
        values: vec![PropertyValue::default(), unit],
    };
    let born = Metric {
        alias: Some(1),
        properties: Some(properties),
        ..metric("Supply", Value::Double(68.9), 10)
    };
    let message_of = |seq, metric| message(seq, &[metric]);
    let id = "Factory/EdgeNode1/Supply";
    assert_eq!(host.read(NODE, &message_of(0, born.clone())), one(id, Ok(20.5)));
    let next = Metric { name: None, properties: None, ..born };
    assert_eq!(host.read(NODE_DATA, &message_of(1, next)), one(id, Ok(20.5)));
    let bad = [PropertySet { keys: vec!["engUnit".into()], values: vec![] }];
    assert_eq!(unit_quantity(&bad[0]), None);
}

fn unit_quantity(properties: &PropertySet) -> Option<Quantity> {
    super::unit(Some(properties)).and_then(|unit| unit.quantity)
}

#[test]
fn what_is_historical_keeps_its_own_time() {
    let mut host = Host::new();
    host.read(NODE, &bytes(NODE_BIRTH));
    // is_historical is field 5, which is written by hand here because nothing depends on it.
    let old = Metric {
        name: None,
        alias: Some(100),
        timestamp: Some(1_749_900_000_000),
        ..metric("", Value::Double(19.0), 10)
    };
    let mut old = old.encode_to_vec();
    old.extend([0x28, 0x01]);
    let payload = Payload { timestamp: Some(1_749_999_999_000), metrics: vec![old], seq: Some(1) };
    let found = host.all(NODE_DATA, &payload.encode_to_vec()).1;
    let id = "Factory/EdgeNode1/Temperature".to_string();
    assert_eq!(found[0].0, (id, Ok(19.0), Some(1_749_900_000_000)));
}

#[test]
fn what_is_no_reading_is_not_given() {
    let mut host = Host::new();
    let null = Metric { is_null: Some(true), ..metric("Humidity", Value::Double(0.0), 10) };
    let text = Metric { value: None, ..metric("Mode", Value::Int(0), 12) };
    let metrics = [
        metric("bdSeq", Value::Long(3), 8),
        metric("Node Info/Uptime", Value::Long(3), 8),
        metric("Node Control/Scan Rate", Value::Long(3_000), 4),
        metric("Device Control/Reboot", Value::Boolean(false), 11),
        metric("Properties/Port", Value::Int(502), 3),
        metric("Pump", Value::Boolean(true), 11),
        metric("Last Start", Value::Long(1_749_999_999_000), 13),
        null,
        text,
    ];
    assert_eq!(host.all(NODE, &message(0, &metrics)), (Err(Refusal::NotASensor), vec![]));
    assert_eq!(host.all(NODE_DATA, &message(1, &metrics)), (Err(Refusal::NoValue), vec![]));
    let transient = Metric { is_transient: Some(true), ..metric("Trace", Value::Double(1.0), 10) };
    let nan = metric("Level", Value::Double(f64::NAN), 10);
    let unset = Metric { timestamp: Some(12), ..metric("Flow", Value::Double(1.0), 10) };
    let found = host.all(NODE, &message(0, &[transient, nan, unset])).1;
    let values: Vec<_> = found.iter().map(|((_, value, _), role)| (*value, *role)).collect();
    assert_eq!(
        values,
        [
            (Ok(1.0), Role::Other),
            (Err(Refusal::NotFinite), Role::Measurement),
            (Err(Refusal::BadTimestamp), Role::Measurement),
        ]
    );
}

#[test]
fn a_node_without_a_birth_is_believed_once_it_did_not_answer() {
    let mut host = Host::new();
    let data =
        |seq| message(seq, &[metric("Flow", Value::Int(5), 7), metric("Level", Value::Int(5), 0)]);
    let values = |found: Vec<(String, Result<f64, Refusal>)>| -> Vec<_> {
        found.into_iter().map(|(_, value)| value).collect()
    };
    let unknown = Err(Refusal::UnknownAlias);
    assert_eq!(values(host.read(NODE_DATA, &data(1))), [unknown, unknown]);
    assert_eq!(host.asked().len(), 1);
    host.now.0 += 60_000;
    host.read(NODE_DATA, &data(2));
    assert_eq!(host.asked().len(), 1);
    assert_eq!(values(host.read(NODE_DATA, &data(3))), [Ok(5.0), unknown]);
}

#[test]
fn the_topic_tells_what_a_message_is() {
    let detected = |topic: &str, payload: &[u8]| {
        detect(&Message { topic, payload, device: None, now: UtcMillis(0) })
    };
    for topic in [NODE, "spBv1.0/g/DDATA/n/d", "spBv1.0/g/NDEATH/n"] {
        assert_eq!(detected(topic, b""), Some(Detected::Format(Format::SparkplugB)), "{topic}");
    }
    for topic in [
        "spBv1.0/g/NCMD/n",
        "spBv1.0/g/DCMD/n/d",
        "spBv1.0/STATE/scada",
        "spBv1.0/g/NDATA/n/d",
        "spBv1.0/g/DDATA/n",
        "spBv1.0/g/DDATA/n/d/e",
    ] {
        assert_eq!(detected(topic, b""), Some(Detected::NotASensor), "{topic}");
    }
    assert_eq!(detected("STATE/scada", b"OFFLINE"), Some(Detected::NotASensor));
    assert_eq!(detected("STATE/boiler", b"21.5"), None);
    assert_eq!(detected("tele/boiler/STATE", b"ONLINE"), None);
    let mut host = Host::new();
    assert_eq!(host.all("a/b", b"").0, Err(Refusal::WrongFormat));
    assert_eq!(host.all("spBv1.0/g/NCMD/n", b"").0, Err(Refusal::NotASensor));
    assert_eq!(host.all(NODE, b"{\"a\":1}").0, Err(Refusal::Malformed));
}

#[test]
fn one_metric_that_cannot_be_read_does_not_cost_the_others() {
    let mut host = Host::new();
    let good = metric("Flow", Value::Double(1.5), 10).encode_to_vec();
    let metrics = vec![vec![0x0a, 0x05, b'x'], good];
    let payload = Payload { timestamp: None, metrics, seq: Some(0) }.encode_to_vec();
    let found = host.read(NODE, &payload);
    assert_eq!(found[0].1, Err(Refusal::Malformed));
    assert_eq!(found[1], ("Factory/EdgeNode1/Flow".to_string(), Ok(1.5)));
}

proptest! {
    #[test]
    fn no_bytes_panic(
        sent in prop::collection::vec(
            (0_usize..6, prop::collection::vec(any::<u8>(), 0..80), 0_usize..90, any::<u8>()),
            1..6,
        ),
    ) {
        let mut host = Host::new();
        for (which, noise, place, byte) in sent {
            let (topic, mut payload) = match which {
                0 => (NODE, noise),
                1 => (NODE_DATA, noise),
                2 => (NODE, bytes(NODE_BIRTH)),
                3 => (NODE_DATA, bytes(NEXT)),
                4 => ("spBv1.0/Factory/DDATA/EdgeNode1/d", bytes(GAP)),
                _ => ("spBv1.0/Factory/NDEATH/EdgeNode1", bytes(NODE_DEATH)),
            };
            if let Some(slot) = payload.get_mut(place) {
                *slot = byte;
            }
            for ((_, value, _), _) in host.all(topic, &payload).1 {
                prop_assert!(value.is_ok_and(f64::is_finite) || value.is_err());
            }
        }
    }
}
