//! Messages as bridges have sent them.

use alloc::{format, string::String, vec::Vec};

use super::*;
use crate::decode::{
    Devices,
    rows::{detected, later, rows, stamp},
};

const IT: Format = Format::Zigbee2Mqtt;
const AQARA: &str = r#"{"temperature":23.32,"linkquality":92,"humidity":62.33,"pressure":1010,"battery":"95.00","voltage":2985}"#;

#[test]
fn a_state_gives_measurements_and_the_devices_health() {
    let expected = [
        "aqara_06/battery generic 95 health",
        "aqara_06/humidity humidity 62.33",
        "aqara_06/linkquality generic 92 health",
        "aqara_06/pressure pressure 1010",
        "aqara_06/temperature temperature 23.32",
        "aqara_06/voltage voltage 2.985 health",
    ];
    let mut found = rows(IT, "zigbee2mqtt/aqara_06", AQARA).unwrap();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn names_may_have_slashes_and_bases_any_name() {
    let format = Detected::Format(IT);
    let state = r#"{"battery":91,"voltage":2985,"temperature":10.63,"linkquality":97}"#;
    for topic in [
        "zigbee2mqtt/westside/SENSOR",
        "Zigbee2MQTT/lamp",
        "zigbee2mqtt2/二楼影音室右下射灯1",
        "home/lamp",
    ] {
        assert_eq!(detected(topic, state), format, "{topic}");
    }
    assert_eq!(detected("zigbee2mqtt/a/set/b", state), format);
    let found = rows(IT, "zigbee2mqtt/westside/SENSOR", state).unwrap();
    assert!(found.contains(&String::from("westside/SENSOR/temperature temperature 10.63")));
    let tuya =
        r#"{"battery_state":"high","humidity":27,"temperature":25.9,"temperature_unit":"celsius"}"#;
    assert_eq!(detected("zigbee2mqtt/0xa4c138d79ca59adc", tuya), format);
    assert_ne!(detected("other/lamp", r#"{"note":{"linkquality":1}}"#), format);
}

#[test]
fn the_bridge_commands_and_availability_are_no_sensors() {
    for (topic, payload) in [
        ("zigbee2mqtt/bridge/state", "online"),
        ("zigbee2mqtt/bridge/config", r#"{"version":"1.6.0","coordinator":20190608}"#),
        ("zigbee2/bridge/info", r#"{"coordinator":{"meta":{"revision":20190608}}}"#),
        ("zigbee2mqtt/lamp/set", r#"{"brightness":100}"#),
        ("zigbee2mqtt/lamp/get", r#"{"state":""}"#),
        ("zigbee2mqtt/a/lamp/availability", r#"{"state":"online"}"#),
    ] {
        assert_eq!(detected(topic, payload), Detected::NotASensor, "{topic}");
    }
    assert_eq!(rows(IT, "zigbee2mqtt/lamp/set/brightness", "100"), Err(Refusal::NotASensor));
    assert_eq!(rows(IT, "zigbee2mqtt/bridge/config", r#"{"a":1}"#), Err(Refusal::NotASensor));
}

#[test]
fn last_seen_is_the_time_whichever_way_it_is_written() {
    let at = Some(Stamp::Utc(UtcMillis(1_739_616_840_000)));
    for last_seen in ["\"2025-02-15T11:54:00+01:00\"", "1739616840000"] {
        let state = format!(r#"{{"last_seen":{last_seen},"temperature":25.85}}"#);
        assert_eq!(stamp(IT, "zigbee2mqtt/a", &state), at);
    }
    assert_eq!(stamp(IT, "zigbee2mqtt/a", AQARA), None);
    let unreadable = r#"{"last_seen":"soon","temperature":25.85}"#;
    assert_eq!(rows(IT, "zigbee2mqtt/a", unreadable), Err(Refusal::BadTimestamp));
}

/// The measurements of messages that arrive so many milliseconds after the first.
fn measurements(topic: &str, messages: &[(i64, &str)]) -> Vec<String> {
    let mut devices = Devices::default();
    let mut all = Vec::new();
    for (ms, state) in messages {
        let found = later(&mut devices, IT, topic, state, *ms).unwrap();
        all.extend(found.into_iter().filter(|row| !row.ends_with("health")));
    }
    all
}

#[test]
fn what_a_burst_of_reports_repeats_is_no_reading() {
    let first =
        r#"{"temperature":19.76,"battery":31,"linkquality":18,"voltage":2965,"humidity":93.2}"#;
    let second =
        r#"{"temperature":19.76,"battery":31,"linkquality":18,"voltage":2965,"humidity":93.62}"#;
    let topic = "zigbee2mqtt/Bathroom";
    assert_eq!(
        measurements(topic, &[(0, first), (18, second)]),
        [
            "Bathroom/humidity humidity 93.2",
            "Bathroom/temperature temperature 19.76",
            "Bathroom/humidity humidity 93.62",
            "Bathroom/temperature temperature cached",
        ]
    );
    let apart = measurements(topic, &[(0, first), (5_000, first), (600_000, first)]);
    assert!(!apart.concat().contains("cached"), "equal values minutes apart are readings");
}

#[test]
fn the_same_last_seen_with_the_same_value_is_no_reading() {
    let at = |second: u8, temperature: f64| {
        format!(
            r#"{{"humidity":33.44,"last_seen":"2025-02-15T11:54:0{second}+01:00","temperature":{temperature}}}"#
        )
    };
    let (first, same, seen_again, changed) =
        (at(0, 25.85), at(0, 25.85), at(1, 25.85), at(1, 26.0));
    let messages =
        [(0, &*first), (3_600_000, &*same), (3_600_500, &*seen_again), (3_600_900, &*changed)];
    assert_eq!(
        measurements("zigbee2mqtt/a", &messages),
        [
            "a/humidity humidity 33.44",
            "a/temperature temperature 25.85",
            "a/humidity humidity cached",
            "a/temperature temperature cached",
            "a/humidity humidity 33.44",
            "a/temperature temperature 25.85",
            "a/humidity humidity cached",
            "a/temperature temperature 26",
        ]
    );
}

#[test]
fn attributes_may_have_topics_of_their_own() {
    let one = |topic: &str, payload| rows(IT, topic, payload);
    assert_eq!(detected("zigbee2mqtt/a/b/temperature", "21.5"), Detected::Format(IT));
    let temperature = one("zigbee2mqtt/a/b/temperature", "21.5").unwrap();
    assert_eq!(temperature, ["a/b/temperature temperature 21.5"]);
    assert_eq!(one("zigbee2mqtt/a/temperature", "unknown"), Err(Refusal::NoValue));
    for (topic, payload) in [
        ("zigbee2mqtt/a/state", "ON"),
        ("zigbee2mqtt/a/contact", "true"),
        ("zigbee2mqtt/a/last_seen", "1739616840000"),
        ("zigbee2mqtt/a/update-installed_version", "537019939"),
    ] {
        assert_eq!(one(topic, payload), Err(Refusal::NotASensor), "{topic}");
    }
}

#[test]
fn an_attribute_beside_the_whole_state_counts_once() {
    let mut devices = Devices::default();
    let state = r#"{"temperature":21.5,"linkquality":18}"#;
    later(&mut devices, IT, "zigbee2mqtt/a", state, 0).unwrap();
    let mut beside = |ms| later(&mut devices, IT, "zigbee2mqtt/a/temperature", "21.5", ms).unwrap();
    assert_eq!(beside(2), ["a/temperature temperature cached"]);
    assert_eq!(beside(600_000), ["a/temperature temperature 21.5"]);
}

#[test]
fn attributes_by_themselves_do_not_stand_for_one_another() {
    let mut devices = Devices::default();
    let mut send = |attribute: &str, payload: &str, ms| {
        let topic = format!("zigbee2mqtt/a/{attribute}");
        later(&mut devices, IT, &topic, payload, ms).unwrap().concat()
    };
    send("temperature", "21.5", 0);
    send("humidity", "40", 10);
    send("temperature", "21.6", 600_000);
    assert_eq!(send("humidity", "40", 600_010), "a/humidity humidity 40");
}

#[test]
fn what_is_missing_is_told_and_settings_are_not_readings() {
    let thermostat = r#"{"battery":31,"color":{"h":null,"hue":3},"color_temp":153,"current_heating_setpoint":21,
        "device_temperature":34,"humidity":null,"illuminance":16994,"illuminance_lux":49,"level_config":{"on_level":2},
        "linkquality":54,"local_temperature":20.5,"local_temperature_calibration":-1,"max_temperature":30,
        "power_outage_count":13536,"temperature":"unavailable","time_format":"24h",
        "update":{"installed_version":537019939,"latest_version":587765297,"state":"available"}}"#;
    let found = rows(IT, "zigbee2mqtt/trv", thermostat).unwrap();
    let role = |of: &str| found.iter().filter(move |row| row.ends_with(of)).count();
    assert_eq!(role("other"), 9, "{found:?}");
    assert_eq!(role("health"), 4, "{found:?}");
    let mut rest: Vec<_> =
        found.iter().filter(|row| !row.ends_with("other") && !row.ends_with("health")).collect();
    rest.sort();
    assert_eq!(
        rest,
        [
            "trv/humidity humidity no_value",
            "trv/illuminance_lux illuminance 49",
            "trv/local_temperature temperature 20.5",
            "trv/temperature temperature no_value",
        ]
    );
    let plug = r#"{"linkquality":54,"power_on_behavior":"previous","state":"OFF"}"#;
    assert_eq!(rows(IT, "zigbee2mqtt/plug", plug).unwrap().len(), 1);
    let group = r#"{"brightness":127.5,"color_temp":153,"state":"ON"}"#;
    assert_eq!(rows(IT, "zigbee2mqtt/group", group), Err(Refusal::NotASensor));
}

#[test]
fn the_mains_are_measured_and_energy_is_a_counter() {
    let plug =
        r#"{"current":0.5,"energy":0.13,"linkquality":76,"power":110,"state":"ON","voltage":227}"#;
    let found = rows(IT, "zigbee2mqtt/plug", plug).unwrap();
    let expected = [
        "plug/current current 0.5",
        "plug/energy energy_total 130",
        "plug/power power 110",
        "plug/voltage voltage 227",
    ];
    for row in expected {
        assert!(found.iter().any(|found| found == row), "{row} in {found:?}");
    }
}

#[test]
fn cut_off_messages_are_malformed() {
    let cut = rows(IT, "zigbee2mqtt/0x00158d0001a2b3c4", r#"{"battery":100,"humidity":40.33,"l"#);
    assert_eq!(cut, Err(Refusal::Malformed));
    assert_eq!(rows(IT, "zigbee2mqtt/a", "5"), Err(Refusal::WrongFormat));
}
