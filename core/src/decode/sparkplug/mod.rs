//! Sparkplug B 3.0: births give names, types and units; data may name them by number.
//!
//! A value whose number was given no name cannot be used, so its node is asked to be born again,
//! and so is one of whose messages some are missing. Those that came are good all the same.
//!
//! Before a node's birth even a value with a name is not used: its unit is not known. A node that
//! does not answer is taken at its word, as far as its values say of what type they are.

mod nodes;
mod payload;

use alloc::{format, string::String, vec::Vec};

use prost::Message as _;

pub(super) use nodes::Nodes;
use nodes::{Born, Node};
use payload::{Datatype, Metric, Number, Payload, PropertySet};

use super::{Detected, Format, Found, Message, Request, Role, Sink, Stamp, names, timestamp};
use crate::{
    reading::Refusal,
    units::{self, Unit},
};

const NAMESPACE: &str = "spBv1.0/";
const REBIRTH: &str = "Node Control/Rebirth";
const BD_SEQ: &str = "bdSeq";
/// The most metrics of one message that are looked at.
const MAX_METRICS: usize = 4_096;
/// The most requests that wait for the caller.
const MAX_REQUESTS: usize = 256;
/// The first levels of names that are about the node itself.
const ABOUT_ITSELF: [&str; 4] = ["Node Control", "Device Control", "Node Info", "Properties"];
/// Properties that hold the unit.
const UNIT_PROPERTIES: [&str; 4] = ["engUnit", "unit", "units", "engineeringUnits"];

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    if message.topic.starts_with(NAMESPACE) {
        // Commands and the states of hosts are in the name space too.
        let address = Address::of(message.topic);
        return Some(
            address.map_or(Detected::NotASensor, |_| Detected::Format(Format::SparkplugB)),
        );
    }
    // A host's state, as it was before version 3.
    let is_state = message.topic.strip_prefix("STATE/").is_some_and(|host| !host.contains('/'))
        && matches!(message.payload, b"ONLINE" | b"OFFLINE");
    is_state.then_some(Detected::NotASensor)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Birth,
    Data,
    Death,
}

/// Whose message it is.
#[derive(Clone, Copy, Debug)]
struct Address<'a> {
    kind: Kind,
    group: &'a str,
    node: &'a str,
    /// Empty if it is the node's own.
    device: &'a str,
}

impl<'a> Address<'a> {
    fn of(topic: &'a str) -> Option<Self> {
        let mut levels = topic.strip_prefix(NAMESPACE)?.split('/');
        let (group, verb, node) = (levels.next()?, levels.next()?, levels.next()?);
        let device = levels.next();
        let kind = match (verb, device) {
            ("NBIRTH", None) | ("DBIRTH", Some(_)) => Kind::Birth,
            ("NDATA", None) | ("DDATA", Some(_)) => Kind::Data,
            ("NDEATH", None) | ("DDEATH", Some(_)) => Kind::Death,
            _ => return None,
        };
        let is_whole = levels.next().is_none() && device != Some("");
        is_whole.then_some(Self { kind, group, node, device: device.unwrap_or_default() })
    }

    /// The node's name among all.
    fn node(&self) -> String {
        format!("{}/{}", self.group, self.node)
    }

    /// The device's name among all.
    fn device(&self) -> String {
        let Self { group, node, device, .. } = self;
        if device.is_empty() { self.node() } else { format!("{group}/{node}/{device}") }
    }
}

/// Decodes a message, and asks for a birth in `requests` where one is missed.
///
/// # Errors
/// Why it holds no readings.
pub(super) fn decode(
    message: &Message<'_>,
    nodes: &mut Nodes,
    requests: &mut Vec<Request>,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let address = Address::of(message.topic).ok_or_else(|| {
        let is_ours = message.topic.starts_with(NAMESPACE);
        if is_ours { Refusal::NotASensor } else { Refusal::WrongFormat }
    })?;
    let payload = Payload::decode(message.bytes()?).map_err(|_| Refusal::Malformed)?;
    let told = address.device();
    let device = message.device_or(&told);
    let (taken, without) = match address.kind {
        Kind::Birth => (birth(&address, &payload, nodes, device, sink), Refusal::NotASensor),
        Kind::Data => (data(&address, &payload, nodes, device, sink), Refusal::NoValue),
        Kind::Death => {
            death(&address, &payload, nodes);
            return Err(Refusal::NotASensor);
        }
    };
    if !taken.is_whole {
        ask(&address, message, nodes, requests);
    }
    if taken.readings == 0 { Err(without) } else { Ok(()) }
}

