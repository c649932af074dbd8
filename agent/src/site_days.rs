//! Which local day an instant belongs to, also when the site has changed its zone.
//!
//! A day that has begun keeps the bounds it began with, because readings are filed under it:
//! known days go before the calendar. Whatever the calendar says of the days beside them is cut
//! to fit, so that days tile time and every instant is in one of them.

use std::collections::BTreeMap;

use daywise_core::time::{ClockChange, LocalDate, LocalDay, UtcMillis};
use jiff::civil::DateTime;

use crate::calendar::Calendar;

/// The calendar, and the days that have begun.
#[derive(Clone, Debug)]
pub struct SiteDays {
    calendar: Calendar,
    known: BTreeMap<LocalDate, LocalDay>,
    /// The last one that was asked for: readings come a day at a time.
    recent: Option<LocalDay>,
}

impl SiteDays {
    /// The days of a calendar, but for those that have begun already.
    #[must_use]
    pub fn new(calendar: Calendar, known: impl IntoIterator<Item = LocalDay>) -> Self {
        let known = known.into_iter().map(|day| (day.date, day)).collect();
        Self { calendar, known, recent: None }
    }

    /// The day has begun: its bounds stay as they are.
    pub fn add(&mut self, day: LocalDay) {
        self.known.insert(day.date, day);
        self.recent = None;
    }

    /// Forgets the days before `date`, of which nothing is kept.
    pub fn forget_before(&mut self, date: LocalDate) {
        self.known = self.known.split_off(&date);
    }

    /// The instant at which the site's clock shows `wall`; of two, the one nearer to `now`.
    #[must_use]
    pub fn local_to_utc(&self, wall: DateTime, now: UtcMillis) -> Option<UtcMillis> {
        self.calendar.local_to_utc_near(wall, now)
    }

    /// The day with that date.
    #[must_use]
    pub fn day(&self, date: LocalDate) -> LocalDay {
        match self.known.get(&date) {
            Some(known) => *known,
            None => self.fitted(self.calendar.day(date)),
        }
    }

    /// The day that `at` belongs to.
    #[must_use]
    pub fn day_of(&mut self, at: UtcMillis) -> LocalDay {
        if let Some(recent) = self.recent.filter(|day| day.contains(at)) {
            return recent;
        }
        let known = self.known.values().rev().find(|day| day.contains(at)).copied();
        let day = known.unwrap_or_else(|| self.find(at));
        self.recent = Some(day);
        day
    }

    /// The calendar's day, or the one beside it where that date's own bounds are known and others.
    fn find(&mut self, at: UtcMillis) -> LocalDay {
        let mut date = self.calendar.day_of(at).date;
        while let Some(taken) = self.known.get(&date) {
            date = date.plus_days(if at < taken.start { -1 } else { 1 });
        }
        let day = self.fitted(self.calendar.day(date));
        if day.contains(at) { day } else { stretched(day, at) }
    }

    /// Cut or stretched to what the known days beside it leave.
    fn fitted(&self, mut day: LocalDay) -> LocalDay {
        if let Some((date, before)) = self.known.range(..day.date).next_back()
            && (before.end > day.start || date.plus_days(1) == day.date)
        {
            day = starting_at(day, before.end);
        }
        if let Some((date, after)) = self.known.range(day.date.plus_days(1)..).next()
            && (after.start < day.end || day.date.plus_days(1) == *date)
        {
            day.end = after.start;
        }
        day
    }
}

/// Between two known days there may be time that no date of the calendar covers: it goes to the
/// day beside it.
fn stretched(day: LocalDay, at: UtcMillis) -> LocalDay {
    if at < day.start { starting_at(day, at) } else { LocalDay { end: at + 1, ..day } }
}

/// The same day, on the same wall clock, but from another instant on.
fn starting_at(day: LocalDay, start: UtcMillis) -> LocalDay {
    let wall = i32::try_from(day.wall_ms(start)).unwrap_or(0);
    let clock_change = day.clock_change.filter(|change| change.at > start);
    LocalDay { start, starts_at_wall_ms: wall, clock_change, ..day }
}

