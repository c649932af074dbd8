//! The site's calendar: which local day an instant belongs to, from the zone's own rules.
//!
//! Zone data is embedded in the program, so a gateway without `/usr/share/zoneinfo` or with an
//! old one gives the same days. Days tile time without gap or overlap, whatever the zone does to
//! its clock: a day that is skipped is empty; where the clock goes back over midnight into the
//! date before, that date lasts until the second midnight.

use std::str::FromStr;

use daywise_core::time::{ClockChange, DAY_MS, LocalDate, LocalDay, UtcMillis};
use jiff::{
    Timestamp,
    civil::{DateTime, Time},
    tz::{AmbiguousOffset, Offset, TimeZone},
};

/// Days kept at hand: yesterday's late readings and today's, with room for a backlog.
const RECENT_DAYS: usize = 4;
/// No zone is further from UTC.
const MAX_OFFSET_SECONDS: i32 = 18 * 3600;

/// The text names no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown time zone `{name}`: give an IANA name such as Europe/Berlin, or a fixed offset such as +01:00"
)]
pub struct CalendarError {
    /// What was given.
    pub name: String,
}

/// A time zone as a source of local days.
#[derive(Clone, Debug)]
pub struct Calendar {
    name: String,
    zone: TimeZone,
    /// The days last asked for, the newest lookup first.
    recent: Vec<LocalDay>,
}

impl Calendar {
    /// The calendar of an IANA zone (`Europe/Berlin`), `UTC`, or a fixed offset (`UTC+1`,
    /// `+01:00`).
    ///
    /// # Errors
    /// There is no such zone.
    pub fn new(name: &str) -> Result<Self, CalendarError> {
        let zone = match fixed_offset(name) {
            Some(offset) => TimeZone::fixed(offset),
            None => TimeZone::get(name).map_err(|_| CalendarError { name: name.to_owned() })?,
        };
        Ok(Self { name: name.to_owned(), zone, recent: Vec::with_capacity(RECENT_DAYS) })
    }

