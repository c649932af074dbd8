//! How long to wait before the next try to connect: rumqttc itself tries again at once.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that held this long ends the back-off; one that did not may fail again at once.
const STABLE: Duration = Duration::from_secs(60);

/// Doubles from a quarter of a second to 30 seconds, each with a random part, so that a fleet
/// does not come back in step.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    connected_at: Option<Instant>,
    random: RandomState,
}

impl Backoff {
    /// There is a connection now.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// There is none, or no more: the wait before the next try.
    pub fn handle_failure(&mut self, now: Instant) -> Duration {
        if self.connected_at.take().is_some_and(|at| now.duration_since(at) >= STABLE) {
            self.reset();
        }
        self.next_delay()
    }

    /// The next failure starts from the beginning.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: between half and all of the doubled time.
    pub fn next_delay(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // The standard library's per-process random keys are random enough for this.
        let share = self.random.hash_one(self.failures) % 1_000;
        whole / 2 + (whole / 2).mul_f64(f64::from(u32::try_from(share).unwrap_or(0)) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_minute_and_stay_there() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let waits: Vec<Duration> = (0..12).map(|_| backoff.handle_failure(now)).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits[5] > waits[0]);
        assert!(waits[8..].iter().all(|wait| *wait >= LONGEST / 2 && *wait <= LONGEST));
    }

    #[test]
    fn a_connection_that_held_for_a_minute_ends_them() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        for _ in 0..12 {
            backoff.handle_failure(start);
        }
        backoff.handle_connected(start);
        let short = backoff.handle_failure(start + STABLE - Duration::from_millis(1));
        assert!(short >= LONGEST / 2, "{short:?}");
        let without = backoff.handle_failure(start + 10 * STABLE);
        assert!(without >= LONGEST / 2, "time alone is no connection: {without:?}");
        backoff.handle_connected(start);
        assert!(backoff.handle_failure(start + STABLE) <= FIRST);
    }

    #[test]
    fn a_fleet_does_not_come_back_in_step() {
        let now = Instant::now();
        let waits: std::collections::BTreeSet<Duration> =
            (0..100).map(|_| Backoff::default().handle_failure(now)).collect();
        assert!(waits.len() > 50, "{waits:?}");
    }
}
