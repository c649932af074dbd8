//! Messages in a device's own format: which one it is, and a reading for each value they hold.

use daywise_core::{
    decode::{self, Detected, Format, Found, Role, Stamp, discovery},
    quantity::Quantity,
    reading::Refusal,
    time::UtcMillis,
};
use tracing::{debug, info, warn};

use super::{Arriving, Intake, Message, Status, Verdict};
use crate::store::SensorRecord;

impl Intake {
    /// Takes a message of a topic whose format is not known yet.
    pub(super) fn detect(&mut self, arriving: &mut Arriving<'_>, source: usize) {
        let topic = arriving.message.topic;
        match decode::detect(&self.as_seen(arriving.message, source)) {
            Detected::Format(format) => {
                self.formatted(arriving, source, format, true);
            }
            Detected::NotASensor => {
                self.routes.remember_nothing(topic);
                self.leave_out(arriving.message, None, Refusal::NotASensor);
            }
            Detected::Unknown(reason) => self.leave_out(arriving.message, None, reason),
        }
    }

    /// Takes a message of a known format; remembers that if it `is_new` and turns out to be right.
    pub(super) fn formatted(
        &mut self,
        arriving: &mut Arriving<'_>,
        source: usize,
        format: Format,
        is_new: bool,
    ) {
        let message = arriving.message;
        self.format = Some(format);
        // Out of the way while the sink has the rest of us.
        let mut devices = self.devices.take().unwrap_or_default();
        let seen = self.as_seen(message, source);
        let mut has_found = false;
        let outcome = devices.decode(format, &seen, &mut |found| {
            let known = self.hints.find(message.topic, found.field);
            let found = known.map_or(found, |known| known.told.apply(found));
            has_found |= found.role != Role::Other;
            self.found(arriving, source, &found);
        });
        self.requests.extend(devices.take_requests());
        self.devices = Some(devices);
        if is_new && outcome.is_ok() {
            self.routes.remember(message.topic, source, format);
            self.seen.note_format(message.topic, format);
        }
        match outcome {
            Ok(()) if has_found => {}
            // Only settings, names and the like.
            Ok(()) => self.leave_out(message, None, Refusal::NotASensor),
            Err(Refusal::WrongFormat) if !is_new && self.routes.may_differ(source) => {
                // What the topic carried before says nothing any more.
                self.routes.forget(message.topic);
                self.detect(arriving, source);
            }
            Err(reason) => self.leave_out(message, None, reason),
        }
    }

    /// Learns what a device announces to Home Assistant of its values.
    pub(super) fn announced(&mut self, message: &Message<'_>) {
        match discovery::read(&self.discovery_prefix, message.topic, message.payload) {
            Ok(hints) => {
                let left_out = self.hints.learn(message.topic, hints);
                if left_out > 0 {
                    warn!(topic = %message.topic, left_out, "more values are announced than can be known");
                }
            }
            // What was announced before stays, as it does in Home Assistant.
            Err(error) => debug!(topic = %message.topic, %error, "an announcement is left out"),
        }
        self.leave_out(message, None, Refusal::NotASensor);
    }

    fn as_seen<'m>(&self, message: &'m Message<'_>, source: usize) -> decode::Message<'m> {
        decode::Message {
            topic: message.topic,
            payload: message.payload,
            device: self.routes.device(source, message.topic),
            now: self.clock.now(),
        }
    }

    fn found(&mut self, arriving: &mut Arriving<'_>, source: usize, found: &Found<'_>) {
        if found.role == Role::Other && self.verdicts.is_none() {
            return;
        }
        let mut id = std::mem::take(&mut self.name);
        id.clear();
        id.push_str(found.device);
        if !found.field.is_empty() && !found.device.is_empty() {
            id.push('/');
        }
        id.push_str(found.field);
        if found.role == Role::Other {
            self.passed_over(&id, found);
        } else if found.role == Role::Health && !self.learns_health {
            self.health(&id, source, found);
        } else {
            match self.routes.named_sensor(&id, source, found.quantity) {
                Ok(number) => {
                    self.tell_more(number, source, found.quantity);
                    let stamp = found.at.map(|at| self.instant(at)).transpose();
                    match stamp {
                        Ok(stamp) => self.reading(arriving, number, stamp, found.value),
                        Err(reason) => self.leave_out(arriving.message, Some(number), reason),
                    }
                }
                Err(reason) => self.leave_out(arriving.message, None, reason),
            }
        }
        self.name = id;
    }

    /// What a sensor measures may be told after it was first seen: by an announcement, or by a unit
    /// that not all of its messages have.
    fn tell_more(&mut self, number: usize, source: usize, quantity: Quantity) {
        if !self.routes.measures(number, source, quantity) {
            return;
        }
        if let (Some(ix), Some((id, _))) = (self.routes.sensor(number), self.routes.named(number)) {
            info!(sensor = %id, %quantity, "the sensor is known better");
            let id = id.to_owned();
            self.collector.measures(ix, quantity);
            self.batch.new_sensors.push(SensorRecord { ix, id, quantity });
        }
    }

