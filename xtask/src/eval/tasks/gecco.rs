//! A drinking-water station: the minutes of its events by the largest live score of all channels.

use std::collections::BTreeMap;

use super::{
    super::{
        detectors,
        input::{self, Interval, Series},
        metrics::{self, Scored},
        rows::Row,
    },
    Set,
};

const ZONE: &str = "UTC";
const MINUTE_MS: i64 = 60_000;
/// What the rolling z looks back on: a day at one reading a minute.
const LOOK_BACK: usize = 1_440;
/// What an alarm is raised at.
const ALARM: f64 = 0.99;

pub(super) fn figures(set: &Set<'_>) -> anyhow::Result<Vec<Row>> {
    let events = input::intervals(&set.file("labels.csv"))?;
    let sensors = input::series(&set.readings(), "value")?;
    let rolling = sensors.values().map(|rows| {
        let values: Vec<f64> = rows.iter().map(|(_, value)| *value).collect();
        let scores = detectors::rolling_z(&values, LOOK_BACK);
        rows.iter().zip(scores).map(|((time, _), score)| (*time, score)).collect()
    });
    let rolling: Vec<Series> = rolling.collect();
    let scores = set.product.score(&set.readings(), ZONE)?;
    let live: Vec<Series> = input::series(&scores.readings, "score")?.into_values().collect();

    let baseline = metrics::best_f1(&minutes(&rolling, &events));
    let live = minutes(&live, &events);
    let at_alarm = metrics::f1(live.iter().map(|(score, truth)| (*score >= ALARM, *truth)));
    let best = set.row("minutes of events, F1", metrics::best_f1(&live)).at_least(0.32);
    Ok(vec![
        best.beside(baseline),
        set.row("minutes of events, F1 at a score of 0.99", at_alarm),
        set.row("minutes of events, AUC", metrics::roc_auc(&live)),
    ])
}

/// The largest score of each minute over all channels, and whether an event is in it.
fn minutes(channels: &[Series], events: &[Interval]) -> Vec<Scored> {
    let mut largest = BTreeMap::<i64, f64>::new();
    for (time, score) in channels.iter().flatten() {
        let minute = largest.entry(time.div_euclid(MINUTE_MS)).or_default();
        *minute = minute.max(*score);
    }
    let spans: Vec<_> = events
        .iter()
        .map(|event| event.from.div_euclid(MINUTE_MS)..=event.to.div_euclid(MINUTE_MS))
        .collect();
    largest
        .into_iter()
        .map(|(minute, score)| (score, spans.iter().any(|span| span.contains(&minute))))
        .collect()
}
