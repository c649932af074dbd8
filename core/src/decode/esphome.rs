//! ESPHome's own topics: `<prefix>/<component>/<name>/state`, a plain number from sensors.
//!
//! The prefix is the node's name unless its config says otherwise, so only the levels behind it
//! are telling.

use super::{Detected, Format, Found, Message, Sink, number};
use crate::reading::Refusal;

/// The first level that many give their nodes' prefixes, in any case.
const PREFIX: &str = "esphome";
const SENSOR: &str = "sensor";
/// The components whose states are none of a sensor.
const OTHER_COMPONENTS: &[&str] = &[
    "alarm_control_panel",
    "binary_sensor",
    "button",
    "climate",
    "cover",
    "date",
    "datetime",
    "event",
    "fan",
    "light",
    "lock",
    "media_player",
    "number",
    "select",
    "switch",
    "text",
    "text_sensor",
    "time",
    "update",
    "valve",
];

/// What these are in.
const STATES: [&str; 8] =
    ["on", "off", "open", "closed", "opening", "closing", "locked", "unlocked"];

/// A state's topic: the prefix, the component and the name.
fn state(topic: &str) -> Option<(&str, &str, &str)> {
    let (rest, name) = topic.strip_suffix("/state")?.rsplit_once('/')?;
    let (prefix, component) = rest.rsplit_once('/')?;
    let is_whole = !prefix.is_empty() && !name.is_empty();
    is_whole.then_some((prefix, component, name))
}

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    let text = message.text().ok()?;
    if let Some((_, component, _)) = state(message.topic) {
        if component == SENSOR {
            let is_number = number::decode(text) != Err(Refusal::Malformed);
            return is_number.then_some(Detected::Format(Format::EspHome));
        }
        if OTHER_COMPONENTS.contains(&component) && is_state(text) {
            return Some(Detected::NotASensor);
        }
    }
    let (rest, last) = message.topic.rsplit_once('/')?;
    // A log's line: its colour, or its level in brackets.
    let is_log =
        text.starts_with('\u{1b}') || (text.starts_with('[') && text.get(2..3) == Some("]"));
    let is_about_itself = match last {
        "status" => matches!(text, "online" | "offline"),
        "debug" => is_log,
        _ => false,
    };
    (is_about_itself || is_prefixed(rest)).then_some(Detected::NotASensor)
}

/// Decodes a message.
///
/// # Errors
/// `NotASensor` for what is no sensor's state, or as [`super::decode`] of a number.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let Some((prefix, SENSOR, name)) = state(message.topic) else {
        return Err(Refusal::NotASensor);
    };
    let own = device(prefix);
    let value = number::decode(message.text()?)?;
    sink(Found::named(message.device_or(own), name, None, Ok(value)));
    Ok(())
}

/// Whether it is what no sensor sends. What is merely no number may be one bad message of many.
fn is_state(text: &str) -> bool {
    let is_word = STATES.iter().any(|state| state.eq_ignore_ascii_case(text));
    is_word || (text.starts_with('{') && text.contains("\"state\""))
}

fn is_prefixed(topic: &str) -> bool {
    topic.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case(PREFIX))
}

/// The prefix without what says no more than that it is one.
fn device(prefix: &str) -> &str {
    match prefix.split_once('/') {
        Some((first, rest)) if first.eq_ignore_ascii_case(PREFIX) && !rest.is_empty() => rest,
        _ => prefix,
    }
}

#[cfg(test)]
mod tests {
    use alloc::{
        string::{String, ToString},
        vec,
        vec::Vec,
    };

    use proptest::prelude::*;

    use super::*;
    use crate::{quantity::Quantity, time::UtcMillis};

    fn message<'a>(topic: &'a str, payload: &'a str) -> Message<'a> {
        Message { topic, payload: payload.as_bytes(), device: None, now: UtcMillis(0) }
    }

