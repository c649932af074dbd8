//! The pipeline on a real store, without a broker: what is delivered, when the power goes.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use daywise_core::{
    reading::SensorIx,
    time::{HOUR_MS, LocalDate, LocalDay},
    wire::{Item, Silence},
};
use proptest::prelude::*;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::store::{DayRecord, StoreOptions};

/// 2024-05-10.
const DAY: LocalDate = LocalDate(19_853);

pub(super) fn at(hour: i64) -> UtcMillis {
    LocalDay::utc(DAY).start + hour * HOUR_MS
}

/// A gateway whose power can go.
pub(super) struct Gateway {
    pub(super) pipeline: Pipeline,
    runtime: tokio::runtime::Runtime,
    acks: (mpsc::Sender<Acks>, mpsc::Receiver<Acks>),
    /// Delivered and not yet acknowledged.
    unacked: Vec<(String, String, u16)>,
    now: UtcMillis,
    packet: u16,
}

fn pipeline(dir: &Path) -> Pipeline {
    pipeline_in(dir, "UTC")
}

fn pipeline_in(dir: &Path, zone: &str) -> Pipeline {
    let outputs = crate::mqtt::outputs_to_nobody(Arc::default());
    pipeline_with(dir, zone, "", outputs)
}

pub(super) fn pipeline_with(dir: &Path, zone: &str, more: &str, outputs: Outputs) -> Pipeline {
    let text = format!(
        r#"
        gateway = "gw"
        state_dir = "{}"
        mqtt = {{ url = "mqtt://localhost" }}
        sources = [{{ topic = "r/{{sensor}}" }}, {{ topic = "f/{{sensor}}", fields = ["x", "y"] }}]
        features = {{ set = "moments/1" }}
        clock = {{ source = "topic", topic = "clock" }}
        {more}
        "#,
        dir.display()
    );
    let config = AgentConfig::parse(&text).unwrap();
    let opened = Store::open(&dir.join("store"), &StoreOptions::default()).unwrap();
    assert!(opened.set_aside.is_none());
    let metrics = Arc::new(Metrics::default());
    metrics.set(Counter::Connected, 1);
    let links = Links {
        model: watch::channel(None).1,
        outbox_ready: Arc::default(),
        outputs,
        health: Arc::default(),
        heartbeat: Arc::default(),
        seen: Arc::default(),
        figures: Arc::new(Figures::new(100)),
        metrics,
    };
    let calendar = Calendar::new(zone).unwrap();
    Pipeline::new(&config, calendar, Arc::new(opened.store), links).unwrap()
}

impl Gateway {
    fn start(dir: &Path) -> Self {
        Self::start_with(pipeline(dir))
    }

