//! Real payloads of every format that is at hand, through `daywise-agent decode`: what they were
//! published to mean comes out, where that is known; elsewhere what a reviewed table says.
//!
//! The table, `formats.golden.csv`, holds no payloads: of each format the fields, what they were
//! taken for, how often, and a checksum of the values. `DAYWISE_BLESS=1` writes it anew, to be
//! reviewed as a change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use e2e::{Scratch, command};
use flate2::read::GzDecoder;
use serde_json::Value;

const ZONE: &str = "Europe/Berlin";
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/formats.golden.csv");
/// Times that stand for "now" in the published `SenML` examples.
const DOCUMENT_TIMES_MS: [i64; 2] = [1_498_780_179_000, 1_499_109_309_000];

/// How many values do not come out; of every other format, all do.
///
/// - Records of 1976, 46 values of the raw ones each: the time and all else in them is published in
///   reverse, and what is meant there is 5760 °C.
/// - What the bytes contradict: an EM300-DI's and an EM500-SMTC's halves are cut off (50 for 50.5),
///   and an EM300-SLD's humidity is a byte of the time. These are read where the model is told,
///   which it is not; in the decoded ones the history stands in place of the present values.
/// - Parking sensors of Nwave, 16 of the raw ones each: any bytes are a payload of theirs. One's
///   voltage is of a byte that was taken for a signed one.
/// - A thermostat's `plan_schedule/*/i`: a place in the published converter's loop.
/// - What that thermostat had before, of months after the uplink: the object has left it out.
const MISSING: [(&str, usize); 4] = [
    ("chirpstack_v4", 78),
    ("chirpstack_v4 (decoded)", 12),
    ("ttn_v3", 72),
    ("ttn_v3 (decoded)", 6),
];
/// Before this, a time is in seconds: so one of the converters leaves a record's.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// One row of `decode`.
struct Row {
    sensor: String,
    quantity: String,
    unit: String,
    at_ms: Option<i64>,
    value: Option<f64>,
    status: String,
    reason: String,
}

/// One message: what it is to mean, if that is known, and its rows.
struct Sample {
    kind: String,
    expected: Option<Value>,
    rows: Vec<Row>,
}

/// The files of samples; none, with a word to who reads the log, where there are none.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let folder = root.join("shared/data/mqtt_payloads");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("skipped: there are no payloads at {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.split('.').next().unwrap().to_owned()
}

fn samples(scratch: &Scratch, path: &Path) -> Vec<Sample> {
    let file = fs::File::open(path).unwrap();
    let reader: Box<dyn Read> = match path.extension().and_then(|end| end.to_str()) {
        Some("gz") => Box::new(GzDecoder::new(file)),
        _ => Box::new(file),
    };
    let line =
        |line: std::io::Result<String>| -> Value { serde_json::from_str(&line.unwrap()).unwrap() };
    let mut samples: Vec<Sample> = BufReader::new(reader)
        .lines()
        .map(line)
        .map(|line| Sample {
            kind: line["kind"].as_str().unwrap_or_default().to_owned(),
            expected: line.get("expected").cloned(),
            rows: Vec::new(),
        })
        .collect();
    let out = scratch.file("rows.csv");
    let (from, to) = (path.to_str().unwrap(), out.to_str().unwrap());
    let arguments = ["decode", "--jsonl", from, "--timezone", ZONE, "--out", to];
    let _summary = command::run(scratch, command::agent(), &arguments).ok();
    for row in csv::Reader::from_path(&out).unwrap().records().map(Result::unwrap) {
        let place: usize = row[0].parse().unwrap();
        let at = row[7].parse().ok().map(|at: jiff::Timestamp| at.as_millisecond());
        samples[place - 1].rows.push(Row {
            sensor: row[4].to_owned(),
            quantity: row[5].to_owned(),
            unit: row[6].to_owned(),
            at_ms: at,
            value: row[8].parse().ok(),
            status: row[10].to_owned(),
            reason: row[11].to_owned(),
        });
    }
    samples
}

/// A value that a message is published to mean: its name, its time if it says one, the value.
type Meant = (String, Option<i64>, f64);

fn meant(expected: &Value) -> Vec<Meant> {
    let mut meant = Vec::new();
    if let Some(metrics) = expected["metrics"].as_object() {
        // Sparkplug: by alias where the birth has told the name.
        let value = |value: &Value| ("Temperature".to_owned(), None, value.as_f64().unwrap());
        return metrics.values().map(value).collect();
    }
    let one = [expected.clone()];
    for part in expected.as_array().map_or(&one[..], Vec::as_slice) {
        if let Some(value) = part["v"].as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
            let at = part["t"].as_f64().map(|seconds| (seconds * 1e3).round() as i64);
            let at = at.filter(|at| !DOCUMENT_TIMES_MS.contains(at));
            meant.push((part["n"].as_str().unwrap().to_owned(), at, value));
        }
        let at = part["ts"].as_i64();
        let at = at.map(|at| if at < MILLISECONDS_FROM { at * 1_000 } else { at });
        numbers(&part["values"], "", &mut |path, value| {
            meant.push((path.to_owned(), at, value));
        });
    }
    meant
}

fn numbers(value: &Value, path: &str, visit: &mut dyn FnMut(&str, f64)) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}/{key}") };
    match value {
        Value::Number(number) => visit(path, number.as_f64().unwrap()),
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| numbers(value, &below(key), visit));
        }
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(place, value)| numbers(value, &below(&place.to_string()), visit));
        }
        _ => {}
    }
}

