//! The real store and a few maps agree after any sequence of operations, reopening and killing
//! included.

use std::collections::{BTreeMap, BTreeSet};

use daywise_core::wire::{Entry, Item, SeqRange};
use proptest::prelude::*;

use super::*;

const DATES: i32 = 4;
const SENSORS: u32 = 3;
const MAX_OUTBOX: u64 = 5;

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<(i32, u32, i64, i32)>),
    Flush,
    Renew,
    Fold,
    Close(i32),
    Commit(Vec<(i32, u32)>),
    Unmark(i32, u32),
    Ack(u64, Vec<SeqRange>),
    Put(i32),
    Prune(Prune, i32),
    Reopen,
    Kill,
}

fn any_op() -> impl Strategy<Value = Op> {
    let sensor_day = || (0..DATES, 0..SENSORS);
    prop_oneof![
        6 => prop::collection::vec((0..DATES, 0..SENSORS, 0..5_i64, -3..3_i32), 1..8)
            .prop_map(Op::Append),
        2 => Just(Op::Flush),
        1 => Just(Op::Renew),
        2 => Just(Op::Fold),
        2 => (0..DATES).prop_map(Op::Close),
        3 => prop::collection::vec(sensor_day(), 1..4).prop_map(Op::Commit),
        1 => sensor_day().prop_map(|(date, sensor)| Op::Unmark(date, sensor)),
        2 => (0..12_u64, prop::collection::vec((0..14_u64, 0..14_u64), 0..3)).prop_map(|(up_to, ranges)| {
            Op::Ack(up_to, ranges.into_iter().map(|(first, last)| SeqRange { first, last }).collect())
        }),
        1 => (0..DATES).prop_map(Op::Put),
        1 => (prop::bool::ANY, 0..DATES)
            .prop_map(|(all, date)| Op::Prune(if all { Prune::Days } else { Prune::Readings }, date)),
        1 => Just(Op::Reopen),
        2 => Just(Op::Kill),
    ]
}

type SensorDayKey = (LocalDate, SensorIx);

/// Everything that can be asked of a store.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    sensors: Vec<SensorRecord>,
    /// True while open.
    days: BTreeMap<LocalDate, bool>,
    samples: BTreeMap<SensorDayKey, Vec<Sample>>,
    dirty: BTreeSet<SensorDayKey>,
    records: BTreeMap<SensorDayKey, DayRecord>,
    states: BTreeMap<SensorIx, Vec<u8>>,
    outbox: Vec<Entry>,
    next: u64,
    /// Entries below it are shown.
    durable: u64,
    floor: u64,
    evicted: u64,
}

impl Content {
    fn empty() -> Self {
        Self {
            sensors: Vec::new(),
            days: BTreeMap::new(),
            samples: BTreeMap::new(),
            dirty: BTreeSet::new(),
            records: BTreeMap::new(),
            states: BTreeMap::new(),
            outbox: Vec::new(),
            next: 1,
            durable: 1,
            floor: 1,
            evicted: 0,
        }
    }

