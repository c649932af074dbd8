//! The batch pipeline that this project grew out of: the same numbers from the same readings.
//!
//! Its data is not ours to ship; without it these tests say so and pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::PathBuf,
};

use e2e::{Scratch, command};
use flate2::read::GzDecoder;
use serde_json::Value;

type SensorDay = (String, String);

/// The data's directory, if it is there.
fn data() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/beehive");
    if folder.exists() {
        return Some(folder);
    }
    // Past the test runner's capture, so that a skipped test is seen to be one.
    drop(writeln!(std::io::stderr(), "skipped: no data at {}", folder.display()));
    None
}

/// Commands on files in a directory.
struct Bench {
    scratch: Scratch,
    data: PathBuf,
}

impl Bench {
    fn path(&self, name: &str) -> String {
        self.scratch.file(name).to_str().unwrap().to_owned()
    }

    fn run(&self, program: PathBuf, arguments: &[&str]) -> command::Finished {
        command::run(&self.scratch, program, arguments).ok()
    }

    /// `train.csv.gz` or `test.csv.gz` to features; returns the file.
    fn features(&self, part: &str) -> String {
        let csv = self.data.join(format!("{part}.csv.gz")).to_str().unwrap().to_owned();
        let out = self.path(&format!("{part}-features.csv"));
        let arguments = ["features", "--csv", &csv, "--timezone", "UTC", "--set", "moments"];
        let _ = self.run(command::agent(), &[&arguments[..], &["--out", &out]].concat());
        out
    }

    /// Trains, and returns the model's file and the summary.
    fn train(&self, features: &str, model: &str, more: &[&str]) -> (String, Value) {
        let model = self.path(model);
        let arguments = ["train", "--features", features, "--out", &model, "--json"];
        let done = self.run(command::server(), &[&arguments[..], more].concat());
        (model, done.json())
    }

    /// Cluster and distance of every sensor-day.
    fn predict(&self, features: &str, model: &str) -> BTreeMap<SensorDay, (u16, f64)> {
        let out = self.path("predictions.csv");
        let arguments = ["predict", "--features", features, "--model", model, "--out", &out];
        let _ = self.run(command::agent(), &arguments);
        let rows = rows(&fs::read(&out).unwrap());
        let rows = rows.into_iter().map(|row| {
            let prediction = (row[3].parse().unwrap(), row[4].parse().unwrap());
            ((row[0].clone(), row[1].clone()), prediction)
        });
        rows.collect()
    }
}

fn rows(csv: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(csv);
    let rows = reader.records().map(Result::unwrap);
    rows.map(|row| row.iter().map(str::to_owned).collect()).collect()
}

fn sorted_sizes(predictions: &BTreeMap<SensorDay, (u16, f64)>) -> Vec<u64> {
    let mut sizes = BTreeMap::<u16, u64>::new();
    for (cluster, _) in predictions.values() {
        *sizes.entry(*cluster).or_default() += 1;
    }
    let mut sizes: Vec<u64> = sizes.into_values().collect();
    sizes.sort_unstable();
    sizes
}

fn numbers<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    value.as_array().unwrap().iter().map(|value| read(value).unwrap()).collect()
}

fn bench() -> Option<Bench> {
    data().map(|data| Bench { scratch: Scratch::new(), data })
}

#[test]
fn the_heritage_numbers_come_out_the_same() {
    let Some(bench) = bench() else { return };
    let golden = fs::read_to_string(bench.data.join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let (train_days, test_days) = (bench.features("train"), bench.features("test"));
    let (model, summary) = bench.train(&train_days, "1.dwm", &["--k", "4", "--scale", "none"]);

    let (train, test) = (bench.predict(&train_days, &model), bench.predict(&test_days, &model));
    assert_eq!(golden["train"]["sensor_days"], train.len());
    assert_eq!(golden["test"]["sensor_days"], test.len());
    let inertia = golden["train"]["inertia"].as_f64().unwrap();
    let trained = summary["inertia"].as_f64().unwrap();
    assert!((trained / inertia - 1.0).abs() < 1e-4, "{trained} but {inertia}");
    let recomputed = inertia_of(&train);
    assert!((recomputed / inertia - 1.0).abs() < 1e-4, "{recomputed} but {inertia}");
    for (part, found) in [("train", &train), ("test", &test)] {
        let sizes = numbers(&golden[part]["cluster_sizes"], Value::as_u64);
        assert_eq!(sorted_sizes(found), sizes, "{part}");
    }
    expect_centroids(&summary, &golden);
    expect_faults(&bench, &train, &test, &golden);
}

/// Both lists are in the order of the mean.
fn expect_centroids(summary: &Value, golden: &Value) {
    let clusters = summary["families"][0]["clusters"].as_array().unwrap();
    let mut found: Vec<Vec<f64>> =
        clusters.iter().map(|cluster| numbers(&cluster["centroid"], Value::as_f64)).collect();
    found.sort_by(|one, other| one[0].total_cmp(&other[0]));
    let expected: Vec<Vec<f64>> =
        numbers(&golden["centroids"], |centroid| Some(numbers(centroid, Value::as_f64)));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < 1e-3, "{found} but {expected}");
    }
}

