//! The simulated site: an office building in Berlin, from a seed.
//!
//! 36 sensors report every five minutes: rooms that heat, fill and empty with people, air that
//! they use up, light from windows and lamps, power behind it, and the weather around it all.
//! Weekdays and weekends differ, no two days are alike, and summer time starts within the four
//! weeks. Some readings get lost, some come twice, a few are nonsense; faults are planted by
//! [`super::faults`]. Nothing here knows how days are judged.

use anyhow::Context as _;
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, date},
    tz::TimeZone,
};

use super::{
    building::{Building, Moment, SENSORS},
    faults::Fault,
    random::Random,
};

/// The site's zone.
pub(super) const TIMEZONE: &str = "Europe/Berlin";
/// Decides everything that is random.
const SEED: u64 = 2024;
/// A Monday; summer time starts on day 21.
const FIRST_DAY: Date = date(2024, 3, 11);
/// Between two readings of a sensor.
const STEP_MS: i64 = 300_000;
/// Share of readings that never arrive.
const LOST: f64 = 0.004;
/// Share of readings that a gateway sends twice.
const REPEATED: f64 = 0.000_5;
/// Share of readings that are nonsense: what a sensor says that does not answer, or cannot be.
const NONSENSE: f64 = 0.000_3;

/// One line of the site's recording.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// When it was measured, in epoch milliseconds.
    pub(super) at_ms: i64,
    /// Whose it is: an index into [`SENSORS`].
    pub(super) sensor: usize,
    /// The value as the sensor writes it.
    pub(super) value: f64,
}

/// The date of day `index`.
pub(super) fn day(index: u16) -> Date {
    FIRST_DAY.saturating_add(i64::from(index).days())
}

/// All readings of `days` days, in the order in which they arrive.
pub(super) fn simulate(days: u16, faults: &[Fault]) -> anyhow::Result<Vec<Line>> {
    let zone = TimeZone::get(TIMEZONE).context("the bundled time zones lack Europe/Berlin")?;
    let start = FIRST_DAY.to_zoned(zone.clone()).context("no first midnight")?.timestamp();
    let end = day(days).to_zoned(zone.clone()).context("no last midnight")?.timestamp();
    let mut building = Building::new(SEED, days);
    let mut senders: Vec<Sender> =
        SENSORS.iter().enumerate().map(|(index, sensor)| Sender::new(index, sensor.id)).collect();
    let mut lines = Vec::new();
    let mut at_ms = start.as_millisecond();
    while at_ms < end.as_millisecond() {
        let instant = Timestamp::from_millisecond(at_ms).context("a time out of range")?;
        let moment = Moment::new(&instant.to_zoned(zone.clone()), FIRST_DAY);
        building.step(&moment);
        for sender in &mut senders {
            sender.send(at_ms, &moment, &building, faults, &mut lines);
        }
        at_ms += STEP_MS;
    }
    lines.retain(|line| line.at_ms < end.as_millisecond());
    // Stable: a repeat stays behind its original.
    lines.sort_by_key(|line| line.at_ms);
    Ok(lines)
}

/// One sensor's way to the broker: jitter, faults, losses, repeats.
struct Sender {
    sensor: usize,
    random: Random,
    phase_ms: f64,
}

impl Sender {
    fn new(sensor: usize, id: &str) -> Self {
        let mut random = Random::new(SEED, id);
        let phase_ms = random.between(0.0, 240_000.0);
        Self { sensor, random, phase_ms }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a few minutes in milliseconds")]
    fn send(
        &mut self,
        tick_ms: i64,
        moment: &Moment,
        building: &Building,
        faults: &[Fault],
        lines: &mut Vec<Line>,
    ) {
        let random = &mut self.random;
        let Some(sensor) = SENSORS.get(self.sensor) else { return };
        let at_ms = tick_ms + (self.phase_ms + random.between(0.0, 5_000.0)) as i64;
        let mut value = building.measure(sensor, moment, random);
        for fault in faults.iter().filter(|fault| fault.sensor == sensor.id) {
            match fault.apply(moment, value, random) {
                Some(faulty) => value = faulty,
                None => return,
            }
        }
        if random.chance(LOST) {
            return;
        }
        if random.chance(NONSENSE) {
            value = sensor.nonsense(random);
        }
        let line = Line { at_ms, sensor: self.sensor, value: sensor.rounded(value) };
        let repeated = random.chance(REPEATED);
        lines.push(line.clone());
        if repeated {
            lines.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::faults;

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        let (count, sum) =
            values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
        sum / count
    }

    fn sensor(id: &str) -> usize {
        SENSORS.iter().position(|sensor| sensor.id == id).unwrap()
    }

    #[test]
    fn a_site_is_the_same_every_time_and_in_order() {
        let once = simulate(2, &[]).unwrap();
        assert_eq!(once, simulate(2, &[]).unwrap());
        assert!(once.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
        let expected = SENSORS.len() * 288 * 2;
        assert!(once.len() > expected * 98 / 100 && once.len() < expected, "{}", once.len());
    }

    #[test]
    fn a_weekday_is_not_a_weekend() {
        let lines = simulate(7, &[]).unwrap();
        let first = lines[0].at_ms;
        let co2 = sensor("office-1/co2");
        let noon = |day: i64| {
            let from = first + day * 86_400_000 + 13 * 3_600_000;
            let of_noon = lines.iter().filter(move |l| {
                l.sensor == co2 && (from..from + 3_600_000).contains(&l.at_ms) && l.value < 9_000.0
            });
            mean(of_noon.map(|l| l.value))
        };
        assert!(noon(1) > noon(5) + 150.0, "{} {}", noon(1), noon(5));
    }

    #[test]
    fn a_fault_changes_its_own_sensor_and_days_only() {
        let planted = faults::plant(12);
        let fault = planted.iter().find(|fault| fault.days == (11..12)).unwrap();
        let (clean, faulty) =
            (simulate(12, &[]).unwrap(), simulate(12, std::slice::from_ref(fault)).unwrap());
        let own = sensor(fault.sensor);
        let pick = |lines: &[Line], same: bool| -> Vec<Line> {
            lines.iter().filter(|line| (line.sensor == own) == same).cloned().collect()
        };
        assert_eq!(pick(&clean, false), pick(&faulty, false), "the others are untouched");
        assert_ne!(pick(&clean, true), pick(&faulty, true));
        let midnight = day(11).to_zoned(TimeZone::get(TIMEZONE).unwrap()).unwrap();
        let before = |lines: Vec<Line>| -> Vec<Line> {
            lines.into_iter().filter(|l| l.at_ms < midnight.timestamp().as_millisecond()).collect()
        };
        assert_eq!(before(pick(&clean, true)), before(pick(&faulty, true)));
    }
}
