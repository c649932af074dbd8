//! `EdgeX` Foundry: events with their readings, as device services and exports publish them.
//!
//! An event may lie bare, in an `AddEventRequest` under `event`, or in the message bus's envelope
//! under `payload`, there also as base64. Values are text whatever their type (`"2.5e+01"`); the
//! first versions wrote floats as base64 of their big-endian bytes. Truth values, texts, objects
//! and binary data are no readings, and neither are arrays, whose places have no names.

use alloc::string::String;

use serde_json::{Map, Value};

use super::{Detected, Format, Found, Message, Sink, Stamp, base64, json, number, timestamp, tree};
use crate::reading::Refusal;

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    if message.topic.starts_with("edgex/") {
        let is_event = message.topic.starts_with("edgex/events/");
        return Some(if is_event { Detected::Format(Format::EdgeX) } else { Detected::NotASensor });
    }
    let text = message.text().ok().filter(|text| text.starts_with('{'))?;
    let has = |key: &str| text.contains(key);
    let is_event = has("\"readings\"")
        && has("\"origin\"")
        && has("\"value\"")
        && (has("\"resourceName\"") || has("\"valueType\"") || has("\"device\""));
    let is_envelope = has("\"correlationID\"") && has("\"contentType\"") && has("\"payload\"");
    (is_event || is_envelope).then_some(Detected::Format(Format::EdgeX))
}

/// Decodes a message.
///
/// # Errors
/// `NoValue` if no reading is a number, `WrongFormat` if there is no event, `Malformed`.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let document = message.json()?;
    let inside = enveloped(&document)?;
    let event = inside.as_ref().unwrap_or(&document);
    let event = event.get("event").unwrap_or(event);
    let event = event.as_object().ok_or(Refusal::WrongFormat)?;
    let readings = event.get("readings").and_then(Value::as_array).ok_or(Refusal::WrongFormat)?;
    let mut count = 0_usize;
    for reading in readings.iter().take(tree::MAX_VALUES) {
        let reading = reading.as_object().ok_or(Refusal::WrongFormat)?;
        let Some(value) = value(reading) else { continue };
        let first = |keys: [&str; 2]| keys.iter().find_map(|key| tree::text(reading, key));
        let field = first(["resourceName", "name"]).ok_or(Refusal::WrongFormat)?;
        let in_event = || ["deviceName", "device"].iter().find_map(|key| tree::text(event, key));
        let told = first(["deviceName", "device"]).or_else(in_event).ok_or(Refusal::WrongFormat)?;
        let unit = tree::text(reading, "units").filter(|unit| !unit.is_empty());
        let found = Found::named(message.device_or(told), field, unit, value);
        count += 1;
        sink(match origin(reading, event) {
            Ok(at) => found.at(at),
            Err(reason) => Found { value: Err(reason), ..found },
        });
    }
    if count == 0 { Err(Refusal::NoValue) } else { Ok(()) }
}

/// What is in an envelope; `None` if it is none, or if its content can be looked at in place.
fn enveloped(document: &Value) -> Result<Option<Value>, Refusal> {
    match document.get("payload") {
        Some(Value::String(text)) => {
            let bytes = base64::decode(text).ok_or(Refusal::WrongFormat)?;
            json::parse(super::text(&bytes)?).map(Some)
        }
        Some(payload @ Value::Object(_)) => Ok(Some(payload.clone())),
        _ => Ok(None),
    }
}

/// When the value was read off the device; 0 is a service that does not say.
fn origin(
    reading: &Map<String, Value>,
    event: &Map<String, Value>,
) -> Result<Option<Stamp>, Refusal> {
    let told = |of: &Map<String, Value>| {
        of.get("origin").filter(|origin| !origin.is_null() && origin.as_i64() != Some(0)).cloned()
    };
    let told = told(reading).or_else(|| told(event));
    Ok(told.as_ref().map(timestamp::from_json).transpose()?.map(Stamp::Utc))
}

