//! Events as receivers have sent them.

use crate::{
    decode::{
        Devices,
        rows::{detected, later, rows, stamp},
    },
    time::UtcMillis,
};

use super::*;

const IT: Format = Format::Rtl433;
const TOPIC: &str = "rtl_433/raspberrypi/events";
const AIR: &str = r#"{"time" : "2023-07-08 13:06:14", "model" : "Fineoffset-WH45", "id" : 18034, "battery_ok" : 1.000, "temperature_C" : 20.400, "humidity" : 84, "pm2_5_ug_m3" : 1.800, "pm10_ug_m3" : 1.800, "co2_ppm" : 718, "ext_power" : 1, "mic" : "CRC"}"#;
const CELLAR: &str = r#"{"time" : "2023-12-29 21:17:57", "model" : "AmbientWeather-WH31E", "id" : 118, "channel" : 1, "battery_ok" : 1, "temperature_C" : 19.100, "humidity" : 64, "data" : "0800000000", "mic" : "CRC", "mod" : "FSK", "freq1" : 868.254, "freq2" : 868.380, "rssi" : -3.131, "snr" : 29.471, "noise" : -32.602}"#;

fn events(payload: &str) -> Vec<String> {
    let mut found = rows(IT, TOPIC, payload).unwrap();
    found.retain(|row| !row.ends_with("other"));
    found.sort();
    found
}

#[test]
fn a_sensor_is_its_model_channel_and_id_whatever_the_topic() {
    for topic in [TOPIC, "garage/radio"] {
        assert_eq!(detected(topic, CELLAR), Detected::Format(IT), "{topic}");
    }
    let expected = [
        "AmbientWeather-WH31E/1/118/battery_ok generic 1 health",
        "AmbientWeather-WH31E/1/118/freq1 generic 868.254 health",
        "AmbientWeather-WH31E/1/118/freq2 generic 868.38 health",
        "AmbientWeather-WH31E/1/118/humidity humidity 64",
        "AmbientWeather-WH31E/1/118/noise generic -32.602 health",
        "AmbientWeather-WH31E/1/118/rssi generic -3.131 health",
        "AmbientWeather-WH31E/1/118/snr generic 29.471 health",
        "AmbientWeather-WH31E/1/118/temperature_C temperature 19.1",
    ];
    assert_eq!(events(CELLAR), expected);
    let expected = [
        "Fineoffset-WH45/18034/battery_ok generic 1 health",
        "Fineoffset-WH45/18034/co2_ppm co2 718",
        "Fineoffset-WH45/18034/ext_power generic 1 health",
        "Fineoffset-WH45/18034/humidity humidity 84",
        "Fineoffset-WH45/18034/pm10_ug_m3 pm10 1.8",
        "Fineoffset-WH45/18034/pm2_5_ug_m3 pm25 1.8",
        "Fineoffset-WH45/18034/temperature_C temperature 20.4",
    ];
    assert_eq!(events(AIR), expected);
}

#[test]
fn a_name_from_the_topic_stands_before_the_sensors_own() {
    let payload = AIR.as_bytes();
    let message = Message { topic: TOPIC, payload, device: Some("attic"), now: UtcMillis(0) };
    let mut names = Vec::new();
    let mut sink = |found: Found<'_>| names.push(format!("{}/{}", found.device, found.field));
    Devices::default().decode(IT, &message, &mut sink).unwrap();
    assert!(names.contains(&String::from("attic/Fineoffset-WH45/18034/humidity")), "{names:?}");
}

