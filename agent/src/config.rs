//! The agent's configuration: one TOML file, every mistake reported at once.
//!
//! Unknown keys are refused, so a misspelt setting cannot silently keep its default. Defaults
//! live in the `Default` impls and nowhere else; `configs/agent.example.toml` is tested to load.

mod home_assistant;
mod sources;

use std::{
    fmt,
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
};

use daywise_core::{collect, duration::HumanDuration, features::FeatureSet};
use serde::Deserialize;

pub use self::{
    home_assistant::HomeAssistantConfig,
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

/// `[site]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SiteConfig {
    /// The IANA time zone whose calendar days are learnt, such as `Europe/Berlin`.
    pub timezone: String,
}

impl Default for SiteConfig {
    fn default() -> Self {
        Self { timezone: "UTC".into() }
    }
}

/// `[mqtt]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// `mqtt://host:port`.
    pub url: BrokerUrl,
    /// The session's name on the broker; `daywise-<gateway>` if left out. Keep it: the broker
    /// holds unacknowledged readings for this name while the agent is away.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Which version of MQTT is spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// The most messages that the broker sends before we have acknowledged one, so the most that
    /// it sends again after a power cut. Below what is held while the store is slow. In MQTT 5 the
    /// broker is told; in 3.1.1 only its own setting counts.
    #[serde(default = "default_receive_maximum")]
    pub receive_maximum: NonZeroU16,
}

fn default_receive_maximum() -> NonZeroU16 {
    const { NonZeroU16::new(1_000).unwrap() }
}

/// A version of MQTT, or whichever the broker speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// 5, or 3.1.1 where the broker does not speak it.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// 5 only.
    #[serde(rename = "5")]
    V5,
    /// 3.1.1 only.
    #[serde(rename = "3.1.1")]
    V311,
}

fn every_topic() -> Vec<SourceConfig> {
    vec![SourceConfig { topic: "#".into(), ..SourceConfig::default() }]
}

/// `[sync]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncConfig {
    /// `mqtt://host:port` of the sync server's broker.
    pub url: BrokerUrl,
    /// First levels of every sync topic.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// How fast days that waited while the server was away are sent, newest first, in KB a
    /// second. New ones are not held up by it.
    #[serde(default = "default_catch_up")]
    pub catch_up_kb_per_s: NonZeroU32,
}

fn default_prefix() -> String {
    "daywise/v1".into()
}

/// 1,000 sensors' weeks in a few minutes, and a gateway's uplink is still free for other things.
fn default_catch_up() -> NonZeroU32 {
    const { NonZeroU32::new(64).unwrap() }
}

/// `[days]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DaysConfig {
    /// How long past local midnight a day waits for late readings before it is first computed.
    /// Longer rides out longer outages and delays that day's prediction by as much.
    pub grace: HumanDuration,
    /// How long a closed day's readings are kept; until then late readings revise it.
    pub retention: HumanDuration,
    /// A reading stamped further ahead of the gateway's clock is refused.
    pub max_future: HumanDuration,
    /// How long late readings for a closed day are gathered before it is computed again.
    pub settle: HumanDuration,
    /// The most sensors; each takes up to 1.5 KB of memory. What the board is meant for, if left
    /// out.
    pub max_sensors: Option<NonZeroUsize>,
    /// The most readings of one sensor in one day; 90,000 is one a second.
    pub max_samples: u32,
}

impl Default for DaysConfig {
    fn default() -> Self {
        Self {
            grace: HumanDuration::from_secs(2 * 3_600),
            retention: HumanDuration::from_secs(7 * 86_400),
            max_future: HumanDuration::from_secs(300),
            settle: HumanDuration::from_secs(600),
            max_sensors: None,
            max_samples: 90_000,
        }
    }
}

/// `[features]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeaturesConfig {
    /// `profile/1` (default) or `moments/1`.
    pub set: FeatureSet,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Readings are written, made durable and acknowledged at least this often. Longer writes
    /// less to flash; nothing acknowledged is lost either way.
    pub commit_every: HumanDuration,
    /// The most readings that one commit takes; bounds the memory of a burst.
    pub max_batch: NonZeroUsize,
    /// When readings are acknowledged, and when they survive a power cut.
    pub durability: Durability,
    /// With `durability = "interval"`: readings survive a power cut after this long at the latest.
    pub flush_every: HumanDuration,
    /// The most that is to be written to flash in a day; commits are spaced out for it, up to two
    /// minutes. What the board allows, if left out.
    pub flash_mb_per_day: Option<NonZeroU64>,
    /// The store's page cache.
    pub cache_kb: u64,
    /// Nothing is written, and no reading acknowledged, while the file system has less free space
    /// than this. What is written at once is far less.
    pub reserve_mb: u64,
    /// The most that the store takes; then the oldest closed days' readings go first.
    pub max_mb: NonZeroU64,
    /// The most outbox entries that wait for the server; the oldest go first beyond that.
    pub max_outbox: NonZeroU64,
    /// The most KB that they may take; again the oldest go first.
    pub max_outbox_kb: NonZeroU64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            commit_every: HumanDuration::from_secs(10),
            max_batch: const { NonZeroUsize::new(8_192).unwrap() },
            durability: Durability::Acked,
            flush_every: HumanDuration::from_secs(60),
            flash_mb_per_day: None,
            cache_kb: 1_024,
            reserve_mb: 32,
            max_mb: const { NonZeroU64::new(512).unwrap() },
            max_outbox: const { NonZeroU64::new(100_000).unwrap() },
            max_outbox_kb: const { NonZeroU64::new(32 * 1_024).unwrap() },
        }
    }
}

