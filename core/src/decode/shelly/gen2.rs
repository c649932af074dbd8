//! The second generation and later: `<prefix>/events/rpc` with what has changed, and
//! `<prefix>/status/<component>` with all of a component.

use alloc::borrow::Cow;

use serde_json::Value;

use super::{
    Detected, Format, Found, Kind, Message, Quantity, Refusal, Role, Sink, Stamp, found, spelling,
    tree,
};
use crate::decode::{names, timestamp};

use Quantity::{
    CountTotal, Current, EnergyTotal, Generic, Humidity, Illuminance, Power, Temperature, Voltage,
};
use Role::{Health, Measurement, Other};

/// Components that are measured or driven, and there once per number: `switch:0`.
const COMPONENTS: &[&str] = &[
    "switch",
    "cover",
    "light",
    "rgb",
    "rgbw",
    "cct",
    "input",
    "temperature",
    "humidity",
    "illuminance",
    "voltmeter",
    "devicepower",
    "pm1",
    "em",
    "em1",
    "emdata",
    "em1data",
    "smoke",
    "flood",
    "presence",
    "presencezone",
    "thermostat",
    "bthomesensor",
    "bthomedevice",
    "number",
    "boolean",
    "text",
    "enum",
    "button",
    "group",
    "script",
];

/// Components that say nothing of the world, nor of the device's health.
const SILENT: &[&str] = &[
    "mqtt", "cloud", "ble", "bthome", "ws", "ht_ui", "plugs_ui", "wd_ui", "knx", "matter",
    "modbus", "eth", "ota", "script", "boolean", "text", "enum", "button", "group", "ts",
];

/// A value by the end of its key, whatever the phase (`a_voltage`).
const KINDS: &[(&str, Kind)] = &[
    ("apower", (Power, "W", Measurement)),
    ("act_power", (Power, "W", Measurement)),
    ("aprt_power", (Generic, "", Measurement)),
    ("voltage", (Voltage, "V", Measurement)),
    ("current", (Current, "A", Measurement)),
    ("pf", (Generic, "", Measurement)),
    ("freq", (Generic, "", Measurement)),
    ("aenergy/total", (EnergyTotal, "Wh", Measurement)),
    ("total_act", (EnergyTotal, "Wh", Measurement)),
    ("total_act_ret", (EnergyTotal, "Wh", Measurement)),
    ("act_energy", (EnergyTotal, "Wh", Measurement)),
    ("act_ret_energy", (EnergyTotal, "Wh", Measurement)),
    ("rh", (Humidity, "%", Measurement)),
    ("lux", (Illuminance, "lx", Measurement)),
    ("battery/V", (Voltage, "V", Health)),
    ("battery/percent", (Generic, "", Health)),
    ("current_pos", (Generic, "", Measurement)),
    ("current_C", (Temperature, "C", Measurement)),
];

/// What a message is.
pub(super) enum Place<'a> {
    /// Notifications of this device's, by the topic.
    Events(&'a str),
    /// A component's whole state.
    Status(&'a str, &'a str),
    /// Nothing that is a reading.
    Silent,
}

/// The place that a message has in this generation's topics.
pub(super) fn place<'a>(message: &Message<'a>) -> Option<Place<'a>> {
    let topic = message.topic;
    let (front, last) = topic.rsplit_once('/')?;
    let device = |front: &'a str| front.strip_prefix("shellies/").unwrap_or(front);
    if let Some(prefix) = topic.strip_suffix("/events/rpc") {
        return Some(Place::Events(device(prefix)));
    }
    if let Some((prefix, "status")) = front.rsplit_once('/') {
        let (component, number) = last.split_once(':').unwrap_or((last, ""));
        let is_numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_measured = is_numbered && COMPONENTS.contains(&component);
        let holds = |key: &str| message.text().is_ok_and(|text| text.contains(key));
        return match last {
            _ if is_measured => Some(Place::Status(device(prefix), last)),
            "sys" if holds("\"ram_size\"") => Some(Place::Status(device(prefix), last)),
            "wifi" if holds("\"sta_ip\"") => Some(Place::Status(device(prefix), last)),
            _ if SILENT.contains(&last) && is_shelly(front) => Some(Place::Silent),
            _ => None,
        };
    }
    // The first generation has these as well, where they say as little.
    let is_silent = matches!(last, "online" | "command" | "rpc" | "announce" | "debug");
    (is_silent && is_shelly(front)).then_some(Place::Silent)
}

/// Whether a topic is said to be a Shelly's.
fn is_shelly(topic: &str) -> bool {
    topic.split('/').any(|level| {
        level.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("shelly"))
            || level == "shellies"
    })
}

