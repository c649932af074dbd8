//! Shelly: a plain number per topic in the first generation, JSON since the second.

mod gen1;
mod gen2;

use alloc::borrow::Cow;

use super::{Detected, Format, Found, Message, Role, Sink, Stamp, names::Named, tree};
use crate::{quantity::Quantity, reading::Refusal, units};

/// What a value is: the quantity, the unit it comes in, and what for.
type Kind = (Quantity, &'static str, Role);

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    gen2::detect(message).or_else(|| gen1::detect(message))
}

/// Decodes a message.
///
/// # Errors
/// Why it holds no readings.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    if gen2::place(message).is_some() {
        gen2::decode(message, sink)
    } else {
        gen1::decode(message, sink)
    }
}

/// A device's id in one spelling: firmwares have written the address behind the model in both
/// cases. Names that people gave stay as they are.
fn spelling(id: &str) -> Cow<'_, str> {
    let is_given = id.rsplit_once('-').is_none_or(|(model, address)| {
        let is_address =
            matches!(address.len(), 6 | 12) && address.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_shelly = model.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("shelly"));
        !is_address || !is_shelly
    });
    if is_given || !id.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(id.to_ascii_lowercase())
    }
}

/// A value of that kind.
fn found<'a>(
    device: &'a str,
    field: &'a str,
    (quantity, unit, role): Kind,
    value: Result<f64, Refusal>,
) -> Found<'a> {
    let named = Named { quantity, unit: units::find(unit), role };
    let value = value.and_then(|value| match quantity {
        // A probe that is not connected.
        Quantity::Temperature if value == 999.0 => Err(Refusal::Sentinel),
        _ => Ok(value),
    });
    Found { device, field, ..Found::measured(named, None, value) }
}

#[cfg(test)]
mod tests;
