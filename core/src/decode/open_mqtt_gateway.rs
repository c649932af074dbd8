//! `OpenMQTTGateway` and Theengs: `<base>/<gateway>/BTtoMQTT/<address>` and the like, JSON each.

use alloc::string::String;

use serde_json::{Map, Value};

use super::{Detected, Format, Found, Message, Role, Sink, names, rtl_433, tree};
use crate::{quantity::Quantity, reading::Refusal};

/// Modules that pass on the codes of remote controls, or talk of themselves.
const SILENT: &[&str] = &["433", "IR", "SRFB", "LOG", "WebUI", "Touch"];

/// What the gateway says of its own health.
const SYSTEM_HEALTH: &[&str] =
    &["uptime", "freemem", "freestack", "mqttuptime", "rssi", "tempc", "tempf", "cpuload"];

/// Where a message comes from.
struct Place<'a> {
    gateway: &'a str,
    /// `BT` of `BTtoMQTT`.
    module: &'a str,
    /// What follows in the topic; may be empty.
    rest: &'a str,
    /// From the gateway's name on.
    whole: &'a str,
}

fn place(topic: &str) -> Option<Place<'_>> {
    let mut start = 0;
    let (mut gateway, mut gateway_start) = ("", 0);
    for level in topic.split('/') {
        let end = start + level.len();
        if let Some(module) = level.strip_suffix("toMQTT").filter(|module| !module.is_empty()) {
            let rest = topic.get(end..)?.trim_start_matches('/');
            return Some(Place { gateway, module, rest, whole: topic.get(gateway_start..)? });
        }
        (gateway, gateway_start) = (level, start);
        start = end + 1;
    }
    None
}

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    if let Some(place) = place(message.topic) {
        return Some(match SILENT.contains(&place.module) {
            true => Detected::NotASensor,
            false => Detected::Format(Format::OpenMqttGateway),
        });
    }
    let has = |test: fn(&str) -> bool| message.levels().any(test);
    let is_command = has(|level| level.starts_with("MQTTto"));
    let is_gateway =
        has(|level| level.starts_with("OpenMQTTGateway") || level.starts_with("TheengsGateway"));
    let is_state = matches!(message.levels().next_back(), Some("LWT" | "version"));
    (is_command || (is_gateway && is_state)).then_some(Detected::NotASensor)
}

/// Decodes a message.
///
/// # Errors
/// Why it holds no readings.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let place = place(message.topic).ok_or(Refusal::WrongFormat)?;
    if SILENT.contains(&place.module) {
        return Err(Refusal::NotASensor);
    }
    let document = message.json()?;
    let object = document.as_object().ok_or(Refusal::WrongFormat)?;
    if tree::text(object, "model").is_some() && place.module.starts_with("RTL_433") {
        return rtl_433::event(message.device, &document, object, sink);
    }
    let device = message.device.map_or_else(|| device(&place, object), String::from);
    let mut count = 0_usize;
    tree::numbers_and_gaps(&document, "", &mut |leaf| {
        // Addresses and raw data may be all digits.
        if leaf.is_text && leaf.value.is_ok() {
            return;
        }
        let found = read(&device, &place, leaf, object);
        let is_known = found.quantity != Quantity::Generic && found.role == Role::Measurement;
        if found.value == Err(Refusal::NoValue) && !is_known {
            return;
        }
        count += usize::from(found.role != Role::Other);
        sink(found);
    });
    if count == 0 { Err(Refusal::NotASensor) } else { Ok(()) }
}

/// The device's address in one spelling, with colons and in upper case; the gateway itself for
/// the sensors that are wired to it.
fn device(place: &Place<'_>, object: &Map<String, Value>) -> String {
    if let Some(id) = tree::text(object, "id").filter(|id| !id.is_empty()) {
        return id.to_ascii_uppercase();
    }
    let last = place.rest.rsplit('/').next().unwrap_or_default();
    match place.module {
        "SYS" => place.gateway.into(),
        "BT" if last.len() == 12 && last.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            let mut address = String::new();
            for (at, digit) in last.chars().enumerate() {
                if at > 0 && at % 2 == 0 {
                    address.push(':');
                }
                address.push(digit.to_ascii_uppercase());
            }
            address
        }
        "BT" if !last.is_empty() => last.to_ascii_uppercase(),
        _ => place.whole.into(),
    }
}

