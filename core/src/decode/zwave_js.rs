//! Z-Wave JS UI: `zwave/<location>/<node>/<class>/endpoint_<n>/<property>`, or with numbers
//! `zwave/<node>/<class>/<endpoint>/<property>`. The payload is the value alone, the value with
//! its time, or all that is known of it, the unit too.

use serde_json::Value;

use super::{
    Detected, Format, Found, Message, Role, Sink, Stamp,
    names::{self, Named},
    timestamp, tree,
};
use crate::{
    quantity::Quantity,
    reading::Refusal,
    units::{self, Unit},
};

/// Command classes that carry readings, by name and by number.
const CLASSES: &[(&str, Class)] = &[
    ("sensor_multilevel", Class::Sensor),
    ("49", Class::Sensor),
    ("meter", Class::Meter),
    ("50", Class::Meter),
    ("battery", Class::Battery),
    ("128", Class::Battery),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Sensor,
    Meter,
    Battery,
    /// Switches, settings, alarms.
    Other,
}

/// A topic's parts.
struct Place<'a> {
    /// Location and name, or number, of the node.
    node: &'a str,
    class: Class,
    /// From the class on.
    field: &'a str,
    property: &'a str,
}

fn place(topic: &str) -> Option<Place<'_>> {
    let is_number = |level: &str| !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit());
    let node_start = topic.find('/')? + 1;
    // The node takes a level at least.
    let mut start = node_start + topic.get(node_start..)?.find('/')? + 1;
    loop {
        let field = topic.get(start..)?;
        let (class, rest) = field.split_once('/')?;
        let (endpoint, property) = rest.split_once('/')?;
        let known = CLASSES.iter().find(|(name, _)| *name == class).map(|(_, class)| *class);
        let is_named = endpoint.strip_prefix("endpoint_").is_some_and(is_number);
        let is_numbered = is_zwave(topic) && is_number(class) && is_number(endpoint);
        // A node may have a number as well: of two numbers the one that is known is the class.
        if is_named || (is_numbered && known.is_some()) {
            let node = topic.get(node_start..start - 1)?;
            let class = known.unwrap_or(Class::Other);
            return Some(Place { node, class, field, property });
        }
        start += class.len() + 1;
    }
}

fn is_zwave(topic: &str) -> bool {
    topic.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("zwave"))
}

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    if is_zwave(message.topic) {
        let mut levels = message.levels();
        let is_own = levels.clone().nth(1).is_some_and(|level| level.starts_with('_'));
        let last = levels.next_back();
        if is_own || matches!(last, Some("set" | "status" | "nodeinfo" | "lastActive")) {
            return Some(Detected::NotASensor);
        }
    }
    let place = place(message.topic)?;
    Some(match place.class == Class::Other || is_command(place.property) {
        true => Detected::NotASensor,
        false => Detected::Format(Format::ZwaveJs),
    })
}

fn is_command(property: &str) -> bool {
    property.ends_with("/set") || matches!(property, "set" | "reset")
}

/// Decodes a message.
///
/// # Errors
/// Why it holds no readings.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let place = place(message.topic).ok_or(Refusal::WrongFormat)?;
    if place.class == Class::Other || is_command(place.property) {
        return Err(Refusal::NotASensor);
    }
    if tree::is_gap(message.text()?) {
        return Err(Refusal::NoValue);
    }
    let document = message.json()?;
    let (value, at) = match document.as_object() {
        Some(object) => (object.get("value"), time(&document)?),
        None => (Some(&document), None),
    };
    let value = match value {
        None | Some(Value::Null) => return Err(Refusal::NoValue),
        Some(value) => tree::scalar(value).ok_or(Refusal::NotASensor)?.0,
    };
    let unit = document.get("unit").and_then(Value::as_str);
    let (named, unit) = match place.class {
        Class::Sensor => sensor(place.property, unit),
        Class::Meter => meter(place.property, unit),
        _ => (Named { role: Role::Health, ..Named::default() }, None),
    };
    let device = message.device_or(place.node);
    sink(Found { device, field: place.field, at, ..Found::measured(named, unit, value) });
    Ok(())
}

