//! Motes whose batteries sink until their thermometers fail: the day score by the days of failure,
//! and how early the voltage's drift warns.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;

use super::{
    super::{
        input::{self, ScoredDay},
        metrics::{self, Scored},
        rows::Row,
    },
    Set,
};

const ZONE: &str = "America/Los_Angeles";
const HEALTHY: &str = "ok";
const FAULT: &str = "temp_fault";
const BATTERY: &str = "voltage";
/// A sensor drifts.
const WARNING: f64 = 1.0;
const LEAD_DAYS: f64 = 3.0;
/// False warnings are counted per so many sensor-days.
const PER_SENSOR_DAYS: f64 = 60.0;

/// A channel's day with the label of its device's day.
struct Day<'a> {
    device: &'a str,
    channel: &'a str,
    scored: &'a ScoredDay,
    label: &'a str,
}

pub(super) fn figures(set: &Set<'_>) -> anyhow::Result<Vec<Row>> {
    let mut labels = HashMap::new();
    let path = set.file("labels_day_derived.csv");
    input::each_row(&path, ["device", "local_day", "label"], |[device, day, label]| {
        let day: Date = day.parse()?;
        let _ = labels.insert((device.to_owned(), day), label.to_owned());
        Ok(())
    })?;
    let scores = set.product.score(&set.readings(), ZONE)?;
    let scored = input::scored_days(&scores.days)?;
    let days: Vec<Day<'_>> = scored
        .iter()
        .filter_map(|scored| {
            let (device, channel) = scored.sensor.rsplit_once('/')?;
            let label = labels.get(&(device.to_owned(), scored.day))?;
            Some(Day { device, channel, scored, label })
        })
        .collect();
    let lead = smallest_lead(&days, |what| set.say(what)).map(f64::from);
    Ok(vec![
        set.row("temperature-fault days, AUC", fault_auc(&days)).at_least(0.99).quoted(0.99),
        set.row("battery drift, least days of warning", lead).at_least(LEAD_DAYS),
        set.row("false drift warnings per 60 sensor-days", false_warnings(&days)).at_most(1.0),
    ])
}

fn fault_auc(days: &[Day<'_>]) -> Option<f64> {
    let temperatures = days.iter().filter(|day| day.channel == "temperature");
    let scored: Vec<Scored> = temperatures
        .filter(|day| [HEALTHY, FAULT].contains(&day.label))
        .map(|day| (day.scored.score, day.label == FAULT))
        .collect();
    metrics::roc_auc(&scored)
}

/// Days from the first warning to the first day that is not healthy, of the device that has the
/// fewest. A device without a warning gets one after its last day.
fn smallest_lead(days: &[Day<'_>], say: impl Fn(&str)) -> Option<i32> {
    let mut devices = BTreeMap::<&str, Vec<&Day<'_>>>::new();
    for day in days.iter().filter(|day| day.channel == BATTERY) {
        devices.entry(day.device).or_default().push(day);
    }
    let mut least = None;
    for (device, days) in devices {
        let dates = |is: fn(&Day<'_>) -> bool| -> BTreeSet<Date> {
            days.iter().filter(|day| is(day)).map(|day| day.scored.day).collect()
        };
        let Some(failed) = dates(|day| day.label != HEALTHY).first().copied() else {
            say(&format!("{device} never fails"));
            continue;
        };
        let warned = dates(|day| day.scored.drift >= WARNING).first().copied();
        let after_all = || dates(|_| true).last().and_then(|last| last.tomorrow().ok());
        let lead = (failed - warned.or_else(after_all)?).get_days();
        let said = warned.map_or_else(|| "no warning".to_owned(), |day| format!("warned {day}"));
        say(&format!("{device}: {said}, failed {failed}"));
        least = Some(least.map_or(lead, |least: i32| least.min(lead)));
    }
    least
}

fn false_warnings(days: &[Day<'_>]) -> Option<f64> {
    let healthy: Vec<&Day<'_>> =
        days.iter().filter(|day| day.channel != BATTERY && day.label == HEALTHY).collect();
    let warnings = healthy.iter().filter(|day| day.scored.drift >= WARNING).count();
    (!healthy.is_empty()).then(|| warnings as f64 * PER_SENSOR_DAYS / healthy.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A channel's days from 1 March on: each its label, its drift and its score.
    fn days(sensor: &str, days: &[(&'static str, f64, f64)]) -> Vec<(ScoredDay, &'static str)> {
        let first = jiff::civil::date(2024, 3, 1);
        let dates = first.series(jiff::Span::new().days(1));
        let scored = |(date, (label, drift, score)): (Date, &(&'static str, f64, f64))| {
            let (drift, score) = (*drift, *score);
            (ScoredDay { sensor: sensor.into(), day: date, drift, score }, *label)
        };
        dates.zip(days).map(scored).collect()
    }

    fn labelled<'a>(days: &'a [(ScoredDay, &'static str)]) -> Vec<Day<'a>> {
        days.iter()
            .map(|(scored, label)| {
                let (device, channel) = scored.sensor.rsplit_once('/').unwrap();
                Day { device, channel, scored, label }
            })
            .collect()
    }

    const FINE: (&str, f64, f64) = (HEALTHY, 0.2, 0.1);
    const WARNED: (&str, f64, f64) = (HEALTHY, 1.0, 0.1);
    const BROKEN: (&str, f64, f64) = (FAULT, 2.0, 0.9);

    #[test]
    fn the_mote_that_was_warned_of_last_counts() {
        let early = days("a/voltage", &[FINE, WARNED, FINE, FINE, BROKEN, BROKEN]);
        let late = days("b/voltage", &[FINE, FINE, FINE, WARNED, BROKEN]);
        let never = days("c/voltage", &[FINE, WARNED, FINE]);
        let other = days("b/humidity", &[BROKEN]);
        let lead = |parts: &[Vec<(ScoredDay, &'static str)>]| {
            smallest_lead(&labelled(&parts.concat()), |_| ())
        };
        assert_eq!(lead(std::slice::from_ref(&early)), Some(3));
        assert_eq!(lead(&[early, late, never.clone(), other]), Some(1));
        assert_eq!(lead(&[never]), None, "it does not fail");
    }

    #[test]
    fn without_a_warning_it_is_too_late() {
        let silent = (FAULT, 0.9, 0.9);
        let days = days("a/voltage", &[FINE, silent, silent]);
        assert_eq!(smallest_lead(&labelled(&days), |_| ()), Some(-2));
    }

    #[test]
    fn warnings_are_false_on_healthy_days_of_all_but_the_battery() {
        let days = [
            days("a/humidity", &[FINE, WARNED, FINE, FINE, BROKEN]),
            days("a/voltage", &[WARNED, WARNED]),
        ]
        .concat();
        assert_eq!(false_warnings(&labelled(&days)), Some(15.0));
        assert_eq!(false_warnings(&[]), None);
    }

    #[test]
    fn a_day_that_is_neither_healthy_nor_failed_is_left_out() {
        let days = days("a/temperature", &[FINE, BROKEN, ("temp_partial", 0.0, 1.0)]);
        assert_eq!(fault_auc(&labelled(&days)), Some(1.0));
    }
}
