//! Messages as devices have sent them.

use alloc::{string::String, vec::Vec};

use super::*;
use crate::{
    decode::rows::{detected, rows, stamp},
    time::UtcMillis,
};

fn old(topic: &str, payload: &str) -> Result<Vec<String>, Refusal> {
    rows(Format::ShellyGen1, topic, payload)
}

fn new(topic: &str, payload: &str) -> Result<Vec<String>, Refusal> {
    rows(Format::ShellyGen2, topic, payload)
}

#[test]
fn each_topic_of_the_first_generation_is_a_sensor() {
    for (topic, payload, expected) in [
        ("room/sensor/temperature", "20.00", "room/sensor/temperature temperature 20"),
        ("room/sensor/humidity", "39.8", "room/sensor/humidity humidity 39.8"),
        ("room/sensor/lux", "120", "room/sensor/lux illuminance 120"),
        ("room/sensor/battery", "91", "room/sensor/battery generic 91 health"),
        ("room/emeter/0/power", "1", "room/emeter/0/power power 1"),
        ("shellies/em3/emeter/0/pf", "0.00", "shellies/em3/emeter/0/pf generic 0"),
        ("shellies/em3/emeter/1/voltage", "230.35", "shellies/em3/emeter/1/voltage voltage 230.35"),
        ("em3/emeter/0/current", "0.01", "em3/emeter/0/current current 0.01"),
        ("em3/emeter/0/total", "85.5", "em3/emeter/0/total energy_total 85.5"),
        ("em3/emeter/0/total_returned", "3", "em3/emeter/0/total_returned energy_total 3"),
        ("plug/relay/0/power", "20.58", "plug/relay/0/power power 20.58"),
        ("plug/relay/0/energy", "94736", "plug/relay/0/energy energy_total 1578.93333333"),
        ("plug/temperature", "22.28", "plug/temperature temperature 22.28 health"),
        ("one/ext_temperature/0", "-4.5", "one/ext_temperature/0 temperature -4.5"),
        ("one/ext_temperature/0", "999.0", "one/ext_temperature/0 temperature sentinel"),
        ("roller/roller/0/pos", "91", "roller/roller/0/pos generic 91"),
    ] {
        let topic = ["shellies/", topic].concat();
        assert_eq!(detected(&topic, payload), Detected::Format(Format::ShellyGen1), "{topic}");
        assert_eq!(old(&topic, payload).unwrap(), [expected]);
    }
}

#[test]
fn a_device_has_one_name_however_its_id_is_written() {
    let topic = "shellies/shellyHT-1A2B3C/sensor/humidity";
    assert_eq!(old(topic, "44.5").unwrap(), ["shellyht-1a2b3c/sensor/humidity humidity 44.5"]);
    let given = "shellies/Keller-Nord/sensor/humidity";
    assert_eq!(old(given, "44.5").unwrap(), ["Keller-Nord/sensor/humidity humidity 44.5"]);
}

