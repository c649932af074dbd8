//! Training as a whole: the reference data's golden figures, and what continuing keeps.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use daywise_core::{
    chunk::Chunk,
    model,
    reading::Sample,
    time::{HOUR_MS, LocalDate, LocalDay},
};

use super::*;

const NOW: UtcMillis = UtcMillis(1_700_000_000_000);

fn options(k: Clusters) -> Options {
    Options { k, scaling: Scaling::Standard, seed: 1 }
}

fn day(level: f32, spread: f32) -> Features {
    Features::new(FeatureSet::Moments1, [Some(level), Some(spread)]).unwrap()
}

/// Days of two kinds around 10 and 30, moved up by `shift`.
fn two_kinds(quantity: Quantity, shift: f32) -> TrainingSet {
    let mut days = TrainingSet::default();
    for i in 0..40_u8 {
        let wobble = f32::from(i % 5) * 0.2;
        let level = if i % 2 == 0 { 10.0 } else { 30.0 };
        assert!(days.push(quantity, day(level + shift + wobble, 1.0 + wobble)));
    }
    days
}

fn first(days: &TrainingSet) -> (Trained, Digest) {
    let trained = train(days, None, 1, NOW, options(Clusters::Exactly(2))).unwrap();
    let (_, digest) = gates::check(&trained, None, days).unwrap();
    (trained, digest)
}

#[test]
fn a_continued_model_starts_from_its_parent_and_keeps_the_clusters_identity() {
    let (mut parent, digest) = first(&two_kinds(Quantity::Temperature, 0.0));
    parent.model.families[0].clusters[0].name = "night frost".into();
    let days = two_kinds(Quantity::Temperature, 2.0);
    let on_new_days: f64 = days.families[0]
        .days
        .iter()
        .map(|day| parent.model.families[0].nearest(day).1.powi(2))
        .sum();

    let from = Parent { model: &parent.model, digest };
    let next = train(&days, Some(from), 2, NOW, options(Clusters::Auto)).unwrap();

    let first_inertia = next.reports[0].first_iteration_inertia.unwrap();
    assert!((first_inertia / on_new_days - 1.0).abs() < 1e-9, "{first_inertia} {on_new_days}");
    assert!(next.reports[0].inertia < first_inertia);
    assert_eq!(next.model.parent, Some(digest));
    let (old, new) = (&parent.model.families[0], &next.model.families[0]);
    assert_eq!(new.scale, old.scale, "measured in the parent's units");
    for (old, new) in old.clusters.iter().zip(&new.clusters) {
        assert_eq!((old.id, &old.name), (new.id, &new.name));
        assert!((new.centroid[0] - old.centroid[0] - 2.0).abs() < 1e-3, "moved with its days");
    }
    gates::check(&next, Some(&parent.model), &days).unwrap();
}

#[test]
fn a_cluster_without_days_keeps_its_centroid() {
    let (parent, digest) = first(&two_kinds(Quantity::Temperature, 0.0));
    let mut days = TrainingSet::default();
    for i in 0..20_u8 {
        days.push(Quantity::Temperature, day(30.0 + f32::from(i % 3), 1.0));
    }
    let from = Parent { model: &parent.model, digest };
    let next = train(&days, Some(from), 2, NOW, options(Clusters::Auto)).unwrap();
    let clusters = &next.model.families[0].clusters;
    assert_eq!(clusters[0].size, 0);
    assert_eq!(clusters[0].centroid, parent.model.families[0].clusters[0].centroid);
    assert_eq!(clusters[1].size, 20);
    gates::check(&next, Some(&parent.model), &days).unwrap();
}

#[test]
fn families_without_new_days_are_carried_over_and_new_ones_start_afresh() {
    let (parent, digest) = first(&two_kinds(Quantity::Temperature, 0.0));
    let from = Parent { model: &parent.model, digest };
    let days = two_kinds(Quantity::Humidity, 0.0);
    let next = train(&days, Some(from), 2, NOW, options(Clusters::Auto)).unwrap();
    assert_eq!(
        next.model.family(Quantity::Temperature, FeatureSet::Moments1),
        parent.model.family(Quantity::Temperature, FeatureSet::Moments1)
    );
    assert_eq!(next.reports.len(), 1);
    assert_eq!(next.reports[0].quantity, Quantity::Humidity);
    assert_eq!(next.reports[0].first_iteration_inertia, None);
}

#[test]
fn a_family_that_began_with_a_handful_of_days_starts_over_under_new_numbers() {
    let mut few = TrainingSet::default();
    for i in 0..6_u8 {
        few.push(Quantity::Temperature, day(f32::from(i), 1.0));
    }
    let parent = train(&few, None, 1, NOW, options(Clusters::Auto)).unwrap();
    assert_eq!(parent.model.families[0].clusters.len(), 1);
    let (_, digest) = gates::check(&parent, None, &few).unwrap();
    let days = two_kinds(Quantity::Temperature, 0.0);
    let from = Parent { model: &parent.model, digest };
    let next = train(&days, Some(from), 2, NOW, options(Clusters::Auto)).unwrap();
    let clusters = &next.model.families[0].clusters;
    assert!(clusters.len() >= 2);
    assert!(clusters.iter().all(|cluster| cluster.id >= 1), "0 was the old cluster");
    assert_eq!(next.reports[0].first_iteration_inertia, None);
}

