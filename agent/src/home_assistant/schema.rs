//! Home Assistant's rules for discovery messages, and a check of every message of ours against
//! them.
//!
//! The rules are those of its documentation,
//! - <https://www.home-assistant.io/integrations/mqtt/#discovery-messages-and-availability>
//! - <https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload>
//! - <https://www.home-assistant.io/integrations/mqtt/#supported-abbreviations-in-mqtt-discovery-messages>
//! - <https://www.home-assistant.io/integrations/sensor.mqtt/#configuration-variables>
//! - <https://www.home-assistant.io/integrations/binary_sensor.mqtt/#configuration-variables>
//! - <https://www.home-assistant.io/integrations/sensor/#device-class>
//!
//! and of its code, `homeassistant/components/mqtt/` in <https://github.com/home-assistant/core>:
//! `discovery.py` (`TOPIC_MATCHER`), `schemas.py` (`DEVICE_DISCOVERY_SCHEMA`,
//! `MQTT_ENTITY_DEVICE_INFO_SCHEMA`, `MQTT_ORIGIN_INFO_SCHEMA`), `sensor.py`
//! (`validate_sensor_state_and_device_class_config`), `binary_sensor.py`, `abbreviations.py`.

use std::collections::BTreeSet;

use daywise_core::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::{Names, gateway_document, names::tests::names, sensor_document};

/// `DEVICE_DISCOVERY_SCHEMA`, which takes no other keys.
const ROOT_KEYS: [&str; 13] = [
    "device",
    "origin",
    "components",
    "availability",
    "availability_mode",
    "availability_topic",
    "availability_template",
    "payload_available",
    "payload_not_available",
    "state_topic",
    "command_topic",
    "qos",
    "encoding",
];
/// `MQTT_ENTITY_DEVICE_INFO_SCHEMA`; one of the first two is needed.
const DEVICE_KEYS: [&str; 12] = [
    "identifiers",
    "connections",
    "manufacturer",
    "model",
    "model_id",
    "name",
    "hw_version",
    "serial_number",
    "sw_version",
    "via_device",
    "suggested_area",
    "configuration_url",
];
/// `MQTT_ORIGIN_INFO_SCHEMA`; the first is needed.
const ORIGIN_KEYS: [&str; 3] = ["name", "sw_version", "support_url"];
/// What every entity may have: `MQTT_ENTITY_COMMON_SCHEMA`, and `MQTT_RO_SCHEMA` of those without
/// commands.
const ENTITY_KEYS: [&str; 18] = [
    "platform",
    "unique_id",
    "name",
    "icon",
    "entity_category",
    "entity_picture",
    "enabled_by_default",
    "default_entity_id",
    "availability_topic",
    "availability",
    "json_attributes_topic",
    "json_attributes_template",
    "state_topic",
    "value_template",
    "qos",
    "encoding",
    "device_class",
    "force_update",
];
/// Of sensors, besides.
const SENSOR_KEYS: [&str; 6] = [
    "state_class",
    "unit_of_measurement",
    "suggested_display_precision",
    "options",
    "expire_after",
    "last_reset_value_template",
];
/// Of binary sensors, besides.
const BINARY_SENSOR_KEYS: [&str; 4] = ["payload_on", "payload_off", "expire_after", "off_delay"];
const STATE_CLASSES: [&str; 4] = ["measurement", "measurement_angle", "total", "total_increasing"];
const BINARY_CLASSES: [&str; 28] = [
    "battery",
    "battery_charging",
    "carbon_monoxide",
    "cold",
    "connectivity",
    "door",
    "garage_door",
    "gas",
    "heat",
    "light",
    "lock",
    "moisture",
    "motion",
    "moving",
    "occupancy",
    "opening",
    "plug",
    "power",
    "presence",
    "problem",
    "running",
    "safety",
    "smoke",
    "sound",
    "tamper",
    "update",
    "vibration",
    "window",
];
/// Device classes of sensors that are no numbers.
const CLASSES_OF_TEXT: [&str; 3] = ["date", "enum", "timestamp"];

/// `<prefix>/device/[<node>/]<object>/config`; ids of letters, digits, `_` and `-`.
fn check_topic(topic: &str, faults: &mut Vec<String>) {
    let levels: Vec<&str> = topic.split('/').collect();
    let is_id = |level: &&str| {
        let is_taken = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        !level.is_empty() && level.chars().all(is_taken)
    };
    match levels[..] {
        ["homeassistant", "device", ref ids @ .., "config"]
            if (1..=2).contains(&ids.len()) && ids.iter().all(is_id) => {}
        _ => faults.push(format!("the topic {topic}")),
    }
}

fn check_keys(of: &str, map: &Map<String, Value>, known: &[&str], faults: &mut Vec<String>) {
    let unknown = map.keys().filter(|key| !known.contains(&key.as_str()));
    faults.extend(unknown.map(|key| format!("{of}: unknown key {key}")));
}

