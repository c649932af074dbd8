//! What a bridge has already said of its devices.
//!
//! Zigbee2MQTT keeps the state of every device and sends all of it whenever one attribute is
//! reported. What is sent again that way was measured before, and is no reading.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{decode::hash::hash, time::UtcMillis};

/// The most devices that are remembered; the one that was silent for longest makes room.
pub(super) const MAX_DEVICES: usize = 2_048;
/// The most attributes of a device that are remembered; of others every value is a reading.
pub(super) const MAX_ATTRIBUTES: usize = 16;
/// Reports that a device sends together arrive within this time.
pub(super) const BURST_MS: i64 = 5_000;

/// The last values of devices, by the hash of their name.
#[derive(Debug, Default)]
pub(in crate::decode) struct Cache(BTreeMap<u64, Device>);

/// A device's last values.
#[derive(Debug, Default)]
pub(super) struct Device {
    heard: UtcMillis,
    attributes: Vec<Attribute>,
}

#[derive(Debug)]
struct Attribute {
    name: u64,
    value: u64,
    last_seen: Option<UtcMillis>,
    /// When it was last taken for a reading.
    read: UtcMillis,
}

impl Cache {
    /// The device of that name, of which a message has arrived.
    pub(super) fn device(&mut self, name: &str, now: UtcMillis) -> &mut Device {
        let key = hash(name);
        if self.0.len() >= MAX_DEVICES && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, device)| device.heard);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.0.remove(&oldest);
            }
        }
        let device = self.0.entry(key).or_default();
        device.heard = now;
        device
    }
}

impl Device {
    /// Whether the value was sent before: it is the same one, and the device was not seen since;
    /// or it does not say when it was seen, and the value was read a moment ago. Equal values
    /// further apart are readings, and so is every value that differs.
    pub(super) fn repeats(
        &mut self,
        attribute: &str,
        value: f64,
        last_seen: Option<UtcMillis>,
    ) -> bool {
        let (name, value, read) = (hash(attribute), value.to_bits(), self.heard);
        let fresh = Attribute { name, value, last_seen, read };
        let Some(held) = self.attributes.iter_mut().find(|held| held.name == name) else {
            if self.attributes.len() < MAX_ATTRIBUTES {
                self.attributes.push(fresh);
            }
            return false;
        };
        let is_repeat = held.value == value
            && match last_seen {
                Some(_) => held.last_seen == last_seen,
                None => (0..BURST_MS).contains(&read.since(held.read)),
            };
        // A repeat must not put off the next reading: some devices report every second.
        if !is_repeat {
            *held = fresh;
        }
        is_repeat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_oldest_makes_room() {
        let mut cache = Cache::default();
        for number in 0..10_000 {
            let now = UtcMillis(number);
            let device = cache.device(&alloc::format!("sensor{number}"), now);
            for attribute in 0..40 {
                assert!(!device.repeats(&alloc::format!("a{attribute}"), 1.0, None));
            }
        }
        assert_eq!(cache.0.len(), MAX_DEVICES);
        assert!(cache.0.values().all(|device| device.attributes.len() == MAX_ATTRIBUTES));
        let mut repeats = |name, now| cache.device(name, UtcMillis(now)).repeats("a0", 1.0, None);
        assert!(repeats("sensor9999", 10_000));
        assert!(!repeats("sensor0", 10_000), "was forgotten");
    }

    #[test]
    fn a_device_that_reports_every_second_is_heard_every_five() {
        let mut cache = Cache::default();
        let mut read = 0;
        for second in 0..60 {
            let device = cache.device("plug", UtcMillis(second * 1_000));
            read += usize::from(!device.repeats("power", 0.0, None));
        }
        assert_eq!(read, 12);
    }
}
