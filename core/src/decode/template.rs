//! Topic templates: which topics carry readings, and which of their levels name the sensor.
//!
//! | level | matches | gives |
//! |---|---|---|
//! | `{sensor}` | one level | the sensor's name |
//! | `{sensor#}` | one or more levels | the sensor's name, slashes included |
//! | `{quantity}` | one level | the quantity, and the end of the sensor's id |
//! | `+` | one level | nothing |
//! | `#` at the end | the rest, even nothing | nothing |
//! | other text | itself | nothing |
//!
//! `site/+/{sensor}/{quantity}` on `site/a/boiler/temp` gives the sensor `boiler/temp`, a
//! temperature. Topics that begin with `$` belong to the broker and never match.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

use crate::quantity::Quantity;

/// The longest sensor id, in bytes. Ids go into topics, store keys and memory once per sensor.
pub const MAX_SENSOR_ID_BYTES: usize = 128;
/// The longest template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 1024;

/// Why text is not a topic template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Empty, or longer than [`MAX_TEMPLATE_BYTES`].
    #[error("a topic template has 1 to {MAX_TEMPLATE_BYTES} bytes, this one {found}")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// It begins with `$`.
    #[error("topics that begin with `$` belong to the broker")]
    Reserved,
    /// A level that is neither plain text nor one of the placeholders.
    #[error(
        "level `{level}` is not understood: a placeholder ({{sensor}}, {{sensor#}}, {{quantity}}, +, #) takes a whole level"
    )]
    Level {
        /// The level.
        level: String,
    },
    /// No level gives the sensor.
    #[error("no level is `{{sensor}}` or `{{sensor#}}`")]
    NoSensor,
    /// Something that may be there once is there twice.
    #[error("`{{{name}}}` is there more than once")]
    Repeated {
        /// What it is.
        name: &'static str,
    },
    /// `#` before the end.
    #[error("`#` must be the last level")]
    RestNotLast,
    /// `{sensor#}` and `#` together: where one ends is anyone's guess.
    #[error("`{{sensor#}}` and `#` cannot be in one template")]
    TwoOpenEnds,
}

/// Why text cannot be a sensor's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SensorIdError {
    /// Nothing, or nothing between two slashes.
    #[error("the sensor id has an empty part")]
    Empty,
    /// Longer than [`MAX_SENSOR_ID_BYTES`].
    #[error("the sensor id has {found} bytes, more than {MAX_SENSOR_ID_BYTES}")]
    TooLong {
        /// How many it has.
        found: usize,
    },
    /// A control character, `+` or `#`, which no topic can carry.
    #[error("the sensor id contains {found:?}")]
    Character {
        /// The first such character.
        found: char,
    },
}

/// Checks that `id` can name a sensor in topics, files and the store.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_sensor_id(id: &str) -> Result<(), SensorIdError> {
    if id.len() > MAX_SENSOR_ID_BYTES {
        return Err(SensorIdError::TooLong { found: id.len() });
    }
    if let Some(found) = id.chars().find(|c| c.is_control() || matches!(c, '+' | '#')) {
        return Err(SensorIdError::Character { found });
    }
    if id.split('/').any(|part| part.trim().is_empty()) {
        return Err(SensorIdError::Empty);
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Text(String),
    Skip,
    Sensor,
    Quantity,
}

/// What is between the fixed levels at the front and those at the back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Middle {
    /// Nothing: the template is `front` alone.
    None,
    /// `{sensor#}`.
    Sensor,
    /// `#`, with nothing behind it.
    Rest,
}

/// A parsed topic template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    filter: String,
    front: Vec<Level>,
    middle: Middle,
    back: Vec<Level>,
}

/// What a topic's levels say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured<'t> {
    /// The sensor's name; not checked yet.
    pub sensor: &'t str,
    /// The level at `{quantity}`, if the template has one.
    pub quantity: Option<&'t str>,
}

