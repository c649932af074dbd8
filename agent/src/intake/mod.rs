//! From a message to readings that may be kept: decode, check, time, day, repeats.
//!
//! What can be decided without the disk is decided as the message comes. A reading that the store
//! may hold already (it lies before others, or its day has closed) is gathered as unsure, and
//! [`Intake::resolve`] asks the store about all of them at once before the next commit. So every
//! reading is kept exactly once, whatever the broker repeats and however often the power goes,
//! and the first value of an instant stays.
//!
//! The running agent and `decode` share this code; only what is done with a [`Verdict`] differs.

mod batch;
mod formats;
mod redelivery;
mod resolve;
mod restore;
pub(crate) mod route;
mod times;
mod verdict;

use std::sync::Arc;

use daywise_core::{
    baseline::Baseline,
    collect::{Accepted, Collector, Limits, Standing},
    decode::{self, Devices, Format, Request, discovery::Hints},
    reading::{Reading, Refusal, Sample, SensorIx, check_value},
    time::{LocalDay, UtcMillis},
};
use tracing::{debug, info, trace, warn};

pub(crate) use self::verdict::{Status, Verdict};
use self::{
    batch::Gathered,
    redelivery::Redelivery,
    resolve::Unsure,
    route::{Route, Routes},
};
use crate::{
    clock::Clock,
    metrics::{Counter, Metrics},
    seen::Seen,
    site_days::SiteDays,
    store::{Held, SensorRecord, Store, StoreError},
};

/// One message from the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// Its topic.
    pub(crate) topic: &'a str,
    /// Its content.
    pub(crate) payload: &'a [u8],
    /// Its number on this connection; `None` at QoS 0.
    pub(crate) packet: Option<u16>,
    /// The broker says that it sent it before.
    pub(crate) is_again: bool,
    /// The broker had kept it for whoever subscribes.
    pub(crate) is_retained: bool,
}

/// A message on its way through.
struct Arriving<'a> {
    message: &'a Message<'a>,
    /// It has no time of its own and was kept before.
    is_repeat: bool,
    /// A reading of it is kept that has no time of its own.
    is_to_be_known: bool,
}

/// What becomes of a reading whose place in time is known.
enum Judged {
    Keep(LocalDay, Reading),
    Ask(LocalDay, Reading),
    Hold(Held),
}

/// The state that readings are judged by.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) clock: Clock,
    pub(crate) days: SiteDays,
    pub(crate) collector: Collector,
    pub(crate) routes: Routes,
    pub(crate) batch: Gathered,
    /// Sensors with a reading that was accepted since this was last emptied.
    pub(crate) heard: Vec<SensorIx>,
    /// What was decided, while someone wants to know.
    pub(crate) verdicts: Option<Vec<Verdict>>,
    /// What decoders want said to the sensors' broker.
    pub(crate) requests: Vec<Request>,
    /// The format of the last message, if it has one of its own.
    pub(crate) format: Option<Format>,
    /// Absent only while a message is decoded.
    devices: Option<Box<Devices>>,
    hints: Hints,
    discovery_prefix: String,
    seen: Arc<Seen>,
    /// Where sensor ids are put together.
    name: String,
    learns_health: bool,
    redelivery: Redelivery,
    metrics: Arc<Metrics>,
    rules: times::TimeRules,
    quarantined: u64,
    clocks_off: u64,
    /// Sensors that were silent when the store was left.
    silent: u64,
    messages: u64,
}