#[test]
fn a_model_that_fits_worse_than_its_parent_is_refused() {
    let days = two_kinds(Quantity::Temperature, 0.0);
    let (parent, _) = first(&days);
    let mut broken = parent.clone();
    broken.model.version = 2;
    broken.model.families[0].inertia *= 2.0;
    assert!(matches!(
        gates::check(&broken, Some(&parent.model), &days),
        Err(gates::GateRefusal::Worse { .. })
    ));
    broken = parent.clone();
    broken.model.families[0].clusters[0].size += 1;
    assert!(matches!(gates::check(&broken, None, &days), Err(gates::GateRefusal::Sizes { .. })));
    broken = parent;
    broken.model.families[0].clusters[0].centroid[0] = f32::NAN;
    assert!(matches!(gates::check(&broken, None, &days), Err(gates::GateRefusal::Artifact(_))));
}

#[test]
fn a_day_with_gaps_is_trained_on_what_it_has() {
    let mut days = TrainingSet::default();
    for i in 0..30_u8 {
        let level = if i % 2 == 0 { 0.0 } else { 50.0 };
        let hours =
            (0..36_u8).map(|place| (place % 7 != i % 7).then_some(level + f32::from(place)));
        days.push(Quantity::Generic, Features::new(FeatureSet::Profile1, hours).unwrap());
    }
    let trained = train(&days, None, 1, NOW, options(Clusters::Exactly(2))).unwrap();
    assert_eq!(trained.reports[0].cluster_sizes, [15, 15]);
    let centroid = &trained.model.families[0].clusters[1].centroid;
    assert!((centroid[10] - 60.0).abs() < 1e-3, "a gap does not pull the mean towards 0");
}

#[test]
fn cluster_names_count_on_after_the_alphabet() {
    assert_eq!([0, 25, 26, 27, 51, 52].map(name), ["A", "Z", "AA", "AB", "AZ", "BA"]);
}

#[test]
fn one_absurd_day_is_left_out() {
    let mut days = TrainingSet::default();
    assert!(!days.push(Quantity::Generic, day(1e30, 0.0)));
    assert!(days.is_empty());
}

/// Daily mean and deviation per sensor of a beehive file (`sensor_id,timestamp,temperature`,
/// timestamp `2023-02-15 00`), and whether the day has a reading below freezing: in a hive,
/// that is a fault.
fn beehive(path: &Path) -> Vec<(Quantity, Features, bool)> {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut days: BTreeMap<(&str, LocalDate), Vec<Sample>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let mut cells = line.split(',');
        let (sensor, at) = (cells.next().unwrap(), cells.next().unwrap());
        let value: f64 = cells.next().unwrap().parse().unwrap();
        let (date, hour) = at.split_once(' ').unwrap();
        let date: LocalDate = date.parse().unwrap();
        let at = LocalDay::utc(date).start + hour.parse::<i64>().unwrap() * HOUR_MS;
        days.entry((sensor, date)).or_default().push(Sample { at, value });
    }
    days.into_iter()
        .map(|((sensor, date), samples)| {
            let is_faulty = samples.iter().any(|sample| sample.value < 0.0);
            let chunk = Chunk::new(LocalDay::utc(date), samples);
            let features = FeatureSet::Moments1.extract(&chunk).unwrap();
            (Quantity::infer(sensor), features, is_faulty)
        })
        .collect()
}

#[test]
fn the_reference_data_reaches_its_global_minimum() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/beehive");
    if !data.exists() {
        println!("skipped: the reference data is not on this machine");
        return;
    }
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.join("golden.json")).unwrap()).unwrap();
    let mut days = TrainingSet::default();
    for (quantity, features, _) in beehive(&data.join("train.csv.gz")) {
        assert!(days.push(quantity, features));
    }
    assert_eq!(days.len(), 1823);
    let options = Options { k: Clusters::Exactly(4), scaling: Scaling::None, seed: 1 };

    let trained = train(&days, None, 1, NOW, options).unwrap();

    let report = &trained.reports[0];
    let expected = golden["train"]["inertia"].as_f64().unwrap();
    assert!((report.inertia / expected - 1.0).abs() < 1e-4, "inertia {}", report.inertia);
    let mut sizes = report.cluster_sizes.clone();
    sizes.sort_unstable();
    assert_eq!(serde_json::json!(sizes), golden["train"]["cluster_sizes"]);
    for (cluster, expected) in report.clusters.iter().zip(golden["centroids"].as_array().unwrap()) {
        for (found, expected) in cluster.centroid.iter().zip(expected.as_array().unwrap()) {
            assert!((f64::from(*found) - expected.as_f64().unwrap()).abs() < 1e-3, "{cluster:?}");
        }
    }
    let family = &trained.model.families[0];
    let mut distances: Vec<f64> =
        days.families[0].days.iter().map(|day| family.nearest(day).1).collect();
    distances.sort_by(f64::total_cmp);
    // The golden figure is the order statistic, the table's lies between it and the one before.
    let p99 = distances[distances.len() * 99 / 100];
    assert!((p99 - golden["train"]["p99_distance"].as_f64().unwrap()).abs() < 1e-3, "p99 {p99}");
    assert!(f64::from(report.p99_distance) <= p99);

    let test = beehive(&data.join("test.csv.gz"));
    assert_eq!(test.len(), 737);
    for (_, features, is_faulty) in &test {
        let is_far = family.nearest(features).1 > f64::from(report.p99_distance);
        assert_eq!(is_far, *is_faulty, "{features:?}");
    }

    // Continued on the same days, nothing moves.
    let (_, digest) = gates::check(&trained, None, &days).unwrap();
    let parent = Parent { model: &trained.model, digest };
    let again = train(&days, Some(parent), 2, NOW, options).unwrap();
    let first = again.reports[0].first_iteration_inertia.unwrap();
    assert!((first / report.inertia - 1.0).abs() < 1e-6);
    assert_eq!(again.reports[0].cluster_sizes, report.cluster_sizes);
    let (bytes, _) = gates::check(&again, Some(&trained.model), &days).unwrap();
    assert_eq!(model::decode(&bytes).unwrap().0, again.model);
}
