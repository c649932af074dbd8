//! From a topic to a sensor, remembered, so that the templates are matched once per topic.

use std::collections::HashMap;

use daywise_core::{
    decode::{
        Format, check_sensor_id, discovery,
        fields::{self, Fields},
        template::{Template, Unidentified},
    },
    device_clock::DeviceClock,
    quantity::Quantity,
    reading::{Refusal, SensorIx},
};

use crate::{
    config::{AgentConfig, ClockSource, FormatChoice, Reads, SensorsConfig},
    home_assistant::our_announcements,
};

/// Topics remembered per allowed sensor: several topics may lead to one sensor, and unknown
/// topics are remembered too. Beyond that a topic is matched each time.
const TOPICS_PER_SENSOR: usize = 4;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// It is a tick of the clock.
    Clock,
    /// It announces a device's values to Home Assistant.
    Discovery,
    /// To a source whose messages' format is to be found.
    Detect(usize),
    /// To a source, in this format; no message has shown yet that it is.
    Format(usize, Format),
    /// To a source, in this format, as it was before.
    Known(usize, Format),
    /// To the sensor with this number in [`Routes`].
    Sensor(usize),
    /// To several sensors, one for each field that the source names.
    Fields {
        /// The source.
        source: usize,
        /// The first one's number; the others follow it.
        first: usize,
    },
    /// Nowhere.
    Refused(Refusal),
}

#[derive(Debug)]
struct Known {
    id: String,
    quantity: Quantity,
    /// Of the device behind it.
    clock: DeviceClock,
    /// The boot, and the milliseconds since, of its newest reading in quarantine.
    held: Option<(u64, i64)>,
    /// Given with the first reading that is kept, so that a topic full of nonsense takes no
    /// sensor's place.
    ix: Option<SensorIx>,
    /// The config leaves it out.
    is_denied: bool,
}

/// A source as it is matched.
#[derive(Debug)]
struct Source {
    template: Template,
    reads: Reads,
    quantity: Option<Quantity>,
    fields: Vec<String>,
    time: Option<String>,
}

/// All topics and sensors seen.
#[derive(Debug)]
pub(crate) struct Routes {
    sources: Vec<Source>,
    clock_topic: Option<String>,
    /// First levels of the topics that the agent and the server publish to.
    own: Vec<String>,
    /// First level of what every gateway publishes.
    outputs: String,
    /// How the topics begin on which agents announce sensors to Home Assistant.
    announced: [String; 2],
    sensors: SensorsConfig,
    /// A source's messages are in their devices' formats.
    finds_formats: bool,
    discovery_prefix: String,
    topics: HashMap<String, Route>,
    max_topics: usize,
    numbers: HashMap<String, usize>,
    /// The same by the id in small letters.
    folded: HashMap<String, usize>,
    known: Vec<Known>,
    max_known: usize,
    /// Numbers of the sensors of topics with fields, a topic's beside each other.
    rows: Vec<usize>,
    /// Where the row of a source and its first sensor begins.
    rows_of: HashMap<(usize, usize), usize>,
    /// Numbers by the sensor's number in the store.
    by_ix: Vec<Option<usize>>,
}

impl Routes {
    pub(crate) fn new(config: &AgentConfig) -> Self {
        let parsed = config.sources.iter().filter_map(|source| {
            // The config was checked: every template parses.
            source.template().ok().map(|template| Source {
                template,
                reads: source.reads(),
                quantity: source.quantity,
                fields: source.fields.clone(),
                time: source.time.clone(),
            })
        });
        let max_topics = config.max_sensors().saturating_mul(TOPICS_PER_SENSOR);
        Self {
            sources: parsed.collect(),
            clock_topic: clock_topic(config).map(str::to_owned),
            own: own_topics(config),
            outputs: config.outputs.prefix.clone(),
            announced: [
                our_announcements(&config.sensors.discovery_prefix),
                our_announcements(&config.home_assistant.discovery_prefix),
            ],
            sensors: config.sensors.clone(),
            finds_formats: config.finds_formats(),
            discovery_prefix: config.sensors.discovery_prefix.clone(),
            topics: HashMap::new(),
            max_topics,
            numbers: HashMap::new(),
            folded: HashMap::new(),
            known: Vec::new(),
            max_known: max_topics,
            rows: Vec::new(),
            rows_of: HashMap::new(),
            by_ix: Vec::new(),
        }
    }

    /// Takes back a stored sensor.
    pub(crate) fn add_sensor(&mut self, ix: SensorIx, id: String, quantity: Quantity) {
        self.note(ix, self.known.len());
        self.add(id, quantity, Some(ix));
    }

