//! Home Assistant: announces sensors, says their problems, and takes back those that are no more.
//! What is said is decided in `home_assistant/`; everything goes through its paced outbox.

use std::time::{Duration, Instant};

use daywise_core::{reading::SensorIx, time::UtcMillis};
use rumqttc::QoS;
use serde_json::Value;
use tracing::info;

use super::Pipeline;
use crate::{
    config::AgentConfig,
    figures::LastDay,
    home_assistant::{
        Due, Evidence, Names, Outbox, Problem, Rules, Saying, gateway_document, last_day_message,
        problem_message, sensor_document,
    },
    metrics::Counter,
    mqtt::{Delivery, ONLINE, Outputs},
    store::StoreError,
};

/// All sensors are looked at this often,
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// or whenever the agent's clock has moved on by this, as it does fast in a replay.
const LOOK_EVERY_MS: i64 = 60_000;
/// After a restart a sensor's last day is looked for in so many closed days.
const LAST_DAYS: usize = 7;

/// How a sensor stands with Home Assistant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Listed,
    /// Silent for too long.
    Retired,
    /// The config leaves it out.
    Denied,
}

#[derive(Debug)]
struct Tracked {
    standing: Standing,
    problem: Problem,
}

/// What Home Assistant is told, and how far.
#[derive(Debug)]
pub(super) struct Home {
    names: Names,
    rules: Rules,
    status_topic: String,
    retire_after_ms: Option<i64>,
    outbox: Outbox,
    sensors: Vec<Tracked>,
    looked: Option<(Instant, UtcMillis)>,
    /// Connections lost when all was announced last.
    disconnects: u64,
}

impl Home {
    pub(super) fn new(config: &AgentConfig) -> Self {
        let section = &config.home_assistant;
        let mut outbox = Outbox::new(Instant::now());
        outbox.put_gateway();
        Self {
            names: Names::new(config),
            rules: Rules::new(section),
            status_topic: section.status_topic.clone(),
            retire_after_ms: section.retire_after.map(|after| after.as_ms()),
            outbox,
            sensors: Vec::new(),
            looked: None,
            disconnects: 0,
        }
    }

    /// Whether the message is Home Assistant's word of itself; when it has started, all is announced
    /// anew.
    pub(super) fn hears(&mut self, delivery: &Delivery) -> bool {
        if delivery.topic != self.status_topic {
            return false;
        }
        if *delivery.payload == *ONLINE.as_bytes() {
            info!("Home Assistant has started; announcing all sensors");
            self.announce_all();
        }
        true
    }

    fn announce_all(&mut self) {
        self.outbox.put_gateway();
        for (sensor, tracked) in numbered(&mut self.sensors) {
            if tracked.standing == Standing::Listed {
                self.outbox.put(sensor, Saying::Announcement);
            }
        }
    }

    /// A broker that lost its connection may have lost what it kept.
    fn watch_connection(&mut self, disconnects: u64) {
        if std::mem::replace(&mut self.disconnects, disconnects) != disconnects {
            self.announce_all();
        }
    }

    /// Takes a sensor's standing as it is now.
    fn stands(&mut self, sensor: SensorIx, standing: Standing) {
        let saying = match standing {
            Standing::Listed => Saying::Announcement,
            Standing::Retired | Standing::Denied => Saying::Removal,
        };
        let place = sensor.place();
        match self.sensors.get_mut(place) {
            Some(tracked) if tracked.standing == standing => return,
            Some(tracked) => tracked.standing = standing,
            // They are gone through in order.
            None => self.sensors.push(Tracked { standing, problem: Problem::default() }),
        }
        self.outbox.put(sensor, saying);
    }

    fn is_time_to_look(&mut self, now: UtcMillis) -> bool {
        let instant = Instant::now();
        let is_early = self.looked.is_some_and(|(looked, then)| {
            instant.duration_since(looked) < LOOK_EVERY && now.since(then).abs() < LOOK_EVERY_MS
        });
        if !is_early {
            self.looked = Some((instant, now));
        }
        !is_early
    }
}

fn numbered(sensors: &mut [Tracked]) -> impl Iterator<Item = (SensorIx, &mut Tracked)> {
    (0_u32..).map(SensorIx).zip(sensors)
}

impl Pipeline {
    /// Takes all sensors' figures from the store.
    pub(super) fn restore_figures(&mut self) -> Result<(), StoreError> {
        let days = self.store.local_days().into_iter().rev();
        let newest = self.store.newest_closed_day().map(|day| day.date);
        let closed: Vec<_> = days.filter(|day| Some(day.date) <= newest).take(LAST_DAYS).collect();
        for sensor in self.sensors() {
            self.note_figure(sensor);
            for day in &closed {
                let Some(record) = self.store.day_record(day.date, sensor)? else { continue };
                let usual = self.intake.collector.sensor(sensor).map(|state| &state.baseline);
                let set = record
                    .features
                    .as_ref()
                    .map(daywise_core::features::Features::set)
                    .unwrap_or_default();
                let last = LastDay::new(day, &record, |place| {
                    usual.and_then(|usual| usual.usual(set, day.date, place))
                });
                self.links.figures.close_day(sensor, last);
                break;
            }
        }
        Ok(())
    }