    pub(super) fn start_with(pipeline: Pipeline) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let acks = mpsc::channel(16);
        let (unacked, now, packet) = (Vec::new(), at(0), 0);
        let mut gateway = Self { pipeline, runtime, acks, unacked, now, packet };
        gateway.tick(at(0));
        gateway
    }

    pub(super) fn give(&mut self, topic: &str, payload: &str, packet: u16, dup: bool) {
        let payload = payload.to_owned().into_bytes().into();
        let delivery =
            Delivery { topic: topic.into(), payload, packet: Some(packet), dup, retained: false };
        let burst = Burst { connection: 1, deliveries: vec![delivery] };
        let stop = CancellationToken::new();
        self.runtime.block_on(self.pipeline.take(burst, &self.acks.0, &stop)).unwrap();
    }

    pub(super) fn tick(&mut self, now: UtcMillis) {
        self.now = self.now.max(now);
        self.give("clock", &self.now.0.to_string(), 1, false);
        let stop = CancellationToken::new();
        self.runtime.block_on(self.pipeline.release(&self.acks.0, &stop)).unwrap();
        self.runtime.block_on(self.pipeline.close_days(&self.acks.0, &stop)).unwrap();
    }

    pub(super) fn deliver(&mut self, sensor: &str, payload: &str) {
        self.deliver_to(format!("r/{sensor}"), payload);
    }

    fn deliver_to(&mut self, topic: String, payload: &str) {
        self.packet += 1;
        let packet = self.packet;
        self.unacked.push((topic.clone(), payload.to_owned(), packet));
        self.give(&topic, payload, packet, false);
    }

    pub(super) fn commit(&mut self) {
        let stop = CancellationToken::new();
        self.runtime.block_on(self.pipeline.commit(&self.acks.0, &stop)).unwrap();
        while self.acks.1.try_recv().is_ok() {}
        self.unacked.clear();
    }

    /// Written, but the power goes before the acknowledgement is out.
    fn commit_unheard(&mut self) {
        let unacked = self.unacked.clone();
        self.commit();
        self.unacked = unacked;
    }

    /// The power goes, and comes back; the broker delivers again what was not acknowledged.
    fn power_cut(mut self, dir: &Path) -> Self {
        let (now, packet) = (self.now, self.packet);
        let again = std::mem::take(&mut self.unacked);
        drop(self);
        let mut next = Self { packet, ..Self::start(dir) };
        next.tick(now);
        for (topic, payload, packet) in again {
            next.unacked.push((topic.clone(), payload.clone(), packet));
            next.give(&topic, &payload, packet, true);
        }
        next
    }

    fn record(&self, number: u32) -> Option<DayRecord> {
        self.pipeline.store.day_record(DAY, SensorIx(number)).unwrap()
    }

    fn values(&self, number: u32) -> Vec<f64> {
        let sensor = SensorIx(number);
        let samples = self.pipeline.store.chunk(DAY, sensor).unwrap();
        samples.iter().map(|sample| sample.value).collect()
    }

    fn tell_silences(&mut self) {
        let stop = CancellationToken::new();
        self.runtime.block_on(self.pipeline.tell_silences(&self.acks.0, &stop)).unwrap();
    }

    fn told(&self) -> Vec<Silence> {
        let entries = self.pipeline.store.outbox_batch(1, 1 << 20).unwrap();
        let silences = entries.into_iter().filter_map(|entry| match entry.item {
            Item::Silence(silence) => Some(silence),
            Item::Day(_) => None,
        });
        silences.collect()
    }

    fn refused(&self, reason: &str) -> u64 {
        self.pipeline.links.metrics.refused().get(reason).copied().unwrap_or(0)
    }
}

pub(super) fn stamped(at: UtcMillis, value: f64) -> String {
    format!("{{\"ts\":{},\"value\":{value}}}", at.0)
}

#[test]
fn of_two_values_for_an_instant_the_first_stays_and_the_other_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.tick(at(10));
    for (hour, value) in [(3, 1.0), (5, 2.0), (3, 9.0), (5, 2.0), (3, 1.0)] {
        gateway.deliver("a", &stamped(at(hour), value));
    }
    gateway.commit();
    assert_eq!(gateway.values(0), [1.0, 2.0]);
    assert_eq!((gateway.refused("conflict"), gateway.refused("duplicate")), (1, 2));
    let mut gateway = gateway.power_cut(dir.path());
    gateway.deliver("a", &stamped(at(3), 9.0));
    gateway.deliver("a", &stamped(at(3), 1.0));
    gateway.commit();
    assert_eq!(gateway.values(0), [1.0, 2.0], "also after a restart");
    assert_eq!((gateway.refused("conflict"), gateway.refused("duplicate")), (1, 1));
}

#[test]
fn a_message_without_a_time_that_comes_again_is_no_second_reading() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.tick(at(10));
    gateway.deliver("a", "20");
    gateway.deliver("a", "21");
    gateway.commit_unheard();
    gateway.deliver("a", "22");
    let mut gateway = gateway.power_cut(dir.path());
    gateway.commit();
    assert_eq!(gateway.values(0), [20.0, 21.0, 22.0], "two were kept before, one was not");
    assert_eq!(gateway.refused("duplicate"), 2);
    gateway.tick(at(11));
    gateway.deliver("a", "22");
    gateway.commit();
    assert_eq!(gateway.values(0).len(), 4, "the same value an hour later is news");
}

#[test]
fn of_a_message_with_two_readings_both_are_kept_when_it_comes_again_unkept() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.tick(at(10));
    gateway.deliver_to("f/a".into(), r#"{"x":1,"y":2}"#);
    let mut gateway = gateway.power_cut(dir.path());
    gateway.commit_unheard();
    assert_eq!((gateway.values(0), gateway.values(1)), (vec![1.0], vec![2.0]));
    let mut gateway = gateway.power_cut(dir.path());
    gateway.commit();
    assert_eq!((gateway.values(0).len(), gateway.values(1).len()), (1, 1));
    assert_eq!(gateway.refused("duplicate"), 2);
}

