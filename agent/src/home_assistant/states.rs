//! What the entities' topics say: `…/last_day` and `…/problem`.

use serde_json::{Value, json};

use super::problem::{Cause, Rules, Trouble};
use crate::figures::{Figure, LastDay, words};

/// `…/last_day`: the last closed day, with what sets it apart in words.
#[must_use]
pub fn last_day_message(figure: &Figure, day: &LastDay) -> Value {
    let said = day.prediction.as_ref();
    let top = day.top.iter().map(|part| words::describe(part, day.set, figure.quantity));
    let top: Vec<String> = top.collect();
    json!({
        "sensor": figure.id,
        "day": day.date.to_string(),
        "revision": day.revision,
        "samples": day.samples,
        "cluster": said.map(|said| said.cluster),
        "novelty": said.map(|said| said.novelty),
        "score": day.score,
        "why": day.in_words(figure.quantity),
        "top_features": top,
        "model_version": said.map(|said| said.model_version),
        "deviation": day.deviation,
        "drift": day.drift.map(|drift| drift.drift),
    })
}

/// `…/problem`: whether there is one, why, and since when.
#[must_use]
pub fn problem_message(figure: &Figure, trouble: &Trouble, rules: &Rules) -> Value {
    let is_on = !trouble.causes.is_empty();
    let causes = trouble.causes.iter();
    json!({
        "sensor": figure.id,
        "problem": if is_on { "ON" } else { "OFF" },
        "causes": causes.clone().map(|cause| cause.name()).collect::<Vec<_>>(),
        "why": causes.flat_map(|cause| why(*cause, figure, rules)).collect::<Vec<_>>(),
        "since": trouble.since.map(|since| since.to_string()),
    })
}

/// A cause in words.
fn why(cause: Cause, figure: &Figure, rules: &Rules) -> Vec<String> {
    match cause {
        Cause::Silent => vec![match figure.silent_since {
            Some(since) => format!("silent since {since}"),
            None => "was silent a short while ago".to_owned(),
        }],
        Cause::LiveScore => {
            let unit = words::unit(figure.quantity);
            let value = figure.last.map(|last| format!(", last with {} {unit}", last.value));
            let value = value.unwrap_or_default();
            vec![format!("live score above {}{}", rules.score, value.trim_end())]
        }
        Cause::Day => figure.day.as_ref().map(|day| day_apart(figure, day)).unwrap_or_default(),
        Cause::Drift => {
            let drift = figure.day.as_ref().and_then(|day| Some((day.drift?, day.set)));
            drift
                .map(|(drift, set)| words::drift(&drift, set, figure.quantity))
                .into_iter()
                .collect()
        }
    }
}

fn day_apart(figure: &Figure, day: &LastDay) -> Vec<String> {
    day.in_words(figure.quantity).into_iter().map(|why| format!("{}: {why}", day.date)).collect()
}

#[cfg(test)]
mod tests {
    use daywise_core::{
        baseline::{DayPart, Drift, Reason, Subject},
        features::FeatureSet,
        quantity::Quantity,
        reading::Sample,
        time::{LocalDate, UtcMillis},
    };

    use super::*;
    use crate::figures::{Part, Said};

    fn figure() -> Figure {
        let warm_night = Reason {
            subject: Subject::Part(DayPart::Night),
            deviate: 4.0,
            value: 23.4,
            usual: 20.3,
        };
        let top = Part { feature: 3, deviation: 4.2, value: Some(24.1), usual: Some(20.3) };
        Figure {
            id: "kitchen/temperature".into(),
            quantity: Quantity::Temperature,
            last: Some(Sample { at: UtcMillis(1_000), value: 31.5 }),
            score: Some(0.999),
            silent_since: Some(UtcMillis(2_000)),
            day: Some(LastDay {
                date: LocalDate(19_853),
                start: UtcMillis(0),
                revision: 2,
                samples: 1_440,
                prediction: Some(Said { cluster: 4, novelty: 0.9995, model_version: 7 }),
                deviation: Some(5.5),
                set: FeatureSet::Profile1,
                top: vec![top],
                score: Some(0.997),
                reasons: vec![warm_night],
                drift: Some(Drift { drift: 1.5, feature: 24, per_day: -0.014, ends: None }),
            }),
        }
    }

    const RULES: Rules = Rules { score: 0.99, after_ms: 0, novelty: 0.999, day_score: 0.995 };

    #[test]
    fn a_day_is_told_with_what_sets_it_apart() {
        let figure = figure();
        let message = last_day_message(&figure, figure.day.as_ref().unwrap());
        let expected = json!({
            "sensor": "kitchen/temperature",
            "day": "2024-05-10",
            "revision": 2,
            "samples": 1_440,
            "cluster": 4,
            "novelty": 0.9995_f32,
            "score": 0.997_f32,
            "why": ["night 3.1 °C warmer than usual"],
            "drift": 1.5,
            "top_features": ["mean from 03:00 to 04:00 higher: 24.1 °C, usually 20.3 °C"],
            "model_version": 7,
            "deviation": 5.5,
        });
        assert_eq!(message, expected);
    }

    #[test]
    fn a_day_without_a_model_has_every_key_all_the_same() {
        let mut figure = figure();
        let mut day = figure.day.take().unwrap();
        (day.prediction, day.top) = (None, Vec::new());
        let message = last_day_message(&figure, &day);
        for key in ["cluster", "novelty", "model_version"] {
            assert_eq!(message.get(key), Some(&Value::Null), "a template asks for it");
        }
    }

    #[test]
    fn each_cause_of_a_problem_is_explained() {
        let causes = vec![Cause::Silent, Cause::LiveScore, Cause::Day, Cause::Drift];
        let trouble = Trouble { causes, since: Some(UtcMillis(1_000)) };
        let message = problem_message(&figure(), &trouble, &RULES);
        assert_eq!(message["problem"], "ON");
        assert_eq!(message["causes"], json!(["silent", "live_score", "day", "drift"]));
        assert_eq!(message["since"], "1970-01-01T00:00:01Z");
        let expected = json!([
            "silent since 1970-01-01T00:00:02Z",
            "live score above 0.99, last with 31.5 °C",
            "2024-05-10: night 3.1 °C warmer than usual",
            "mean falls by 0.014 °C a day",
        ]);
        assert_eq!(message["why"], expected);
    }

    #[test]
    fn no_problem_is_told_too() {
        let message = problem_message(&figure(), &Trouble::default(), &RULES);
        assert_eq!(message["problem"], "OFF");
        assert_eq!((&message["why"], &message["since"]), (&json!([]), &Value::Null));
    }
}
