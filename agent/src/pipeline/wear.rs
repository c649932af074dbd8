//! Watches what is written to flash, and spaces commits out when it is too much.

use std::time::{Duration, Instant};

use tracing::info;

use super::Pipeline;
use crate::{
    config::{AgentConfig, ClockSource},
    flash::{Projection, Throttle, written_bytes},
    health::Condition,
    metrics::Counter,
};

/// The kernel is asked this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const MB: u64 = 1_000_000;

/// What is known of the wear.
#[derive(Debug)]
pub(super) struct Wear {
    budget_per_day: u64,
    projection: Projection,
    throttle: Throttle,
    /// A replay lives through days in minutes; its readings are not to wait for it.
    is_replay: bool,
    looked_at: Option<Instant>,
}

impl Wear {
    pub(super) fn new(config: &AgentConfig) -> Self {
        let budget_per_day = config.flash_budget_mb_per_day().saturating_mul(MB);
        Self {
            budget_per_day,
            projection: Projection::default(),
            throttle: Throttle::new(budget_per_day, config.store.commit_every.0),
            is_replay: config.clock.source == ClockSource::Topic,
            looked_at: None,
        }
    }
}

impl Pipeline {
    /// Looks at what was written, if that was not done just now. In a replay it is done more
    /// often, as its days are shorter.
    pub(super) fn watch_wear(&mut self) {
        let every = if self.wear.is_replay { super::LOOK_EVERY } else { LOOK_EVERY };
        if self.wear.looked_at.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        self.wear.looked_at = Some(Instant::now());
        let Some(written) = written_bytes() else { return };
        let (now, wear) = (self.intake.clock.now(), &mut self.wear);
        wear.projection.handle(now, written);
        let per_day = wear.projection.per_day(now, written).unwrap_or(0);
        if !wear.is_replay && wear.throttle.handle(now, written) {
            let every = wear.throttle.interval();
            self.policy.set_longest(every);
            info!(?every, mb_per_day = per_day / MB, "commits are spaced out for the flash's sake");
        }
        let detail = wear.throttle.is_throttling().then(|| {
            format!(
                "more would be written than {} MB a day; readings are kept and acknowledged every {:.0?}",
                wear.budget_per_day / MB,
                wear.throttle.interval()
            )
        });
        self.links.health.set(Condition::FlashBudget, detail);
        let metrics = &self.links.metrics;
        metrics.set(Counter::FlashWritten, written);
        metrics.set(Counter::FlashPerDay, per_day);
        metrics.set(Counter::FlashBudget, wear.budget_per_day);
        let every = u64::try_from(wear.throttle.interval().as_millis()).unwrap_or(u64::MAX);
        metrics.set(Counter::CommitEvery, every);
    }
}
