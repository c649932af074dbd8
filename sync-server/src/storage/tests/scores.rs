//! How unusual a day is, why, and into which cluster it fell.

use daywise_core::{
    baseline::{DayPart, Drift, Reason, Subject},
    predict::Prediction,
};

use super::*;
use crate::cluster_mix::Predicted;

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

fn predicted(sensor: &str, date: i32, version: u32, cluster: u16) -> SensorDay {
    let top = [].into_iter().collect();
    let prediction =
        Prediction { cluster, distance: 1.0, novelty: 0.5, top, model_version: version };
    SensorDay { prediction: Some(prediction), ..day(sensor, date, 1) }
}

#[tokio::test]
async fn days_are_counted_by_gateway_date_version_and_cluster() {
    let (storage, _dir) = open().await;
    let humid = SensorDay { quantity: Quantity::Humidity, ..predicted("h", 2, 1, 0) };
    let first = [
        predicted("a", 1, 1, 0),
        predicted("b", 1, 1, 0),
        predicted("c", 1, 1, 4),
        predicted("a", 2, 2, 0),
        humid,
        day("d", 2, 1),
        predicted("a", 9, 2, 0),
    ];
    storage.apply_up("gw-1", &up((1..).zip(first)), NOW).await.unwrap();
    storage.apply_up("gw-3", &up([(1, predicted("a", 1, 1, 0))]), NOW).await.unwrap();
    storage.apply_up("gw-4", &up([(1, predicted("a", 1, 1, 0))]), NOW).await.unwrap();
    let dates = (LocalDate(1), LocalDate(8));
    let counted = storage.cluster_days(("gw-1", "gw-3"), dates).await.unwrap();
    let mut found: Vec<_> = counted
        .iter()
        .map(|one| {
            assert_eq!(one.set, FeatureSet::Moments1);
            let Predicted { date, version, cluster, sensor_days } = one.predicted;
            (one.gateway.as_str(), one.quantity.name(), date.0, version, cluster, sensor_days)
        })
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("gw-1", "humidity", 2, 1, 0, 1),
            ("gw-1", "temperature", 1, 1, 0, 2),
            ("gw-1", "temperature", 1, 1, 4, 1),
            ("gw-1", "temperature", 2, 2, 0, 1),
            ("gw-3", "temperature", 1, 1, 0, 1),
        ]
    );
    // A revision that another version put elsewhere is counted there, and only there.
    let revised = SensorDay { revision: 2, ..predicted("c", 1, 2, 7) };
    storage.apply_up("gw-1", &up([(8, revised)]), NOW).await.unwrap();
    let counted = storage.cluster_days(("gw-1", "gw-1"), dates).await.unwrap();
    let of = |version, cluster| {
        let is = |one: &&ClusterDays| {
            (one.predicted.version, one.predicted.cluster) == (version, cluster)
        };
        counted.iter().filter(is).count()
    };
    assert_eq!((of(1, 4), of(2, 7)), (0, 1));
}

#[tokio::test]
async fn counting_reads_the_days_that_count_and_no_others() {
    let (storage, _dir) = open().await;
    let plan = sqlx::query(&format!("EXPLAIN QUERY PLAN {}", clusters::COUNT))
        .fetch_all(&storage.pool)
        .await
        .unwrap();
    let steps: Vec<String> = plan.iter().map(|row| row.try_get("detail").unwrap()).collect();
    let seek = "COVERING INDEX sensor_days_clusters (gateway=? AND date>? AND date<?)";
    assert!(steps.iter().any(|step| step.contains(seek)), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
}

#[tokio::test]
async fn a_damaged_or_unknown_version_has_no_mix() {
    let (storage, _dir) = open().await;
    storage.enter_model(&model(1, None, None)).await.unwrap();
    assert_eq!(storage.trained_mix(1).await.unwrap(), None);
    assert_eq!(storage.trained_mix(2).await.unwrap(), None);
}
