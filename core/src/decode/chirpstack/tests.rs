use alloc::{format, string::ToString, vec::Vec};

use super::*;

const UP: &str = "application/17c82e96/device/24e124136b502217/event/up";

/// Field, time, value and role of a number found.
type Read = (String, Option<i64>, Result<f64, Refusal>, Role);

fn message<'m>(topic: &'m str, payload: &'m str) -> Message<'m> {
    Message { topic, payload: payload.as_bytes(), device: None, now: UtcMillis(0) }
}

fn run(devices: &mut Devices, topic: &str, payload: &str) -> Result<Vec<Read>, Refusal> {
    let mut read = Vec::new();
    decode(devices, &message(topic, payload), &mut |found| {
        let at = match found.at {
            Some(Stamp::Utc(at)) => Some(at.0),
            _ => None,
        };
        let id = format!("{}/{}", found.device, found.field);
        if found.role != Role::Other {
            read.push((id, at, found.value, found.role));
        }
    })?;
    Ok(read)
}

fn once(topic: &str, payload: &str) -> Result<Vec<Read>, Refusal> {
    run(&mut Devices::default(), topic, payload)
}

fn uplink(rest: &str) -> String {
    format!(
        r#"{{"deduplicationId":"3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
        "time":"2022-07-18T09:34:15.775023242+00:00","deviceInfo":{{"applicationId":"17c82e96",
        "deviceName":"roof","deviceProfileName":"p","devEui":"24e124136b502217"}},"dr":1,
        "fCnt":100,"fPort":2{rest}}}"#
    )
}

const AT: Option<i64> = Some(1_658_136_855_775);

#[test]
fn the_codecs_values_are_read_with_the_servers_time() {
    let payload = uplink(
        r#","object":{"temperature":-2.8,"battery":87,"position":"normal","open":true,
        "probe":{"t":[20.5,21]}},"rxInfo":[{"gatewayId":"a","rssi":-116,"snr":4.8},
        {"gatewayId":"b","rssi":-36,"snr":10.5}]"#,
    );
    let one = |field: &str, value, role| (format!("24e124136b502217/{field}"), AT, Ok(value), role);
    let expected = [
        one("battery", 87.0, Role::Health),
        one("probe/t/0", 20.5, Role::Measurement),
        one("probe/t/1", 21.0, Role::Measurement),
        one("temperature", -2.8, Role::Measurement),
        one("rxInfo/rssi", -36.0, Role::Health),
        one("rxInfo/snr", 10.5, Role::Health),
    ];
    assert_eq!(once(UP, &payload).unwrap(), expected);
}

#[test]
fn the_numbers_of_the_message_itself_are_no_readings() {
    let payload = uplink(
        r#","object":{"temperature":-2.8},"rxInfo":[{"uplinkId":24022,"rssi":-36,"snr":10.5,
        "channel":2,"rfChain":1,"gatewayId":"a"}]"#,
    );
    let mut passed_over = Vec::new();
    let mut sink = |found: Found<'_>| {
        if found.role == Role::Other {
            passed_over.push((found.field.to_string(), found.value.unwrap()));
        }
    };
    decode(&mut Devices::default(), &message(UP, &payload), &mut sink).unwrap();
    let expected = [
        ("rxInfo/uplinkId", 24_022.0),
        ("rxInfo/channel", 2.0),
        ("rxInfo/rfChain", 1.0),
        ("dr", 1.0),
        ("fCnt", 100.0),
    ];
    assert_eq!(passed_over, expected.map(|(field, value)| (field.to_string(), value)));
}