/// Why a topic names no sensor under a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// The topic is none of the template's.
    #[error("the topic does not match")]
    Topic,
    /// It matches, but what it names cannot be a sensor.
    #[error("the topic names no usable sensor")]
    Sensor(#[source] SensorIdError),
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Self::parse_topics(text)?;
        if template.names_sensor() { Ok(template) } else { Err(TemplateError::NoSensor) }
    }

    /// Parses a template that need not name the sensor: the messages' format does.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse_topics(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() || text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::Length { found: text.len() });
        }
        if text.starts_with('$') {
            return Err(TemplateError::Reserved);
        }
        let (mut front, mut back, mut middle) = (Vec::new(), Vec::new(), Middle::None);
        let (mut sensors, mut quantities) = (0, 0);
        for part in text.split('/') {
            if middle == Middle::Rest {
                return Err(TemplateError::RestNotLast);
            }
            let level = match part {
                "{sensor#}" => {
                    sensors += 1;
                    middle = Middle::Sensor;
                    continue;
                }
                "#" if middle == Middle::Sensor => return Err(TemplateError::TwoOpenEnds),
                "#" => {
                    middle = Middle::Rest;
                    continue;
                }
                "{sensor}" => {
                    sensors += 1;
                    Level::Sensor
                }
                "{quantity}" => {
                    quantities += 1;
                    Level::Quantity
                }
                "+" => Level::Skip,
                plain if is_plain(plain) => Level::Text(plain.to_owned()),
                other => return Err(TemplateError::Level { level: other.to_owned() }),
            };
            if middle == Middle::None { &mut front } else { &mut back }.push(level);
        }
        match (sensors, quantities) {
            (0, 1..) => return Err(TemplateError::NoSensor),
            (2.., _) => return Err(TemplateError::Repeated { name: "sensor" }),
            (_, 2..) => return Err(TemplateError::Repeated { name: "quantity" }),
            _ => {}
        }
        let filter = filter_of(&front, middle);
        Ok(Self { text: text.to_string(), filter, front, middle, back })
    }

    /// Whether a topic says which sensor it is of.
    #[must_use]
    pub fn names_sensor(&self) -> bool {
        self.middle == Middle::Sensor
            || self.front.iter().chain(&self.back).any(|level| *level == Level::Sensor)
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The MQTT topic filter to subscribe to. It may let more topics through than match.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// What `topic` says, or `None` if it does not match.
    #[must_use]
    pub fn matches<'t>(&self, topic: &'t str) -> Option<Captured<'t>> {
        if topic.starts_with('$') {
            return None;
        }
        let mut captured = Captured::default();
        // `None` once the last level is taken: `a/` has one level more than `a`.
        let mut rest = Some(topic);
        for level in &self.front {
            let (part, tail) = match rest?.split_once('/') {
                Some((part, tail)) => (part, Some(tail)),
                None => (rest?, None),
            };
            captured.take(level, part)?;
            rest = tail;
        }
        if self.middle == Middle::Rest {
            return Some(captured);
        }
        for level in self.back.iter().rev() {
            let (head, part) = rest?.rsplit_once('/')?;
            captured.take(level, part)?;
            rest = Some(head);
        }
        match (self.middle, rest) {
            (Middle::None, None) => Some(captured),
            (Middle::Sensor, Some(sensor)) => Some(Captured { sensor, ..captured }),
            _ => None,
        }
    }

    /// The sensor's id and quantity for `topic`; the quantity is `given` if the source states
    /// one, else what the topic says, else what the id's last part says.
    ///
    /// # Errors
    /// The topic does not match, or what it names cannot be a sensor.
    pub fn try_identify(
        &self,
        topic: &str,
        given: Option<Quantity>,
    ) -> Result<(String, Quantity), Unidentified> {
        let captured = self.matches(topic).ok_or(Unidentified::Topic)?;
        let mut id = captured.sensor.to_owned();
        if let Some(quantity) = captured.quantity {
            id.push('/');
            id.push_str(quantity);
        }
        check_sensor_id(&id).map_err(Unidentified::Sensor)?;
        // The quantity's level is the end of the id, so this reads it from there too.
        let quantity = given.unwrap_or_else(|| Quantity::infer(&id));
        Ok((id, quantity))
    }

    /// As [`Self::try_identify`], without the reason.
    #[must_use]
    pub fn identify(&self, topic: &str, given: Option<Quantity>) -> Option<(String, Quantity)> {
        self.try_identify(topic, given).ok()
    }
}

impl<'t> Captured<'t> {
    fn take(&mut self, level: &Level, part: &'t str) -> Option<()> {
        match level {
            Level::Text(text) => return (text == part).then_some(()),
            Level::Skip => {}
            Level::Sensor => self.sensor = part,
            Level::Quantity => self.quantity = Some(part),
        }
        Some(())
    }
}

fn is_plain(level: &str) -> bool {
    !level.chars().any(|c| c.is_control() || matches!(c, '+' | '#' | '{' | '}'))
}

