//! Home Assistant's `mqtt_statestream`: `<base>/<domain>/<object>/state`, and the entity's
//! attributes in topics beside it, quoted as JSON.
//!
//! What is measured, and in which unit, stands in attributes. They are remembered per entity, and
//! count for the states that come after them.

use alloc::{collections::BTreeMap, string::String};

use super::{Detected, Format, Found, Message, Sink, device_class::Told, number};
use crate::reading::Refusal;

/// First levels that a base is usually given.
const BASES: [&str; 2] = ["homeassistant", "statestream"];
/// Domains whose states are measured or set numbers.
const DOMAINS: [&str; 4] = ["sensor", "number", "input_number", "counter"];
/// The other domains of entities that are streamed.
const OTHER_DOMAINS: &[&str] = &[
    "air_quality",
    "alarm_control_panel",
    "automation",
    "binary_sensor",
    "button",
    "calendar",
    "camera",
    "climate",
    "conversation",
    "cover",
    "date",
    "datetime",
    "device_tracker",
    "event",
    "fan",
    "group",
    "humidifier",
    "image",
    "input_boolean",
    "input_button",
    "input_datetime",
    "input_select",
    "input_text",
    "lawn_mower",
    "light",
    "lock",
    "media_player",
    "notify",
    "person",
    "plant",
    "remote",
    "scene",
    "schedule",
    "script",
    "select",
    "siren",
    "stt",
    "sun",
    "switch",
    "text",
    "time",
    "timer",
    "todo",
    "tts",
    "update",
    "vacuum",
    "valve",
    "wake_word",
    "water_heater",
    "weather",
    "zone",
];
/// The attributes that say what is measured.
const UNIT: &str = "unit_of_measurement";
const DEVICE_CLASS: &str = "device_class";
const STATE_CLASS: &str = "state_class";

/// The most entities whose attributes are remembered.
const MAX_ENTITIES: usize = 4_096;
/// The longest topic of one.
const MAX_TOPIC: usize = 256;

/// What the attributes of entities said, by their topic without its last level.
#[derive(Debug, Default)]
pub(super) struct Entities(BTreeMap<String, Told>);

impl Entities {
    /// The entity's memory; `None` if there is no room for one more.
    fn of(&mut self, topic: &str) -> Option<&mut Told> {
        if !self.0.contains_key(topic) {
            if self.0.len() >= MAX_ENTITIES || topic.len() > MAX_TOPIC {
                return None;
            }
            self.0.insert(topic.into(), Told::default());
        }
        self.0.get_mut(topic)
    }
}

/// A topic's levels.
struct Address<'a> {
    /// The topic without its last level.
    entity: &'a str,
    base: &'a str,
    domain: &'a str,
    object: &'a str,
    attribute: &'a str,
}

impl<'a> Address<'a> {
    fn of(topic: &'a str) -> Option<Self> {
        let (entity, attribute) = topic.rsplit_once('/')?;
        let (rest, object) = entity.rsplit_once('/')?;
        let (base, domain) = rest.rsplit_once('/')?;
        let is_whole = ![base, domain, object, attribute].contains(&"");
        is_whole.then_some(Self { entity, base, domain, object, attribute })
    }
}

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    let address = Address::of(message.topic)?;
    if !BASES.contains(&address.base) {
        return None;
    }
    if DOMAINS.contains(&address.domain) {
        let is_read = ["state", UNIT, DEVICE_CLASS, STATE_CLASS].contains(&address.attribute);
        let format = Detected::Format(Format::HaStatestream);
        return Some(if is_read { format } else { Detected::NotASensor });
    }
    OTHER_DOMAINS.contains(&address.domain).then_some(Detected::NotASensor)
}

