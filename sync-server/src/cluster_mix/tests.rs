//! What the index comes to, and when nothing is said.

use rand_xoshiro::{
    SplitMix64,
    rand_core::{RngCore as _, SeedableRng as _},
};

use super::*;

const FAMILY: Family = (Quantity::Temperature, FeatureSet::Profile1);

/// `days` of one version by cluster, spread over two weeks.
fn predicted(version: u32, days: &[(u16, u64)]) -> Vec<Predicted> {
    let mut all = Vec::new();
    for &(cluster, days) in days {
        let on = |nth: u64| LocalDate(19_000 + i32::try_from(nth % 14).unwrap());
        all.extend((0..days).map(|nth| Predicted {
            date: on(nth),
            version,
            cluster,
            sensor_days: 1,
        }));
    }
    all
}

fn sizes(clusters: &[(u16, u64)]) -> Sizes {
    clusters.iter().copied().collect()
}

fn mix(found: &[(u16, u64)], trained: &[(u16, u64)]) -> Option<FamilyMix> {
    let trained = sizes(trained);
    family_mix(FAMILY, &predicted(1, found), |version| (version == 1).then_some(&trained))
}

#[test]
fn the_index_is_the_textbooks() {
    // 0.1 ln 2 + 0.1 ln 1.2, but for the half days.
    let found = mix(&[(0, 100), (1, 600), (2, 300)], &[(0, 200), (1, 500), (2, 300)]).unwrap();
    let psi = found.psi.unwrap();
    assert!((psi - 0.0875).abs() < 0.001, "{psi}");
    assert_eq!((found.state, found.sensor_days, found.days), (Some(State::Stable), 1_000, 14));
    let most = found.most.unwrap();
    assert_eq!(most.cluster, 0, "halved is further than a fifth more");
    assert!((most.share - 0.1).abs() < 0.001 && (most.expected - 0.2).abs() < 0.001, "{most:?}");
}

#[test]
fn the_usual_reading_goes_with_it() {
    let trained = [(3, 5_000), (7, 5_000)];
    let state = |found| mix(found, &trained).unwrap().state;
    assert_eq!(state(&[(3, 50), (7, 50)]), Some(State::Stable));
    assert_eq!(mix(&[(3, 50), (7, 50)], &trained).unwrap().psi, Some(0.0), "the very same mix");
    assert_eq!(state(&[(3, 70), (7, 30)]), Some(State::Changed));
    assert_eq!(state(&[(3, 80), (7, 20)]), Some(State::Shifted));
}

#[test]
fn a_cluster_that_is_empty_on_one_side_counts_and_stays_finite() {
    let gone = mix(&[(0, 100)], &[(0, 500), (1, 500)]).unwrap();
    let psi = gone.psi.unwrap();
    // Half a day of 101 against 50.5 of them.
    let (p, q) = (0.5 / 101.0, 0.5_f64);
    let expected = (p - q) * (p / q).ln() + (1.0 - p - q) * ((1.0 - p) / q).ln();
    assert!((psi - expected).abs() < 1e-12, "{psi} is not {expected}");
    let new = mix(&[(0, 90), (1, 10)], &[(0, 1_000), (1, 0)]).unwrap();
    assert_eq!((new.state, new.most.unwrap().cluster), (Some(State::Shifted), 1));
}

#[test]
fn nothing_is_said_before_there_are_enough_days() {
    let trained = [(0, 500), (1, 500)];
    let few = mix(&[(0, 19)], &trained).unwrap();
    assert_eq!((few.psi, few.state, few.most), (None, None, None), "19 for two clusters");
    assert_eq!((few.sensor_days, few.days), (19, 14));
    assert!(mix(&[(0, 20)], &trained).unwrap().psi.is_some());
    // Many sensors, but of six dates only.
    let trained = sizes(&trained);
    let mut days = predicted(1, &[(0, 140)]);
    days.retain(|one| one.date < LocalDate(19_006));
    let short = family_mix(FAMILY, &days, |_| Some(&trained)).unwrap();
    assert_eq!((short.psi, short.sensor_days, short.days), (None, 60, 6));
}

#[test]
fn one_cluster_or_no_day_that_counts_is_no_mix() {
    assert_eq!(mix(&[(0, 100)], &[(0, 500)]), None, "there is only one way to fall");
    assert_eq!(mix(&[], &[(0, 500), (1, 500)]), None);
    assert_eq!(mix(&[(9, 100)], &[(0, 500), (1, 500)]), None, "no cluster of that version");
    let trained = sizes(&[(0, 500), (1, 500)]);
    let of_another = predicted(2, &[(0, 100)]);
    let known = |version| (version == 1).then_some(&trained);
    assert_eq!(family_mix(FAMILY, &of_another, known), None, "a version that is not known");
    let mut mixed = predicted(1, &[(0, 20), (1, 20)]);
    mixed.extend(of_another);
    let found = family_mix(FAMILY, &mixed, known).unwrap();
    assert_eq!((found.psi, found.sensor_days), (Some(0.0), 40));
}

#[test]
fn each_day_is_compared_with_the_version_that_predicted_it() {
    // The second training saw the other season, and has one cluster more.
    let first = sizes(&[(0, 900), (1, 100)]);
    let second = sizes(&[(0, 100), (1, 800), (2, 100)]);
    let known = |version| match version {
        1 => Some(&first),
        2 => Some(&second),
        _ => None,
    };
    let mut days = predicted(1, &[(0, 90), (1, 10)]);
    days.extend(predicted(2, &[(0, 10), (1, 80), (2, 10)]));
    let found = family_mix(FAMILY, &days, known).unwrap();
    assert!(found.psi.unwrap() < 1e-12, "{found:?}");
    let all_by_the_second = predicted(2, &[(0, 100), (1, 90), (2, 10)]);
    let shifted = family_mix(FAMILY, &all_by_the_second, known).unwrap();
    assert_eq!(shifted.state, Some(State::Shifted), "the same days, all by the second");
}

/// Days drawn from the training's own mix come to about (k - 1) / n, as the literature says.
#[test]
fn chance_alone_stays_below_what_is_told_at_the_least_number_of_days() {
    const DRAWS: u32 = 2_000;
    let mut random = SplitMix64::seed_from_u64(1);
    for k in [2_u16, 4, 8] {
        let n = MIN_SENSOR_DAYS * u64::from(k);
        let trained: Vec<(u16, u64)> = (0..k).map(|cluster| (cluster, 1_000)).collect();
        let mut sum = 0.0;
        for _ in 0..DRAWS {
            let mut found = vec![0_u64; usize::from(k)];
            for _ in 0..n {
                found[usize::try_from(random.next_u64() % u64::from(k)).unwrap()] += 1;
            }
            let found: Vec<(u16, u64)> = (0..k).zip(found).collect();
            sum += mix(&found, &trained).unwrap().psi.unwrap();
        }
        let mean = sum / f64::from(DRAWS);
        let expected = f64::from(k - 1) / n as f64;
        assert!((mean / expected - 1.0).abs() < 0.15, "{k} clusters: {mean}, not {expected}");
        assert!(mean < STABLE, "{k} clusters: {mean}");
    }
}
