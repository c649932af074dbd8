//! The agent's configuration: one TOML file, every mistake reported at once.
//!
//! Unknown keys are refused, so a misspelt setting cannot silently keep its default. Defaults
//! live in the `Default` impls and nowhere else; `configs/agent.example.toml` is tested to load.

mod broker_url;
mod home_assistant;
mod sections;
mod sources;

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
};

use daywise_core::collect;
use serde::Deserialize;

pub use self::{
    broker_url::{BrokerUrl, NotABroker},
    home_assistant::HomeAssistantConfig,
    sections::{
        ClockConfig, ClockSource, ClockTrust, DaysConfig, Durability, FeaturesConfig, HttpConfig,
        MqttConfig, OutputsConfig, Protocol, SiteConfig, StoreConfig, SyncConfig,
    },
    sources::{FormatChoice, Reads, SensorsConfig, SourceConfig},
};
use crate::{board, calendar::Calendar, mqtt::MAX_HELD};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// This gateway's name in topics and on the server: letters, digits, `-`, `_`, `.`.
    pub gateway: String,
    /// The board's name, as in `boards/`: limits that are left out here are the board's. Shown to
    /// the server.
    #[serde(default)]
    pub board: String,
    /// Where the store, the model slots and the HTTP address are kept.
    pub state_dir: PathBuf,
    /// Where the sensors are.
    #[serde(default)]
    pub site: SiteConfig,
    /// The broker that the sensors publish to.
    pub mqtt: MqttConfig,
    /// Which topics carry readings; left out, all that the broker has, each in its own format.
    #[serde(default = "every_topic")]
    pub sources: Vec<SourceConfig>,
    /// Which of what is found there is a sensor.
    #[serde(default)]
    pub sensors: SensorsConfig,
    /// The sync server's broker; without it the agent works alone.
    #[serde(default)]
    pub sync: Option<SyncConfig>,
    /// How readings become days.
    #[serde(default)]
    pub days: DaysConfig,
    /// What a day is reduced to.
    #[serde(default)]
    pub features: FeaturesConfig,
    /// What is written to flash, and when.
    #[serde(default)]
    pub store: StoreConfig,
    /// The local HTTP server.
    #[serde(default)]
    pub http: HttpConfig,
    /// What the time is.
    #[serde(default)]
    pub clock: ClockConfig,
    /// What is published locally.
    #[serde(default)]
    pub outputs: OutputsConfig,
    /// What Home Assistant is told.
    #[serde(default)]
    pub home_assistant: HomeAssistantConfig,
}

fn every_topic() -> Vec<SourceConfig> {
    vec![SourceConfig { topic: "#".into(), ..SourceConfig::default() }]
}

/// Why a config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not the TOML that is expected, or values contradict; every problem found.
    #[error("{} in {}:{}", count(problems.len()), path.display(), list(problems))]
    Problems {
        /// Which file.
        path: PathBuf,
        /// One line each.
        problems: Vec<String>,
    },
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 problem".into() } else { format!("{problems} problems") }
}

fn list(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("\n  - {problem}")).collect()
}

