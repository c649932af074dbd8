//! Whether the gateway's clock can be believed, and what the time is while it cannot.
//!
//! Gateways without a battery-backed clock start in 1970, or at the hour of their last shutdown,
//! and jump when the network tells them the time. So a wall clock is only a claim. It is believed
//! when the system says that it is synchronized, or when nothing speaks against it: not earlier
//! than anything that is known to have happened (the newest durable reading, the build), and not
//! within the first minutes after the boot, when a synchronization is likely to follow.
//!
//! While it is believed, a monotonic clock that runs through suspend is held beside it. A jump of
//! one against the other is a step. Unless the system vouches for the new time, the time goes on
//! from before the step by the monotonic clock, until the step is taken back or has stood for
//! [`Rules::confirm_ms`] without contradiction: a wild jump must not close a week's open days.
//!
//! The caller passes both clocks in, so every state can be tested.

use crate::time::{DAY_MS, UtcMillis};

/// A smaller difference between the clocks is drift or the work of a slewing daemon.
pub const STEP_MS: i64 = 2_000;

/// A clock that is this far ahead of all that is known to have happened is not believed without
/// a synchronization: what was filed under its time would speak against every right one.
const FARTHEST_MS: i64 = 5 * 366 * DAY_MS;

/// When a clock is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Only what the system calls synchronized is believed.
    pub needs_synchronized: bool,
    /// For so long after the boot only a synchronized clock is believed.
    pub boot_grace_ms: i64,
    /// A step that nobody vouches for is believed when it has stood for so long.
    pub confirm_ms: i64,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What the system says the time is.
    pub wall: UtcMillis,
    /// Milliseconds since the boot, suspended time included; never goes backwards.
    pub since_boot_ms: i64,
    /// The system says that its clock is synchronized.
    pub is_synchronized: bool,
}

/// What an observation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// The clock is believed from now on.
    Trusted,
    /// The clock jumped by so many milliseconds, and is believed all the same.
    Stepped(i64),
    /// The clock jumped by so many milliseconds, and is not believed for now.
    Doubted(i64),
}

/// Both clocks when they last agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Anchor {
    wall: UtcMillis,
    since_boot_ms: i64,
}

impl Anchor {
    fn of(seen: Observation) -> Self {
        Self { wall: seen.wall, since_boot_ms: seen.since_boot_ms }
    }