    /// Told to who asks what a message holds; to all else it is nothing.
    fn passed_over(&mut self, id: &str, found: &Found<'_>) {
        let mut about = Verdict::of(self.messages, None);
        about.name = Some(id.into());
        about.at = found.at.and_then(|at| self.instant(at).ok());
        about.value = found.value.ok();
        self.conclude(about, Status::left_out(Refusal::NotASensor));
    }

    /// Shown, but not learnt.
    fn health(&mut self, id: &str, source: usize, found: &Found<'_>) {
        let now = self.clock.now();
        if let Ok(value) = found.value {
            self.seen.note_health(id, found.quantity, value, found.at, now);
        }
        let mut about = Verdict::of(self.messages, None);
        if self.verdicts.is_some() {
            // Somebody wants to know which one.
            about.sensor = self.routes.named_sensor(id, source, found.quantity).ok();
            about.at = found.at.and_then(|at| self.instant(at).ok());
            about.value = found.value.ok();
        }
        self.conclude(about, Status::left_out(Refusal::DeviceHealth));
    }

    fn instant(&mut self, at: Stamp) -> Result<UtcMillis, Refusal> {
        match at {
            Stamp::Utc(at) => Ok(at),
            Stamp::Local(wall) => {
                let now = self.clock.now();
                self.days.local_to_utc(wall, now).ok_or(Refusal::BadTimestamp)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        calendar::Calendar,
        config::AgentConfig,
        metrics::Metrics,
        seen::Seen,
        store::{Store, StoreOptions},
    };

    const NOW: UtcMillis = UtcMillis(1_711_321_200_000);

    /// An intake of every topic, with its store's folder.
    fn intake(more: &str) -> (Intake, Store, tempfile::TempDir, Arc<Seen>) {
        let text = format!(
            "gateway = 'gw'\nstate_dir = '/unused'\nmqtt = {{ url = 'mqtt://localhost' }}\n\
             clock = {{ source = 'topic', topic = 'clock' }}\n{more}"
        );
        let config = AgentConfig::parse(&text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), &StoreOptions::default()).unwrap();
        let calendar = Calendar::new("Europe/Berlin").unwrap();
        let (metrics, seen) = (Arc::new(Metrics::default()), Arc::<Seen>::default());
        let mut intake =
            Intake::new(&config, calendar, &store.store, metrics, Arc::clone(&seen)).unwrap();
        intake.verdicts = Some(Vec::new());
        intake.clock.tick(NOW);
        (intake, store.store, folder, seen)
    }

    /// What was decided of a message: sensor, quantity, value and status of each.
    fn give(intake: &mut Intake, topic: &str, payload: &str) -> Vec<(String, Quantity, Status)> {
        let (packet, payload) = (None, payload.as_bytes());
        let message = Message { topic, payload, packet, is_again: false, is_retained: false };
        intake.take(&message);
        let verdicts = intake.verdicts.replace(Vec::new()).unwrap();
        let shown = |verdict: Verdict| {
            let named = verdict.sensor.and_then(|number| intake.routes.named(number));
            let (id, quantity) = named.unwrap_or_default();
            (id.to_owned(), quantity, verdict.status)
        };
        verdicts.into_iter().map(shown).collect()
    }

    const ACCEPTED: Status = Status::Accepted;

    #[test]
    fn a_topics_format_is_found_remembered_and_shown() {
        let (mut intake, _store, _folder, seen) = intake("");
        let sensor = r#"{"Time":"2024-03-25T00:00:00","AM2301":{"Temperature":20.5}}"#;
        let decided = give(&mut intake, "tele/cellar/SENSOR", sensor);
        let id = "cellar/AM2301/Temperature".to_owned();
        assert_eq!(decided, [(id, Quantity::Temperature, ACCEPTED)]);
        let sample = intake.batch.as_batch(NOW).readings[0].2;
        assert_eq!(sample.at, UtcMillis(1_711_321_200_000), "the site's time, not UTC");
        let shown = &seen.document()["formats"][0];
        assert_eq!(
            (shown["topic"].as_str(), shown["format"].as_str()),
            (Some("tele/cellar/SENSOR"), Some("tasmota"))
        );
    }

    #[test]
    fn a_garbled_first_message_decides_nothing() {
        let (mut intake, _store, _folder, _seen) = intake("");
        give(&mut intake, "garden/soil", r#"{"moisture": 31"#);
        let decided = give(&mut intake, "garden/soil", r#"{"moisture": 31.5, "battery": 80}"#);
        let battery = Status::left_out(Refusal::DeviceHealth);
        let generic = Quantity::Generic;
        assert!(decided.contains(&("garden/soil/moisture".into(), Quantity::Moisture, ACCEPTED)));
        assert!(decided.contains(&("garden/soil/battery".into(), generic, battery)));
    }

    #[test]
    fn health_is_shown_and_learnt_only_if_asked_for() {
        let payload = r#"{"temperature": 21.5, "linkquality": 77}"#;
        let (mut shown, _store, _folder, seen) = intake("");
        give(&mut shown, "zigbee2mqtt/attic", payload);
        assert_eq!(seen.document()["device_health"][0]["of"], "attic/linkquality");
        assert_eq!(shown.collector.sensor_count(), 1);
        let (mut learnt, _store, _folder, _seen) = intake("sensors = { health = true }");
        give(&mut learnt, "zigbee2mqtt/attic", payload);
        assert_eq!(learnt.collector.sensor_count(), 2);
    }

    #[test]
    fn a_number_that_is_no_sensors_is_told_by_name_and_takes_no_place() {
        let (mut intake, _store, _folder, _seen) = intake("");
        let (topic, payload) = ("garden/soil", br#"{"moisture": 31.5, "fCnt": 12}"#);
        let (is_again, is_retained) = (false, false);
        intake.take(&Message { topic, payload, packet: None, is_again, is_retained });
        let verdicts = intake.verdicts.replace(Vec::new()).unwrap();
        let passed_over = verdicts.iter().find(|verdict| verdict.name.is_some()).unwrap();
        assert_eq!(passed_over.name.as_deref(), Some("garden/soil/fCnt"));
        assert_eq!((passed_over.value, passed_over.sensor), (Some(12.0), None));
        assert_eq!(passed_over.status, Status::left_out(Refusal::NotASensor));
        // Nobody asks: it is not even counted.
        intake.verdicts = None;
        intake.clock.tick(NOW + 60_000);
        let ignored = intake.metrics.refused();
        intake.take(&Message { topic, payload, packet: None, is_again, is_retained });
        assert_eq!(intake.metrics.refused(), ignored);
        assert_eq!(intake.collector.sensor_count(), 1);
    }

    #[test]
    fn what_the_config_denies_takes_no_place() {
        let (mut intake, _store, _folder, _seen) = intake("sensors = { deny = ['*/humidity'] }");
        let decided =
            give(&mut intake, "zigbee2mqtt/attic", r#"{"humidity": 40, "temperature": 21.5}"#);
        let denied = Status::left_out(Refusal::Denied);
        assert!(decided.iter().any(|(_, _, status)| *status == denied));
        assert_eq!(intake.collector.sensor_count(), 1);
    }

    #[test]
    fn an_announcement_tells_unit_and_counter_also_afterwards() {
        let (mut intake, _store, _folder, _seen) = intake("");
        let state = r#"{"reading": 1.5, "outside": 68.0}"#;
        let decided = give(&mut intake, "meter/1", state);
        assert!(decided.iter().all(|(_, quantity, _)| *quantity == Quantity::Generic));
        let announce = |field: &str, class: &str, unit: &str, state_class: &str| {
            format!(
                r#"{{"name":"x","stat_t":"meter/1","val_tpl":"{{{{ value_json.{field} }}}}","dev_cla":"{class}","unit_of_meas":"{unit}","stat_cla":"{state_class}"}}"#
            )
        };
        let meter = announce("reading", "energy", "kWh", "total_increasing");
        let outside = announce("outside", "temperature", "°F", "measurement");
        for (object, config) in [("a", meter), ("b", outside)] {
            let topic = format!("homeassistant/sensor/{object}/config");
            let decided = give(&mut intake, &topic, &config);
            assert_eq!(decided[0].2, Status::left_out(Refusal::NotASensor));
        }
        intake.clock.tick(NOW + 60_000);
        let decided = give(&mut intake, "meter/1", r#"{"reading": 1.6, "outside": 68.0}"#);
        assert!(decided.contains(&("meter/1/reading".into(), Quantity::EnergyTotal, ACCEPTED)));
        assert!(decided.contains(&("meter/1/outside".into(), Quantity::Temperature, ACCEPTED)));
        let values: Vec<f64> =
            intake.batch.as_batch(NOW).readings.iter().map(|reading| reading.2.value).collect();
        assert!(values.contains(&1_600.0) && values.contains(&20.0), "{values:?}");
    }

    #[test]
    fn our_own_outputs_are_no_sensors() {
        let (mut intake, _store, _folder, _seen) = intake("");
        for gateway in ["gw", "another"] {
            let topic = format!("daywise/{gateway}/attic/temperature/live");
            let decided = give(&mut intake, &topic, r#"{"value": 1}"#);
            assert_eq!(decided[0].2, Status::left_out(Refusal::NotASensor));
        }
    }

    #[test]
    fn ids_that_differ_in_capitals_are_one_sensor_unless_told_otherwise() {
        for (more, sensors) in [("", 1), ("sensors = { fold_case = false }", 2)] {
            let (mut intake, _store, _folder, _seen) = intake(more);
            give(&mut intake, "zigbee2mqtt/Attic", r#"{"temperature": 21.5, "linkquality": 7}"#);
            intake.clock.tick(NOW + 60_000);
            give(&mut intake, "zigbee2mqtt/attic", r#"{"temperature": 21.6, "linkquality": 7}"#);
            assert_eq!(intake.collector.sensor_count(), sensors, "{more}");
        }
    }
}
