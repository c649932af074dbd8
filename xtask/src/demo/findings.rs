//! Which sensor-days are the most unusual, and which planted faults are among them.
//!
//! Two things are asked of a day: how far is it from every known kind of day (the model's
//! distance), and how far from what this sensor usually does (the gateway's deviation)? Novelty
//! alone cannot rank, because it ends at 1. Each is taken relative to the median sensor-day of
//! the same quantity (a deviation grows with the logarithm of strangeness, so that three more are
//! ten times as much), and the score is their geometric mean: 1 is an ordinary day, 4 is four
//! times as far out. A sensor without enough days of its own counts as ordinary in that. Both
//! parts are causal: the gateway said them when the day closed. Days before the first model are
//! not ranked: half of the question was not asked of them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A deviation that is this much larger is ten times as strange.
const DECADE: f64 = 3.0;

/// A sensor-day as the server's API tells it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SensorDay {
    pub(super) sensor: String,
    pub(super) quantity: String,
    pub(super) date: String,
    pub(super) coverage: f64,
    pub(super) features: Option<BTreeMap<String, Option<f64>>>,
    pub(super) prediction: Option<Prediction>,
    pub(super) deviation: Option<f64>,
}

/// What the gateway's model said.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Prediction {
    pub(super) distance: f64,
    pub(super) novelty: f64,
    #[serde(default)]
    pub(super) top_features: Vec<Contribution>,
    pub(super) model_version: u64,
}

/// One feature's part in the distance.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Contribution {
    pub(super) feature: Option<String>,
    pub(super) deviation: f64,
}

/// A sensor-day in the ranking.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Unusual {
    /// From 1.
    pub(super) rank: usize,
    pub(super) sensor: String,
    pub(super) quantity: String,
    pub(super) day: String,
    /// How many times as far out as the median day of its quantity.
    pub(super) score: f64,
    pub(super) novelty: Option<f64>,
    pub(super) distance: Option<f64>,
    pub(super) deviation: Option<f64>,
    pub(super) model_version: Option<u64>,
    /// The features that contribute most, in words: to the distance from known days, or to that
    /// from the sensor's own days, whichever is the larger.
    pub(super) why: Vec<String>,
}

/// Reads the API's answer.
pub(super) fn parse(answer: Value) -> anyhow::Result<Vec<SensorDay>> {
    serde_json::from_value(answer).context("the server's sensor-days are not as expected")
}

/// All sensor-days that a model has seen, the most unusual first.
pub(super) fn rank(days: &[SensorDay]) -> Vec<Unusual> {
    let mut distances: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut deviations: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for day in days {
        let Some(prediction) = &day.prediction else { continue };
        distances.entry(&day.quantity).or_default().push(prediction.distance);
        if let Some(deviation) = day.deviation {
            deviations.entry(&day.quantity).or_default().push(deviation);
        }
    }
    let medians = |values: BTreeMap<&str, Vec<f64>>| -> BTreeMap<String, f64> {
        values.into_iter().filter_map(|(q, v)| Some((q.to_owned(), median(v)?))).collect()
    };
    let (distances, deviations) = (medians(distances), medians(deviations));
    let times = |value: Option<f64>, median: Option<&f64>| match (value, median) {
        (Some(value), Some(&median)) if median > 0.0 => value / median,
        _ => 1.0,
    };
    let more = |value: Option<f64>, median: Option<&f64>| match (value, median) {
        (Some(value), Some(&median)) => libm::exp10((value - median) / DECADE),
        _ => 1.0,
    };
    let mut ranking: Vec<(f64, bool, &SensorDay)> = days
        .iter()
        .filter_map(|day| {
            let distance = day.prediction.as_ref()?.distance;
            let far = times(Some(distance), distances.get(&day.quantity));
            let odd = more(day.deviation, deviations.get(&day.quantity));
            Some(((far * odd).sqrt(), odd > far, day))
        })
        .collect();
    ranking.sort_by(|(a, _, x), (b, _, y)| {
        b.total_cmp(a).then_with(|| (&x.sensor, &x.date).cmp(&(&y.sensor, &y.date)))
    });
    let usual = usual_values(days);
    let place = |(index, (score, is_odd, day)): (usize, (f64, bool, &SensorDay))| Unusual {
        rank: index + 1,
        sensor: day.sensor.clone(),
        quantity: day.quantity.clone(),
        day: day.date.clone(),
        score,
        novelty: day.prediction.as_ref().map(|prediction| prediction.novelty),
        distance: day.prediction.as_ref().map(|prediction| prediction.distance),
        deviation: day.deviation,
        model_version: day.prediction.as_ref().map(|prediction| prediction.model_version),
        why: why(day, usual.get(day.sensor.as_str()), is_odd),
    };
    ranking.into_iter().enumerate().map(place).collect()
}

