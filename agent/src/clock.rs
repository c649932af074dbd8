//! What the time is: the only code that reads the operating system's clocks.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use daywise_core::{
    clock_trust::{ClockEvent, Observation, Rules, TrustedClock},
    time::{DAY_MS, UtcMillis},
};
use rustix::time::{ClockId, clock_gettime};

use crate::config::{ClockConfig, ClockSource, ClockTrust};

/// 2026-11-01: no gateway that runs this program lives earlier. Raised with each release.
const NOT_BEFORE: UtcMillis = UtcMillis(1_793_491_200_000);
/// How far readings alone may move a replay's clock after a restart.
const MAX_HINT_MS: i64 = 2 * DAY_MS;
/// How often the system is asked whether its clock is synchronized.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// What the time is now, and whether that can be believed.
#[derive(Debug)]
pub struct Clock(Source);

#[derive(Debug)]
enum Source {
    System(System),
    Topic(Ticks),
}

/// The operating system's clocks.
#[derive(Debug)]
struct System {
    trusted: TrustedClock,
    boot: u64,
    synchronized_file: PathBuf,
    is_synchronized: bool,
    asked: Option<Instant>,
}

/// The ticks of a replay.
#[derive(Debug)]
struct Ticks {
    newest: UtcMillis,
    /// How long after the boot it came.
    since_boot_ms: i64,
    /// A tick came since the start.
    has_ticked: bool,
}

impl Clock {
    /// The clock of a config; `not_before` is the newest time known to be durable.
    #[must_use]
    pub fn new(config: &ClockConfig, not_before: UtcMillis) -> Self {
        if config.source == ClockSource::Topic {
            return Self::of_ticks(not_before);
        }
        let rules = Rules {
            needs_synchronized: config.trust == ClockTrust::Synchronized,
            boot_grace_ms: config.boot_grace.as_ms(),
            confirm_ms: config.confirm.as_ms(),
        };
        let mut clock = Self(Source::System(System {
            trusted: TrustedClock::new(rules, not_before.max(NOT_BEFORE)),
            boot: this_boot(),
            synchronized_file: config.synchronized_file.clone(),
            is_synchronized: false,
            asked: None,
        }));
        clock.refresh();
        clock
    }

    /// A clock that is told the time.
    #[must_use]
    pub fn of_ticks(not_before: UtcMillis) -> Self {
        let since_boot_ms = since_boot_ms();
        Self(Source::Topic(Ticks { newest: not_before, since_boot_ms, has_ticked: false }))
    }

    /// Looks at the system's clocks; says what changed.
    pub fn refresh(&mut self) -> Option<ClockEvent> {
        let Source::System(system) = &mut self.0 else { return None };
        if system.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            system.asked = Some(Instant::now());
            system.is_synchronized = system.synchronized_file.exists();
        }
        system.trusted.observe(Observation {
            wall: system_now(),
            since_boot_ms: since_boot_ms(),
            is_synchronized: system.is_synchronized,
        })
    }

    /// Takes a tick of a replay; an older one than the newest changes nothing.
    pub fn tick(&mut self, at: UtcMillis) {
        if let Source::Topic(ticks) = &mut self.0 {
            if at > ticks.newest {
                (ticks.newest, ticks.since_boot_ms) = (at, since_boot_ms());
            }
            ticks.has_ticked = true;
        }
    }

    /// A reading says that it is at least `at`. Heard only in a replay between a restart and the
    /// first tick: ticks before a crash are acknowledged and gone, and readings that were not
    /// acknowledged come again from just after the last durable one.
    pub fn hint(&mut self, at: UtcMillis) {
        if let Source::Topic(Ticks { newest, has_ticked: false, .. }) = &mut self.0
            && newest.0 > 0
            && at.since(*newest) <= MAX_HINT_MS
        {
            *newest = (*newest).max(at);
        }
    }

    /// The time as of the last [`Self::refresh`] or tick; while it cannot be believed, the best
    /// guess, which is not too late.
    #[must_use]
    pub fn now(&self) -> UtcMillis {
        match &self.0 {
            Source::System(system) => system.trusted.now(),
            Source::Topic(ticks) => ticks.newest,
        }
    }

    /// Whether a reading may be stamped with [`Self::now`].
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        match &self.0 {
            Source::System(system) => system.trusted.is_trusted(),
            Source::Topic(ticks) => ticks.has_ticked,
        }
    }

    /// A name for this boot, and the time since it in milliseconds: what can be said of an
    /// arrival while the time is not known. A replay has one endless boot.
    #[must_use]
    pub fn since_boot(&self) -> (u64, i64) {
        match &self.0 {
            Source::System(system) => (system.boot, system.trusted.since_boot_ms()),
            Source::Topic(_) => (0, since_boot_ms()),
        }
    }

    /// What the time was then, by the clock as it is believed now; `None` for another boot.
    #[must_use]
    pub fn at_boot(&self, boot: u64, since_boot_ms: i64) -> Option<UtcMillis> {
        match &self.0 {
            Source::System(system) => {
                (boot == system.boot).then(|| system.trusted.at_boot_ms(since_boot_ms))
            }
            // Real milliseconds are next to nothing in a replay, but keep the order of arrival.
            Source::Topic(ticks) => {
                Some(ticks.newest + since_boot_ms.saturating_sub(ticks.since_boot_ms))
            }
        }
    }
}