    /// What the time is if it went on from here by the monotonic clock.
    fn continued(self, since_boot_ms: i64) -> UtcMillis {
        self.wall + since_boot_ms.saturating_sub(self.since_boot_ms).max(0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Never believed since the start.
    Unset,
    Trusted(Anchor),
    /// Stepped. Goes on from `before`; `after` is what the clock says since the step.
    Doubted {
        before: Anchor,
        after: Anchor,
    },
}

/// The gateway's clock, with what is known of its truth.
#[derive(Clone, Debug)]
pub struct TrustedClock {
    rules: Rules,
    floor: UtcMillis,
    state: State,
    seen: Observation,
}

impl TrustedClock {
    /// A clock that has not been looked at. It is certainly later than `floor`.
    #[must_use]
    pub fn new(rules: Rules, floor: UtcMillis) -> Self {
        let seen = Observation { wall: floor, since_boot_ms: 0, is_synchronized: false };
        Self { rules, floor, state: State::Unset, seen }
    }

    /// Looks at both clocks.
    pub fn observe(&mut self, seen: Observation) -> Option<ClockEvent> {
        self.seen = seen;
        match self.state {
            State::Unset => self.is_believable(seen).then(|| {
                self.state = State::Trusted(Anchor::of(seen));
                ClockEvent::Trusted
            }),
            State::Trusted(anchor) => self.compare(anchor, seen),
            State::Doubted { before, after } => self.reconsider(before, after, seen),
        }
    }

    /// Whether a reading may be stamped with [`Self::now`].
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        matches!(self.state, State::Trusted(_))
    }

    /// The best guess at the time: the clock's own while it is believed, else the last believed
    /// time continued, else the floor.
    #[must_use]
    pub fn now(&self) -> UtcMillis {
        match self.state {
            State::Unset => self.floor,
            State::Trusted(_) => self.seen.wall,
            State::Doubted { before, .. } => before.continued(self.seen.since_boot_ms),
        }
    }

    /// Milliseconds since the boot at the last observation.
    #[must_use]
    pub fn since_boot_ms(&self) -> i64 {
        self.seen.since_boot_ms
    }

    /// What the time was at another moment of this boot, by the clock as it is believed now.
    #[must_use]
    pub fn at_boot_ms(&self, since_boot_ms: i64) -> UtcMillis {
        self.now() + since_boot_ms.saturating_sub(self.seen.since_boot_ms)
    }

    fn is_believable(&self, seen: Observation) -> bool {
        if seen.is_synchronized {
            return true;
        }
        !self.rules.needs_synchronized
            && (0..=FARTHEST_MS).contains(&seen.wall.since(self.floor))
            && seen.since_boot_ms >= self.rules.boot_grace_ms
    }

    fn compare(&mut self, anchor: Anchor, seen: Observation) -> Option<ClockEvent> {
        let step = seen.wall.since(anchor.continued(seen.since_boot_ms));
        if step.abs() <= STEP_MS {
            self.state = State::Trusted(Anchor::of(seen));
            return None;
        }
        if seen.is_synchronized {
            self.state = State::Trusted(Anchor::of(seen));
            return Some(ClockEvent::Stepped(step));
        }
        self.state = State::Doubted { before: anchor, after: Anchor::of(seen) };
        Some(ClockEvent::Doubted(step))
    }

    fn reconsider(
        &mut self,
        before: Anchor,
        after: Anchor,
        seen: Observation,
    ) -> Option<ClockEvent> {
        let from_before = seen.wall.since(before.continued(seen.since_boot_ms));
        let from_after = seen.wall.since(after.continued(seen.since_boot_ms));
        if seen.is_synchronized || from_before.abs() <= STEP_MS {
            self.state = State::Trusted(Anchor::of(seen));
            return Some(ClockEvent::Trusted);
        }
        if from_after.abs() > STEP_MS {
            self.state = State::Doubted { before, after: Anchor::of(seen) };
            return Some(ClockEvent::Doubted(from_after));
        }
        let stood_ms = seen.since_boot_ms.saturating_sub(after.since_boot_ms);
        // Not earlier than the time before the step, too: a clock that was set back is believed
        // once it has caught up, or when the system vouches for it.
        let is_possible = !self.rules.needs_synchronized
            && (0..=FARTHEST_MS).contains(&seen.wall.since(before.wall));
        if stood_ms >= self.rules.confirm_ms && is_possible {
            self.state = State::Trusted(Anchor::of(seen));
            return Some(ClockEvent::Trusted);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR_MS;

    const FLOOR: UtcMillis = UtcMillis(1_711_000_000_000);
    const RULES: Rules =
        Rules { needs_synchronized: false, boot_grace_ms: 120_000, confirm_ms: 600_000 };
    const RUNNING: i64 = 10 * HOUR_MS;

    fn seen(wall: UtcMillis, since_boot_ms: i64) -> Observation {
        Observation { wall, since_boot_ms, is_synchronized: false }
    }

    fn synchronized(wall: UtcMillis, since_boot_ms: i64) -> Observation {
        Observation { is_synchronized: true, ..seen(wall, since_boot_ms) }
    }

    fn trusted() -> TrustedClock {
        let mut clock = TrustedClock::new(RULES, FLOOR);
        assert_eq!(clock.observe(seen(FLOOR + HOUR_MS, RUNNING)), Some(ClockEvent::Trusted));
        clock
    }

    #[test]
    fn a_clock_that_says_1970_is_not_believed_until_it_is_set() {
        let mut clock = TrustedClock::new(RULES, FLOOR);
        assert_eq!(clock.observe(seen(UtcMillis(5_000), 300_000)), None);
        assert!(!clock.is_trusted());
        assert_eq!(clock.now(), FLOOR, "it is certainly later than that");
        let set = synchronized(FLOOR + DAY_MS, 360_000);
        assert_eq!(clock.observe(set), Some(ClockEvent::Trusted));
        assert_eq!(clock.now(), FLOOR + DAY_MS);
        assert_eq!(clock.at_boot_ms(300_000), FLOOR + (DAY_MS - 60_000), "a minute before");
    }

    #[test]
    fn a_clock_kept_over_a_shutdown_is_not_believed_right_after_the_boot() {
        let mut clock = TrustedClock::new(RULES, FLOOR);
        assert_eq!(clock.observe(seen(FLOOR, 20_000)), None, "it may be days behind");
        assert_eq!(clock.observe(seen(FLOOR + 100_000, 120_000)), Some(ClockEvent::Trusted));
    }

    #[test]
    fn only_a_synchronized_clock_is_believed_where_the_rules_say_so() {
        let mut clock = TrustedClock::new(Rules { needs_synchronized: true, ..RULES }, FLOOR);
        assert_eq!(clock.observe(seen(FLOOR + DAY_MS, RUNNING)), None);
        let set = synchronized(FLOOR + DAY_MS, RUNNING);
        assert_eq!(clock.observe(set), Some(ClockEvent::Trusted));
    }

    #[test]
    fn a_clock_of_another_decade_is_not_believed() {
        let mut clock = TrustedClock::new(RULES, FLOOR);
        assert_eq!(clock.observe(seen(FLOOR + 10 * 366 * DAY_MS, RUNNING)), None);
        let mut clock = trusted();
        let ahead = FLOOR + 10 * 366 * DAY_MS;
        clock.observe(seen(ahead, RUNNING + 1_000));
        assert_eq!(clock.observe(seen(ahead + 700_000, RUNNING + 701_000)), None, "it stands, but");
    }

    #[test]
    fn drift_is_followed_and_no_step() {
        let mut clock = trusted();
        for second in 1..100 {
            let wall = FLOOR + HOUR_MS + second * 1_001;
            assert_eq!(clock.observe(seen(wall, RUNNING + second * 1_000)), None);
            assert_eq!(clock.now(), wall);
        }
    }

    #[test]
    fn a_wild_jump_is_not_followed_and_may_be_taken_back() {
        let mut clock = trusted();
        let ahead = FLOOR + 5_000 * DAY_MS;
        let event = clock.observe(seen(ahead, RUNNING + 1_000));
        assert_eq!(event, Some(ClockEvent::Doubted(ahead.since(FLOOR + HOUR_MS + 1_000))));
        assert!(!clock.is_trusted());
        assert_eq!(clock.now(), FLOOR + HOUR_MS + 1_000);
        assert_eq!(clock.observe(seen(ahead + 59_000, RUNNING + 60_000)), None);
        assert_eq!(clock.now(), FLOOR + HOUR_MS + 60_000, "time goes on");
        let back = seen(FLOOR + HOUR_MS + 61_000, RUNNING + 61_000);
        assert_eq!(clock.observe(back), Some(ClockEvent::Trusted));
    }

    #[test]
    fn a_step_that_stands_is_believed_in_the_end() {
        let mut clock = trusted();
        let ahead = FLOOR + 3 * HOUR_MS;
        clock.observe(seen(ahead, RUNNING + 1_000));
        assert_eq!(clock.observe(seen(ahead + 599_000, RUNNING + 600_000)), None);
        let stood = seen(ahead + 600_000, RUNNING + 601_000);
        assert_eq!(clock.observe(stood), Some(ClockEvent::Trusted));
        assert_eq!(clock.now(), ahead + 600_000);
    }

    #[test]
    fn a_clock_set_back_is_believed_when_it_has_caught_up_or_is_synchronized() {
        let mut clock = trusted();
        let back = FLOOR + HOUR_MS / 2;
        clock.observe(seen(back, RUNNING + 1_000));
        assert_eq!(clock.observe(seen(back + 700_000, RUNNING + 701_000)), None);
        assert!(!clock.is_trusted());
        let mut other = clock.clone();
        let caught_up = seen(back + HOUR_MS / 2, RUNNING + 1_000 + HOUR_MS / 2);
        assert_eq!(clock.observe(caught_up), Some(ClockEvent::Trusted));
        let vouched = synchronized(back + 701_000, RUNNING + 702_000);
        assert_eq!(other.observe(vouched), Some(ClockEvent::Trusted));
    }

    #[test]
    fn a_step_that_the_system_vouches_for_is_reported_and_followed() {
        let mut clock = trusted();
        let set = synchronized(FLOOR + 2 * HOUR_MS, RUNNING);
        assert_eq!(clock.observe(set), Some(ClockEvent::Stepped(HOUR_MS)));
        assert_eq!(clock.now(), FLOOR + 2 * HOUR_MS);
        assert!(clock.is_trusted());
    }
}
