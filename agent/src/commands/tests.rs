//! The batch commands on files: small ones written here, and real ones where they are at hand.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use daywise_core::{
    features::FeatureSet,
    model::{self, Cluster, Family, Model, NoveltyTable, Scaling},
    time::UtcMillis,
};

use super::*;
use crate::csv_input::{Lines, Record};

#[derive(Debug, Parser)]
struct FeaturesCli {
    #[command(flatten)]
    args: FeaturesArgs,
}

#[derive(Debug, Parser)]
struct PredictCli {
    #[command(flatten)]
    args: PredictArgs,
}

#[derive(Debug, Parser)]
struct ScoreCli {
    #[command(flatten)]
    args: ScoreArgs,
}

fn run_features(arguments: &[&str]) -> Result<features::FeaturesSummary, CommandError> {
    let all = ["features"].into_iter().chain(arguments.iter().copied());
    features::run(&FeaturesCli::try_parse_from(all).unwrap().args)
}

fn run_predict(arguments: &[&str]) -> Result<predict::PredictSummary, CommandError> {
    let all = ["predict"].into_iter().chain(arguments.iter().copied());
    predict::run(&PredictCli::try_parse_from(all).unwrap().args)
}

fn run_score(arguments: &[&str]) -> Result<score::ScoreSummary, CommandError> {
    let all = ["score"].into_iter().chain(arguments.iter().copied());
    score::run(&ScoreCli::try_parse_from(all).unwrap().args)
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// All rows of a CSV file, header included.
pub(super) fn read_rows(path: &Path) -> Vec<Vec<String>> {
    let (mut lines, mut record) = (Lines::open(path).unwrap(), Record::default());
    let mut rows = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        record.split(line.text.unwrap()).unwrap();
        rows.push(record.cells().map(str::to_owned).collect());
    }
    rows
}

/// A file of the evaluation data, or `None` with a message where it is not at hand.
fn data(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    drop(writeln!(io::stderr(), "skipped: {} is not there", path.display()));
    None
}

/// The whole-file identity: every row is in a day, in a day too short, or refused.
fn all_rows_are_accounted_for(summary: &features::FeaturesSummary) {
    let accounted = summary.samples + summary.samples_in_short_days + summary.refused.total();
    assert_eq!(summary.rows, accounted, "{summary:?}");
}

fn moments_model(quantity: Quantity) -> Model {
    let cluster = |id, centroid: [f32; 2]| {
        let name = String::new();
        Cluster { id, name, size: 2, centroid: centroid.to_vec() }
    };
    Model {
        version: 7,
        parent: None,
        trained_at: UtcMillis(1_700_000_000_000),
        families: vec![Family {
            quantity,
            set: FeatureSet::Moments1,
            scaling: Scaling::None,
            scale: vec![1.0, 1.0],
            clusters: vec![cluster(3, [20.0, 1.0]), cluster(5, [30.0, 2.0])],
            novelty: NoveltyTable::from_distances([1.0, 2.0, 3.0]),
            sensor_days: 4,
            inertia: 1.0,
        }],
    }
}

#[test]
fn features_come_by_sensor_then_day_in_the_sites_days() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, out) = (folder.path().join("x.csv"), folder.path().join("f.csv"));
    // 22:30Z is already tomorrow in Berlin; one row repeats, one is alone in its day.
    fs::write(
        &csv,
        "ts,sensor_id,value\n\
         2024-07-01T22:30:00Z,b/temp,3\n2024-07-01T10:00:00Z,b/temp,1\n\
         2024-07-02T10:00:00Z,b/temp,4\n2024-07-01T11:00:00Z,b/temp,2\n\
         2024-07-01T11:00:00Z,b/temp,9\n2024-07-01T10:00:00Z,\"a,1/rh\",40\n\
         2024-07-01T12:00:00Z,\"a,1/rh\",50\n2024-07-01T13:00:00Z,\"a,1/rh\",500\n\
         2024-07-03T13:00:00Z,b/temp,5\n",
    )
    .unwrap();
    let arguments = ["--csv", text_of(&csv), "--out", text_of(&out), "--timezone", "Europe/Berlin"];
    let summary = run_features(&[&arguments[..], &["--set", "moments"]].concat()).unwrap();
    all_rows_are_accounted_for(&summary);
    assert_eq!((summary.refused.of("duplicate"), summary.refused.of("out_of_range")), (1, 1));
    assert_eq!((summary.sensors, summary.sensor_days, summary.short_days), (2, 3, 1));
    let row = |cells: [&str; 7]| cells.map(str::to_owned).to_vec();
    let expected = [
        row(["sensor_id", "day", "revision", "n", "coverage", "daily_mean", "daily_std"]),
        row(["a,1/rh", "2024-07-01", "1", "2", "0.16666666666666666", "45", "7.071068"]),
        row(["b/temp", "2024-07-01", "1", "2", "0.08333333333333333", "1.5", "0.70710677"]),
        row(["b/temp", "2024-07-02", "1", "2", "0.9583333333333334", "3.5", "0.70710677"]),
    ];
    assert_eq!(read_rows(&out), expected);
}