#[test]
fn an_uplink_without_readings_still_tells_how_well_it_was_heard() {
    // The answer to a command, of port 85.
    let heard = uplink(r#","data":"//YA","rxInfo":[{"gatewayId":"a","rssi":-36}]"#);
    let heard = heard.replace("\"fPort\":2", "\"fPort\":85");
    let read = once(UP, &heard).unwrap();
    assert_eq!((read.len(), read[0].3), (1, Role::Health));
    assert_eq!(once(UP, &heard.replace("\"rssi\"", "\"was\"")), Err(Refusal::NoValue));
    assert_eq!(once(UP, &heard.replace("//YA", "//EA")), Err(Refusal::NoCodec));
}

#[test]
fn the_older_versions_uplinks_are_read() {
    let older = r#"{"applicationID":"102","applicationName":"a","deviceName":"TLD-01",
        "deviceProfileName":"Milesight EM400TLD","devEUI":"24e124329e090021","rxInfo":[
        {"gatewayID":"24e124fffef477f6","rssi":-110,"loRaSNR":-5.8},
        {"gatewayID":"x","time":"2025-04-10T11:44:01.912259Z","rssi":-104,"loRaSNR":1.2}],
        "fCnt":45797,"fPort":85,"data":"AXVX","object":{"distance":2140}}"#;
    let topic = "application/102/device/24e124329e090021/event/up";
    let read = once(topic, older).unwrap();
    let at = Some(1_744_285_441_912);
    let distance = "24e124329e090021/distance".to_string();
    assert_eq!(read[0], (distance, at, Ok(2_140.0), Role::Measurement));
    assert_eq!(read[2].2, Ok(1.2));
    assert_eq!(detect(&message(topic, older)), Some(Detected::Format(Format::ChirpStackV3)));
    // No gateway knows the time: arrival counts.
    let no_time = older.replace("\"time\"", "\"was\"");
    assert_eq!(once(topic, &no_time).unwrap()[0].1, None);
    // 3 with its Protobuf marshaler: the EUI in base64, the object in text.
    let marshaled = r#"{"applicationID":"102","devEUI":"JOEkMp4JACE=","data":"AQ==",
        "objectJSON":"{\"distance\":2140}"}"#;
    let read = once(topic, marshaled).unwrap();
    assert_eq!(read[0].0, "24e124329e090021/distance");
}

