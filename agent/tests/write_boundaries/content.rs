//! Everything that can be asked of a store, and whether a crash may have left it so.

use std::{
    collections::BTreeMap, num::NonZeroU64, ops::ControlFlow, path::Path, thread::sleep,
    time::Duration,
};

use daywise_agent::store::{
    DayRecord, Held, Opened, SensorRecord, Store, StoreError, StoreOptions,
};
use daywise_core::{
    reading::{Sample, SensorIx},
    time::{LocalDate, UtcMillis},
    wire::Entry,
};

use crate::workload::{DATES, SENSORS, Step, steps, take};

type SensorDayKey = (LocalDate, SensorIx);

/// So few that some are given up.
const MAX_OUTBOX: u64 = 20;

pub(crate) fn options() -> StoreOptions {
    let outbox_max_entries = const { NonZeroU64::new(MAX_OUTBOX).unwrap() };
    StoreOptions { outbox_max_entries, ..StoreOptions::default() }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    sensors: Vec<SensorRecord>,
    zone: Option<String>,
    /// True while open.
    days: BTreeMap<LocalDate, bool>,
    samples: BTreeMap<SensorDayKey, Vec<Sample>>,
    dirty: Vec<(LocalDate, SensorIx, UtcMillis)>,
    records: BTreeMap<SensorDayKey, DayRecord>,
    states: BTreeMap<u32, Vec<u8>>,
    outbox: Vec<Entry>,
    outbox_bounds: (u64, u64, u64),
    quarantined: (u64, Vec<Held>),
    deliveries: Vec<u32>,
    offsets: Vec<(SensorIx, i64)>,
    silences: Vec<(SensorIx, UtcMillis, i64)>,
    damaged: u64,
}

impl Content {
    /// Of a store without anything unflushed.
    fn of(store: &Store) -> Self {
        let open: Vec<LocalDate> = store.open_days().iter().map(|day| day.date).collect();
        let known = |date| store.local_day(date).map(|_| (date, open.contains(&date)));
        let mut samples: BTreeMap<SensorDayKey, Vec<Sample>> = BTreeMap::new();
        for date in (0..DATES).map(LocalDate) {
            let mut keep = |sensor, chunk| {
                samples.insert((date, sensor), chunk);
                ControlFlow::Continue(())
            };
            store.chunks(date, &mut keep).unwrap();
        }
        let mut records = BTreeMap::new();
        let mut keep = |date, sensor, record| {
            records.insert((date, sensor), record);
            ControlFlow::Continue(())
        };
        store.day_records(&mut keep).unwrap();
        let state = |ix| Some((ix, store.sensor_state(SensorIx(ix)).unwrap()?));
        let waiting = store.quarantined().unwrap().map(|waiting| waiting.readings);
        Self {
            sensors: store.sensors().unwrap(),
            zone: store.zone().unwrap(),
            days: (0..DATES).map(LocalDate).filter_map(known).collect(),
            samples,
            dirty: store.dirty_due(),
            records,
            states: (0..SENSORS).filter_map(state).collect(),
            outbox: store.outbox_batch(0, usize::MAX).unwrap(),
            outbox_bounds: (store.outbox_floor(), store.outbox_next(), store.outbox_evicted()),
            quarantined: (store.quarantined_len(), waiting.unwrap_or_default()),
            deliveries: store.deliveries().unwrap(),
            offsets: store.offsets().unwrap(),
            silences: store.silences().unwrap(),
            damaged: store.stats().damaged,
        }
    }

    /// Whether pruning from `before` to `after` could have been left at this: it is one change
    /// for each kind of record.
    fn is_between(&self, before: &Self, after: &Self) -> bool {
        let days = |date: &LocalDate, is_open: &bool| {
            let (before, after) = (before.days.get(date), after.days.get(date));
            Some(is_open) == before || Some(is_open) == after || !*is_open
        };
        (self.samples == before.samples || self.samples == after.samples)
            && (self.dirty == before.dirty || self.dirty == after.dirty)
            && (self.records == before.records || self.records == after.records)
            && self.days.iter().all(|(date, is_open)| days(date, is_open))
            && after.days.keys().all(|date| self.days.contains_key(date))
            && *self
                == Self {
                    samples: self.samples.clone(),
                    dirty: self.dirty.clone(),
                    records: self.records.clone(),
                    days: self.days.clone(),
                    ..before.clone()
                }
    }
}

/// What is certain about a run that crashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// As many steps were durable; `None` until the store was open.
    pub(crate) confirmed: Option<usize>,
    /// As many steps had begun.
    pub(crate) begun: usize,
}

/// The workload without a crash: what the store holds after each step.
pub(crate) struct Truth {
    steps: Vec<Step>,
    after: Vec<Content>,
}

impl Truth {
    pub(crate) fn find(dir: &Path) -> Self {
        let steps = steps();
        let mut store = open(dir).unwrap();
        let mut after = vec![Content::of(&store)];
        for step in &steps {
            if matches!(step, Step::Reopen) {
                drop(store);
                store = open(dir).unwrap();
            }
            take(&store, *step).unwrap();
            store.flush().unwrap();
            after.push(Content::of(&store));
        }
        Self { steps, after }
    }

    /// Opens what the crash left at `dir`, and carries on to the end.
    pub(crate) fn check(&self, dir: &Path, progress: Progress) -> Result<(), String> {
        let store = match (open(dir), progress.confirmed) {
            (Ok(store), _) => store,
            // There was nothing in it yet.
            (Err(_), None) => open(dir)?,
            (Err(error), Some(_)) => return Err(error),
        };
        let found = Content::of(&store);
        let Some(done) = self.steps_done(&found, progress) else {
            return Err(format!("the content is that of no step: {found:?}"));
        };
        for step in self.steps.get(done..).unwrap_or_default() {
            take(&store, *step).map_err(|error| format!("{step:?} after it: {error}"))?;
        }
        store.flush().map_err(|error| error.to_string())?;
        drop(store);
        let last = Content::of(&open(dir)?);
        if self.after.last() == Some(&last) {
            return Ok(());
        }
        Err(format!("carried on from step {done}, the content is another: {last:?}"))
    }

    /// After how many whole steps the content is this.
    fn steps_done(&self, found: &Content, progress: Progress) -> Option<usize> {
        let first = progress.confirmed.unwrap_or(0);
        let possible = || (first..=progress.begun).rev();
        possible().find(|&done| self.after.get(done) == Some(found)).or_else(|| {
            possible().find(|&done| match (self.steps.get(done), self.after.get(done..done + 2)) {
                (Some(Step::PruneReadings(_) | Step::PruneDays(_)), Some([before, after])) => {
                    found.is_between(before, after)
                }
                _ => false,
            })
        })
    }
}

/// A child that is just being started still has the files that are open here.
const OPEN_TRIES: u32 = 500;

pub(crate) fn open(dir: &Path) -> Result<Store, String> {
    for tried in 1.. {
        match Store::open(dir, &options()) {
            Err(StoreError::Busy { .. }) if tried < OPEN_TRIES => sleep(Duration::from_millis(10)),
            Err(error) => return Err(format!("cannot open: {error}")),
            Ok(Opened { set_aside: Some((_, why)), .. }) => {
                return Err(format!("set aside: {why}"));
            }
            Ok(Opened { store, set_aside: None }) => return Ok(store),
        }
    }
    unreachable!("it is tried until then")
}