/// Decodes a message, and remembers in `entities` what an attribute says.
///
/// # Errors
/// `NotASensor` for attributes and for entities of other domains; else why the state is none.
pub(super) fn decode(
    message: &Message<'_>,
    entities: &mut Entities,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let address = Address::of(message.topic).ok_or(Refusal::WrongFormat)?;
    if !DOMAINS.contains(&address.domain) {
        return Err(Refusal::NotASensor);
    }
    let text = message.text()?;
    if address.attribute != "state" {
        let is_telling = [UNIT, DEVICE_CLASS, STATE_CLASS].contains(&address.attribute);
        if is_telling && let Some(told) = entities.of(address.entity) {
            learn(told, address.attribute, text);
        }
        return Err(Refusal::NotASensor);
    }
    let value = state(text)?;
    let told = entities.0.get(address.entity).copied().unwrap_or_default();
    // An entity's name is its own within its domain only; sensors are what most are.
    let own = match address.domain {
        "sensor" => String::from(address.object),
        domain => alloc::format!("{domain}/{}", address.object),
    };
    sink(told.apply(Found::named(message.device_or(&own), "", None, Ok(value))));
    Ok(())
}

fn learn(told: &mut Told, attribute: &str, text: &str) {
    let quoted = serde_json::from_str::<String>(text);
    let text = quoted.as_deref().unwrap_or(text);
    match attribute {
        UNIT => told.set_unit(text),
        DEVICE_CLASS => told.set_class(text),
        STATE_CLASS => told.set_state_class(text),
        _ => {}
    }
}