    fn of(store: &Store) -> Self {
        let keys = || {
            let sensors = |date| (0..SENSORS).map(move |ix| (LocalDate(date), SensorIx(ix)));
            (0..DATES).flat_map(sensors)
        };
        let mut restored: BTreeMap<SensorDayKey, Vec<Sample>> = BTreeMap::new();
        store
            .restore(&mut |date, ix, sample| restored.entry((date, ix)).or_default().push(sample))
            .unwrap();
        let open: Vec<LocalDate> = store.open_days().iter().map(|day| day.date).collect();
        let mut samples = BTreeMap::new();
        for (date, ix) in keys() {
            let chunk = store.chunk(date, ix).unwrap();
            let expected = if open.contains(&date) { chunk.as_slice() } else { &[] };
            let restored = restored.get(&(date, ix)).map_or(&[][..], Vec::as_slice);
            assert_eq!(restored, expected, "restore gives the open days' chunks");
            if !chunk.is_empty() {
                samples.insert((date, ix), chunk);
            }
        }
        let mut at_once = BTreeMap::new();
        for date in (0..DATES).map(LocalDate) {
            let mut keep = |ix, chunk| {
                at_once.insert((date, ix), chunk);
                ControlFlow::Continue(())
            };
            store.chunks(date, &mut keep).unwrap();
        }
        assert_eq!(at_once, samples, "all of a day at once gives what each sensor's does");
        let record = |(date, ix)| Some(((date, ix), store.day_record(date, ix).unwrap()?));
        let state = |ix| Some((SensorIx(ix), store.sensor_state(SensorIx(ix)).unwrap()?));
        let known = |date| store.local_day(date).map(|_| (date, open.contains(&date)));
        let stats = store.stats();
        let outbox = held(store);
        let durable = store.outbox_next();
        let mut shown = outbox.clone();
        shown.retain(|entry| entry.seq < durable);
        assert_eq!(store.outbox_batch(0, usize::MAX).unwrap(), shown);
        let all = SeqRange { first: 0, last: u64::MAX };
        assert_eq!(store.outbox_newest(all, usize::MAX).unwrap(), shown);
        let OutboxValue { next, floor, .. } = store.state().outbox;
        assert_eq!(store.outbox_floor(), floor.min(durable));
        assert_eq!(stats.outbox_entries, outbox.len() as u64);
        assert_eq!(stats.damaged, 0);
        Self {
            sensors: store.sensors().unwrap(),
            days: (0..DATES).map(LocalDate).filter_map(known).collect(),
            samples,
            dirty: store.dirty().into_iter().collect(),
            records: keys().filter_map(record).collect(),
            states: (0..SENSORS).filter_map(state).collect(),
            outbox,
            next,
            durable,
            floor,
            evicted: stats.outbox_evicted,
        }
    }

    /// What the operation should do; returns what to append for [`Op::Append`].
    fn append(&mut self, readings: &[DayReading]) -> (Vec<SensorRecord>, Vec<LocalDay>) {
        let (mut sensors, mut days) = (Vec::new(), Vec::new());
        for &(date, ix, sample) in readings {
            if !self.sensors.iter().any(|known| known.ix == ix) {
                self.sensors.push(sensor(ix.0));
                sensors.push(sensor(ix.0));
            }
            // Even dates announce themselves, so that odd ones are late at first sight.
            if date.0 % 2 == 0 && !self.days.contains_key(&date) {
                self.days.insert(date, true);
                days.push(day(date.0));
            }
            self.samples.entry((date, ix)).or_default().push(sample);
            if self.days.get(&date) != Some(&true) {
                self.dirty.insert((date, ix));
            }
        }
        self.sensors.sort_by_key(|sensor| sensor.ix);
        (sensors, days)
    }

    fn close(&mut self, date: LocalDate) {
        if let Some(open) = self.days.get_mut(&date).filter(|open| **open) {
            *open = false;
            self.dirty.extend(self.samples.keys().filter(|key| key.0 == date));
        }
    }

    fn commit(&mut self, commits: &[DayCommit]) {
        for commit in commits {
            let key = (commit.date, commit.sensor);
            self.records.insert(key, commit.record.clone());
            self.states.insert(commit.sensor, commit.sensor_state.clone().unwrap());
            self.dirty.remove(&key);
        }
        self.put(commits.iter().map(|commit| Item::Day(commit.upload.clone().unwrap())));
    }

    fn put(&mut self, items: impl Iterator<Item = Item>) {
        let before = self.next;
        for item in items {
            self.outbox.push(Entry { seq: self.next, item });
            self.next += 1;
        }
        while self.outbox.len() as u64 > MAX_OUTBOX && self.outbox[0].seq < before {
            self.evicted += 1;
            self.outbox.remove(0);
        }
        self.find_floor();
    }