#[test]
fn keys_end_with_their_unit() {
    let weather = r#"{"time":"2023-03-01 09:24:34","model":"Weather","id":1,"temperature_F":68.9,"temperature_2_F":50.0,"wind_avg_km_h":36.0,"wind_max_m_s":12.5,"wind_gust_mi_h":10,
        "wind_dir_deg":225,"rain_mm":80.25,"pressure_kPa":101.3,"light_lux":500,"uvi":2.1,"strike_count":7,"mic":"CRC"}"#;
    let expected = [
        "Weather/1/light_lux illuminance 500",
        "Weather/1/pressure_kPa pressure 1013",
        "Weather/1/rain_mm generic 80.25",
        "Weather/1/strike_count count_total 7",
        "Weather/1/temperature_2_F temperature 10",
        "Weather/1/temperature_F temperature 20.5",
        "Weather/1/uvi generic 2.1",
        "Weather/1/wind_avg_km_h speed 10",
        "Weather/1/wind_dir_deg generic 225",
        "Weather/1/wind_gust_mi_h speed 4.4704",
        "Weather/1/wind_max_m_s speed 12.5",
    ];
    assert_eq!(events(weather), expected);
    let tyre = r#"{"time":"2023-03-01 09:24:34","model":"Citroen","type":"TPMS","id":"8a1f","pressure_kPa":232,"temperature_C":20.0,"mic":"CHECKSUM"}"#;
    let expected =
        ["Citroen/8a1f/pressure_kPa generic 232", "Citroen/8a1f/temperature_C temperature 20"];
    assert_eq!(events(tyre), expected);
}

#[test]
fn the_time_is_local_unless_it_says_more() {
    let at = |time: &str| {
        let payload = format!(r#"{{"time":{time},"model":"X","temperature_C":1.5}}"#);
        stamp(IT, TOPIC, &payload)
    };
    let local = jiff::civil::date(2023, 7, 8).at(13, 6, 14, 0);
    let utc = |ms| Some(Stamp::Utc(UtcMillis(ms)));
    assert_eq!(at("\"2023-07-08 13:06:14\""), Some(Stamp::Local(local)));
    assert_eq!(at("\"2023-07-08T13:06:14+0200\""), utc(1_688_814_374_000));
    assert_eq!(at("\"2023-07-08T11:06:14Z\""), utc(1_688_814_374_000));
    assert_eq!(at("\"1688814374.123456\""), utc(1_688_814_374_123));
    assert_eq!(at("1688814374"), utc(1_688_814_374_000));
    assert_eq!(at("\"@1.2s\""), None);
    let unreadable = r#"{"time":"noon","model":"X","temperature_C":1.5}"#;
    assert_eq!(rows(IT, TOPIC, unreadable), Err(Refusal::BadTimestamp));
}

#[test]
fn values_on_topics_of_their_own_count_unless_the_event_was_sent() {
    let topic = "rtl_433/pi/devices/AmbientWeather-WH31E/1/118/temperature_C";
    assert_eq!(detected(topic, "19.1"), Detected::Format(IT));
    let mut devices = Devices::default();
    let mut send = |topic, payload, ms| later(&mut devices, IT, topic, payload, ms);
    let expected = "AmbientWeather-WH31E/1/118/temperature_C temperature 19.1";
    assert_eq!(send(topic, "19.1", 0).unwrap(), [expected]);
    send("rtl_433/pi/events", CELLAR, 1_000).unwrap();
    let repeated = send(topic, "19.1", 1_001).unwrap();
    assert_eq!(repeated, ["AmbientWeather-WH31E/1/118/temperature_C temperature cached"]);
    let elsewhere = topic.replace("pi", "attic");
    assert_eq!(send(&elsewhere, "19.1", 1_002).unwrap(), [expected]);
    for (key, value) in [("mic", "CRC"), ("id", "118"), ("time", "2023-12-29 21:17:57")] {
        let topic = topic.replace("temperature_C", key);
        assert_eq!(rows(IT, &topic, value), Err(Refusal::NotASensor), "{key}");
    }
}

#[test]
fn what_a_receiver_says_of_itself_is_no_sensor() {
    let state = r#"{"enabled":130,"since":"2023-12-29T21:00:00","frames":{"count":17}}"#;
    assert_eq!(detected("rtl_433/pi/states", state), Detected::NotASensor);
    assert_eq!(rows(IT, TOPIC, state), Err(Refusal::NotASensor));
    let camera = r#"{"model":"X100","time":"2023-12-29T21:00:00","brightness":5}"#;
    assert_ne!(detected("camera/1", camera), Detected::Format(IT));
}

#[test]
fn receivers_are_remembered_within_bounds() {
    let mut receivers = Receivers::default();
    for number in 0..1_000 {
        receivers.add(&format!("rtl_433/{number}"));
    }
    assert_eq!(receivers.0.len(), Receivers::MOST);
    assert!(receivers.has("rtl_433/999") && !receivers.has("rtl_433/0"));
}
