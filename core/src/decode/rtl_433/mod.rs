//! `rtl_433`: whole events as JSON, on any topic, and one topic per value below `devices`.
//!
//! A sensor is its model, channel and id, which are in the event; the topic is the receiver's.

use alloc::{format, string::String, vec::Vec};

use serde_json::{Map, Value};

use super::{Detected, Format, Found, Message, Role, Sink, Stamp, hash, number, timestamp, tree};
use crate::{quantity::Quantity, reading::Refusal};

/// Keys that say how the device and its radio fare.
const HEALTH: &[&str] = &["rssi", "snr", "freq", "freq1", "freq2", "supercap_V"];

/// Keys that name the sensor, the message or a button.
const OTHER: &[&str] = &[
    "time",
    "type",
    "model",
    "brand",
    "id",
    "channel",
    "subtype",
    "protocol",
    "mic",
    "mod",
    "data",
    "code",
    "codes",
    "rows",
    "len",
    "raw_msg",
    "msg",
    "msg_type",
    "message_type",
    "sequence_num",
    "flags",
    "button",
    "cmd",
    "command",
    "event",
    "unit",
    "group",
    "house_code",
    "sid",
    "startup",
    "learn",
    "exception",
];

/// How keys end, and the unit that this says.
const UNITS: &[(&str, &str)] = &[
    ("_C", "C"),
    ("_F", "F"),
    ("_hPa", "hPa"),
    ("_kPa", "kPa"),
    ("_PSI", "psi"),
    ("_inHg", "inHg"),
    ("_km_h", "km/h"),
    ("_mi_h", "mph"),
    ("_m_s", "m/s"),
    ("_kWh", "kWh"),
    ("_kW", "kW"),
    ("_W", "W"),
    ("_mV", "mV"),
    ("_V", "V"),
    ("_A", "A"),
    ("_lux", "lx"),
    ("_ug_m3", "ug/m3"),
    ("_m3", "m3"),
];

/// The receivers that send whole events; bounded.
#[derive(Debug, Default)]
pub(super) struct Receivers(Vec<u64>);

impl Receivers {
    const MOST: usize = 64;

    fn add(&mut self, receiver: &str) {
        if !self.has(receiver) {
            if self.0.len() >= Self::MOST {
                self.0.remove(0);
            }
            self.0.push(hash::hash(receiver));
        }
    }

    fn has(&self, receiver: &str) -> bool {
        self.0.contains(&hash::hash(receiver))
    }
}

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    let (first, rest) = message.topic.split_once('/').unwrap_or((message.topic, ""));
    if !first.eq_ignore_ascii_case("rtl_433") {
        return is_event(message).then_some(Detected::Format(Format::Rtl433));
    }
    Some(match rest.rsplit('/').next() {
        Some("states" | "availability" | "LWT") => Detected::NotASensor,
        _ => Detected::Format(Format::Rtl433),
    })
}

/// Whether it is an object with the keys that every event has and others hardly have together.
fn is_event(message: &Message<'_>) -> bool {
    const TELLING: [&str; 5] = ["mic", "battery_ok", "temperature_C", "temperature_F", "mod"];
    let text = message.text().unwrap_or_default();
    // What is not there need not be parsed for.
    if !text.starts_with('{') || !text.contains("\"model\"") || !text.contains("\"time\"") {
        return false;
    }
    message.json().is_ok_and(|document| {
        tree::at(&document, &["model"]).is_some_and(Value::is_string)
            && tree::at(&document, &["time"]).is_some()
            && TELLING.iter().any(|key| document.get(*key).is_some())
    })
}

/// The receiver, the device and the key of a topic that holds one value.
fn tree_of_values(topic: &str) -> Option<(&str, &str, &str)> {
    let (front, key) = topic.rsplit_once('/')?;
    let (receiver, device) = match front.split_once("/devices/") {
        Some(parts) => parts,
        None => front.split_once('/')?,
    };
    Some((receiver, device, key))
}

/// Decodes a message.
///
/// # Errors
/// Why it holds no readings.
pub(super) fn decode(
    message: &Message<'_>,
    receivers: &mut Receivers,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let text = message.text()?;
    if !text.starts_with('{') {
        return one_value(message, text, receivers, sink);
    }
    let document = message.json()?;
    let object = document.as_object().ok_or(Refusal::WrongFormat)?;
    if tree::text(object, "model").is_none() {
        // What a receiver says of itself.
        return Err(Refusal::NotASensor);
    }
    event(message.device, &document, object, sink)?;
    if let Some(receiver) = message.topic.strip_suffix("/events") {
        receivers.add(receiver);
    }
    Ok(())
}

