//! Injected faults: the largest live score of an hour, by whether a fault is in the hour.

use std::collections::BTreeMap;

use super::{
    super::{
        input::{self, Series},
        metrics::{self, Scored},
        rows::Row,
    },
    Set,
};

const ZONE: &str = "America/Los_Angeles";
const HOUR_MS: i64 = 3_600_000;

/// The kind, which is the last part of a series' id; the floor; the robust z against the same
/// hour of the other days, which uses the future.
const KINDS: [(&str, f64, f64); 6] = [
    ("random", 0.90, 0.89),
    ("malfunction", 0.93, 0.93),
    ("bias", 0.80, 0.80),
    ("drift", 0.93, 0.93),
    ("polydrift", 0.84, 0.84),
    ("mixed", 0.90, 0.90),
];

pub(super) fn figures(set: &Set<'_>) -> anyhow::Result<Vec<Row>> {
    let faults = input::intervals(&set.file("labels.csv"))?;
    let scores = set.product.score(&set.readings(), ZONE)?;
    let sensors = input::series(&scores.readings, "score")?;
    let mut rows = Vec::new();
    for (kind, floor, baseline) in KINDS {
        let of_kind = sensors.iter().filter(|(sensor, _)| sensor.rsplit('/').next() == Some(kind));
        let hours: Vec<Scored> = of_kind
            .flat_map(|(sensor, series)| hours(series, &input::windows(&faults, sensor)))
            .collect();
        if hours.is_empty() {
            set.say(&format!("no series of the kind {kind}: skipped"));
            continue;
        }
        let task = format!("{kind}, hourly maximum, AUC");
        let figure = metrics::roc_auc(&hours);
        rows.push(set.row(&task, figure).at_least(floor).quoted(baseline));
    }
    Ok(rows)
}

/// The largest score of each hour, and whether a fault overlaps it.
fn hours(series: &Series, faults: &[(i64, i64)]) -> Vec<Scored> {
    let mut largest = BTreeMap::<i64, f64>::new();
    for (time, score) in series {
        let hour = largest.entry(time.div_euclid(HOUR_MS)).or_default();
        *hour = hour.max(*score);
    }
    let spans: Vec<_> =
        faults.iter().map(|(from, to)| from.div_euclid(HOUR_MS)..=to.div_euclid(HOUR_MS)).collect();
    largest
        .into_iter()
        .map(|(hour, score)| (score, spans.iter().any(|span| span.contains(&hour))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_judged_by_its_largest_score_and_any_fault_in_it() {
        let series = vec![(0, 0.1), (HOUR_MS - 1, 0.9), (HOUR_MS, 0.2), (3 * HOUR_MS, 0.3)];
        let found = hours(&series, &[(HOUR_MS + 5, 2 * HOUR_MS)]);
        assert_eq!(found, [(0.9, false), (0.2, true), (0.3, false)]);
    }
}
