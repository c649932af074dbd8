//! What the live score costs, beside keeping nothing but mean and variance (Welford's method).
//!
//! Both are timed in turns in the same run, so that a busy machine is busy for both; the figures
//! are the medians of the turns. The sensor is one that has been known for a month.

use std::{hint::black_box, time::Instant};

use daywise_core::{
    baseline::{Baseline, Live},
    chunk::Chunk,
    day::ClosedDay,
    features::FeatureSet,
    quantity::Quantity,
    reading::Sample,
    time::{LocalDate, LocalDay},
};
use serde_json::json;

/// Turns of each.
const TURNS: usize = 31;
/// Readings in a turn: seven days, one a minute.
const READINGS: u32 = 7 * 1_440;

fn main() {
    // Test runners start benchmarks too, to ask for their tests: there are none.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut baseline = Baseline::default();
    for number in 0..30 {
        let chunk = Chunk::new(LocalDay::utc(LocalDate(number)), day(number));
        let features = FeatureSet::Profile1.extract(&chunk).expect("a full day");
        let closed = ClosedDay::new(&chunk, features, Quantity::Temperature, &mut baseline, None);
        assert!(closed.is_learnt, "a full day");
    }
    let days: Vec<(LocalDay, Vec<Sample>)> =
        (30..37).map(|number| (LocalDay::utc(LocalDate(number)), day(number))).collect();
    let (mut references, mut scores) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        references.push(timed(|| {
            let (mut count, mut mean, mut squares) = (0.0_f64, 0.0_f64, 0.0_f64);
            for sample in days.iter().flat_map(|(_, samples)| samples) {
                let value = black_box(sample.value);
                count += 1.0;
                let step = value - mean;
                mean += step / count;
                squares += step * (value - mean);
            }
            black_box((mean, squares));
        }));
        scores.push(timed(|| {
            let mut live = Live::default();
            for (day, samples) in &days {
                for &sample in samples {
                    black_box(live.add(&baseline, day, black_box(sample)));
                }
            }
        }));
    }
    let (reference, score) = (median(references), median(scores));
    println!(
        "score   live            1 reading {score:>6.1} ns  {:>5.1} x Welford",
        score / reference
    );
    let figures = json!({
        "ns_per_reading": score,
        "welford_ns": reference,
        "ratio_to_welford": score / reference,
        "baseline_bytes": size_of::<Baseline>(),
        "sensor_state_bytes": size_of::<daywise_core::collect::SensorState>(),
    });
    println!("{}", json!({ "score": figures }));
}

/// A day's temperature every minute, with a little noise.
fn day(number: i32) -> Vec<Sample> {
    let start = LocalDay::utc(LocalDate(number)).start;
    let value = |minute: i64| {
        #[expect(clippy::cast_precision_loss, reason = "minutes of a day")]
        let hour = minute as f64 / 60.0;
        let noise = (minute * 7_919 + i64::from(number) * 104_729) % 41;
        #[expect(clippy::cast_precision_loss, reason = "below 41")]
        let noise = noise as f64 / 100.0;
        20.0 - (hour - 14.0).abs() / 3.0 + noise
    };
    (0..1_440).map(|minute| Sample { at: start + minute * 60_000, value: value(minute) }).collect()
}

/// Nanoseconds for each reading.
fn timed(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e9 / f64::from(READINGS)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
