//! What decoders give, as lines that tests can show side by side.

use alloc::{format, string::String, vec::Vec};

use super::{Detected, Devices, Format, Message, Role, Stamp, detect};
use crate::{reading::Refusal, time::UtcMillis};

/// When the messages of tests arrive, unless they say so: 2024-03-25T00:00:00Z.
pub(super) const NOW: UtcMillis = UtcMillis(1_711_324_800_000);

/// A message of a test.
pub(super) fn message<'a>(topic: &'a str, payload: &'a str) -> Message<'a> {
    Message { topic, payload: payload.as_bytes(), device: None, now: NOW }
}

/// What the format of a message is found to be.
pub(super) fn detected(topic: &str, payload: &str) -> Detected {
    detect(&message(topic, payload))
}

/// The values in a message: `device/field quantity value`, and the role unless it is a measurement.
pub(super) fn rows(format: Format, topic: &str, payload: &str) -> Result<Vec<String>, Refusal> {
    later(&mut Devices::default(), format, topic, payload, 0)
}

/// The same, of devices that are known and so many milliseconds after [`NOW`].
pub(super) fn later(
    devices: &mut Devices,
    format: Format,
    topic: &str,
    payload: &str,
    ms: i64,
) -> Result<Vec<String>, Refusal> {
    let mut rows = Vec::new();
    let message = Message { now: NOW + ms, ..message(topic, payload) };
    devices.decode(format, &message, &mut |found| {
        let slash = if found.field.is_empty() { "" } else { "/" };
        let value = match found.value {
            Ok(value) => format!("{value}"),
            Err(reason) => format!("{reason}"),
        };
        let role = match found.role {
            Role::Measurement => "",
            Role::Health => " health",
            Role::Other => " other",
        };
        let (device, field, quantity) = (found.device, found.field, found.quantity);
        rows.push(format!("{device}{slash}{field} {quantity} {value}{role}"));
    })?;
    Ok(rows)
}

/// When the first value of a message was measured.
pub(super) fn stamp(format: Format, topic: &str, payload: &str) -> Option<Stamp> {
    let mut at = None;
    let mut sink = |found: super::Found<'_>| at = at.or(found.at);
    let done = Devices::default().decode(format, &message(topic, payload), &mut sink);
    assert_eq!(done, Ok(()));
    at
}
