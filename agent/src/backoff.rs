//! How long to wait before the next try to connect: rumqttc itself tries again at once.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// Doubles from a quarter of a second to 30 seconds, each with a random part, so that a fleet
/// does not come back in step.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    random: RandomState,
}

impl Backoff {
    /// The wait after one more failure: between half and all of the doubled time.
    pub fn next_delay(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // The standard library's per-process random keys are random enough for this.
        let share = self.random.hash_one(self.failures) % 1_000;
        whole / 2 + (whole / 2).mul_f64(f64::from(u32::try_from(share).unwrap_or(0)) / 1_000.0)
    }

    /// The connection held: the next failure starts from the beginning.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_minute_and_stay_there() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next_delay()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits[5] > waits[0]);
        assert!(waits[8..].iter().all(|wait| *wait >= LONGEST / 2 && *wait <= LONGEST));
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST);
    }
}