    /// Notes a sensor's newest figures for whoever asks.
    pub(super) fn note_figure(&self, sensor: SensorIx) {
        let state = self.intake.collector.sensor(sensor);
        let described = self.intake.routes.describe(sensor);
        if let (Some(state), Some(described)) = (state, described)
            && !self.intake.routes.is_denied(sensor)
        {
            let now = (state.last, state.live_score, state.silent_since());
            self.links.figures.update(sensor, described, now);
        }
    }

    /// A sensor's day is closed, or computed again.
    pub(super) fn note_last_day(&mut self, sensor: SensorIx, day: LastDay) {
        self.note_figure(sensor);
        if self.links.figures.close_day(sensor, day)
            && let Some(home) = &mut self.home
        {
            home.outbox.put(sensor, Saying::State);
        }
    }

    fn sensors(&self) -> impl Iterator<Item = SensorIx> + use<> {
        let count = self.intake.collector.sensor_count();
        (0..u32::try_from(count).unwrap_or(u32::MAX)).map(SensorIx)
    }

    /// Looks at all sensors: who is new, gone or back, and with whom there is a problem.
    pub(super) fn watch_problems(&mut self) {
        let now = self.intake.clock.now();
        let sensors = self.sensors();
        let Some(home) = &mut self.home else { return };
        if !self.intake.clock.is_trusted() || !home.is_time_to_look(now) {
            return;
        }
        for sensor in sensors {
            let Some(state) = self.intake.collector.sensor(sensor) else { continue };
            let silent_since = state.silent_since();
            let silent_ms = silent_since.map_or(0, |since| now.since(since));
            let standing = if self.intake.routes.is_denied(sensor) {
                Standing::Denied
            } else if home.retire_after_ms.is_some_and(|after| silent_ms >= after) {
                Standing::Retired
            } else {
                Standing::Listed
            };
            home.stands(sensor, standing);
            let seen = Evidence {
                score: state.live_score,
                day: self.links.figures.last_day(sensor),
                silent_since,
            };
            let place = sensor.place();
            let Some(tracked) = home.sensors.get_mut(place) else { continue };
            if tracked.standing == Standing::Listed
                && tracked.problem.observe(&home.rules, &seen, now)
            {
                home.outbox.put(sensor, Saying::State);
            }
        }
    }

    /// Says what is due, as much as may be said at once.
    pub(super) fn tell_home(&mut self) {
        self.watch_problems();
        let metrics = &self.links.metrics;
        let is_connected = metrics.get(Counter::Connected) > 0;
        let disconnects = metrics.get(Counter::Disconnects);
        let Some(home) = &mut self.home else { return };
        if !is_connected || !self.links.outputs.has_room() {
            return;
        }
        home.watch_connection(disconnects);
        if home.outbox.is_empty() {
            return;
        }
        for due in home.outbox.take(Instant::now()) {
            self.say(due);
        }
    }

    fn say(&self, due: Due) {
        let (Some(home), outputs) = (&self.home, &self.links.outputs) else { return };
        let names = &home.names;
        let (sensor, saying) = match due {
            Due::Gateway => {
                let topic = names.discovery_topic(&names.gateway_id());
                return keep(outputs, topic, Some(&gateway_document(names)));
            }
            Due::Sensor(sensor, saying) => (sensor, saying),
        };
        let Some((id, quantity)) = self.intake.routes.describe(sensor) else { return };
        let announcement = || names.discovery_topic(&names.sensor_id(id));
        if saying == Saying::Removal {
            let states = ["last_day", "problem"].map(|output| names.output_topic(id, output));
            let topics = [announcement()].into_iter().chain(states);
            return topics.for_each(|topic| keep(outputs, topic, None));
        }
        let place = sensor.place();
        let tracked = home.sensors.get(place);
        let Some(tracked) = tracked.filter(|it| it.standing == Standing::Listed) else { return };
        if saying == Saying::Announcement {
            keep(outputs, announcement(), Some(&sensor_document(names, id, quantity)));
        }
        self.note_figure(sensor);
        let Some(figure) = self.links.figures.get(sensor) else { return };
        if let Some(day) = &figure.day {
            let message = last_day_message(&figure, day);
            keep(outputs, names.output_topic(id, "last_day"), Some(&message));
        }
        if let Some(trouble) = tracked.problem.trouble() {
            let message = problem_message(&figure, trouble, &home.rules);
            keep(outputs, names.output_topic(id, "problem"), Some(&message));
        }
    }
}

/// Publishes what the broker is to keep, or to keep no more.
fn keep(outputs: &Outputs, topic: String, message: Option<&Value>) {
    let payload = message.map(|message| message.to_string().into_bytes()).unwrap_or_default();
    outputs.publish(topic, payload, QoS::AtLeastOnce, true);
}
