//! A few days of a small site: everything that a store is asked to do, in a fixed order.

use daywise_agent::store::{
    Batch, DayCommit, DayReading, DayRecord, Held, Prune, SensorRecord, Store, StoreError,
};
use daywise_core::{
    features::{FeatureSet, Features},
    quantity::Quantity,
    reading::{Sample, SensorIx},
    time::{LocalDate, LocalDay, UtcMillis},
    wire::{SensorDay, SeqRange, Silence},
};

pub(crate) const DATES: i32 = 4;
pub(crate) const SENSORS: u32 = 8;
const HOURS_PER_COMMIT: i64 = 2;
/// Large, so that the store's file is more than a segment.
const STATE_BYTES: usize = 2_500;

/// One thing to do. All but pruning is one atomic change, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Two hours of readings; the first ones bring the day, and another sensor or two.
    Append(i32, i64),
    /// A few readings for a day that is closed.
    Late(i32),
    /// Readings that wait for the clock, fingerprints, and a device clock that is off.
    Untimed(i32),
    /// What waits for the clock gets its place.
    Release(i32),
    Fold,
    Close(i32),
    /// Commits all that is dirty of that day.
    Commit(i32, u32),
    Unmark(i32, u32),
    Silent(u32),
    Heard(u32),
    Ack(SeqRange),
    Zone(i32),
    PruneReadings(i32),
    PruneDays(i32),
    Flush,
    /// Closes the store and opens it again: by the caller.
    Reopen,
}

/// All of it.
pub(crate) fn steps() -> Vec<Step> {
    use Step::*;
    let mut steps = Vec::new();
    for date in 0..DATES {
        let seq = u64::try_from(date).unwrap() * 8;
        for hour in (0..24).step_by(2) {
            steps.extend([Append(date, hour), Flush]);
            match hour {
                4 => steps.extend([Untimed(date), Untimed(date), Flush]),
                8 => steps.extend([Fold, Zone(date), Flush, Reopen]),
                12 => steps.extend([Release(date), Flush, Silent(2), Flush, Heard(2)]),
                16 if date > 0 => {
                    steps.extend([Late(date - 1), Flush, Fold, Commit(date - 1, 2), Flush]);
                    steps.extend([Late(date - 1), Unmark(date - 1, 1), Flush]);
                }
                _ => {}
            }
        }
        steps.extend([Fold, Close(date), Commit(date, 1), Flush, Silent(1), Flush]);
        steps.push(Ack(SeqRange { first: seq + 5, last: seq + 7 }));
        steps.extend([Ack(SeqRange { first: 0, last: seq + 3 }), Flush, Heard(1)]);
        steps.extend([PruneReadings(date - 1), PruneDays(date - 2), Flush]);
    }
    steps.extend([Reopen, Fold, Flush, Reopen]);
    steps
}

/// Does it, on a store that is after the steps before it.
pub(crate) fn take(store: &Store, step: Step) -> Result<(), StoreError> {
    match step {
        Step::Append(date, hour) => append(store, date, hour),
        Step::Late(date) => {
            let readings: Vec<_> = (0..3).map(|ix| reading(date, ix, 13, 30, 0.25)).collect();
            let late_due = UtcMillis(i64::from(date) * 1000);
            store.append(&Batch { readings: &readings, late_due, ..Batch::default() })
        }
        Step::Untimed(date) => untimed(store, date),
        Step::Release(date) => {
            let Some(waiting) = store.quarantined()? else { return Ok(()) };
            let place = |held: &Held| reading(date, held.sensor.0, 12, 20, held.value);
            let readings: Vec<_> = waiting.readings.iter().map(place).collect();
            let released = Some(waiting.seq);
            store.append(&Batch { readings: &readings, released, ..Batch::default() })
        }
        Step::Fold => store.fold().map(drop),
        Step::Close(date) => store.begin_close(LocalDate(date)).map(drop),
        Step::Commit(date, revision) => {
            let due = store.dirty().into_iter().filter(|key| key.0 == LocalDate(date));
            let commits: Vec<_> = due.map(|(date, ix)| commit(date, ix, revision)).collect();
            store.commit_days(&commits)
        }
        Step::Unmark(date, ix) => store.unmark(LocalDate(date), SensorIx(ix)),
        Step::Silent(ix) => store.put_silences(&[(SensorIx(ix), silence(ix, None))]),
        Step::Heard(ix) => store.put_silences(&[(SensorIx(ix), silence(ix, Some(UtcMillis(9))))]),
        // As one range, so that it is one change.
        Step::Ack(range) => store.outbox_ack(0, &[range]),
        Step::Zone(date) => store.set_zone(&format!("Etc/GMT+{date}"), &store.open_days()),
        Step::PruneReadings(before) => store.prune(Prune::Readings, LocalDate(before)),
        Step::PruneDays(before) => store.prune(Prune::Days, LocalDate(before)),
        Step::Flush => store.flush(),
        Step::Reopen => Ok(()),
    }
}