/// One value of an event on a topic of its own. By default a receiver sends both, the event first:
/// then the value is known, and with a better time.
fn one_value(
    message: &Message<'_>,
    text: &str,
    receivers: &Receivers,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let (receiver, device, key) = tree_of_values(message.topic).ok_or(Refusal::WrongFormat)?;
    if text.is_empty() {
        return Err(Refusal::NoValue);
    }
    let value = number::decode(text).map_err(|reason| match reason {
        // Most of an event's keys are words.
        Refusal::Malformed | Refusal::NotANumber => Refusal::NotASensor,
        reason => reason,
    });
    let mut found = read(message.device_or(device), key, key, Ok(value?), false);
    if found.role == Role::Other {
        return Err(Refusal::NotASensor);
    }
    if receivers.has(receiver) {
        found.value = Err(Refusal::Cached);
    }
    sink(found);
    Ok(())
}

/// A whole event; `given` names the device if the topic does, and then what is in the event names
/// what belongs to it.
pub(super) fn event(
    given: Option<&str>,
    document: &Value,
    object: &Map<String, Value>,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let identity = identity(object);
    let at = time(object.get("time"))?;
    let is_tyre = tree::text(object, "type") == Some("TPMS");
    let mut count = 0_usize;
    tree::numbers_and_gaps(document, "", &mut |leaf| {
        // An identity or a code may be all digits.
        if (leaf.is_text && leaf.value.is_ok()) || leaf.path == "time" {
            return;
        }
        let joined;
        let (device, field) = match given {
            Some(given) => {
                joined = format!("{identity}/{}", leaf.path);
                (given, joined.as_str())
            }
            None => (identity.as_str(), leaf.path),
        };
        let found = read(device, field, leaf.path, leaf.value, is_tyre);
        let is_known = found.quantity != Quantity::Generic && found.role == Role::Measurement;
        if found.value == Err(Refusal::NoValue) && !is_known {
            return;
        }
        count += usize::from(found.role != Role::Other);
        sink(found.at(at));
    });
    if count == 0 { Err(Refusal::NotASensor) } else { Ok(()) }
}

/// The sensor that an event is from.
fn identity(object: &Map<String, Value>) -> String {
    let mut identity = String::new();
    for key in ["model", "channel", "id"] {
        let part = match object.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => format!("{number}"),
            _ => continue,
        };
        if !part.is_empty() {
            if !identity.is_empty() {
                identity.push('/');
            }
            identity.push_str(&part);
        }
    }
    identity
}

/// The time of an event: local unless the receiver is set to say more. `@0.5s` is a place in a
/// recording.
fn time(time: Option<&Value>) -> Result<Option<Stamp>, Refusal> {
    match time {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.starts_with('@') => Ok(None),
        Some(Value::String(text)) if text.parse::<f64>().is_err() => Stamp::written(text),
        Some(epoch) => timestamp::from_json(epoch).map(|at| Some(Stamp::Utc(at))),
    }
}

/// One value, by its key.
fn read<'a>(
    device: &'a str,
    field: &'a str,
    key: &str,
    value: Result<f64, Refusal>,
    is_tyre: bool,
) -> Found<'a> {
    let unit = UNITS.iter().find(|(end, _)| key.ends_with(end)).map(|(_, unit)| *unit);
    let found = Found::named("", key, unit, value);
    // How hard a tyre is pumped is no air pressure.
    let found = match found.quantity {
        Quantity::Pressure if is_tyre => Found { quantity: Quantity::Generic, value, ..found },
        Quantity::Energy => found.total(),
        Quantity::Count if key == "strike_count" => found.total(),
        _ => found,
    };
    let (quantity, role) = match key {
        // The radio's noise is none that can be heard.
        "noise" | "ext_power" => (Quantity::Generic, Role::Health),
        _ if HEALTH.contains(&key) || key.starts_with("battery") => (found.quantity, Role::Health),
        _ if OTHER.contains(&key) => (found.quantity, Role::Other),
        _ => (found.quantity, found.role),
    };
    Found { device, field, quantity, role, ..found }
}

#[cfg(test)]
mod tests;
