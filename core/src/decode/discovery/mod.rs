//! Home Assistant's MQTT discovery, read: what the devices on a broker say of their own values.
//!
//! A message on `<prefix>/<component>/[<node>/]<object>/config` announces one entity, or with the
//! component `device` all of a device's. Of sensors it tells the topic of the values, the place in
//! their payload, the unit, the device class and whether they are a counter's. Of numbers, which
//! are settings, it tells that they are no sensors.
//!
//! Keys may be abbreviated as Home Assistant's `abbreviations.py` lists them, and `~` at either end
//! of a topic stands for a base.

mod hints;
mod template;

use alloc::{string::String, vec::Vec};

use serde_json::{Map, Value};

use super::{Detected, Message, Role, Told, json};
use crate::reading::Refusal;

pub use hints::{Hints, Known};

/// The first level of discovery topics unless Home Assistant is told otherwise.
pub const PREFIX: &str = "homeassistant";

/// The most entities of one device that are looked at.
const MAX_COMPONENTS: usize = 256;
/// The longest topic that is remembered, in bytes.
const MAX_TOPIC: usize = 256;
/// The longest unit, class or name; a longer one says nothing.
const MAX_TEXT: usize = 96;

/// A key and its abbreviation.
type Key = (&'static str, &'static str);
const COMPONENTS: Key = ("components", "cmps");
const DEVICE: Key = ("device", "dev");
const DEVICE_CLASS: Key = ("device_class", "dev_cla");
const ENTITY_CATEGORY: Key = ("entity_category", "ent_cat");
const NAME: Key = ("name", "name");
const PLATFORM: Key = ("platform", "p");
const STATE_CLASS: Key = ("state_class", "stat_cla");
const STATE_TOPIC: Key = ("state_topic", "stat_t");
const UNIT: Key = ("unit_of_measurement", "unit_of_meas");
const VALUE_TEMPLATE: Key = ("value_template", "val_tpl");
const BASE: Key = ("~", "~");

/// What is announced of one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// Where it is sent.
    pub state_topic: String,
    /// Its place in the payload: keys with `/` between them; empty if the payload is the value.
    pub path: String,
    /// Its unit, as it is written.
    pub unit: Option<String>,
    /// Home Assistant's device class.
    pub device_class: Option<String>,
    /// `measurement`, `total` or `total_increasing`.
    pub state_class: Option<String>,
    /// The value's name for people.
    pub name: Option<String>,
    /// Its device's name for people.
    pub device: Option<String>,
    /// What it is for, where that is said apart from the device class.
    pub role: Option<Role>,
}

impl Hint {
    /// What that says, in terms of quantities and units.
    #[must_use]
    pub fn told(&self) -> Told {
        let mut told = Told::default();
        if let Some(class) = &self.device_class {
            told.set_class(class);
        }
        if let Some(unit) = &self.unit {
            told.set_unit(unit);
        }
        if let Some(class) = &self.state_class {
            told.set_state_class(class);
        }
        if let Some(role) = self.role {
            told.set_role(role);
        }
        told
    }
}

/// Why a message announces nothing that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// Its topic is none of discovery's.
    #[error("the topic is none of discovery's")]
    Topic,
    /// Its payload is no JSON object.
    #[error("the payload cannot be read")]
    Payload(#[source] Refusal),
    /// It announces no entity that sends numbers.
    #[error("it announces no sensor")]
    Component,
    /// No topic for the value, or one that no message can have.
    #[error("it has no usable state topic")]
    StateTopic,
    /// The value is worked out by a template that does more than to say where it is.
    #[error("its value is computed by a template")]
    Template,
}

/// Whether it is a discovery message under the usual prefix, or Home Assistant's own state.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    let rest = message.topic.strip_prefix(PREFIX)?;
    (rest == "/status" || is_config(PREFIX, message.topic)).then_some(Detected::NotASensor)
}

/// Whether a topic is one of discovery's under `prefix`.
#[must_use]
pub fn is_config(prefix: &str, topic: &str) -> bool {
    component(prefix, topic).is_some()
}