fn append(store: &Store, date: i32, hour: i64) -> Result<(), StoreError> {
    let known = if date == 0 { 4 } else { 6.min(SENSORS) };
    let all = if date == 0 && hour < 12 {
        4
    } else if date < 2 {
        6
    } else {
        SENSORS
    };
    let is_first = hour == 0 || (date == 0 && hour == 12);
    let from = if date == 0 && hour == 0 { 0 } else { known };
    let new_sensors: Vec<_> = (from..all).filter(|_| is_first).map(sensor).collect();
    let new_days = [LocalDay::utc(LocalDate(date))];
    let mut readings = Vec::new();
    for minute in (0..60 * HOURS_PER_COMMIT).step_by(4) {
        let value = f64::from(u32::try_from(minute).unwrap()) / 8.0;
        readings.extend((0..all).map(|ix| reading(date, ix, hour, minute, value)));
    }
    let new_days = if hour == 0 { new_days.as_slice() } else { &[] };
    store.append(&Batch {
        new_sensors: &new_sensors,
        new_days,
        readings: &readings,
        ..Batch::default()
    })
}

fn untimed(store: &Store, date: i32) -> Result<(), StoreError> {
    let boot = u64::try_from(date).unwrap();
    let held = |n: u32| Held {
        boot,
        since_boot_ms: i64::from(n) * 50,
        sensor: SensorIx(n % 4),
        stamp: n.is_multiple_of(2).then_some(UtcMillis(i64::from(n))),
        value: f64::from(n),
    };
    let quarantined: Vec<_> = (0..100).map(held).collect();
    // Several days' worth is more than is kept.
    let first = u32::try_from(date).unwrap() * 10_000;
    let deliveries: Vec<u32> = (first..first + 700).collect();
    let offset = (date % 2 == 0).then_some(i64::from(date) * 60_000 + 1);
    store.append(&Batch {
        quarantined: &quarantined,
        deliveries: &deliveries,
        offsets: &[(SensorIx(3), offset)],
        ..Batch::default()
    })
}

fn reading(date: i32, ix: u32, hour: i64, minute: i64, value: f64) -> DayReading {
    let at = UtcMillis(i64::from(date) * 86_400_000 + (hour * 60 + minute) * 60_000);
    (LocalDate(date), SensorIx(ix), Sample { at, value: value + f64::from(ix) })
}

fn sensor(ix: u32) -> SensorRecord {
    let id = format!("room-{ix}/temperature");
    SensorRecord { ix: SensorIx(ix), id, quantity: Quantity::Temperature }
}

fn silence(ix: u32, until: Option<UtcMillis>) -> Silence {
    let SensorRecord { id, quantity, .. } = sensor(ix);
    Silence { sensor: id, quantity, since: UtcMillis(1), until, expected_every_ms: 240_000 }
}

fn commit(date: LocalDate, sensor_ix: SensorIx, revision: u32) -> DayCommit {
    let SensorRecord { id, quantity, .. } = sensor(sensor_ix.0);
    let features = Features::new(FeatureSet::Moments1, [Some(20.5), None]).unwrap();
    let record = DayRecord {
        revision,
        samples: 360,
        coverage: 0.5,
        features: Some(features.clone()),
        prediction: None,
        deviation: Some(1.5),
        score: None,
        reasons: heapless::Vec::new(),
        drift: None,
    };
    let upload = SensorDay {
        sensor: id,
        quantity,
        date,
        revision,
        samples: record.samples,
        coverage: record.coverage,
        features: Some(features),
        prediction: None,
        deviation: record.deviation,
        score: record.score,
        reasons: record.reasons.clone(),
        drift: record.drift,
    };
    let fill = u8::try_from(revision).unwrap() ^ u8::try_from(date.0).unwrap();
    let sensor_state = Some(vec![fill; STATE_BYTES]);
    DayCommit { date, sensor: sensor_ix, record, upload: Some(upload), sensor_state }
}