#[test]
fn missing_hours_are_empty_cells() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, out) = (folder.path().join("x.csv"), folder.path().join("f.csv.gz"));
    fs::write(&csv, "ts,value\n2024-07-01 01:00,1\n2024-07-01 23:30,2\n").unwrap();
    let arguments = ["--csv", text_of(&csv), "--out", text_of(&out), "--timezone", "UTC"];
    assert_eq!(run_features(&arguments).unwrap().set, FeatureSet::Profile1);
    let rows = read_rows(&out);
    let hours: Vec<&str> = rows[1][5..29].iter().map(String::as_str).collect();
    assert_eq!(hours[..3], ["", "1", ""]);
    assert_eq!(hours[23], "2");
    assert_eq!(hours.iter().filter(|cell| cell.is_empty()).count(), 22);
}

#[test]
fn a_file_without_any_describable_day_leaves_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, out) = (folder.path().join("x.csv"), folder.path().join("f.csv"));
    fs::write(&csv, "ts,value\n2024-07-01 01:00,1\n2024-07-02 01:00,1\n").unwrap();
    let arguments = ["--csv", text_of(&csv), "--out", text_of(&out), "--timezone", "UTC"];
    assert!(matches!(run_features(&arguments), Err(CommandError::NoSensorDay)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the input");
}

#[test]
fn predictions_name_cluster_novelty_and_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let [csv, dwm, out] = ["f.csv", "m.dwm", "p.csv"].map(|name| folder.path().join(name));
    let (bytes, digest) = model::encode(&moments_model(Quantity::Temperature)).unwrap();
    fs::write(&dwm, bytes).unwrap();
    fs::write(
        &csv,
        "sensor_id,day,revision,n,coverage,daily_mean,daily_std\n\
         a/temp,2024-07-01,1,24,1,33,6\n\
         a/temp,2024-07-02,2,24,1,nan,1\n\
         a/temp,2024-07-03,1,24,1,,\n\
         a/temp,2024-07-04,1,24,1,20\n\
         a/rh,2024-07-04,1,24,1,20,1\n\
         a/temp,2024-07-05,3,24,1,20,1\n",
    )
    .unwrap();
    let arguments = ["--features", text_of(&csv), "--model", text_of(&dwm), "--out", text_of(&out)];
    let summary = run_predict(&arguments).unwrap();
    assert_eq!((summary.rows, summary.predictions, summary.model_version), (6, 2, 7));
    assert_eq!(summary.model_digest, digest.to_string());
    let expected = [("malformed", 1), ("no_family", 1), ("no_value", 1), ("not_finite", 1)];
    assert_eq!(*summary.refused.by_reason(), BTreeMap::from(expected));
    let rows: Vec<String> = read_rows(&out).iter().map(|row| row.join(",")).collect();
    assert_eq!(
        rows,
        [
            "sensor_id,day,revision,cluster,distance,novelty,top_features,model_version",
            "a/temp,2024-07-01,1,5,5,1,daily_std;daily_mean,7",
            "a/temp,2024-07-05,3,3,0,0,daily_mean;daily_std,7",
        ]
    );
    // Stated, the quantity goes for all of them.
    let stated = run_predict(&[&arguments[..], &["--quantity", "humidity"]].concat());
    assert!(matches!(stated, Err(CommandError::Input(InputError::NothingUsable { .. }))));
}

/// Eight days of two sensors every ten minutes, 10 am of the last day by 20 degrees too warm for one
/// of them; the rows of the one before those of the other.
fn warm_spell(days: i64) -> String {
    let mut csv = "ts,sensor_id,value\n".to_owned();
    for sensor in ["a/temp", "b/temp"] {
        for step in 0..days * 144 {
            let (at, hour) = (1_719_792_000 + step * 600, step / 6 % 24);
            let warm = sensor == "b/temp" && step / 144 == 7 && hour == 10;
            let wave = f64::from(i32::try_from(hour * 2 + step % 3).unwrap());
            let value = wave / 10.0 + if warm { 40.0 } else { 20.0 };
            csv.push_str(&format!("{at},{sensor},{value}\n"));
        }
    }
    csv
}