/// Whether a row is of the value of that name: `device/name`, or in `SenML` `device:name`, whose
/// name may also be the device's alone.
fn is_of(row: &Row, name: &str) -> bool {
    let after_device = row.sensor.split_once('/').map(|(_, field)| field);
    after_device == Some(name)
        || row.sensor.ends_with(&format!("/{name}"))
        || row.sensor.replace('/', ":") == name
        || row.sensor == name
        || row.sensor.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
}

/// How the messages of one format came out.
#[derive(Default)]
struct Count {
    messages: usize,
    decoded: usize,
    refused: usize,
    ignored: usize,
    values: usize,
    missing: usize,
    wrong: usize,
}

/// Compares with what is meant: a value under the same name and time that differs is wrong; one that
/// is not there is missing.
fn compare(sample: &Sample, count: &mut Count, faults: &mut String) {
    for (name, at, value) in sample.expected.as_ref().map(meant).unwrap_or_default() {
        let found = sample.rows.iter().filter(|row| {
            row.value.is_some() && is_of(row, &name) && at.is_none_or(|at| row.at_ms == Some(at))
        });
        let found: Vec<f64> = found.filter_map(|row| row.value).collect();
        count.values += 1;
        if found.is_empty() {
            count.missing += 1;
        } else if !found.iter().any(|found| (found - value).abs() < 1e-9) {
            count.wrong += 1;
            writeln!(faults, "{name} at {at:?}: {value} is meant, {found:?} came out").unwrap();
        }
    }
}

fn count(samples: &[Sample], faults: &mut String) -> Count {
    let mut count = Count { messages: samples.len(), ..Count::default() };
    for sample in samples {
        let any = |status: &str| sample.rows.iter().any(|row| row.status == status);
        match () {
            () if any("accepted") => count.decoded += 1,
            () if any("refused") => count.refused += 1,
            () => count.ignored += 1,
        }
        compare(sample, &mut count, faults);
    }
    count
}

#[test]
fn what_messages_are_published_to_mean_comes_out() {
    let (scratch, mut faults) = (Scratch::new(), String::new());
    let mut counts = BTreeMap::new();
    println!("format           messages decoded refused ignored   values missing wrong");
    for path in files() {
        let samples = samples(&scratch, &path);
        // A network server that decodes for us leaves nothing to guess.
        let (derived, rest): (Vec<_>, Vec<_>) =
            samples.into_iter().partition(|sample| sample.kind.starts_with("derived"));
        for (samples, part) in [(rest, ""), (derived, " (decoded)")] {
            if samples.is_empty() {
                continue;
            }
            let count = count(&samples, &mut faults);
            let name = format!("{}{part}", name(&path));
            let Count { messages, decoded, refused, ignored, values, missing, wrong } = count;
            println!(
                "{name:<24} {messages:>4} {decoded:>7} {refused:>7} {ignored:>7} {values:>8} \
                 {missing:>7} {wrong:>5}"
            );
            counts.insert(name, count);
        }
    }
    assert!(faults.is_empty(), "{faults}");
    for (name, count) in &counts {
        let known = MISSING.iter().find(|(format, _)| format == name);
        let most = known.map_or(0, |(_, missing)| *missing);
        assert!(count.missing <= most, "{name}: {} values are missing", count.missing);
    }
}

/// What the table says of a field: the device's own part of its name, as what it was taken.
fn table(format: &str, samples: &[Sample]) -> BTreeMap<String, usize> {
    let mut table = BTreeMap::new();
    let mut values = BTreeSet::new();
    for (line, sample) in samples.iter().enumerate() {
        for row in &sample.rows {
            let Row { sensor, quantity, unit, status, reason, .. } = row;
            let field = sensor.split_once('/').map_or("", |(_, field)| field);
            let key = format!("{format},{field},{quantity},{unit},{status},{reason}");
            *table.entry(key).or_default() += 1;
            values.insert(format!("{line} {sensor} {:?}", row.value));
        }
    }
    let all = values.into_iter().collect::<Vec<_>>().join("\n");
    let sum = crc32fast::hash(all.as_bytes());
    table.insert(format!("{format},all values,,,{sum:08x},"), samples.len());
    table
}

#[test]
fn every_field_is_taken_for_what_was_reviewed() {
    let scratch = Scratch::new();
    let mut lines = vec!["format,field,quantity,unit,status,reason,count".to_owned()];
    for path in files() {
        let table = table(&name(&path), &samples(&scratch, &path));
        lines.extend(table.into_iter().map(|(key, count)| format!("{key},{count}")));
    }
    if lines.len() == 1 {
        return;
    }
    let found = lines.join("\n") + "\n";
    if std::env::var_os("DAYWISE_BLESS").is_some() {
        fs::write(GOLDEN, &found).unwrap();
    }
    let golden = fs::read_to_string(GOLDEN).unwrap();
    let (golden, found): (BTreeSet<&str>, BTreeSet<&str>) =
        (golden.lines().collect(), found.lines().collect());
    let gone: Vec<_> = golden.difference(&found).collect();
    let new: Vec<_> = found.difference(&golden).collect();
    println!(
        "{} fields of {} messages' formats as reviewed",
        golden.len() - gone.len(),
        files().len()
    );
    assert!(gone.is_empty() && new.is_empty(), "no more: {gone:#?}\nnew: {new:#?}");
}
