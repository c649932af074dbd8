//! When what was written is made durable.

use std::time::{Duration, Instant};

use crate::config::{Durability, StoreConfig};

/// Knows since when something may be lost in a power cut.
#[derive(Debug)]
pub(super) struct Flushing {
    durability: Durability,
    every: Duration,
    since: Option<Instant>,
}

impl Flushing {
    pub(super) fn new(config: &StoreConfig) -> Self {
        Self { durability: config.durability, every: config.flush_every.0, since: None }
    }

    /// Something was written.
    pub(super) fn handle_write(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// All that was written is durable.
    pub(super) fn handle_flush(&mut self) {
        self.since = None;
    }

    /// Whether to make it durable now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| match self.durability {
            Durability::Acked => true,
            Durability::Interval => now.saturating_duration_since(since) >= self.every,
            // The folds and the closing of days see to it.
            Durability::Relaxed => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use daywise_core::duration::HumanDuration;

    use super::*;

    fn flushing(durability: Durability) -> (Flushing, Instant) {
        let flush_every = HumanDuration::from_secs(60);
        let config = StoreConfig { durability, flush_every, ..StoreConfig::default() };
        (Flushing::new(&config), Instant::now())
    }

    #[test]
    fn acked_is_durable_with_each_commit() {
        let (mut flushing, now) = flushing(Durability::Acked);
        assert!(!flushing.is_due(now), "nothing was written");
        flushing.handle_write(now);
        assert!(flushing.is_due(now));
        flushing.handle_flush();
        assert!(!flushing.is_due(now));
    }

    #[test]
    fn interval_is_durable_a_minute_after_the_first_write() {
        let (mut flushing, start) = flushing(Durability::Interval);
        for second in [0, 10, 59] {
            let now = start + Duration::from_secs(second);
            flushing.handle_write(now);
            assert!(!flushing.is_due(now), "{second}");
        }
        assert!(flushing.is_due(start + Duration::from_secs(60)));
        flushing.handle_flush();
        flushing.handle_write(start + Duration::from_secs(61));
        assert!(!flushing.is_due(start + Duration::from_secs(120)));
        assert!(flushing.is_due(start + Duration::from_secs(121)));
    }

    #[test]
    fn relaxed_is_never_due_by_itself() {
        let (mut flushing, now) = flushing(Durability::Relaxed);
        flushing.handle_write(now);
        assert!(!flushing.is_due(now + Duration::from_secs(86_400)));
    }
}
