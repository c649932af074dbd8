//! Payloads of no format in particular: a number, or JSON whose numbers are each a sensor.

use super::{Found, Message, Role, Sink, Stamp, json, number, timestamp, tree};
use crate::{reading::Refusal, time::UtcMillis};

/// A plain number; the topic is the sensor.
///
/// # Errors
/// As [`super::decode`].
pub(super) fn number(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let text = message.text()?;
    let device = message.device_or(message.topic);
    let (value, unit) = match number::decode(text) {
        Ok(value) => (value, ""),
        Err(reason) => {
            number::with_unit(text).filter(|(value, _)| value.is_finite()).ok_or(reason)?
        }
    };
    sink(Found::named(device, "", Some(unit).filter(|unit| !unit.is_empty()), Ok(value)));
    Ok(())
}

/// A value with a time, the topic being the sensor; else an object whose numbers are each a sensor.
///
/// # Errors
/// As [`super::decode`].
pub(super) fn json(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let text = message.text()?;
    let device = message.device_or(message.topic);
    match json::decode(text) {
        Ok(decoded) => {
            let at = decoded.ts.map(Stamp::Utc);
            sink(Found::named(device, "", None, Ok(decoded.value)).at(at));
            Ok(())
        }
        Err(Refusal::NoValue) => members(message, device, sink),
        Err(reason) => Err(reason),
    }
}

fn members(message: &Message<'_>, device: &str, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let document = message.json()?;
    let at = time(&document)?.map(Stamp::Utc);
    let mut count = 0_usize;
    tree::numbers(&document, "", &mut |leaf| {
        if json::TIME_NAMES.contains(&leaf.path) {
            return;
        }
        let found = Found::named(device, leaf.path, leaf.unit, leaf.value).at(at);
        count += usize::from(found.role != Role::Other);
        sink(found);
    });
    if count == 0 { Err(Refusal::NoValue) } else { Ok(()) }
}

/// The document's time, under one of the usual names.
fn time(document: &serde_json::Value) -> Result<Option<UtcMillis>, Refusal> {
    let found = json::TIME_NAMES.iter().find_map(|name| tree::at(document, &[name]));
    found.map(timestamp::from_json).transpose()
}
