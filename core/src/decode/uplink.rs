//! What LoRaWAN network servers have in common: the object that a codec made of a payload, and
//! what a gateway says of the radio.
//!
//! Codecs name their values as they like, so each number counts under its own keys. A list under
//! `history` or the like holds earlier values, each with its own time: those are readings of the
//! same sensors.

use alloc::{string::String, vec::Vec};

use serde_json::{Map, Value};

use super::{
    Found, Role, Sink, Stamp, base64,
    codecs::{self, Origin},
    names::Named,
    timestamp, tree,
};
use crate::{quantity::Quantity, reading::Refusal};

/// Lists of earlier values.
const HISTORIES: [&str; 5] = ["history", "histories", "records", "datalog", "datalogs"];
/// What the time of an earlier value is named.
const TIMES: [&str; 5] = ["timestamp", "ts", "time", "date", "datetime"];
/// An open input reads as all ones in the two bytes that devices have for a temperature, in
/// tenths or hundredths of a degree: 327.67 °C is a probe that is not connected.
const OPEN_PROBE: [f64; 8] = [327.67, 327.68, -327.68, 3_276.7, 3_276.8, -3_276.8, 6_553.5, 655.35];

/// An uplink's payload, as the network server gives it.
pub(super) struct Payload<'a> {
    /// What the device's codec made of it there.
    pub(super) object: Option<&'a Value>,
    /// The bytes, in base64.
    pub(super) data: Option<&'a str>,
    /// Where it is from.
    pub(super) origin: Origin<'a>,
}

impl Payload<'_> {
    /// Gives what it holds. What the server's codec says goes before what the bytes do, unless the
    /// bytes have earlier values among them that the codec did not keep apart: those would be
    /// given the uplink's time.
    ///
    /// # Errors
    /// `NoValue` if there is no number, `NoCodec` if neither server nor agent can read the bytes.
    pub(super) fn give(
        &self,
        device: &str,
        at: Option<Stamp>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Refusal> {
        let bytes = self.data.and_then(base64::decode).unwrap_or_default();
        let members = self.object.and_then(Value::as_object).filter(|told| !told.is_empty());
        if let Some(members) = members {
            let keeps_apart = members.keys().any(|key| is_history(key));
            if keeps_apart || !codecs::has_history(self.origin, at, &bytes) {
                let count = decoded(device, at, members, sink);
                return if count == 0 { Err(Refusal::NoValue) } else { Ok(()) };
            }
            self.must_name_the_same(members, &bytes)?;
        }
        if bytes.is_empty() {
            // It only keeps the link up.
            return Err(Refusal::NoValue);
        }
        codecs::decode(device, at, self.origin, &bytes, sink)
    }

    /// The bytes may stand in for a codec only if they give all its numbers, named as it does:
    /// else the device's sensors would have two names.
    fn must_name_the_same(
        &self,
        members: &Map<String, Value>,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let mut names: Vec<String> = Vec::new();
        codecs::decode("", None, self.origin, bytes, &mut |found| names.push(found.field.into()))?;
        let mut are_same = true;
        for (key, member) in members {
            tree::numbers(member, key, &mut |leaf| {
                are_same &= names.iter().any(|name| name == leaf.path);
            });
        }
        if are_same { Ok(()) } else { Err(Refusal::NoCodec) }
    }
}

fn is_history(key: &str) -> bool {
    HISTORIES.iter().any(|name| name.eq_ignore_ascii_case(key))
}

/// Gives what is in the object of a codec; says how many values that were.
fn decoded(
    device: &str,
    at: Option<Stamp>,
    members: &Map<String, Value>,
    sink: &mut Sink<'_>,
) -> usize {
    let mut count = 0;
    for (key, member) in members {
        match member {
            Value::Array(records) if is_history(key) => {
                count += history(device, records, sink);
            }
            _ => count += numbers(device, at, member, key, sink),
        }
    }
    count
}

