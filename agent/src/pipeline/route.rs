//! From a topic to a sensor, remembered, so that the templates are matched once per topic.

use std::collections::HashMap;

use daywise_core::{
    decode::template::{Template, Unidentified},
    quantity::Quantity,
    reading::{Refusal, SensorIx},
};

use crate::config::AgentConfig;

/// Topics remembered per allowed sensor: several topics may lead to one sensor, and unknown
/// topics are remembered too. Beyond that a topic is matched each time.
const TOPICS_PER_SENSOR: usize = 4;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// It is a tick of the clock.
    Clock,
    /// To the sensor with this number in [`Routes`].
    Sensor(usize),
    /// Nowhere.
    Refused(Refusal),
}

#[derive(Debug)]
struct Known {
    id: String,
    quantity: Quantity,
    /// Given with the first reading that is kept, so that a topic full of nonsense takes no
    /// sensor's place.
    ix: Option<SensorIx>,
}

/// All topics and sensors seen.
#[derive(Debug)]
pub(super) struct Routes {
    templates: Vec<(Template, Option<Quantity>)>,
    clock_topic: Option<String>,
    topics: HashMap<String, Route>,
    max_topics: usize,
    numbers: HashMap<String, usize>,
    known: Vec<Known>,
    max_known: usize,
}

impl Routes {
    pub(super) fn new(config: &AgentConfig) -> Self {
        let parsed = config.sources.iter().filter_map(|source| {
            // The config was checked: every template parses.
            Template::parse(&source.topic).ok().map(|template| (template, source.quantity))
        });
        let max_topics = config.days.max_sensors.get().saturating_mul(TOPICS_PER_SENSOR);
        Self {
            templates: parsed.collect(),
            clock_topic: super::clock_topic(config).map(str::to_owned),
            topics: HashMap::new(),
            max_topics,
            numbers: HashMap::new(),
            known: Vec::new(),
            max_known: max_topics,
        }
    }

    /// Takes back a stored sensor.
    pub(super) fn add_sensor(&mut self, ix: SensorIx, id: String, quantity: Quantity) {
        self.numbers.insert(id.clone(), self.known.len());
        self.known.push(Known { id, quantity, ix: Some(ix) });
    }

    pub(super) fn find(&mut self, topic: &str) -> Route {
        if let Some(route) = self.topics.get(topic) {
            return *route;
        }
        let route = self.identify(topic);
        if self.topics.len() < self.max_topics {
            self.topics.insert(topic.to_owned(), route);
        }
        route
    }

    fn identify(&mut self, topic: &str) -> Route {
        if self.clock_topic.as_deref() == Some(topic) {
            return Route::Clock;
        }
        let mut reason = Refusal::UnknownTopic;
        let mut found = None;
        for (template, quantity) in &self.templates {
            match template.try_identify(topic, *quantity) {
                Ok(identified) => {
                    found = Some(identified);
                    break;
                }
                Err(Unidentified::Sensor(_)) => reason = Refusal::BadSensor,
                Err(Unidentified::Topic) => {}
            }
        }
        let Some((id, quantity)) = found else {
            return Route::Refused(reason);
        };
        if let Some(&number) = self.numbers.get(&id) {
            return Route::Sensor(number);
        }
        if self.known.len() >= self.max_known {
            return Route::Refused(Refusal::TooManySensors);
        }
        let number = self.known.len();
        self.numbers.insert(id.clone(), number);
        self.known.push(Known { id, quantity, ix: None });
        Route::Sensor(number)
    }

    pub(super) fn quantity(&self, number: usize) -> Quantity {
        self.known.get(number).map(|known| known.quantity).unwrap_or_default()
    }

    pub(super) fn sensor(&self, number: usize) -> Option<SensorIx> {
        self.known.get(number).and_then(|known| known.ix)
    }

    /// Gives a sensor its number in the store; returns its id and quantity.
    pub(super) fn bind(&mut self, number: usize, ix: SensorIx) -> (String, Quantity) {
        let known = self.known.get_mut(number);
        known.map_or_else(Default::default, |known| {
            known.ix = Some(ix);
            (known.id.clone(), known.quantity)
        })
    }

    /// Id and quantity of a stored sensor.
    pub(super) fn describe(&self, ix: SensorIx) -> Option<(&str, Quantity)> {
        // Sensors are numbered in the order they are bound, which is nearly that of `known`.
        let place = usize::try_from(ix.0).ok()?;
        let near = self.known.get(place).filter(|known| known.ix == Some(ix));
        let found = near.or_else(|| self.known.iter().find(|known| known.ix == Some(ix)));
        found.map(|known| (known.id.as_str(), known.quantity))
    }
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
            sources = [{{ topic = "site/+/{{sensor}}/{{quantity}}" }}, {{ topic = "raw/{{sensor#}}" }}]
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
        }
        assert_eq!(routes.known.len(), TOPICS_PER_SENSOR);
        assert!(routes.topics.len() <= TOPICS_PER_SENSOR);
        assert_eq!(routes.find("raw/new"), Route::Refused(Refusal::TooManySensors));
    }
}