fn filter_of(front: &[Level], middle: Middle) -> String {
    let mut parts: Vec<&str> = front
        .iter()
        .map(|level| match level {
            Level::Text(text) => text.as_str(),
            _ => "+",
        })
        .collect();
    if middle != Middle::None {
        parts.push("#");
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::prelude::*;

    use super::*;

    fn identify(template: &str, topic: &str) -> Option<(String, Quantity)> {
        Template::parse(template).unwrap().identify(topic, None)
    }

    fn named(id: &str, quantity: Quantity) -> Option<(String, Quantity)> {
        Some((id.to_owned(), quantity))
    }

    #[test]
    fn levels_name_sensor_and_quantity() {
        let template = "site/+/{sensor}/{quantity}";
        let boiler = named("boiler/temp", Quantity::Temperature);
        assert_eq!(identify(template, "site/a/boiler/temp"), boiler);
        assert_eq!(identify(template, "site/a/b/ph"), named("b/ph", Quantity::Generic));
        for other in ["site/a/boiler", "site/a/boiler/temp/x", "sites/a/boiler/temp", "site/a"] {
            assert_eq!(identify(template, other), None, "{other}");
        }
        let stated = Template::parse("s/{sensor}/{quantity}").unwrap();
        assert_eq!(
            stated.identify("s/a/temp", Some(Quantity::Power)),
            named("a/temp", Quantity::Power),
        );
    }

    #[test]
    fn an_open_sensor_takes_one_or_more_levels() {
        let intel = named("intel/mote06/light", Quantity::Illuminance);
        assert_eq!(identify("readings/{sensor#}", "readings/intel/mote06/light"), intel);
        assert_eq!(identify("readings/{sensor#}", "readings/x"), named("x", Quantity::Generic));
        assert_eq!(identify("readings/{sensor#}", "readings"), None);
        assert_eq!(identify("readings/{sensor#}", "readings/"), None);
        let middle = "a/{sensor#}/{quantity}/state";
        assert_eq!(identify(middle, "a/x/y/rh/state"), named("x/y/rh", Quantity::Humidity));
        assert_eq!(identify(middle, "a/rh/state"), None);
        assert_eq!(identify(middle, "a/x/rh/status"), None);
    }

    #[test]
    fn the_filter_lets_every_matching_topic_through() {
        for (template, filter) in [
            ("site/+/{sensor}/{quantity}", "site/+/+/+"),
            ("readings/{sensor#}", "readings/#"),
            ("a/{sensor#}/{quantity}/state", "a/#"),
            ("{sensor}/#", "+/#"),
            ("/x/{sensor}", "/x/+"),
        ] {
            assert_eq!(Template::parse(template).unwrap().filter(), filter);
        }
    }

    #[test]
    fn a_trailing_hash_skips_the_rest_even_if_there_is_none() {
        assert_eq!(identify("z/{sensor}/#", "z/a/b/c"), named("a", Quantity::Generic));
        assert_eq!(identify("z/{sensor}/#", "z/a"), named("a", Quantity::Generic));
        assert_eq!(identify("z/{sensor}/#", "z"), None);
    }

    #[test]
    fn topics_of_the_broker_never_match() {
        assert_eq!(identify("{sensor#}", "$SYS/broker/load"), None);
        assert_eq!(identify("{sensor}/+", "$SYS/uptime"), None);
        assert_eq!(Template::parse("$SYS/{sensor}"), Err(TemplateError::Reserved));
    }

    #[test]
    fn each_mistake_in_a_template_is_named() {
        let error = |text: &str| Template::parse(text).unwrap_err();
        let level = |level: &str| TemplateError::Level { level: level.to_owned() };
        assert_eq!(error(""), TemplateError::Length { found: 0 });
        assert_eq!(error(&"x".repeat(2000)), TemplateError::Length { found: 2000 });
        assert_eq!(error("a/b/+"), TemplateError::NoSensor);
        assert_eq!(error("{sensor}/{sensor#}"), TemplateError::Repeated { name: "sensor" });
        assert_eq!(
            error("{sensor}/{quantity}/{quantity}"),
            TemplateError::Repeated { name: "quantity" }
        );
        assert_eq!(error("#/{sensor}"), TemplateError::RestNotLast);
        assert_eq!(error("{sensor#}/#"), TemplateError::TwoOpenEnds);
        assert_eq!(error("a/x{sensor}"), level("x{sensor}"));
        assert_eq!(error("a/{senser}"), level("{senser}"));
        assert_eq!(error("a+/{sensor}"), level("a+"));
        assert_eq!(error("a\n/{sensor}"), level("a\n"));
    }

    #[test]
    fn an_unusable_sensor_id_is_refused_with_its_reason() {
        let template = Template::parse("r/{sensor#}").unwrap();
        let refused = |topic: &str| match template.try_identify(topic, None) {
            Err(Unidentified::Sensor(error)) => error,
            other => panic!("{topic}: {other:?}"),
        };
        let longest = "s".repeat(MAX_SENSOR_ID_BYTES);
        assert!(template.identify(&format!("r/{longest}"), None).is_some());
        assert_eq!(refused(&format!("r/{longest}s")), SensorIdError::TooLong { found: 129 });
        assert_eq!(refused("r/a\u{7}b"), SensorIdError::Character { found: '\u{7}' });
        assert_eq!(refused("r/a+b"), SensorIdError::Character { found: '+' });
        assert_eq!(refused("r/a//b"), SensorIdError::Empty);
        assert_eq!(refused("r/"), SensorIdError::Empty);
        assert_eq!(template.try_identify("x/a", None), Err(Unidentified::Topic));
    }

    proptest! {
        #[test]
        fn no_template_or_topic_panics(
            template in prop::collection::vec(
                prop::sample::select(&["a", "", "+", "#", "{sensor}", "{sensor#}", "{quantity}", "x{"][..]),
                0..6,
            ),
            topic in "[a$/+#]{0,12}|.{0,20}",
        ) {
            if let Ok(template) = Template::parse(&template.join("/"))
                && let Some((id, _)) = template.identify(&topic, None)
            {
                prop_assert_eq!(check_sensor_id(&id), Ok(()));
            }
        }
    }
}
