//! What is still to be said to Home Assistant, sensor by sensor, a bounded number in a second: a
//! restart of it, a midnight or an outage concerns all sensors at once.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    time::Instant,
};

use daywise_core::reading::SensorIx;

/// Sensors in a second, each with up to three messages.
const SENSORS_PER_SECOND: f64 = 50.0;

/// What is to be said of a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// Its state.
    State,
    /// That it is there, and its state.
    Announcement,
    /// That it is no more.
    Removal,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The announcement of the gateway.
    Gateway,
    /// Something of a sensor.
    Sensor(SensorIx, Saying),
}

/// The list. A sensor is on it at most once, with what is to be said now.
#[derive(Debug)]
pub struct Outbox {
    is_gateway_due: bool,
    waiting: BTreeMap<SensorIx, Saying>,
    /// Where the next round goes on, so that what is asked again and again holds nobody up.
    last: Option<SensorIx>,
    allowance: f64,
    counted: Instant,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            is_gateway_due: false,
            waiting: BTreeMap::new(),
            last: None,
            allowance: SENSORS_PER_SECOND,
            counted: now,
        }
    }

    /// The gateway is to be announced.
    pub fn put_gateway(&mut self) {
        self.is_gateway_due = true;
    }

    /// Something is to be said of a sensor. An announcement that waits already includes its state.
    pub fn put(&mut self, sensor: SensorIx, saying: Saying) {
        let waiting = self.waiting.entry(sensor).or_insert(saying);
        if saying != Saying::State {
            *waiting = saying;
        }
    }

    /// Takes what may be said now.
    pub fn take(&mut self, now: Instant) -> Vec<Due> {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        self.counted = now;
        self.allowance = (self.allowance + passed * SENSORS_PER_SECOND).min(SENSORS_PER_SECOND);
        let mut due = Vec::new();
        if std::mem::take(&mut self.is_gateway_due) {
            due.push(Due::Gateway);
        }
        while self.allowance >= 1.0
            && let Some((sensor, saying)) = self.next()
        {
            self.allowance -= 1.0;
            due.push(Due::Sensor(sensor, saying));
        }
        due
    }

    /// Whether something is to be said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_gateway_due && self.waiting.is_empty()
    }

    fn next(&mut self) -> Option<(SensorIx, Saying)> {
        let behind = self.last.map_or(Unbounded, Excluded);
        let next = self.waiting.range((behind, Unbounded)).next();
        let sensor = *next.or_else(|| self.waiting.iter().next())?.0;
        self.last = Some(sensor);
        Some((sensor, self.waiting.remove(&sensor)?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sensors(due: &[Due]) -> Vec<u32> {
        let of = |due: &Due| match due {
            Due::Sensor(sensor, _) => Some(sensor.0),
            Due::Gateway => None,
        };
        due.iter().filter_map(of).collect()
    }

    #[test]
    fn a_thousand_sensors_are_spread_over_twenty_seconds() {
        let start = Instant::now();
        let mut outbox = Outbox::new(start);
        outbox.put_gateway();
        (0..1_000).for_each(|number| outbox.put(SensorIx(number), Saying::Announcement));
        let mut said = Vec::new();
        for second in 0..20_u32 {
            let due = outbox.take(start + second * Duration::from_secs(1));
            assert_eq!(due.first() == Some(&Due::Gateway), second == 0, "the gateway is first");
            assert_eq!(sensors(&due).len(), 50);
            said.extend(sensors(&due));
        }
        assert_eq!(said, (0..1_000).collect::<Vec<_>>());
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_pause_gathers_no_flood() {
        let start = Instant::now();
        let mut outbox = Outbox::new(start);
        (0..1_000).for_each(|number| outbox.put(SensorIx(number), Saying::State));
        assert_eq!(outbox.take(start + Duration::from_secs(3_600)).len(), 50);
    }

    #[test]
    fn whoever_asks_again_and_again_holds_nobody_up() {
        let start = Instant::now();
        let mut outbox = Outbox::new(start);
        let mut said = Vec::new();
        for second in 0..4_u32 {
            (0..200).for_each(|number| outbox.put(SensorIx(number), Saying::Announcement));
            said.extend(sensors(&outbox.take(start + second * Duration::from_secs(1))));
        }
        assert_eq!(said, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn of_a_sensor_only_the_newest_is_said() {
        let now = Instant::now();
        let mut outbox = Outbox::new(now);
        let said = |outbox: &mut Outbox, sayings: &[Saying]| {
            sayings.iter().for_each(|saying| outbox.put(SensorIx(1), *saying));
            outbox.take(now)
        };
        let one = |saying| vec![Due::Sensor(SensorIx(1), saying)];
        use Saying::{Announcement, Removal, State};
        assert_eq!(said(&mut outbox, &[State, State]), one(State));
        assert_eq!(said(&mut outbox, &[Announcement, State]), one(Announcement));
        assert_eq!(said(&mut outbox, &[State, Announcement]), one(Announcement));
        assert_eq!(said(&mut outbox, &[Announcement, Removal, State]), one(Removal));
        assert_eq!(said(&mut outbox, &[Removal, Announcement]), one(Announcement));
    }
}