    /// Acknowledging is one change for what is contiguous and one for each range, and of no effect
    /// on what was not shown; returns what is there in between.
    fn ack(&mut self, up_to: u64, ranges: &[SeqRange]) -> Vec<Self> {
        let mut between = Vec::new();
        for range in std::iter::once(&SeqRange { first: 0, last: up_to }).chain(ranges) {
            between.push(self.clone());
            self.outbox.retain(|entry| !range.contains(entry.seq) || entry.seq >= self.durable);
            self.find_floor();
        }
        between
    }

    fn find_floor(&mut self) {
        self.floor = self.outbox.first().map_or(self.next, |entry| entry.seq);
    }

    /// Pruning is one change after the other; returns what is there in between.
    fn prune(&mut self, what: Prune, before: LocalDate) -> Vec<Self> {
        let mut between = Vec::new();
        self.days.range_mut(..before).for_each(|(_, open)| *open = false);
        between.push(self.clone());
        self.dirty.retain(|key| key.0 >= before);
        between.push(self.clone());
        self.samples.retain(|key, _| key.0 >= before);
        if what == Prune::Days {
            between.push(self.clone());
            self.records.retain(|key, _| key.0 >= before);
            between.push(self.clone());
            self.days.retain(|date, _| *date >= before);
        }
        between
    }
}

/// All entries, those included that are not shown yet.
fn held(store: &Store) -> Vec<Entry> {
    let mut entries = Vec::new();
    store
        .disk
        .scan(keys::outbox_from(0), |key, record| {
            let item = records::unseal_item(key, record).unwrap();
            entries.push(Entry { seq: keys::seq_of(key).unwrap(), item });
            ControlFlow::Continue(())
        })
        .unwrap();
    entries
}