    /// The calendar without a zone: UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC, recent: Vec::new() }
    }

    /// The zone's name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The day that `at` belongs to. Nearly always one of the last few, so a comparison or two.
    pub fn day_of(&mut self, at: UtcMillis) -> LocalDay {
        if let Some(day) = self.recent.iter().find(|day| day.contains(at)) {
            return *day;
        }
        let day = self.find_day(at);
        self.recent.truncate(RECENT_DAYS - 1);
        self.recent.insert(0, day);
        day
    }

    /// The day with that date. Its `start` equals its `end` if the zone skipped it.
    #[must_use]
    pub fn day(&self, date: LocalDate) -> LocalDay {
        let (Some(start), Some(end)) = (self.start_of(date), self.start_of(date.plus_days(1)))
        else {
            // The ends of the calendar, millennia away.
            return LocalDay::utc(date);
        };
        let wall = self.zone.to_datetime(start);
        let starts_at_wall_ms = match LocalDate::from_civil(wall.date()) == date {
            true => time_of_day_ms(wall.time()),
            false => 0,
        };
        LocalDay {
            date,
            start: UtcMillis(start.as_millisecond()),
            end: UtcMillis(end.as_millisecond()),
            starts_at_wall_ms,
            clock_change: self.clock_change(start, end),
        }
    }

    /// The instant at which the site's clock shows `wall`: the first if it does so twice; if
    /// never, because the clock jumps over it, as long after the jump as it is after its start.
    /// `None` only at the ends of the calendar.
    #[must_use]
    pub fn local_to_utc(&self, wall: DateTime) -> Option<UtcMillis> {
        let at = self.zone.to_ambiguous_timestamp(wall).compatible().ok()?;
        Some(UtcMillis(at.as_millisecond()))
    }

    /// As [`Self::local_to_utc`]; if the clock shows it twice, the instant nearer to `now`: a device
    /// whose times have no zone sends them soon after.
    #[must_use]
    pub fn local_to_utc_near(&self, wall: DateTime, now: UtcMillis) -> Option<UtcMillis> {
        let both = self.zone.to_ambiguous_timestamp(wall);
        if !matches!(both.offset(), jiff::tz::AmbiguousOffset::Fold { .. }) {
            return self.local_to_utc(wall);
        }
        let (first, second) = (both.earlier().ok()?, both.later().ok()?);
        let [first, second] = [first, second].map(|at| UtcMillis(at.as_millisecond()));
        let away = |at: UtcMillis| at.since(now).unsigned_abs();
        Some(if away(second) < away(first) { second } else { first })
    }

    /// As [`Self::local_to_utc`], for a date and milliseconds after midnight.
    #[must_use]
    pub fn wall_to_utc(&mut self, date: LocalDate, wall_ms: i32) -> Option<UtcMillis> {
        if let Some(day) = self.recent.iter().find(|day| day.date == date)
            && day.clock_change.is_none()
            && day.starts_at_wall_ms == 0
            && day.length_ms() == DAY_MS
        {
            return Some(day.start + i64::from(wall_ms));
        }
        let midnight = date.to_civil().to_datetime(Time::midnight());
        let wall = midnight.checked_add(jiff::SignedDuration::from_millis(wall_ms.into())).ok()?;
        let at = self.local_to_utc(wall)?;
        // For the rows that follow.
        self.day_of(at);
        Some(at)
    }

    fn find_day(&self, at: UtcMillis) -> LocalDay {
        let Ok(instant) = Timestamp::from_millisecond(at.0) else {
            let date = i32::try_from(at.0.div_euclid(DAY_MS)).unwrap_or(0);
            return LocalDay::utc(LocalDate(date));
        };
        let date = LocalDate::from_civil(self.zone.to_datetime(instant).date());
        let day = self.day(date);
        if day.contains(at) {
            return day;
        }
        // A clock set back over midnight shows tomorrow's date before today is over.
        let neighbour = self.day(date.plus_days(if at < day.start { -1 } else { 1 }));
        if neighbour.contains(at) { neighbour } else { day }
    }

    /// The first instant of `date`: its midnight, or where the clock jumps over that.
    fn start_of(&self, date: LocalDate) -> Option<Timestamp> {
        let midnight = date.to_civil().to_datetime(Time::midnight());
        let ambiguous = self.zone.to_ambiguous_timestamp(midnight);
        let (is_gap, is_fold) = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => (false, false),
            AmbiguousOffset::Gap { .. } => (true, false),
            AmbiguousOffset::Fold { .. } => (false, true),
        };
        if is_fold {
            return self.start_at_fold(date, midnight);
        }
        let midnight = ambiguous.later().ok()?;
        if !is_gap {
            return Some(midnight);
        }
        let past = midnight.checked_add(jiff::SignedDuration::from_millis(1)).ok()?;
        self.zone.preceding(past).next().map(|jump| jump.timestamp())
    }

    /// Of two midnights: the first where the clock only repeats an hour of the new date (Havana,
    /// 01:00 back to 00:00), the second where it returns to the date before (St John's, 00:01
    /// back to 23:01), so that each day is one stretch of time.
    fn start_at_fold(&self, date: LocalDate, midnight: DateTime) -> Option<Timestamp> {
        let first = self.zone.to_ambiguous_timestamp(midnight).earlier().ok()?;
        let back = self.zone.following(first).next()?.timestamp();
        if LocalDate::from_civil(self.zone.to_datetime(back).date()) < date {
            return self.zone.to_ambiguous_timestamp(midnight).later().ok();
        }
        Some(first)
    }

    /// The first change of the offset inside `(start, end)`.
    fn clock_change(&self, start: Timestamp, end: Timestamp) -> Option<ClockChange> {
        let mut before = self.zone.to_offset(start);
        // Zones may change their abbreviation without changing the clock.
        for change in self.zone.following(start).take_while(|change| change.timestamp() < end) {
            let by_seconds = change.offset().seconds() - before.seconds();
            if by_seconds != 0 {
                let at = UtcMillis(change.timestamp().as_millisecond());
                return Some(ClockChange { at, by_ms: by_seconds.saturating_mul(1_000) });
            }
            before = change.offset();
        }
        None
    }
}

impl FromStr for Calendar {
    type Err = CalendarError;
    fn from_str(name: &str) -> Result<Self, CalendarError> {
        Self::new(name)
    }
}

fn time_of_day_ms(time: Time) -> i32 {
    ((i32::from(time.hour()) * 60 + i32::from(time.minute())) * 60 + i32::from(time.second()))
        * 1_000
        + i32::from(time.millisecond())
}

