//! The sections that are plain settings, with their defaults.

use std::{
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use daywise_core::{duration::HumanDuration, features::FeatureSet};
use serde::Deserialize;

use super::BrokerUrl;
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
