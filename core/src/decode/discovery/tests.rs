use alloc::{format, string::ToString, vec};

use proptest::prelude::*;

use super::*;
use crate::{
    decode::{self, Found},
    quantity::Quantity,
    time::UtcMillis,
};

/// As Zigbee2MQTT announces a sensor.
const SINGLE: &str = r#"{"availability":[{"topic":"zigbee2mqtt/bridge/state","value_template":"{{ value_json.state }}"}],"availability_mode":"all","default_entity_id":"sensor.kitchen_temperature","device":{"identifiers":["zigbee2mqtt_0x00158d"],"manufacturer":"Aqara","model":"Temperature and humidity sensor","name":"kitchen","via_device":"zigbee2mqtt_bridge"},"device_class":"temperature","enabled_by_default":true,"object_id":"kitchen_temperature","origin":{"name":"Zigbee2MQTT","sw":"2.1.0","url":"https://www.zigbee2mqtt.io"},"state_class":"measurement","state_topic":"zigbee2mqtt/kitchen","unique_id":"0x00158d_temperature_zigbee2mqtt","unit_of_measurement":"°C","value_template":"{{ value_json.temperature }}"}"#;
const SINGLE_TOPIC: &str = "homeassistant/sensor/0x00158d/temperature/config";

/// As the documentation of Home Assistant shows a device, with the meter and the base added.
const DEVICE: &str = r#"{"~":"bla/ea33","dev":{"ids":"ea334450945afc","name":"Kitchen","mf":"Bla electronics"},"o":{"name":"bla2mqtt","sw":"2.1"},"cmps":{"some_unique_component_id1":{"p":"sensor","device_class":"temperature","unit_of_measurement":"°F","value_template":"{{ value_json.temperature}}","unique_id":"temp01ae_t"},"some_unique_id2":{"p":"sensor","dev_cla":"humidity","unit_of_meas":"%","val_tpl":"{{ value_json.humidity}}","uniq_id":"temp01ae_h"},"m":{"p":"sensor","name":"Meter","dev_cla":"energy","stat_cla":"total_increasing","unit_of_meas":"kWh","stat_t":"~/meter","ent_cat":"diagnostic"},"n":{"p":"number","cmd_t":"~/set","val_tpl":"{{ value_json.offset }}"},"b":{"p":"binary_sensor","stat_t":"~/b"},"c":{"p":"sensor","val_tpl":"{{ value_json.a * 2 }}"},"gone":{"p":"sensor"}},"state_topic":"~/state","qos":2}"#;
const DEVICE_TOPIC: &str = "homeassistant/device/0AFFD2/bla/config";

fn of(topic: &str, payload: &str) -> Result<Vec<Hint>, DiscoveryError> {
    read(PREFIX, topic, payload.as_bytes())
}

#[test]
fn an_entity_says_where_its_value_is_and_what_it_measures() {
    let text = |text: &str| Some(text.to_string());
    let hint = Hint {
        state_topic: "zigbee2mqtt/kitchen".into(),
        path: "temperature".into(),
        unit: text("°C"),
        device_class: text("temperature"),
        state_class: text("measurement"),
        name: None,
        device: text("kitchen"),
        role: None,
    };
    assert_eq!(of(SINGLE_TOPIC, SINGLE), Ok(vec![hint]));
}

#[test]
fn a_device_says_it_of_all_its_entities() {
    let mut hints = of(DEVICE_TOPIC, DEVICE).unwrap();
    hints.sort_by_key(|hint| (hint.state_topic.clone(), hint.path.clone()));
    let places: Vec<_> =
        hints.iter().map(|hint| (hint.state_topic.as_str(), hint.path.as_str())).collect();
    let expected = [
        ("bla/ea33/meter", ""),
        ("bla/ea33/state", "humidity"),
        ("bla/ea33/state", "offset"),
        ("bla/ea33/state", "temperature"),
    ];
    assert_eq!(places, expected);
    assert!(hints.iter().all(|hint| hint.device.as_deref() == Some("Kitchen")));
    let meter = &hints[0];
    assert_eq!((meter.name.as_deref(), meter.role), (Some("Meter"), Some(Role::Health)));
    assert_eq!(meter.told().quantity(), Some(Quantity::EnergyTotal));
    assert_eq!(hints[2].role, Some(Role::Other), "a number is a setting");
    assert_eq!(hints[3].told().unit().map(|unit| unit.to_base(68.9)), Some(20.5));
}