/// Does it to both; returns what a kill within it may leave.
fn apply(store: &Store, content: &mut Content, op: &Op, revision: u32) -> Vec<Content> {
    match op {
        Op::Append(readings) => {
            let readings: Vec<DayReading> = readings
                .iter()
                .map(|&(date, ix, at, value)| reading(date, ix, at, f64::from(value) / 10.0))
                .collect();
            let (new_sensors, new_days) = content.append(&readings);
            let batch = Batch {
                new_sensors: &new_sensors,
                new_days: &new_days,
                readings: &readings,
                ..Batch::default()
            };
            store.append(&batch).unwrap();
        }
        Op::Flush => {
            store.flush().unwrap();
            content.durable = content.next;
        }
        Op::Renew => {
            store.renew().unwrap();
            content.durable = content.next;
        }
        Op::Fold => {
            store.fold().unwrap();
            assert_eq!(store.journal_size(), (0, 0));
        }
        Op::Close(date) => {
            store.begin_close(LocalDate(*date)).unwrap();
            content.close(LocalDate(*date));
        }
        Op::Commit(days) => {
            let commits: Vec<DayCommit> =
                days.iter().map(|&(date, ix)| commit(date, ix, revision)).collect();
            store.commit_days(&commits).unwrap();
            content.commit(&commits);
        }
        Op::Unmark(date, ix) => {
            store.unmark(LocalDate(*date), SensorIx(*ix)).unwrap();
            content.dirty.remove(&(LocalDate(*date), SensorIx(*ix)));
        }
        Op::Ack(up_to, ranges) => {
            store.outbox_ack(*up_to, ranges).unwrap();
            return content.ack(*up_to, ranges);
        }
        Op::Put(date) => {
            let item = Item::Day(commit(*date, 0, revision).upload.unwrap());
            store.outbox_put(std::slice::from_ref(&item)).unwrap();
            content.put(std::iter::once(item));
        }
        Op::Prune(what, before) => {
            store.prune(*what, LocalDate(*before)).unwrap();
            return content.prune(*what, LocalDate(*before));
        }
        Op::Reopen | Op::Kill => {}
    }
    Vec::new()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// After a kill, the store is as it was at some moment since the last flush.
    #[test]
    fn the_store_agrees_with_a_few_maps(ops in prop::collection::vec(any_op(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            outbox_max_entries: NonZeroU64::new(MAX_OUTBOX).unwrap(),
            ..StoreOptions::default()
        };
        let mut path = dir.path().join("store-0");
        let mut store = open(&path, &options);
        store.flush().unwrap();
        let stream = store.stream();
        let mut content = Content::empty();
        let mut since_flush = vec![content.clone()];
        for (step, op) in (1_u32..).zip(&ops) {
            let before = content.next;
            match op {
                Op::Reopen => {
                    drop(store);
                    store = open(&path, &options);
                    content.durable = content.next;
                }
                Op::Kill => {
                    let left = dir.path().join(format!("store-{step}"));
                    copy(&path, &left);
                    store = open(&left, &options);
                    path = left;
                    let found = Content::of(&store);
                    prop_assert!(found.next >= content.durable, "what was shown is there");
                    since_flush.iter_mut().for_each(|content| content.durable = content.next);
                    prop_assert!(
                        since_flush.contains(&found), "{:#?} is not one of {:#?}", found, since_flush
                    );
                    content = found;
                    since_flush.clear();
                }
                op => since_flush.extend(apply(&store, &mut content, op, step)),
            }
            // An operation may have to make durable first what came before it.
            let durable = store.outbox_next();
            prop_assert!([content.durable, before].contains(&durable));
            content.durable = durable;
            if matches!(op, Op::Flush | Op::Renew | Op::Reopen) {
                since_flush.clear();
            }
            since_flush.push(content.clone());
            prop_assert_eq!(&Content::of(&store), &content);
            prop_assert_eq!(store.stream(), stream);
        }
    }
}

#[test]
fn a_day_of_a_few_sensors_takes_few_bytes_and_no_files_beside_the_engines_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path, &StoreOptions::default());
    let sensors: Vec<SensorRecord> = (0..10).map(sensor).collect();
    let batch = Batch { new_sensors: &sensors, new_days: &[day(0)], ..Batch::default() };
    store.append(&batch).unwrap();
    for minute in 0..1440 {
        let value = f64::from(i32::try_from(minute).unwrap() % 60) / 10.0;
        let readings: Vec<_> = (0..10).map(|ix| reading(0, ix, minute * 60, value)).collect();
        store.append(&Batch { readings: &readings, ..Batch::default() }).unwrap();
        if minute % 60 == 59 {
            let folded = store.fold().unwrap();
            // The sensors came in a commit of their own.
            let records = if minute == 59 { 61 } else { 60 };
            assert_eq!((folded.records, folded.readings), (records, 600));
        }
    }
    store.flush().unwrap();
    let file = fs::metadata(path.join("chunks/0.chunks")).unwrap().len();
    assert_eq!(file, store.stats().chunk_bytes);
    assert!(file <= 14_400 * 3, "{file} bytes for 14,400 readings");
    assert_eq!(store.chunk(LocalDate(0), SensorIx(3)).unwrap().len(), 1440);
    assert_eq!(fs::read_dir(path.join("blobs")).unwrap().count(), 0);
}

#[test]
fn outbox_batches_are_bounded_but_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"), &StoreOptions::default());
    let commits: Vec<DayCommit> = (0..20).map(|ix| commit(0, ix, 1)).collect();
    store.commit_days(&commits).unwrap();
    store.flush().unwrap();
    let seqs = |from, bytes| -> Vec<u64> {
        store.outbox_batch(from, bytes).unwrap().iter().map(|entry| entry.seq).collect()
    };
    assert_eq!(seqs(1, 0), [1]);
    let some = seqs(3, 300);
    assert!(some.len() > 1 && some.len() < 10, "{some:?}");
    assert!(some.iter().zip(3..).all(|(seq, expected)| *seq == expected));
    assert_eq!(seqs(21, 1000), [0; 0]);
    let newest = |last, bytes| -> Vec<u64> {
        let range = SeqRange { first: 3, last };
        store.outbox_newest(range, bytes).unwrap().iter().map(|entry| entry.seq).collect()
    };
    assert_eq!(newest(17, 0), [17]);
    assert_eq!(newest(17, 300), (18 - some.len() as u64..=17).collect::<Vec<_>>());
    assert_eq!(newest(5, 10_000), [3, 4, 5]);
    assert_eq!(newest(2, 10_000), [0; 0]);
    store.outbox_ack(u64::MAX, &[]).unwrap();
    assert_eq!((store.outbox_floor(), store.outbox_next(), store.outbox_len()), (21, 21, 0));
    assert_eq!(store.stats().outbox_bytes, 0);
}