#[test]
fn states_and_repeats_of_the_first_generation_are_no_sensors() {
    for (topic, payload) in [
        ("shellies/shelly1/online", "true"),
        ("shellies/shelly1/relay/0", "off"),
        ("shellies/shelly1/input/0", "0"),
        ("shellies/shelly1/input_event/0", r#"{"event":"","event_cnt":0}"#),
        ("shellies/shelly-plug-s1/temperature_f", "72.10"),
        ("shellies/shelly-plug-s1/overtemperature", "0"),
        ("shellies/shelly1/info", r#"{"wifi_sta":{"rssi":-60}}"#),
        ("shellies/shelly1/relay/0/command", "on"),
        ("shellies/shelly25/roller/0/command/pos", "50"),
        ("shellies/announce", r#"{"id":"shelly1"}"#),
        ("shellies/command", "announce"),
        ("shellies/bulb/color/0/status", r#"{"ison":false,"gain":100}"#),
    ] {
        assert_eq!(detected(topic, payload), Detected::NotASensor, "{topic}");
        assert_eq!(old(topic, payload), Err(Refusal::NotASensor), "{topic}");
    }
    let since_start = old("shellies/em3/emeter/0/energy", "94736");
    assert_eq!(since_start, Err(Refusal::NotASensor), "the total has it");
}

#[test]
fn what_is_no_number_is_refused_with_its_reason() {
    let topic = "shellies/shellyht-1a2b3c/sensor/humidity";
    assert_eq!(old(topic, ""), Err(Refusal::NoValue));
    assert_eq!(old(topic, "unavailable"), Err(Refusal::NoValue));
    assert_eq!(old(topic, "nan"), Err(Refusal::NotFinite));
    assert_eq!(old(topic, "39.8.1"), Err(Refusal::Malformed));
    for payload in ["", "error", "{"] {
        let format = Detected::Format(Format::ShellyGen1);
        assert_eq!(detected(topic, payload), format, "one bad message is not the topic's fault");
    }
    assert_eq!(old("room/humidity", "5"), Err(Refusal::WrongFormat));
}

const DELTA: &str = r#"{"src":"shellyplus1pm-a8032ab1c2d4","dst":"shellyplus1pm-a8032ab1c2d4/events","method":"NotifyStatus","params":{"ts":1711321205.02,"switch:0":{"id":0,"apower":360.0,"aenergy":{"by_minute":[0.000,0.000,0.000],"minute_ts":1711321205,"total":1060.0}}}}"#;

/// Without what is no sensor.
fn telling(rows: Vec<String>) -> Vec<String> {
    rows.into_iter().filter(|row| !row.ends_with("other")).collect()
}

#[test]
fn a_notification_gives_what_has_changed_and_nothing_else() {
    let topic = "shellyplus1pm-a8032ab1c2d4/events/rpc";
    assert_eq!(detected(topic, DELTA), Detected::Format(Format::ShellyGen2));
    let expected = [
        "shellyplus1pm-a8032ab1c2d4/switch:0/aenergy/total energy_total 1060",
        "shellyplus1pm-a8032ab1c2d4/switch:0/apower power 360",
    ];
    assert_eq!(telling(new(topic, DELTA).unwrap()), expected);
    let at = Some(Stamp::Utc(UtcMillis(1_711_321_205_020)));
    assert_eq!(stamp(Format::ShellyGen2, topic, DELTA), at);
}

#[test]
fn null_removes_and_is_no_reading() {
    let removal = r#"{"src":"shellyplusht-08b61fce63c4","method":"NotifyStatus","params":{"ts":1674473304.12,"temperature:0":{"id":0,"tC":null,"tF":null},"humidity:0":null,"switch:0":{"apower":5.5,"pf":null}}}"#;
    let found = telling(new("shelly-ht/events/rpc", removal).unwrap());
    assert_eq!(found, ["shellyplusht-08b61fce63c4/switch:0/apower power 5.5"]);
}

#[test]
fn of_a_device_that_does_not_know_the_time_the_arrival_counts() {
    let unset = r#"{"src":"shellyplus1pm-4417939341dc","method":"NotifyStatus","params":{"ts":1.61,"switch:0":{"id":0,"voltage":232.7}}}"#;
    let topic = "shellies/plus1pm/events/rpc";
    assert_eq!(stamp(Format::ShellyGen2, topic, unset), None);
    assert_eq!(
        telling(new(topic, unset).unwrap()),
        ["shellyplus1pm-4417939341dc/switch:0/voltage voltage 232.7"]
    );
    let unreadable =
        r#"{"src":"s","method":"NotifyStatus","params":{"ts":"now","switch:0":{"voltage":2}}}"#;
    assert_eq!(new(topic, unreadable), Err(Refusal::BadTimestamp));
}

#[test]
fn a_full_status_gives_sensors_and_health() {
    let full = r#"{"src":"shellyplusht-08b61fce63c4","dst":"x/events","method":"NotifyFullStatus","params":{"ts":1674473304.12,"ble":{},"cloud":{"connected":false},
        "devicepower:0":{"id": 0,"battery":{"V":6.17, "percent":100},"external":{"present":false}},"ht_ui":{},"humidity:0":{"id": 0,"rh":54.3},"mqtt":{"connected":true},
        "sys":{"mac":"08B61FCE63C4","time":null,"unixtime":null,"uptime":1,"ram_size":235504,"ram_free":165340,"cfg_rev":16},
        "temperature:0":{"id": 0,"tC":19.9, "tF":67.8},"wifi":{"sta_ip":"192.168.3.183","rssi":-60}}}"#;
    let found = telling(new("shelly-ht/shelly-plus-ht-01/events/rpc", full).unwrap());
    let found: Vec<_> = found.iter().filter_map(|row| row.split_once('/')).map(|x| x.1).collect();
    let expected = [
        "devicepower:0/battery/V voltage 6.17 health",
        "devicepower:0/battery/percent generic 100 health",
        "humidity:0/rh humidity 54.3",
        "sys/ram_free generic 165340 health",
        "sys/uptime generic 1 health",
        "temperature:0/tC temperature 19.9",
        "wifi/rssi generic -60 health",
    ];
    assert_eq!(found, expected);
}

#[test]
fn phases_of_a_meter_are_told_apart() {
    let meter = r#"{"id":0,"a_current":4.029,"a_voltage":236.1,"a_act_power":951.2,"a_aprt_power":951.9,"a_pf":1,"a_freq":50,"n_current":null,
        "total_current":11.116,"total_act_power":2484.782}"#;
    let found = telling(new("shellypro3em-a0b1c2d3e4f5/status/em:0", meter).unwrap());
    let found: Vec<_> = found.iter().filter_map(|row| row.split_once('/')).map(|x| x.1).collect();
    let expected = [
        "em:0/a_act_power power 951.2",
        "em:0/a_aprt_power generic 951.9",
        "em:0/a_current current 4.029",
        "em:0/a_freq generic 50",
        "em:0/a_pf generic 1",
        "em:0/a_voltage voltage 236.1",
        "em:0/total_act_power power 2484.782",
        "em:0/total_current current 11.116",
    ];
    assert_eq!(found, expected);
    let totals = r#"{"id":0,"a_total_act_energy":100.5,"a_total_act_ret_energy":2.5,"total_act":300.5,"total_act_ret":7.5}"#;
    let found = telling(new("shellypro3em-a0b1c2d3e4f5/status/emdata:0", totals).unwrap());
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|row| row.contains("energy_total")), "{found:?}");
}

