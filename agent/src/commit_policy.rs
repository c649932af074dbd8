//! When a group commit is due.
//!
//! Every commit costs flash writes, so readings are gathered; but a broker stops sending once its
//! in-flight window is full of unacknowledged messages (20 in mosquitto unless raised), and then
//! waiting longer gains nothing. A window that has stalled is noticed by the silence after a
//! burst, and once its size is known the commit follows at once.

use std::time::{Duration, Instant};

/// Silence that tells a stalled window from a pause, at least; longer where readings are rare.
const SHORTEST_SILENCE: Duration = Duration::from_millis(15);
/// Fewer unacknowledged messages than this are no window: no broker's is smaller by default.
const SMALLEST_WINDOW: usize = 10;

/// Watches what comes in and says when to commit.
#[derive(Debug)]
pub struct CommitPolicy {
    longest: Duration,
    max_batch: usize,
    /// When the first uncommitted message came.
    since: Option<Instant>,
    last: Option<Instant>,
    unacked: usize,
    readings: usize,
    /// Smoothed time between messages.
    spacing: Duration,
    /// The broker's window, once it stalled twice at the same size.
    window: Option<usize>,
    last_stall: usize,
}

impl CommitPolicy {
    /// Commits at least every `longest` while there is something to commit, and no more than
    /// `max_batch` readings at once.
    #[must_use]
    pub fn new(longest: Duration, max_batch: usize) -> Self {
        Self {
            longest,
            max_batch,
            since: None,
            last: None,
            unacked: 0,
            readings: 0,
            spacing: Duration::ZERO,
            window: None,
            last_stall: 0,
        }
    }

    /// From now on commits at least this often.
    pub fn set_longest(&mut self, longest: Duration) {
        self.longest = longest;
    }

    /// Messages came in: so many readings to keep, so many messages to acknowledge.
    pub fn handle_messages(
        &mut self,
        now: Instant,
        messages: u32,
        readings: usize,
        unacked: usize,
    ) {
        if let Some(last) = self.last {
            let each = now.saturating_duration_since(last) / messages.max(1);
            // A long silence before a burst says nothing about the burst.
            self.spacing = (self.spacing * 7 + each.min(Duration::from_secs(1))) / 8;
        }
        self.last = Some(now);
        self.since.get_or_insert(now);
        self.readings += readings;
        self.unacked += unacked;
        if self.window.is_some_and(|window| self.unacked > window) {
            // The broker sent on: its window is larger than it seemed.
            self.window = None;
        }
    }

    /// Whether to commit now.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        let Some(since) = self.since else { return false };
        self.is_full(self.readings)
            || self.window.is_some_and(|window| self.unacked >= window)
            || now.saturating_duration_since(since) >= self.longest
            || self.has_stalled(now)
    }

    /// Whether so many readings are all that one commit takes.
    #[must_use]
    pub fn is_full(&self, readings: usize) -> bool {
        readings >= self.max_batch
    }

    fn has_stalled(&self, now: Instant) -> bool {
        let silence = self.last.map(|last| now.saturating_duration_since(last));
        self.unacked >= SMALLEST_WINDOW && silence.is_some_and(|silence| silence >= self.silence())
    }

    fn silence(&self) -> Duration {
        SHORTEST_SILENCE.max(self.spacing * 8)
    }

    /// When [`Self::is_due`] may next become true on its own; `None` while nothing waits.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = self.since? + self.longest;
        let stall =
            (self.unacked >= SMALLEST_WINDOW).then(|| self.last.map(|l| l + self.silence()));
        Some(stall.flatten().map_or(oldest, |stall| stall.min(oldest)))
    }

    /// Everything so far is durable and acknowledged.
    pub fn handle_commit(&mut self, now: Instant) {
        if self.has_stalled(now) {
            if self.last_stall == self.unacked {
                self.window = Some(self.unacked);
            }
            self.last_stall = self.unacked;
        }
        self.since = None;
        self.unacked = 0;
        self.readings = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn policy() -> (CommitPolicy, Instant) {
        (CommitPolicy::new(Duration::from_secs(5), 100), Instant::now())
    }

    /// Twenty messages at once, then silence: what mosquitto does with its default window.
    fn burst(policy: &mut CommitPolicy, now: Instant) {
        policy.handle_messages(now, 20, 20, 20);
    }

    #[test]
    fn rare_readings_wait_for_the_interval() {
        let (mut policy, start) = policy();
        assert!(!policy.is_due(start), "nothing to commit");
        for second in 0..5 {
            policy.handle_messages(start + Duration::from_secs(second), 1, 1, 1);
            assert!(!policy.is_due(start + Duration::from_secs(second)));
        }
        assert_eq!(policy.deadline(), Some(start + Duration::from_secs(5)));
        assert!(policy.is_due(start + Duration::from_secs(5)));
    }

    #[test]
    fn the_interval_can_be_lengthened() {
        let (mut policy, start) = policy();
        policy.handle_messages(start, 1, 1, 1);
        policy.set_longest(Duration::from_secs(60));
        assert!(!policy.is_due(start + Duration::from_secs(59)));
        assert_eq!(policy.deadline(), Some(start + Duration::from_secs(60)));
    }

    #[test]
    fn a_stalled_window_is_committed_after_a_short_silence_and_then_at_once() {
        let (mut policy, start) = policy();
        let mut now = start;
        for _ in 0..2 {
            burst(&mut policy, now);
            assert!(!policy.is_due(now), "more may come");
            now += 20 * MS;
            assert!(policy.is_due(now), "the window has stalled");
            policy.handle_commit(now);
            now += MS;
        }
        burst(&mut policy, now);
        assert!(policy.is_due(now), "its size is known");
        policy.handle_messages(now, 1, 1, 1);
        assert!(!policy.is_due(now), "it was larger after all");
    }

    #[test]
    fn a_steady_trickle_is_not_taken_for_a_stall() {
        let (mut policy, start) = policy();
        let mut now = start;
        for _ in 0..40 {
            policy.handle_messages(now, 1, 1, 1);
            assert!(!policy.is_due(now));
            now += 60 * MS;
            assert!(!policy.is_due(now), "the next is only just due");
        }
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let (mut policy, start) = policy();
        policy.handle_messages(start, 1, 99, 0);
        assert!(!policy.is_due(start));
        policy.handle_messages(start, 1, 1, 0);
        assert!(policy.is_due(start));
    }
}
