//! Zigbee2MQTT's device states: `zigbee2mqtt/<name>` with a JSON object of all attributes, or
//! `zigbee2mqtt/<name>/<attribute>` with one value.
//!
//! Names may have slashes in them. With another base topic, `linkquality` is what tells.

mod cache;

use alloc::string::String;

use serde_json::{Map, Value};

pub(super) use cache::Cache;

use super::{Detected, Format, Found, Message, Role, Sink, Stamp, timestamp, tree};
use crate::{quantity::Quantity, reading::Refusal, time::UtcMillis};

/// Words of attributes that are settings, or say more of one.
const SETTINGS: &[&str] = &[
    "update",
    "color",
    "options",
    "config",
    "calibration",
    "correction",
    "compensation",
    "setpoint",
    "limit",
    "min",
    "max",
    "alarm",
    "preset",
    "schedule",
    "programming",
    "timer",
    "countdown",
    "delay",
    "timeout",
    "duration",
    "sensitivity",
    "interval",
    "elapsed",
    "transition",
    "effect",
    "brightness",
    "action",
    "since",
    "hysteresis",
    "threshold",
    "precision",
    "deadzone",
    "raw",
    "mode",
    "boost",
];

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    let (base, name) = message.topic.split_once('/')?;
    if base.eq_ignore_ascii_case("zigbee2mqtt") {
        // What follows from one payload is not true of the topic: `a/set/b` may be a name.
        return Some(match carries_no_readings(name, true) {
            true => Detected::NotASensor,
            false => Detected::Format(Format::Zigbee2Mqtt),
        });
    }
    let is_bridge = name == "bridge" || name.starts_with("bridge/");
    if is_bridge && starts_with_ignoring_case(base, "zigbee") {
        return Some(Detected::NotASensor);
    }
    has_link_quality(message).then_some(match carries_no_readings(name, true) {
        true => Detected::NotASensor,
        false => Detected::Format(Format::Zigbee2Mqtt),
    })
}

/// Whether the topic behind the base is the bridge's own, a command or a device's availability.
/// `a/set/b` may be a name: `is_state` says that a device's state may be in the message.
fn carries_no_readings(name: &str, is_state: bool) -> bool {
    let is_command = |level: Option<&str>| matches!(level, Some("set" | "get"));
    let mut levels = name.rsplit('/');
    let last = levels.next();
    name == "bridge"
        || name.starts_with("bridge/")
        || last == Some("availability")
        || is_command(last)
        || (is_command(levels.next()) && !is_state)
}

