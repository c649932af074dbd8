//! The server's configuration: one TOML file, every mistake reported at once.
//!
//! Each key is taken out of the parsed table by itself, so that one mistake does not hide the
//! next; what is left over is unknown and reported too. Defaults live in the `Default`
//! implementations only; `configs/server.example.toml` shows them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use daywise_core::{duration::HumanDuration, model::Scaling};
use serde::de::DeserializeOwned;

use crate::train::{Clusters, Options};

/// All settings of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where the server keeps its database and the addresses it listens on.
    pub state_dir: PathBuf,
    /// `[broker]`
    pub broker: BrokerConfig,
    /// `[sync]`: first levels of all sync topics; the same on gateways.
    pub prefix: String,
    /// `[database]`: the SQLite file.
    pub database: PathBuf,
    /// `[http]`: where the API listens; port 0 takes a free one.
    pub http_listen: SocketAddr,
    /// `[training]`
    pub training: TrainingConfig,
}

/// `[broker]`: which MQTT broker carries the sync topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerConfig {
    /// One inside this process, listening there; port 0 takes a free one.
    Embedded {
        /// Where gateways (and sensors, if they like) connect.
        listen: SocketAddr,
        /// How much of each topic filter's messages is kept for slow subscribers, in MB.
        backlog_mb: u32,
    },
    /// One that runs elsewhere.
    External {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// `[training]`: when and how models are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingConfig {
    /// How often to look whether there is enough new to train on.
    pub every: HumanDuration,
    /// Sensor-days that must be new since the last training.
    pub min_new_sensor_days: u32,
    /// How long nothing new may have arrived: gateways send a day's end in bursts.
    pub settle: HumanDuration,
    /// Days before the newest one that are trained on.
    pub window_days: u32,
    /// Clusters of a new family.
    pub k: Clusters,
    /// How the features of a new family are scaled.
    pub scale: Scaling,
    /// Decides every random choice.
    pub seed: u64,
}

impl TrainingConfig {
    /// What training needs of it.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { k: self.k, scaling: self.scale, seed: self.seed }
    }
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            every: HumanDuration::from_secs(24 * 3600),
            min_new_sensor_days: 50,
            settle: HumanDuration::from_secs(30),
            window_days: 90,
            k: Clusters::Auto,
            scale: Scaling::Shape,
            seed: 1,
        }
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self::Embedded { listen: ([127, 0, 0, 1], 1884).into(), backlog_mb: DEFAULT_BACKLOG_MB }
    }
}

/// A million messages of a hundred bytes with their topics are about 150 MB.
const DEFAULT_BACKLOG_MB: u32 = 240;
/// More would only move the problem into the machine's memory.
const MAX_BACKLOG_MB: u32 = 16_384;
/// Less would not hold the largest message a few times over.
const MIN_BACKLOG_MB: u32 = 16;
/// Ten years; beyond it a window is surely a slip.
const MAX_WINDOW_DAYS: u32 = 3_660;

impl Default for ServerConfig {
    fn default() -> Self {
        let state_dir = PathBuf::from("/var/lib/daywise-server");
        Self {
            database: state_dir.join("daywise.sqlite"),
            state_dir,
            broker: BrokerConfig::default(),
            prefix: "daywise/v1".into(),
            http_listen: ([127, 0, 0, 1], 8080).into(),
            training: TrainingConfig::default(),
        }
    }
}

/// What is wrong with a configuration: every mistake, each with its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<String>,
}

impl ConfigError {
    fn one(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

impl ServerConfig {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read or has mistakes; all of them are listed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::one(format!("cannot read {}: {error}", path.display()))
        })?;
        Self::parse(&text)
    }

    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// It has mistakes; all of them are listed.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table =
            text.parse().map_err(|error| ConfigError::one(format!("not TOML: {error}")))?;
        let mut reader = Reader { table, problems: Vec::new() };
        let config = read(&mut reader);
        reader.leftovers();
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems: reader.problems })
        }
    }
}

