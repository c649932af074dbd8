//! How unusual a day is, and why.

use daywise_core::baseline::{DayPart, Drift, Reason, Subject};

use super::*;

fn scored() -> SensorDay {
    let reasons = [
        Reason { subject: Subject::Part(DayPart::Night), deviate: 3.5, value: 24.5, usual: 21.25 },
        Reason { subject: Subject::Feature(1), deviate: -2.0, value: 0.25, usual: 0.75 },
    ];
    let ends = Some(LocalDate(19_801));
    SensorDay {
        score: Some(0.875),
        reasons: reasons.into_iter().collect(),
        drift: Some(Drift { drift: 1.25, feature: 0, per_day: -0.5, ends }),
        ..day("a", 1, 1)
    }
}

#[tokio::test]
async fn score_reasons_and_drift_read_back_and_are_shown_by_name() {
    let (storage, _dir) = open().await;
    storage.apply_up("gw", &up([(1, scored())]), NOW).await.unwrap();
    let days = storage.sensor_days(Some("gw"), 10, 0).await.unwrap();
    assert_eq!(days[0].day, scored());
    let shown = serde_json::to_value(&days[0]).unwrap();
    assert_eq!(shown["score"], 0.875);
    assert_eq!(
        shown["reasons"],
        serde_json::json!([
            {"subject": "night", "value": 24.5, "usual": 21.25, "deviate": 3.5},
            {"subject": "daily_std", "value": 0.25, "usual": 0.75, "deviate": -2.0},
        ])
    );
    let drift = serde_json::json!(
        {"feature": "daily_mean", "drift": 1.25, "per_day": -0.5, "ends": "2024-03-19"}
    );
    assert_eq!(shown["drift"], drift);

    // A revision of which nothing is said takes all of it back.
    storage.apply_up("gw", &up([(2, day("a", 1, 2))]), NOW).await.unwrap();
    let days = storage.sensor_days(Some("gw"), 10, 0).await.unwrap();
    assert_eq!(days[0].day, day("a", 1, 2));
    let shown = serde_json::to_value(&days[0]).unwrap();
    assert!(shown["score"].is_null() && shown["drift"].is_null(), "{shown}");
    assert_eq!(shown["reasons"], serde_json::json!([]));
}

#[tokio::test]
async fn a_day_whose_score_reasons_or_drift_are_no_numbers_is_left_out() {
    let (storage, _dir) = open().await;
    let reason = scored().reasons[0];
    let drift = scored().drift.unwrap();
    let wrong_reason = |reason| SensorDay { reasons: [reason].into_iter().collect(), ..scored() };
    let wrong_drift = |drift| SensorDay { drift: Some(drift), ..scored() };
    let wrong = [
        SensorDay { score: Some(f32::NAN), ..scored() },
        wrong_reason(Reason { deviate: f32::NAN, ..reason }),
        wrong_reason(Reason { value: f32::INFINITY, ..reason }),
        wrong_reason(Reason { usual: f32::NEG_INFINITY, ..reason }),
        wrong_drift(Drift { drift: f32::NAN, ..drift }),
        wrong_drift(Drift { per_day: f32::INFINITY, ..drift }),
    ];
    for (seq, wrong) in (1..).zip(wrong) {
        let applied = storage.apply_up("gw", &up([(seq, wrong.clone())]), NOW).await.unwrap();
        assert_eq!((applied.days.refused, applied.ack.up_to), (1, seq), "{wrong:?}");
    }
}