    fn add(&mut self, id: String, quantity: Quantity, ix: Option<SensorIx>) -> usize {
        let number = self.known.len();
        self.numbers.insert(id.clone(), number);
        if self.sensors.fold_case {
            self.folded.entry(id.to_lowercase()).or_insert(number);
        }
        let is_denied = self.sensors.denies(&id);
        self.known.push(Known {
            id,
            quantity,
            clock: DeviceClock::default(),
            held: None,
            ix,
            is_denied,
        });
        number
    }

    pub(crate) fn find(&mut self, topic: &str) -> Route {
        if let Some(route) = self.topics.get(topic) {
            return *route;
        }
        let route = self.identify(topic);
        // What format it is in is known only once a message was read.
        if !matches!(route, Route::Detect(_) | Route::Format(..)) {
            self.put(topic, route);
        }
        route
    }

    fn put(&mut self, topic: &str, route: Route) {
        if self.topics.len() < self.max_topics {
            self.topics.insert(topic.to_owned(), route);
        }
    }

    /// A topic's messages are in this format.
    pub(super) fn remember(&mut self, topic: &str, source: usize, format: Format) {
        self.put(topic, Route::Known(source, format));
    }

    /// A topic's messages are never readings.
    pub(super) fn remember_nothing(&mut self, topic: &str) {
        self.put(topic, Route::Refused(Refusal::NotASensor));
    }

    /// What a topic's messages are is to be found anew.
    pub(super) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Whether a source's messages may be in several formats.
    pub(super) fn may_differ(&self, source: usize) -> bool {
        let reads = self.sources.get(source).map(|source| source.reads);
        reads == Some(Reads::Format(FormatChoice::Auto))
    }

