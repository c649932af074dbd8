use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::{
    reading::Sample,
    time::{HOUR_MS, LocalDay, UtcMillis},
};

/// A pseudo-random number from -1 to 1 for each `n`, the same each time.
fn noise(n: i64) -> f64 {
    let mixed = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 40) as f64 / f64::from(1_u32 << 23) - 1.0
}

/// Every five minutes: rises by 4 until noon and falls again, with noise of half a unit.
fn samples(number: i32, level: f64) -> Vec<Sample> {
    let day = LocalDay::utc(LocalDate(number));
    let at = |n: i64| day.start + n * HOUR_MS / 12;
    let value = |n: i64| {
        let hour = n as f64 / 12.0;
        level + 4.0 - (hour - 12.0).abs() / 3.0 + 0.25 * noise(i64::from(number) * 288 + n)
    };
    (0..288).map(|n| Sample { at: at(n), value: value(n) }).collect()
}

fn chunk(number: i32, samples: Vec<Sample>) -> Chunk {
    Chunk::new(LocalDay::utc(LocalDate(number)), samples)
}

fn take(baseline: &mut Baseline, chunk: &Chunk) -> (Option<Verdict>, bool) {
    let features = FeatureSet::Profile1.extract(chunk).unwrap();
    baseline.take(chunk, &features)
}

fn taught(days: i32) -> Baseline {
    let mut baseline = Baseline::default();
    for number in 0..days {
        assert!(take(&mut baseline, &chunk(number, samples(number, 20.0))).1);
    }
    baseline
}

/// What would be said of a day, without learning it.
fn verdict(baseline: &Baseline, number: i32, samples: Vec<Sample>) -> Verdict {
    take(&mut baseline.clone(), &chunk(number, samples)).0.unwrap()
}

fn score(verdict: &Verdict) -> f32 {
    day_score(Some(verdict), None).unwrap()
}

/// The scores of a day's readings, live.
fn live(baseline: &Baseline, number: i32, samples: &[Sample]) -> Vec<f32> {
    let (mut live, day) = (Live::default(), LocalDay::utc(LocalDate(number)));
    samples.iter().filter_map(|&sample| live.add(baseline, &day, sample)).collect()
}

fn highest(scores: &[f32]) -> f32 {
    scores.iter().copied().fold(0.0, f32::max)
}

#[test]
fn of_days_nothing_is_said_before_enough_are_known() {
    for days in [0, 1] {
        let mut baseline = taught(days);
        let (verdict, is_learnt) = take(&mut baseline, &chunk(days, samples(days, 20.0)));
        assert_eq!((verdict, is_learnt), (None, true), "after {days}");
    }
    assert!(take(&mut taught(2), &chunk(2, samples(2, 20.0))).0.is_some());
    assert_eq!(day_score(None, None), None);
}

#[test]
fn an_ordinary_day_scores_low_and_a_shifted_one_high_with_its_reasons() {
    let baseline = taught(14);
    let ordinary = verdict(&baseline, 14, samples(14, 20.0));
    assert!(score(&ordinary) < 0.9, "{ordinary:?}");
    let shifted = verdict(&baseline, 14, samples(14, 26.0));
    assert!(score(&shifted) > 0.99, "{shifted:?}");
    let parts = shifted.reasons.iter().filter(|r| matches!(r.subject, Subject::Part(_)));
    for reason in parts.clone() {
        assert!((reason.value - reason.usual - 6.0).abs() < 0.3, "{reason:?}");
    }
    assert!(parts.count() >= 1, "{:?}", shifted.reasons);
}

#[test]
fn a_warm_night_is_told_as_one() {
    let mut nightly = samples(14, 20.0);
    nightly.iter_mut().take(72).for_each(|sample| sample.value += 3.0);
    let reasons = verdict(&taught(14), 14, nightly).reasons;
    let night = reasons.iter().find(|r| r.subject == Subject::Part(DayPart::Night)).unwrap();
    assert!(night.deviate > 2.0 && (night.value - night.usual - 3.0).abs() < 0.3, "{night:?}");
}

#[test]
fn missing_readings_are_a_reason_and_a_few_missing_ones_are_none() {
    let thin = |every: usize| samples(14, 20.0).into_iter().step_by(every).collect();
    let baseline = taught(14);
    let mut half: Vec<Sample> = thin(1);
    half.truncate(144);
    let reasons = verdict(&baseline, 14, half).reasons;
    let names: Vec<&str> = reasons.iter().map(|r| r.subject.name(FeatureSet::Profile1)).collect();
    assert!(names.contains(&"day_coverage") || names.contains(&"longest_gap"), "{names:?}");
    let mut few: Vec<Sample> = thin(1);
    few.remove(100);
    assert!(score(&verdict(&baseline, 14, few)) < 0.9);
}