/// `UTC+1`, `GMT-03:30`, `+01:00`, `+0100`, `-5`.
fn fixed_offset(name: &str) -> Option<Offset> {
    let signed = name.strip_prefix("UTC").or_else(|| name.strip_prefix("GMT")).unwrap_or(name);
    let (ahead, digits) = match signed.as_bytes().first()? {
        b'+' => (1, signed.get(1..)?),
        b'-' => (-1, signed.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let number = |text: &str, below: i32| {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten().filter(|&n: &i32| n < below)
    };
    let seconds = ahead * (number(hours, 24)? * 60 + number(minutes, 60)?) * 60;
    if seconds.abs() > MAX_OFFSET_SECONDS {
        return None;
    }
    Offset::from_seconds(seconds).ok()
}

#[cfg(test)]
mod tests {
    use daywise_core::time::HOUR_MS;
    use proptest::prelude::*;

    use super::*;

    fn day(zone: &str, date: &str) -> LocalDay {
        Calendar::new(zone).unwrap().day(date.parse().unwrap())
    }

    fn at(text: &str) -> UtcMillis {
        UtcMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn days_are_as_long_as_the_clock_makes_them() {
        for (zone, date, hours) in [
            ("Europe/Berlin", "2024-03-30", 24.0),
            ("Europe/Berlin", "2024-03-31", 23.0),
            ("Europe/Berlin", "2024-10-27", 25.0),
            ("America/Los_Angeles", "2004-04-04", 23.0),
            ("Australia/Lord_Howe", "2024-10-06", 23.5),
            ("Australia/Lord_Howe", "2024-04-07", 24.5),
            ("America/Sao_Paulo", "2018-11-04", 23.0),
            ("Asia/Beirut", "2022-03-27", 23.0),
            ("Pacific/Apia", "2011-12-29", 24.0),
            ("Pacific/Apia", "2011-12-31", 24.0),
            ("UTC", "2024-03-31", 24.0),
            ("UTC+1", "2016-03-27", 24.0),
        ] {
            let day = day(zone, date);
            let found = day.end.since(day.start) as f64 / HOUR_MS as f64;
            assert_eq!(found, hours, "{zone} {date}");
        }
    }

    #[test]
    fn the_clock_change_is_the_instant_and_the_jump() {
        let spring = day("Europe/Berlin", "2024-03-31");
        assert_eq!(spring.start, at("2024-03-30T23:00:00Z"));
        let change = ClockChange { at: at("2024-03-31T01:00:00Z"), by_ms: 3_600_000 };
        assert_eq!(spring.clock_change, Some(change));
        let half = day("Australia/Lord_Howe", "2024-04-07").clock_change.unwrap();
        assert_eq!(half.by_ms, -1_800_000);
        assert_eq!(day("Europe/Berlin", "2024-04-01").clock_change, None);
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_starts_at_one() {
        for (zone, date) in [("America/Sao_Paulo", "2018-11-04"), ("Asia/Beirut", "2022-03-27")] {
            let day = day(zone, date);
            assert_eq!(day.starts_at_wall_ms, 3_600_000, "{zone}");
            assert_eq!(day.clock_change, None, "{zone}");
            assert_eq!(day.wall_hour(day.start), 1, "{zone}");
        }
    }

    #[test]
    fn a_skipped_day_is_empty_and_takes_no_instant() {
        let skipped = day("Pacific/Apia", "2011-12-30");
        assert_eq!(skipped.start, skipped.end);
        assert_eq!(skipped.start, at("2011-12-30T10:00:00Z"));
        let mut calendar = Calendar::new("Pacific/Apia").unwrap();
        let next = calendar.day_of(skipped.start);
        assert_eq!(next.date.to_string(), "2011-12-31");
        assert_eq!((next.starts_at_wall_ms, next.clock_change), (0, None));
        assert_eq!(calendar.day_of(skipped.start + -1).date.to_string(), "2011-12-29");
    }

    #[test]
    fn a_midnight_shown_twice_keeps_days_in_order() {
        // St John's went back from 00:01 to 23:01.
        let mut calendar = Calendar::new("America/St_Johns").unwrap();
        let before = day("America/St_Johns", "2006-10-28");
        assert_eq!(before.end.since(before.start), 25 * HOUR_MS);
        for minute in 0..60 {
            let at = before.end + (-HOUR_MS + minute * 60_000);
            assert_eq!(calendar.day_of(at).date.to_string(), "2006-10-28");
            assert_eq!(before.wall_hour(at), 23);
        }
    }

    #[test]
    fn local_times_become_instants() {
        let mut berlin = Calendar::new("Europe/Berlin").unwrap();
        let zone = berlin.clone();
        let utc = |text: &str| zone.local_to_utc(text.parse().unwrap()).unwrap();
        assert_eq!(utc("2024-07-01T12:00"), at("2024-07-01T10:00:00Z"));
        assert_eq!(utc("2024-10-27T02:30"), at("2024-10-27T00:30:00Z"), "the first of two");
        assert_eq!(utc("2024-03-31T02:30"), at("2024-03-31T01:30:00Z"), "skipped");
        let date = "2024-03-31".parse().unwrap();
        assert_eq!(berlin.wall_to_utc(date, 2 * 3_600_000), Some(at("2024-03-31T01:00:00Z")));
        let day = berlin.day_of(at("2024-07-01T10:00:00Z"));
        assert_eq!(berlin.wall_to_utc(day.date, 1_000), Some(at("2024-06-30T22:00:01Z")));
    }

    #[test]
    fn zones_are_named_as_iana_does_or_by_offset() {
        let offset = |name: &str| {
            Calendar::new(name).map(|c| {
                -c.day("2024-01-01".parse().unwrap()).start.since(at("2024-01-01T00:00:00Z"))
                    / 60_000
            })
        };
        assert_eq!(offset("UTC"), Ok(0));
        assert_eq!(offset("Etc/GMT-1"), Ok(60), "IANA's own reversed sign");
        assert_eq!(offset("UTC+1"), Ok(60));
        assert_eq!(offset("GMT-3"), Ok(-180));
        assert_eq!(offset("+05:30"), Ok(330));
        assert_eq!(offset("-0330"), Ok(-210));
        for wrong in
            ["", "Berlin", "UTC+", "UTC+25", "+1:2", "+19:00", "CET-1CEST,M3.5.0,M10.5.0/3", "+é"]
        {
            assert_eq!(offset(wrong), Err(CalendarError { name: wrong.to_owned() }));
        }
    }

    #[test]
    fn instants_beyond_the_calendar_do_not_panic() {
        let mut calendar = Calendar::new("Europe/Berlin").unwrap();
        for at in [i64::MIN, i64::MAX, 253_402_300_799_999, -377_705_116_800_000] {
            assert!(calendar.day_of(UtcMillis(at)).length_ms() > 0);
        }
        for date in [i32::MIN, i32::MAX, 2_932_896, -4_371_588] {
            let day = calendar.day(LocalDate(date));
            assert!(day.start <= day.end);
            assert!(calendar.wall_to_utc(LocalDate(date), 86_399_999) <= Some(UtcMillis(i64::MAX)));
        }
    }

    const ZONES: [&str; 14] = [
        "UTC",
        "Europe/Berlin",
        "Europe/London",
        "America/Los_Angeles",
        "America/Sao_Paulo",
        "America/St_Johns",
        "America/Havana",
        "Africa/Casablanca",
        "Asia/Beirut",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Kwajalein",
        "Antarctica/Troll",
    ];

    proptest! {
        /// Every day of every such zone since 1980, in random order.
        #[test]
        fn days_tile_time(zone in prop::sample::select(&ZONES[..]), days in 3_652_i32..25_000) {
            let calendar = Calendar::new(zone).unwrap();
            let (today, tomorrow) = (calendar.day(LocalDate(days)), calendar.day(LocalDate(days + 1)));
            prop_assert_eq!(today.end, tomorrow.start);
            prop_assert!(today.start <= today.end);
        }

        #[test]
        fn an_instant_is_in_its_day_and_hour(
            zone in prop::sample::select(&ZONES[..]),
            ms in 315_532_800_000_i64..2_200_000_000_000,
        ) {
            let mut calendar = Calendar::new(zone).unwrap();
            let at = UtcMillis(ms);
            let day = calendar.day_of(at);
            prop_assert!(day.contains(at));
            prop_assert_eq!(day, calendar.day(day.date));
            prop_assert_eq!(calendar.day_of(at), day, "from the days at hand");
            let civil = calendar.zone.to_datetime(Timestamp::from_millisecond(ms).unwrap());
            // Only a clock that returns to the date before files an instant under that date.
            if LocalDate::from_civil(civil.date()) == day.date {
                prop_assert_eq!(day.wall_hour(at), usize::try_from(civil.hour()).unwrap());
            } else {
                prop_assert_eq!((zone, civil.hour()), ("America/St_Johns", 0));
            }
        }
    }

    #[test]
    fn an_hour_repeated_after_midnight_is_the_new_days() {
        let mut calendar = Calendar::new("America/Havana").unwrap();
        let day = calendar.day_of(UtcMillis(718_776_000_000));
        assert_eq!(day.date.to_string(), "1992-10-11");
        assert_eq!(day.start, UtcMillis(718_776_000_000));
        assert_eq!(day.length_ms(), 25 * 3_600_000);
        assert_eq!(day.wall_hour(day.start + 3_600_000), 0, "midnight's hour again");
        assert_eq!(day.wall_hour(day.start + 7_200_000), 1);
    }

    #[test]
    fn every_day_with_a_clock_change_agrees_with_the_civil_clock() {
        for zone in ZONES {
            let calendar = Calendar::new(zone).unwrap();
            for date in (3_652..22_000).map(LocalDate) {
                let day = calendar.day(date);
                if day.clock_change.is_none() && day.starts_at_wall_ms == 0 {
                    continue;
                }
                for quarter in 0..day.length_ms() / 900_000 {
                    let at = day.start + quarter * 900_000;
                    let civil =
                        calendar.zone.to_datetime(Timestamp::from_millisecond(at.0).unwrap());
                    if LocalDate::from_civil(civil.date()) == date {
                        let hour = usize::try_from(civil.hour()).unwrap();
                        assert_eq!(day.wall_hour(at), hour, "{zone} {date} {civil}");
                    }
                }
            }
        }
    }
}