    /// The device's name, where a source's topics say it.
    pub(super) fn device<'t>(&self, source: usize, topic: &'t str) -> Option<&'t str> {
        let template = &self.sources.get(source)?.template;
        let captured = template.names_sensor().then(|| template.matches(topic)).flatten()?;
        Some(captured.sensor)
    }

    /// Takes what is known of a sensor's quantity now; says whether that is more than before: what
    /// was generic, or the counter of what it was.
    pub(super) fn measures(&mut self, number: usize, source: usize, quantity: Quantity) -> bool {
        let Some(known) = self.known.get_mut(number) else { return false };
        let is_given = self.sources.get(source).is_some_and(|source| source.quantity.is_some());
        let is_more = known.quantity != quantity
            && !is_given
            && (known.quantity == Quantity::Generic || quantity.of_total() == Some(known.quantity));
        if is_more {
            known.quantity = quantity;
        }
        is_more
    }

    /// The number of the sensor that a message in a source names.
    pub(super) fn named_sensor(
        &mut self,
        id: &str,
        source: usize,
        quantity: Quantity,
    ) -> Result<usize, Refusal> {
        let given = self.sources.get(source).and_then(|source| source.quantity);
        self.number(id, given.unwrap_or(quantity))
    }

    fn identify(&mut self, topic: &str) -> Route {
        if self.clock_topic.as_deref() == Some(topic) {
            return Route::Clock;
        }
        if self.is_own(topic) || self.announced.iter().any(|start| topic.starts_with(start)) {
            return Route::Refused(Refusal::NotASensor);
        }
        if self.finds_formats && discovery::is_config(&self.discovery_prefix, topic) {
            return Route::Discovery;
        }
        let mut reason = Refusal::UnknownTopic;
        let mut found = None;
        for (place, source) in self.sources.iter().enumerate() {
            if let Reads::Format(choice) = source.reads {
                if source.template.matches(topic).is_none() {
                    continue;
                }
                if under(topic, &self.outputs) {
                    // Another gateway's.
                    return Route::Refused(Refusal::NotASensor);
                }
                return match choice {
                    FormatChoice::Auto => Route::Detect(place),
                    FormatChoice::Is(format) => Route::Format(place, format),
                };
            }
            match source.template.try_identify(topic, source.quantity) {
                Ok((id, quantity)) => {
                    found = Some((place, id, quantity));
                    break;
                }
                Err(Unidentified::Sensor(_)) => reason = Refusal::BadSensor,
                Err(Unidentified::Topic) => {}
            }
        }
        let Some((place, id, quantity)) = found else { return Route::Refused(reason) };
        let fields = self.sources.get(place).map(|source| source.fields.as_slice());
        let fields = fields.unwrap_or_default();
        if fields.is_empty() {
            return self.number(&id, quantity).map_or_else(Route::Refused, Route::Sensor);
        }
        let given = self.sources.get(place).and_then(|source| source.quantity);
        let ids: Vec<(String, Quantity)> = fields
            .iter()
            .map(|path| {
                let leaf = path.rsplit('.').next().unwrap_or(path);
                (format!("{id}/{leaf}"), given.unwrap_or_else(|| Quantity::infer(leaf)))
            })
            .collect();
        self.numbers_in_a_row(place, ids)
            .map_or_else(Route::Refused, |first| Route::Fields { source: place, first })
    }

    fn is_own(&self, topic: &str) -> bool {
        self.own.iter().any(|prefix| under(topic, prefix))
    }

    fn number(&mut self, id: &str, quantity: Quantity) -> Result<usize, Refusal> {
        let number = match self.numbers.get(id) {
            Some(&number) => number,
            None => self.new_number(id, quantity)?,
        };
        let is_denied = self.known.get(number).is_some_and(|known| known.is_denied);
        if is_denied { Err(Refusal::Denied) } else { Ok(number) }
    }

    fn new_number(&mut self, id: &str, quantity: Quantity) -> Result<usize, Refusal> {
        if check_sensor_id(id).is_err() {
            return Err(Refusal::BadSensor);
        }
        if self.sensors.fold_case
            && let Some(&number) = self.folded.get(&id.to_lowercase())
        {
            if self.numbers.len() < self.max_topics {
                self.numbers.insert(id.to_owned(), number);
            }
            return Ok(number);
        }
        if self.known.len() >= self.max_known {
            return Err(Refusal::TooManySensors);
        }
        Ok(self.add(id.to_owned(), quantity, None))
    }

    /// One list of numbers for each topic with fields, so that a route stays a few bytes.
    fn numbers_in_a_row(
        &mut self,
        source: usize,
        ids: Vec<(String, Quantity)>,
    ) -> Result<usize, Refusal> {
        let numbers: Result<Vec<usize>, Refusal> =
            ids.into_iter().map(|(id, quantity)| self.number(&id, quantity)).collect();
        let mut numbers = numbers?;
        // A source's fields of one device always lead to the same sensors.
        let device = numbers.first().map(|number| (source, *number));
        if let Some(&first) = device.and_then(|device| self.rows_of.get(&device)) {
            return Ok(first);
        }
        let first = self.rows.len();
        self.rows.append(&mut numbers);
        self.rows_of.extend(device.map(|device| (device, first)));
        Ok(first)
    }

    /// Reads the fields of a message to a source that names them.
    pub(crate) fn read_fields(&self, source: usize, payload: &[u8]) -> Result<Fields, Refusal> {
        let source = self.sources.get(source).ok_or(Refusal::UnknownTopic)?;
        fields::decode(payload, source.time.as_deref(), &source.fields)
    }

    /// The number of the sensor that a field leads to.
    pub(crate) fn of_field(&self, first: usize, place: usize) -> Option<usize> {
        self.rows.get(first.saturating_add(place)).copied()
    }

    pub(crate) fn quantity(&self, number: usize) -> Quantity {
        self.known.get(number).map(|known| known.quantity).unwrap_or_default()
    }

    /// The clock of the device behind a sensor.
    pub(crate) fn device_clock(&mut self, number: usize) -> Option<&mut DeviceClock> {
        self.known.get_mut(number).map(|known| &mut known.clock)
    }

    /// Sets readings of one sensor apart that arrived within a millisecond: each has its own time.
    pub(crate) fn apart(&mut self, number: usize, boot: u64, since_boot_ms: i64) -> i64 {
        let Some(known) = self.known.get_mut(number) else { return since_boot_ms };
        let last = known.held.filter(|(held_boot, _)| *held_boot == boot);
        let since = last.map_or(since_boot_ms, |(_, last)| since_boot_ms.max(last + 1));
        known.held = Some((boot, since));
        since
    }

    /// The number here of a stored sensor.
    pub(crate) fn number_of(&self, ix: SensorIx) -> Option<usize> {
        *self.by_ix.get(usize::try_from(ix.0).ok()?)?
    }

    fn note(&mut self, ix: SensorIx, number: usize) {
        let place = ix.place();
        if place >= self.by_ix.len() && place < usize::MAX {
            self.by_ix.resize(place + 1, None);
        }
        if let Some(noted) = self.by_ix.get_mut(place) {
            *noted = Some(number);
        }
    }

    /// Id and quantity of a sensor, stored or not.
    pub(crate) fn named(&self, number: usize) -> Option<(&str, Quantity)> {
        self.known.get(number).map(|known| (known.id.as_str(), known.quantity))
    }

    pub(crate) fn sensor(&self, number: usize) -> Option<SensorIx> {
        self.known.get(number).and_then(|known| known.ix)
    }

    /// Gives a sensor its number in the store; returns its id and quantity.
    pub(crate) fn bind(&mut self, number: usize, ix: SensorIx) -> (String, Quantity) {
        self.note(ix, number);
        let known = self.known.get_mut(number);
        known.map_or_else(Default::default, |known| {
            known.ix = Some(ix);
            (known.id.clone(), known.quantity)
        })
    }

    /// Whether the config leaves out a stored sensor.
    pub(crate) fn is_denied(&self, ix: SensorIx) -> bool {
        let known = self.number_of(ix).and_then(|number| self.known.get(number));
        known.is_some_and(|known| known.is_denied)
    }

    /// Id and quantity of a stored sensor.
    pub(crate) fn describe(&self, ix: SensorIx) -> Option<(&str, Quantity)> {
        self.number_of(ix).and_then(|number| self.named(number))
    }
}

