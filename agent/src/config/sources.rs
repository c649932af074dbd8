//! `[[sources]]` and `[sensors]`: which topics carry readings, in which format, and which of the
//! values there are sensors.

use std::collections::BTreeSet;

use daywise_core::{
    decode::{
        Format, discovery,
        fields::MAX_FIELDS,
        template::{Template, TemplateError},
    },
    quantity::Quantity,
};
use serde::{Deserialize, Deserializer};

/// `[[sources]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A topic, in which `+` skips a level and a last `#` the rest. With `{sensor}` (one level) or
    /// `{sensor#}` (one or more), and perhaps `{quantity}`, it says how the sensor is called;
    /// without, the messages' format does.
    pub topic: String,
    /// The payloads' format. Left out, it is told from the topic and the payload, but where the
    /// topic names the sensor, or `fields` are named: then it is a number, or JSON.
    #[serde(default)]
    pub format: Option<FormatChoice>,
    /// What all these sensors measure, where the topic does not say it.
    #[serde(default)]
    pub quantity: Option<Quantity>,
    /// For JSON payloads that hold several readings: the paths of their fields, such as
    /// `["co2", "object.temperature"]`. Each is a sensor of its own, `{sensor}/co2`.
    #[serde(default)]
    pub fields: Vec<String>,
    /// With `fields`: the path of the time; without it one of the usual names.
    #[serde(default)]
    pub time: Option<String>,
}

/// A format, or whichever a topic's messages are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FormatChoice {
    /// Told from the topic and the payload.
    #[default]
    Auto,
    /// This one.
    Is(Format),
}

impl<'de> Deserialize<'de> for FormatChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let name = String::deserialize(deserializer)?;
        if name == "auto" {
            return Ok(Self::Auto);
        }
        let all = || Format::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
        Format::from_name(&name).map(Self::Is).ok_or_else(|| {
            D::Error::custom(format_args!("unknown format `{name}`; known are auto, {}", all()))
        })
    }
}

/// How a source's messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// A number, or JSON with a value: the topic is the sensor.
    Value,
    /// JSON with the fields that are named.
    Fields,
    /// By a format's own decoder.
    Format(FormatChoice),
}

impl SourceConfig {
    /// The topics.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn template(&self) -> Result<Template, TemplateError> {
        match self.reads() {
            Reads::Value | Reads::Fields => Template::parse(&self.topic),
            Reads::Format(_) => Template::parse_topics(&self.topic),
        }
    }

    /// How its messages are read.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let names_sensor = self.topic.contains("{sensor");
        match self.format {
            _ if !self.fields.is_empty() => Reads::Fields,
            Some(choice) => Reads::Format(choice),
            None if names_sensor => Reads::Value,
            None => Reads::Format(FormatChoice::Auto),
        }
    }

    /// What is wrong although it parses.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(error) = self.template() {
            problems.push(format!("topic: {error}"));
        }
        if self.fields.len() > MAX_FIELDS {
            problems.push(format!("fields: at most {MAX_FIELDS}"));
        }
        let leaf = |path: &String| path.rsplit('.').next().map(str::to_owned);
        let leaves: BTreeSet<_> = self.fields.iter().map(leaf).collect();
        if leaves.len() < self.fields.len() {
            problems.push("fields: two end in the same name, which names their sensor".into());
        }
        if self.fields.is_empty() && self.time.is_some() {
            problems.push("time: only together with fields".into());
        }
        let is_json = matches!(self.format, None | Some(FormatChoice::Is(Format::Json)));
        if !self.fields.is_empty() && !is_json {
            problems.push("format: fields are those of JSON".into());
        }
        problems
    }
}

/// `[sensors]`: which of the values found are sensors. Patterns are of sensor ids, and `*` in them
/// stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SensorsConfig {
    /// Only these; empty means all.
    pub allow: Vec<String>,
    /// Not these, even if they are allowed.
    pub deny: Vec<String>,
    /// Whether a device's own health (battery, radio, up-time) is learnt like a sensor.
    pub health: bool,
    /// First level of the topics on which devices announce their values to Home Assistant: units,
    /// device classes and counters are learnt there.
    pub discovery_prefix: String,
    /// Whether ids that differ in nothing but capitals are one sensor: firmware updates change
    /// the case of topics.
    pub fold_case: bool,
}

impl Default for SensorsConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            health: false,
            discovery_prefix: discovery::PREFIX.into(),
            fold_case: true,
        }
    }
}

impl SensorsConfig {
    /// Whether the config leaves out this sensor.
    #[must_use]
    pub fn denies(&self, id: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, id));
        (!self.allow.is_empty() && !any(&self.allow)) || any(&self.deny)
    }
}

/// Whether `text` is `pattern` with something for each `*`. Linear but for the last star tried.
fn fits(pattern: &str, text: &str) -> bool {
    let (mut rest, mut parts) = (text, pattern.split('*'));
    let Some(first) = parts.next() else { return text.is_empty() };
    let Some(after) = rest.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return after.is_empty() };
    rest = after;
    for part in parts {
        // The first place is the best one: it leaves the most for the others.
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, does) in [
            ("kitchen/*", "kitchen/temperature", true),
            ("*/battery", "a/b/battery", true),
            ("*", "anything", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("exact", "exactly", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern, text), does, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_denied_is_so_even_if_it_is_allowed() {
        let config = SensorsConfig {
            allow: vec!["home/*".into()],
            deny: vec!["*/test".into()],
            ..SensorsConfig::default()
        };
        assert!(!config.denies("home/a"));
        assert!(config.denies("garden/a"));
        assert!(config.denies("home/test"));
        assert!(!SensorsConfig::default().denies("anything"));
    }

    #[test]
    fn a_sources_problems_are_named() {
        let parse = |text: &str| toml::from_str::<SourceConfig>(text).unwrap().problems();
        assert!(parse("topic = 'tele/+/SENSOR'").is_empty());
        assert!(parse("topic = 'a/{sensor}'\nformat = 'tasmota'").is_empty());
        assert_eq!(parse("topic = 'a/+'\nfields = ['x']").len(), 1, "which sensor?");
        assert_eq!(parse("topic = 'a/#/b'").len(), 1);
        assert_eq!(parse("topic = '{sensor}'\nfields = ['x']\nformat = 'senml_json'").len(), 1);
        let unknown = toml::from_str::<SourceConfig>("topic = 'a'\nformat = 'tasmotta'");
        assert!(unknown.unwrap_err().message().contains("zigbee2mqtt"));
    }
}