#[test]
fn a_day_teaches_once_and_an_earlier_one_no_more() {
    let mut baseline = taught(5);
    let before = baseline.clone();
    let (verdict, is_learnt) = take(&mut baseline, &chunk(4, samples(4, 80.0)));
    assert!(!is_learnt);
    assert!(verdict.is_some_and(|verdict| score(&verdict) > 0.99));
    assert_eq!(baseline, before);
}

#[test]
fn a_faulty_day_does_not_become_the_norm() {
    let mut baseline = taught(14);
    take(&mut baseline, &chunk(14, samples(14, 90.0)));
    let again = score(&verdict(&baseline, 15, samples(15, 90.0)));
    let back = score(&verdict(&baseline, 16, samples(16, 20.0)));
    assert!(again > 0.99, "still unusual: {again}");
    assert!(back < again, "{back} and {again}");
    let usual = baseline.usual(FeatureSet::Profile1, LocalDate(16), 12).unwrap();
    assert!((usual - 24.0).abs() < 1.0, "{usual} at noon");
}

#[test]
fn what_lasts_becomes_the_norm_in_the_end() {
    let mut baseline = taught(14);
    for number in 14..60 {
        take(&mut baseline, &chunk(number, samples(number, 23.0)));
    }
    assert!(score(&verdict(&baseline, 60, samples(60, 23.0))) < 0.95);
}

#[test]
fn weekends_are_expected_to_be_weekends_where_that_pays() {
    let level = |number: i32| if (number + 3) % 7 >= 5 { 10.0 } else { 20.0 };
    let mut baseline = Baseline::default();
    // 1970-01-05 was a Monday.
    for number in 4..4 + 35 {
        take(&mut baseline, &chunk(number, samples(number, level(number))));
    }
    let saturday = 4 + 35 + 5;
    let usual = baseline.usual(FeatureSet::Profile1, LocalDate(saturday), 0).unwrap();
    assert!((usual - 10.0).abs() < 1.0, "{usual} on Saturdays at midnight");
    assert!(score(&verdict(&baseline, saturday, samples(saturday, 10.0))) < 0.9);
    assert!(score(&verdict(&baseline, saturday, samples(saturday, 20.0))) > 0.99);
}

#[test]
fn live_scores_wait_for_an_hour_of_readings_and_stay_low_on_an_ordinary_day() {
    let day = samples(0, 20.0);
    let first = live(&Baseline::default(), 0, &day);
    assert_eq!(first.len(), day.len() - 20, "nothing is said of the first readings");
    let baseline = taught(14);
    let scores = live(&baseline, 14, &samples(14, 20.0));
    let high = scores.iter().filter(|score| **score > 0.99).count();
    assert!(high <= 288 / 50, "{high} of 288 above 0.99");
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
}

#[test]
fn faults_of_every_kind_score_higher_than_anything_ordinary() {
    let baseline = taught(14);
    let ordinary = highest(&live(&baseline, 14, &samples(14, 20.0)));
    let faulty = |change: &dyn Fn(usize, f64) -> f64| {
        let mut samples = samples(14, 20.0);
        for (place, sample) in samples.iter_mut().enumerate().skip(150).take(40) {
            sample.value = change(place, sample.value);
        }
        highest(&live(&baseline, 14, &samples)[130..170])
    };
    let spike = faulty(&|place, value| if place == 160 { value + 30.0 } else { value });
    let shift = faulty(&|_, value| value + 5.0);
    let stuck = faulty(&|_, _| 22.0);
    let noisy = faulty(&|place, value| value + 3.0 * noise(place as i64 * 77));
    let drift = faulty(&|place, value| value + 0.2 * (place - 150) as f64);
    for (name, score) in
        [("spike", spike), ("shift", shift), ("stuck", stuck), ("noisy", noisy), ("drift", drift)]
    {
        assert!(score > ordinary, "{name}: {score}, ordinary {ordinary}");
    }
}

#[test]
fn an_episode_is_one_alarm() {
    let baseline = taught(14);
    let mut samples = samples(14, 20.0);
    samples.iter_mut().skip(150).for_each(|sample| sample.value += 8.0);
    let scores = live(&baseline, 14, &samples);
    let alarms = scores.iter().filter(|score| **score > 0.9991).count();
    assert!((1..=12).contains(&alarms), "{alarms} readings, of 138 in the episode");
    assert!(scores[200..].iter().all(|score| *score > 0.99), "it goes on");
}

