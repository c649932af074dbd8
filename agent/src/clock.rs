//! The only code that reads the operating system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use daywise_core::time::UtcMillis;

use crate::config::ClockSource;

/// What the time is now: the system's, or what the ticks of a replay say.
#[derive(Debug)]
pub struct Clock {
    source: ClockSource,
    newest: UtcMillis,
}

impl Clock {
    /// A clock from that source; `not_before` is the newest time known to be durable.
    #[must_use]
    pub fn new(source: ClockSource, not_before: UtcMillis) -> Self {
        Self { source, newest: not_before }
    }

    /// Takes a tick of a replay; an older one than the newest changes nothing.
    pub fn tick(&mut self, at: UtcMillis) {
        self.newest = self.newest.max(at);
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