/// The median; of an even number the lower of the middle two.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// What a feature usually is for one sensor: median and spread over all its days.
type Usual = BTreeMap<String, (f64, f64)>;

/// How many features explain a day.
const REASONS: usize = 3;

fn usual_values(days: &[SensorDay]) -> BTreeMap<&str, Usual> {
    let mut values: BTreeMap<&str, BTreeMap<&String, Vec<f64>>> = BTreeMap::new();
    for day in days {
        let of_sensor = values.entry(&day.sensor).or_default();
        for (name, value) in day.features.iter().flatten() {
            of_sensor.entry(name).or_default().extend(*value);
        }
    }
    let usual = |name: &str, values: Vec<f64>| {
        let middle = median(values.clone())?;
        let apart = median(values.iter().map(|value| (value - middle).abs()).collect())?;
        // 1.4826 times the median distance is the deviation of a normal spread. No less than
        // rounding makes; and a share of the day is not odd for one reading lost or not.
        let least = if is_share(name) { 0.02 } else { 0.005 * middle.abs() + 1e-6 };
        Some((middle, (1.4826 * apart).max(least)))
    };
    let of_features = |features: BTreeMap<&String, Vec<f64>>| {
        features.into_iter().filter_map(|(name, v)| Some((name.clone(), usual(name, v)?))).collect()
    };
    values.into_iter().map(|(sensor, features)| (sensor, of_features(features))).collect()
}

fn why(day: &SensorDay, usual: Option<&Usual>, is_odd: bool) -> Vec<String> {
    let features = day.features.iter().flatten();
    let value_of = |name: &str| day.features.as_ref()?.get(name).copied().flatten();
    let usual_of = |name: &str| usual.and_then(|usual| usual.get(name)).copied();
    let mut why = Vec::new();
    if is_odd {
        let apart = |(name, value): (&String, &Option<f64>)| {
            let (middle, spread) = usual_of(name)?;
            Some((name.clone(), (*value)?, middle, ((*value)? - middle) / spread))
        };
        let mut parts: Vec<_> = features.filter_map(apart).collect();
        parts.sort_by(|a, b| b.3.abs().total_cmp(&a.3.abs()));
        for (name, value, middle, times) in parts.into_iter().take(REASONS) {
            why.push(in_words(&name, value, Some(middle), times, "its own days"));
        }
    } else {
        for part in day.prediction.iter().flat_map(|prediction| &prediction.top_features) {
            let Some(name) = &part.feature else { continue };
            let Some(value) = value_of(name) else { continue };
            let middle = usual_of(name).map(|(middle, _)| middle);
            why.push(in_words(name, value, middle, part.deviation, "the nearest known day"));
        }
    }
    if day.coverage < 0.8 {
        why.push(format!("only {:.0} % of the readings came", day.coverage * 100.0));
    }
    why
}

/// Whether a feature is a share from 0 to 1.
fn is_share(name: &str) -> bool {
    matches!(name, "repeat_share" | "day_coverage" | "longest_gap")
}

/// One feature in words: what it is, what this sensor usually has, and how far it lies from what.
fn in_words(name: &str, value: f64, usual: Option<f64>, times: f64, from: &str) -> String {
    let share = is_share(name);
    let show = |value: f64| if share { format!("{:.0} %", value * 100.0) } else { short(value) };
    let what = match name {
        "std" => "spread".into(),
        "min" => "lowest".into(),
        "max" => "highest".into(),
        "q10" | "q50" | "q90" => format!("{} % quantile", name.trim_start_matches('q')),
        "mean_abs_step" => "mean step".into(),
        "max_abs_step" => "largest step".into(),
        "repeat_share" => "repeated values".into(),
        "day_coverage" => "coverage".into(),
        "longest_gap" => "longest gap (of the day)".into(),
        _ => match name.strip_prefix("hour_") {
            Some(hour) => format!("at {hour} h"),
            None => name.to_owned(),
        },
    };
    let usually = usual.map(|usual| format!(", usually {}", show(usual))).unwrap_or_default();
    let side = if times < 0.0 { "below" } else { "above" };
    format!("{what} {}{usually} ({:.1} spreads {side} {from})", show(value), times.abs())
}

/// Three significant digits are enough to see what happened.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.1e}"),
    }
}