/// A text that is there and not empty.
fn text<'v>(of: &str, map: &'v Map<String, Value>, key: &str, faults: &mut Vec<String>) -> &'v str {
    let text = map.get(key).and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() {
        faults.push(format!("{of}: {key} is missing"));
    }
    text
}

/// `valid_subscribe_topic`, without wildcards, which no state of ours needs.
fn check_state_topic(of: &str, topic: &str, faults: &mut Vec<String>) {
    if topic.is_empty() || topic.len() > 65_535 || topic.contains(['+', '#', '\0']) {
        faults.push(format!("{of}: the topic {topic}"));
    }
}

/// What is wrong with a document; `unique` holds all ids of entities so far.
fn faults(topic: &str, document: &Value, unique: &mut BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    check_topic(topic, &mut faults);
    let empty = Map::new();
    let object = |value: Option<&'_ Value>| value.and_then(Value::as_object).cloned();
    let root = document.as_object().unwrap_or(&empty);
    check_keys("the root", root, &ROOT_KEYS, &mut faults);
    let (device, origin) = (object(root.get("device")), object(root.get("origin")));
    for (name, part, known) in
        [("device", &device, &DEVICE_KEYS[..]), ("origin", &origin, &ORIGIN_KEYS[..])]
    {
        match part {
            Some(part) => check_keys(name, part, known, &mut faults),
            None => faults.push(format!("{name} is missing")),
        }
    }
    let identifying = device.iter().flat_map(|device| {
        ["identifiers", "connections"].into_iter().filter_map(|key| device.get(key)?.as_array())
    });
    if !identifying.into_iter().any(|ids| !ids.is_empty()) {
        faults.push("the device has no identifier".into());
    }
    text("origin", &origin.unwrap_or_default(), "name", &mut faults);
    let components = object(root.get("components")).unwrap_or_default();
    if components.is_empty() {
        faults.push("components are missing".into());
    }
    for (name, component) in &components {
        let component = component.as_object().unwrap_or(&empty);
        check_component(name, component, root, unique, &mut faults);
    }
    faults
}

fn check_component(
    of: &str,
    component: &Map<String, Value>,
    root: &Map<String, Value>,
    unique: &mut BTreeSet<String>,
    faults: &mut Vec<String>,
) {
    let id = text(of, component, "unique_id", faults);
    if !unique.insert(id.to_owned()) {
        faults.push(format!("{of}: {id} is not unique"));
    }
    let is_shared = |key: &str| component.contains_key(key) || root.contains_key(key);
    if !is_shared("state_topic") {
        faults.push(format!("{of}: state_topic is missing"));
    }
    for key in ["state_topic", "json_attributes_topic", "availability_topic"] {
        if let Some(topic) = component.get(key) {
            check_state_topic(of, topic.as_str().unwrap_or_default(), faults);
        }
    }
    let has_list = is_shared("availability");
    if has_list && is_shared("availability_topic") {
        faults.push(format!("{of}: availability in two ways"));
    }
    // `config` is for what can be set; a sensor with it is refused.
    if !matches!(word(component, "entity_category"), None | Some("diagnostic")) {
        faults.push(format!("{of}: entity_category"));
    }
    match text(of, component, "platform", faults) {
        "sensor" => check_sensor(of, component, faults),
        "binary_sensor" => {
            check_keys(of, component, &[&ENTITY_KEYS[..], &BINARY_SENSOR_KEYS].concat(), faults);
            if word(component, "device_class").is_some_and(|class| !BINARY_CLASSES.contains(&class))
            {
                faults.push(format!("{of}: device_class"));
            }
        }
        other => faults.push(format!("{of}: platform {other}")),
    }
}

/// A text that may be left out.
fn word<'v>(component: &'v Map<String, Value>, key: &str) -> Option<&'v str> {
    component.get(key).and_then(Value::as_str)
}

/// `validate_sensor_state_and_device_class_config`.
fn check_sensor(of: &str, sensor: &Map<String, Value>, faults: &mut Vec<String>) {
    check_keys(of, sensor, &[&ENTITY_KEYS[..], &SENSOR_KEYS].concat(), faults);
    let (class, state) = (word(sensor, "device_class"), word(sensor, "state_class"));
    let unit = word(sensor, "unit_of_measurement");
    if state.is_some_and(|state| !STATE_CLASSES.contains(&state)) {
        faults.push(format!("{of}: state_class"));
    }
    if sensor.contains_key("last_reset_value_template") && state != Some("total") {
        faults.push(format!("{of}: a last reset is of a total"));
    }
    if sensor.contains_key("options") != (class == Some("enum")) {
        faults.push(format!("{of}: options and enum go together"));
    }
    let is_text = class.is_some_and(|class| CLASSES_OF_TEXT.contains(&class));
    if is_text && (state.is_some() || unit.is_some()) {
        faults.push(format!("{of}: {class:?} has neither state class nor unit"));
    }
    if class.is_some() && !is_text && unit.is_none() {
        faults.push(format!("{of}: {class:?} needs its unit"));
    }
    if state == Some("measurement_angle") && unit != Some("°") {
        faults.push(format!("{of}: an angle is in degrees"));
    }
}

