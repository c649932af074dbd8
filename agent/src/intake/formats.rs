//! Messages in a device's own format: which one it is, and a reading for each value they hold.

use daywise_core::{
    decode::{self, Detected, Format, Found, Role, Stamp},
    reading::Refusal,
    time::UtcMillis,
};

use super::{Arriving, Intake, Message, Status, Verdict};

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
        let mut devices = std::mem::take(&mut self.devices);
        let seen = self.as_seen(message, source);
        let mut has_found = false;
        let outcome = devices.decode(format, &seen, &mut |found| {
            has_found |= found.role != Role::Other;
            self.found(arriving, source, &found);
        });
        self.requests.extend(devices.take_requests());
        self.devices = devices;
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

    fn as_seen<'m>(&self, message: &'m Message<'_>, source: usize) -> decode::Message<'m> {
        decode::Message {
            topic: message.topic,
            payload: message.payload,
            device: self.routes.device(source, message.topic),
            now: self.clock.now(),
        }
    }

    fn found(&mut self, arriving: &mut Arriving<'_>, source: usize, found: &Found<'_>) {
        if found.role == Role::Other {
            return;
        }
        let mut id = std::mem::take(&mut self.name);
        id.clear();
        id.push_str(found.device);
        if !found.field.is_empty() && !found.device.is_empty() {
            id.push('/');
        }
        id.push_str(found.field);
        if found.role == Role::Health && !self.learns_health {
            self.health(&id, source, found);
        } else {
            match self.routes.named_sensor(&id, source, found.quantity) {
                Ok(number) => {
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
