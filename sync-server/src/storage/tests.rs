//! The database as a whole: what wins, what is acknowledged, what survives.

use daywise_core::{
    features::{FeatureSet, Features},
    model::Digest,
    quantity::Quantity,
    time::{LocalDate, UtcMillis},
    wire::{Entry, Item, Reported, SensorDay, SeqRange, Silence, Up},
};
use proptest::prelude::*;

use super::*;

mod scores;
mod silences;

const NOW: UtcMillis = UtcMillis(1_700_000_000_000);

fn day(sensor: &str, date: i32, revision: u32) -> SensorDay {
    // The content follows from the key, as it does on a gateway.
    let level = Some(revision as f32 + date as f32 / 100.0);
    SensorDay {
        sensor: sensor.into(),
        quantity: Quantity::Temperature,
        date: LocalDate(date),
        revision,
        samples: 24 * revision,
        coverage: 0.5,
        features: Some(Features::new(FeatureSet::Moments1, [level, None]).unwrap()),
        prediction: None,
        deviation: Some(1.5),
        score: None,
        reasons: [].into_iter().collect(),
        drift: None,
    }
}

fn up(days: impl IntoIterator<Item = (u64, SensorDay)>) -> Up {
    up_of(days.into_iter().map(|(seq, day)| (seq, Item::Day(day))))
}

fn up_of(items: impl IntoIterator<Item = (u64, Item)>) -> Up {
    let entries = items.into_iter().map(|(seq, item)| Entry { seq, item }).collect();
    Up { stream: u64::MAX, floor: 1, number: 9, entries }
}

async fn open() -> (Storage, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path().join("x.sqlite"), Missing::Create).await.unwrap();
    (storage, dir)
}

#[tokio::test]
async fn what_arrived_beyond_a_hole_survives_reopening_and_need_not_come_again() {
    let (storage, dir) = open().await;
    let batch = up([(1, day("a", 1, 1)), (2, day("b", 1, 1)), (4, day("c", 1, 1))]);
    let applied = storage.apply_up("gw", &batch, NOW).await.unwrap();
    assert!(applied.is_new_gateway);
    let ack = &applied.ack;
    assert_eq!((applied.days.changed, ack.up_to, ack.stream), (3, 2, u64::MAX));
    assert_eq!((ack.answers, ack.received.as_slice()), (9, &[SeqRange { first: 4, last: 4 }][..]));

    storage.close().await;
    let storage = Storage::open(dir.path().join("x.sqlite"), Missing::Refuse).await.unwrap();
    let asked = storage.apply_up("gw", &up([]), NOW).await.unwrap();
    assert_eq!(asked.ack, applied.ack, "an empty batch asks and changes nothing");
    let applied = storage.apply_up("gw", &up([(3, day("d", 1, 1))]), NOW).await.unwrap();
    assert_eq!((applied.ack.up_to, applied.ack.received.len()), (4, 0), "the hole is filled");
    let applied = storage.apply_up("gw", &up([(4, day("c", 1, 1))]), NOW).await.unwrap();
    assert_eq!((applied.days.unchanged, applied.ack.up_to), (1, 4));
    assert!(!applied.is_new_gateway);
    let days = storage.sensor_days(Some("gw"), 10, 0).await.unwrap();
    assert_eq!(days.len(), 4);
    assert_eq!(days[0].day, day("a", 1, 1), "reads back as it was sent");
}

#[tokio::test]
async fn gateways_and_streams_are_apart() {
    let (storage, _dir) = open().await;
    storage.apply_up("a", &up([(1, day("s", 1, 5))]), NOW).await.unwrap();
    let other = storage.apply_up("b", &up([(2, day("s", 1, 1))]), NOW).await.unwrap();
    assert_eq!((other.days.changed, other.ack.up_to), (1, 0));
    let mut fresh = up([(1, day("s", 2, 1))]);
    fresh.stream = 7;
    let fresh = storage.apply_up("a", &fresh, NOW).await.unwrap();
    assert_eq!(fresh.ack.up_to, 1);
}

#[tokio::test]
async fn an_impossible_day_is_left_out_without_stopping_its_stream() {
    let (storage, _dir) = open().await;
    let mut wrong = day("", 1, 1);
    let batch = up([(1, wrong.clone()), (2, day("b", 1, 1))]);
    let applied = storage.apply_up("gw", &batch, NOW).await.unwrap();
    assert_eq!((applied.days.refused, applied.days.changed, applied.ack.up_to), (1, 1, 2));
    wrong = SensorDay { coverage: f32::NAN, ..day("x", 1, 1) };
    let applied = storage.apply_up("gw", &up([(3, wrong)]), NOW).await.unwrap();
    assert_eq!((applied.days.refused, applied.ack.up_to), (1, 3));
}

