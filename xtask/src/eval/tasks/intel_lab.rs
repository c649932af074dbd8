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
    let lead = smallest_lead(set, &days).map(f64::from);
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
fn smallest_lead(set: &Set<'_>, days: &[Day<'_>]) -> Option<i32> {
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
            set.say(&format!("{device} never fails"));
            continue;
        };
        let warned = dates(|day| day.scored.drift >= WARNING).first().copied();
        let after_all = || dates(|_| true).last().and_then(|last| last.tomorrow().ok());
        let lead = (failed - warned.or_else(after_all)?).get_days();
        let said = warned.map_or_else(|| "no warning".to_owned(), |day| format!("warned {day}"));
        set.say(&format!("{device}: {said}, failed {failed}"));
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