/// A reading's number, `None` if it has none by its type.
fn value(reading: &Map<String, Value>) -> Option<Result<f64, Refusal>> {
    let kind = tree::text(reading, "valueType").unwrap_or_default();
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    let is_number = kind.is_empty()
        || ["Int", "Uint", "Float"].iter().any(|start| {
            kind.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
        }) && !kind.ends_with("Array");
    if !is_number {
        return None;
    }
    match reading.get("value") {
        // Without a type it may be anything, so only a number is one.
        Some(Value::String(text)) if kind.is_empty() => number::decode(text.trim()).ok().map(Ok),
        Some(Value::String(text)) => Some(match number::decode(text.trim()) {
            Err(Refusal::Malformed) if is("Float32") || is("Float64") => in_bytes(text),
            Err(Refusal::Malformed) => Err(Refusal::NotANumber),
            decoded => decoded,
        }),
        Some(value @ Value::Number(_)) => tree::scalar(value).map(|(value, _)| value),
        _ => None,
    }
}

/// A float in base64. Its padding tells it from every number: four bytes leave two signs of it,
/// eight one.
fn in_bytes(text: &str) -> Result<f64, Refusal> {
    let bytes = base64::decode(text.trim()).ok_or(Refusal::NotANumber)?;
    let value = match (<[u8; 4]>::try_from(&bytes[..]), <[u8; 8]>::try_from(&bytes[..])) {
        (Ok(four), _) => f64::from(f32::from_be_bytes(four)),
        (_, Ok(eight)) => f64::from_be_bytes(eight),
        _ => return Err(Refusal::NotANumber),
    };
    if value.is_finite() { Ok(value) } else { Err(Refusal::NotFinite) }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString, vec::Vec};

    use super::*;
    use crate::{quantity::Quantity, time::UtcMillis};

    type Read = (String, Option<i64>, Result<f64, Refusal>);

    const TOPIC: &str =
        "edgex/events/device/device-virtual/Random-Float-Device/Random-Float-Device";

    fn run(topic: &str, payload: &str) -> Result<Vec<Read>, Refusal> {
        let message =
            Message { topic, payload: payload.as_bytes(), device: None, now: UtcMillis(0) };
        let mut read = Vec::new();
        decode(&message, &mut |found| {
            let at = match found.at {
                Some(Stamp::Utc(at)) => Some(at.0),
                _ => None,
            };
            read.push((format!("{}/{}", found.device, found.field), at, found.value));
        })?;
        Ok(read)
    }

    fn event(readings: &str) -> String {
        format!(
            r#"{{"apiVersion":"v3","id":"e5e5","deviceName":"boiler","profileName":"p",
            "sourceName":"all","origin":1711321200000000000,"readings":[{readings}]}}"#
        )
    }

    const READING: &str = r#"{"id":"1","origin":1711321200123456789,"deviceName":"boiler",
        "resourceName":"Temperature","profileName":"p","valueType":"Float32","units":"°F",
        "value":"7.7e+01"}"#;

    #[test]
    fn values_in_text_are_read_with_unit_and_time() {
        let read = run(TOPIC, &event(READING)).unwrap();
        assert_eq!(read, [("boiler/Temperature".to_string(), Some(1_711_321_200_123), Ok(25.0))]);
        let whole = r#"{"resourceName":"n","valueType":"Int16","value":"-12"}"#;
        let read = run(TOPIC, &event(whole)).unwrap();
        assert_eq!(read, [("boiler/n".to_string(), Some(1_711_321_200_000), Ok(-12.0))]);
    }

    #[test]
    fn floats_in_base64_are_read_as_big_endian() {
        for (kind, value, expected) in [
            ("Float32", "QcgAAA==", Ok(25.0)),
            ("Float64", "QDkAAAAAAAA=", Ok(25.0)),
            ("FLOAT64", "QDkAAAAAAAA=", Ok(25.0)),
            ("Float64", "f/gAAAAAAAA=", Err(Refusal::NotFinite)),
            ("Float32", "QcgA", Err(Refusal::NotANumber)),
            ("Int8", "QcgAAA==", Err(Refusal::NotANumber)),
        ] {
            let reading =
                format!(r#"{{"resourceName":"t","valueType":"{kind}","value":"{value}"}}"#);
            let read = run(TOPIC, &event(&reading)).unwrap();
            assert_eq!(read[0].2, expected, "{kind} {value}");
        }
    }

    #[test]
    fn what_is_no_number_is_no_reading() {
        let others = r#"{"resourceName":"a","valueType":"Bool","value":"true"},
            {"resourceName":"b","valueType":"String","value":"12"},
            {"resourceName":"c","valueType":"Binary","binaryValue":"AAECAw==","mediaType":"image/png"},
            {"resourceName":"d","valueType":"Object","objectValue":{"x":1}},
            {"resourceName":"e","valueType":"Int32Array","value":"[1, 2]"}"#;
        assert_eq!(run(TOPIC, &event(others)), Err(Refusal::NoValue));
        assert_eq!(run(TOPIC, &event(&format!("{others},{READING}"))).unwrap().len(), 1);
    }

    #[test]
    fn events_are_found_in_requests_and_envelopes() {
        let bare = event(r#"{"resourceName":"n","valueType":"Uint8","value":"7"}"#);
        let request = format!(r#"{{"apiVersion":"v3","requestId":"r","event":{bare}}}"#);
        let envelope = format!(
            r#"{{"apiVersion":"v3","correlationID":"c","contentType":"application/json","payload":{request}}}"#
        );
        for payload in [&bare, &request, &envelope] {
            assert_eq!(run("exports/all", payload).unwrap()[0].2, Ok(7.0), "{payload}");
        }
        // {"readings":[{"deviceName":"d","resourceName":"n","valueType":"Int8","value":"3"}]}
        let in_base64 = r#"{"correlationID":"c","contentType":"application/json","payload":"eyJyZWFkaW5ncyI6W3siZGV2aWNlTmFtZSI6ImQiLCJyZXNvdXJjZU5hbWUiOiJuIiwidmFsdWVUeXBlIjoiSW50OCIsInZhbHVlIjoiMyJ9XX0="}"#;
        assert_eq!(run(TOPIC, in_base64).unwrap(), [("d/n".to_string(), None, Ok(3.0))]);
    }

    #[test]
    fn the_first_versions_names_are_read_too() {
        let first = r#"{"device":"pump","origin":1575359590000,"readings":[{"origin":1575359590000,
            "device":"pump","name":"Pressure","value":"1.01325e+03","valueType":"Float64"}]}"#;
        let read = run("events", first).unwrap();
        assert_eq!(read, [("pump/Pressure".to_string(), Some(1_575_359_590_000), Ok(1_013.25))]);
    }

    #[test]
    fn only_events_are_taken_for_such() {
        let found = |topic: &str, payload: &str| {
            detect(&Message { topic, payload: payload.as_bytes(), device: None, now: UtcMillis(0) })
        };
        let format = Some(Detected::Format(Format::EdgeX));
        assert_eq!(found(TOPIC, "{}"), format);
        assert_eq!(found("exports/all", &event(READING)), format);
        let not = Some(Detected::NotASensor);
        assert_eq!(found("edgex/system-events/core-metadata/device/add", "{}"), not);
        assert_eq!(found("a", r#"{"readings":[{"value":1}]}"#), None);
        assert_eq!(run(TOPIC, r#"{"apiVersion":"v3"}"#), Err(Refusal::WrongFormat));
        assert_eq!(run(TOPIC, r#"{"readings":[1"#), Err(Refusal::Malformed));
    }

    #[test]
    fn quantities_come_from_name_and_unit() {
        let message = event(READING);
        let message = Message {
            topic: TOPIC,
            payload: message.as_bytes(),
            device: Some("room"),
            now: UtcMillis(0),
        };
        let mut seen = None;
        decode(&message, &mut |found| seen = Some((String::from(found.device), found.quantity)))
            .unwrap();
        assert_eq!(seen, Some(("room".to_string(), Quantity::Temperature)));
    }
}
