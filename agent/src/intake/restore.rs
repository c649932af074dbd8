//! Taking up where the store left off.

use std::sync::Arc;

use daywise_core::{
    baseline::Baseline,
    collect::Collector,
    decode::discovery::Hints,
    reading::{Sample, SensorIx},
    time::{LocalDay, UtcMillis},
};
use tracing::info;

use super::{Intake, batch::Gathered, redelivery::Redelivery, route::Routes, times::TimeRules};
use crate::{
    calendar::Calendar,
    clock::Clock,
    config::AgentConfig,
    metrics::Metrics,
    seen::Seen,
    site_days::{SiteDays, moved},
    store::{Store, StoreError},
};

impl Intake {
    /// Takes up where the store left off.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) fn new(
        config: &AgentConfig,
        calendar: Calendar,
        store: &Store,
        metrics: Arc<Metrics>,
        seen: Arc<Seen>,
    ) -> Result<Self, StoreError> {
        let mut collector = Collector::new(config.limits());
        let mut routes = Routes::new(config);
        collector.keep_from(store.kept_from());
        restore_sensors(store, &mut collector, &mut routes)?;
        let offsets = store.offsets()?;
        for &(sensor, offset_ms) in &offsets {
            routes.restore_offset(sensor, offset_ms);
        }
        let newest_reading = restore_days(store, &mut collector)?;
        let silences = store.silences()?;
        for &(sensor, since, usual_ms) in &silences {
            collector.restore_silence(sensor, since, usual_ms);
        }
        // A day that has closed had ended, and its grace too. Without this a clock that knows no better, such as one
        // not set since the power came back, would refuse what the broker has kept for us.
        let grace_ms = config.days.grace.as_ms();
        let closed = store.newest_closed_day().map(|day| day.end + grace_ms);
        let newest = closed.map_or(newest_reading, |end| newest_reading.max(end));
        let clock = Clock::new(&config.clock, newest);
        move_open_days(store, &mut collector, &calendar, newest_reading, clock.now())?;
        Ok(Self {
            clock,
            days: SiteDays::new(calendar, store.local_days()),
            collector,
            routes,
            batch: Gathered::default(),
            heard: Vec::new(),
            verdicts: None,
            requests: Vec::new(),
            format: None,
            devices: None,
            hints: Hints::default(),
            discovery_prefix: config.sensors.discovery_prefix.clone(),
            seen,
            name: String::new(),
            learns_health: config.sensors.health,
            redelivery: Redelivery::restored(store.deliveries()?),
            metrics,
            rules: TimeRules::new(config),
            quarantined: store.quarantined_len(),
            clocks_off: offsets.len() as u64,
            silent: silences.len() as u64,
            messages: 0,
        })
    }
}

fn restore_sensors(
    store: &Store,
    collector: &mut Collector,
    routes: &mut Routes,
) -> Result<(), StoreError> {
    for sensor in store.sensors()? {
        // A sensor whose record is damaged keeps its number, or all behind it would move up.
        while collector.sensor_count() < sensor.ix.place() {
            collector.restore_sensor(Baseline::default());
        }
        collector.restore_sensor(stored_baseline(store, sensor.ix));
        collector.measures(sensor.ix, sensor.quantity);
        routes.add_sensor(sensor.ix, sensor.id, sensor.quantity);
    }
    Ok(())
}

fn stored_baseline(store: &Store, sensor: SensorIx) -> Baseline {
    let stored = store.sensor_state(sensor).ok().flatten();
    stored.and_then(|bytes| Baseline::from_bytes(&bytes)).unwrap_or_default()
}

/// Takes back the open days with their readings, and those that wait to be computed; returns the
/// time of the newest reading.
fn restore_days(store: &Store, collector: &mut Collector) -> Result<UtcMillis, StoreError> {
    store.open_days().into_iter().for_each(|day| collector.restore_day(day));
    let (mut newest, mut readings) = (UtcMillis::default(), 0_u64);
    store.restore(&mut |date, sensor, sample: Sample| {
        collector.restore(date, sensor, sample);
        newest = newest.max(sample.at);
        readings += 1;
    })?;
    for (date, sensor, due) in store.dirty_due() {
        collector.restore_dirty(date, sensor, due);
    }
    info!(
        sensors = collector.sensor_count(),
        open_days = collector.open_days(),
        readings,
        "restored from the store"
    );
    Ok(newest)
}

/// If the site has moved to another zone since the store was left, its open days end there.
fn move_open_days(
    store: &Store,
    collector: &mut Collector,
    calendar: &Calendar,
    newest_reading: UtcMillis,
    now: UtcMillis,
) -> Result<(), StoreError> {
    if store.zone()?.as_deref() == Some(calendar.name()) {
        return Ok(());
    }
    let open = store.open_days().into_iter();
    let moved: Vec<LocalDay> = open.map(|day| moved(day, calendar, newest_reading, now)).collect();
    store.set_zone(calendar.name(), &moved)?;
    moved.into_iter().for_each(|day| collector.restore_day(day));
    Ok(())
}
