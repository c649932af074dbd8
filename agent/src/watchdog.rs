//! Notices a pipeline that does not move any more, and keeps systemd informed.
//!
//! The pipeline beats; a task looks at the beat. While it is fresh, systemd's watchdog is told so,
//! with a line about the agent's health. When it is not, the agent says so in `/health` and in its
//! log and tells the watchdog nothing more, which has the agent started again (`WatchdogSec=` in
//! the unit). Waiting for a store that cannot be written is no standstill: the pipeline beats on.
//!
//! Without systemd the messages go nowhere and the rest is the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::health::{Condition, Health};

/// A pipeline unheard of for this long is stuck, where the unit does not say otherwise. A flush to
/// a worn SD card may take half a minute.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// So many looks in that time.
const LOOKS: u32 = 4;

/// The pipeline's last sign of life.
#[derive(Debug)]
pub struct Heartbeat {
    since: Instant,
    /// Milliseconds from `since`.
    last: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { since: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Heartbeat {
    /// A sign of life.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    fn beat_at(&self, now: Instant) {
        let age = now.saturating_duration_since(self.since).as_millis();
        self.last.store(u64::try_from(age).unwrap_or(u64::MAX), Relaxed);
    }

    /// The time since the last one.
    fn age(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last.load(Relaxed));
        now.saturating_duration_since(self.since).saturating_sub(last)
    }
}

/// Looks at the heartbeat.
#[derive(Debug)]
pub struct Watchdog {
    heartbeat: Arc<Heartbeat>,
    health: Arc<Health>,
    stuck_after: Duration,
}

impl Watchdog {
    /// One as patient as the unit's `WatchdogSec=`.
    #[must_use]
    pub fn new(heartbeat: Arc<Heartbeat>, health: Arc<Health>) -> Self {
        let stuck_after = sd_notify::watchdog_enabled().unwrap_or(STUCK_AFTER);
        Self { heartbeat, health, stuck_after }
    }

    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let every = (self.stuck_after / LOOKS).max(Duration::from_millis(10));
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            if self.look(Instant::now()) {
                tell(&[NotifyState::Watchdog, NotifyState::Status(&self.health.summary())]);
            } else {
                tell(&[NotifyState::Status(&self.health.summary())]);
            }
        }
    }

    /// Whether the pipeline lives.
    fn look(&self, now: Instant) -> bool {
        let age = self.heartbeat.age(now);
        let is_stuck = age >= self.stuck_after;
        let detail =
            is_stuck.then(|| format!("nothing heard of the pipeline for {} s", age.as_secs()));
        self.health.set(Condition::PipelineStuck, detail);
        !is_stuck
    }
}

/// Tells systemd that the agent is up.
pub fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells systemd that the agent is on its way out.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_does_not_move_is_noticed_and_one_that_moves_again_too() {
        let (heartbeat, health) = (Arc::new(Heartbeat::default()), Arc::new(Health::default()));
        let stuck_after = Duration::from_secs(60);
        let watchdog = Watchdog {
            heartbeat: Arc::clone(&heartbeat),
            health: Arc::clone(&health),
            stuck_after,
        };
        let start = heartbeat.since;
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        heartbeat.beat_at(at(10));
        assert!(watchdog.look(at(69)));
        assert!(!health.lasts(Condition::PipelineStuck));
        assert!(!watchdog.look(at(70)));
        assert_eq!(health.summary(), "failed: nothing heard of the pipeline for 60 s");
        assert!(!watchdog.look(at(90)));
        assert_eq!(health.summary(), "failed: nothing heard of the pipeline for 80 s");
        heartbeat.beat_at(at(91));
        assert!(watchdog.look(at(92)));
        assert_eq!(health.summary(), "ok");
    }

    #[test]
    fn a_pipeline_that_never_moved_is_stuck_too() {
        let (heartbeat, health) = (Arc::new(Heartbeat::default()), Arc::new(Health::default()));
        let stuck_after = Duration::from_secs(60);
        let start = heartbeat.since;
        let watchdog = Watchdog { heartbeat, health, stuck_after };
        assert!(watchdog.look(start + Duration::from_secs(59)));
        assert!(!watchdog.look(start + stuck_after));
    }
}
