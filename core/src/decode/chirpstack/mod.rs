//! `ChirpStack`, versions 3 and 4: the events of LoRaWAN devices in JSON.
//!
//! Both publish under `application/<id>/device/<devEUI>/event/<kind>`; 4 puts what is known of
//! the device under `deviceInfo`, 3 beside the rest and spells it `devEUI`. Uplinks are `up`,
//! with what the device's codec made of them under `object`; `status` is the device's own health.
//! The other kinds carry no readings.

use alloc::{collections::VecDeque, string::String};

use serde_json::{Map, Value};

use super::{
    Detected, Devices, Format, Found, Message, Role, Sink, Stamp,
    codecs::Origin,
    json, timestamp, tree,
    uplink::{Link, Payload},
};
use crate::{reading::Refusal, time::UtcMillis};

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    match Topic::of(message.topic) {
        Some(Topic::Event { kind: "up" | "status", .. }) => {
            Some(Detected::Format(version(message)))
        }
        Some(_) => Some(Detected::NotASensor),
        None => by_content(message),
    }
}

/// Topics can be set to anything; the messages still tell.
fn by_content(message: &Message<'_>) -> Option<Detected> {
    let text = message.text().ok().filter(|text| text.starts_with('{'))?;
    let has = |key: &str| text.contains(key);
    if has("\"deviceInfo\"") && has("\"devEui\"") && has("\"applicationId\"") {
        return Some(Detected::Format(Format::ChirpStackV4));
    }
    let is_older = has("\"devEUI\"") && has("\"applicationID\"") && has("\"deviceName\"");
    is_older.then_some(Detected::Format(Format::ChirpStackV3))
}

fn version(message: &Message<'_>) -> Format {
    match message.text() {
        Ok(text) if text.contains("\"devEUI\"") && !text.contains("\"deviceInfo\"") => {
            Format::ChirpStackV3
        }
        _ => Format::ChirpStackV4,
    }
}

/// What a topic says.
enum Topic<'t> {
    /// An event of a device.
    Event {
        /// As the topic has it.
        dev_eui: &'t str,
        /// `up`, `join` …
        kind: &'t str,
    },
    /// A command, or what gateways and server say to each other.
    Other,
}

impl<'t> Topic<'t> {
    /// There may be a prefix; the levels are then found further on.
    fn of(topic: &'t str) -> Option<Self> {
        let mut rest = topic;
        loop {
            let mut levels = rest.split('/');
            match (levels.next()?, levels.next(), levels.next(), levels.next()) {
                ("application", Some(_), Some("device"), Some(dev_eui)) => {
                    return match (levels.next(), levels.next(), levels.next()) {
                        (Some("event"), Some(kind), None) => Some(Self::Event { dev_eui, kind }),
                        (Some("command"), _, _) => Some(Self::Other),
                        // How 3 named them first.
                        (Some("rx"), None, _) => Some(Self::Event { dev_eui, kind: "up" }),
                        (Some(kind), None, _) => Some(Self::Event { dev_eui, kind }),
                        _ => None,
                    };
                }
                ("gateway", Some(id), Some("event" | "command" | "state"), Some(_))
                    if is_eui(id) =>
                {
                    return Some(Self::Other);
                }
                _ => rest = rest.split_once('/')?.1,
            }
        }
    }
}

