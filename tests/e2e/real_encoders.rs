//! What real encoders of other people send is understood: Sparkplug B, SenML and Influx lines,
//! written by libraries from PyPI and brought by a real broker.
//!
//! The programs beside this file print what they sent; the agent is to hold that and nothing else.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use e2e::{
    Agent, AgentSettings, Mosquitto, Publisher, Python, Scratch, Subscriber, command,
    wait::{LONG, wait_until},
};
use serde_json::Value;

const ZONE: &str = "Europe/Berlin";
/// All of them, each in its own format.
const EVERY_TOPIC: &str = "\n[[sources]]\ntopic = \"#\"\n";
/// Each with the number of readings that it has to send, so that none can fall silent.
const PROGRAMS: [(&str, usize); 3] =
    [("sparkplug_nodes.py", 54), ("senml_packs.py", 42), ("influx_points.py", 26)];
/// The formats that the topics must be taken for, by what they begin with.
const FORMATS: [(&str, &str); 4] = [
    ("spBv1.0/Packaging/", "sparkplug_b"),
    ("packs/json", "senml_json"),
    ("packs/cbor", "senml_cbor"),
    ("collector/", "influx"),
];

/// Readings by sensor and time.
type Readings = BTreeMap<(String, i64), f64>;

/// What the programs say they sent.
#[derive(Default)]
struct Sent {
    readings: Readings,
    /// Values that the agent is to leave out, by its reason.
    left_out: BTreeMap<String, u64>,
}

impl Sent {
    /// Takes in what one of them printed; how many readings it sent.
    fn add(&mut self, told: &Value) -> usize {
        let readings = told["readings"].as_array().unwrap();
        for reading in readings {
            let at = (reading["sensor"].as_str().unwrap().to_owned(), ms(&reading["at_ms"]));
            let value = converted(reading["value"].as_f64().unwrap(), reading["unit"].as_str());
            assert!(self.readings.insert(at, value).is_none(), "{reading} twice");
        }
        let left_out = told["left_out"].as_object().unwrap();
        for (reason, times) in left_out {
            *self.left_out.entry(reason.clone()).or_default() += times.as_u64().unwrap();
        }
        *self.left_out.entry("duplicate".into()).or_default() += told["repeats"].as_u64().unwrap();
        readings.len()
    }
}

fn ms(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

/// The value in the unit that the agent keeps its quantity in.
fn converted(value: f64, unit: Option<&str>) -> f64 {
    match unit {
        None => value,
        Some("°F") => (value - 32.0) / 1.8,
        Some("K") => value - 273.15,
        Some("kPa") => value * 10.0,
        Some("J") => value / 3_600.0,
        Some("m3/h") => value * 1_000.0 / 60.0,
        Some(unit) => panic!("{unit} is new here"),
    }
}

/// Sums of a base and a value, and conversions, need not agree in the last bits; a float of 32 bits
/// that was not read as it was written would differ by a hundred times of this.
fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-10 * one.abs().max(other.abs())
}

/// What the agent holds. It must hold nothing twice, and all in its own day.
fn held(scratch: &Scratch, gateway: &str) -> Readings {
    let config = scratch.file(&format!("{gateway}.toml"));
    let arguments = ["inspect", "--config", config.to_str().unwrap(), "samples"];
    let listed = command::run(scratch, command::agent(), &arguments).ok();
    let zone = jiff::tz::TimeZone::get(ZONE).unwrap();
    let mut held = Readings::new();
    for line in listed.stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let sensor = line["sensor"].as_str().unwrap();
        let (times, values) = (line["ts"].as_array().unwrap(), line["values"].as_array().unwrap());
        assert_eq!(times.len(), values.len());
        for (at, value) in times.iter().map(ms).zip(values) {
            let day = jiff::Timestamp::from_millisecond(at).unwrap().to_zoned(zone.clone()).date();
            assert_eq!(line["day"].as_str(), Some(day.to_string().as_str()), "{sensor} at {at}");
            let before = held.insert((sensor.to_owned(), at), value.as_f64().unwrap());
            assert_eq!(before, None, "{sensor} twice at {at}");
        }
    }
    held
}

