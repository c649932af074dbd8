//! The first generation: `shellies/<id>/relay/0/power` and the like, each a plain number.

use super::{
    Detected, Format, Found, Kind, Message, Quantity, Refusal, Role, Sink, found, spelling, tree,
};
use crate::decode::{names, number};

use Quantity::{Current, EnergyTotal, Generic, Humidity, Illuminance, Power, Temperature, Voltage};
use Role::{Health, Measurement, Other};

/// Levels behind the device's id; the id may have levels of its own before them.
const PARTS: &[&str] = &[
    "sensor",
    "relay",
    "emeter",
    "meter",
    "roller",
    "light",
    "white",
    "color",
    "adc",
    "voltage",
    "power",
    "energy",
    "temperature",
    "temperature_f",
    "temperature_status",
    "overtemperature",
    "overpower",
    "ext_temperature",
    "ext_temperature_f",
    "ext_temperatures",
    "ext_humidity",
    "ext_humidities",
    "ext_switch",
    "online",
    "announce",
    "command",
    "info",
    "status",
    "settings",
    "input",
    "input_event",
    "longpush",
];

/// Parts that never carry readings, or only what others carry as well.
const SILENT: &[&str] = &[
    "online",
    "announce",
    "command",
    "info",
    "status",
    "settings",
    "input",
    "input_event",
    "longpush",
    "ext_switch",
    "overtemperature",
    "overpower",
    "temperature_f",
    "temperature_status",
    "ext_temperature_f",
    "ext_temperatures",
    "ext_humidities",
];

/// A value by its part and its last level.
const KINDS: &[(&str, &str, Kind)] = &[
    ("sensor", "temperature", (Temperature, "C", Measurement)),
    ("sensor", "humidity", (Humidity, "%", Measurement)),
    ("sensor", "lux", (Illuminance, "lx", Measurement)),
    ("sensor", "battery", (Generic, "", Health)),
    ("sensor", "concentration", (Generic, "", Measurement)),
    ("emeter", "power", (Power, "W", Measurement)),
    ("emeter", "voltage", (Voltage, "V", Measurement)),
    ("emeter", "current", (Current, "A", Measurement)),
    ("emeter", "pf", (Generic, "", Measurement)),
    ("emeter", "reactive_power", (Generic, "", Measurement)),
    ("emeter", "total", (EnergyTotal, "Wh", Measurement)),
    ("emeter", "total_returned", (EnergyTotal, "Wh", Measurement)),
    // The total again, from the last start on.
    ("emeter", "energy", (EnergyTotal, "Wmin", Other)),
    ("emeter", "returned_energy", (EnergyTotal, "Wmin", Other)),
    ("ext_temperature", "", (Temperature, "C", Measurement)),
    ("ext_humidity", "", (Humidity, "%", Measurement)),
    ("adc", "", (Voltage, "V", Measurement)),
    ("voltage", "", (Voltage, "V", Measurement)),
    // How hot the device is inside.
    ("temperature", "", (Temperature, "C", Health)),
    // Whatever it drives, and however it names that.
    ("", "power", (Power, "W", Measurement)),
    ("", "energy", (EnergyTotal, "Wmin", Measurement)),
    ("roller", "pos", (Generic, "", Measurement)),
];

/// A topic's parts: the device, the part, and the field from the part on.
struct Place<'a> {
    device: &'a str,
    part: &'a str,
    field: &'a str,
}

impl Place<'_> {
    /// Whether it is of something that the device switches or moves.
    fn drives(&self) -> bool {
        matches!(self.part, "relay" | "roller" | "light" | "white" | "color")
    }
}

/// What the value is, if a firmware that we know of sends it.
fn kind(place: &Place<'_>) -> Option<Kind> {
    let last = place.field.rsplit('/').next().unwrap_or(place.field);
    let fits = |expected: &str, found: &str| expected.is_empty() || expected == found;
    let mut kinds = KINDS.iter();
    kinds.find(|(of, name, _)| fits(of, place.part) && fits(name, last)).map(|(.., kind)| *kind)
}

fn place(topic: &str) -> Option<Place<'_>> {
    let rest = topic.strip_prefix("shellies/")?;
    let (first, behind) = rest.split_once('/')?;
    let mut start = first.len() + 1;
    for level in behind.split('/') {
        if PARTS.contains(&level) {
            let device = rest.get(..start - 1)?;
            let field = rest.get(start..)?;
            // `roller/0/command/pos`
            let is_command = field.split('/').any(|level| matches!(level, "command" | "set"));
            return Some(Place { device, part: if is_command { "command" } else { level }, field });
        }
        start += level.len() + 1;
    }
    Some(Place { device: first, part: behind.split('/').next()?, field: behind })
}

/// Whether it is this generation's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    if !message.topic.starts_with("shellies/") {
        return None;
    }
    Some(match place(message.topic) {
        None => Detected::NotASensor,
        Some(place) if SILENT.contains(&place.part) => Detected::NotASensor,
        // What a switch or a shutter says of itself, on the topic of its number or in JSON.
        Some(place) if is_state(message) && kind(&place).is_none() && place.drives() => {
            Detected::NotASensor
        }
        Some(_) => Detected::Format(Format::ShellyGen1),
    })
}

/// Whether it says how something stands: on, open, or in JSON all that has topics of its own.
fn is_state(message: &Message<'_>) -> bool {
    let text = message.text().unwrap_or_default();
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && !tree::is_gap(text);
    let is_word = is_word && number::decode(text) != Err(Refusal::NotFinite);
    is_word || text.starts_with(['{', '['])
}

/// Decodes a message.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let Some(place) = place(message.topic) else {
        return Err(if message.topic.starts_with("shellies/") {
            Refusal::NotASensor
        } else {
            Refusal::WrongFormat
        });
    };
    if SILENT.contains(&place.part) {
        return Err(Refusal::NotASensor);
    }
    let text = message.text()?;
    if tree::is_gap(text) {
        return Err(Refusal::NoValue);
    }
    if is_state(message) {
        return Err(Refusal::NotASensor);
    }
    let value = number::decode(text)?;
    let id = message.device.map_or_else(|| spelling(place.device), Into::into);
    let given = match kind(&place) {
        Some(kind) => found(&id, place.field, kind, Ok(value)),
        None => unknown(&id, place.field, value),
    };
    if given.role == Role::Other {
        return Err(Refusal::NotASensor);
    }
    sink(given);
    Ok(())
}

/// A number that no firmware we know of sends.
fn unknown<'a>(device: &'a str, field: &'a str, value: f64) -> Found<'a> {
    Found { device, field, ..Found::measured(names::classify(field), None, Ok(value)) }
}