/// Whether it is this generation's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    Some(match place(message)? {
        Place::Events(_) | Place::Status(..) => Detected::Format(Format::ShellyGen2),
        Place::Silent => Detected::NotASensor,
    })
}

/// Decodes a message.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    match place(message).ok_or(Refusal::WrongFormat)? {
        Place::Events(device) => notification(message, device, sink),
        Place::Status(device, component) => {
            let status = message.json()?;
            let device = message.device.map_or_else(|| spelling(device), Into::into);
            give(component_values(&device, component, &status, None, sink))
        }
        Place::Silent => Err(Refusal::NotASensor),
    }
}

/// What a device tells by itself. `NotifyStatus` holds what has changed: what is not in it is as
/// it was, which is no reading, and null is what the device no longer has.
fn notification(message: &Message<'_>, told: &str, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let document = message.json()?;
    if !document.is_object() {
        return Err(Refusal::WrongFormat);
    }
    let method = document.get("method").and_then(Value::as_str);
    if !matches!(method, Some("NotifyStatus" | "NotifyFullStatus")) {
        return Err(Refusal::NotASensor);
    }
    let params = document.get("params").and_then(Value::as_object).ok_or(Refusal::WrongFormat)?;
    let at = time(params.get("ts"))?;
    let id = document.get("src").and_then(Value::as_str).unwrap_or(told);
    let device: Cow<'_, str> = message.device.map_or_else(|| spelling(id), Into::into);
    let mut count = 0;
    for (component, status) in params {
        count += component_values(&device, component, status, at, sink);
    }
    give(count)
}

fn give(count: usize) -> Result<(), Refusal> {
    if count == 0 { Err(Refusal::NotASensor) } else { Ok(()) }
}

/// The time of a notification, in seconds. Before it knows the time, a device counts them from
/// its start: then the arrival counts.
fn time(ts: Option<&Value>) -> Result<Option<Stamp>, Refusal> {
    #[expect(clippy::cast_precision_loss, reason = "the bound is a round number")]
    const EARLIEST: f64 = timestamp::EARLIEST.0 as f64 / 1e3;
    match ts {
        None | Some(Value::Null) => Ok(None),
        Some(ts) if ts.as_f64().is_some_and(|ts| ts < EARLIEST) => Ok(None),
        Some(ts) => timestamp::from_json(ts).map(|at| Some(Stamp::Utc(at))),
    }
}

/// Gives the values of a component; says how many may be of interest.
fn component_values(
    device: &str,
    component: &str,
    status: &Value,
    at: Option<Stamp>,
    sink: &mut Sink<'_>,
) -> usize {
    let name = component.split(':').next().unwrap_or(component);
    if SILENT.contains(&name) || !status.is_object() {
        return 0;
    }
    let mut count = 0;
    tree::numbers(status, component, &mut |leaf| {
        if leaf.is_text && leaf.value.is_ok() {
            return;
        }
        let found = read(device, name, leaf);
        count += usize::from(found.role != Role::Other);
        sink(found.at(at));
    });
    count
}

/// One value of a component.
fn read<'a>(device: &'a str, name: &str, leaf: tree::Leaf<'a>) -> Found<'a> {
    let field = leaf.path;
    let key = field.split_once('/').map_or(field, |(_, key)| key);
    let kind = match (name, key) {
        ("sys", "uptime" | "ram_free" | "ram_min_free" | "fs_free") => (Generic, "", Health),
        ("wifi", "rssi") | ("bthomedevice", "rssi" | "battery") => (Generic, "", Health),
        ("sys" | "wifi" | "bthomedevice", _) => (Generic, "", Other),
        ("temperature", "tC") => (Temperature, "C", Measurement),
        // How hot the device is inside.
        (_, "temperature/tC") => (Temperature, "C", Health),
        ("input", "counts/total") => (CountTotal, "", Measurement),
        ("input", "percent") => (Generic, "", Measurement),
        ("bthomesensor" | "number", "value") => (Generic, "", Measurement),
        _ => by_name(key),
    };
    found(device, field, kind, leaf.value)
}

fn by_name(key: &str) -> Kind {
    let ends_with = |name: &str| {
        let before = key.strip_suffix(name);
        before.is_some_and(|before| before.is_empty() || before.ends_with(['_', '/']))
    };
    // The longest: `aprt_power` is not `power`, nor `total_act_ret` a `total_act`.
    let known = KINDS.iter().filter(|(name, _)| ends_with(name));
    let known = known.max_by_key(|(name, _)| name.len());
    // What is not known is a setting, a number of something or a repeat (`tF`, `by_minute`), as
    // far as the firmware's documentation goes.
    known.map_or((names::classify(key).quantity, "", Other), |(_, kind)| *kind)
}
