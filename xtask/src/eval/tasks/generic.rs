//! What any labelled recording is asked: readings and days inside labelled stretches against those
//! outside, or the clusters of days against their labels.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, bail};
use jiff::{Timestamp, civil::Date, fmt::temporal::DateTimeParser, tz::TimeZone};

use super::{
    super::{
        input::{self, DayLabel, Interval, PredictedDay, ScoredDay},
        metrics::{self, Scored},
        rows::Row,
    },
    Set, clusters,
};

/// More kinds of days than a model's clusters are worth comparing with.
const MOST_CLUSTERS: usize = 8;

/// The zones of the public recordings, whose files do not tell; all others are in UTC, or in what
/// a file `timezone` beside their readings says.
const ZONES: [(&str, &str); 11] = [
    ("ampds_meters", "America/Vancouver"),
    ("appliances", "+01:00"),
    ("beijing_air", "Asia/Shanghai"),
    ("eno_box", "Europe/London"),
    ("intel_faults", "America/Los_Angeles"),
    ("intel_lab", "America/Los_Angeles"),
    ("metar_weather", "America/Chicago"),
    ("occupancy", "Europe/Brussels"),
    ("pedestrian", "Australia/Melbourne"),
    ("sensorscope", "Europe/Zurich"),
    ("water_flow", "Europe/Rome"),
];

pub(super) fn figures(set: &Set<'_>) -> anyhow::Result<Vec<Row>> {
    let labels = set.file("labels.csv");
    if input::has_columns(&labels, &["sensor_id", "start", "end"])? {
        stretches(set, &input::intervals(&labels)?)
    } else if input::has_columns(&labels, &clusters::COLUMNS)? {
        kinds(set, &input::day_labels(&labels, clusters::COLUMNS)?)
    } else {
        bail!("labels.csv has neither sensor_id,start,end nor sensor_id,day,label")
    }
}

fn zone(set: &Set<'_>) -> anyhow::Result<String> {
    let file = set.file("timezone");
    if file.exists() {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        return Ok(text.trim().to_owned());
    }
    let known = ZONES.iter().find(|(name, _)| *name == set.name);
    Ok(known.map_or("UTC", |(_, zone)| zone).to_owned())
}

/// Labelled stretches of time, which the live score and the day score ought to tell.
fn stretches(set: &Set<'_>, labels: &[Interval]) -> anyhow::Result<Vec<Row>> {
    let zone = zone(set)?;
    let scores = set.product.score(&set.readings(), &zone)?;
    let mut readings: Vec<Scored> = Vec::new();
    for (sensor, rows) in input::series(&scores.readings, "score")? {
        let windows = merged(input::windows(labels, &sensor));
        readings.extend(rows.iter().map(|(time, score)| (*score, is_inside(&windows, *time))));
    }
    let days = input::scored_days(&scores.days)?;
    let days = day_scores(&days, labels, &DateTimeParser::new().parse_time_zone(&zone)?)?;
    Ok(vec![
        set.row("readings in labelled stretches, AUC", metrics::roc_auc(&readings)),
        set.row(
            "readings in labelled stretches, average precision",
            metrics::average_precision(&readings),
        ),
        set.row("days with labelled stretches, AUC", metrics::roc_auc(&days)),
    ])
}

/// The same stretches in order and without overlap.
fn merged(mut windows: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    windows.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, to) in windows {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn is_inside(merged: &[(i64, i64)], time: i64) -> bool {
    let begun = merged.partition_point(|(from, _)| *from <= time);
    let last = begun.checked_sub(1).and_then(|last| merged.get(last));
    last.is_some_and(|(_, to)| time <= *to)
}

/// Each day's score, and whether a labelled stretch is in the day.
fn day_scores(
    days: &[ScoredDay],
    labels: &[Interval],
    zone: &TimeZone,
) -> anyhow::Result<Vec<Scored>> {
    let date = |time| -> anyhow::Result<Date> {
        Ok(Timestamp::from_millisecond(time)?.to_zoned(zone.clone()).date())
    };
    let mut spans = BTreeMap::new();
    for sensor in days.iter().map(|day| day.sensor.as_str()).collect::<BTreeSet<_>>() {
        let mut of_it = Vec::new();
        for (from, to) in input::windows(labels, sensor) {
            of_it.push(date(from)?..=date(to)?);
        }
        let _ = spans.insert(sensor, of_it);
    }
    let is_labelled = |day: &ScoredDay| {
        let spans = spans.get(day.sensor.as_str());
        spans.is_some_and(|spans| spans.iter().any(|span| span.contains(&day.day)))
    };
    Ok(days.iter().map(|day| (day.score, is_labelled(day))).collect())
}

/// Labelled days: one model for all sensors, whose clusters are compared sensor by sensor, because
/// one cluster may well be all days of one sensor.
fn kinds(set: &Set<'_>, labels: &[DayLabel]) -> anyhow::Result<Vec<Row>> {
    let classes: BTreeSet<&str> = labels.iter().map(|label| label.label.as_str()).collect();
    let k = classes.len();
    if !(2..=MOST_CLUSTERS).contains(&k) {
        set.say(&format!("{k} kinds of days are labelled, not 2 to {MOST_CLUSTERS}: skipped"));
        return Ok(Vec::new());
    }
    let mut sensors = BTreeMap::<String, Vec<PredictedDay>>::new();
    for day in set.product.cluster(&set.readings(), &zone(set)?, k)? {
        sensors.entry(day.sensor.clone()).or_default().push(day);
    }
    let pairs: Vec<_> = sensors
        .values()
        .map(|days| clusters::pairs(days, labels))
        .filter(|pairs| !pairs.is_empty())
        .collect();
    let mean = |metric: fn(&[(usize, usize)]) -> Option<f64>| {
        let figures: Vec<f64> = pairs.iter().filter_map(|pairs| metric(pairs)).collect();
        (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
    };
    let task = format!("kinds of days, k = {k}, mean of {} sensors", pairs.len());
    Ok(vec![
        set.row(&format!("{task}, ARI"), mean(metrics::adjusted_rand)),
        set.row(&format!("{task}, NMI"), mean(metrics::normalised_mutual_information)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_overlap_are_one() {
        let windows = merged(vec![(10, 20), (0, 5), (15, 30), (40, 40)]);
        assert_eq!(windows, [(0, 5), (10, 30), (40, 40)]);
        let inside: Vec<i64> = (-1..45).filter(|time| is_inside(&windows, *time)).collect();
        let expected: Vec<i64> = (0..=5).chain(10..=30).chain([40]).collect();
        assert_eq!(inside, expected);
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let zone = DateTimeParser::new().parse_time_zone("+01:00").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        let text = "sensor_id,start,end\nhall/*,2024-01-01T23:30:00Z,2024-01-02T01:00:00Z\n";
        fs::write(&path, text).unwrap();
        let labels = input::intervals(&path).unwrap();
        let day = |sensor: &str, date: &str| ScoredDay {
            sensor: sensor.into(),
            day: date.parse().unwrap(),
            drift: 0.0,
            score: 0.5,
        };
        let days = [
            day("hall/a", "2024-01-01"),
            day("hall/a", "2024-01-02"),
            day("attic/a", "2024-01-02"),
        ];
        let found = day_scores(&days, &labels, &zone).unwrap();
        assert_eq!(found, [(0.5, false), (0.5, true), (0.5, false)]);
    }

    #[test]
    fn every_known_zone_is_one() {
        for (set, zone) in ZONES {
            assert!(DateTimeParser::new().parse_time_zone(zone).is_ok(), "{set}: {zone}");
        }
    }
}