impl Intake {
    /// Takes one message; says whether it moved the clock.
    pub(crate) fn take(&mut self, message: &Message<'_>) -> bool {
        self.messages += 1;
        let is_repeat = self.redelivery.knows(message);
        let mut arriving = Arriving { message, is_repeat, is_to_be_known: false };
        self.format = None;
        match self.routes.find(message.topic) {
            Route::Clock => return self.tick(message.payload),
            Route::Refused(reason) => self.leave_out(message, None, reason),
            Route::Discovery => self.announced(message),
            Route::Detect(source) => self.detect(&mut arriving, source),
            Route::Format(source, format) => {
                self.formatted(&mut arriving, source, format, true);
            }
            Route::Known(source, format) => {
                self.formatted(&mut arriving, source, format, false);
            }
            Route::Sensor(number) => match decode::decode(message.payload) {
                Ok(decoded) => self.reading(&mut arriving, number, decoded.ts, Ok(decoded.value)),
                Err(reason) => self.leave_out(message, Some(number), reason),
            },
            Route::Fields { source, first } => self.fields(&mut arriving, source, first),
        }
        // Once for all of its readings, which are kept together or not at all.
        if arriving.is_to_be_known {
            self.batch.deliveries.extend(self.redelivery.remember(message));
        }
        false
    }

    /// Decides what is still unsure, and gives the batch to the store.
    ///
    /// # Errors
    /// The store cannot be read or written; called again, it does what is left to do.
    pub(crate) fn write(&mut self, store: &Store) -> Result<(), StoreError> {
        self.resolve(store)?;
        let late_since = self.batch.late_since.unwrap_or(self.clock.now());
        store.append(&self.batch.as_batch(self.collector.settled_at(late_since)))
    }

    /// Forgets all readings, but not the sensors and what their devices have said of themselves.
    pub(crate) fn forget_readings(&mut self, limits: Limits) {
        let sensors = self.collector.sensor_count();
        self.collector = Collector::new(limits);
        (0..sensors).for_each(|_| {
            self.collector.restore_sensor(Baseline::default());
        });
        self.batch.clear();
    }

    /// How many sensors were silent when the store was left.
    pub(crate) fn silent(&self) -> u64 {
        self.silent
    }

    /// The number that the next message gets in its verdicts.
    pub(crate) fn next_message(&self) -> u64 {
        self.messages.saturating_add(1)
    }

    fn tick(&mut self, payload: &[u8]) -> bool {
        let text = std::str::from_utf8(payload).ok();
        let Some(ms) = text.and_then(|text| text.trim().parse().ok()) else {
            warn!("a clock tick is not a number of milliseconds");
            return false;
        };
        self.clock.tick(UtcMillis(ms));
        true
    }

    fn fields(&mut self, arriving: &mut Arriving<'_>, source: usize, first: usize) {
        let message = arriving.message;
        let read = match self.routes.read_fields(source, message.payload) {
            Ok(read) => read,
            Err(reason) => return self.leave_out(message, None, reason),
        };
        for (place, value) in read.values {
            if let Some(number) = self.routes.of_field(first, place) {
                self.reading(arriving, number, read.ts, value);
            }
        }
    }

    fn leave_out(&mut self, message: &Message<'_>, number: Option<usize>, reason: Refusal) {
        debug!(topic = %message.topic, %reason, "left out");
        self.conclude(Verdict::of(self.messages, number), Status::left_out(reason));
    }

    /// Checks, dates and gathers one reading.
    fn reading(
        &mut self,
        arriving: &mut Arriving<'_>,
        number: usize,
        stamp: Option<UtcMillis>,
        value: Result<f64, Refusal>,
    ) {
        let mut about = Verdict::of(self.messages, Some(number));
        about.at = stamp;
        match value.and_then(|value| self.judge(arriving, &mut about, stamp, value)) {
            Ok(judged) => {
                // A stamp that is corrected may be corrected otherwise when it comes again.
                arriving.is_to_be_known |= stamp.is_none() || self.rules.corrects_devices;
                self.carry_out(about, judged);
            }
            Err(reason) => {
                debug!(topic = %arriving.message.topic, %reason, "left out");
                self.conclude(about, Status::left_out(reason));
            }
        }
    }

