//! The Things Stack, version 3: LoRaWAN uplinks as its MQTT server publishes them.
//!
//! Uplinks are `v3/<application>@<tenant>/devices/<device>/up`, with what the device's payload
//! formatter made of them under `uplink_message.decoded_payload`. The JSON leaves out whatever is
//! zero, false or empty: an uplink without `f_cnt` is the first one, one without `f_port` has no
//! payload. The time is the network's, `uplink_message.received_at`: gateways have clocks of
//! their own, and the outer `received_at` waits for the application server.

use serde_json::Value;

use super::{
    Detected, Format, Message, Sink, Stamp,
    codecs::Origin,
    timestamp, tree,
    uplink::{Link, Payload},
};
use crate::{reading::Refusal, time::UtcMillis};

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    match Topic::of(message.topic) {
        Some(Topic { is_uplink: true, .. }) => Some(Detected::Format(Format::TheThingsStack)),
        Some(_) => Some(Detected::NotASensor),
        None => {
            // A webhook's or a bridge's own topic.
            let text = message.text().ok().filter(|text| text.starts_with('{'))?;
            let has = |key: &str| text.contains(key);
            let is_uplink = has("\"end_device_ids\"") && has("\"uplink_message\"");
            is_uplink.then_some(Detected::Format(Format::TheThingsStack))
        }
    }
}

/// What a topic says.
struct Topic<'t> {
    device: &'t str,
    is_uplink: bool,
}

impl<'t> Topic<'t> {
    /// There may be a prefix; the levels are then found further on.
    fn of(topic: &'t str) -> Option<Self> {
        let mut rest = topic;
        loop {
            let mut levels = rest.split('/');
            if let (Some("v3"), Some(_), Some("devices"), Some(device)) =
                (levels.next(), levels.next(), levels.next(), levels.next())
            {
                // `up/normalized` has the same values once more, under other names.
                let is_uplink = levels.next() == Some("up") && levels.next().is_none();
                return Some(Self { device, is_uplink });
            }
            rest = rest.split_once('/')?.1;
        }
    }
}

/// Decodes a message.
///
/// # Errors
/// `NotASensor` if it is no uplink, `Simulated` if no device has sent it, `NoCodec` if there is
/// no payload formatter for the device, `NoValue`, `Malformed`, `BadTimestamp`, `WrongFormat`.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let topic = Topic::of(message.topic);
    if topic.as_ref().is_some_and(|topic| !topic.is_uplink) {
        return Err(Refusal::NotASensor);
    }
    let document = message.json()?;
    if !document.is_object() {
        return Err(Refusal::WrongFormat);
    }
    let Some(uplink) = document.get("uplink_message").filter(|uplink| uplink.is_object()) else {
        // A webhook's other kinds have one path with the uplinks'.
        let is_event = document.get("end_device_ids").is_some();
        return Err(if is_event { Refusal::NotASensor } else { Refusal::WrongFormat });
    };
    let is_set = |part: &Value| part.get("simulated").and_then(Value::as_bool) == Some(true);
    if is_set(&document) || is_set(uplink) {
        return Err(Refusal::Simulated);
    }
    let told = tree::at(&document, &["end_device_ids", "device_id"]).and_then(Value::as_str);
    let told = told.or(topic.map(|topic| topic.device)).ok_or(Refusal::WrongFormat)?;
    let device = message.device_or(told);
    let at = time(&document, uplink)?.map(Stamp::Utc);
    let given = payload(device, at, &document, uplink, sink);
    let gateways = ("rx_metadata", uplink.get("rx_metadata"));
    Link { gateways, of: uplink, numbers: &["f_cnt"] }.give(device, at, given, sink)
}

fn time(document: &Value, uplink: &Value) -> Result<Option<UtcMillis>, Refusal> {
    let told = tree::at(uplink, &["received_at"]).or_else(|| tree::at(document, &["received_at"]));
    let told = told.or_else(|| tree::at(uplink, &["settings", "time"]));
    told.map(timestamp::from_json).transpose()
}

fn payload(
    device: &str,
    at: Option<Stamp>,
    document: &Value,
    uplink: &Value,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let text = |of, path: &[&str]| tree::at(of, path).and_then(Value::as_str).unwrap_or("");
    // From the device repository, if the device was taken from there.
    let [brand, model] = ["brand_id", "model_id"].map(|key| text(uplink, &["version_ids", key]));
    let profile = [brand, " ", model].concat();
    let origin = Origin {
        dev_eui: text(document, &["end_device_ids", "dev_eui"]),
        brand,
        profile: &profile,
        port: tree::at(uplink, &["f_port"]).and_then(Value::as_u64).unwrap_or(0),
    };
    let object = tree::at(uplink, &["decoded_payload"]);
    Payload { object, data: Some(text(uplink, &["frm_payload"])), origin }.give(device, at, sink)
}

#[cfg(test)]
mod tests {
    use alloc::{
        format,
        string::{String, ToString},
        vec::Vec,
    };

    use super::*;
    use crate::decode::Role;

    const UP: &str = "v3/app1@tenant1/devices/dev1/up";

    type Read = (String, Option<i64>, Result<f64, Refusal>, Role);

