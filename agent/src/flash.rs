//! How much is written to flash, and how that is held within the board's budget.
//!
//! The kernel counts for each process the bytes of the pages that it made dirty: what goes to the
//! block device, save the file system's own journal. Of what the agent writes, most is one page for
//! each commit, so when it is too much, commits are spaced out; nothing acknowledged is lost by
//! that, readings are only acknowledged later.
//!
//! Time is the agent's: in a replay a day's writes are those of a day of the recording.

use std::{collections::VecDeque, time::Duration};

use daywise_core::time::{DAY_MS, HOUR_MS, UtcMillis};

/// The figure per day is taken from the last so many hours, so that midnight's work weighs little.
const WINDOW_MS: i64 = 6 * HOUR_MS;
/// And in steps of this.
const STEP_MS: i64 = WINDOW_MS / 24;
/// Nothing is said of a day before this has been seen of it.
const LEAST_MS: i64 = HOUR_MS;
/// Commits are not spaced out further: a reading waits this long to be acknowledged at the most.
const LONGEST_COMMIT: Duration = Duration::from_secs(120);
/// Aimed at, so that the budget itself is kept.
const AIM: f64 = 0.9;
/// Smaller corrections are not worth it.
const TOLERANCE: f64 = 0.1;
/// Sooner than this no rate is believed.
const SOONEST_MS: i64 = 10 * 60_000;

/// Bytes that this process has written, as the kernel counts them; `None` where it does not.
#[must_use]
pub fn written_bytes() -> Option<u64> {
    written_of(&std::fs::read_to_string("/proc/self/io").ok()?)
}

fn written_of(text: &str) -> Option<u64> {
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line?.trim().parse::<u64>().ok()
    };
    // What was cut off a file before it was written out never reaches the flash.
    Some(figure("write_bytes")?.saturating_sub(figure("cancelled_write_bytes")?))
}

/// Bytes per day, from those of the last hours.
#[derive(Debug, Default)]
pub struct Projection {
    /// Totals at their times, the oldest first.
    seen: VecDeque<(UtcMillis, u64)>,
}

impl Projection {
    /// So much had been written by then.
    pub fn handle(&mut self, now: UtcMillis, written: u64) {
        let is_new = self.seen.back().is_none_or(|(at, _)| now.since(*at) >= STEP_MS);
        if is_new {
            self.seen.push_back((now, written));
        }
        // One at or before the window's beginning stays, to reckon from.
        while self.seen.get(1).is_some_and(|(at, _)| now.since(*at) >= WINDOW_MS) {
            self.seen.pop_front();
        }
    }

    /// What a day of this would be; `None` until enough has been seen.
    #[must_use]
    pub fn per_day(&self, now: UtcMillis, written: u64) -> Option<u64> {
        let (since, before) = *self.seen.front()?;
        let elapsed = now.since(since);
        (elapsed >= LEAST_MS).then(|| per_day(written.saturating_sub(before), elapsed))
    }
}

fn per_day(bytes: u64, elapsed_ms: i64) -> u64 {
    let elapsed = u128::from(elapsed_ms.max(1).unsigned_abs());
    let day = u128::from(bytes) * u128::from(DAY_MS.unsigned_abs()) / elapsed;
    u64::try_from(day).unwrap_or(u64::MAX)
}

/// Spaces commits out while too much is written.
#[derive(Debug)]
pub struct Throttle {
    budget_per_day: u64,
    usual: Duration,
    now: Duration,
    /// When the interval was last looked at, and how much had been written by then.
    since: Option<(UtcMillis, u64)>,
}

impl Throttle {
    /// With commits every `usual` unless that is too much for the budget.
    #[must_use]
    pub fn new(budget_per_day: u64, usual: Duration) -> Self {
        Self { budget_per_day, usual, now: usual, since: None }
    }

