//! `[home_assistant]`: whether and how sensors are announced to Home Assistant.

use daywise_core::{decode::discovery, duration::HumanDuration};
use serde::Deserialize;

/// `[home_assistant]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HomeAssistantConfig {
    /// Whether sensors are announced.
    pub enabled: bool,
    /// First levels of the discovery topics, as Home Assistant's MQTT integration is set.
    pub discovery_prefix: String,
    /// Where Home Assistant says that it is there, its birth message; then all is announced anew.
    pub status_topic: String,
    /// There is a problem with a sensor whose live score stays above this,
    pub problem_score: f32,
    /// for so long; it is over when the score has been below for as long.
    pub problem_after: HumanDuration,
    /// And with one whose last day's novelty is above this.
    pub problem_novelty: f32,
    /// Or whose last day's score, by its own days and the model, is above this.
    pub problem_day_score: f32,
    /// A sensor that has been silent for so long is removed; it comes back when it reports. Left
    /// out, it stays.
    pub retire_after: Option<HumanDuration>,
}

impl Default for HomeAssistantConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            discovery_prefix: discovery::PREFIX.into(),
            status_topic: "homeassistant/status".into(),
            problem_score: 0.99,
            problem_after: HumanDuration::from_secs(600),
            problem_novelty: 0.999,
            problem_day_score: 0.995,
            retire_after: None,
        }
    }
}

impl HomeAssistantConfig {
    /// What is wrong although it parses.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let is_topic = |topic: &str| !topic.is_empty() && !topic.contains(['+', '#']);
        let topics =
            [("discovery_prefix", &self.discovery_prefix), ("status_topic", &self.status_topic)];
        for (name, topic) in topics {
            if !is_topic(topic) {
                problems.push(format!("{name}: must be topic levels without wildcards"));
            }
        }
        let shares = [
            ("problem_score", self.problem_score),
            ("problem_novelty", self.problem_novelty),
            ("problem_day_score", self.problem_day_score),
        ];
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                problems.push(format!("{name}: from 0 to 1"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        let parse = |text: &str| toml::from_str::<HomeAssistantConfig>(text).unwrap().problems();
        assert!(parse("enabled = true\nretire_after = '30d'").is_empty());
        assert_eq!(parse("problem_score = 1.5\nproblem_novelty = -0.1").len(), 2);
        assert_eq!(parse("discovery_prefix = ''\nstatus_topic = 'a/+'").len(), 2);
        assert!(toml::from_str::<HomeAssistantConfig>("retire = '30d'").is_err());
    }
}