fn read(reader: &mut Reader) -> ServerConfig {
    let defaults = ServerConfig::default();
    let state_dir = reader.take("", "state_dir").unwrap_or(defaults.state_dir);
    if state_dir.as_os_str().is_empty() {
        reader.problem("state_dir", "is empty");
    }
    let prefix: String = reader.take("sync", "prefix").unwrap_or(defaults.prefix);
    let levels_are_plain = prefix.split('/').all(|level| !level.is_empty());
    if !levels_are_plain || prefix.contains(['+', '#', '$', '\0']) || prefix.len() > 128 {
        reader.problem("sync.prefix", "is not a plain topic such as \"daywise/v1\"");
    }
    let database = match reader.take::<String>("database", "url") {
        None => state_dir.join("daywise.sqlite"),
        Some(url) => match url.strip_prefix("sqlite:") {
            Some(path) if !path.trim_start_matches("//").is_empty() => {
                PathBuf::from(path.strip_prefix("//").unwrap_or(path))
            }
            _ => {
                reader.problem("database.url", "is not of the form \"sqlite:///path/to/file\"");
                PathBuf::new()
            }
        },
    };
    ServerConfig {
        broker: read_broker(reader),
        http_listen: reader.take("http", "listen").unwrap_or(defaults.http_listen),
        training: read_training(reader),
        state_dir,
        prefix,
        database,
    }
}

fn read_broker(reader: &mut Reader) -> BrokerConfig {
    let listen: Option<SocketAddr> = reader.take("broker", "listen");
    let backlog_mb = reader.take("broker", "backlog_mb").unwrap_or(DEFAULT_BACKLOG_MB);
    if !(MIN_BACKLOG_MB..=MAX_BACKLOG_MB).contains(&backlog_mb) {
        let range = format!("is not between {MIN_BACKLOG_MB} and {MAX_BACKLOG_MB}");
        reader.problem("broker.backlog_mb", &range);
    }
    let url: Option<String> = reader.take("broker", "url");
    match (listen, url) {
        (Some(_), Some(_)) => {
            reader.problem("broker", "has both `listen` and `url`; one says where the broker is");
            BrokerConfig::default()
        }
        (None, Some(url)) => parse_url(&url).unwrap_or_else(|| {
            reader.problem("broker.url", "is not of the form \"mqtt://host:port\"");
            BrokerConfig::default()
        }),
        (Some(listen), None) => BrokerConfig::Embedded { listen, backlog_mb },
        (None, None) => match BrokerConfig::default() {
            BrokerConfig::Embedded { listen, .. } => BrokerConfig::Embedded { listen, backlog_mb },
            external => external,
        },
    }
}

fn parse_url(url: &str) -> Option<BrokerConfig> {
    let rest = url.strip_prefix("mqtt://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        // The colon of `[::1]` belongs to the address.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (rest, 1883),
    };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains(['/', '@', ' ']) || port == 0 {
        return None;
    }
    Some(BrokerConfig::External { host: host.to_owned(), port })
}

fn read_training(reader: &mut Reader) -> TrainingConfig {
    let defaults = TrainingConfig::default();
    let section = "training";
    let every = reader.take(section, "every").unwrap_or(defaults.every);
    if every.as_ms() < 100 {
        reader.problem("training.every", "is below 100 ms");
    }
    let window_days = reader.take(section, "window_days").unwrap_or(defaults.window_days);
    if !(1..=MAX_WINDOW_DAYS).contains(&window_days) {
        let range = format!("is not between 1 and {MAX_WINDOW_DAYS}");
        reader.problem("training.window_days", &range);
    }
    let minimum = reader.take(section, "min_new_sensor_days");
    let minimum = minimum.unwrap_or(defaults.min_new_sensor_days);
    if minimum == 0 {
        reader.problem("training.min_new_sensor_days", "is 0: it would train on nothing new");
    }
    TrainingConfig {
        every,
        min_new_sensor_days: minimum,
        settle: reader.take(section, "settle").unwrap_or(defaults.settle),
        window_days,
        k: reader.take(section, "k").unwrap_or(defaults.k),
        scale: reader.take(section, "scale").unwrap_or(defaults.scale),
        seed: reader.take(section, "seed").unwrap_or(defaults.seed),
    }
}