#[test]
fn a_sinking_battery_is_told_with_its_slope_and_its_end() {
    let mut baseline = Baseline::default();
    let mut drift = None;
    for number in 0..14 {
        let samples = samples(number, 0.0).into_iter().map(|sample| Sample {
            value: 2.7 - 0.014 * f64::from(number) + 0.002 * (sample.value + 4.0),
            ..sample
        });
        drift = take(&mut baseline, &chunk(number, samples.collect())).0.and_then(|v| v.drift);
    }
    let drift = drift.unwrap();
    assert!(drift.drift >= DRIFTS, "{drift:?}");
    let name = Subject::Feature(drift.feature).name(FeatureSet::Profile1);
    assert!(["mean", "min", "max"].contains(&name), "{name}");
    assert!((drift.per_day + 0.014).abs() < 0.002, "{drift:?}");
    let ends = drift.ends.unwrap().0;
    assert!((20..50).contains(&ends), "a tenth below 2.5 V, at 14 mV a day: day {ends}");
}

#[test]
fn weather_is_no_drift() {
    let mut baseline = Baseline::default();
    for number in 0..60 {
        let level = 20.0 + 3.0 * noise(i64::from(number)) + 2.0 * (f64::from(number) / 5.0).sin();
        let verdict = take(&mut baseline, &chunk(number, samples(number, level))).0;
        let drift = verdict.and_then(|verdict| verdict.drift).map_or(0.0, |drift| drift.drift);
        assert!(drift < DRIFTS, "day {number}: {drift}");
    }
}

#[test]
fn what_is_stored_reads_back_and_what_another_build_stored_does_not() {
    let baseline = taught(20);
    let bytes = baseline.to_bytes().unwrap();
    assert!(bytes.len() <= 1100, "{} bytes", bytes.len());
    assert_eq!(Baseline::from_bytes(&bytes), Some(baseline));
    assert_eq!(Baseline::from_bytes(&[1, 0, 0]), None);
    assert_eq!(Baseline::from_bytes(&[]), None);
    assert_eq!(Baseline::from_bytes(&bytes[..bytes.len() / 2]), None);
}

#[test]
fn novelty_among_the_fleet_decides_where_own_days_are_not_known_and_adds_where_they_are() {
    assert!((day_score(None, Some(0.99)).unwrap() - 0.99).abs() < 1e-4);
    let own = verdict(&taught(14), 14, samples(14, 20.0));
    let alone = score(&own);
    assert_eq!(day_score(Some(&own), Some(0.5)), Some(alone));
    assert!(day_score(Some(&own), Some(0.999)).unwrap() > alone);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever a sensor says, scores are scores.
    #[test]
    fn scores_are_between_0_and_1_whatever_comes(
        values in prop::collection::vec(
            prop_oneof![
                Just(f64::MAX), Just(f64::MIN), Just(0.0), Just(1e-300), -1e6..1e6_f64, Just(20.0)
            ],
            3..120,
        ),
        step in 1_i64..HOUR_MS,
    ) {
        let mut baseline = Baseline::default();
        for number in 0..6 {
            let day = LocalDay::utc(LocalDate(number));
            let sample = |(n, &value): (i64, &f64)| Sample { at: day.start + n * step, value };
            let samples: Vec<Sample> =
                (0_i64..).zip(&values).map(sample).filter(|s| day.contains(s.at)).collect();
            if samples.len() < 2 {
                continue;
            }
            for score in live(&baseline, number, &samples) {
                prop_assert!((0.0..=1.0).contains(&score), "{score}");
            }
            let verdict = take(&mut baseline, &chunk(number, samples)).0;
            let score = day_score(verdict.as_ref(), None);
            prop_assert!(score.is_none_or(|score| (0.0..=1.0).contains(&score)), "{verdict:?}");
            let drift = verdict.and_then(|verdict| verdict.drift);
            prop_assert!(drift.is_none_or(|drift| drift.drift >= 0.0), "{drift:?}");
        }
        prop_assert_eq!(Baseline::from_bytes(&baseline.to_bytes().unwrap()), Some(baseline));
    }

    /// Clocks jump, in the core's eyes as well.
    #[test]
    fn times_of_any_kind_do_no_harm(times in prop::collection::vec(any::<i64>(), 30)) {
        let (baseline, mut live) = (taught(3), Live::default());
        let day = LocalDay::utc(LocalDate(3));
        for at in times {
            let score = live.add(&baseline, &day, Sample { at: UtcMillis(at), value: 20.0 });
            prop_assert!(score.is_none_or(|score| (0.0..=1.0).contains(&score)));
        }
    }
}