#[test]
fn a_status_topic_gives_the_whole_component() {
    let status = r#"{"id":0, "source":"init", "output":false, "apower":0.0, "voltage":232.7, "freq":50.03, "current":0.000, "aenergy":{"total":0.000,"by_minute":[0.000,0.000,0.000],"minute_ts":1661517385},"counts":{"on_time":1912800},"temperature":{"tC":39.2, "tF":102.5}}"#;
    let topic = "shellies/plus1pm/status/switch:0";
    assert_eq!(detected(topic, status), Detected::Format(Format::ShellyGen2));
    let expected = [
        "plus1pm/switch:0/aenergy/total energy_total 0",
        "plus1pm/switch:0/apower power 0",
        "plus1pm/switch:0/current current 0",
        "plus1pm/switch:0/freq generic 50.03",
        "plus1pm/switch:0/temperature/tC temperature 39.2 health",
        "plus1pm/switch:0/voltage voltage 232.7",
    ];
    assert_eq!(telling(new(topic, status).unwrap()), expected);
    let room = new("shellyht-livingroom/status/temperature:0", r#"{"id": 0,"tC":20.1, "tF":68.3}"#);
    let expected = ["shellyht-livingroom/temperature:0/tC temperature 20.1"];
    assert_eq!(telling(room.unwrap()), expected);
    let cover = new("shellyplus2pm-x/status/cover:0", r#"{"current_pos":40,"target_pos":100}"#);
    assert_eq!(telling(cover.unwrap()), ["shellyplus2pm-x/cover:0/current_pos generic 40"]);
}

#[test]
fn events_replies_and_commands_of_later_generations_are_no_sensors() {
    for (topic, payload) in [
        ("shellies/plus1pm/online", "true"),
        ("shellies/plus1pm/status/mqtt", r#"{"connected":true}"#),
        ("shellyht-livingroom/status/ht_ui", "{}"),
        ("shellyplus1pm-x/rpc", r#"{"id":1,"src":"me","method":"Switch.Set"}"#),
        ("shellyplus1pm-x/command", "announce"),
    ] {
        assert_eq!(detected(topic, payload), Detected::NotASensor, "{topic}");
        assert_eq!(new(topic, payload), Err(Refusal::NotASensor), "{topic}");
    }
    let event = r#"{"src":"shellyplusi4-x","method":"NotifyEvent","params":{"ts":1661517385.44,"events":[{"component":"input:0","id":0,"event":"btn_down","ts":1661517385.44}]}}"#;
    assert_eq!(new("shellyplusi4-x/events/rpc", event), Err(Refusal::NotASensor));
    let switched = r#"{"src":"shellyplus1-x","method":"NotifyStatus","params":{"ts":1661517432.85,"switch:0":{"id":0,"output":true,"source":"WS_in"}}}"#;
    assert_eq!(new("shellyplus1-x/events/rpc", switched), Err(Refusal::NotASensor));
    assert_eq!(new("shellyplus1-x/events/rpc", r#"{"src":"shel"#), Err(Refusal::Malformed));
    assert_ne!(detected("plant/status/temperature", "5"), Detected::NotASensor);
}
