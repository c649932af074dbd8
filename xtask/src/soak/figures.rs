//! What each day costs, and whether that is within the limits.

use serde_json::{Value, json};

use crate::demo::fleet::AgentStatus;

/// Memory may grow by this much from the second quarter of the run to the last.
const MEMORY_GROWTH: f64 = 0.05;
/// The store may take this many times what is live in it.
const STORE_OVERHEAD: f64 = 2.0;
/// Up to here it is what an empty store takes.
const SMALL_STORE_MB: f64 = 4.0;
/// Memory is judged from so many days on; before, there are no quarters to compare.
const QUARTERED_DAYS: usize = 8;

/// What the board allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) flash_mb_per_day: u64,
    pub(super) memory_mb: u64,
}

/// One simulated day.
#[derive(Clone, Copy, Debug)]
struct Day {
    memory_kb: u64,
    store_kb: u64,
    live_kb: u64,
    flash_kb: u64,
    commits: u64,
}

/// All days so far.
#[derive(Debug)]
pub(super) struct Figures {
    days: Vec<Day>,
    /// Memory at each look since the last day.
    memory_kb: Vec<u64>,
    flash_kb: u64,
    commits: u64,
}

impl Figures {
    pub(super) fn new() -> Self {
        Self { days: Vec::new(), memory_kb: Vec::new(), flash_kb: 0, commits: 0 }
    }

    pub(super) fn print_head(&self) {
        println!("  day   memory MB   store MB   live MB   flash MB   commits");
    }

    pub(super) fn note_memory(&mut self, kb: u64) {
        self.memory_kb.push(kb);
    }

    /// Takes and prints the figures of the day that has just closed.
    pub(super) fn take_day(&mut self, status: &AgentStatus, store_bytes: u64) {
        self.memory_kb.sort_unstable();
        let memory_kb = self.memory_kb.get(self.memory_kb.len() / 2).copied().unwrap_or(0);
        self.memory_kb.clear();
        let (flash_kb, commits) = (status.at("/flash/written_kb"), status.count("commits"));
        let day = Day {
            memory_kb,
            store_kb: store_bytes / 1_024,
            live_kb: status.count("store_live_kb"),
            flash_kb: flash_kb.saturating_sub(self.flash_kb),
            commits: commits.saturating_sub(self.commits),
        };
        (self.flash_kb, self.commits) = (flash_kb, commits);
        self.days.push(day);
        println!(
            "{:>5}{:>12.1}{:>11.1}{:>10.1}{:>11.1}{:>10}",
            self.days.len(),
            mb(day.memory_kb),
            mb(day.store_kb),
            mb(day.live_kb),
            mb(day.flash_kb),
            day.commits
        );
    }

    pub(super) fn judge(&self, limits: &Limits) -> Verdict {
        let quarter = self.days.len() / 4;
        let memory = |from: usize| mean(self.days.iter().skip(from).take(quarter), |d| d.memory_kb);
        let is_long = self.days.len() >= QUARTERED_DAYS;
        let last = self.days.last();
        // The first day begins with an empty store, and its sensors are new.
        let flash = mean(self.days.iter().skip(1), |day| day.flash_kb);
        Verdict {
            limits: *limits,
            memory_mb: is_long
                .then(|| (memory(quarter) / 1_024.0, memory(self.days.len() - quarter) / 1_024.0)),
            store_mb: last.map_or(0.0, |day| mb(day.store_kb)),
            live_mb: last.map_or(0.0, |day| mb(day.live_kb)),
            flash_mb_per_day: flash * 1_024.0 / 1_000_000.0,
            commits_per_day: mean(self.days.iter().skip(1), |day| day.commits),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
fn mb(kb: u64) -> f64 {
    kb as f64 / 1_024.0
}

#[expect(clippy::cast_precision_loss, reason = "a mean of kilobytes")]
fn mean<'a>(days: impl Iterator<Item = &'a Day>, figure: fn(&Day) -> u64) -> f64 {
    let (count, sum) = days.fold((0_u32, 0), |(n, sum), day| (n + 1, sum + figure(day)));
    sum as f64 / f64::from(count.max(1))
}

/// The run, judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    limits: Limits,
    /// In the second quarter and the last; `None` for short runs.
    memory_mb: Option<(f64, f64)>,
    store_mb: f64,
    live_mb: f64,
    flash_mb_per_day: f64,
    commits_per_day: f64,
}

impl Verdict {
    fn growth(&self) -> Option<f64> {
        self.memory_mb.map(|(second, last)| last / second.max(0.001) - 1.0)
    }

    fn overhead(&self) -> f64 {
        self.store_mb / self.live_mb.max(0.001)
    }