fn is_eui(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Decodes a message.
///
/// # Errors
/// `NotASensor` if it is no uplink and no status, `Duplicate` if an uplink without a time was
/// here before, `NoCodec` if the server does not decode the device's payload, `NoValue`,
/// `Malformed`, `BadTimestamp`, `WrongFormat`.
pub(super) fn decode(
    devices: &mut Devices,
    message: &Message<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let topic = Topic::of(message.topic);
    if let Some(Topic::Other) = topic {
        return Err(Refusal::NotASensor);
    }
    let document = message.json()?;
    let event = document.as_object().ok_or(Refusal::WrongFormat)?;
    let info = event.get("deviceInfo").unwrap_or(&document);
    let named = ["devEui", "devEUI"].iter().find_map(|key| info.get(*key)?.as_str());
    let (in_topic, kind) = match topic {
        Some(Topic::Event { dev_eui, kind }) => (Some(dev_eui), kind),
        _ => (None, kind_by_content(event)),
    };
    // With 3's Protobuf marshaler the message has it in base64; the topic never has.
    let dev_eui = named.filter(|eui| is_eui(eui)).or(in_topic).ok_or(Refusal::WrongFormat)?;
    let device = message.device_or(dev_eui);
    match kind {
        "up" => {}
        "status" => return status(device, &document, sink),
        _ => return Err(Refusal::NotASensor),
    }
    let at = time(&document)?;
    if at.is_none() {
        devices.heard.again(tree::text(event, "deduplicationId"))?;
    }
    let at = at.map(Stamp::Utc);
    let given = payload(device, at, dev_eui, &document, sink);
    let gateways = ("rxInfo", event.get("rxInfo"));
    Link { gateways, of: &document, numbers: &["dr", "fCnt"] }.give(device, at, given, sink)
}

/// The ids of the uplinks that say no time. The server gives each uplink an id, and sends it with
/// every copy; with a time a copy's readings are known to be repeats, without one they are not.
#[derive(Debug, Default)]
pub(super) struct Heard {
    ids: VecDeque<u128>,
}

impl Heard {
    /// As many uplinks as come while a copy may still be under way.
    const MOST: usize = 512;

    /// # Errors
    /// `Duplicate` if the id was here before.
    fn again(&mut self, id: Option<&str>) -> Result<(), Refusal> {
        let hex: String = id.unwrap_or_default().chars().filter(|c| *c != '-').take(33).collect();
        let Ok(id) = u128::from_str_radix(&hex, 16) else { return Ok(()) };
        if self.ids.contains(&id) {
            return Err(Refusal::Duplicate);
        }
        if self.ids.len() >= Self::MOST {
            self.ids.pop_front();
        }
        self.ids.push_back(id);
        Ok(())
    }
}

fn kind_by_content(event: &Map<String, Value>) -> &'static str {
    let has = |key: &str| event.contains_key(key);
    if has("fCnt") || has("fPort") || has("data") || has("object") {
        // An integration has an object too.
        if has("integrationName") { "integration" } else { "up" }
    } else if has("margin") {
        "status"
    } else {
        "other"
    }
}

/// When the uplink was heard. 3 says that in each gateway's part only, if the gateway knows.
fn time(event: &Value) -> Result<Option<UtcMillis>, Refusal> {
    let first = |list: Option<&Value>| {
        let gateways = list?.as_array()?;
        gateways.iter().take(64).find_map(|gateway| tree::at(gateway, &["time"])).cloned()
    };
    let told = tree::at(event, &["time"]).cloned();
    let told = told.or_else(|| first(event.get("rxInfo")));
    let told = told.or_else(|| tree::at(event, &["publishedAt"]).cloned());
    told.as_ref().map(timestamp::from_json).transpose()
}

fn payload(
    device: &str,
    at: Option<Stamp>,
    dev_eui: &str,
    event: &Value,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let text = |path: &[&str]| tree::at(event, path).and_then(Value::as_str);
    // With 3's Protobuf marshaler the object is text in turn.
    let in_text = text(&["objectJSON"]).filter(|text| !text.is_empty());
    let parsed = in_text.map(json::parse::<Value>).transpose()?;
    let profile = text(&["deviceInfo", "deviceProfileName"]).or(text(&["deviceProfileName"]));
    let port = tree::at(event, &["fPort"]).and_then(Value::as_u64);
    let profile = profile.unwrap_or("");
    let origin = Origin { dev_eui, brand: "", profile, port: port.unwrap_or(0) };
    let object = tree::at(event, &["object"]).or(parsed.as_ref());
    Payload { object, data: text(&["data"]), origin }.give(device, at, sink)
}

/// What the device tells the network of itself. A level that is none is not given.
fn status(device: &str, event: &Value, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let at = tree::at(event, &["time"]).map(timestamp::from_json).transpose()?;
    let is = |key: &str| event.get(key).and_then(Value::as_bool).unwrap_or(false);
    let has_level = !is("externalPowerSource") && !is("batteryLevelUnavailable");
    let mut count = 0;
    for key in ["margin", "batteryLevel"] {
        let value = event.get(key).and_then(Value::as_f64);
        if let Some(value) = value.filter(|_| key == "margin" || has_level) {
            count += 1;
            let found = Found::named(device, key, None, Ok(value)).role(Role::Health);
            sink(found.at(at.map(Stamp::Utc)));
        }
    }
    if count == 0 { Err(Refusal::NoValue) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