#[test]
fn what_is_acknowledged_out_of_order_makes_room_for_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let bytes_of = |count: u32| {
        let store = open(&dir.path().join(format!("measured-{count}")), &StoreOptions::default());
        let commits: Vec<DayCommit> = (0..count).map(|ix| commit(0, ix, 1)).collect();
        store.commit_days(&commits).unwrap();
        store.stats().outbox_bytes
    };
    let options = StoreOptions {
        outbox_max_bytes: NonZeroU64::new(bytes_of(10)).unwrap(),
        ..StoreOptions::default()
    };
    let store = open(&dir.path().join("store"), &options);
    let commits = |from: u32, to: u32| (from..to).map(|ix| commit(0, ix, 1)).collect::<Vec<_>>();
    store.commit_days(&commits(0, 10)).unwrap();
    store.flush().unwrap();
    assert_eq!((store.outbox_len(), store.outbox_evicted()), (10, 0));
    store.outbox_ack(0, &[SeqRange { first: 6, last: 10 }]).unwrap();
    store.commit_days(&commits(0, 5)).unwrap();
    assert_eq!((store.outbox_len(), store.outbox_evicted(), store.outbox_floor()), (10, 0, 1));
    store.commit_days(&commits(0, 7)).unwrap();
    store.flush().unwrap();
    assert_eq!((store.outbox_len(), store.outbox_evicted(), store.outbox_floor()), (10, 7, 13));
}

#[test]
fn what_a_power_cut_could_take_back_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        StoreOptions { outbox_max_entries: NonZeroU64::new(2).unwrap(), ..StoreOptions::default() };
    let path = dir.path().join("store");
    let store = open(&path, &options);
    store.commit_days(&[commit(0, 0, 1)]).unwrap();
    store.flush().unwrap();
    copy(&path, &dir.path().join("cut"));
    store.commit_days(&[commit(0, 1, 1), commit(0, 2, 1)]).unwrap();
    let all = SeqRange { first: 0, last: u64::MAX };
    assert_eq!((store.outbox_next(), store.outbox_len(), store.outbox_evicted()), (2, 2, 1));
    assert_eq!(store.outbox_batch(0, 10_000).unwrap(), []);
    assert_eq!(store.outbox_newest(all, 10_000).unwrap(), []);
    // Nor does the floor say that nothing with these numbers will come.
    store.commit_days(&[commit(1, 1, 1), commit(1, 2, 1)]).unwrap();
    assert_eq!((store.outbox_floor(), store.outbox_evicted()), (2, 3));
    store.outbox_ack(5, &[]).unwrap();
    assert_eq!(store.outbox_len(), 2, "what was not shown cannot be acknowledged");
    store.flush().unwrap();
    let seqs = |entries: Vec<Entry>| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    assert_eq!((store.outbox_floor(), store.outbox_next()), (4, 6));
    assert_eq!(seqs(store.outbox_newest(all, 10_000).unwrap()), [4, 5]);
    let cut = open(&dir.path().join("cut"), &options);
    cut.commit_days(&[commit(0, 2, 1)]).unwrap();
    cut.flush().unwrap();
    assert_eq!(seqs(cut.outbox_batch(0, 10_000).unwrap()), [1, 2], "its number is given again");
}