/// When the value came from the node, or was last changed.
fn time(document: &Value) -> Result<Option<Stamp>, Refusal> {
    let found = ["time", "lastUpdate"].iter().find_map(|key| tree::at(document, &[key]));
    found.map(|found| timestamp::from_json(found).map(Stamp::Utc)).transpose()
}

/// A sensor's property is named by what it measures.
fn sensor(property: &str, unit: Option<&str>) -> (Named, Option<Unit>) {
    let named = Named { role: Role::Measurement, ..names::classify(property) };
    let quantity = match (named.quantity, unit) {
        // In kilopascals or inches of mercury, litres an hour or cubic metres: who knows.
        (Quantity::Pressure | Quantity::Flow | Quantity::Volume, None) => Quantity::Generic,
        (Quantity::Humidity | Quantity::Moisture, _) => named.quantity,
        // Of what, the maker knows.
        (_, Some("%")) => Quantity::Generic,
        (quantity, _) => quantity,
    };
    (Named { quantity, ..named }, unit.and_then(units::find))
}

/// What a meter counts or measures is in its property's key: the kind of meter and the scale, in
/// the numbers of the Z-Wave specification.
fn meter(property: &str, unit: Option<&str>) -> (Named, Option<Unit>) {
    let key: u32 = property.rsplit('/').next().and_then(|key| key.parse().ok()).unwrap_or(0);
    let scale = match (key >> 16, (key >> 8) & 0xff) {
        (1, 0) => (Quantity::Energy, "kWh"),
        (1, 2) => (Quantity::Power, "W"),
        (1, 4) => (Quantity::Voltage, "V"),
        (1, 5) => (Quantity::Current, "A"),
        (2 | 3, 0) => (Quantity::Volume, "m3"),
        (2 | 3, 1) => (Quantity::Volume, "ft3"),
        (3, 2) => (Quantity::Volume, "gal"),
        (1..=3, 3) => (Quantity::Count, ""),
        _ => (Quantity::Generic, ""),
    };
    let told = unit.and_then(units::find);
    let quantity = told.and_then(|unit| unit.quantity).unwrap_or(scale.0);
    let quantity = quantity.total().unwrap_or(quantity);
    (Named { quantity, ..Named::default() }, told.or_else(|| units::find(scale.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode::rows::{detected, rows, stamp},
        time::UtcMillis,
    };

    const IT: Format = Format::ZwaveJs;
    const AIR: &str = "zwave/BackRoom/Multisensor/sensor_multilevel/endpoint_0/Air_temperature";

    fn one(topic: &str, payload: &str) -> alloc::string::String {
        assert_eq!(detected(topic, payload), Detected::Format(IT), "{topic}");
        rows(IT, topic, payload).unwrap().concat()
    }

    #[test]
    fn a_value_may_be_alone_or_with_its_time_or_its_unit() {
        // In Fahrenheit, but nothing says so: it is left as it was delivered.
        let expected =
            "BackRoom/Multisensor/sensor_multilevel/endpoint_0/Air_temperature temperature 83.2";
        assert_eq!(one(AIR, "83.2"), expected);
        assert_eq!(one(AIR, r#"{"time":1656470510619,"value":83.2}"#), expected);
        let at = stamp(IT, AIR, r#"{"time":1656470510619,"value":83.2}"#);
        assert_eq!(at, Some(Stamp::Utc(UtcMillis(1_656_470_510_619))));
        assert_eq!(stamp(IT, AIR, "83.2"), None);
        let whole = r#"{"id":"9-49-0-Air temperature","nodeId":9,"commandClass":49,"endpoint":0,"property":"Air temperature","type":"number","label":"Air temperature","unit":"°F","value":68.9,"lastUpdate":1656470510619}"#;
        assert!(one(AIR, whole).ends_with("Air_temperature temperature 20.5"));
        assert_eq!(stamp(IT, AIR, whole), at);
    }

    #[test]
    fn the_unit_is_needed_where_nodes_differ() {
        let topic = "zwave/Multisensor/sensor_multilevel/endpoint_0/Barometric_pressure";
        assert!(one(topic, "101.3").ends_with("generic 101.3"));
        assert!(one(topic, r#"{"value":101.3,"unit":"kPa"}"#).ends_with("pressure 1013"));
        let topic = "zwave/Multisensor/sensor_multilevel/endpoint_0/Illuminance";
        assert!(one(topic, r#"{"value":40,"unit":"%"}"#).ends_with("generic 40"));
        assert!(one(topic, r#"{"value":40,"unit":"Lux"}"#).ends_with("illuminance 40"));
        let topic = "zwave/Multisensor/sensor_multilevel/endpoint_0/Humidity";
        assert!(one(topic, r#"{"value":40,"unit":"%"}"#).ends_with("humidity 40"));
    }

    #[test]
    fn a_meters_key_says_what_it_counts() {
        for (key, value, expected) in [
            ("65537", "152.657", "energy_total 152657"),
            ("65538", "1", "energy_total 1000"),
            ("66049", "3.395", "power 3.395"),
            ("66561", "231", "voltage 231"),
            ("66817", "0.5", "current 0.5"),
            ("67073", "0.9", "generic 0.9"),
            ("196609", "1.5", "volume_total 1500"),
            ("197377", "7", "count_total 7"),
        ] {
            let topic = ["zwave/outlet/meter/endpoint_0/value/", key].concat();
            let expected = ["outlet/meter/endpoint_0/value/", key, " ", expected].concat();
            assert_eq!(one(&topic, value), expected);
        }
        let topic = "zwave/outlet/meter/endpoint_0/value/65537";
        let whole = r#"{"value":152.657,"unit":"kWh","propertyKey":65537}"#;
        assert!(one(topic, whole).ends_with("energy_total 152657"));
    }

    #[test]
    fn topics_of_numbers_are_read_as_well() {
        for topic in ["zwave/9/49/0/Air_temperature", "zwave/Cellar/9/49/0/Air_temperature"] {
            assert!(one(topic, "20.5").ends_with("9/49/0/Air_temperature temperature 20.5"));
        }
        let battery = one("zwave/Cellar/Door/battery/endpoint_0/level", "91");
        assert_eq!(battery, "Cellar/Door/battery/endpoint_0/level generic 91 health");
    }

    #[test]
    fn switches_settings_and_commands_are_no_sensors() {
        for topic in [
            "zwave/Plug/switch_binary/endpoint_0/currentValue",
            "zwave/Plug/configuration/endpoint_0/Led_mode",
            "zwave/Plug/meter/endpoint_0/reset",
            "zwave/Plug/switch_multilevel/endpoint_0/targetValue/set",
            "zwave/Plug/status",
            "zwave/_EVENTS/ZWAVE_GATEWAY-pi/node/node_value_updated",
            "zwave/_CLIENTS/ZWAVE_GATEWAY-pi/status",
        ] {
            assert_eq!(detected(topic, "1"), Detected::NotASensor, "{topic}");
        }
        let switch = rows(IT, "zwave/Plug/switch_binary/endpoint_0/currentValue", "1");
        assert_eq!(switch, Err(Refusal::NotASensor));
        assert_eq!(rows(IT, AIR, "true"), Err(Refusal::NotASensor));
        assert_eq!(rows(IT, AIR, r#"{"time":1656470510619,"value":null}"#), Err(Refusal::NoValue));
        assert_eq!(rows(IT, AIR, ""), Err(Refusal::NoValue));
        assert_eq!(rows(IT, AIR, r#"{"time":1656"#), Err(Refusal::Malformed));
        assert_eq!(rows(IT, AIR, r#"{"time":"x","value":1}"#), Err(Refusal::BadTimestamp));
        assert_eq!(rows(IT, "kitchen/temperature", "20"), Err(Refusal::WrongFormat));
    }
}