impl AgentConfig {
    /// Reads and checks a config file.
    ///
    /// # Errors
    /// The file cannot be read, or every problem in it at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text).map_err(|problems| ConfigError::Problems { path: path.into(), problems })
    }

    /// Parses and checks a config's text.
    ///
    /// # Errors
    /// Every problem, one line each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| vec![error.to_string()])?;
        let mut problems = section_problems(&table);
        match table.try_into::<Self>() {
            Ok(config) => {
                problems.extend(config.problems());
                if problems.is_empty() { Ok(config) } else { Err(problems) }
            }
            Err(error) => {
                let message = error.message().to_owned();
                if !problems.iter().any(|problem| problem.ends_with(&message)) {
                    problems.push(message);
                }
                Err(problems)
            }
        }
    }

    /// What is wrong although it parses.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.gateway.is_empty() || self.gateway.len() > 64 || !self.gateway.chars().all(named) {
            problems.push(format!(
                "gateway: `{}` is not a name of 1 to 64 letters, digits, `-`, `_` and `.`",
                self.gateway
            ));
        }
        if let Err(error) = Calendar::new(&self.site.timezone) {
            problems.push(format!("site.timezone: {error}"));
        }
        if self.sources.is_empty() {
            problems.push("sources: at least one is needed, or none is written".into());
        }
        for (index, source) in self.sources.iter().enumerate() {
            let found = source.problems().into_iter();
            problems.extend(found.map(|problem| format!("sources[{index}].{problem}")));
        }
        let prefixes = [("outputs.prefix", Some(&self.outputs.prefix))];
        let sync = ("sync.prefix", self.sync.as_ref().map(|sync| &sync.prefix));
        let discovery = ("sensors.discovery_prefix", Some(&self.sensors.discovery_prefix));
        for (name, prefix) in prefixes.into_iter().chain([sync, discovery]) {
            if prefix.is_some_and(|p| p.is_empty() || p.contains(['+', '#'])) {
                problems.push(format!("{name}: must be topic levels without wildcards"));
            }
        }
        let home = self.home_assistant.problems().into_iter();
        problems.extend(home.map(|problem| format!("home_assistant.{problem}")));
        if usize::from(self.mqtt.receive_maximum.get()) >= MAX_HELD {
            problems.push(format!("mqtt.receive_maximum: must be below {MAX_HELD}"));
        }
        if self.days.max_samples < 2 {
            problems.push("days.max_samples: at least 2, a day needs a spread".into());
        }
        problems
    }

    /// Whether a source's messages are in their devices' own formats.
    #[must_use]
    pub fn finds_formats(&self) -> bool {
        self.sources.iter().any(|source| matches!(source.reads(), Reads::Format(_)))
    }

    /// What the board allows; generic figures for one that is not known.
    #[must_use]
    pub fn budget(&self) -> board::Budget {
        board::named(&self.board).map_or(board::UNKNOWN, |board| board.budget)
    }

    /// The most sensors.
    #[must_use]
    pub fn max_sensors(&self) -> usize {
        let boards = || usize::try_from(self.budget().sensors).unwrap_or(usize::MAX);
        self.days.max_sensors.map_or_else(boards, NonZeroUsize::get)
    }

    /// The most that is to be written to flash in a day.
    #[must_use]
    pub fn flash_budget_mb_per_day(&self) -> u64 {
        let boards = || u64::from(self.budget().flash_writes_mb_per_day);
        self.store.flash_mb_per_day.map_or_else(boards, NonZeroU64::get)
    }

    /// The core's limits.
    #[must_use]
    pub fn limits(&self) -> collect::Limits {
        collect::Limits {
            grace_ms: self.days.grace.as_ms(),
            retention_ms: self.days.retention.as_ms(),
            max_future_ms: self.days.max_future.as_ms(),
            settle_ms: self.days.settle.as_ms(),
            max_sensors: self.max_sensors(),
            max_samples_per_day: self.days.max_samples,
        }
    }

    /// How many days' readings are kept.
    #[must_use]
    pub fn retention_days(&self) -> i32 {
        i32::try_from(self.days.retention.0.as_secs().div_ceil(86_400)).unwrap_or(i32::MAX)
    }

    /// Where the store is.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.state_dir.join("store")
    }
}

/// Checks each section on its own, because a parser stops at its first mistake.
fn section_problems(table: &toml::Table) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, value) in table {
        let outcome = match name.as_str() {
            "site" => parse_section::<SiteConfig>(value),
            "mqtt" => parse_section::<MqttConfig>(value),
            "sync" => parse_section::<SyncConfig>(value),
            "days" => parse_section::<DaysConfig>(value),
            "features" => parse_section::<FeaturesConfig>(value),
            "store" => parse_section::<StoreConfig>(value),
            "http" => parse_section::<HttpConfig>(value),
            "clock" => parse_section::<ClockConfig>(value),
            "outputs" => parse_section::<OutputsConfig>(value),
            "home_assistant" => parse_section::<HomeAssistantConfig>(value),
            "sources" => parse_section::<Vec<SourceConfig>>(value),
            "sensors" => parse_section::<SensorsConfig>(value),
            "gateway" | "board" | "state_dir" => parse_section::<String>(value),
            _ => Err(vec!["unknown key".to_owned()]),
        };
        for problem in outcome.err().unwrap_or_default() {
            problems.push(format!("{name}: {problem}"));
        }
    }
    for needed in ["gateway", "state_dir", "mqtt"] {
        if !table.contains_key(needed) {
            problems.push(format!("missing field `{needed}`"));
        }
    }
    problems
}

