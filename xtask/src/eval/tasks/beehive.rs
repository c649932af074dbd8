//! Beehives: days with impossible readings must be novel to a model of other hives.

use std::collections::BTreeSet;

use super::{
    super::{input, rows::Row},
    Set,
};

const ZONE: &str = "UTC";
/// Colder than any hive.
const FROST: f64 = 0.0;
const NOVEL: f64 = 0.99;
/// Other days above it, at most.
const OTHERS: f64 = 3.0;

pub(super) fn figures(set: &Set<'_>) -> anyhow::Result<Vec<Row>> {
    let (train, test) = (set.file("train.csv.gz"), set.file("test.csv.gz"));
    let features = set.product.features(&train, ZONE, "train.csv")?;
    let model = set.product.train(&features, None)?;
    let features = set.product.features(&test, ZONE, "test.csv")?;
    let days = set.product.predict(&features, &model)?;

    let mut faulty = BTreeSet::new();
    input::each_row(&test, ["sensor_id", "timestamp", "temperature"], |[sensor, time, value]| {
        if value.parse().is_ok_and(|value: f64| value < FROST) {
            let day = time.get(..10).unwrap_or_default();
            let _ = faulty.insert((sensor.to_owned(), day.to_owned()));
        }
        Ok(())
    })?;
    let novel: Vec<bool> = days
        .iter()
        .filter(|day| day.novelty > NOVEL)
        .map(|day| faulty.contains(&(day.sensor.clone(), day.day.to_string())))
        .collect();
    let hits = novel.iter().filter(|is_faulty| **is_faulty).count();
    let others = novel.len() - hits;
    Ok(vec![
        set.row("faulty days above novelty 0.99", Some(hits as f64))
            .at_least(faulty.len() as f64)
            .quoted(9.0),
        set.row("other days above novelty 0.99", Some(others as f64)).at_most(OTHERS).quoted(0.0),
    ])
}