#[tokio::test]
async fn new_days_are_counted_by_arrival_not_by_clock() {
    let (storage, _dir) = open().await;
    let days = (1..=5_u64).map(|seq| (seq, day("a", i32::try_from(seq).unwrap(), 1)));
    storage.apply_up("gw", &up(days), NOW).await.unwrap();
    let seen = storage.newest_arrival().await.unwrap();
    assert_eq!(storage.arrived_since(seen).await.unwrap(), 0);
    // The clock went back; a revision and a day without features arrive.
    let mut thin = day("b", 1, 1);
    thin.features = None;
    let batch = up([(6, day("a", 1, 2)), (7, thin), (8, day("a", 2, 1))]);
    storage.apply_up("gw", &batch, UtcMillis(0)).await.unwrap();
    assert_eq!(storage.arrived_since(seen).await.unwrap(), 1);
}

#[tokio::test]
async fn the_horizon_hides_dates_of_a_wrong_clock() {
    let (storage, _dir) = open().await;
    let batch = up([(1, day("a", 10, 1)), (2, day("a", 9_999, 1))]);
    storage.apply_up("gw", &batch, NOW).await.unwrap();
    assert_eq!(storage.newest_date(LocalDate(20)).await.unwrap(), Some(LocalDate(10)));
    assert_eq!(storage.newest_date(LocalDate(i32::MAX)).await.unwrap(), Some(LocalDate(9_999)));
    assert_eq!(storage.newest_date(LocalDate(5)).await.unwrap(), None);
}

#[tokio::test]
async fn a_gateway_ahead_of_the_server_is_overtaken() {
    let (storage, _dir) = open().await;
    let reported = Reported { online: true, generation: 41, ..Reported::default() };
    assert!(storage.record_reported("gw", &reported, NOW).await.unwrap(), "it is new");
    assert_eq!(storage.desired(Some("gw")).await.unwrap()[0].generation, 42);
    assert!(!storage.record_reported("gw", &reported, NOW).await.unwrap());
    storage.desire(Some(3)).await.unwrap();
    storage.desire(Some(3)).await.unwrap();
    let gateway = &storage.gateways().await.unwrap()[0];
    assert_eq!((gateway.generation, gateway.desired_version), (43, Some(3)));
    assert_eq!(gateway.reported.as_ref().unwrap()["online"], true);
}

fn model(version: u32, parent: Option<u32>, refusal: Option<&str>) -> NewModel {
    NewModel {
        version,
        digest: Digest([1; 32]),
        parent,
        created: NOW,
        refusal: refusal.map(Into::into),
        from: LocalDate(0),
        to: LocalDate(89),
        sensor_days: 100,
        inertia: 1.0,
        families: serde_json::json!([]),
        arrival: i64::from(version) * 10,
        artifact: vec![1, 2, 3],
    }
}

#[tokio::test]
async fn a_refused_version_never_becomes_champion() {
    let (storage, _dir) = open().await;
    assert_eq!(storage.next_version().await.unwrap(), 1);
    assert!(matches!(storage.roll_back().await, Err(RegistryError::NothingEarlier)));
    storage.enter_model(&model(1, None, None)).await.unwrap();
    storage.enter_model(&model(2, Some(1), None)).await.unwrap();
    storage.enter_model(&model(3, Some(2), Some("worse"))).await.unwrap();
    assert_eq!(storage.champion_version().await.unwrap(), Some(2));
    assert!(matches!(storage.promote(3).await, Err(RegistryError::Refused { .. })));
    assert!(matches!(storage.promote(9).await, Err(RegistryError::Unknown(9))));
    let status: Vec<&str> =
        storage.models().await.unwrap().iter().map(|model| model.status).collect();
    assert_eq!(status, ["candidate", "champion", "refused"]);

    assert_eq!(storage.roll_back().await.unwrap(), 1);
    assert_eq!(storage.champion_version().await.unwrap(), Some(1));
    assert!(matches!(storage.roll_back().await, Err(RegistryError::NothingEarlier)));
    assert_eq!(storage.next_version().await.unwrap(), 4, "numbers are never used again");
    assert_eq!(storage.trained_arrival().await.unwrap(), 30);
    assert_eq!(storage.offered(1).await.unwrap(), None, "damaged bytes are never offered");
}

#[tokio::test]
async fn a_database_of_a_newer_server_is_left_alone() {
    let (storage, dir) = open().await;
    sqlx::query("INSERT INTO schema_version (version) VALUES (99)")
        .execute(&storage.pool)
        .await
        .unwrap();
    storage.close().await;
    let again = Storage::open(dir.path().join("x.sqlite"), Missing::Create).await;
    assert!(matches!(again, Err(StorageError::TooNew { found: 99, newest: 3 })));
    let absent = Storage::open(dir.path().join("absent.sqlite"), Missing::Refuse).await;
    assert!(matches!(absent, Err(StorageError::Open { .. })));
}

