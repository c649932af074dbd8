//! What the broker was seen to carry: each topic's format, and how the devices themselves fare.
//! Shown in the status document; nothing here is stored, and each list is bounded.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use daywise_core::{
    decode::{Format, Stamp},
    quantity::Quantity,
    time::UtcMillis,
};
use serde_json::{Value, json};

/// The most entries of each list; the first ones stay.
const MAX_ENTRIES: usize = 4_096;
/// The most entries of each list in the status document.
const MAX_SHOWN: usize = 500;

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    formats: BTreeMap<String, Format>,
    health: BTreeMap<String, Health>,
}

#[derive(Debug)]
struct Health {
    value: f64,
    quantity: Quantity,
    at: UtcMillis,
}

impl Seen {
    /// A topic's messages are in this format.
    pub fn note_format(&self, topic: &str, format: Format) {
        let mut lists = self.lists();
        if let Some(noted) = lists.formats.get_mut(topic) {
            *noted = format;
        } else if lists.formats.len() < MAX_ENTRIES {
            lists.formats.insert(topic.to_owned(), format);
        }
    }

    /// How a device fares in one respect, as it said at `now`.
    pub fn note_health(
        &self,
        id: &str,
        quantity: Quantity,
        value: f64,
        at: Option<Stamp>,
        now: UtcMillis,
    ) {
        let at = match at {
            Some(Stamp::Utc(at)) => at,
            _ => now,
        };
        let mut lists = self.lists();
        let health = Health { value, quantity, at };
        if let Some(noted) = lists.health.get_mut(id) {
            *noted = health;
        } else if lists.health.len() < MAX_ENTRIES {
            lists.health.insert(id.to_owned(), health);
        }
    }

    /// For the status document: each list's beginning, and how long it is.
    #[must_use]
    pub fn document(&self) -> Value {
        let lists = self.lists();
        let formats = lists.formats.iter().take(MAX_SHOWN);
        let health = lists.health.iter().take(MAX_SHOWN);
        json!({
            "topics": lists.formats.len(),
            "formats": formats.map(|(topic, format)| json!({
                "topic": topic,
                "format": format.name(),
            })).collect::<Vec<_>>(),
            "device_health": health.map(|(id, health)| json!({
                "of": id,
                "value": health.value,
                "unit": health.quantity.unit(),
                "at": health.at.to_string(),
            })).collect::<Vec<_>>(),
        })
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Whoever panicked left an entry more or less.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_shown_and_the_lists_are_bounded() {
        let seen = Seen::default();
        for number in 0..2 * MAX_ENTRIES {
            seen.note_format(&format!("topic/{number}"), Format::Json);
            let id = format!("device/{number}/battery");
            seen.note_health(&id, Quantity::Generic, 50.0, None, UtcMillis(0));
        }
        seen.note_format("topic/0", Format::Tasmota);
        let now = UtcMillis(1_000);
        seen.note_health("device/0/battery", Quantity::Generic, 49.0, None, now);
        let document = seen.document();
        assert_eq!(document["topics"], MAX_ENTRIES);
        assert_eq!(document["formats"].as_array().unwrap().len(), MAX_SHOWN);
        assert_eq!(document["formats"][0]["format"], "tasmota");
        assert_eq!(document["device_health"][0]["value"], 49.0);
        assert_eq!(document["device_health"][0]["at"], "1970-01-01T00:00:01Z");
    }
}