/// What became of a message.
struct Taken {
    /// How many values were given.
    readings: usize,
    /// Nothing is missing: no message before it, and no birth.
    is_whole: bool,
}

fn birth(
    address: &Address<'_>,
    payload: &Payload,
    nodes: &mut Nodes,
    device: &str,
    sink: &mut Sink<'_>,
) -> Taken {
    let (mut readings, mut bd_seq, mut metrics) = (0, None, Vec::new());
    for metric in payload.metrics.iter().take(MAX_METRICS) {
        let Ok(metric) = Metric::decode(metric.as_slice()) else {
            readings += 1;
            sink(Found::named(device, "", None, Err(Refusal::Malformed)));
            continue;
        };
        if metric.name.as_deref() == Some(BD_SEQ) {
            bd_seq = life(&metric);
        }
        let born = bear(&metric);
        if !born.name.is_empty()
            && let Some(found) = found(&metric, payload, Some(&born))
        {
            readings += 1;
            sink(Found { device, field: &born.name, ..found });
        }
        metrics.push(born);
    }
    let name = address.node();
    let is_whole = if address.device.is_empty() {
        nodes.bear_node(&name, metrics, payload.seq, bd_seq);
        true
    } else {
        nodes.bear_device(&name, address.device, metrics);
        let node = nodes.hear(&name);
        let follows = node.count(payload.seq);
        follows && node.is_born("")
    };
    Taken { readings, is_whole }
}

fn bear(metric: &Metric) -> Born {
    let name = metric.name.as_deref().filter(|name| !is_about_itself(name)).unwrap_or_default();
    Born {
        name: name.into(),
        alias: metric.alias,
        datatype: Datatype::of(metric.datatype),
        named: names::classify(name),
        unit: unit(metric.properties.as_ref()),
    }
}

fn data(
    address: &Address<'_>,
    payload: &Payload,
    nodes: &mut Nodes,
    device: &str,
    sink: &mut Sink<'_>,
) -> Taken {
    let node = nodes.hear(&address.node());
    let is_born = node.is_born(address.device);
    let mut taken = Taken { readings: 0, is_whole: node.count(payload.seq) && is_born };
    for metric in payload.metrics.iter().take(MAX_METRICS) {
        let Ok(metric) = Metric::decode(metric.as_slice()) else {
            taken.readings += 1;
            sink(Found::named(device, "", None, Err(Refusal::Malformed)));
            continue;
        };
        let (name, born) = named(&metric, node, address.device);
        let Some(name) = name else {
            continue;
        };
        let Some(found) = found(&metric, payload, born) else {
            continue;
        };
        taken.readings += 1;
        // A node that does not answer is taken at its word.
        let is_told = born.is_some() || (node.is_deaf() && metric.name.is_some());
        let value = if is_told { found.value } else { Err(Refusal::UnknownAlias) };
        taken.is_whole &= is_told;
        sink(Found { device, field: &name, value, ..found });
    }
    taken
}

/// The metric's name, and its birth; no name if it is never a reading.
fn named<'n>(
    metric: &Metric,
    node: &'n Node,
    device: &str,
) -> (Option<alloc::borrow::Cow<'n, str>>, Option<&'n Born>) {
    match (metric.name.as_deref().filter(|name| !name.is_empty()), metric.alias) {
        (Some(name), _) if is_about_itself(name) => (None, None),
        (Some(name), _) => (Some(String::from(name).into()), node.by_name(device, name)),
        (None, Some(alias)) => match node.by_alias(device, alias) {
            Some(born) => ((!born.name.is_empty()).then_some((*born.name).into()), Some(born)),
            None => (Some(format!("alias {alias}").into()), None),
        },
        (None, None) => (None, None),
    }
}