    fn judge(
        &mut self,
        arriving: &Arriving<'_>,
        about: &mut Verdict,
        stamp: Option<UtcMillis>,
        value: f64,
    ) -> Result<Judged, Refusal> {
        about.value = Some(value);
        let number = about.sensor.unwrap_or(usize::MAX);
        check_value(self.routes.quantity(number), value)?;
        let at = match stamp {
            Some(_) if arriving.is_repeat && self.rules.corrects_devices => {
                return Err(Refusal::Duplicate);
            }
            Some(stamp) => self.corrected(number, stamp),
            None if arriving.message.is_retained => return Err(Refusal::Stale),
            None if arriving.is_repeat => return Err(Refusal::Duplicate),
            None if !self.clock.is_trusted() => {
                return self.hold(number, None, value).map(Judged::Hold);
            }
            None => self.arrival(number, value)?,
        };
        about.at = Some(at);
        if self.must_wait(at) {
            return self.hold(number, Some(at), value).map(Judged::Hold);
        }
        self.place(about, at, value)
    }

    /// Finds the day and the standing of a reading whose time is settled.
    fn place(&mut self, about: &mut Verdict, at: UtcMillis, value: f64) -> Result<Judged, Refusal> {
        let now = self.clock.now();
        let day = self.days.day_of(at);
        about.date = Some(day.date);
        // Before a sensor is bound, so that nonsense takes no sensor's place.
        self.collector.check_time(now, &day, at)?;
        let sensor = self.bound(about.sensor.unwrap_or(usize::MAX))?;
        let reading = Reading { sensor, sample: Sample { at, value } };
        Ok(match self.collector.judge(now, &day, &reading)? {
            Standing::Fresh => Judged::Keep(day, reading),
            Standing::Unsure => Judged::Ask(day, reading),
        })
    }

    fn carry_out(&mut self, about: Verdict, judged: Judged) {
        match judged {
            Judged::Keep(day, reading) => self.keep(about, &day, reading, self.clock.now()),
            Judged::Ask(day, reading) => {
                let now = self.clock.now();
                self.batch.unsure.push(Unsure { about, day, reading, now });
            }
            Judged::Hold(held) => {
                self.batch.quarantined.push(held);
                self.quarantined += 1;
                self.conclude(about, Status::Quarantined);
            }
        }
    }

    /// The reading, which arrived at `now`, is not held yet: takes it.
    fn keep(&mut self, about: Verdict, day: &LocalDay, reading: Reading, now: UtcMillis) {
        let Reading { sensor, sample } = reading;
        match self.collector.accept(now, day, reading) {
            Accepted::Open => {}
            Accepted::OpensDay => {
                info!(date = %day.date, "day opened");
                self.days.add(*day);
                self.batch.new_days.push(*day);
            }
            Accepted::Late => {
                self.batch.late_since.get_or_insert(now);
                self.metrics.add(Counter::Late, 1);
            }
        }
        trace!(sensor = sensor.0, at = %sample.at, value = sample.value, "reading");
        self.batch.readings.push((day.date, sensor, sample));
        self.heard.push(sensor);
        self.conclude(about, Status::Accepted);
    }

    /// The sensor's number in the store; a new one gets its own.
    fn bound(&mut self, number: usize) -> Result<SensorIx, Refusal> {
        if let Some(sensor) = self.routes.sensor(number) {
            return Ok(sensor);
        }
        let ix = self.collector.add_sensor(Baseline::default())?;
        let (id, quantity) = self.routes.bind(number, ix);
        self.collector.measures(ix, quantity);
        info!(sensor = %id, %quantity, "new sensor");
        self.batch.new_sensors.push(SensorRecord { ix, id, quantity });
        let offset = self.routes.device_clock(number).and_then(|clock| clock.offset_ms());
        self.batch.offsets.extend(offset.map(|offset| (ix, Some(offset))));
        Ok(ix)
    }

    fn conclude(&mut self, about: Verdict, status: Status) {
        match status {
            Status::Accepted => self.metrics.add(Counter::Accepted, 1),
            Status::Quarantined => self.metrics.add(Counter::Quarantined, 1),
            Status::Duplicate(reason) | Status::Refused(reason) | Status::Ignored(reason) => {
                self.metrics.refuse(reason);
            }
        }
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.push(Verdict { status, ..about });
        }
    }
}
