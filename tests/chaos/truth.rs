//! What the sensors of a trial measure, and the messages they say it with: doubled, disordered,
//! held back, and with a clock that steps.

use std::collections::BTreeMap;

use e2e::{
    Random, Reading,
    publisher::message,
    readings::{HOUR_MS, berlin_day, sensor_id},
    tap::Content,
};

/// 30 March to 1 April 2024 in Berlin: the middle one has 23 hours.
const FIRST_DAY: i64 = 1;
const DAYS: i64 = 3;
const MINUTE_MS: i64 = 60_000;
/// Readings of one step are this close together, so that one tick is enough for all.
const SPREAD_MS: u64 = 50_000;

/// What the sensors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The agent's clock says this.
    Tick(i64),
    /// The reading with this number.
    Say(usize),
    /// From here on something is out of order.
    Odd(Oddity),
}

/// What can be out of order in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// Messages come twice, in another order, or much later.
    Redelivery,
    /// The clock jumps forward, or back.
    ClockStep,
}

/// The readings of a trial and the order they are said in.
#[derive(Debug)]
pub(crate) struct Truth {
    /// Each once, in order of time.
    pub(crate) readings: Vec<Reading>,
    /// The same as messages.
    pub(crate) contents: Vec<Content>,
    /// How they are said.
    pub(crate) script: Vec<Step>,
}

impl Truth {
    /// The same for the same seed.
    pub(crate) fn new(random: &mut Random) -> Self {
        let readings = measure(random);
        let contents = readings.iter().map(message).collect();
        let mut script = say(&readings);
        for _ in 0..random.between(1, 3) {
            hold_back(&mut script, &readings, random);
        }
        for _ in 0..random.between(1, 4) {
            double(&mut script, random);
        }
        for _ in 0..random.between(0, 3) {
            disorder(&mut script, random);
        }
        for _ in 0..random.between(0, 3) {
            step_clock(&mut script, random);
        }
        Self { readings, contents, script }
    }

    /// Local midnight after the last day.
    pub(crate) fn end() -> i64 {
        berlin_day(FIRST_DAY + DAYS)
    }
}

fn measure(random: &mut Random) -> Vec<Reading> {
    let sensors = random.between(4, 8);
    let step = i64::try_from(random.between(8, 16)).unwrap() * MINUTE_MS;
    let mut readings = Vec::new();
    let mut at = berlin_day(FIRST_DAY);
    while at + i64::try_from(SPREAD_MS).unwrap() < Truth::end() {
        for number in 0..sensors {
            if random.chance(2) {
                continue;
            }
            let sensor = sensor_id(usize::try_from(number).unwrap());
            let at_ms = at + i64::try_from(random.between(0, SPREAD_MS)).unwrap();
            // Few values, so that equal ones next to each other are common.
            let value = 20.0 + (random.noise() * 20.0).round() / 4.0;
            readings.push(Reading { sensor, at_ms, value });
        }
        at += step;
    }
    readings.sort_by_key(|reading| reading.at_ms);
    readings
}

/// In order, with a tick whenever a minute has gone by.
fn say(readings: &[Reading]) -> Vec<Step> {
    let mut script = Vec::new();
    let mut ticked = None;
    for (number, reading) in readings.iter().enumerate() {
        if ticked.is_none_or(|at| reading.at_ms - at > MINUTE_MS) {
            ticked = Some(reading.at_ms);
            script.push(Step::Tick(reading.at_ms));
        }
        script.push(Step::Say(number));
    }
    script
}

fn place(script: &[Step], random: &mut Random) -> usize {
    // Not right at the start: an agent without any durable reading has no idea of the time.
    usize::try_from(random.between(50, u64::try_from(script.len()).unwrap())).unwrap()
}