    fn read(topic: &str, payload: &str) -> Result<Vec<(String, Quantity, f64)>, Refusal> {
        let mut found = Vec::new();
        decode(&message(topic, payload), &mut |value| {
            let id = [value.device, value.field].join("/");
            found.push((id, value.quantity, value.value.unwrap()));
        })?;
        Ok(found)
    }

    #[test]
    fn the_prefix_names_the_device() {
        let one = |id: &str, value| Ok(vec![(id.to_string(), Quantity::Temperature, value)]);
        for (topic, payload, expected) in [
            ("esphome/outdoor/sensor/temperature/state", "20.0", one("outdoor/temperature", 20.0)),
            ("ESPHOME/indoor/sensor/temperature/state", "22.0", one("indoor/temperature", 22.0)),
            ("livingroom/sensor/temperature/state", "-1", one("livingroom/temperature", -1.0)),
            ("site/a/sensor/temperature/state", "1", one("site/a/temperature", 1.0)),
            ("esphome/sensor/temperature/state", "1", one("esphome/temperature", 1.0)),
        ] {
            assert_eq!(read(topic, payload), expected, "{topic}");
            let format = Some(Detected::Format(Format::EspHome));
            assert_eq!(detect(&message(topic, payload)), format, "{topic}");
        }
    }

    #[test]
    fn a_sensor_without_a_value_says_so() {
        let topic = "livingroom/sensor/temperature/state";
        assert_eq!(read(topic, "nan"), Err(Refusal::NotFinite));
        assert_eq!(detect(&message(topic, "nan")), Some(Detected::Format(Format::EspHome)));
        assert_eq!(read(topic, ""), Err(Refusal::Malformed));
    }

    #[test]
    fn other_components_are_no_sensors() {
        for (topic, payload) in [
            ("esphome/outdoor/binary_sensor/sunlight/state", "ON"),
            ("livingroom/switch/relay/state", "OFF"),
            ("livingroom/light/lamp/state", r#"{"state":"ON","brightness":255}"#),
            ("esphome/outdoor/number/target/state", "21"),
            ("esphome/outdoor/climate/hvac/current_temperature/state", "21"),
            ("esphome/outdoor/sensor/temperature/command", "1"),
            ("livingroom/status", "online"),
            ("esphome/outdoor/status", "offline"),
            ("livingroom/debug", "\u{1b}[0;36m[D][sensor:093]: 'Temperature': 21.5\u{1b}[0m"),
            ("livingroom/debug", "[D][mqtt:241]: connected"),
        ] {
            assert_eq!(detect(&message(topic, payload)), Some(Detected::NotASensor), "{topic}");
            assert_eq!(read(topic, payload), Err(Refusal::NotASensor), "{topic}");
        }
    }

    #[test]
    fn messages_of_others_are_left_to_them() {
        for (topic, payload) in [
            ("boiler/status", "21.5"),
            ("boiler/status", r#"{"a":1}"#),
            ("boiler/debug", "21.5"),
            ("boiler/switch/speed/state", "21.5"),
            ("garden/light/level/state", ""),
            ("garden/light/level/state", "unavailable"),
            ("garden/light/level/state", r#"{"lux":1"#),
            ("boiler/sensor/temperature/state", r#"{"value":21.5}"#),
            ("boiler/sensor/temperature", "21.5"),
            ("sensor/temperature/state", "21.5"),
            ("boiler/temperature/state", "21.5"),
        ] {
            assert_eq!(detect(&message(topic, payload)), None, "{topic}");
        }
    }

    proptest! {
        #[test]
        fn no_message_panics(topic in "[a/]{0,8}(/sensor/|/status|/debug)?[a-z/é]{0,10}(/state)?", payload in ".{0,12}") {
            let message = message(&topic, &payload);
            let _detected = detect(&message);
            let told = decode(&message, &mut |found| assert!(found.value.is_ok_and(f64::is_finite)));
            prop_assert!(told.is_err() || topic.contains("/sensor/"));
        }
    }
}
