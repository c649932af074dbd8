//! The open files of the Numenta Anomaly Benchmark: the live score by the benchmark's own rules,
//! and the day score by the days that hold a labelled instant or overlap a window.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{
    super::{
        detectors,
        input::{self, Interval, ScoredDay, Series},
        metrics,
        nab_score::{Corpus, Outcome, PROFILES, Profile},
        rows::Row,
    },
    Set,
};

const ZONE: &str = "UTC";
/// What the rolling z looks back on: a day at one reading in five minutes, as in most files.
const LOOK_BACK: usize = 288;
/// The score of the benchmark's standard profile; the other two are shown only.
const STANDARD_FLOOR: f64 = 50.0;

type Sensors = BTreeMap<String, Series>;

pub(super) fn figures(set: &Set<'_>) -> anyhow::Result<Vec<Row>> {
    let sensors = input::series(&set.readings(), "value")?;
    let windows = input::intervals(&set.file("labels.csv"))?;
    let scores = set.product.score(&set.readings(), ZONE)?;
    let live = Live(
        input::series(&scores.readings, "score")?
            .into_iter()
            .map(|(sensor, rows)| (sensor, rows.into_iter().collect()))
            .collect(),
    );
    let days = input::scored_days(&scores.days)?;

    let mut rows = day_rows(set, &sensors, &windows, &days)?;
    let product = corpus(&sensors, &windows, |sensor, rows| live.scores(sensor, rows));
    let gaussian =
        corpus(&sensors, &windows, |_, rows| detectors::windowed_gaussian(&values(rows)));
    let rolling =
        corpus(&sensors, &windows, |_, rows| detectors::rolling_z(&values(rows), LOOK_BACK));
    for (at, profile) in PROFILES.into_iter().enumerate() {
        let by_gaussian = say(set, "windowed Gaussian", profile, &gaussian);
        let by_rolling = say(set, "rolling z", profile, &rolling);
        let own = say(set, "live score", profile, &product);
        let row = set.row(profile.name, Some(own.score));
        let row = if at == 0 { row.at_least(STANDARD_FLOOR) } else { row };
        rows.push(row.beside(Some(by_gaussian.score.max(by_rolling.score))));
    }
    Ok(rows)
}

/// The live scores by sensor and instant.
struct Live(HashMap<String, HashMap<i64, f64>>);

impl Live {
    /// In the order of the file; a reading that was not accepted has none, and does not alarm.
    fn scores(&self, sensor: &str, rows: &Series) -> Vec<f64> {
        let of_it = self.0.get(sensor);
        let score = |time: &i64| of_it.and_then(|scores| scores.get(time)).copied().unwrap_or(0.0);
        rows.iter().map(|(time, _)| score(time)).collect()
    }
}

fn values(rows: &Series) -> Vec<f64> {
    rows.iter().map(|(_, value)| *value).collect()
}

fn corpus(
    sensors: &Sensors,
    windows: &[Interval],
    detect: impl Fn(&str, &Series) -> Vec<f64>,
) -> Corpus {
    let mut corpus = Corpus::default();
    for (sensor, rows) in sensors {
        let times: Vec<i64> = rows.iter().map(|(time, _)| *time).collect();
        corpus.add(&times, &detect(sensor, rows), &input::windows(windows, sensor));
    }
    corpus
}

fn say(set: &Set<'_>, detector: &str, profile: Profile, corpus: &Corpus) -> Outcome {
    let outcome = corpus.score(profile);
    let Outcome { score, missed, false_alarms } = outcome;
    set.say(&format!(
        "{detector}, {}: {score:.2} ({missed} windows missed, {false_alarms} rows of false alarm)",
        profile.name
    ));
    outcome
}

fn day_of(time: i64) -> anyhow::Result<Date> {
    Ok(Timestamp::from_millisecond(time)?.to_zoned(TimeZone::UTC).date())
}

fn day_rows(
    set: &Set<'_>,
    sensors: &Sensors,
    windows: &[Interval],
    days: &[ScoredDay],
) -> anyhow::Result<Vec<Row>> {
    let points = points(set)?;
    let scores: HashMap<(&str, Date), f64> =
        days.iter().map(|day| ((day.sensor.as_str(), day.day), day.score)).collect();
    let (mut with_point, mut in_window) = (Vec::new(), Vec::new());
    for (sensor, rows) in sensors {
        let mut spans = Vec::new();
        for (from, to) in input::windows(windows, sensor) {
            spans.push(day_of(from)?..=day_of(to)?);
        }
        let days: BTreeSet<Date> =
            rows.iter().map(|(time, _)| day_of(*time)).collect::<anyhow::Result<_>>()?;
        for day in days {
            // A day that was too short to be scored is no alarm.
            let score = scores.get(&(sensor.as_str(), day)).copied().unwrap_or(0.0);
            with_point.push((score, points.contains(&(sensor.clone(), day))));
            in_window.push((score, spans.iter().any(|span| span.contains(&day))));
        }
    }
    let mut rows = Vec::new();
    if !points.is_empty() {
        let auc = metrics::roc_auc(&with_point);
        rows.push(set.row("day holds a labelled point, AUC", auc).at_least(0.92).quoted(0.90));
    }
    let auc = metrics::roc_auc(&in_window);
    rows.push(set.row("day overlaps a window, AUC", auc).at_least(0.80).quoted(0.77));
    Ok(rows)
}

/// The days with a labelled instant, by sensor; none where the file of instants is absent.
fn points(set: &Set<'_>) -> anyhow::Result<BTreeSet<(String, Date)>> {
    let path = set.file("labels_points.csv");
    let mut points = BTreeSet::new();
    if !path.exists() {
        set.say("no labels_points.csv: the days of labelled instants are skipped");
        return Ok(points);
    }
    input::each_row(&path, ["sensor_id", "ts"], |[sensor, time]| {
        let _ = points.insert((sensor.to_owned(), day_of(input::instant(time)?)?));
        Ok(())
    })?;
    Ok(points)
}