    fn message<'m>(topic: &'m str, payload: &'m str) -> Message<'m> {
        Message { topic, payload: payload.as_bytes(), device: None, now: UtcMillis(0) }
    }

    fn run(topic: &str, payload: &str) -> Result<Vec<Read>, Refusal> {
        let mut read = Vec::new();
        decode(&message(topic, payload), &mut |found| {
            let at = match found.at {
                Some(Stamp::Utc(at)) => Some(at.0),
                _ => None,
            };
            let id = format!("{}/{}", found.device, found.field);
            read.push((id, at, found.value, found.role));
        })?;
        Ok(read)
    }

    fn uplink(rest: &str) -> String {
        format!(
            r#"{{"end_device_ids":{{"device_id":"dev1","application_ids":{{"application_id":"app1"}},
            "dev_eui":"0004A30B001C0530"}},"received_at":"2020-02-12T15:15:46.014773143Z",
            "uplink_message":{{"session_key_id":"AXA50","frm_payload":"gkHe",
            "rx_metadata":[{{"gateway_ids":{{"gateway_id":"gtw1"}},"rssi":-35,"channel_rssi":-35}}],
            "settings":{{"frequency":"868300000","time":"2020-02-12T15:15:45.787Z"}},
            "received_at":"2020-02-12T15:15:45.789585559Z"{rest}}}}}"#
        )
    }

    const DECODED: &str =
        r#","decoded_payload":{"temperature":1.0,"luminosity":0.64,"door":"open"}"#;
    const AT: i64 = 1_581_520_545_789;

    #[test]
    fn the_formatters_values_are_read_with_the_networks_time() {
        let one = |field: &str, value, role| (format!("dev1/{field}"), Some(AT), Ok(value), role);
        let expected = [
            one("luminosity", 0.64, Role::Measurement),
            one("temperature", 1.0, Role::Measurement),
            one("rx_metadata/rssi", -35.0, Role::Health),
        ];
        // There is no `f_cnt` and no `f_port`, which are zero then.
        assert_eq!(run(UP, &uplink(DECODED)).unwrap(), expected);
    }

    #[test]
    fn the_time_falls_back_to_the_servers_and_then_to_the_gateways() {
        let payload = uplink(DECODED)
            .replace("\"received_at\":\"2020-02-12T15:15:45", "\"was\":\"2020-02-12T15:15:45");
        assert_eq!(run(UP, &payload).unwrap()[0].1, Some(1_581_520_546_014));
        let payload = uplink(DECODED).replace("\"received_at\"", "\"was\"");
        assert_eq!(run(UP, &payload).unwrap()[0].1, Some(1_581_520_545_787));
    }

    #[test]
    fn what_no_device_has_sent_is_refused() {
        let simulated = uplink(DECODED).replace("{\"end", "{\"simulated\":true,\"end");
        assert_eq!(run(UP, &simulated), Err(Refusal::Simulated));
        assert!(run(UP, &simulated.replace("true", "false")).is_ok());
    }

    #[test]
    fn other_events_carry_no_readings() {
        let joined =
            r#"{"end_device_ids":{"device_id":"dev1"},"join_accept":{"session_key_id":"A"}}"#;
        for topic in [
            "v3/app1@tenant1/devices/dev1/join",
            "v3/app1@tenant1/devices/dev1/up/normalized",
            "v3/app1@tenant1/devices/dev1/down/ack",
            "v3/app1@tenant1/devices/dev1/service/data",
            "v3/app1@tenant1/devices/dev1/location/solved",
        ] {
            assert_eq!(detect(&message(topic, joined)), Some(Detected::NotASensor), "{topic}");
            assert_eq!(run(topic, &uplink(DECODED)), Err(Refusal::NotASensor), "{topic}");
        }
        assert_eq!(run("hook/dev1", joined), Err(Refusal::NotASensor));
        let format = Some(Detected::Format(Format::TheThingsStack));
        assert_eq!(detect(&message(UP, "{}")), format);
        assert_eq!(detect(&message("hook/dev1", &uplink(DECODED))), format);
        assert_eq!(detect(&message("home/v3/devices", "{}")), None);
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        // Else there is how well it was heard.
        let unheard = |payload: &str| payload.replace("\"rssi\"", "\"was\"");
        for (payload, reason) in [
            (uplink(""), Refusal::NoCodec),
            (uplink(r#","decoded_payload":{}"#), Refusal::NoCodec),
            (unheard(&uplink("").replace("gkHe", "")), Refusal::NoValue),
            (unheard(&uplink(r#","decoded_payload":{"door":"open"}"#)), Refusal::NoValue),
            (uplink(DECODED).replace("15:15:45.78958", "25:15:45.78958"), Refusal::BadTimestamp),
            ("{}".to_string(), Refusal::WrongFormat),
            ("[]".to_string(), Refusal::WrongFormat),
            // As the documentation once had it: a comma is missing.
            (
                uplink("").replace(",\"settings\"", "\"settings\"").replace("35}],\n", "35}]\n"),
                Refusal::Malformed,
            ),
        ] {
            assert_eq!(run(UP, &payload), Err(reason), "{payload}");
        }
    }
}