#[test]
fn abbreviations_and_the_base_are_written_out() {
    let short = r#"{"~":"site/boiler","name":"Flow","stat_t":"~/s","unit_of_meas":"L/min","dev_cla":"volume_flow_rate","stat_cla":"measurement","val_tpl":"{{ value_json.flow }}","dev":{"name":"Boiler"}}"#;
    let long = r#"{"name":"Flow","state_topic":"site/boiler/s","unit_of_measurement":"L/min","device_class":"volume_flow_rate","state_class":"measurement","value_template":"{{ value_json.flow }}","device":{"name":"Boiler"}}"#;
    let topic = "homeassistant/sensor/boiler/config";
    assert_eq!(of(topic, short), of(topic, long));
    assert_eq!(of(topic, short).unwrap()[0].state_topic, "site/boiler/s");
    let behind = of(topic, r#"{"~":"boiler","stat_t":"tele/~"}"#);
    assert_eq!(behind.unwrap()[0].state_topic, "tele/boiler");
}

#[test]
fn what_cannot_be_used_says_why() {
    let topic = "homeassistant/sensor/x/config";
    let error = |topic: &str, payload: &str| of(topic, payload).unwrap_err();
    for other in [
        "homeassistant/sensor/x/state",
        "homeassistant/sensor/config",
        "homeassistant/sensor/a/b/c/config",
        "homeassistant/sensor//config",
        "other/sensor/x/config",
    ] {
        assert_eq!(error(other, SINGLE), DiscoveryError::Topic, "{other}");
    }
    assert_eq!(error(topic, "{"), DiscoveryError::Payload(Refusal::Malformed));
    assert_eq!(error(topic, "[]"), DiscoveryError::Payload(Refusal::Malformed));
    let not_text = read(PREFIX, topic, b"\xff");
    assert_eq!(not_text, Err(DiscoveryError::Payload(Refusal::NotText)));
    assert_eq!(error("homeassistant/light/x/config", SINGLE), DiscoveryError::Component);
    assert_eq!(error("homeassistant/device/x/config", SINGLE), DiscoveryError::Component);
    assert_eq!(error(topic, "{}"), DiscoveryError::StateTopic);
    assert_eq!(error(topic, r#"{"stat_t":"a/+"}"#), DiscoveryError::StateTopic);
    let computed = r#"{"stat_t":"a","val_tpl":"{{ value_json.a / 10 }}"}"#;
    assert_eq!(error(topic, computed), DiscoveryError::Template);
    let all_computed = [r#"{"cmps":{"a":{"p":"sensor","#, &computed[1..], "}}"].concat();
    assert_eq!(error("homeassistant/device/x/config", &all_computed), DiscoveryError::Template);
}

#[test]
fn what_was_announced_is_found_by_topic_and_path() {
    let mut hints = Hints::default();
    assert_eq!(hints.learn(SINGLE_TOPIC, of(SINGLE_TOPIC, SINGLE).unwrap()), 0);
    assert_eq!(hints.learn(DEVICE_TOPIC, of(DEVICE_TOPIC, DEVICE).unwrap()), 0);
    assert_eq!(hints.len(), 5);
    let known = hints.find("bla/ea33/state", "temperature").unwrap();
    assert_eq!(known.device.as_deref(), Some("Kitchen"));
    let found = known.told.apply(Found::named("d", "x", None, Ok(68.9)));
    assert_eq!((found.quantity, found.value), (Quantity::Temperature, Ok(20.5)));
    assert!(hints.find("zigbee2mqtt/kitchen", "humidity").is_none());
    assert!(hints.find("zigbee2mqtt", "temperature").is_none());
    // An empty payload takes back what its topic announced, and only that.
    hints.learn(DEVICE_TOPIC, of(DEVICE_TOPIC, "").unwrap());
    assert!(hints.find("bla/ea33/state", "temperature").is_none());
    assert!(hints.find("zigbee2mqtt/kitchen", "temperature").is_some());
    // A new announcement replaces the old one.
    let moved = SINGLE.replace("zigbee2mqtt/kitchen", "zigbee2mqtt/cellar");
    hints.learn(SINGLE_TOPIC, of(SINGLE_TOPIC, &moved).unwrap());
    assert!(hints.find("zigbee2mqtt/kitchen", "temperature").is_none());
    assert!(hints.find("zigbee2mqtt/cellar", "temperature").is_some());
    hints.learn(SINGLE_TOPIC, Vec::new());
    assert!(hints.is_empty());
    assert!(hints.find("zigbee2mqtt/cellar", "temperature").is_none());
}

#[test]
fn two_announcements_of_one_value_are_taken_back_one_by_one() {
    let mut hints = Hints::default();
    for topic in ["homeassistant/sensor/a/config", "homeassistant/sensor/b/config"] {
        hints.learn(topic, of(topic, SINGLE).unwrap());
    }
    hints.learn("homeassistant/sensor/a/config", Vec::new());
    assert!(hints.find("zigbee2mqtt/kitchen", "temperature").is_some());
    assert_eq!(hints.len(), 1);
}

#[test]
fn the_memory_is_bounded() {
    let mut hints = Hints::default();
    let hint = |number: usize| Hint { state_topic: format!("t/{number}"), ..Hint::default() };
    for number in 0..4_096 {
        assert_eq!(hints.learn(&format!("c/{number}"), vec![hint(number)]), 0);
    }
    assert_eq!(hints.learn("c/new", vec![hint(9_000), hint(9_001)]), 2);
    assert_eq!(hints.learn("c/7", vec![hint(9_000), hint(9_001)]), 1);
    assert_eq!(hints.len(), 4_096);
    let many: Vec<_> =
        (0..1_000).map(|n| format!(r#""{n}":{{"p":"sensor","stat_t":"{n}"}}"#)).collect();
    let device = format!(r#"{{"cmps":{{{}}}}}"#, many.join(","));
    assert_eq!(of(DEVICE_TOPIC, &device).unwrap().len(), 256);
}

#[test]
fn announcements_are_nobodys_readings() {
    for topic in
        [SINGLE_TOPIC, DEVICE_TOPIC, "homeassistant/status", "homeassistant/sensor/x/config"]
    {
        let message =
            Message { topic, payload: SINGLE.as_bytes(), device: None, now: UtcMillis(0) };
        assert_eq!(decode::detect(&message), Detected::NotASensor, "{topic}");
    }
}

proptest! {
    #[test]
    fn no_payload_panics(
        which in 0_usize..2,
        changes in prop::collection::vec((0_usize..900, any::<u8>()), 0..4),
        cut in 0_usize..1_500,
    ) {
        let (topic, text) = [(SINGLE_TOPIC, SINGLE), (DEVICE_TOPIC, DEVICE)][which];
        let mut bytes: Vec<u8> = text.bytes().take(cut).collect();
        for (place, byte) in changes {
            if let Some(slot) = bytes.get_mut(place) {
                *slot = byte;
            }
        }
        let mut hints = Hints::default();
        if let Ok(read) = read(PREFIX, topic, &bytes) {
            let count = read.len();
            prop_assert_eq!(hints.learn(topic, read), 0);
            prop_assert_eq!(hints.len(), count);
        }
    }
}