    #[expect(clippy::cast_precision_loss, reason = "a budget in megabytes")]
    fn flash_budget(&self) -> f64 {
        self.limits.flash_mb_per_day as f64
    }

    fn is_flat(&self) -> bool {
        self.growth().is_none_or(|growth| growth <= MEMORY_GROWTH)
    }

    #[expect(clippy::cast_precision_loss, reason = "a budget in megabytes")]
    fn is_small(&self) -> bool {
        self.memory_mb.is_none_or(|(_, last)| last <= self.limits.memory_mb as f64)
    }

    fn is_compact(&self) -> bool {
        self.overhead() <= STORE_OVERHEAD || self.store_mb <= SMALL_STORE_MB
    }

    fn is_gentle(&self) -> bool {
        self.flash_mb_per_day <= self.flash_budget()
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is_small() && self.is_flat() && self.is_compact() && self.is_gentle()
    }

    pub(super) fn to_text(self) -> String {
        let word = |kept| if kept { "ok    " } else { "MISSED" };
        let memory = match (self.memory_mb, self.growth()) {
            (Some((second, last)), Some(growth)) => format!(
                "{} memory: {last:.1} of {} MB in the last quarter\n\
                 {} its growth: from {second:.1} MB in the second quarter, {:+.1} of {:.0} %",
                word(self.is_small()),
                self.limits.memory_mb,
                word(self.is_flat()),
                growth * 100.0,
                MEMORY_GROWTH * 100.0,
            ),
            _ => format!("       memory: judged from {QUARTERED_DAYS} days on"),
        };
        format!(
            "{memory}\n{} store: {:.1} MB for {:.1} MB that are live: {:.2} of {STORE_OVERHEAD} times\n\
             {} flash: {:.1} of {} MB a day, {:.0} commits a day",
            word(self.is_compact()),
            self.store_mb,
            self.live_mb,
            self.overhead(),
            word(self.is_gentle()),
            self.flash_mb_per_day,
            self.limits.flash_mb_per_day,
            self.commits_per_day,
        )
    }

    pub(super) fn to_json(self, sensors: u32, days: u16) -> Value {
        json!({
            "sensors": sensors,
            "days": days,
            "memory_mb_second_quarter": self.memory_mb.map(|memory| memory.0),
            "memory_mb_last_quarter": self.memory_mb.map(|memory| memory.1),
            "memory_growth": self.growth(),
            "memory_budget_mb": self.limits.memory_mb,
            "store_mb": self.store_mb,
            "live_mb": self.live_mb,
            "store_overhead": self.overhead(),
            "flash_mb_per_day": self.flash_mb_per_day,
            "flash_budget_mb_per_day": self.limits.flash_mb_per_day,
            "commits_per_day": self.commits_per_day,
            "kept": self.is_kept(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { flash_mb_per_day: 150, memory_mb: 16 };

    fn judged(days: impl Iterator<Item = Day>) -> Verdict {
        Figures { days: days.collect(), ..Figures::new() }.judge(&LIMITS)
    }

    fn day(memory_kb: u64) -> Day {
        let (store_kb, live_kb, flash_kb) = (40_000, 30_000, 60_000);
        Day { memory_kb, store_kb, live_kb, flash_kb, commits: 8_640 }
    }

    #[test]
    fn each_limit_is_judged_by_itself() {
        let good = judged((0..30).map(|_| day(16_000)));
        assert!(good.is_kept(), "{}", good.to_text());
        let large = judged((0..30).map(|_| day(16_400)));
        assert!(!large.is_small() && !large.is_kept() && large.is_flat());
        let growing = judged((0..30).map(|n| day(14_000 + n * 60)));
        assert!(!growing.is_flat() && growing.is_compact() && growing.is_gentle());
        let bloated = judged((0..30).map(|_| Day { store_kb: 60_001, ..day(1) }));
        assert!(bloated.is_flat() && !bloated.is_compact() && bloated.is_gentle());
        let wearing = judged((0..30).map(|_| Day { flash_kb: 146_485, ..day(1) }));
        assert!(wearing.is_flat() && wearing.is_compact() && !wearing.is_gentle());
        assert_eq!(wearing.to_json(1, 30)["kept"], false);
    }

    #[test]
    fn memory_is_compared_from_the_second_quarter_to_the_last() {
        // What it takes to get going, and a day in between, does not count.
        let days = [9, 9, 10, 10, 50, 10, 10, 11].map(|mb| day(mb * 1_024));
        let (second, last) = judged(days.into_iter()).memory_mb.unwrap();
        assert!((second - 10.0).abs() < 0.01 && (last - 10.5).abs() < 0.01, "{second} {last}");
        assert!(judged(days.into_iter().take(7)).memory_mb.is_none());
    }
}