/// Days with impossible readings lie beyond the 99 % distance of training; no other test day does.
fn expect_faults(
    bench: &Bench,
    train: &BTreeMap<SensorDay, (u16, f64)>,
    test: &BTreeMap<SensorDay, (u16, f64)>,
    golden: &Value,
) {
    let mut distances: Vec<f64> = train.values().map(|(_, distance)| *distance).collect();
    distances.sort_by(f64::total_cmp);
    let limit = distances[distances.len() * 99 / 100];
    let stated = golden["train"]["p99_distance"].as_f64().unwrap();
    assert!((limit / stated - 1.0).abs() < 0.01, "{limit} but {stated}");
    let faulty = faulty_days(bench, "test");
    assert_eq!((faulty.len(), test.len() - faulty.len()), (9, 728));
    let far = test.iter().filter(|(_, (_, distance))| *distance > limit);
    let far: BTreeSet<SensorDay> = far.map(|(key, _)| key.clone()).collect();
    assert_eq!(far, faulty);
}

/// Sensor-days with a reading below 0 °C, which no beehive has.
fn faulty_days(bench: &Bench, part: &str) -> BTreeSet<SensorDay> {
    let file = fs::File::open(bench.data.join(format!("{part}.csv.gz"))).unwrap();
    let mut csv = Vec::new();
    std::io::copy(&mut GzDecoder::new(file), &mut csv).unwrap();
    let below = rows(&csv).into_iter().filter(|row| row[2].parse::<f64>().unwrap() < 0.0);
    below.map(|row| (row[0].clone(), row[1][..10].to_owned())).collect()
}

fn inertia_of(predictions: &BTreeMap<SensorDay, (u16, f64)>) -> f64 {
    predictions.values().map(|(_, distance)| distance * distance).sum()
}

#[test]
fn rows_of_vanished_and_broken_sensors_are_refused_and_the_rest_trains() {
    let Some(bench) = bench() else { return };
    let features = bench.features("train");
    let mut text = fs::read_to_string(&features).unwrap();
    text.push_str("900001,2023-02-15,1,24,1,NaN,1.5\n");
    text.push_str("900002,2023-02-15,1,24,1,30,inf\n");
    text.push_str("900003,2023-02-15,1,24,1,-inf,nan\n");
    text.push_str("900004,2023-02-15,1,0,0,,\n900005,2023-02-16,1,0,0,,\n");
    let dirty = bench.scratch.write("dirty.csv", text);
    let dirty = dirty.to_str().unwrap();
    let options = ["--k", "4", "--scale", "none"];
    let (clean_model, clean) = bench.train(&features, "clean.dwm", &options);
    let (_, summary) = bench.train(dirty, "dirty.dwm", &options);
    assert_eq!(summary["rows"], 1_828);
    assert_eq!(summary["sensor_days"], 1_823);
    let refused = summary["refused"].as_object().unwrap();
    assert_eq!((&refused["not_finite"], &refused["no_features"]), (&3.into(), &2.into()));
    assert_eq!(refused.values().filter_map(Value::as_u64).sum::<u64>(), 5);
    assert_eq!(summary["families"], clean["families"], "as if they were not there");
    assert_eq!(bench.predict(dirty, &clean_model).len(), 1_823, "nor are they predicted");
}

/// The trap of the pipeline before: it seemed to continue, but started anew.
#[test]
fn continued_training_starts_from_the_given_model() {
    let Some(bench) = bench() else { return };
    let (train, test) = (bench.features("train"), bench.features("test"));
    let options = ["--k", "4", "--scale", "none"];
    let (mut model, first) = bench.train(&train, "1.dwm", &options);
    assert!(first["first_iteration_inertia"].is_null(), "there is nothing to continue");
    let mut digest = first["digest"].clone();
    for (name, version, features) in [("2.dwm", 2, &test), ("3.dwm", 3, &train)] {
        let old_on_new = inertia_of(&bench.predict(features, &model));
        let (next, summary) = bench.train(features, name, &["--continue", &model]);
        let started_at = summary["first_iteration_inertia"].as_f64().unwrap();
        let apart = (started_at / old_on_new - 1.0).abs();
        assert!(apart < 1e-5, "version {version} started at {started_at}, not {old_on_new}");
        assert!(summary["inertia"].as_f64().unwrap() < started_at, "and learnt");
        assert_eq!(summary["version"], version);
        assert_eq!(summary["parent"], digest);
        (model, digest) = (next, summary["digest"].clone());
    }
}
