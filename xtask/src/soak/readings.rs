//! What the sensors say: a daily shape, noise that wanders, and the decimals that sensors print.

use std::{
    f64::consts::TAU,
    io::{self, Write},
};

use crate::demo::random::Random;

/// 2024-03-04T00:00 in Berlin, where no clock changes before the 31st.
pub(super) const START_MS: i64 = 1_709_506_800_000;
const MINUTE_MS: i64 = 60_000;
const MINUTES_PER_DAY: u32 = 1_440;

/// One sensor and its wandering noise.
#[derive(Debug)]
struct Sensor {
    name: String,
    kind: Kind,
    base: f64,
    wander: f64,
    random: Random,
}

/// How a kind of sensor moves and prints.
#[derive(Clone, Copy, Debug)]
struct Kind {
    quantity: &'static str,
    decimals: usize,
    base: f64,
    spread: f64,
    /// How far the day's shape carries.
    swing: f64,
    /// How much the wandering noise matters.
    noise: f64,
}

const KINDS: [Kind; 4] = [
    Kind { quantity: "temperature", decimals: 1, base: 20.0, spread: 5.0, swing: 2.5, noise: 0.08 },
    Kind { quantity: "humidity", decimals: 1, base: 48.0, spread: 12.0, swing: 6.0, noise: 0.4 },
    Kind { quantity: "power", decimals: 1, base: 600.0, spread: 200.0, swing: 120.0, noise: 12.0 },
    Kind { quantity: "temperature", decimals: 2, base: 21.0, spread: 4.0, swing: 1.5, noise: 0.02 },
];

/// Writes the readings of all sensors as CSV, each once a minute, spread over it.
pub(super) fn write(sensors: u32, days: u16, out: &mut impl Write) -> io::Result<()> {
    let mut all: Vec<Sensor> = (0..sensors).zip(KINDS.iter().cycle()).map(sensor).collect();
    writeln!(out, "ts,sensor,value")?;
    let minutes = u32::from(days) * MINUTES_PER_DAY;
    for minute in 0..minutes {
        let at = START_MS + i64::from(minute) * MINUTE_MS;
        let shape = shape(minute % MINUTES_PER_DAY);
        for (place, sensor) in (0_u32..).zip(&mut all) {
            let second = u64::from(place) * 60 / u64::from(sensors);
            let ts = at + i64::try_from(second * 1_000).unwrap_or(0);
            let value = sensor.next(shape);
            writeln!(out, "{ts},{},{value:.*}", sensor.name, sensor.kind.decimals)?;
        }
    }
    out.flush()
}

fn sensor((number, kind): (u32, &Kind)) -> Sensor {
    let name = format!("room-{number}/{}", kind.quantity);
    let mut random = Random::new(1, &name);
    let base = kind.base + random.between(-0.5, 0.5) * kind.spread;
    Sensor { name, kind: *kind, base, wander: 0.0, random }
}

/// Between about -1 and 1 over the day, highest in the afternoon.
fn shape(minute: u32) -> f64 {
    let turn = TAU * (f64::from(minute) / f64::from(MINUTES_PER_DAY) - 0.375);
    turn.sin() + 0.3 * (2.0 * turn).sin()
}

impl Sensor {
    fn next(&mut self, shape: f64) -> f64 {
        self.wander = 0.97 * self.wander + self.random.noise(1.0);
        self.base + self.kind.swing * shape + self.kind.noise * self.wander
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sensor_reports_once_a_minute_in_the_order_of_time() {
        let mut csv = Vec::new();
        write(7, 2, &mut csv).unwrap();
        let text = String::from_utf8(csv).unwrap();
        let rows: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split(',').collect()).collect();
        assert_eq!(rows.len(), 7 * 2 * 1_440);
        let times: Vec<i64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
        assert!(times.is_sorted());
        assert_eq!(times[7] - times[0], MINUTE_MS);
        assert!(rows.iter().all(|row| row[2].split_once('.').is_some_and(|(_, d)| d.len() <= 2)));
        let first: Vec<f64> = rows
            .iter()
            .filter(|row| row[1] == "room-0/temperature")
            .map(|row| row[2].parse().unwrap())
            .collect();
        let (low, high) =
            first.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        assert!(high - low > 4.0 && high - low < 9.0, "a day has a shape: {low} to {high}");
    }
}