#[test]
fn a_copy_without_a_time_is_told_by_its_id() {
    let devices = &mut Devices::default();
    let first = uplink(r#","object":{"temperature":1}"#).replace("\"time\"", "\"was\"");
    assert_eq!(run(devices, UP, &first).unwrap()[0].1, None);
    assert_eq!(run(devices, UP, &first), Err(Refusal::Duplicate));
    let next = first.replace("a5c902f9202d", "a5c902f9202e");
    assert!(run(devices, UP, &next).is_ok());
    // With a time the readings themselves are the same once more.
    let stamped = uplink(r#","object":{"temperature":1}"#);
    assert!(run(devices, UP, &stamped).is_ok());
    assert_eq!(run(devices, UP, &stamped), once(UP, &stamped));
    for number in 0..2 * Heard::MOST {
        let other = first.replace("3ac7e3c4", &format!("{number:08x}"));
        assert!(run(devices, UP, &other).is_ok());
    }
    assert_eq!(devices.heard.ids.len(), Heard::MOST);
}

#[test]
fn status_events_are_the_devices_health() {
    let topic = UP.replace("/up", "/status");
    let status = uplink("").replace("\"fPort\":2", "\"margin\":10,\"batteryLevel\":88.3");
    let margin = ("24e124136b502217/margin".to_string(), AT, Ok(10.0), Role::Health);
    let level = ("24e124136b502217/batteryLevel".to_string(), AT, Ok(88.3), Role::Health);
    assert_eq!(once(&topic, &status).unwrap(), [margin.clone(), level]);
    let powered = status.replace("88.3", "0.0,\"externalPowerSource\":true");
    assert_eq!(once(&topic, &powered).unwrap(), [margin]);
}

#[test]
fn other_events_and_topics_carry_no_readings() {
    for topic in [
        &UP.replace("/up", "/join"),
        &UP.replace("/up", "/txack"),
        &UP.replace("/up", "/location"),
        &UP.replace("event/up", "command/down"),
        "eu868/gateway/0016c001f153a14c/event/up",
        "eu868/gateway/0016c001f153a14c/state/conn",
    ] {
        let payload = uplink(r#","object":{"temperature":1}"#);
        assert_eq!(detect(&message(topic, &payload)), Some(Detected::NotASensor), "{topic}");
        assert_eq!(once(topic, &payload), Err(Refusal::NotASensor), "{topic}");
    }
    for topic in ["application/x/up", "home/gateway/door/event/x", "a/device/b/event/up"] {
        assert_eq!(detect(&message(topic, "{}")), None, "{topic}");
    }
}

#[test]
fn topics_of_the_users_own_are_known_by_their_messages() {
    let payload = uplink(r#","object":{"temperature":1}"#);
    let found = detect(&message("lora/roof", &payload));
    assert_eq!(found, Some(Detected::Format(Format::ChirpStackV4)));
    assert_eq!(once("lora/roof", &payload).unwrap()[0].0, "24e124136b502217/temperature");
    let found = detect(&message(&["site/", UP].concat(), &payload));
    assert_eq!(found, Some(Detected::Format(Format::ChirpStackV4)));
}

#[test]
fn each_fault_has_its_own_reason() {
    for (payload, reason) in [
        (uplink(r#","data":"qg==""#), Refusal::NoCodec),
        (uplink(r#","data":"qg==","object":null"#), Refusal::NoCodec),
        (uplink(""), Refusal::NoValue),
        (uplink(r#","data":"""#), Refusal::NoValue),
        (uplink(r#","object":{"press":"short"}"#), Refusal::NoValue),
        (uplink("").replace("2022-07", "2022/07"), Refusal::BadTimestamp),
        ("[1]".to_string(), Refusal::WrongFormat),
        (uplink("]"), Refusal::Malformed),
    ] {
        assert_eq!(once(UP, &payload), Err(reason), "{payload}");
    }
}

#[test]
fn a_probe_that_is_not_there_is_no_temperature() {
    let payload = uplink(r#","object":{"TempC_DS":327.67,"TempC_SHT":"26.60"}"#);
    let read = once(UP, &payload).unwrap();
    assert_eq!(read[0].2, Err(Refusal::Sentinel));
    assert_eq!(read[1].2, Ok(26.6));
}

#[test]
fn earlier_values_keep_their_own_time() {
    let payload = uplink(
        r#","object":{"temperature":28.1,"history":[{"timestamp":1698765432,"temperature":22.3},
        {"temperature":1}]}"#,
    );
    let id = "24e124136b502217/temperature".to_string();
    let role = Role::Measurement;
    let expected = [
        (id.clone(), Some(1_698_765_432_000), Ok(22.3), role),
        (id.clone(), None, Err(Refusal::BadTimestamp), role),
        (id, AT, Ok(28.1), role),
    ];
    assert_eq!(once(UP, &payload).unwrap(), expected);
}

#[test]
fn known_payloads_are_read_where_the_server_has_no_codec() {
    let raw = uplink(r#","data":"AXVkA2cYAQRobQ==""#);
    let read = once(UP, &raw).unwrap();
    assert_eq!(
        read[1],
        ("24e124136b502217/temperature".to_string(), AT, Ok(28.0), Role::Measurement)
    );
    // What the server says goes first.
    let both = uplink(r#","data":"AXVkA2cYAQRobQ==","object":{"temperature":82.4}"#);
    assert_eq!(once(UP, &both).unwrap()[0].2, Ok(82.4));
    assert_eq!(once(UP, &both).unwrap().len(), 1);
}

#[test]
fn a_codec_that_mixes_earlier_values_with_the_new_ones_is_not_believed() {
    // 22.3 °C and 55 % were measured 88 days ago, and are not those of now.
    let mixed = uplink(
        r#","data":"AXVkA2cYAQRobSDOeBpBYt8Abg==","object":{"battery":100,"temperature":22.3,
        "humidity":55}"#,
    );
    let read = once(UP, &mixed).unwrap();
    let values: Vec<_> = read.iter().map(|(id, at, value, _)| (&id[17..], *at, *value)).collect();
    let then = Some(1_648_433_784_000);
    let expected = [
        ("battery", AT, Ok(100.0)),
        ("temperature", AT, Ok(28.0)),
        ("humidity", AT, Ok(54.5)),
        ("temperature", then, Ok(22.3)),
        ("humidity", then, Ok(55.0)),
    ];
    assert_eq!(values, expected);
    // Named otherwise, or not to be read here, it would be guessing.
    assert_eq!(once(UP, &mixed.replace("humidity", "hum")), Err(Refusal::NoCodec));
    // Kept apart it is believed.
    let apart = mixed.replace("\"humidity\":55", "\"history\":[]");
    assert_eq!(once(UP, &apart).unwrap()[1].2, Ok(22.3));
}
