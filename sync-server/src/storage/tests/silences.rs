//! Silences in the database.

use super::*;

fn silence(sensor: u8, since: i64, until: Option<i64>) -> Silence {
    Silence {
        sensor: sensor.to_string(),
        quantity: Quantity::Humidity,
        since: UtcMillis(since),
        until: until.map(UtcMillis),
        expected_every_ms: 60_000,
    }
}

async fn apply(storage: &Storage, first: u64, silences: &[Silence]) -> Tally {
    let items = silences.iter().cloned().map(Item::Silence);
    let applied = storage.apply_up("gw", &up_of((first..).zip(items)), NOW).await.unwrap();
    assert_eq!(applied.days, Tally::default());
    applied.silences
}

#[tokio::test]
async fn a_silence_is_kept_once_and_its_end_is_kept_for_good() {
    let (storage, _dir) = open().await;
    let (begun, ended) = (silence(1, 10, None), silence(1, 10, Some(30)));
    let tally = apply(&storage, 1, &[begun.clone(), begun.clone(), ended.clone(), begun]).await;
    assert_eq!((tally.changed, tally.unchanged, tally.refused), (2, 2, 0));
    let later = silence(1, 40, None);
    apply(&storage, 5, std::slice::from_ref(&later)).await;
    let stored = storage.silences(Some("gw"), 10, 0).await.unwrap();
    assert_eq!(stored.iter().map(|s| &s.silence).collect::<Vec<_>>(), [&ended, &later]);
    assert_eq!(storage.silences(Some("other"), 10, 0).await.unwrap(), []);
    assert_eq!(storage.count_silences().await.unwrap(), 2);
}

#[tokio::test]
async fn an_impossible_silence_is_left_out_without_stopping_its_stream() {
    let (storage, _dir) = open().await;
    let nameless = Silence { sensor: String::new(), ..silence(1, 10, None) };
    let long = Silence { sensor: "x".repeat(MAX_SENSOR_BYTES + 1), ..silence(1, 10, None) };
    let never = Silence { expected_every_ms: 0, ..silence(1, 10, None) };
    let backwards = silence(1, 10, Some(9));
    let tally = apply(&storage, 1, &[nameless, long, never, backwards]).await;
    assert_eq!((tally.changed, tally.refused), (0, 4));
    let applied = storage.apply_up("gw", &up([]), NOW).await.unwrap();
    assert_eq!(applied.ack.up_to, 4);
}

#[tokio::test]
async fn of_too_many_silences_the_oldest_go() {
    let (storage, _dir) = open().await;
    // Two sensors fall silent at each instant.
    let of = |n: u64| silence(u8::try_from(n % 2).unwrap(), i64::try_from(n / 2).unwrap(), None);
    let first: Vec<Silence> = (0..10_003).map(of).collect();
    apply(&storage, 1, &first).await;
    assert_eq!(storage.count_silences().await.unwrap(), 10_000);
    let oldest = storage.silences(None, 1, 0).await.unwrap().remove(0);
    assert_eq!(oldest.silence, of(3), "0, 1 and 2 went");
    apply(&storage, 20_000, &[of(0)]).await;
    assert_eq!(storage.silences(None, 1, 0).await.unwrap(), [oldest], "and do not come back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Newest first, the end may come before the beginning.
    #[test]
    fn the_silences_do_not_depend_on_order_or_repeats(
        (sent, again) in prop::collection::vec((0_u8..2, 0_i64..2, prop::option::of(5_i64..7)), 1..10)
            .prop_flat_map(|sent| {
                let twice = [sent.clone(), sent.clone()].concat();
                (Just(sent), Just(twice).prop_shuffle())
            })
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let table = |sent: Vec<(u8, i64, Option<i64>)>| {
            runtime.block_on(async {
                let (storage, _dir) = open().await;
                for (seq, (sensor, since, until)) in (1..).zip(sent) {
                    apply(&storage, seq, &[silence(sensor, since, until)]).await;
                }
                storage.silences(None, 100, 0).await.unwrap()
            })
        };
        prop_assert_eq!(table(sent), table(again));
    }
}
