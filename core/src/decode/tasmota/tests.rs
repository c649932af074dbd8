//! Messages of the firmware's own documentation and of people's devices.

use alloc::{string::String, vec::Vec};

use super::*;
use crate::{
    decode::rows::{detected, rows, stamp},
    time::UtcMillis,
};

const IT: Format = Format::Tasmota;
const PROBES: &str = r#"{"Time":"2022-07-01T21:21:17","DS18B20-1":{"Id":"022EDB070007","Temperature":15.9},"DS18B20-2":{"Id":"0316A279C254","Temperature":6.9},"TempUnit":"C"}"#;

fn sensors(payload: &str) -> Vec<String> {
    rows(IT, "tele/boiler/SENSOR", payload).unwrap()
}

#[test]
fn each_sensor_of_a_device_is_found() {
    let expected = [
        "balcony/DS18B20-1/Temperature temperature 15.9",
        "balcony/DS18B20-2/Temperature temperature 6.9",
    ];
    for topic in ["tele/balcony/SENSOR", "balcony/tele/SENSOR", "tasmota/tele/balcony/SENSOR"] {
        assert_eq!(detected(topic, PROBES), Detected::Format(IT), "{topic}");
        assert_eq!(rows(IT, topic, PROBES).unwrap(), expected, "{topic}");
    }
    let deep = rows(IT, "tele/house/roof/SENSOR", PROBES).unwrap();
    assert_eq!(deep[0], "house/roof/DS18B20-1/Temperature temperature 15.9");
}

#[test]
fn what_a_device_announces_is_no_reading() {
    let sensors = r#"{"sn":{"Time":"2024-03-25T11:00:00","AM2301":{"Temperature":21.3,"Humidity":44.0,"DewPoint":8.6},"TempUnit":"C"},"ver":1}"#;
    let topic = "tasmota/discovery/D8BFC0112233/sensors";
    assert_eq!(detected(topic, sensors), Detected::NotASensor);
    let config = r#"{"ip":"192.168.1.5","dn":"Boiler","rl":[1,0],"t":"boiler","ver":1}"#;
    assert_eq!(detected("tasmota/discovery/D8BFC0112233/config", config), Detected::NotASensor);
}

