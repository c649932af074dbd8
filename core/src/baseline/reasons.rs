//! Why a day is not like the sensor's other days: the strongest of what differs, each once.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::{Baseline, DaySeen, figures::figures, verdict::Deviates};
use crate::{
    features::{FeatureSet, Features},
    time::LocalDate,
};

/// How many reasons are named.
pub const MAX_REASONS: usize = 3;
/// Below this a figure is no reason.
const LEAST_REASON: f32 = 1.5;

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The mean of a part of the day.
    Part(DayPart),
    /// A feature, by its place in the set.
    Feature(u8),
}

impl Subject {
    /// Its name in messages: the feature's, or the part's.
    #[must_use]
    pub fn name(self, set: FeatureSet) -> &'static str {
        match self {
            Self::Part(part) => part.name(),
            Self::Feature(place) => {
                set.feature_names().get(usize::from(place)).copied().unwrap_or("unknown")
            }
        }
    }
}

/// A quarter of the day on the site's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DayPart {
    /// 00:00 to 06:00.
    Night,
    /// 06:00 to 12:00.
    Morning,
    /// 12:00 to 18:00.
    Afternoon,
    /// 18:00 to 24:00.
    Evening,
}

impl DayPart {
    const ALL: [Self; 4] = [Self::Night, Self::Morning, Self::Afternoon, Self::Evening];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Night => "night",
            Self::Morning => "morning",
            Self::Afternoon => "afternoon",
            Self::Evening => "evening",
        }
    }
}

/// What sets a day apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What it is about.
    pub subject: Subject,
    /// How far from its usual, signed, on the scale of a normal deviate.
    pub deviate: f32,
    /// What it was.
    pub value: f32,
    /// What it usually is on such days.
    pub usual: f32,
}

impl Baseline {
    /// The strongest reasons, one of each group that says the same.
    pub(super) fn reasons(
        &self,
        date: LocalDate,
        seen: &DaySeen,
        features: &Features,
        deviates: &Deviates,
    ) -> Vec<Reason, MAX_REASONS> {
        let mut groups: [Option<Reason>; 4 + GROUPS] = [None; 4 + GROUPS];
        for (group, part) in groups.iter_mut().zip(DayPart::ALL) {
            *group = self.part_reason(date, seen, deviates, part);
        }
        let set = features.set();
        for (place, value) in figures(features) {
            let deviate = deviates.each.get(place).copied().flatten();
            let usual = self.usual(set, date, place);
            let (Some(value), Some(deviate), Some(usual)) = (value, deviate, usual) else {
                continue;
            };
            let name = set.feature_names().get(place).copied().unwrap_or_default();
            let subject = Subject::Feature(u8::try_from(place).unwrap_or(u8::MAX));
            let found = Reason { subject, deviate, value, usual };
            if let Some(group) = groups.get_mut(4 + group_of(name))
                && group.is_none_or(|held| held.deviate.abs() < deviate.abs())
            {
                *group = Some(found);
            }
        }
        let strong = |reason: &Reason| reason.deviate.abs() >= LEAST_REASON;
        groups.sort_unstable_by(|a, b| {
            let size = |reason: &Option<Reason>| reason.map_or(0.0, |r| r.deviate.abs());
            size(b).total_cmp(&size(a))
        });
        groups.into_iter().flatten().filter(strong).take(MAX_REASONS).collect()
    }

    /// How a part of the day differs on the whole.
    fn part_reason(
        &self,
        date: LocalDate,
        seen: &DaySeen,
        deviates: &Deviates,
        part: DayPart,
    ) -> Option<Reason> {
        let (mut deviate, mut value, mut usual, mut count) = (0.0, 0.0, 0.0, 0.0_f32);
        let first = part as usize * 6;
        for hour in first..first + 6 {
            let known = self.hours.usual(date, hour);
            let seen = seen.hours.get(hour).copied().flatten();
            let Some((one, (mean, _))) = deviates.hours_each.get(hour)?.zip(seen) else { continue };
            deviate += one;
            value += mean;
            usual += known.mean;
            count += 1.0;
        }
        (count > 0.0).then(|| Reason {
            subject: Subject::Part(part),
            deviate: deviate / count,
            value: value / count,
            usual: usual / count,
        })
    }
}

/// Groups of figures that say the same.
const GROUPS: usize = 5;

/// The group of a figure: level, spread, steps, repeats, completeness.
fn group_of(name: &str) -> usize {
    match name {
        "std" | "daily_std" => 1,
        "mean_abs_step" | "max_abs_step" => 2,
        "repeat_share" => 3,
        "day_coverage" | "longest_gap" => 4,
        _ => 0,
    }
}