/// Says all that differs.
fn compare(sent: &Readings, held: &Readings) {
    let mut wrong = String::new();
    for (reading, value) in sent {
        match held.get(reading) {
            Some(kept) if is_same(*value, *kept) => {}
            kept => writeln!(wrong, "{reading:?} is {kept:?} instead of {value}").unwrap(),
        }
    }
    for (reading, value) in held.iter().filter(|(reading, _)| !sent.contains_key(*reading)) {
        writeln!(wrong, "{reading:?} was never sent, and is {value}").unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// That every topic is known as what it is.
fn check_formats(status: &Value) {
    let shown = status["seen"]["formats"].as_array().unwrap();
    for shown in shown {
        let topic = shown["topic"].as_str().unwrap();
        let format = FORMATS.iter().find(|(begin, _)| topic.starts_with(begin));
        assert_eq!(shown["format"].as_str(), format.map(|(_, format)| *format), "{topic}");
    }
    for (begin, _) in FORMATS {
        let is_there =
            shown.iter().any(|shown| shown["topic"].as_str().unwrap().starts_with(begin));
        assert!(is_there, "nothing of {begin} in {status:#}");
    }
}

#[test]
fn what_encoders_from_pypi_send_through_mosquitto_is_held_and_nothing_else() {
    let encoders = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/encoders");
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("encoders");
    let python = Python::with(&environment, &encoders.join("requirements.txt"));
    let scratch = Scratch::new();
    let mosquitto = Mosquitto::start(&scratch, 0);
    let settings = AgentSettings {
        timezone: ZONE.into(),
        sync_broker: None,
        more: EVERY_TOPIC.into(),
        ..AgentSettings::at(&mosquitto.url())
    };
    let mut agent = Agent::start(&scratch, &settings);
    let mut clock = Publisher::connect(&mosquitto.url());
    // The encoders stamp with the time that it is. What has none gets this one.
    let now_ms = jiff::Timestamp::now().as_millisecond();
    clock.tick(now_ms);
    wait_until("the agent's clock is set", LONG, || agent.status()["now_ms"] == now_ms);

    let commands = Subscriber::connect(&mosquitto.url(), "spBv1.0/+/NCMD/#");
    let mut sent = Sent::default();
    for (program, count) in PROGRAMS {
        let path = encoders.join(program);
        let (port, now) = (mosquitto.port().to_string(), now_ms.to_string());
        let arguments = ["-B", path.to_str().unwrap(), "127.0.0.1", &port, &now];
        let told = command::run(&scratch, python.program(), &arguments).ok().json();
        let readings = sent.add(&told);
        println!("{program:>20}: {readings:3} readings, {} repeats", told["repeats"]);
        assert_eq!(readings, count, "{program}");
    }
    clock.tick(now_ms + 1);
    wait_until("the agent has heard everything", LONG, || agent.status()["now_ms"] == now_ms + 1);
    // Whether it is a repeat it knows once it has asked its store.
    wait_until("the agent has decided on everything", LONG, || {
        agent.refused("duplicate") >= sent.left_out["duplicate"]
    });
    let status = agent.status();
    assert_eq!(agent.terminate(), Some(0));

    let held = held(&scratch, &settings.gateway);
    println!("{:>20}: {:3} readings", "held", held.len());
    println!("{:>20}: {}", "left out", status["refused"]);
    compare(&sent.readings, &held);
    for (reason, times) in &sent.left_out {
        assert_eq!(status["refused"][reason].as_u64().unwrap_or(0), *times, "{reason}");
    }
    check_formats(&status);
    let asked: Vec<_> = commands.messages().into_iter().map(|command| command.topic).collect();
    let first = "spBv1.0/Packaging/NCMD/Line1";
    assert_eq!(asked, [first, first], "once for the gap, once for the values before a birth");
}