#[tokio::test]
async fn a_database_of_the_first_schema_is_brought_forward() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    let before = "CREATE TABLE schema_version (version BIGINT PRIMARY KEY); \
                  INSERT INTO schema_version VALUES (1); \
                  INSERT INTO streams (gateway, stream, contiguous, used_ms) \
                  VALUES ('gw', -1, 5, 0); \
                  INSERT INTO sensor_days (gateway, sensor, date, quantity, revision, samples, \
                  coverage, deviation, arrival) VALUES ('gw', 'old', 1, 1, 1, 24, 0.5, 1.5, 1);";
    sqlx::raw_sql(include_str!("migrations/0001_start.sql")).execute(&pool).await.unwrap();
    sqlx::raw_sql(before).execute(&pool).await.unwrap();
    pool.close().await;

    let storage = Storage::open(path, Missing::Refuse).await.unwrap();
    let applied = storage.apply_up("gw", &up([(7, day("a", 1, 1))]), NOW).await.unwrap();
    assert_eq!(applied.ack.up_to, 5);
    assert_eq!(applied.ack.received, [SeqRange { first: 7, last: 7 }]);
    let days = storage.sensor_days(None, 10, 0).await.unwrap();
    let before = SensorDay { samples: 24, features: None, ..day("old", 1, 1) };
    assert_eq!(days[1].day, before, "without what the first schema did not know");
}

/// Sensor, date, revision.
type Key = (u8, u8, u32);

fn batches() -> impl Strategy<Value = (Vec<Key>, Vec<Key>)> {
    // Two sensors, two dates, three revisions: every clash is common.
    prop::collection::vec((0_u8..2, 0_u8..2, 1_u32..4), 1..12).prop_flat_map(|sent| {
        let twice = [sent.clone(), sent.clone()].concat();
        (Just(sent), Just(twice).prop_shuffle())
    })
}

/// Days under their sequence numbers, and an order, with repeats, to send them in: few, so that
/// holes, clashes and repeats are common.
fn deliveries() -> impl Strategy<Value = (Vec<Key>, Vec<usize>)> {
    prop::collection::vec((0_u8..2, 0_u8..2, 1_u32..4), 1..10).prop_flat_map(|days| {
        let seqs: Vec<usize> = (0..days.len()).chain(0..days.len()).collect();
        (Just(days), Just(seqs).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The highest revision wins, whatever the order and however often it comes.
    #[test]
    fn the_table_does_not_depend_on_order_or_repeats((sent, again) in batches()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let table = |days: Vec<Key>| {
            runtime.block_on(async {
                let (storage, _dir) = open().await;
                for (seq, (sensor, date, revision)) in days.into_iter().enumerate() {
                    let day = day(&sensor.to_string(), i32::from(date), revision);
                    let batch = up([(seq as u64 + 1, day)]);
                    storage.apply_up("gw", &batch, NOW).await.unwrap();
                }
                storage.sensor_days(None, 100, 0).await.unwrap()
            })
        };
        let expected = table(sent.clone());
        for stored in &expected {
            let key = |(sensor, date, _): &&Key| {
                sensor.to_string() == stored.day.sensor && i32::from(*date) == stored.day.date.0
            };
            let highest = sent.iter().filter(key).map(|(_, _, revision)| *revision).max();
            prop_assert_eq!(Some(stored.day.revision), highest);
        }
        prop_assert_eq!(table(again), expected);
    }

    /// In whatever order and however often batches arrive, the same is acknowledged and kept as
    /// if all had come once and in order; and never more than has arrived.
    #[test]
    fn any_order_of_batches_comes_to_the_same(
        (days, order) in deliveries(), size in 1_usize..4, cut in 0_usize..20
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let entry = |index: usize| {
            let (sensor, date, revision) = days[index];
            (index as u64 + 1, day(&sensor.to_string(), i32::from(date), revision))
        };
        runtime.block_on(async {
            let (in_order, _dir) = open().await;
            let all = up((0..days.len()).map(entry));
            let expected = in_order.apply_up("gw", &all, NOW).await.unwrap().ack;
            let (storage, _dir) = open().await;
            let mut arrived = std::collections::BTreeSet::new();
            let mut ack = None;
            for (sent, batch) in order.chunks(size).enumerate() {
                if sent == cut {
                    continue; // Lost; comes again at the end.
                }
                arrived.extend(batch.iter().map(|index| *index as u64 + 1));
                let batch = up(batch.iter().copied().map(entry));
                let now = storage.apply_up("gw", &batch, NOW).await.unwrap().ack;
                prop_assert!((1..=now.up_to).all(|seq| arrived.contains(&seq)));
                let beyond = now.received.iter().flat_map(|range| range.first..=range.last);
                prop_assert_eq!(
                    (1..=now.up_to).chain(beyond).collect::<Vec<_>>(),
                    arrived.iter().copied().collect::<Vec<_>>()
                );
                ack = Some(now);
            }
            if let Some(batch) = order.chunks(size).nth(cut) {
                let batch = up(batch.iter().copied().map(entry));
                ack = Some(storage.apply_up("gw", &batch, NOW).await.unwrap().ack);
            }
            prop_assert_eq!(ack, Some(expected));
            let table = async |storage: &Storage| storage.sensor_days(None, 100, 0).await.unwrap();
            let (found, expected) = (table(&storage).await, table(&in_order).await);
            let keys = |days: &[StoredDay]| -> Vec<_> {
                days.iter().map(|d| (d.day.sensor.clone(), d.day.date, d.day.revision)).collect()
            };
            prop_assert_eq!(keys(&found), keys(&expected));
            Ok(())
        })?;
    }
}