/// What a metric holds; `None` if that is no reading by its kind.
fn found(metric: &Metric, payload: &Payload, born: Option<&Born>) -> Option<Found<'static>> {
    if metric.is_null == Some(true) {
        return None;
    }
    let own = Datatype::of(metric.datatype).ok()?;
    let datatype = match (own, born) {
        (Some(own), _) => Some(own),
        (None, Some(born)) => born.datatype.ok()?,
        (None, None) => None,
    };
    let value = match metric.value?.number(datatype)? {
        Number::Is(number) if number.is_finite() => Ok(number),
        Number::Is(_) => Err(Refusal::NotFinite),
        Number::Untold => Err(Refusal::UnknownAlias),
    };
    let (at, value) = match time(metric, payload) {
        Ok(at) => (at, value),
        Err(reason) => (None, value.and(Err(reason))),
    };
    let named = born.map_or_else(
        || names::classify(metric.name.as_deref().unwrap_or_default()),
        |born| born.named,
    );
    let unit = unit(metric.properties.as_ref()).or(born.and_then(|born| born.unit));
    let found = Found::measured(named, unit, value).at(at.map(Stamp::Utc));
    // A value that the node does not want to be kept is no sensor's.
    Some(if metric.is_transient == Some(true) { found.role(Role::Other) } else { found })
}

/// When the metric was measured, or else when the message was sent.
fn time(metric: &Metric, payload: &Payload) -> Result<Option<crate::time::UtcMillis>, Refusal> {
    let told = metric.timestamp.filter(|ms| *ms != 0).or(payload.timestamp.filter(|ms| *ms != 0));
    let told = told.map(|ms| i64::try_from(ms).map_err(|_| Refusal::BadTimestamp)).transpose()?;
    told.map(timestamp::from_integer).transpose()
}

fn unit(properties: Option<&PropertySet>) -> Option<Unit> {
    let PropertySet { keys, values } = properties?;
    let is_unit =
        |key: &str| UNIT_PROPERTIES.iter().any(|property| property.eq_ignore_ascii_case(key));
    let (_, value) = keys.iter().zip(values).find(|(key, _)| is_unit(key))?;
    units::find(value.text.as_deref()?)
}

fn is_about_itself(name: &str) -> bool {
    let first = name.split('/').next();
    name == BD_SEQ || first.is_some_and(|first| ABOUT_ITSELF.contains(&first))
}

/// The number of a node's life.
fn life(metric: &Metric) -> Option<u64> {
    match metric.value? {
        payload::Value::Int(number) => Some(u64::from(number)),
        payload::Value::Long(number) => Some(number),
        _ => None,
    }
}

fn death(address: &Address<'_>, payload: &Payload, nodes: &mut Nodes) {
    let name = address.node();
    if address.device.is_empty() {
        let metrics = payload.metrics.iter().take(MAX_METRICS);
        let mut metrics = metrics.filter_map(|metric| Metric::decode(metric.as_slice()).ok());
        let bd_seq = metrics.find(|metric| metric.name.as_deref() == Some(BD_SEQ));
        nodes.bury_node(&name, bd_seq.and_then(|metric| life(&metric)));
    } else {
        nodes.bury_device(&name, address.device);
        nodes.hear(&name).count(payload.seq);
    }
}

/// Asks the node to be born again.
fn ask(
    address: &Address<'_>,
    message: &Message<'_>,
    nodes: &mut Nodes,
    requests: &mut Vec<Request>,
) {
    if requests.len() >= MAX_REQUESTS || !nodes.ask(&address.node(), message.now) {
        return;
    }
    const BOOLEAN: u32 = 11;
    let sent_at = u64::try_from(message.now.0).ok();
    let metric = Metric {
        name: Some(REBIRTH.into()),
        timestamp: sent_at,
        datatype: Some(BOOLEAN),
        value: Some(payload::Value::Boolean(true)),
        ..Metric::default()
    };
    let metrics = alloc::vec![metric.encode_to_vec()];
    let payload = Payload { timestamp: sent_at, metrics, seq: None };
    let Address { group, node, .. } = address;
    let topic = format!("{NAMESPACE}{group}/NCMD/{node}");
    requests.push(Request::Publish { topic, payload: payload.encode_to_vec() });
}

#[cfg(test)]
mod tests;
