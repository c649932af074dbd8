//! LoRaWAN sensors of known makers, where the network server has no codec for them: their payloads
//! are items of a channel, a type and what that has behind it, each without a length of its own.
//!
//! So only one who knows the model can read them. Where the server tells it, that model's table
//! counts. Else every table of the maker is tried, and a payload is read only if one fits to the
//! last byte with values that can be, and no other that fits says anything else. The maker is told
//! by the device's EUI or by the names that the server has for brand and profile; a port alone
//! tells it if nothing speaks against it. What is left is refused: no value is better than a wrong
//! one.

mod cayenne;
mod milesight;
mod models;
mod parse;
mod tektelic;

use alloc::{string::String, vec::Vec};

use models::{Family, Maker, What};
use parse::{Parsed, RECORD, Value};

use super::{Found, Role, Sink, Stamp, names, timestamp, uplink};
use crate::{
    reading::Refusal,
    time::{DAY_MS, UtcMillis},
};

const MAKERS: [&Maker; 2] = [&milesight::MILESIGHT, &tektelic::TEKTELIC];

/// What the network server says of an uplink's device.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origin<'a> {
    /// The device's EUI, in hexadecimal.
    pub(super) dev_eui: &'a str,
    /// The maker's name in the server's repository of devices; empty if it is not from there.
    pub(super) brand: &'a str,
    /// What the server has for the model: the name of a profile.
    pub(super) profile: &'a str,
    /// The port that the payload was sent to.
    pub(super) port: u64,
}

impl Origin<'_> {
    /// Whose device it is, and whether that is more than likely.
    fn maker(&self) -> Option<(&'static Maker, bool)> {
        let is_its_eui = |maker: &&&Maker| {
            let start = self.dev_eui.get(..maker.prefix.len()).unwrap_or_default();
            start.eq_ignore_ascii_case(maker.prefix)
        };
        let is_named = |maker: &&&Maker| {
            let names = [self.brand, self.profile];
            names.iter().any(|name| name.to_ascii_lowercase().contains(maker.name))
        };
        let told = MAKERS.iter().find(is_its_eui).or_else(|| MAKERS.iter().find(is_named));
        if let Some(maker) = told {
            return Some((maker, true));
        }
        let by_port = MAKERS.iter().find(|maker| maker.port == self.port);
        by_port.filter(|_| self.brand.is_empty()).map(|maker| (*maker, false))
    }

    /// Whether the profile is of one of the models, with or without signs between their letters.
    fn is_of(&self, family: &Family) -> bool {
        let letters = |c: &char| c.is_ascii_alphanumeric();
        let profile = self.profile.chars().filter(letters).map(|c| c.to_ascii_uppercase());
        let profile: String = profile.take(64).collect();
        family.models.iter().any(|model| profile.contains(model))
    }
}

/// The most that LoRaWAN carries in one uplink.
const MOST_BYTES: usize = 242;

/// Gives what is in a payload.
///
/// # Errors
/// `NoCodec` if it cannot be told, `NoValue` if it can and there is no number.
pub(super) fn decode(
    device: &str,
    at: Option<Stamp>,
    origin: Origin<'_>,
    payload: &[u8],
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    if payload.len() > MOST_BYTES {
        return Err(Refusal::NoCodec);
    }
    let values = read(origin, payload).ok_or(Refusal::NoCodec)?;
    if values.is_empty() {
        return Err(Refusal::NoValue);
    }
    for value in &values {
        let at = value.at.map(Stamp::Utc).or(at);
        sink(uplink::checked(found(device, value).at(at)));
    }
    Ok(())
}

/// Whether a payload holds earlier values with times of their own.
pub(super) fn has_history(origin: Origin<'_>, at: Option<Stamp>, payload: &[u8]) -> bool {
    /// Devices keep weeks of them.
    const LONGEST_MS: i64 = 366 * DAY_MS;
    let is_before = |time: UtcMillis| match at {
        Some(Stamp::Utc(at)) => (at.0 - LONGEST_MS..at.0 + DAY_MS).contains(&time.0),
        _ => true,
    };
    let has_records = |(maker, _): (&Maker, bool)| !maker.is_high_first;
    origin.maker().is_some_and(has_records)
        && payload.windows(6).any(|window| match window {
            [channel, kind, a, b, c, d] if [*channel, *kind] == RECORD => {
                let seconds = u32::from_le_bytes([*a, *b, *c, *d]);
                timestamp::from_integer(i64::from(seconds)).is_ok_and(is_before)
            }
            _ => false,
        })
}

/// The one thing that a payload says, if it says one.
fn read(origin: Origin<'_>, payload: &[u8]) -> Option<Vec<Value>> {
    let (maker, is_makers) = origin.maker()?;
    let is_told = maker.families.iter().any(|family| origin.is_of(family));
    let of_its_kind = |family: &&Family| match is_told {
        true => origin.is_of(family),
        false => !family.is_by_name_only,
    };
    let families = maker.families.iter().filter(of_its_kind);
    let mut readings = families.filter_map(|family| parse::parse(maker, family, is_told, payload));
    let Parsed { items, values } = readings.next()?;
    let is_sure = is_makers || items >= maker.least_items && !maker.may_be_cayenne(payload);
    (is_sure && readings.all(|other| other.values == values)).then_some(values)
}

fn found<'v>(device: &'v str, value: &'v Value) -> Found<'v> {
    let named = names::classify(&value.name);
    let (named, role) = match value.what {
        What::Named => (named, named.role),
        What::Is(quantity) => (names::Named { quantity, unit: None, ..named }, Role::Measurement),
        What::Setting => (named, Role::Other),
        What::Health => (named, Role::Health),
    };
    let found = Found::measured(named, None, value.value).role(role);
    Found { device, field: &value.name, ..found }
}

#[cfg(test)]
mod tests;