#[test]
fn readings_without_a_time_wait_until_the_clock_is_set_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway =
        Gateway { pipeline: pipeline(dir.path()), ..Gateway::start(&dir.path().join("x")) };
    gateway.deliver("a", "20");
    gateway.deliver("b", &stamped(at(3), 50.0));
    gateway.commit();
    assert_eq!(gateway.pipeline.store.quarantined_len(), 2, "nothing says when now is");
    assert!(gateway.values(0).is_empty());
    drop(gateway.pipeline);
    gateway.pipeline = pipeline(dir.path());
    assert_eq!(gateway.pipeline.intake.quarantined(), 2);
    gateway.tick(at(10));
    assert_eq!(gateway.pipeline.store.quarantined_len(), 0);
    assert_eq!((gateway.values(0), gateway.values(1)), (vec![20.0], vec![50.0]));
}

#[test]
fn readings_that_wait_keep_their_number_and_order_even_if_they_came_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway =
        Gateway { pipeline: pipeline(dir.path()), ..Gateway::start(&dir.path().join("x")) };
    for value in [20, 20, 21, 20] {
        gateway.deliver("a", &value.to_string());
    }
    gateway.commit();
    assert_eq!(gateway.pipeline.intake.quarantined(), 4);
    gateway.tick(at(10));
    assert_eq!(gateway.values(0), [20.0, 20.0, 21.0, 20.0]);
}

#[test]
fn a_wrong_device_clock_is_told_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    for hour in 4..14 {
        gateway.tick(at(hour));
        gateway.deliver("a", &stamped(at(hour - 3), 20.0));
    }
    gateway.commit();
    assert_eq!(gateway.pipeline.intake.clocks_off(), 1);
    let [(_, offset)] = gateway.pipeline.store.offsets().unwrap()[..] else { panic!("one") };
    assert_eq!(offset, -3 * HOUR_MS);
    let gateway = gateway.power_cut(dir.path());
    assert_eq!(gateway.pipeline.intake.clocks_off(), 1);
}

#[test]
fn a_silent_sensor_is_told_to_the_server_once_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    let minute = |n: i64| at(3) + n * 60_000;
    for n in 0..10 {
        gateway.tick(minute(n));
        gateway.deliver("a", &stamped(minute(n), 20.0));
    }
    gateway.commit();
    gateway.tick(minute(30));
    gateway.tell_silences();
    let told = gateway.told();
    let [since] = told.iter().map(|silence| silence.since).collect::<Vec<_>>()[..] else {
        panic!("{told:?}")
    };
    assert_eq!((since, told[0].until, told[0].expected_every_ms), (minute(9), None, 60_000));
    let mut gateway = gateway.power_cut(dir.path());
    gateway.tick(minute(50));
    gateway.tell_silences();
    assert_eq!(gateway.told().len(), 1, "told before");
    gateway.deliver("a", &stamped(minute(50), 20.0));
    gateway.tick(minute(52));
    gateway.tell_silences();
    let told = gateway.told();
    assert_eq!(told.last().unwrap().until, Some(minute(50)));
    assert_eq!(told.len(), 2);
    assert!(gateway.pipeline.store.silences().unwrap().is_empty());
}

#[test]
fn what_is_said_of_a_day_goes_up_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    for day in 0..10 {
        for hour in 0..24 {
            let now = at(24 * day + hour);
            // A little of its own each day, a slow climb, and 30 more in the last day's nights.
            let odd = if day == 9 && hour < 6 { 30.0 } else { 0.0 };
            let value = 20.0 + (hour % 5 + day % 3) as f64 * 0.1 + day as f64 + odd;
            gateway.tick(now);
            gateway.deliver("a", &stamped(now, value));
        }
        gateway.commit();
    }
    gateway.tick(at(10 * 24 + 12));
    let entries = gateway.pipeline.store.outbox_batch(1, 1 << 20).unwrap();
    let days: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| match entry.item {
            Item::Day(day) => Some(day),
            Item::Silence(_) => None,
        })
        .collect();
    assert_eq!(days.len(), 10);
    for day in &days {
        let kept = gateway.pipeline.store.day_record(day.date, SensorIx(0)).unwrap().unwrap();
        assert_eq!((day.score, &day.reasons, day.drift), (kept.score, &kept.reasons, kept.drift));
    }
    let (first, last) = (&days[0], &days[9]);
    assert_eq!(
        (first.score, first.reasons.len(), first.drift),
        (None, 0, None),
        "it knows nothing"
    );
    assert!(last.score.unwrap() > 0.9, "{last:?}");
    assert!(last.reasons[0].deviate > 1.5 && last.drift.unwrap().per_day > 0.0, "{last:?}");
}