/// One value.
fn read<'a>(
    device: &'a str,
    place: &Place<'_>,
    leaf: tree::Leaf<'a>,
    object: &Map<String, Value>,
) -> Found<'a> {
    let field = leaf.path;
    let is_bluetooth = place.module == "BT";
    let has = |key: &str| object.contains_key(key);
    let unit = match field {
        "energy" => Some("kWh"),
        _ if field.starts_with("tempf") => Some("F"),
        _ => leaf.unit,
    };
    let named = names::Named { quantity: quantity(field), ..names::classify(field) };
    let found = Found::measured(named, unit.and_then(crate::units::find), leaf.value);
    let found = match found.quantity {
        Quantity::Energy => found.total(),
        _ => found,
    };
    let role = match field {
        _ if place.module == "SYS" => match SYSTEM_HEALTH.contains(&field) {
            true => Role::Health,
            false => Role::Other,
        },
        // A guess from the signal's strength.
        "distance" if is_bluetooth => Role::Health,
        // That of the battery, unless it is a meter.
        "volt" if has("batt") || (is_bluetooth && !has("current") && !has("power")) => Role::Health,
        "mac_type" | "type" | "track" | "cidc" | "acts" | "cont" | "packet" | "tx" => Role::Other,
        // The same in other degrees.
        _ if field.starts_with("tempf") && has(&field.replacen("tempf", "tempc", 1)) => Role::Other,
        _ => found.role,
    };
    Found { device, field, role, ..found }
}