#[test]
fn a_warm_hour_stands_out_in_the_scores_of_its_reading_and_its_day() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (csv, out, days) = (file("x.csv"), file("s.csv"), file("d.csv"));
    fs::write(&csv, warm_spell(8) + "1719792000,a/temp,9\n1719792001,c/temp,5000\n").unwrap();
    let arguments = ["--csv", text_of(&csv), "--timezone", "UTC", "--out", text_of(&out)];
    let summary = run_score(&[&arguments[..], &["--days", text_of(&days)]].concat()).unwrap();
    assert_eq!((summary.rows, summary.readings), (2 * 8 * 144 + 2, 2 * 8 * 144));
    assert_eq!((summary.refused.of("conflict"), summary.refused.of("out_of_range")), (1, 1));
    assert_eq!((summary.sensors, summary.sensor_days), (2, 16));

    let rows = read_rows(&out);
    assert_eq!(rows[0], ["ts", "sensor_id", "value", "score"]);
    assert_eq!(rows.len(), 1 + 2 * 8 * 144);
    let score = |row: &[String]| row.last().unwrap().parse::<f64>().unwrap();
    let worst = rows[1..].iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    assert_eq!((worst[0].as_str(), worst[1].as_str()), ("2024-07-08T10:00:00Z", "b/temp"));
    assert!(score(worst) > 0.999, "{worst:?}");

    let rows = read_rows(&days);
    assert_eq!(rows[0], ["sensor_id", "day", "cluster", "novelty", "drift", "score"]);
    let worst = rows[1..].iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    assert_eq!((worst[0].as_str(), worst[1].as_str()), ("b/temp", "2024-07-08"));
}

#[test]
fn no_score_depends_on_what_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let scored = |name: &str, days: i64| {
        let (csv, out) = (folder.path().join(name), folder.path().join(format!("s{name}")));
        fs::write(&csv, warm_spell(days)).unwrap();
        run_score(&["--csv", text_of(&csv), "--timezone", "UTC", "--out", text_of(&out)]).unwrap();
        read_rows(&out)
    };
    let (part, whole) = (scored("a.csv", 6), scored("b.csv", 8));
    assert_eq!(part.len(), 1 + 2 * 6 * 144);
    assert!(whole.starts_with(&part));
}

#[test]
fn a_damaged_or_foreign_model_gets_one_clear_message() {
    let folder = tempfile::tempdir().unwrap();
    let [csv, dwm, out] = ["f.csv", "m.dwm", "p.csv"].map(|name| folder.path().join(name));
    let chain = || {
        let error = run_predict(&[
            "--features",
            text_of(&csv),
            "--model",
            text_of(&dwm),
            "--out",
            text_of(&out),
        ])
        .unwrap_err();
        format!("{:#}", anyhow::Error::from(error)).replace(text_of(folder.path()), "")
    };
    assert!(chain().starts_with("cannot read the model /m.dwm: "));
    fs::write(&dwm, "PK\x03\x04").unwrap();
    assert_eq!(chain(), "cannot use the model /m.dwm: not a Daywise model");
    let (mut bytes, _) = model::encode(&moments_model(Quantity::Temperature)).unwrap();
    bytes[30] ^= 1;
    fs::write(&dwm, bytes).unwrap();
    assert_eq!(
        chain(),
        "cannot use the model /m.dwm: the model is damaged: its digest does not match"
    );
    fs::write(&dwm, vec![0; model::MAX_ARTIFACT_BYTES * 2]).unwrap();
    assert!(chain().contains("larger than any model"));
    let (bytes, _) = model::encode(&moments_model(Quantity::Temperature)).unwrap();
    fs::write(&dwm, bytes).unwrap();
    fs::write(&csv, "ts,sensor_id,value\n").unwrap();
    let expected = "/f.csv is no features file: column 1 is `ts`, expected `sensor_id`";
    assert_eq!(chain(), expected);
    assert!(!out.exists());
}

#[test]
fn the_beehives_have_their_known_number_of_sensor_days() {
    let folder = tempfile::tempdir().unwrap();
    for (name, rows, sensors, sensor_days) in
        [("beehive/train.csv.gz", 41_887, 68, 1_823), ("beehive/test.csv.gz", 17_073, 27, 737)]
    {
        let Some(csv) = data(name) else { return };
        let out = folder.path().join("f.csv");
        let summary = run_features(&[
            "--csv",
            text_of(&csv),
            "--timezone",
            "UTC",
            "--set",
            "moments",
            "--out",
            text_of(&out),
        ])
        .unwrap();
        all_rows_are_accounted_for(&summary);
        assert_eq!((summary.rows, summary.refused.total()), (rows, 0));
        assert_eq!((summary.sensors, summary.sensor_days), (sensors, sensor_days));
        assert_eq!(read_rows(&out).len() as u64, sensor_days + 1);
    }
}

#[test]
fn every_row_of_the_lab_motes_is_accounted_for() {
    let Some(csv) = data("intel_lab/readings.csv.gz") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("f.csv.gz");
    let zone = "America/Los_Angeles";
    let arguments = ["--csv", text_of(&csv), "--timezone", zone, "--out", text_of(&out)];
    let summary = run_features(&arguments).unwrap();
    all_rows_are_accounted_for(&summary);
    assert_eq!((summary.rows, summary.sensors), (911_484, 20));
    // Humidity sinks below 0 when the batteries do: no day to learn from, but each is counted.
    assert!(summary.refused.of("out_of_range") > 0, "{summary}");
    let kinds: Vec<&str> = summary.refused.by_reason().keys().copied().collect();
    assert!(kinds.iter().all(|kind| ["duplicate", "out_of_range", "sentinel"].contains(kind)));
}