#[test]
fn the_time_is_the_sites_unless_it_says_which() {
    let at = |payload| stamp(IT, "tele/boiler/SENSOR", payload);
    let utc = |ms| Some(Stamp::Utc(UtcMillis(ms)));
    let local = jiff::civil::date(2022, 7, 1).at(21, 21, 17, 0);
    assert_eq!(at(PROBES), Some(Stamp::Local(local)));
    let doubled = jiff::civil::date(2024, 10, 27).at(2, 30, 0, 0);
    let payload = r#"{"Time":"2024-10-27T02:30:00","ANALOG":{"A0":8}}"#;
    assert_eq!(at(payload), Some(Stamp::Local(doubled)), "which of two is not for the decoder");
    let offset = r#"{"Time":"2021-03-11T19:50:58+01:00","PCF8574-1":{"D0":1}}"#;
    assert_eq!(at(offset), utc(1_615_488_658_000));
    let epoch = r#"{"Time":"2019-09-04T13:08:48","Epoch":1567595328,"ANALOG":{"A0":8}}"#;
    assert_eq!(at(epoch), utc(1_567_595_328_000));
    assert_eq!(at(r#"{"Time":1567595328,"ANALOG":{"A0":8}}"#), utc(1_567_595_328_000));
}

#[test]
fn of_a_clock_that_was_never_set_the_arrival_counts() {
    for payload in [
        r#"{"Time":"1970-01-01T00:00:42","ANALOG":{"A0":8}}"#,
        r#"{"Time":"1970-01-01T00:00:42","Epoch":42,"ANALOG":{"A0":8}}"#,
        r#"{"Time":42,"ANALOG":{"A0":8}}"#,
        r#"{"Time":null,"ANALOG":{"A0":8}}"#,
        r#"{"ANALOG":{"A0":8}}"#,
    ] {
        assert_eq!(stamp(IT, "tele/boiler/SENSOR", payload), None, "{payload}");
    }
    let unreadable = r#"{"Time":"half past two","ANALOG":{"A0":8}}"#;
    assert_eq!(rows(IT, "tele/boiler/SENSOR", unreadable), Err(Refusal::BadTimestamp));
}

#[test]
fn units_convert_what_they_are_about_and_nothing_else() {
    let payload = r#"{"Time":"2022-07-01T21:21:17","BME280":{"Temperature":68.9,"Humidity":40.0,"DewPoint":50.0,"Pressure":29.92},
        "TX23":{"Speed":{"Act":36.0,"Avg":18.0},"Dir":{"Card":"WSW","Deg":247.5}},"ENERGY":{"Power":100},
        "TempUnit":"F","PressureUnit":"inHg","SpeedUnit":"km/h"}"#;
    let mut found = sensors(payload);
    found.sort();
    let expected = [
        "boiler/BME280/DewPoint temperature 10",
        "boiler/BME280/Humidity humidity 40",
        "boiler/BME280/Pressure pressure 1013.20748907",
        "boiler/BME280/Temperature temperature 20.5",
        "boiler/ENERGY/Power power 100",
        "boiler/TX23/Dir/Deg generic 247.5",
        "boiler/TX23/Speed/Act speed 10",
        "boiler/TX23/Speed/Avg speed 5",
    ];
    assert_eq!(found, expected);
    let beside =
        r#"{"ZbReceived":{"Kitchen":{"Device":"0x8F20","Pressure":750,"PressureUnit":"mmHg"}}}"#;
    assert_eq!(sensors(beside), ["boiler/ZbReceived/Kitchen/Pressure pressure 999.917905613"]);
}

#[test]
fn a_thermometer_that_has_not_measured_is_refused() {
    let of = |name: &str, value: &str, unit: &str| {
        sensors(&alloc::format!(r#"{{"{name}":{{"Temperature":{value}}},"TempUnit":"{unit}"}}"#))
    };
    for (value, unit) in [("85.0", "C"), ("-127.0", "C"), ("185.0", "F")] {
        let expected = ["boiler/DS18B20-2/Temperature temperature sentinel"];
        assert_eq!(of("DS18B20-2", value, unit), expected);
    }
    assert_eq!(of("DS18B20", "84.9", "C"), ["boiler/DS18B20/Temperature temperature 84.9"]);
    assert_eq!(of("MAX31855", "85.0", "C"), ["boiler/MAX31855/Temperature temperature 85"]);
    assert_eq!(of("DS18B20", "null", "C"), ["boiler/DS18B20/Temperature temperature no_value"]);
}

#[test]
fn energy_is_a_total_and_what_repeats_it_is_no_sensor() {
    let payload = r#"{"Time":"2018-02-15T17:37:10","ENERGY":{"TotalStartTime":"2018-11-14T18:39:40","Total":6.294,"Yesterday":5.340,"Today":0.954,
        "Period":217,"Power":2635,"ApparentPower":2650,"ReactivePower":282,"Factor":0.99,"Voltage":227,"Current":11.661}}"#;
    let mut found = sensors(payload);
    found.sort();
    let expected = [
        "boiler/ENERGY/ApparentPower generic 2650",
        "boiler/ENERGY/Current current 11.661",
        "boiler/ENERGY/Factor generic 0.99",
        "boiler/ENERGY/Period energy 217 other",
        "boiler/ENERGY/Power power 2635",
        "boiler/ENERGY/ReactivePower generic 282",
        "boiler/ENERGY/Today energy_total 954 other",
        "boiler/ENERGY/Total energy_total 6294",
        "boiler/ENERGY/Voltage voltage 227",
        "boiler/ENERGY/Yesterday energy_total 5340 other",
    ];
    assert_eq!(found, expected);
}

#[test]
fn each_phase_is_a_sensor() {
    let payload = r#"{"Time":"2022-07-01T21:21:17","ENERGY":{"Total":[1.5,2.5],"Power":[100,200],"Factor":[0.9,1.0]}}"#;
    let mut found = sensors(payload);
    found.sort();
    let expected = [
        "boiler/ENERGY/Factor/0 generic 0.9",
        "boiler/ENERGY/Factor/1 generic 1",
        "boiler/ENERGY/Power/0 power 100",
        "boiler/ENERGY/Power/1 power 200",
        "boiler/ENERGY/Total/0 energy_total 1500",
        "boiler/ENERGY/Total/1 energy_total 2500",
    ];
    assert_eq!(found, expected);
}

#[test]
fn drivers_keys_are_what_they_stand_for() {
    for (payload, expected) in [
        (r#"{"IAQ":{"eCO2":450,"TVOC":125}}"#, &["IAQ/TVOC generic 125", "IAQ/eCO2 co2 450"][..]),
        (r#"{"SCD40":{"CarbonDioxide":618}}"#, &["SCD40/CarbonDioxide co2 618"]),
        (
            r#"{"PMS5003":{"CF2.5":4,"PM2.5":3,"PM10":5,"PB0.3":525}}"#,
            &[
                "PMS5003/CF2.5 pm25 4 other",
                "PMS5003/PB0.3 generic 525",
                "PMS5003/PM10 pm10 5",
                "PMS5003/PM2.5 pm25 3",
            ],
        ),
        (r#"{"BH1750":{"Illuminance":79}}"#, &["BH1750/Illuminance illuminance 79"]),
        (r#"{"COUNTER":{"C1":7}}"#, &["COUNTER/C1 count_total 7"]),
        (
            r#"{"HX711":{"Weight":5.2,"WeightRaw":5170}}"#,
            &["HX711/Weight generic 5.2", "HX711/WeightRaw generic 5170 other"],
        ),
        (r#"{"VEML6075":{"UvIndex":2.1}}"#, &["VEML6075/UvIndex generic 2.1"]),
        (
            r#"{"MLX90614":{"OBJTMP":23.8,"AMBTMP":22.7}}"#,
            &["MLX90614/AMBTMP temperature 22.7", "MLX90614/OBJTMP temperature 23.8"],
        ),
        (
            r#"{"Flora-6ab577":{"Temperature":21.7,"Humidity":12,"Battery":100}}"#,
            &[
                "Flora-6ab577/Battery generic 100 health",
                "Flora-6ab577/Humidity moisture 12",
                "Flora-6ab577/Temperature temperature 21.7",
            ],
        ),
        (
            r#"{"AS3935":{"Event":4,"Distance":12,"Energy":58622,"Stage":1}}"#,
            &[
                "AS3935/Distance generic 12",
                "AS3935/Energy generic 58622",
                "AS3935/Event generic 4 other",
                "AS3935/Stage generic 1 other",
            ],
        ),
        (
            r#"{"ZbReceived":{"IKEA_Light":{"Device":"0x5ADF","0004<02":"FF016400","0004<00":"006400","Power":1,"Temperature":21.5,"LinkQuality":80}}}"#,
            &[
                "ZbReceived/IKEA_Light/LinkQuality generic 80 health",
                "ZbReceived/IKEA_Light/Power generic 1 other",
                "ZbReceived/IKEA_Light/Temperature temperature 21.5",
            ],
        ),
        (
            r#"{"OPENTHERM":{"SLAVE":{"FAULT":0,"RAW":3221225472},"BTMP":{"REQ":85.0,"ACT": 85.0},"TB":31.0}}"#,
            &[
                "OPENTHERM/BTMP/ACT temperature 85",
                "OPENTHERM/BTMP/REQ temperature 85 other",
                "OPENTHERM/SLAVE/FAULT generic 0 other",
                "OPENTHERM/SLAVE/RAW generic 3221225472 other",
                "OPENTHERM/TB temperature 31",
            ],
        ),
    ] {
        let mut found = sensors(payload);
        found.sort();
        let found: Vec<_> = found.iter().map(|row| row.trim_start_matches("boiler/")).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_state_is_the_devices_health() {
    let state = r#"{"Time":"2019-10-31T11:14:59","Uptime":"0T18:36:12","UptimeSec":66972,"Vcc":3.423,"Heap":28,"SleepMode":"Dynamic","Sleep":50,"LoadAvg":19,
        "MqttCount":6,"POWER":"OFF","Dimmer":100,"Wifi":{"AP":1,"SSId":"1234","BSSId":"00:00:00:00:00:00","Channel":13,"RSSI":100,"LinkCount":1,"Downtime":"0T00:00:06"}}"#;
    for topic in ["tele/tasmota/STATE", "stat/tasmota/STATE"] {
        assert_eq!(detected(topic, state), Detected::Format(IT));
        let found = rows(IT, topic, state).unwrap();
        let of = |role: &str| found.iter().filter(|row| row.ends_with(role)).count();
        assert_eq!((of("health"), of("other"), found.len()), (7, 4, 11), "{found:?}");
    }
    let chip =
        sensors(r#"{"Time":"2021-01-01T00:00:00","ESP32":{"Temperature":41.7},"TempUnit":"C"}"#);
    assert_eq!(chip, ["boiler/ESP32/Temperature temperature 41.7 health"]);
}

#[test]
fn a_status_on_demand_is_read_as_telemetry() {
    let status = r#"{"StatusSNS":{"Time":"2018-11-15T08:54:18","ENERGY":{"Power":2629}}}"#;
    for topic in ["stat/pow1/STATUS8", "stat/pow1/STATUS10"] {
        assert_eq!(detected(topic, status), Detected::Format(IT));
        assert_eq!(rows(IT, topic, status).unwrap(), ["pow1/ENERGY/Power power 2629"]);
    }
    let network = r#"{"StatusNET":{"Wifi":4}}"#;
    assert_eq!(rows(IT, "stat/pow1/STATUS8", network), Err(Refusal::NotASensor));
}

#[test]
fn replies_commands_and_availability_are_no_sensors() {
    for (topic, payload) in [
        ("tele/boiler/LWT", "Online"),
        ("tele/wemos2/INFO1", r#"{"Module":"Generic"}"#),
        ("stat/tasmota/RESULT", r#"{"ot_tboiler":60.0}"#),
        ("stat/wemos2/POWER1", "ON"),
        ("stat/pow1/STATUS", r#"{"Status":{"Module":1}}"#),
        ("cmnd/boiler/Dimmer", "50"),
        ("boiler/stat/RESULT", r#"{"POWER":"ON"}"#),
    ] {
        assert_eq!(detected(topic, payload), Detected::NotASensor, "{topic}");
        assert_eq!(rows(IT, topic, payload), Err(Refusal::NotASensor), "{topic}");
    }
    for payload in [
        r#"{"Time":"2021-01-01T00:00:00","Switch1":"OFF"}"#,
        r#"{"ZbInfo":{"0xECD0":{"Dimmer":160,"LinkQuality":79}}}"#,
        r#"{"Time":"2019-01-10T18:23:24","PN532":{"UID":"94185035", "DATA":"12"}}"#,
        r#"{"Time":"2019-10-31T21:34:26","APDS9960":{"Right":1}}"#,
    ] {
        assert_eq!(rows(IT, "tele/boiler/SENSOR", payload), Err(Refusal::NotASensor), "{payload}");
    }
    assert_ne!(detected("car/tele/speed", "5"), Detected::Format(IT));
    assert_ne!(detected("car/tele/speed", "5"), Detected::NotASensor);
}

#[test]
fn invalid_json_is_malformed() {
    let sensor = r#"{"Time":"2018-08-18T16:13:47","MCP230XX": "D0":0,"D1":0}}"#;
    assert_eq!(rows(IT, "tele/tasmota/SENSOR", sensor), Err(Refusal::Malformed));
    let reply = r#"{"IrReceived":{"Protocol":"RC6","Bits":36,"Data":"0x8052900C"}"#;
    let malformed = Detected::Unknown(Refusal::Malformed);
    assert_eq!(detected("tele/sonoffIRBridge_1/RESULT", reply), malformed);
}