#[test]
fn a_site_that_moves_keeps_its_open_day_and_every_reading_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.tick(at(12));
    gateway.deliver("a", &stamped(at(3), 1.0));
    gateway.deliver("a", &stamped(at(12), 2.0));
    gateway.commit();
    drop(gateway.pipeline);
    gateway.pipeline = pipeline_in(dir.path(), "America/Los_Angeles");
    gateway.tick(at(13));
    gateway.deliver("a", &stamped(at(3), 1.0));
    // 23:00 in Los Angeles, and an hour later.
    for (hour, value) in [(30, 3.0), (31, 4.0)] {
        gateway.tick(at(hour));
        gateway.deliver("a", &stamped(at(hour), value));
    }
    gateway.commit();
    assert_eq!(gateway.values(0), [1.0, 2.0, 3.0]);
    assert_eq!(gateway.refused("duplicate"), 1);
    gateway.tick(at(33));
    let record = gateway.record(0).unwrap();
    assert_eq!((record.revision, record.samples), (1, 3));
    assert_eq!(gateway.pipeline.store.zone().unwrap().unwrap(), "America/Los_Angeles");
}

#[derive(Clone, Debug)]
enum Op {
    /// Sensor and hour.
    Deliver(u8, i64),
    Commit,
    CommitUnheard,
    PowerCut,
}

/// Few sensors and hours, so that clashes are common; each reading several times, in any order.
fn ops() -> impl Strategy<Value = (Vec<(u8, i64)>, Vec<Op>)> {
    prop::collection::vec((0..2_u8, 1..7_i64), 0..8).prop_flat_map(|sent| {
        let delivered: Vec<Op> = [sent.clone(), sent.clone()]
            .concat()
            .into_iter()
            .map(|(sensor, hour)| Op::Deliver(sensor, hour))
            .chain([Op::Commit, Op::CommitUnheard, Op::PowerCut, Op::PowerCut])
            .collect();
        (Just(sent), Just(delivered).prop_shuffle())
    })
}

fn apply(mut gateway: Gateway, dir: &Path, ops: &[Op]) -> Gateway {
    for op in ops {
        match op {
            Op::Deliver(sensor, hour) => {
                let value = f64::from(*sensor) * 10.0 + f64::from(i32::try_from(*hour).unwrap());
                gateway.deliver(&sensor.to_string(), &stamped(at(*hour), value));
            }
            Op::Commit => gateway.commit(),
            Op::CommitUnheard => gateway.commit_unheard(),
            Op::PowerCut => gateway = gateway.power_cut(dir),
        }
    }
    gateway
}

type Outcome = BTreeMap<String, DayRecord>;

/// A day with its readings in time, and some after it had closed.
fn day_of(in_time: &[Op], late: &[Op]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.tick(at(20));
    gateway = apply(gateway, dir.path(), in_time);
    gateway.commit();
    gateway.tick(at(27));
    gateway = apply(gateway, dir.path(), late);
    gateway.commit();
    gateway.tick(at(30));
    let sensors = gateway.pipeline.store.sensors().unwrap();
    let found =
        sensors.iter().filter_map(|sensor| Some((sensor.id.clone(), gateway.record(sensor.ix.0)?)));
    found.collect()
}

fn in_order(sent: &[(u8, i64)]) -> Vec<Op> {
    let mut sent = sent.to_vec();
    sent.sort_unstable();
    sent.dedup();
    sent.into_iter().map(|(sensor, hour)| Op::Deliver(sensor, hour)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the broker repeats and reorders, and whenever the power goes, before and after
    /// the day has closed: the same features, under the same revision.
    #[test]
    fn days_do_not_depend_on_delivery_or_restarts(
        (sent, delivered) in ops(),
        (sent_late, delivered_late) in ops(),
    ) {
        let clean = day_of(&in_order(&sent), &in_order(&sent_late));
        prop_assert_eq!(clean, day_of(&delivered, &delivered_late));
    }
}