fn state(text: &str) -> Result<f64, Refusal> {
    if ["", "unavailable", "unknown", "none", "null"].iter().any(|s| s.eq_ignore_ascii_case(text)) {
        return Err(Refusal::NoValue);
    }
    number::decode(text).map_err(|reason| match reason {
        // Many an entity's state is a word.
        Refusal::Malformed => Refusal::NotANumber,
        reason => reason,
    })
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        decode::{Devices, Role},
        quantity::Quantity,
        time::UtcMillis,
    };

    fn message<'a>(topic: &'a str, payload: &'a str) -> Message<'a> {
        Message { topic, payload: payload.as_bytes(), device: None, now: UtcMillis(0) }
    }

    type Read = (String, Quantity, f64, Role);

    fn read(devices: &mut Devices, topic: &str, payload: &str) -> Result<Vec<Read>, Refusal> {
        let mut found = Vec::new();
        devices.decode(Format::HaStatestream, &message(topic, payload), &mut |value| {
            assert_eq!(value.field, "");
            found.push((
                value.device.to_string(),
                value.quantity,
                value.value.unwrap(),
                value.role,
            ));
        })?;
        Ok(found)
    }

    fn detected(topic: &str) -> Option<Detected> {
        detect(&message(topic, "21.5"))
    }

    #[test]
    fn attributes_say_what_later_states_are() {
        let mut devices = Devices::default();
        let topic = |last: &str| ["homeassistant/sensor/supply/", last].concat();
        let before = read(&mut devices, &topic("state"), "68.9");
        let measured =
            |quantity, value| Ok(vec![("supply".to_string(), quantity, value, Role::Measurement)]);
        assert_eq!(before, measured(Quantity::Generic, 68.9));
        for (attribute, payload) in [
            ("unit_of_measurement", r#""\u00b0F""#),
            ("device_class", r#""temperature""#),
            ("friendly_name", r#""Supply""#),
        ] {
            let told = read(&mut devices, &topic(attribute), payload);
            assert_eq!(told, Err(Refusal::NotASensor), "{attribute}");
        }
        let after = read(&mut devices, &topic("state"), "68.9");
        assert_eq!(after, measured(Quantity::Temperature, 20.5));
        // Another entity's attributes are its own.
        let other = read(&mut devices, "homeassistant/sensor/outside/state", "68.9");
        assert_eq!(other.unwrap()[0].2, 68.9);
    }

    #[test]
    fn counters_and_health_are_told_by_their_classes() {
        let mut devices = Devices::default();
        for (object, attribute, payload) in [
            ("meter", "unit_of_measurement", "\"kWh\""),
            ("meter", "device_class", "\"energy\""),
            ("meter", "state_class", "\"total_increasing\""),
            ("left", "device_class", "\"battery\""),
        ] {
            let topic = format!("ha/stream/sensor/{object}/{attribute}");
            assert_eq!(read(&mut devices, &topic, payload), Err(Refusal::NotASensor));
        }
        let mut state = |object: &str| {
            let topic = format!("ha/stream/sensor/{object}/state");
            read(&mut devices, &topic, "1.5").unwrap().remove(0)
        };
        let meter = ("meter".to_string(), Quantity::EnergyTotal, 1_500.0, Role::Measurement);
        assert_eq!(state("meter"), meter);
        assert_eq!(state("left").3, Role::Health);
    }

    #[test]
    fn a_state_that_is_no_number_is_refused_with_its_reason() {
        let mut devices = Devices::default();
        let mut refused =
            |payload| read(&mut devices, "homeassistant/sensor/x/state", payload).unwrap_err();
        for payload in ["unavailable", "unknown", "None", ""] {
            assert_eq!(refused(payload), Refusal::NoValue, "{payload}");
        }
        assert_eq!(refused("charging"), Refusal::NotANumber);
        assert_eq!(refused("2024-03-24T23:00:00+00:00"), Refusal::NotANumber);
        assert_eq!(refused("nan"), Refusal::NotFinite);
        let mut other = |topic| read(&mut devices, topic, "1").unwrap_err();
        assert_eq!(other("homeassistant/switch/x/state"), Refusal::NotASensor);
        assert_eq!(other("sensor/x/state"), Refusal::WrongFormat);
    }

    #[test]
    fn entities_of_two_domains_are_two_sensors() {
        let mut devices = Devices::default();
        let mut name = |topic| read(&mut devices, topic, "1").unwrap().remove(0).0;
        assert_eq!(name("statestream/sensor/target/state"), "target");
        assert_eq!(name("statestream/input_number/target/state"), "input_number/target");
    }

    #[test]
    fn the_topic_tells_what_a_message_is() {
        let format = Some(Detected::Format(Format::HaStatestream));
        for topic in [
            "homeassistant/sensor/living_room_temperature/state",
            "statestream/counter/visitors/state",
            "homeassistant/sensor/living_room_temperature/unit_of_measurement",
        ] {
            assert_eq!(detected(topic), format, "{topic}");
        }
        for topic in [
            "homeassistant/light/kitchen/state",
            "homeassistant/light/kitchen/brightness",
            "homeassistant/sensor/living_room_temperature/friendly_name",
            "homeassistant/sensor/living_room_temperature/last_updated",
            "homeassistant/sensor/living_room_temperature/config",
        ] {
            assert_eq!(detected(topic), Some(Detected::NotASensor), "{topic}");
        }
        for topic in ["homeassistant/a/b/state", "livingroom/sensor/temperature/state", "a/state"] {
            assert_eq!(detected(topic), None, "{topic}");
        }
    }

    #[test]
    fn the_memory_of_entities_is_bounded() {
        let mut entities = Entities::default();
        for number in 0..MAX_ENTITIES + 10 {
            if let Some(told) = entities.of(&format!("b/sensor/{number}")) {
                told.set_unit("°F");
            }
        }
        assert!(entities.of(&"x".repeat(MAX_TOPIC + 1)).is_none());
        assert_eq!(entities.0.len(), MAX_ENTITIES);
        assert!(entities.of("b/sensor/0").is_some());
    }

    proptest! {
        #[test]
        fn no_message_panics(
            attribute in "state|unit_of_measurement|device_class|[a-z/]{0,12}",
            payload in any::<Vec<u8>>(),
        ) {
            let topic = ["homeassistant/sensor/x/", attribute.as_str()].concat();
            let message =
                Message { topic: &topic, payload: &payload, device: None, now: UtcMillis(0) };
            let mut devices = Devices::default();
            for _ in 0..2 {
                let told = devices.decode(Format::HaStatestream, &message, &mut |found| {
                    assert!(found.value.is_ok_and(f64::is_finite));
                });
                prop_assert!(told.is_err() || attribute == "state");
            }
        }
    }
}