fn history(device: &str, records: &[Value], sink: &mut Sink<'_>) -> usize {
    let mut count = 0;
    for record in records.iter().take(tree::MAX_VALUES) {
        let Value::Object(members) = record else { continue };
        let time = TIMES.iter().find_map(|name| members.get(*name));
        let time = time.map_or(Err(Refusal::BadTimestamp), timestamp::from_json);
        for (key, member) in members {
            if !TIMES.contains(&key.as_str()) {
                match time {
                    Ok(at) => count += numbers(device, Some(Stamp::Utc(at)), member, key, sink),
                    Err(reason) => refused(device, member, key, reason, sink),
                }
            }
        }
    }
    count
}

fn numbers(
    device: &str,
    at: Option<Stamp>,
    value: &Value,
    key: &str,
    sink: &mut Sink<'_>,
) -> usize {
    let mut count = 0;
    tree::numbers(value, key, &mut |leaf| {
        count += 1;
        sink(checked(Found::named(device, leaf.path, leaf.unit, leaf.value).at(at)));
    });
    count
}

fn refused(device: &str, value: &Value, key: &str, reason: Refusal, sink: &mut Sink<'_>) {
    tree::numbers(value, key, &mut |leaf| {
        sink(Found::named(device, leaf.path, None, Err(reason)));
    });
}

/// The same, unless it is what a probe reads that is not there.
pub(super) fn checked(found: Found<'_>) -> Found<'_> {
    let is_open = found.quantity == Quantity::Temperature
        && found.value.is_ok_and(|value| OPEN_PROBE.contains(&value));
    if is_open { Found { value: Err(Refusal::Sentinel), ..found } } else { found }
}

/// What a message says of its way here.
pub(super) struct Link<'a> {
    /// The gateways' part of it, and its name there.
    pub(super) gateways: (&'a str, Option<&'a Value>),
    /// What has the `numbers`.
    pub(super) of: &'a Value,
    /// What the server calls the data rate and the count of messages.
    pub(super) numbers: &'a [&'a str],
}

/// What a gateway says beside how well it heard: numbers of its own.
const GATEWAYS_OWN: [&str; 4] = ["uplinkId", "channel", "rfChain", "channel_index"];

impl Link<'_> {
    /// Gives how well the gateway that heard best has heard the device; that is something even
    /// where the payload, of which `given` became, holds no number.
    ///
    /// # Errors
    /// As the payload's.
    pub(super) fn give(
        &self,
        device: &str,
        at: Option<Stamp>,
        given: Result<(), Refusal>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Refusal> {
        if !matches!(given, Ok(()) | Err(Refusal::NoValue)) {
            return given;
        }
        let was_heard = self.radio(device, at, sink);
        for key in self.numbers {
            if let Some(value) = self.of.get(key).and_then(Value::as_f64) {
                sink(Found { device, field: key, value: Ok(value), ..passed_over(at) });
            }
        }
        if was_heard { Ok(()) } else { given }
    }

    fn radio(&self, device: &str, at: Option<Stamp>, sink: &mut Sink<'_>) -> bool {
        let (name, list) = self.gateways;
        let number = |gateway: &Value, key: &str| gateway.get(key).and_then(Value::as_f64);
        let gateways = list.and_then(Value::as_array).into_iter().flatten().take(64);
        let best = gateways
            .filter_map(|gateway| number(gateway, "rssi").map(|rssi| (rssi, gateway)))
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        let Some((rssi, gateway)) = best else { return false };
        // The older server has another name for the ratio.
        let snr = number(gateway, "snr").or_else(|| number(gateway, "loRaSNR"));
        for (key, value) in [("rssi", Some(rssi)), ("snr", snr)] {
            if let Some(value) = value {
                let field: String = [name, "/", key].concat();
                sink(Found::named(device, &field, None, Ok(value)).at(at).role(Role::Health));
            }
        }
        for key in GATEWAYS_OWN {
            if let Some(value) = number(gateway, key) {
                let field: String = [name, "/", key].concat();
                sink(Found { device, field: &field, value: Ok(value), ..passed_over(at) });
            }
        }
        true
    }
}

/// A number of a message: no reading.
fn passed_over<'a>(at: Option<Stamp>) -> Found<'a> {
    Found::measured(Named::default(), None, Err(Refusal::NoValue)).at(at).role(Role::Other)
}