/// Parses one section; where it fails, takes the offending keys out one by one to find them all.
fn parse_section<'de, T: Deserialize<'de>>(value: &toml::Value) -> Result<(), Vec<String>> {
    let whole = match value.clone().try_into::<T>() {
        Ok(_) => return Ok(()),
        Err(error) => error.message().to_owned(),
    };
    let Some(section) = value.as_table() else { return Err(vec![whole]) };
    let mut problems = Vec::new();
    for (key, item) in section {
        let mut without = section.clone();
        without.remove(key);
        let passes = toml::Value::Table(without).try_into::<T>().is_ok();
        let alone = toml::Table::from_iter([(key.clone(), item.clone())]);
        let error = toml::Value::Table(alone).try_into::<T>().err();
        if let Some(error) = error
            && (passes || !error.message().starts_with("missing field"))
        {
            problems.push(format!("{key}: {}", error.message()));
        }
    }
    if problems.is_empty() { Err(vec![whole]) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        gateway = "gw-1"
        state_dir = "/var/lib/daywise"
        mqtt = { url = "mqtt://localhost" }
        sources = [{ topic = "site/+/{sensor}/{quantity}" }]
    "#;

    #[test]
    fn three_lines_are_enough() {
        let without = SMALL.lines().filter(|line| !line.contains("sources"));
        let config = AgentConfig::parse(&without.collect::<Vec<_>>().join("\n")).unwrap();
        assert_eq!(config.sources, every_topic());
        assert_eq!(config.sources[0].reads(), Reads::Format(FormatChoice::Auto));
        assert_eq!(config.mqtt.url.port, 1883);
        assert_eq!(config.days, DaysConfig::default());
    }

    #[test]
    fn limits_are_the_boards_unless_the_config_says_otherwise() {
        let of = |more: &str| {
            let config = AgentConfig::parse(&format!("{more}\n{SMALL}")).unwrap();
            (config.max_sensors(), config.flash_budget_mb_per_day())
        };
        assert_eq!(of("board = 'raspberry-pi-zero-2w'"), (1_000, 150));
        assert_eq!(of("board = 'raspberry-pi-5'").0, 5_000);
        assert_eq!(of(""), (2_000, 150), "no board");
        assert_eq!(of("board = 'abacus'"), (2_000, 150), "one that is not known");
        let own = "board = 'raspberry-pi-zero-2w'\ndays = { max_sensors = 7 }\n\
                   store = { flash_mb_per_day = 9 }";
        assert_eq!(of(own), (7, 9));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = r#"
            gateway = "gw/1"
            state_dir = "/var/lib/daywise"
            colour = "green"
            [site]
            timezone = "Europe/Berlin"
            [mqtt]
            url = "http://localhost"
            [[sources]]
            topic = "site/{sensor}"
            [days]
            grace = "two hours"
            retension = "7d"
        "#;
        let problems = AgentConfig::parse(text).unwrap_err();
        for expected in ["colour", "mqtt: url", "grace", "retension"] {
            assert!(problems.iter().any(|p| p.contains(expected)), "{expected}: {problems:#?}");
        }
        let semantic = SMALL.replace("gw-1", "gw/1").replace("{sensor}", "{sensors}")
            + "[site]\ntimezone = \"Europe/Berlinn\"";
        assert_eq!(AgentConfig::parse(&semantic).unwrap_err().len(), 3);
    }

    #[test]
    fn the_example_shows_the_defaults() {
        let text = include_str!("../../configs/agent.example.toml");
        let example = AgentConfig::parse(text).unwrap();
        let small = format!("{SMALL}\nsync = {{ url = 'mqtt://server' }}");
        let small = AgentConfig::parse(&small).unwrap();
        assert_eq!(example.mqtt.protocol, small.mqtt.protocol);
        assert_eq!(example.mqtt.receive_maximum, small.mqtt.receive_maximum);
        assert_eq!(example.days, DaysConfig::default());
        assert_eq!(example.features, FeaturesConfig::default());
        assert_eq!(example.store, StoreConfig::default());
        assert_eq!(example.http, HttpConfig::default());
        assert_eq!(example.clock, ClockConfig::default());
        assert_eq!(example.outputs, OutputsConfig::default());
        assert_eq!(example.home_assistant, HomeAssistantConfig::default());
        assert_eq!(example.sensors, SensorsConfig::default());
        let (shown, sync) = (example.sync.unwrap(), small.sync.unwrap());
        assert_eq!(shown.prefix, sync.prefix);
        assert_eq!(shown.catch_up_kb_per_s, sync.catch_up_kb_per_s);
    }

    #[test]
    fn the_window_is_neither_empty_nor_larger_than_what_is_held() {
        let with = |window: u32| {
            let url = r#"url = "mqtt://localhost""#;
            SMALL.replace(url, &format!("{url}, receive_maximum = {window}"))
        };
        assert!(AgentConfig::parse(&with(9_999)).is_ok());
        for wrong in [0, 10_000, 65_536] {
            let problems = AgentConfig::parse(&with(wrong)).unwrap_err();
            assert!(problems[0].contains("receive_maximum"), "{problems:#?}");
        }
    }
}
