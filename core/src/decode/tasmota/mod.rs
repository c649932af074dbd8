//! Tasmota's telemetry: `SENSOR` and `STATE`, and `STATUS8`, `STATUS10` and `STATUS11`, which are
//! the same on demand.
//!
//! Its full topic may be in any order: `tele/<topic>/SENSOR`, `<topic>/tele/SENSOR`.

mod keys;

use alloc::string::String;

use serde_json::{Map, Value};

use super::{Detected, Format, Found, Message, Role, Sink, Stamp, timestamp, tree};
use crate::{quantity::Quantity, reading::Refusal, units};

/// What the last level of a topic says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Sensors.
    Sensor,
    /// The device's own state.
    State,
    /// Either, behind a key of its own.
    Status,
    /// No readings.
    Silent,
}

/// Where devices say at each start what they have: values among it, which `SENSOR` will repeat.
const DISCOVERY: &str = "tasmota/discovery/";

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    if message.topic.starts_with(DISCOVERY) {
        return Some(Detected::NotASensor);
    }
    match place(message.topic)?.1 {
        Kind::Sensor | Kind::State | Kind::Status => Some(Detected::Format(Format::Tasmota)),
        Kind::Silent => Some(match message.json() {
            // Who reads it here may want to know.
            Err(Refusal::Malformed) if looks_like_json(message) => {
                Detected::Unknown(Refusal::Malformed)
            }
            _ => Detected::NotASensor,
        }),
    }
}

fn looks_like_json(message: &Message<'_>) -> bool {
    message.text().is_ok_and(|text| text.starts_with(['{', '[']))
}

/// The device and the kind of message, of a topic that is Tasmota's.
fn place(topic: &str) -> Option<(&str, Kind)> {
    let (front, last) = topic.rsplit_once('/')?;
    let (before, prefix, behind) = ["tele", "stat", "cmnd"].iter().find_map(|prefix| {
        let mut start = 0;
        for level in front.split('/') {
            let end = start + level.len();
            if level == *prefix {
                return Some((front.get(..start)?, *prefix, front.get(end..)?));
            }
            start = end + 1;
        }
        None
    })?;
    let device = if behind.is_empty() { before } else { behind }.trim_matches('/');
    let is_loud = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let kind = match last {
        _ if prefix == "cmnd" => Kind::Silent,
        "SENSOR" => Kind::Sensor,
        "STATE" => Kind::State,
        "STATUS8" | "STATUS10" | "STATUS11" => Kind::Status,
        // `LWT`, `RESULT`, `INFO1`, `POWER2`, `STATUS`
        _ if last.chars().all(is_loud) => Kind::Silent,
        _ => return None,
    };
    (!device.is_empty()).then_some((device, kind))
}

/// Decodes a message.
///
/// # Errors
/// Why it holds no readings.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let (device, kind) = place(message.topic).unwrap_or((message.topic, Kind::Sensor));
    if kind == Kind::Silent {
        return Err(Refusal::NotASensor);
    }
    let document = message.json()?;
    let (document, kind) = match (document.get("StatusSNS"), document.get("StatusSTS")) {
        (Some(sensors), _) => (sensors, Kind::Sensor),
        (None, Some(state)) => (state, Kind::State),
        _ if kind == Kind::Status => return Err(Refusal::NotASensor),
        _ => (&document, kind),
    };
    let object = document.as_object().ok_or(Refusal::WrongFormat)?;
    let at = time(object)?;
    let device = message.device_or(device);
    let mut count = 0_usize;
    tree::numbers_and_gaps(document, "", &mut |leaf| {
        let found = match kind {
            Kind::State => read_state(device, leaf),
            _ => read(device, leaf, document),
        };
        let Some(found) = found else { return };
        count += usize::from(found.role != Role::Other);
        sink(found.at(at));
    });
    if count == 0 { Err(Refusal::NotASensor) } else { Ok(()) }
}

/// When it was measured. The device's clock follows its own zone and does not say which: `Epoch`,
/// where that is set to be sent, leaves no doubt. A clock that was never set says 1970 or 0; then
/// the arrival counts.
fn time(object: &Map<String, Value>) -> Result<Option<Stamp>, Refusal> {
    let instant = |number| timestamp::from_integer(number).map(Stamp::Utc);
    if let Some(epoch) = object.get("Epoch").and_then(Value::as_i64) {
        return Ok(instant(epoch).ok());
    }
    match object.get("Time") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Stamp::written(text),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(number) if number < timestamp::EARLIEST.0 / 1_000 => Ok(None),
            Some(number) => instant(number).map(Some),
            None => Err(Refusal::BadTimestamp),
        },
        Some(_) => Err(Refusal::BadTimestamp),
    }
}

/// A value of a sensor; `None` if it is none.
fn read<'a>(device: &'a str, leaf: tree::Leaf<'a>, document: &Value) -> Option<Found<'a>> {
    /// What the gateway knows of a device or of itself: from whenever, or no reading at all.
    const KNOWN: &[&str] = &["Time", "Epoch", "ZbInfo", "ZbState", "ZbResponse"];
    let field = leaf.path;
    let sensor = field.split('/').next().unwrap_or(field);
    if KNOWN.contains(&sensor) || is_text(leaf) {
        return None;
    }
    let named = keys::read(field);
    let unit = match named.quantity {
        Quantity::Temperature => unit_of(document, field, "TempUnit"),
        Quantity::Pressure => unit_of(document, field, "PressureUnit"),
        Quantity::Speed => unit_of(document, field, "SpeedUnit"),
        _ => None,
    };
    let measured = Found::measured(named, unit.and_then(units::find), leaf.value);
    let value = measured.value.and_then(|value| match value {
        // Before its first measurement, and when it does not answer.
        85.0 | -127.0 if keys::is_ds18(field) => Err(Refusal::Sentinel),
        _ => Ok(value),
    });
    let is_measured = measured.quantity != Quantity::Generic && measured.role == Role::Measurement;
    (value != Err(Refusal::NoValue) || is_measured).then_some(Found {
        device,
        field,
        value,
        ..measured
    })
}

/// A value of the device's own state; `None` if it is none.
fn read_state<'a>(device: &'a str, leaf: tree::Leaf<'a>) -> Option<Found<'a>> {
    let field = leaf.path;
    let is_time = matches!(field, "Time" | "Epoch");
    if is_time || is_text(leaf) || leaf.value.is_err() {
        return None;
    }
    Some(Found { device, field, ..Found::measured(keys::read_state(field), None, leaf.value) })
}

/// Whether it is a text such as an identity, which may be all digits; a missing value is not.
fn is_text(leaf: tree::Leaf<'_>) -> bool {
    leaf.is_text && leaf.value.is_ok()
}

/// The unit that stands beside the value, or further up.
fn unit_of<'v>(document: &'v Value, path: &str, key: &str) -> Option<&'v str> {
    let mut here = Some(document);
    let mut unit = None;
    for level in path.split('/') {
        let Some(value) = here else { break };
        unit = value.get(key).and_then(Value::as_str).or(unit);
        here = value.get(level);
    }
    unit
}

#[cfg(test)]
mod tests;