/// Whether the message is an object with a radio's link quality, as all of Zigbee2MQTT's are.
fn has_link_quality(message: &Message<'_>) -> bool {
    const NAME: &str = "\"linkquality\"";
    let text = message.text().unwrap_or_default();
    // What is not there need not be parsed for.
    text.starts_with('{')
        && text.contains(NAME)
        && message.json().is_ok_and(|document| document.get("linkquality").is_some())
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

/// Decodes a message.
///
/// # Errors
/// Why it holds no readings.
pub(super) fn decode(
    message: &Message<'_>,
    cache: &mut Cache,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let (_, name) = message.topic.split_once('/').ok_or(Refusal::WrongFormat)?;
    let text = message.text()?;
    match text.as_bytes().first() {
        None => Err(Refusal::NoValue),
        Some(b'{') => {
            let document = message.json()?;
            let state = document.as_object().ok_or(Refusal::WrongFormat)?;
            if carries_no_readings(name, state.contains_key("linkquality")) {
                return Err(Refusal::NotASensor);
            }
            decode_state(message.device_or(name), &document, state, message.now, cache, sink)
        }
        Some(_) if carries_no_readings(name, false) => Err(Refusal::NotASensor),
        Some(_) => {
            let (name, attribute) = name.rsplit_once('/').ok_or(Refusal::WrongFormat)?;
            let device = message.device_or(name);
            decode_attribute(device, attribute, text, message.now, cache, sink)
        }
    }
}

/// All that the bridge knows of a device.
fn decode_state(
    name: &str,
    document: &Value,
    state: &Map<String, Value>,
    now: UtcMillis,
    cache: &mut Cache,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let last_seen = state.get("last_seen").filter(|last_seen| !last_seen.is_null());
    let last_seen = last_seen.map(timestamp::from_json).transpose()?;
    let device = cache.device(name, now);
    let mut count = 0_usize;
    tree::numbers_and_gaps(document, "", &mut |leaf| {
        if leaf.path == "last_seen" {
            return;
        }
        let Some(mut found) = read(name, leaf, state) else { return };
        if found.role != Role::Other {
            count += 1;
            if found.value.is_ok_and(|value| device.repeats(leaf.path, value, last_seen)) {
                found.value = Err(Refusal::Cached);
            }
        }
        sink(found.at(last_seen.map(Stamp::Utc)));
    });
    if count == 0 { Err(Refusal::NotASensor) } else { Ok(()) }
}

/// One attribute, where the bridge is set to send each by itself.
fn decode_attribute(
    name: &str,
    attribute: &str,
    text: &str,
    now: UtcMillis,
    cache: &mut Cache,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    if attribute == "last_seen" {
        return Err(Refusal::NotASensor);
    }
    if tree::is_gap(text) {
        return Err(Refusal::NoValue);
    }
    let text = Value::String(text.into());
    let (value, unit) = tree::scalar(&text).ok_or(Refusal::NotASensor)?;
    let leaf = tree::Leaf { path: attribute, value, unit, is_text: false };
    let mut found = read(name, leaf, &Map::new()).ok_or(Refusal::NotASensor)?;
    if found.role == Role::Other {
        return Err(Refusal::NotASensor);
    }
    // The bridge may send the whole state beside it.
    if value.is_ok_and(|_| {
        found.value.is_ok_and(|value| cache.device(name, now).repeats(attribute, value, None))
    }) {
        found.value = Err(Refusal::Cached);
    }
    sink(found);
    Ok(())
}

/// One attribute of a state; `None` if it is no reading and would not be one otherwise.
fn read<'a>(
    device: &'a str,
    leaf: tree::Leaf<'a>,
    state: &Map<String, Value>,
) -> Option<Found<'a>> {
    let field = leaf.path;
    let is_above = |bound: f64| leaf.value.is_ok_and(|value| value > bound);
    let unit = match field {
        // A battery's is in millivolts, that of the mains in volts.
        _ if field.ends_with("voltage") && is_above(1_000.0) => Some("mV"),
        _ if field.contains("energy") => Some("kWh"),
        _ => leaf.unit,
    };
    let found = Found::named(device, field, unit, leaf.value);
    let found = if found.quantity == Quantity::Energy { found.total() } else { found };
    let found = found.role(role(field, &found, is_above(1_000.0), state));
    let is_known = found.quantity != Quantity::Generic;
    let is_worth_a_line = match found.value {
        Err(Refusal::NoValue) => is_known && found.role == Role::Measurement,
        // `"time_format":"24h"`
        _ => !leaf.is_text || is_known || found.role == Role::Health,
    };
    is_worth_a_line.then_some(found)
}

fn role(field: &str, found: &Found<'_>, is_large: bool, state: &Map<String, Value>) -> Role {
    let has_battery = ["battery", "battery_low", "battery_state"];
    let has_battery = has_battery.iter().any(|name| state.contains_key(*name));
    let mut words = field.split(|c: char| !c.is_alphanumeric());
    match field {
        "voltage" if has_battery || is_large => Role::Health,
        // The chip's, not the room's.
        "device_temperature" | "cpu_temperature" => Role::Health,
        // It is lux that stands beside it.
        "illuminance" if state.contains_key("illuminance_lux") => Role::Other,
        _ if field.starts_with("device/") => Role::Other,
        _ if words.any(|word| SETTINGS.contains(&word)) => Role::Other,
        _ => found.role,
    }
}

#[cfg(test)]
mod tests;