/// The kind of entity that a topic announces.
fn component<'t>(prefix: &str, topic: &'t str) -> Option<&'t str> {
    let rest = topic.strip_prefix(prefix)?.strip_prefix('/')?.strip_suffix("/config")?;
    let (component, object) = rest.split_once('/')?;
    let is_whole = object.split('/').count() <= 2 && object.split('/').all(|part| !part.is_empty());
    (is_whole && !component.is_empty()).then_some(component)
}

/// Reads a message under `prefix`. An empty payload takes back what the topic announced before: it
/// gives no hints.
///
/// # Errors
/// Why there is nothing to be used; of a device with several entities, if that is so of all. What
/// the topic announced before then stays as it was.
pub fn read(prefix: &str, topic: &str, payload: &[u8]) -> Result<Vec<Hint>, DiscoveryError> {
    let component = component(prefix, topic).ok_or(DiscoveryError::Topic)?;
    let text = super::text(payload).map_err(DiscoveryError::Payload)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let options: Map<String, Value> = json::parse(text).map_err(DiscoveryError::Payload)?;
    if component != "device" {
        return entity(component, &options, None).map(|hint| alloc::vec![hint]);
    }
    let components = get(&options, COMPONENTS).and_then(Value::as_object);
    let (mut hints, mut reason) = (Vec::new(), DiscoveryError::Component);
    for component in components.into_iter().flat_map(Map::values).take(MAX_COMPONENTS) {
        // What has nothing but its platform is taken back.
        let Some(own) = component.as_object().filter(|own| own.len() > 1) else {
            continue;
        };
        match entity(text_at(own, PLATFORM).unwrap_or_default(), own, Some(&options)) {
            Ok(hint) => hints.push(hint),
            Err(DiscoveryError::Component) => {}
            Err(other) => reason = other,
        }
    }
    if hints.is_empty() { Err(reason) } else { Ok(hints) }
}

/// Reads what is said of one entity, and what its device's message says of all of them.
fn entity(
    component: &str,
    own: &Map<String, Value>,
    shared: Option<&Map<String, Value>>,
) -> Result<Hint, DiscoveryError> {
    let of_component = match component {
        "sensor" => None,
        "number" => Some(Role::Other),
        _ => return Err(DiscoveryError::Component),
    };
    let either = |key| text_at(own, key).or_else(|| text_at(shared?, key));
    let base = either(BASE).unwrap_or_default();
    let state_topic = either(STATE_TOPIC).and_then(|topic| whole_topic(topic, base));
    let state_topic = state_topic.ok_or(DiscoveryError::StateTopic)?;
    let path = match text_at(own, VALUE_TEMPLATE) {
        Some(template) => template::path(template).ok_or(DiscoveryError::Template)?,
        None => String::new(),
    };
    let of_category = match text_at(own, ENTITY_CATEGORY) {
        Some("diagnostic") => Some(Role::Health),
        Some("config") => Some(Role::Other),
        _ => None,
    };
    let device = get(own, DEVICE).or_else(|| get(shared?, DEVICE));
    let device = device.and_then(Value::as_object).and_then(|device| short_at(device, NAME));
    Ok(Hint {
        state_topic,
        path,
        unit: short_at(own, UNIT),
        device_class: short_at(own, DEVICE_CLASS),
        state_class: short_at(own, STATE_CLASS),
        name: short_at(own, NAME),
        device,
        role: of_component.or(of_category),
    })
}

fn whole_topic(topic: &str, base: &str) -> Option<String> {
    let whole = match (topic.strip_prefix('~'), topic.strip_suffix('~')) {
        (Some(rest), _) => [base, rest].concat(),
        (None, Some(rest)) => [rest, base].concat(),
        (None, None) => topic.into(),
    };
    let is_topic = !whole.is_empty() && whole.len() <= MAX_TOPIC && !whole.contains(['+', '#']);
    is_topic.then_some(whole)
}

fn get(options: &Map<String, Value>, (name, short): Key) -> Option<&Value> {
    options.get(name).or_else(|| options.get(short))
}

fn text_at(options: &Map<String, Value>, key: Key) -> Option<&str> {
    get(options, key).and_then(Value::as_str)
}

fn short_at(options: &Map<String, Value>, key: Key) -> Option<String> {
    let text = text_at(options, key)?;
    (!text.is_empty() && text.len() <= MAX_TEXT).then(|| text.into())
}

#[cfg(test)]
mod tests;