/// The operating system's time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
pub fn system_now() -> UtcMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Runs on while the machine sleeps, unlike the monotonic clock of the standard library.
fn since_boot_ms() -> i64 {
    let since = clock_gettime(ClockId::Boottime);
    since.tv_sec.saturating_mul(1_000).saturating_add(since.tv_nsec / 1_000_000)
}

/// A number that the kernel draws anew at each boot; 0 where it does not.
fn this_boot() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURABLE: UtcMillis = UtcMillis(1_710_000_000_000);

    #[test]
    fn a_replay_is_told_the_time_by_ticks_that_only_go_forward() {
        let mut clock = Clock::of_ticks(UtcMillis(0));
        clock.hint(DURABLE);
        assert_eq!(clock.now(), UtcMillis(0), "a fresh store knows nothing to go by");
        assert!(!clock.is_trusted());
        clock.tick(DURABLE);
        clock.tick(UtcMillis(5));
        clock.hint(DURABLE + 1_000);
        assert_eq!(clock.now(), DURABLE);
        assert!(clock.is_trusted());
    }

    #[test]
    fn a_moment_of_a_replay_has_one_time_however_often_it_is_asked_for() {
        let mut clock = Clock::of_ticks(UtcMillis(0));
        let (boot, since) = clock.since_boot();
        clock.tick(DURABLE);
        let first = clock.at_boot(boot, since).unwrap();
        assert!((0..1_000).contains(&DURABLE.since(first)), "{first:?}");
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(clock.at_boot(boot, since), Some(first));
        assert_eq!(clock.at_boot(boot, since + 1), Some(first + 1));
    }

    #[test]
    fn after_a_restart_readings_tell_the_time_until_a_tick_comes() {
        let mut clock = Clock::of_ticks(DURABLE);
        clock.hint(DURABLE + 3_600_000);
        assert_eq!(clock.now(), DURABLE + 3_600_000);
        clock.hint(DURABLE + 30 * DAY_MS);
        assert_eq!(clock.now(), DURABLE + 3_600_000, "an absurd time is not believed");
        clock.tick(DURABLE + 3_700_000);
        clock.hint(DURABLE + 7_200_000);
        assert_eq!(clock.now(), DURABLE + 3_700_000);
    }

    #[test]
    fn the_system_clock_is_not_believed_if_what_is_durable_is_later() {
        let folder = tempfile::tempdir().unwrap();
        let synchronized_file = folder.path().join("synchronized");
        let boot_grace = daywise_core::duration::HumanDuration::from_secs(0);
        let config = ClockConfig { synchronized_file, boot_grace, ..ClockConfig::default() };
        let behind = Clock::new(&config, system_now() + 60_000);
        assert!(!behind.is_trusted());
        assert!(behind.now() > system_now());
        let right = Clock::new(&config, DURABLE);
        assert!(right.is_trusted());
        let (boot, since) = right.since_boot();
        let ago = right.now().since(right.at_boot(boot, since - 5_000).unwrap());
        assert_eq!(ago, 5_000);
        assert_eq!(right.at_boot(boot + 1, since), None);
        std::fs::write(&config.synchronized_file, "").unwrap();
        assert!(Clock::new(&config, system_now() + 60_000).is_trusted(), "the system vouches");
    }
}