/// The clock source decides whether ticks are listened to.
fn clock_topic(config: &AgentConfig) -> Option<&str> {
    (config.clock.source == ClockSource::Topic).then_some(config.clock.topic.as_str())
}

/// Whether a topic lies below that one.
fn under(topic: &str, prefix: &str) -> bool {
    topic.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// The topics of our own that may come back by a source that takes everything. Replies and ticks
/// are no readings.
fn own_topics(config: &AgentConfig) -> Vec<String> {
    let sync = config.sync.as_ref().map(|sync| sync.prefix.clone());
    sync.into_iter().chain([format!("{}/{}", config.outputs.prefix, config.gateway)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(max_sensors: usize) -> Routes {
        let text = format!(
            r#"
            gateway = "gw"
            state_dir = "/tmp"
            mqtt = {{ url = "mqtt://localhost" }}
            sources = [
                {{ topic = "site/+/{{sensor}}/{{quantity}}" }},
                {{ topic = "raw/{{sensor#}}" }},
                {{ topic = "plant/{{sensor}}/+", fields = ["air.co2", "lux"] }},
            ]
            days = {{ max_sensors = {max_sensors} }}
            clock = {{ source = "topic", topic = "raw/clock" }}
            "#
        );
        Routes::new(&AgentConfig::parse(&text).unwrap())
    }

    #[test]
    fn topics_lead_to_sensors_the_clock_or_nowhere() {
        let mut routes = routes(10);
        let boiler = routes.find("site/a/boiler/temperature");
        assert_eq!(boiler, Route::Sensor(0));
        assert_eq!(routes.quantity(0), Quantity::Temperature);
        assert_eq!(routes.find("site/b/boiler/temperature"), boiler, "the building is skipped");
        assert_eq!(routes.find("raw/clock"), Route::Clock);
        assert_eq!(routes.find("other/topic"), Route::Refused(Refusal::UnknownTopic));
        assert_eq!(routes.find("raw/a//b"), Route::Refused(Refusal::BadSensor));
    }

    #[test]
    fn a_sensor_is_numbered_when_it_is_bound() {
        let mut routes = routes(10);
        routes.find("raw/nonsense");
        routes.find("raw/kitchen/humidity");
        assert_eq!(routes.sensor(1), None);
        let bound = routes.bind(1, SensorIx(0));
        assert_eq!(bound, ("kitchen/humidity".to_owned(), Quantity::Humidity));
        assert_eq!(routes.sensor(1), Some(SensorIx(0)));
        assert_eq!(routes.describe(SensorIx(0)), Some(("kitchen/humidity", Quantity::Humidity)));
    }

    #[test]
    fn endless_new_topics_take_no_memory() {
        let mut routes = routes(1);
        for number in 0..100 {
            routes.find(&format!("raw/{number}"));
            routes.find(&format!("elsewhere/{number}"));
            routes.find(&format!("plant/a/{number}"));
        }
        assert_eq!(routes.known.len(), TOPICS_PER_SENSOR);
        assert!(routes.topics.len() <= TOPICS_PER_SENSOR);
        assert_eq!(routes.find("raw/new"), Route::Refused(Refusal::TooManySensors));
        assert!(routes.rows.len() <= 2 * TOPICS_PER_SENSOR);
    }

    #[test]
    fn a_source_with_fields_leads_to_a_sensor_for_each() {
        let mut routes = routes(10);
        let Route::Fields { source, first } = routes.find("plant/seven/co2") else {
            panic!("several sensors")
        };
        let read = routes.read_fields(source, br#"{"air":{"co2":400},"lux":3}"#).unwrap();
        assert_eq!(read.values[..], [(0, Ok(400.0)), (1, Ok(3.0))]);
        let lux = routes.of_field(first, 1).unwrap();
        assert_eq!(routes.named(lux), Some(("seven/lux", Quantity::Illuminance)));
        let co2 = routes.of_field(first, 0).unwrap();
        assert_eq!(routes.named(co2).unwrap().0, "seven/co2");
        assert_eq!(routes.find("plant/seven/other"), Route::Fields { source, first });
    }
}
