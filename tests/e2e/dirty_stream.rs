//! Nine days of a recorded broker, with all the dirt of real devices and a truth beside it:
//! every reading that can be decoded lands in its own local day exactly once.
//!
//! No source is configured but every topic: each device is read in its own format.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use e2e::{
    Agent, AgentSettings, Broker, Scratch, Site, command,
    wait::{LONG, wait_until},
};
use flate2::read::GzDecoder;
use serde_json::Value;

const ZONE: &str = "Europe/Berlin";
/// All of them, each in its own format.
const EVERY_TOPIC: &str = "\n[[sources]]\ntopic = \"#\"\n";

/// A sensor, a time and a value, as text and bits that compare.
type Reading = (String, i64, u64);

/// Where the recording is; `None`, with a word to who reads the log, where it is not.
fn recording() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let folder = root.join("shared/data/dirty_stream");
    if folder.exists() {
        return Some(folder);
    }
    println!("skipped: there is no recording at {}", folder.display());
    None
}

fn unzipped(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// The truth's names are its own: ours are those of the devices and their fields. One device of the
/// recording writes its topics in capitals for some days, and is one sensor all the same.
fn our_name(sensor: &str) -> String {
    match sensor {
        "plant7/office/co2" | "plant7/office/lux" => {
            let field = sensor.rsplit('/').next().unwrap();
            format!("site/plant7/office/co2/{field}")
        }
        other => other
            .replace("shellyht-1a2b3c/", "shellyht-1a2b3c/sensor/")
            .replace("switch:0.aenergy.", "switch:0/aenergy/")
            .replace("switch:0.", "switch:0/")
            .replace(".Temperature", "/Temperature")
            .replace("mote06:", "mote06/"),
    }
}

fn ms(text: &str) -> i64 {
    let at: jiff::Timestamp = text.parse().unwrap();
    at.as_millisecond()
}

/// The truth by status: each genuine reading once.
fn truth(folder: &Path) -> BTreeMap<String, Vec<Reading>> {
    let text = unzipped(&folder.join("truth.csv.gz"));
    let mut truth: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
    for row in csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap) {
        let (sensor, value) = (&row[1], row[2].parse::<f64>());
        if let Ok(value) = value {
            let reading = (our_name(sensor), ms(&row[0]), value.to_bits());
            truth.entry(row[3].to_owned()).or_default().push(reading);
        }
    }
    truth
}

/// One message of the recording.
struct Message {
    recv_ms: i64,
    topic: String,
    payload: Vec<u8>,
}

fn messages(folder: &Path) -> Vec<Message> {
    let text = unzipped(&folder.join("stream.jsonl.gz"));
    let message = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let payload = match line["payload"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            // What is no text is nothing but that to the agent, so any such bytes will do.
            None => vec![0xff, 0xfe, 0x31],
        };
        let topic = line["topic"].as_str().unwrap().to_owned();
        Message { recv_ms: ms(line["recv"].as_str().unwrap()), topic, payload }
    };
    text.lines().map(message).collect()
}

/// How often each reading was kept, and that each is in its own day.
#[derive(Default)]
struct Kept(BTreeMap<Reading, usize>);

impl Kept {
    fn add(&mut self, sensor: &str, at_ms: i64, value: f64, day: &str) {
        let zone = jiff::tz::TimeZone::get(ZONE).unwrap();
        let at = jiff::Timestamp::from_millisecond(at_ms).unwrap();
        assert_eq!(at.to_zoned(zone).date().to_string(), day, "{sensor} at {at}");
        *self.0.entry((sensor.to_owned(), at_ms, value.to_bits())).or_default() += 1;
    }