/// What the gateway's short names stand for.
fn quantity(field: &str) -> Quantity {
    match field {
        "moi" => Quantity::Moisture,
        "steps" => Quantity::CountTotal,
        _ => names::classify(field).quantity,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::decode::rows::{detected, rows};

    const IT: Format = Format::OpenMqttGateway;
    const TOPIC: &str = "home/OpenMQTTGateway/BTtoMQTT/A4C1386E4AE8";
    const XIAOMI: &str = r#"{"id":"A4:C1:38:6E:4A:E8","mac_type":0,"name":"ATC_6E4AE8","rssi":-91,"brand":"Xiaomi","model":"LYWSD03MMC","model_id":"LYWSD03MMC_ATC","tempc":14.2,"tempf":57.56,"hum":56,"batt":75,"volt":2.887}"#;

    #[test]
    fn a_bluetooth_sensor_is_measured_once_in_degrees_celsius() {
        assert_eq!(detected(TOPIC, XIAOMI), Detected::Format(IT));
        let expected = [
            "A4:C1:38:6E:4A:E8/batt generic 75 health",
            "A4:C1:38:6E:4A:E8/hum humidity 56",
            "A4:C1:38:6E:4A:E8/mac_type generic 0 other",
            "A4:C1:38:6E:4A:E8/rssi generic -91 health",
            "A4:C1:38:6E:4A:E8/tempc temperature 14.2",
            "A4:C1:38:6E:4A:E8/tempf temperature 14.2 other",
            "A4:C1:38:6E:4A:E8/volt voltage 2.887 health",
        ];
        let mut found = rows(IT, TOPIC, XIAOMI).unwrap();
        found.sort();
        assert_eq!(found, expected);
        let only = rows(IT, TOPIC, r#"{"id":"a4:c1:38:6e:4a:e8","tempf":57.56,"moi":12}"#).unwrap();
        assert!(only.contains(&"A4:C1:38:6E:4A:E8/tempf temperature 14.2".into()), "{only:?}");
        assert!(only.contains(&"A4:C1:38:6E:4A:E8/moi moisture 12".into()), "{only:?}");
    }

    #[test]
    fn an_address_has_one_spelling() {
        let nameless = rows(IT, "home/OMG/BTtoMQTT/a4c1386e4ae8", r#"{"hum":56}"#).unwrap();
        assert_eq!(nameless, ["A4:C1:38:6E:4A:E8/hum humidity 56"]);
        let lower = r#"{"id":"45:e1:74:12:6e:00","rssi":-89,"distance":21.51847,"servicedata":"0000000000000000000000000000000000000000"}"#;
        let found = rows(IT, "home/OpenMQTTGateway/BTtoMQTT/45E174126E00", lower).unwrap();
        let expected = [
            "45:E1:74:12:6E:00/distance generic 21.51847 health",
            "45:E1:74:12:6E:00/rssi generic -89 health",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn sensors_of_the_gateway_and_meters_are_measured() {
        let climate = rows(IT, "home/OMG/CLIMAtoMQTT/DHT", r#"{"hum":56,"tempc":14.2}"#).unwrap();
        let expected =
            ["OMG/CLIMAtoMQTT/DHT/hum humidity 56", "OMG/CLIMAtoMQTT/DHT/tempc temperature 14.2"];
        assert_eq!(climate, expected);
        let meter =
            r#"{"id":"A4:C1:38:6E:4A:E8","volt":230.1,"current":0.5,"power":115,"energy":1.5}"#;
        let mut found = rows(IT, TOPIC, meter).unwrap();
        found.sort();
        let found: Vec<_> =
            found.iter().map(|row| row.trim_start_matches("A4:C1:38:6E:4A:E8/")).collect();
        let expected = [
            "current current 0.5",
            "energy energy_total 1500",
            "power power 115",
            "volt voltage 230.1",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn radio_events_are_named_as_their_receiver_does() {
        let event = r#"{"model":"Oregon-THN132N","id":18,"channel":2,"battery_ok":1,"temperature_C":-0.4,"protocol":"Oregon Scientific","rssi":-81,"duration":140000}"#;
        let topic = "home/OpenMQTTGateway/RTL_433toMQTT/Oregon-THN132N/2/18";
        assert_eq!(detected(topic, event), Detected::Format(IT));
        let mut found = rows(IT, topic, event).unwrap();
        found.retain(|row| !row.ends_with("other"));
        let expected = [
            "Oregon-THN132N/2/18/battery_ok generic 1 health",
            "Oregon-THN132N/2/18/rssi generic -81 health",
            "Oregon-THN132N/2/18/temperature_C temperature -0.4",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn codes_commands_and_the_gateways_own_state_are_no_sensors() {
        for (topic, payload) in [
            ("home/OMG/433toMQTT", r#"{"value":1315156,"protocol":1,"length":24,"delay":317}"#),
            ("home/OMG/IRtoMQTT", r#"{"value":1315156}"#),
            ("home/OMG/commands/MQTTto433", r#"{"value":1315156}"#),
            ("home/OpenMQTTGateway/LWT", "online"),
            ("home/OpenMQTTGateway_lilygo/version", "1.7.0"),
        ] {
            assert_eq!(detected(topic, payload), Detected::NotASensor, "{topic}");
        }
        assert_eq!(rows(IT, "home/OMG/433toMQTT", "{}"), Err(Refusal::NotASensor));
        let system = r#"{"uptime":1200,"version":"1.7.0","freemem":93556,"rssi":-60,"modules":["BT"],"btqblck":0}"#;
        let found = rows(IT, "home/OMG/SYStoMQTT", system).unwrap();
        assert_eq!(found.iter().filter(|row| row.ends_with("health")).count(), 3, "{found:?}");
        assert!(found.iter().all(|row| row.ends_with("health") || row.ends_with("other")));
        let mute = r#"{"id":"45:e1:74:12:6e:00","name":"tag"}"#;
        assert_eq!(rows(IT, TOPIC, mute), Err(Refusal::NotASensor));
        assert_eq!(rows(IT, TOPIC, r#"{"id":"45:e1"#), Err(Refusal::Malformed));
    }
}
