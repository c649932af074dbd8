//! Something that is true only once it has been so for a while, and false likewise.

use daywise_core::time::UtcMillis;

/// What is decided, and since when what is seen has been what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Steady {
    /// Nothing before anything has stood long enough.
    decided: Option<bool>,
    seen: Option<(bool, UtcMillis)>,
}

impl Steady {
    /// Notes what is seen at `now`. It is decided when it has stood for `on_ms` if it is true, for
    /// `off_ms` if it is false.
    pub(super) fn observe(&mut self, is_so: bool, now: UtcMillis, on_ms: i64, off_ms: i64) {
        let since = match self.seen {
            // A clock that was set back starts it anew.
            Some((was_so, since)) if was_so == is_so && since <= now => since,
            _ => now,
        };
        self.seen = Some((is_so, since));
        if now.since(since) >= if is_so { on_ms } else { off_ms } {
            self.decided = Some(is_so);
        }
    }

    pub(super) fn decided(self) -> Option<bool> {
        self.decided
    }

    /// Since when what is seen has been what it is.
    pub(super) fn since(self) -> Option<UtcMillis> {
        self.seen.map(|(_, since)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(times: &[(i64, bool)]) -> Option<bool> {
        let mut steady = Steady::default();
        times.iter().for_each(|(now, so)| steady.observe(*so, UtcMillis(*now), 10, 20));
        steady.decided()
    }

    #[test]
    fn nothing_is_decided_before_it_has_stood() {
        assert_eq!(after(&[(0, true), (9, true)]), None);
        assert_eq!(after(&[(0, true), (10, true)]), Some(true));
        assert_eq!(after(&[(0, false), (19, false)]), None);
        assert_eq!(after(&[(0, false), (20, false)]), Some(false));
    }

    #[test]
    fn a_short_change_changes_nothing_and_starts_anew() {
        let on = [(0, true), (10, true)];
        assert_eq!(after(&[&on[..], &[(11, false), (30, false)]].concat()), Some(true));
        assert_eq!(after(&[&on[..], &[(11, false), (31, false)]].concat()), Some(false));
        let broken = [(11, false), (30, false), (30, true), (31, false), (50, false)];
        assert_eq!(after(&[&on[..], &broken].concat()), Some(true), "it was so in between");
    }

    #[test]
    fn a_clock_that_is_set_back_decides_nothing() {
        assert_eq!(after(&[(100, true), (50, true), (59, true)]), None);
        assert_eq!(after(&[(100, true), (50, true), (60, true)]), Some(true));
    }
}