    /// Compares with the truth, and prints the counts by kind.
    fn check(&self, truth: &BTreeMap<String, Vec<Reading>>) {
        let mut wrong = String::new();
        for (status, readings) in truth {
            let times = |reading| self.0.get(reading).copied().unwrap_or(0);
            let once = readings.iter().filter(|reading| times(reading) == 1).count();
            println!("{status:>16}: {:6} in the truth, {once:6} kept once", readings.len());
            let must = matches!(status.as_str(), "ok" | "ok_late");
            for reading in readings.iter().filter(|reading| must && times(reading) != 1) {
                writeln!(wrong, "{status} {reading:?} kept {} times", times(reading)).unwrap();
            }
        }
        let more = self.0.values().filter(|times| **times > 1).count();
        println!("{:>16}: {more:6}", "kept twice");
        assert!(wrong.is_empty(), "{wrong}");
        assert_eq!(more, 0);
        assert_eq!((truth["ok"].len(), truth["ok_late"].len()), (49_584, 544), "all of them");
        for never in ["bad_clock", "lost", "sentinel"] {
            let kept = truth[never].iter().filter(|reading| self.0.contains_key(*reading));
            assert_eq!(kept.count(), 0, "{never}");
        }
    }
}

#[test]
fn decode_lands_every_reading_of_a_dirty_stream_in_its_day_once() {
    let Some(folder) = recording() else { return };
    let scratch = Scratch::new();
    let (stream, out) = (folder.join("stream.jsonl.gz"), scratch.file("rows.csv"));
    let arguments = [
        "decode",
        "--jsonl",
        stream.to_str().unwrap(),
        "--timezone",
        ZONE,
        "--out",
        out.to_str().unwrap(),
        "--json",
    ];
    let summary = command::run(&scratch, command::agent(), &arguments).ok().json();
    println!("{summary:#}");
    let mut kept = Kept::default();
    let mut rows = csv::Reader::from_path(&out).unwrap();
    let names = "line,recv,topic,format,sensor_id,quantity,unit,ts,value,day,status,reason";
    assert_eq!(rows.headers().unwrap().iter().collect::<Vec<_>>().join(","), names);
    let mut lines = 0;
    for row in rows.records().map(Result::unwrap) {
        assert!(row[0].parse::<u64>().unwrap() >= lines, "in the order of the lines");
        lines = row[0].parse().unwrap();
        if &row[10] == "accepted" {
            kept.add(&row[4], ms(&row[7]), row[8].parse().unwrap(), &row[9]);
        }
    }
    assert_eq!(lines, 17_920, "every line has a row");
    kept.check(&truth(&folder));
}

/// The same through a broker, message by message, with the receive times as the agent's clock.
#[test]
fn a_dirty_stream_lands_in_its_days_through_mosquitto() {
    let Some(folder) = recording() else { return };
    let site = Site::start(Broker::Mosquitto { max_inflight: 0 });
    let settings = AgentSettings {
        retention: "30d".into(),
        sync_broker: None,
        more: EVERY_TOPIC.into(),
        ..site.agent_settings()
    };
    let mut agent = Agent::start(&site.scratch, &settings);
    let mut publisher = site.publisher();
    let (mut published, mut last_ms) = (0, 0);
    for Message { recv_ms, topic, payload } in messages(&folder) {
        // Only the broker itself may publish there.
        if topic.starts_with('$') {
            continue;
        }
        publisher.tick(recv_ms);
        publisher.publish(&topic, payload);
        (published, last_ms) = (published + 1, recv_ms);
    }
    publisher.tick(last_ms + 1);
    publisher.flush();
    println!("{published} messages published");
    wait_until("the agent has heard everything", LONG, || {
        agent.status()["now_ms"].as_i64().unwrap() > last_ms
    });
    assert_eq!(agent.terminate(), Some(0));
    let config = site.scratch.file(&format!("{}.toml", settings.gateway));
    let arguments = ["inspect", "--config", config.to_str().unwrap(), "samples"];
    let listed = command::run(&site.scratch, command::agent(), &arguments).ok();
    let mut kept = Kept::default();
    for line in listed.stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (sensor, day) = (line["sensor"].as_str().unwrap(), line["day"].as_str().unwrap());
        let (times, values) = (line["ts"].as_array().unwrap(), line["values"].as_array().unwrap());
        for (at, value) in times.iter().zip(values) {
            kept.add(sensor, at.as_i64().unwrap(), value.as_f64().unwrap(), day);
        }
    }
    kept.check(&truth(&folder));
}
