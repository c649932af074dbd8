//! thin-edge.io: measurements on its own broker, before they go to a cloud.
//!
//! `te/<entity, four levels>/m/<type>`; the usual entity is `device/<name>//` or
//! `device/<name>/service/<name>`. Older releases have `tedge/measurements[/<child>]`. A
//! measurement is an object of numbers, or of objects of numbers, with perhaps a `time`.

use alloc::string::String;

use serde_json::Value;

use super::{Detected, Format, Found, Message, Sink, Stamp, timestamp, tree};
use crate::reading::Refusal;

/// The device that thin-edge itself runs on.
const MAIN: &str = "main";

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    let is_measured = Source::of(message.topic).is_some();
    let mut levels = message.levels();
    let is_theirs = match levels.next() {
        Some("te") => {
            matches!(levels.nth(4), Some("m" | "e" | "a" | "cmd" | "twin" | "status" | "signal"))
        }
        Some("tedge") => true,
        _ => false,
    };
    match (is_measured, is_theirs) {
        (true, _) => Some(Detected::Format(Format::ThinEdge)),
        (false, true) => Some(Detected::NotASensor),
        (false, false) => None,
    }
}

/// Whose measurements a topic carries.
struct Source<'t> {
    /// The topic's levels that name the entity.
    entity: [&'t str; 4],
    /// The type of the measurements, which may be empty.
    kind: &'t str,
}

impl<'t> Source<'t> {
    fn of(topic: &'t str) -> Option<Self> {
        let mut levels = topic.split('/');
        let mut next = || levels.next();
        match next()? {
            "te" => {
                let entity = [next()?, next()?, next()?, next()?];
                let kind = (next()? == "m").then(&mut next)??;
                // `/meta` says which units the type has.
                next().is_none().then_some(Self { entity, kind })
            }
            "tedge" => {
                let child = (next()? == "measurements").then(&mut next)?.unwrap_or(MAIN);
                next().is_none().then_some(Self { entity: ["device", child, "", ""], kind: "" })
            }
            _ => None,
        }
    }

    /// The entity's name: the device's, with what else the topic has of it.
    fn device(&self) -> String {
        let levels: &[&str] = match &self.entity {
            ["device", name, "service", service] => &[name, service],
            ["device", rest @ ..] => rest,
            all => all,
        };
        joined(levels)
    }
}

/// With `/` between them, without the empty ones.
fn joined(levels: &[&str]) -> String {
    let mut name = String::new();
    for level in levels.iter().filter(|level| !level.is_empty()) {
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(level);
    }
    name
}

/// Decodes a message.
///
/// # Errors
/// `NotASensor` if the topic is none of measurements, `WrongFormat` if they are no object,
/// `NoValue` if it has no number, `BadTimestamp`, `Malformed`.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let source = Source::of(message.topic).ok_or(Refusal::NotASensor)?;
    let document = message.json()?;
    let members = document.as_object().ok_or(Refusal::WrongFormat)?;
    let at = tree::at(&document, &["time"]).map(timestamp::from_json).transpose()?;
    let at = at.map(Stamp::Utc);
    let named = source.device();
    let device = message.device_or(&named);
    let mut count = 0_usize;
    for (key, member) in members {
        match member {
            Value::Number(_) if key != "time" => {}
            Value::Object(_) => {}
            // Texts are not allowed; `type` is one that is sent all the same.
            _ => continue,
        }
        tree::numbers(member, &joined(&[source.kind, key]), &mut |leaf| {
            count += 1;
            sink(Found::named(device, leaf.path, leaf.unit, leaf.value).at(at));
        });
    }
    if count == 0 { Err(Refusal::NoValue) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;
    use crate::time::UtcMillis;

    type Read = (String, String, Option<i64>, f64);

    fn run(topic: &str, payload: &str) -> Result<Vec<Read>, Refusal> {
        let message =
            Message { topic, payload: payload.as_bytes(), device: None, now: UtcMillis(0) };
        let mut read = Vec::new();
        decode(&message, &mut |found| {
            let at = match found.at {
                Some(Stamp::Utc(at)) => Some(at.0),
                _ => None,
            };
            read.push((
                found.device.to_string(),
                found.field.to_string(),
                at,
                found.value.unwrap(),
            ));
        })?;
        Ok(read)
    }

    fn names(topic: &str) -> (String, String) {
        let (device, field, ..) = run(topic, r#"{"temperature":23.4}"#).unwrap().remove(0);
        (device, field)
    }

    #[test]
    fn the_topic_tells_whose_measurements_they_are() {
        for (topic, device, field) in [
            ("te/device/main///m/", "main", "temperature"),
            ("te/device/main///m/environment", "main", "environment/temperature"),
            ("te/device/child01///m/environment", "child01", "environment/temperature"),
            ("te/device/main/service/nodered/m/", "main/nodered", "temperature"),
            ("te/factory/hall/machine/pump/m/", "factory/hall/machine/pump", "temperature"),
            ("tedge/measurements", "main", "temperature"),
            ("tedge/measurements/child01", "child01", "temperature"),
        ] {
            assert_eq!(names(topic), (device.to_string(), field.to_string()), "{topic}");
        }
    }

    #[test]
    fn single_and_grouped_values_are_read_with_their_time() {
        let payload = r#"{"time":"2020-10-15T05:30:47+00:00","type":"7","temperature":25,
            "location":{"latitude":32.54,"longitude":-117.67}}"#;
        let at = Some(1_602_739_847_000);
        let read = run("te/device/main///m/", payload).unwrap();
        let one = |field: &str, value| ("main".to_string(), field.to_string(), at, value);
        let expected = [
            one("location/latitude", 32.54),
            one("location/longitude", -117.67),
            one("temperature", 25.0),
        ];
        assert_eq!(read, expected);
        let in_seconds = run("te/device/main///m/", r#"{"time":1602739847.5,"t":1}"#).unwrap();
        assert_eq!(in_seconds[0].2, Some(1_602_739_847_500));
    }

    #[test]
    fn only_measurements_are_taken_for_such() {
        let found = |topic| {
            detect(&Message { topic, payload: b"{\"a\":1}", device: None, now: UtcMillis(0) })
        };
        let format = Some(Detected::Format(Format::ThinEdge));
        assert_eq!(found("te/device/main///m/"), format);
        assert_eq!(found("tedge/measurements"), format);
        for topic in [
            "te/device/main///m/environment/meta",
            "te/device/main///e/login",
            "te/device/main///a/high_temperature",
            "te/device/main///cmd/restart/1",
            "te/device/main/service/collectd/status/health",
            "tedge/health/tedge-agent",
            "tedge/alarms/critical/high",
        ] {
            assert_eq!(found(topic), Some(Detected::NotASensor), "{topic}");
            assert_eq!(run(topic, "{\"a\":1}"), Err(Refusal::NotASensor), "{topic}");
        }
        assert_eq!(found("te/lounge/temperature"), None);
        assert_eq!(found("home/te"), None);
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        for (payload, reason) in [
            ("", Refusal::NoValue),
            ("{}", Refusal::NoValue),
            (r#"{"time":1602739847}"#, Refusal::NoValue),
            (r#"{"temperature":"warm"}"#, Refusal::NoValue),
            ("[1]", Refusal::WrongFormat),
            (r#"{"temperature":25"#, Refusal::Malformed),
            (r#"{"temperature":25,"time":"noon"}"#, Refusal::BadTimestamp),
        ] {
            assert_eq!(run("te/device/main///m/", payload), Err(reason), "{payload}");
        }
    }
}