/// An open day when the site has moved to another zone: it ends with its date there, unless
/// readings of it lie beyond that already, and its wall clock changes at `now`.
#[must_use]
pub fn moved(open: LocalDay, calendar: &Calendar, newest: UtcMillis, now: UtcMillis) -> LocalDay {
    let there = calendar.day(open.date);
    let end = if there.end > newest.max(open.start) { there.end } else { open.end };
    let at = now.max(open.start);
    let by_ms = there.wall_ms(at).saturating_sub(open.wall_ms(at));
    let by_ms = i32::try_from(by_ms).unwrap_or(0);
    let clock_change = (by_ms != 0 && at < end).then_some(ClockChange { at, by_ms });
    LocalDay { end, clock_change: clock_change.or(open.clock_change), ..open }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;
    /// 2024-05-10T12:00Z.
    const NOON: UtcMillis = UtcMillis(1_715_342_400_000);

    fn calendar(zone: &str) -> Calendar {
        Calendar::new(zone).unwrap()
    }

    /// The site's days after it moved at noon on 10 May, with that day open.
    fn after_move(from: &str, to: &str) -> (LocalDay, SiteDays) {
        let open = calendar(from).day_of(NOON);
        let open = moved(open, &calendar(to), NOON, NOON);
        (open, SiteDays::new(calendar(to), [open]))
    }

    #[test]
    fn without_a_change_the_calendar_is_what_counts() {
        let mut days = SiteDays::new(calendar("Europe/Berlin"), []);
        let expected = calendar("Europe/Berlin").day_of(NOON);
        assert_eq!(days.day_of(NOON), expected);
        days.add(expected);
        assert_eq!(
            days.day_of(NOON + 24 * HOUR),
            calendar("Europe/Berlin").day_of(NOON + 24 * HOUR)
        );
        assert_eq!(days.day(expected.date), expected);
    }

    #[test]
    fn a_site_that_moves_west_has_one_long_day() {
        let (open, mut days) = after_move("Europe/Berlin", "America/Los_Angeles");
        assert_eq!(open.end.since(open.start), 33 * HOUR);
        assert_eq!(days.day_of(NOON + 12 * HOUR).date, open.date, "22:00 there");
        let next = days.day_of(NOON + 20 * HOUR);
        assert_eq!((next.start, next.length_ms()), (open.end, 24 * HOUR));
        assert_eq!(open.wall_hour(NOON + -HOUR), 13, "as the clock went in Berlin");
        assert_eq!(open.wall_hour(NOON + HOUR), 6, "as it goes in Los Angeles");
    }

    #[test]
    fn a_site_that_moves_east_has_one_short_day() {
        let (open, mut days) = after_move("America/Los_Angeles", "Europe/Berlin");
        assert_eq!(open.end.since(open.start), 15 * HOUR);
        let next = days.day_of(NOON + 11 * HOUR);
        assert_eq!((next.date, next.start), (open.date.plus_days(1), open.end));
    }

    #[test]
    fn a_day_that_is_longer_than_its_date_there_keeps_its_readings() {
        // 03:00Z on the 11th is still the 10th in Los Angeles, and has been the 11th in Berlin for
        // five hours.
        let now = NOON + 15 * HOUR;
        let open = calendar("America/Los_Angeles").day_of(now);
        let kept = moved(open, &calendar("Europe/Berlin"), now, now);
        assert_eq!(kept.end, open.end);
        let mut days = SiteDays::new(calendar("Europe/Berlin"), [kept]);
        let next = days.day_of(kept.end);
        assert_eq!((next.date, next.start), (kept.date.plus_days(1), kept.end));
        assert_eq!(next.wall_hour(next.start), 9, "07:00Z in Berlin");
    }

    proptest! {
        /// Whatever zone the site moves to and when, every instant is in one day, and the days
        /// follow each other.
        #[test]
        fn days_tile_time_across_a_move(
            zones in prop::sample::subsequence(
                vec!["UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Apia", "Asia/Kathmandu"], 2
            ).prop_shuffle(),
            closed in 0_i32..3,
            moved_at in 0_i64..48,
        ) {
            let now = NOON + moved_at * HOUR;
            let before = calendar(zones[0]);
            let today = before.clone().day_of(now);
            let earlier = (1..=closed).map(|n| before.day(today.date.plus_days(-n)));
            let open = moved(today, &calendar(zones[1]), now, now);
            let mut days = SiteDays::new(calendar(zones[1]), earlier.chain([open]));
            let mut last: Option<LocalDay> = None;
            for hour in -40..60_i64 {
                let at = now + hour * HOUR + 1;
                let day = days.day_of(at);
                prop_assert!(day.contains(at), "{:?} {:?}", day, at);
                if let Some(last) = last.filter(|last| last.date != day.date) {
                    prop_assert!(last.date < day.date);
                    prop_assert!(last.end <= at && day.start <= at);
                    prop_assert_eq!(last.end, day.start);
                }
                last = Some(day);
            }
        }
    }
}
