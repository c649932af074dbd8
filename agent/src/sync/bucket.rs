//! How fast the backlog may go: a token bucket of bytes on the monotonic clock.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// Holds up to one second's worth. A message may overdraw it, and the next waits until that is
/// paid back, so the rate holds whatever the sizes.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_s: i64,
    /// In thousandths of a byte, so that a millisecond's worth is a whole number.
    level: i64,
    filled_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(kb_per_s: NonZeroU32, now: Instant) -> Self {
        let bytes_per_s = i64::from(kb_per_s.get()) * 1_024;
        Self { bytes_per_s, level: bytes_per_s * 1_000, filled_at: now }
    }

    /// The rate.
    pub(super) fn bytes_per_s(&self) -> usize {
        usize::try_from(self.bytes_per_s).unwrap_or(usize::MAX)
    }

    /// Whether something may go now.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        // The part of a millisecond that is not counted stays for the next time.
        let passed_ms = now.saturating_duration_since(self.filled_at).as_millis();
        let passed_ms = u64::try_from(passed_ms).unwrap_or(u64::MAX);
        self.filled_at += Duration::from_millis(passed_ms);
        let added = i64::try_from(passed_ms).unwrap_or(i64::MAX).saturating_mul(self.bytes_per_s);
        self.level = self.level.saturating_add(added).min(self.bytes_per_s * 1_000);
        self.level > 0
    }

    /// Takes what went.
    pub(super) fn take(&mut self, bytes: usize) {
        let taken = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(1_000);
        self.level = self.level.saturating_sub(taken);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Sends messages of `size` as fast as the bucket lets them, looking `steps` times every
    /// `step_ms`.
    async fn sent_within(kb_per_s: u32, size: usize, steps: usize, step_ms: u64) -> usize {
        let mut bucket = Bucket::new(NonZeroU32::new(kb_per_s).unwrap(), Instant::now());
        let mut sent = 0;
        for step in 0..=steps {
            if step > 0 {
                advance(Duration::from_millis(step_ms)).await;
            }
            while bucket.is_open(Instant::now()) {
                bucket.take(size);
                sent += size;
                assert!(sent < 1 << 30, "it never closes");
            }
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_for_any_size_and_however_often_one_looks() {
        for (kb_per_s, size, steps, step_ms) in [
            (64, 16_000, 60, 1_000),
            (64, 100, 6_000, 10),
            (1, 5_000, 200, 300),
            (1_000, 65_536, 1_200, 50),
        ] {
            let sent = sent_within(kb_per_s, size, steps, step_ms).await;
            let rate = usize::try_from(kb_per_s).unwrap() * 1_024;
            assert!(sent <= 61 * rate + size, "{kb_per_s}: {sent}");
            assert!(sent >= 60 * rate, "{kb_per_s}: {sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_saves_up_no_more_than_a_second() {
        let mut bucket = Bucket::new(NonZeroU32::MIN, Instant::now());
        bucket.take(1_024);
        assert!(!bucket.is_open(Instant::now()));
        advance(Duration::from_secs(3_600)).await;
        assert!(bucket.is_open(Instant::now()));
        bucket.take(1_024);
        assert!(!bucket.is_open(Instant::now()));
    }
}