    /// The interval to commit at.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.now
    }

    /// Whether that is longer than usual.
    #[must_use]
    pub fn is_throttling(&self) -> bool {
        self.now > self.usual
    }

    /// So much had been written by then. Looks at the interval when the time has come, or what is
    /// allowed for that time is used up; says whether it changed.
    pub fn handle(&mut self, now: UtcMillis, written: u64) -> bool {
        let Some((since, before)) = self.since else {
            self.since = Some((now, written));
            return false;
        };
        let (elapsed, used) = (now.since(since), written.saturating_sub(before));
        let allowed = self.budget_per_day / (DAY_MS / WINDOW_MS).unsigned_abs();
        let is_used_up = used > allowed && elapsed >= SOONEST_MS;
        if elapsed < WINDOW_MS && !is_used_up {
            return false;
        }
        self.since = Some((now, written));
        let next = self.next_interval(per_day(used, elapsed));
        let change = next.as_secs_f64() / self.now.as_secs_f64().max(0.001) - 1.0;
        let is_end = next == self.usual || next == LONGEST_COMMIT.max(self.usual);
        if next == self.now || (change.abs() < TOLERANCE && !is_end) {
            return false;
        }
        self.now = next;
        true
    }

    /// Most is written per commit, so twice the interval is about half the bytes.
    fn next_interval(&self, per_day: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let ratio = per_day as f64 / (self.budget_per_day.max(1) as f64 * AIM);
        let wanted = self.now.as_secs_f64() * ratio.clamp(0.01, 100.0);
        Duration::from_secs_f64(wanted).clamp(self.usual, LONGEST_COMMIT.max(self.usual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;
    const MINUTE_MS: i64 = 60_000;
    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn the_kernels_figures_are_read() {
        let text = "rchar: 9\nwchar: 8\nsyscr: 7\nsyscw: 6\nread_bytes: 5\nwrite_bytes: 4096\n\
                    cancelled_write_bytes: 96\n";
        assert_eq!(written_of(text), Some(4000));
        assert_eq!(written_of("write_bytes: 1\n"), None);
    }

    #[test]
    fn what_this_process_writes_is_counted() {
        let Some(before) = written_bytes() else {
            eprintln!("skipped: this kernel does not count");
            return;
        };
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = std::fs::File::create(dir.path().join("written")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 1 << 20], 0).unwrap();
        file.sync_all().unwrap();
        let more = written_bytes().unwrap() - before;
        assert!(more >= 1 << 20, "{more}");
    }

    #[test]
    fn a_day_is_projected_from_the_last_hours() {
        let mut projection = Projection::default();
        let start = UtcMillis(1_711_666_800_000);
        let mut written = 5 * MB;
        for minute in 0..60 {
            projection.handle(start + minute * MINUTE_MS, written);
            assert_eq!(projection.per_day(start + minute * MINUTE_MS, written), None);
            written += MB / 10;
        }
        let hour = start + HOUR_MS;
        assert_eq!(projection.per_day(hour, written), Some(144 * MB));
        // Half as much from then on: the first hour is forgotten six hours later.
        for minute in 0..8 * 60 {
            projection.handle(hour + minute * MINUTE_MS, written);
            written += MB / 20;
        }
        let later = hour + 8 * HOUR_MS;
        assert_eq!(projection.per_day(later, written), Some(72 * MB));
        assert!(projection.seen.len() < 30, "{}", projection.seen.len());
    }

    /// A gateway that writes so many bytes for each commit and so many per hour besides: the
    /// intervals that it comes to, hour by hour.
    fn live(throttle: &mut Throttle, hours: i64, per_commit: u64, per_hour: u64) -> Vec<u64> {
        let start = throttle.since.map_or(UtcMillis(0), |(at, _)| at);
        let mut written = throttle.since.map_or(0, |(_, written)| written);
        let mut intervals = Vec::new();
        for minute in 1..=hours * 60 {
            let commits = 60.0 / throttle.interval().as_secs_f64();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test")]
            let bytes = (commits * per_commit as f64) as u64;
            written += bytes + per_hour / 60;
            throttle.handle(start + minute * MINUTE_MS, written);
            if minute % 60 == 0 {
                intervals.push(throttle.interval().as_secs());
            }
        }
        intervals
    }

    #[test]
    fn within_the_budget_commits_stay_as_they_are() {
        let mut throttle = Throttle::new(150 * MB, TEN);
        let intervals = live(&mut throttle, 48, 5_400, 400_000);
        assert!(intervals.iter().all(|interval| *interval == 10), "{intervals:?}");
        assert!(!throttle.is_throttling());
    }

    #[test]
    fn beyond_the_budget_commits_are_spaced_out_until_it_is_kept() {
        let mut throttle = Throttle::new(150 * MB, TEN);
        // 346 MB a day at ten seconds.
        let intervals = live(&mut throttle, 24, 40_000, 0);
        assert!(throttle.is_throttling());
        assert!((24..=27).contains(intervals.last().unwrap()), "{intervals:?}");
        let per_day = 86_400 / intervals.last().unwrap() * 40_000;
        assert!(per_day < 150 * MB);
        // And back, once commits are cheap again.
        let intervals = live(&mut throttle, 24, 5_400, 0);
        assert_eq!(intervals.last(), Some(&10), "{intervals:?}");
        assert!(!throttle.is_throttling());
    }

    #[test]
    fn a_flood_is_answered_before_the_hours_are_over_and_not_beyond_two_minutes() {
        let mut throttle = Throttle::new(15 * MB, TEN);
        let intervals = live(&mut throttle, 3, 400_000, 0);
        assert_eq!(intervals.last(), Some(&120), "{intervals:?}");
        let mut slow = Throttle::new(MB, Duration::from_secs(300));
        live(&mut slow, 24, 400_000, 0);
        assert_eq!(slow.interval().as_secs(), 300, "what the config asks for is never shortened");
    }
}
