//! Kinds of days: the clusters of a model that has seen no label, against the labels.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use jiff::civil::Date;

use super::{
    super::{
        input::{self, DayLabel, PredictedDay},
        metrics,
        rows::Row,
    },
    Set, generic,
};

/// Of a file of labelled days.
pub(super) const COLUMNS: [&str; 3] = ["sensor_id", "day", "label"];

pub(super) fn power_cons(set: &Set<'_>) -> anyhow::Result<Vec<Row>> {
    known(set, &set.readings(), "UTC", &labels(set)?, (2, 0.73, 0.73))
}

pub(super) fn italy_power(set: &Set<'_>) -> anyhow::Result<Vec<Row>> {
    known(set, &set.readings(), "UTC", &labels(set)?, (4, 0.57, 0.57))
}

/// Southern Cross is the station whose days are known to fall into two kinds.
pub(super) fn pedestrian(set: &Set<'_>) -> anyhow::Result<Vec<Row>> {
    let Some(csv) = one_sensor(set, "southern_cross")? else {
        return generic::figures(set);
    };
    let mut labels = labels(set)?;
    for label in labels.iter_mut().filter(|label| label.label == "holiday") {
        // A day off like any on a weekend.
        "weekend".clone_into(&mut label.label);
    }
    known(set, &csv, "Australia/Melbourne", &labels, (2, 0.98, 0.99))
}

fn labels(set: &Set<'_>) -> anyhow::Result<Vec<DayLabel>> {
    input::day_labels(&set.file("labels.csv"), COLUMNS)
}

/// The readings of the sensors with that in their ids, or `None` if there are none.
fn one_sensor(set: &Set<'_>, name: &str) -> anyhow::Result<Option<PathBuf>> {
    let path = set.product.file("one-sensor.csv");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut writer = csv::Writer::from_writer(file);
    let columns = ["ts", "sensor_id", "value"];
    writer.write_record(columns)?;
    let mut is_any = false;
    input::each_row(&set.readings(), columns, |fields| {
        let [_, sensor, _] = fields;
        if sensor.contains(name) {
            is_any = true;
            writer.write_record(fields)?;
        }
        Ok(())
    })?;
    writer.flush()?;
    Ok(is_any.then_some(path))
}

fn known(
    set: &Set<'_>,
    csv: &Path,
    zone: &str,
    labels: &[DayLabel],
    (k, floor, baseline): (usize, f64, f64),
) -> anyhow::Result<Vec<Row>> {
    let pairs = pairs(&set.product.cluster(csv, zone, k)?, labels);
    set.say(&format!("{} labelled days", pairs.len()));
    let row = |metric, figure| set.row(&format!("kinds of days, k = {k}, {metric}"), figure);
    Ok(vec![
        row("ARI", metrics::adjusted_rand(&pairs)).at_least(floor).quoted(baseline),
        row("NMI", metrics::normalised_mutual_information(&pairs)),
    ])
}

/// Class and cluster of each day that is labelled; classes are numbered.
pub(super) fn pairs(days: &[PredictedDay], labels: &[DayLabel]) -> Vec<(usize, usize)> {
    let mut by_day = BTreeMap::<Date, Vec<&DayLabel>>::new();
    for label in labels {
        by_day.entry(label.day).or_default().push(label);
    }
    let mut classes = BTreeMap::new();
    let mut pairs = Vec::new();
    for day in days {
        let mut of_day = by_day.get(&day.day).into_iter().flatten();
        if let Some(label) = of_day.find(|label| label.sensors.include(&day.sensor)) {
            let next = classes.len();
            pairs.push((*classes.entry(&label.label).or_insert(next), day.cluster));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn days_without_a_label_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        let text = "sensor_id,day,label\nhall/*,2024-01-01,weekend\nhall/*,2024-01-02,weekday\n\
                    hall/*,2024-01-06,weekend\nattic/a,2024-01-03,weekday\n";
        fs::write(&path, text).unwrap();
        let labels = input::day_labels(&path, COLUMNS).unwrap();
        let day = |date: &str, cluster| PredictedDay {
            sensor: "hall/a".into(),
            day: date.parse().unwrap(),
            cluster,
            novelty: 0.0,
        };
        let days = [
            day("2024-01-01", 5),
            day("2024-01-02", 3),
            day("2024-01-03", 3),
            day("2024-01-06", 5),
        ];
        assert_eq!(pairs(&days, &labels), [(0, 5), (1, 3), (0, 5)]);
    }
}