/// A sensor loses its connection for hours, and says it all in one burst a day or so later.
fn hold_back(script: &mut Vec<Step>, readings: &[Reading], random: &mut Random) {
    let first = place(script, random);
    let Some(number) = script[first..].iter().find_map(number_of) else { return };
    let (sensor, from) = (&readings[number].sensor, readings[number].at_ms);
    let hours = |random: &mut Random, low, high| {
        i64::try_from(random.between(low, high)).unwrap() * HOUR_MS
    };
    let (until, back) = (from + hours(random, 1, 9), from + hours(random, 9, 40));
    let is_held = |step: &Step| {
        number_of(step).is_some_and(|number| {
            let reading = &readings[number];
            reading.sensor == *sensor && (from..until).contains(&reading.at_ms)
        })
    };
    let held: Vec<Step> = script.extract_if(first.., |step| is_held(step)).collect();
    let is_back =
        |step: &Step| number_of(step).is_some_and(|number| readings[number].at_ms >= back);
    let at = script[first..].iter().position(is_back).map_or(script.len(), |at| first + at);
    script.splice(at..at, [Step::Odd(Oddity::Redelivery)].into_iter().chain(held));
}

/// Messages come again right behind themselves.
fn double(script: &mut Vec<Step>, random: &mut Random) {
    let first = place(script, random);
    let last = script.len().min(first + usize::try_from(random.between(1, 60)).unwrap());
    let mut again = vec![Step::Odd(Oddity::Redelivery)];
    again.extend_from_slice(&script[first..last]);
    script.splice(last..last, again);
}

/// Messages of some minutes come in another order; the ticks among them first.
fn disorder(script: &mut Vec<Step>, random: &mut Random) {
    let first = place(script, random);
    let last = script.len().min(first + 40);
    let part: Vec<Step> = script.drain(first..last).collect();
    let (mut readings, mut others): (Vec<Step>, Vec<Step>) =
        part.into_iter().partition(|step| number_of(step).is_some());
    for at in (1..readings.len()).rev() {
        let other = usize::try_from(random.between(0, u64::try_from(at).unwrap() + 1)).unwrap();
        readings.swap(at, other);
    }
    others.push(Step::Odd(Oddity::Redelivery));
    others.append(&mut readings);
    script.splice(first..first, others);
}

/// The clock says a wrong time once: up to most of a day ahead, or two days behind.
fn step_clock(script: &mut Vec<Step>, random: &mut Random) {
    let at = place(script, random);
    let now = script[..at].iter().rev().find_map(|step| match step {
        Step::Tick(now) => Some(*now),
        Step::Say(_) | Step::Odd(_) => None,
    });
    let Some(now) = now else { return };
    let minutes =
        |random: &mut Random, high| i64::try_from(random.between(10, high)).unwrap() * MINUTE_MS;
    let wrong = if random.chance(50) {
        now + minutes(random, 20 * 60)
    } else {
        now - minutes(random, 48 * 60)
    };
    script.splice(at..at, [Step::Odd(Oddity::ClockStep), Step::Tick(wrong)]);
}

/// The reading that a step says.
fn number_of(step: &Step) -> Option<usize> {
    match step {
        Step::Say(number) => Some(*number),
        Step::Tick(_) | Step::Odd(_) => None,
    }
}

/// How often each oddity is in the steps.
pub(crate) fn oddities(steps: &[Step]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for step in steps {
        let name = match step {
            Step::Odd(Oddity::Redelivery) => "redelivery",
            Step::Odd(Oddity::ClockStep) => "clock_step",
            Step::Tick(_) | Step::Say(_) => continue,
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reading_is_said_and_the_same_seed_says_the_same() {
        for seed in 0..50 {
            let truth = Truth::new(&mut Random(seed));
            let said: BTreeSet<usize> = truth.script.iter().filter_map(number_of).collect();
            assert_eq!(said.len(), truth.readings.len(), "seed {seed}");
            let distinct: BTreeSet<_> = truth.contents.iter().collect();
            assert_eq!(distinct.len(), truth.contents.len(), "seed {seed}");
            assert_eq!(truth.script, Truth::new(&mut Random(seed)).script);
        }
    }

    #[test]
    fn no_reading_is_said_more_than_minutes_before_its_time() {
        for seed in 0..50 {
            let truth = Truth::new(&mut Random(seed));
            let mut now = i64::MIN;
            for step in &truth.script {
                match step {
                    Step::Tick(at) => now = now.max(*at),
                    Step::Say(number) => {
                        let ahead = truth.readings[*number].at_ms.saturating_sub(now);
                        assert!(ahead <= MINUTE_MS, "seed {seed}: {ahead} ms");
                    }
                    Step::Odd(_) => {}
                }
            }
        }
    }
}
