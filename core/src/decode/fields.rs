//! A JSON payload that holds several readings: each in a field that the config names by its path.
//!
//! A path is keys with dots between them, `object.temperature`. A field that is absent or null is
//! no reading and no fault, because many devices send what has changed only.

use alloc::string::String;

use serde_json::Value;

use super::{json, number, text, timestamp};
use crate::{reading::Refusal, time::UtcMillis};

/// The most fields of one payload.
pub const MAX_FIELDS: usize = 16;

/// What a payload says.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// When it was measured; `None` if the payload does not say.
    pub ts: Option<UtcMillis>,
    /// Places in the list of fields, and what is there.
    pub values: heapless::Vec<(usize, Result<f64, Refusal>), MAX_FIELDS>,
}

/// Reads the fields at `paths`, of which the first [`MAX_FIELDS`] count, and the time at `time`;
/// without that, the time under one of the usual names.
///
/// # Errors
/// As [`super::decode`]: of the whole payload, or of its time; `NoValue` if none of the fields is
/// there.
pub fn decode(payload: &[u8], time: Option<&str>, paths: &[String]) -> Result<Fields, Refusal> {
    let document: Value = json::parse(text(payload)?)?;
    let found = match time {
        Some(path) => at(&document, path),
        None => json::TIME_NAMES.iter().find_map(|name| at(&document, name)),
    };
    let ts = found.map(timestamp::from_json).transpose()?;
    let present = paths.iter().enumerate().filter_map(|(place, path)| {
        let found = at(&document, path)?;
        Some((place, value(found)))
    });
    let values: heapless::Vec<_, MAX_FIELDS> = present.take(MAX_FIELDS).collect();
    if values.is_empty() { Err(Refusal::NoValue) } else { Ok(Fields { ts, values }) }
}

/// What is at `path`, unless that is null.
fn at<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    let found = path.split('.').try_fold(document, |value, key| value.get(key))?;
    (!found.is_null()).then_some(found)
}

fn value(found: &Value) -> Result<f64, Refusal> {
    match found {
        Value::Number(number) => {
            number.as_f64().filter(|value| value.is_finite()).ok_or(Refusal::NotFinite)
        }
        Value::String(text) => number::decode_field(text),
        _ => Err(Refusal::NotANumber),
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;

    fn read(payload: &str, time: Option<&str>, paths: &[&str]) -> Result<Fields, Refusal> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_string()).collect();
        decode(payload.as_bytes(), time, &paths)
    }

    #[test]
    fn each_named_field_is_a_reading_of_the_payloads_time() {
        let found = read(
            r#"{"ts":1711321200000,"co2":456.5,"lux":"12.0","rssi":-60}"#,
            None,
            &["co2", "lux", "absent"],
        );
        let found = found.unwrap();
        assert_eq!(found.ts, Some(UtcMillis(1_711_321_200_000)));
        assert_eq!(found.values[..], [(0, Ok(456.5)), (1, Ok(12.0))]);
    }

    #[test]
    fn paths_lead_into_objects() {
        let payload =
            r#"{"time":"2024-03-24T23:00:00Z","object":{"temperature":-2.8,"humidity":null}}"#;
        let found = read(payload, None, &["object.temperature", "object.humidity"]).unwrap();
        assert_eq!(found.values[..], [(0, Ok(-2.8))]);
        let params = r#"{"params":{"ts":1711321205.02,"switch:0":{"apower":360.0}}}"#;
        let found = read(params, Some("params.ts"), &["params.switch:0.apower"]).unwrap();
        assert_eq!((found.ts, found.values[0].1), (Some(UtcMillis(1_711_321_205_020)), Ok(360.0)));
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        let fields = &["a", "b"];
        assert_eq!(read(r#"{"c":1}"#, None, fields), Err(Refusal::NoValue));
        assert_eq!(read("21.5", None, fields), Err(Refusal::NoValue));
        assert_eq!(read("{", None, fields), Err(Refusal::Malformed));
        assert_eq!(read(r#"{"ts":12,"a":1}"#, None, fields), Err(Refusal::BadTimestamp));
        let values = read(r#"{"a":"warm","b":NaN}"#, None, fields).unwrap().values;
        assert_eq!(values[..], [(0, Err(Refusal::NotANumber)), (1, Err(Refusal::NotFinite))]);
        let deep = ["[".repeat(30_000), "]".repeat(30_000)].concat();
        assert_eq!(read(&deep, None, fields), Err(Refusal::Malformed));
    }
}