/// A planted fault and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct FaultOutcome {
    pub(super) sensor: String,
    pub(super) kind: &'static str,
    pub(super) days: Vec<String>,
    pub(super) found: bool,
    /// The best rank of its days; `None` if none was judged.
    pub(super) rank: Option<usize>,
    pub(super) novelty: Option<f64>,
}

/// How far down the ranking a fault still counts as found: twice as many sensor-days as there
/// are faulty ones, which is what someone would have to look through.
pub(super) fn looked_through(faults: &[(String, &'static str, Vec<String>)]) -> usize {
    2 * faults.iter().map(|(_, _, days)| days.len()).sum::<usize>()
}

/// Says for each fault (sensor, kind, days) whether it was found.
pub(super) fn judge(
    faults: &[(String, &'static str, Vec<String>)],
    ranking: &[Unusual],
) -> Vec<FaultOutcome> {
    let bound = looked_through(faults);
    let outcome = |(sensor, kind, days): &(String, &'static str, Vec<String>)| {
        let best = ranking.iter().find(|day| day.sensor == *sensor && days.contains(&day.day));
        FaultOutcome {
            sensor: sensor.clone(),
            kind,
            days: days.clone(),
            found: best.is_some_and(|day| day.rank <= bound),
            rank: best.map(|day| day.rank),
            novelty: best.and_then(|day| day.novelty),
        }
    };
    faults.iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn day(sensor: &str, date: &str, distance: f64, deviation: Option<f64>) -> SensorDay {
        let top = json!([{ "feature": "hour_03", "deviation": -4.25 }]);
        let prediction = json!({ "distance": distance, "novelty": 1.0, "top_features": top, "model_version": 2 });
        serde_json::from_value(json!({
            "gateway": "demo", "sensor": sensor, "quantity": "temperature", "date": date,
            "revision": 1, "samples": 288, "coverage": 1.0,
            "features": { "hour_03": distance, "hour_04": null },
            "prediction": prediction, "deviation": deviation,
        }))
        .unwrap()
    }

    #[test]
    fn far_from_known_days_and_from_its_own_days_ranks_first() {
        let days = [
            day("a", "2024-01-01", 1.0, Some(2.0)),
            day("a", "2024-01-02", 1.0, Some(2.0)),
            day("b", "2024-01-01", 9.0, Some(2.0)),
            day("c", "2024-01-01", 4.0, Some(2.0 + DECADE * 9.0_f64.log10())),
            day("d", "2024-01-01", 1.0, None),
        ];
        let ranking = rank(&days);
        let order: Vec<&str> = ranking.iter().map(|day| day.sensor.as_str()).collect();
        assert_eq!(order, ["c", "b", "a", "a", "d"]);
        assert!((ranking[0].score - 6.0).abs() < 1e-9, "4 and 9 times the median");
        assert_eq!(ranking[2].score, 1.0, "an ordinary day");
        assert_eq!(
            ranking[1].why,
            ["at 03 h 9.00, usually 9.00 (4.2 spreads below the nearest known day)"],
            "the model explains what it did not know"
        );
        assert_eq!(
            ranking[0].why,
            ["at 03 h 4.00, usually 4.00 (0.0 spreads above its own days)"],
            "its own days explain what it does not usually do"
        );
    }

    #[test]
    fn a_day_before_the_first_model_is_not_ranked() {
        let mut early = day("early", "2024-01-01", 1.0, Some(50.0));
        early.prediction = None;
        let ranking = rank(&[early, day("a", "2024-01-02", 1.0, Some(2.0))]);
        let order: Vec<&str> = ranking.iter().map(|day| day.sensor.as_str()).collect();
        assert_eq!(order, ["a"]);
    }

    #[test]
    fn a_fault_is_found_only_near_the_top() {
        let mut days: Vec<SensorDay> =
            (1..=9).map(|n| day("x", &format!("2024-01-0{n}"), f64::from(n), None)).collect();
        days.push(day("stuck", "2024-01-05", 99.0, None));
        days.push(day("subtle", "2024-01-05", 0.1, None));
        let fault = |sensor: &str| (sensor.to_owned(), "kind", vec!["2024-01-05".to_owned()]);
        let outcome = judge(&[fault("stuck"), fault("subtle"), fault("silent")], &rank(&days));
        let found: Vec<(bool, Option<usize>)> = outcome.iter().map(|f| (f.found, f.rank)).collect();
        assert_eq!(found, [(true, Some(1)), (false, Some(11)), (false, None)]);
    }
}
