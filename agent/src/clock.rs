//! The only code that reads the operating system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use daywise_core::time::{DAY_MS, UtcMillis};

use crate::config::ClockSource;

/// What the time is now: the system's, or what the ticks of a replay say.
#[derive(Debug)]
pub struct Clock {
    source: ClockSource,
    newest: UtcMillis,
    /// A tick came since the start.
    has_ticked: bool,
}

/// How far readings alone may move a replay's clock after a restart.
const MAX_HINT_MS: i64 = 2 * DAY_MS;

impl Clock {
    /// A clock from that source; `not_before` is the newest time known to be durable.
    #[must_use]
    pub fn new(source: ClockSource, not_before: UtcMillis) -> Self {
        Self { source, newest: not_before, has_ticked: false }
    }

    /// Takes a tick of a replay; an older one than the newest changes nothing.
    pub fn tick(&mut self, at: UtcMillis) {
        self.newest = self.newest.max(at);
        self.has_ticked = true;
    }

    /// A reading says that it is at least `at`. Heard only in a replay between a restart and the
    /// first tick: ticks before a crash are acknowledged and gone, and readings that were not
    /// acknowledged come again from just after the last durable one.
    pub fn hint(&mut self, at: UtcMillis) {
        let is_lost = self.source == ClockSource::Topic && !self.has_ticked;
        if is_lost && self.newest.0 > 0 && at.since(self.newest) <= MAX_HINT_MS {
            self.newest = self.newest.max(at);
        }
    }

    /// The time; never earlier than it was said before.
    pub fn now(&mut self) -> UtcMillis {
        if self.source == ClockSource::System {
            self.newest = self.newest.max(system_now());
        }
        self.newest
    }
}

/// The operating system's time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
pub fn system_now() -> UtcMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURABLE: UtcMillis = UtcMillis(1_710_000_000_000);

    #[test]
    fn a_replay_is_told_the_time_by_ticks_that_only_go_forward() {
        let mut clock = Clock::new(ClockSource::Topic, UtcMillis(0));
        clock.hint(DURABLE);
        assert_eq!(clock.now(), UtcMillis(0), "a fresh store knows nothing to go by");
        clock.tick(DURABLE);
        clock.tick(UtcMillis(5));
        clock.hint(DURABLE + 1_000);
        assert_eq!(clock.now(), DURABLE);
    }

    #[test]
    fn after_a_restart_readings_tell_the_time_until_a_tick_comes() {
        let mut clock = Clock::new(ClockSource::Topic, DURABLE);
        clock.hint(DURABLE + 3_600_000);
        assert_eq!(clock.now(), DURABLE + 3_600_000);
        clock.hint(DURABLE + 30 * DAY_MS);
        assert_eq!(clock.now(), DURABLE + 3_600_000, "an absurd time is not believed");
        clock.tick(DURABLE + 3_700_000);
        clock.hint(DURABLE + 7_200_000);
        assert_eq!(clock.now(), DURABLE + 3_700_000);
    }

    #[test]
    fn the_system_clock_never_goes_back() {
        let ahead = system_now() + 60_000;
        assert_eq!(Clock::new(ClockSource::System, ahead).now(), ahead);
    }
}
