//! Which format a topic's messages are in, told by the topic and a first payload.
//!
//! Each format is asked in turn, the ones with the most telling topics first. A format's own file
//! holds what is its mark.

use super::{
    Detected, Format, Message, chirpstack, discovery, edgex, esphome, influx, number,
    open_mqtt_gateway, rtl_433, senml, shelly, sparkplug, statestream, tasmota, the_things_stack,
    thin_edge, zigbee2mqtt, zwave_js,
};
use crate::reading::Refusal;

/// Says whether a message is in a format: `None` if it is in another one.
type Mark = fn(&Message<'_>) -> Option<Detected>;

/// In this order: a mark may rely on those before it having said no.
const MARKS: &[Mark] = &[
    discovery::detect,
    sparkplug::detect,
    chirpstack::detect,
    the_things_stack::detect,
    shelly::detect,
    zigbee2mqtt::detect,
    tasmota::detect,
    open_mqtt_gateway::detect,
    rtl_433::detect,
    zwave_js::detect,
    thin_edge::detect,
    edgex::detect,
    statestream::detect,
    esphome::detect,
    senml::detect,
];

/// Finds the format of a message.
#[must_use]
pub fn detect(message: &Message<'_>) -> Detected {
    if message.topic.starts_with('$') {
        return Detected::NotASensor;
    }
    if let Some(found) = MARKS.iter().find_map(|mark| mark(message)) {
        return found;
    }
    let text = match message.text() {
        Ok(text) => text,
        Err(reason) => return Detected::Unknown(reason),
    };
    match text.as_bytes().first() {
        None => Detected::Unknown(Refusal::NoValue),
        Some(b'{' | b'[' | b'"') => Detected::Format(Format::Json),
        Some(_) if number::with_unit(text).is_some() => Detected::Format(Format::Number),
        Some(_) => influx::detect(message).unwrap_or(Detected::Unknown(Refusal::Malformed)),
    }
}