const SENSORS: [&str; 6] = [
    "kitchen/temperature",
    "kitchen-temperature",
    "küche/luft °C",
    "a.b/c:0",
    "novelty",
    "x/novelty",
];

fn documents(names: &Names) -> Vec<(String, Value)> {
    let sensors = SENSORS.iter().zip(Quantity::ALL).map(|(sensor, quantity)| {
        let topic = names.discovery_topic(&names.sensor_id(sensor));
        (topic, sensor_document(names, sensor, *quantity))
    });
    let gateway = (names.discovery_topic(&names.gateway_id()), gateway_document(names));
    [gateway].into_iter().chain(sensors).collect()
}

#[test]
fn every_discovery_message_keeps_home_assistants_rules() {
    let (mut unique, mut topics) = (BTreeSet::new(), BTreeSet::new());
    for gateway in ["gw-1", "gw_1", "gw.1", "gw"] {
        for (topic, document) in documents(&names(gateway)) {
            assert_eq!(faults(&topic, &document, &mut unique), [""; 0], "{topic} {document:#}");
            assert!(topics.insert(topic.clone()), "{topic} twice");
        }
    }
    assert_eq!(unique.len(), 4 * (1 + 4 * SENSORS.len()));
}

#[test]
fn each_sensor_is_a_device_behind_its_gateway_with_the_gateways_availability() {
    let names = names("gw-1");
    let documents = documents(&names);
    let gateway = &documents[0].1["device"]["identifiers"][0];
    for (_, document) in &documents[1..] {
        assert_eq!(&document["device"]["via_device"], gateway);
        assert_eq!(document["availability_topic"], "daywise/gw-1/status");
    }
    // If it were unavailable it could not say so.
    assert_eq!(documents[0].1.get("availability_topic"), None);
}

/// The rules themselves: what each of them refuses.
#[test]
fn a_document_that_breaks_a_rule_is_found_out() {
    let names = names("gw");
    let topic = names.discovery_topic(&names.sensor_id("a"));
    let sound = sensor_document(&names, "a", Quantity::Generic);
    let broken = |path: &str, value: Value| {
        let mut document = sound.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => drop(parent.remove(key)),
            value => drop(parent.insert(key.to_owned(), value)),
        }
        faults(&topic, &document, &mut BTreeSet::new())
    };
    for (path, value) in [
        ("/device", Value::Null),
        ("/device/identifiers", Value::Null),
        ("/device/colour", json!("red")),
        ("/origin", Value::Null),
        ("/origin/name", Value::Null),
        ("/components", Value::Null),
        ("/components/score/platform", Value::Null),
        ("/components/score/platform", json!("climate")),
        ("/components/score/unique_id", Value::Null),
        ("/components/score/unique_id", sound["components"]["novelty"]["unique_id"].clone()),
        ("/components/score/state_topic", Value::Null),
        ("/components/score/state_topic", json!("a/#")),
        ("/components/score/state_class", json!("mean")),
        ("/components/score/device_class", json!("temperature")),
        ("/components/score/device_class", json!("enum")),
        ("/components/score/options", json!(["a"])),
        ("/components/score/entity_category", json!("config")),
        ("/components/score/payload_on", json!("ON")),
        ("/components/problem/device_class", json!("trouble")),
        ("/components/problem/state_class", json!("measurement")),
        ("/availability", json!([{ "topic": "a" }])),
        ("/retain", json!(true)),
    ] {
        assert_eq!(broken(path, value.clone()).len().min(1), 1, "{path} {value}");
    }
    for topic in [
        "homeassistant/device/a/b/c/config",
        "homeassistant/device/a b/config",
        "homeassistant/device//config",
        "homeassistant/sensor/a/config",
    ] {
        assert_eq!(faults(topic, &sound, &mut BTreeSet::new()).len(), 1, "{topic}");
    }
}

#[test]
fn the_documentation_shows_what_is_announced() {
    let text = include_str!("../../../docs/outputs.md");
    let shown = text.split("```json\n").skip(1).filter_map(|block| block.split("```").next());
    let shown: Vec<Value> = shown.map(|block| serde_json::from_str(block).unwrap()).collect();
    let announced = sensor_document(&names("gw-1"), "room-0/temperature", Quantity::Temperature);
    assert!(shown.contains(&announced), "{announced:#}");
}