/// Takes keys out of a table and gathers what is wrong with them.
struct Reader {
    table: toml::Table,
    problems: Vec<String>,
}

impl Reader {
    fn problem(&mut self, key: &str, problem: &str) {
        self.problems.push(format!("{key}: {problem}"));
    }

    /// The value of `key` in `section` (the top level if empty); `None` if it is absent or
    /// wrong, and then the problem is noted.
    fn take<T: DeserializeOwned>(&mut self, section: &str, key: &str) -> Option<T> {
        let value = if section.is_empty() {
            self.table.remove(key)
        } else {
            match self.table.get_mut(section) {
                Some(toml::Value::Table(table)) => table.remove(key),
                // A section that is no table stays and is reported with the leftovers.
                _ => None,
            }
        };
        match value?.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                let at =
                    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
                self.problem(&at, error.to_string().trim());
                None
            }
        }
    }

    fn leftovers(&mut self) {
        const SECTIONS: [&str; 5] = ["broker", "sync", "database", "http", "training"];
        for (key, value) in std::mem::take(&mut self.table) {
            match value {
                toml::Value::Table(table) if SECTIONS.contains(&key.as_str()) => {
                    for unknown in table.keys() {
                        self.problem(&format!("{key}.{unknown}"), "is not a known setting");
                    }
                }
                _ if SECTIONS.contains(&key.as_str()) => self.problem(&key, "is not a section"),
                _ => self.problem(&key, "is not a known setting"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_shows_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/server.example.toml");
        assert_eq!(ServerConfig::load(&path), Ok(ServerConfig::default()));
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(ServerConfig::parse(""), Ok(ServerConfig::default()));
    }

    #[test]
    fn three_mistakes_are_three_problems() {
        let text =
            "state_dri = \"/x\"\n[training]\nevery = \"often\"\nk = 0\n[broker]\nlisten = 5\n";
        let problems = ServerConfig::parse(text).unwrap_err().problems;
        assert_eq!(problems.len(), 4, "{problems:?}");
        for key in ["state_dri:", "training.every:", "training.k:", "broker.listen:"] {
            assert!(problems.iter().any(|p| p.starts_with(key)), "{key} in {problems:?}");
        }
    }

    #[test]
    fn a_broker_is_either_inside_or_outside() {
        let external = |host: &str, port| BrokerConfig::External { host: host.into(), port };
        assert_eq!(parse_url("mqtt://broker.lan:1999"), Some(external("broker.lan", 1999)));
        assert_eq!(parse_url("mqtt://broker.lan"), Some(external("broker.lan", 1883)));
        assert_eq!(parse_url("mqtt://[::1]:1883/"), Some(external("::1", 1883)));
        for wrong in
            ["broker:1883", "mqtts://x", "mqtt://", "mqtt://a:b", "mqtt://u@h", "mqtt://h:0"]
        {
            assert_eq!(parse_url(wrong), None, "{wrong}");
        }
        let both = "[broker]\nlisten = \"127.0.0.1:1\"\nurl = \"mqtt://x\"\n";
        assert!(ServerConfig::parse(both).is_err());
    }

    #[test]
    fn clusters_are_auto_or_a_number() {
        let k = |text: &str| {
            ServerConfig::parse(&format!("[training]\nk = {text}")).map(|c| c.training.k)
        };
        assert_eq!(k("\"auto\""), Ok(Clusters::Auto));
        assert_eq!(k("4"), Ok(Clusters::Exactly(4)));
        for wrong in ["-1", "65", "\"many\"", "1.5"] {
            assert!(k(wrong).is_err(), "{wrong}");
        }
    }
}