/// When readings are acknowledged to their broker, and when they are made durable: each is a price
/// in flash writes for what a power cut may take. A crash of the agent alone takes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Acknowledged once durable: a power cut takes nothing.
    #[default]
    Acked,
    /// Acknowledged once written, durable every `flush_every`: a power cut takes that much at most.
    Interval,
    /// Acknowledged once written, durable when the journal is folded and when a day closes: a power
    /// cut takes what the kernel has not written by itself, up to some hours of readings.
    Relaxed,
}

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address of `/health`, `/status`, `/metrics` and `/influx`; port 0 takes a free one, written to
    /// `http.addr` in the state directory.
    pub listen: SocketAddr,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }
}

/// `[clock]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// Where the time comes from.
    pub source: ClockSource,
    /// With `source = "topic"`: the topic of the ticks, epoch milliseconds as decimal text. Put
    /// it under a source's own topic filter where the broker orders messages within a filter
    /// only.
    pub topic: String,
    /// When the system's clock is believed. Until it is, readings without a time of their own
    /// wait, and are dated once it is.
    pub trust: ClockTrust,
    /// This file's existence says that the system's clock is synchronized; systemd-timesyncd
    /// makes it.
    pub synchronized_file: PathBuf,
    /// So long after the boot only a synchronized clock is believed: without a battery-backed
    /// clock it starts at the hour of the last shutdown.
    pub boot_grace: HumanDuration,
    /// A step of the clock that nobody vouches for is believed when it has stood for so long.
    pub confirm: HumanDuration,
    /// The most readings that wait for the clock; each takes up to 40 bytes on disk.
    pub max_quarantined: u64,
    /// A device whose stamps are off by more than this, by the same amount again and again, has a
    /// wrong clock, which is reported.
    pub device_tolerance: HumanDuration,
    /// Whether such stamps are corrected.
    pub correct_devices: bool,
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self {
            source: ClockSource::System,
            topic: "daywise/clock".into(),
            trust: ClockTrust::Plausible,
            synchronized_file: "/run/systemd/timesync/synchronized".into(),
            boot_grace: HumanDuration::from_secs(120),
            confirm: HumanDuration::from_secs(600),
            max_quarantined: 100_000,
            device_tolerance: HumanDuration::from_secs(120),
            correct_devices: false,
        }
    }
}

/// When the system's clock is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockTrust {
    /// When nothing speaks against it: it is not earlier than what is known to have happened.
    Plausible,
    /// Only when the system says that it is synchronized.
    Synchronized,
}

/// Where the agent's time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockSource {
    /// The operating system's clock.
    System,
    /// Ticks on a topic: a recording is replayed in its own time.
    Topic,
}

/// `[outputs]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputsConfig {
    /// First level of the local output topics `{prefix}/{gateway}/{sensor}/live` and so on, as
    /// `docs/outputs.md` lists them.
    pub prefix: String,
    /// A sensor's live score is published at most this often.
    pub live_every: HumanDuration,
}

impl Default for OutputsConfig {
    fn default() -> Self {
        Self { prefix: "daywise".into(), live_every: HumanDuration::from_secs(10) }
    }
}

/// `mqtt://host:port`; the port is 1883 if left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BrokerUrl {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// The text is not a broker's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a broker's address such as mqtt://localhost:1883")]
pub struct NotABroker(String);

impl TryFrom<String> for BrokerUrl {
    type Error = NotABroker;

    fn try_from(text: String) -> Result<Self, NotABroker> {
        let wrong = || NotABroker(text.clone());
        let rest = text.strip_prefix("mqtt://").ok_or_else(wrong)?.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (rest, 1883),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        if host.is_empty() || !host.chars().all(plain) || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt://{}:{}", self.host, self.port)
    }
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
        assert_eq!(example.mqtt.protocol, Protocol::default());
        assert_eq!(example.mqtt.receive_maximum, default_receive_maximum());
        assert_eq!(example.days, DaysConfig::default());
        assert_eq!(example.features, FeaturesConfig::default());
        assert_eq!(example.store, StoreConfig::default());
        assert_eq!(example.http, HttpConfig::default());
        assert_eq!(example.clock, ClockConfig::default());
        assert_eq!(example.outputs, OutputsConfig::default());
        assert_eq!(example.home_assistant, HomeAssistantConfig::default());
        assert_eq!(example.sensors, SensorsConfig::default());
        let sync = example.sync.unwrap();
        assert_eq!(sync.prefix, default_prefix());
        assert_eq!(sync.catch_up_kb_per_s, default_catch_up());
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

    #[test]
    fn broker_addresses_are_checked() {
        let parse = |text: &str| BrokerUrl::try_from(text.to_owned()).map(|url| url.to_string());
        assert_eq!(parse("mqtt://broker.lan"), Ok("mqtt://broker.lan:1883".into()));
        assert_eq!(parse("mqtt://127.0.0.1:1884"), Ok("mqtt://127.0.0.1:1884".into()));
        for wrong in ["broker", "mqtt://", "mqtt://host:port", "mqtt://a b", "mqtt://h:0"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
