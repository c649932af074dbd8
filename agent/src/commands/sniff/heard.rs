//! What was heard, by sensor and by topic, and how it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use daywise_core::decode::Format;
use serde::Serialize;

use crate::{
    config::BrokerUrl,
    intake::{Intake, Status, Verdict},
};

/// Sensors and topics listed; what comes beyond is counted.
const MAX_LISTED: usize = 2_000;

/// What was heard so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    messages: u64,
    sensors: BTreeMap<String, SensorHeard>,
    left_out: BTreeMap<(String, &'static str), LeftOut>,
    unlisted: u64,
}

/// A sensor, as it was heard.
#[derive(Clone, Debug, Serialize)]
pub struct SensorHeard {
    /// Its id.
    pub sensor: String,
    /// A topic of it.
    pub topic: String,
    /// The payload's format.
    pub format: &'static str,
    /// What it measures.
    pub quantity: &'static str,
    /// In which unit.
    pub unit: &'static str,
    /// How many of its readings would be kept.
    pub readings: u64,
    /// The last one.
    pub last_value: f64,
}

/// What would be left out.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// The sensor, or the topic if there is none.
    pub what: String,
    /// Why.
    pub reason: &'static str,
    /// Whether it was never meant to be a reading.
    pub is_ignored: bool,
    /// How often.
    pub times: u64,
}

/// What there is on a broker.
#[derive(Clone, Debug, Serialize)]
pub struct SniffSummary {
    /// Messages heard.
    pub messages: u64,
    /// For how long it was listened.
    pub seconds: u64,
    /// The sensors.
    pub sensors: Vec<SensorHeard>,
    /// What would be left out, and why.
    pub left_out: Vec<LeftOut>,
    /// Readings and topics beyond those listed.
    pub unlisted: u64,
    /// A config's `[mqtt]` and `[[sources]]` for these sensors.
    pub config: String,
}

impl Heard {
    /// Notes what was decided about the message that the intake has just taken.
    pub(super) fn note(&mut self, intake: &Intake, topic: &str, verdicts: &[Verdict]) {
        self.messages += 1;
        let format = intake.format.map_or("number or json", Format::name);
        // A setting beside readings is nothing to list.
        for verdict in verdicts.iter().filter(|verdict| verdict.name.is_none()) {
            let named = verdict.sensor.and_then(|number| intake.routes.named(number));
            match (named, verdict.status) {
                (Some((id, quantity)), Status::Accepted | Status::Quarantined) => {
                    if self.sensors.len() >= MAX_LISTED && !self.sensors.contains_key(id) {
                        self.unlisted += 1;
                        continue;
                    }
                    let sensor = self.sensors.entry(id.to_owned()).or_insert_with(|| SensorHeard {
                        sensor: id.to_owned(),
                        topic: topic.to_owned(),
                        format,
                        quantity: quantity.name(),
                        unit: quantity.unit(),
                        readings: 0,
                        last_value: 0.0,
                    });
                    sensor.readings += 1;
                    sensor.last_value = verdict.value.unwrap_or_default();
                }
                (named, status) => {
                    let what = named.map_or(topic, |(id, _)| id);
                    self.leave_out(what, status);
                }
            }
        }
    }

    fn leave_out(&mut self, what: &str, status: Status) {
        let Some(reason) = status.reason() else { return };
        let key = (what.to_owned(), reason.name());
        if self.left_out.len() >= MAX_LISTED && !self.left_out.contains_key(&key) {
            self.unlisted += 1;
            return;
        }
        let left_out = self.left_out.entry(key).or_insert_with(|| LeftOut {
            what: what.to_owned(),
            reason: reason.name(),
            is_ignored: matches!(status, Status::Ignored(_)),
            times: 0,
        });
        left_out.times += 1;
    }

    pub(super) fn summary(self, broker: &BrokerUrl, seconds: u64) -> SniffSummary {
        let sensors: Vec<SensorHeard> = self.sensors.into_values().collect();
        SniffSummary {
            messages: self.messages,
            seconds,
            config: config(broker, &sensors),
            sensors,
            left_out: self.left_out.into_values().collect(),
            unlisted: self.unlisted,
        }
    }
}

/// A config for what was heard: the first level of each topic, whose messages' format is found.
fn config(broker: &BrokerUrl, sensors: &[SensorHeard]) -> String {
    let first = |sensor: &SensorHeard| sensor.topic.split('/').next().map(str::to_owned);
    let levels: BTreeSet<String> = sensors.iter().filter_map(first).collect();
    let mut text = format!("[mqtt]\nurl = \"{broker}\"\n");
    for level in levels {
        let formats: BTreeSet<&str> = sensors
            .iter()
            .filter(|sensor| sensor.topic.split('/').next() == Some(level.as_str()))
            .map(|sensor| sensor.format)
            .collect();
        let formats = formats.into_iter().collect::<Vec<_>>().join(", ");
        // As TOML writes a text: the level may hold quotes.
        let topic = toml::Value::String(format!("{level}/#"));
        text.push_str(&format!("\n[[sources]]  # {formats}\ntopic = {topic}\n"));
    }
    text
}

impl fmt::Display for SniffSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, seconds, sensors, left_out, unlisted, config } = self;
        writeln!(f, "{messages} messages in {seconds} s")?;
        writeln!(f, "\n{} sensors", sensors.len())?;
        let width = sensors.iter().map(|sensor| sensor.sensor.chars().count()).max().unwrap_or(0);
        for sensor in sensors {
            let SensorHeard { sensor: id, format, quantity, unit, readings, last_value, .. } =
                sensor;
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let per_minute = *readings as f64 * 60.0 / (*seconds).max(1) as f64;
            writeln!(
                f,
                "  {id:width$}  {quantity:<14} {last_value:>10} {unit:<6} {per_minute:>6.1}/min  \
                 {format}"
            )?;
        }
        for (title, is_ignored) in [("refused", false), ("ignored", true)] {
            let listed = left_out.iter().filter(|left_out| left_out.is_ignored == is_ignored);
            writeln!(f, "\n{} {title}", listed.clone().count())?;
            for LeftOut { what, reason, times, .. } in listed {
                writeln!(f, "  {what}  {reason} ({times} x)")?;
            }
        }
        if *unlisted > 0 {
            writeln!(f, "\n{unlisted} more are not listed")?;
        }
        writeln!(f, "\nTo take these, put into the agent's config:\n\n{config}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensor(id: &str, topic: &str, format: &'static str) -> SensorHeard {
        let (sensor, topic) = (id.to_owned(), topic.to_owned());
        let (quantity, unit) = ("temperature", "Cel");
        SensorHeard { sensor, topic, format, quantity, unit, readings: 3, last_value: 21.5 }
    }

    #[test]
    fn the_config_that_is_shown_can_be_used() {
        let sensors = [
            sensor("living_room/temperature", "zigbee2mqtt/living_room", "zigbee2mqtt"),
            sensor("boiler/t", "tele/boiler/SENSOR", "tasmota"),
            sensor("x", "odd\"level/x", "json"),
        ];
        let broker = BrokerUrl { host: "broker".into(), port: 1_883 };
        let shown = config(&broker, &sensors);
        let whole = format!("gateway = 'gw'\nstate_dir = '/x'\n{shown}");
        let parsed = crate::config::AgentConfig::parse(&whole).unwrap();
        let topics: Vec<&str> = parsed.sources.iter().map(|source| source.topic.as_str()).collect();
        assert_eq!(topics, ["odd\"level/#", "tele/#", "zigbee2mqtt/#"]);
    }
}
