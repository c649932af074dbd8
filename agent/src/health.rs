//! Why the agent is not well: every part says it here, and `/health` repeats it.
//!
//! A part sets its condition while it lasts and takes it back when it is over; nobody counts or
//! interprets. What cannot be waited out is `failed`, everything else `degraded`.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};
use tracing::{error, info, warn};

use crate::clock;

/// Something that keeps the agent from doing all of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The store cannot be written; readings are not acknowledged and the broker keeps them.
    StoreWaiting,
    /// The pipeline does not move any more; the watchdog will have the agent started again.
    PipelineStuck,
    /// The time is not known, so readings without one cannot be given a day.
    ClockUntrusted,
    /// More was written than the board's flash should take; commits are spaced out.
    FlashBudget,
}

/// How bad a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong.
    Ok,
    /// Works on, with less; nothing is lost.
    Degraded,
    /// Does not work, and will not without a new start.
    Failed,
}

impl Severity {
    /// As in `/health`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

impl Condition {
    /// All of them, in the order of the enum.
    pub const ALL: [Self; 4] =
        [Self::StoreWaiting, Self::PipelineStuck, Self::ClockUntrusted, Self::FlashBudget];

    /// As in `/health` and `/metrics`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StoreWaiting => "store_waiting",
            Self::PipelineStuck => "pipeline_stuck",
            Self::ClockUntrusted => "clock_untrusted",
            Self::FlashBudget => "flash_budget",
        }
    }

    /// How bad it is while it lasts.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::PipelineStuck => Severity::Failed,
            Self::StoreWaiting | Self::ClockUntrusted | Self::FlashBudget => Severity::Degraded,
        }
    }
}

/// A condition that lasts.
#[derive(Clone, Debug)]
struct Lasting {
    detail: String,
    since: Instant,
}

/// All conditions; shared by every task.
#[derive(Debug, Default)]
pub struct Health {
    lasting: Mutex<[Option<Lasting>; Condition::ALL.len()]>,
}

impl Health {
    /// Says that a condition lasts, with what there is to say about it, or that it is over.
    /// Beginning and end are logged; said again, only the detail changes.
    pub fn set(&self, condition: Condition, detail: Option<String>) {
        let mut lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = lasting.get_mut(condition as usize) else { return };
        match (place.as_mut(), detail) {
            (Some(known), Some(detail)) => known.detail = detail,
            (None, Some(detail)) => {
                match condition.severity() {
                    Severity::Failed => error!(condition = condition.name(), %detail, "not well"),
                    Severity::Ok | Severity::Degraded => {
                        warn!(condition = condition.name(), %detail, "not well");
                    }
                }
                *place = Some(Lasting { detail, since: Instant::now() });
            }
            (Some(known), None) => {
                let lasted = known.since.elapsed();
                info!(condition = condition.name(), ?lasted, "well again");
                *place = None;
            }
            (None, None) => {}
        }
    }

    /// Whether a condition lasts.
    #[must_use]
    pub fn lasts(&self, condition: Condition) -> bool {
        self.lasting().get(condition as usize).is_some_and(Option::is_some)
    }

    /// The worst that lasts.
    #[must_use]
    pub fn severity(&self) -> Severity {
        let lasting = self.lasting();
        let worst = Condition::ALL.iter().zip(&lasting).filter(|(_, place)| place.is_some());
        worst.map(|(condition, _)| condition.severity()).max().unwrap_or(Severity::Ok)
    }

    /// `status`, and `why` with each condition that lasts.
    #[must_use]
    pub fn document(&self) -> Value {
        let now = clock::system_now();
        let why: Vec<Value> = Condition::ALL
            .iter()
            .zip(self.lasting())
            .filter_map(|(condition, place)| Some((condition, place?)))
            .map(|(condition, Lasting { detail, since })| {
                // Reckoned back from now, because the clock may have been set in between.
                let ago = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
                let since = (now + ago.saturating_neg()).to_string();
                json!({ "condition": condition.name(), "detail": detail, "since": since })
            })
            .collect();
        json!({ "status": self.severity().name(), "why": why })
    }

    /// One line without control characters: `ok`, or the details of what is wrong.
    #[must_use]
    pub fn summary(&self) -> String {
        let lasting = self.lasting();
        let details: Vec<&str> =
            lasting.iter().flatten().map(|lasting| lasting.detail.as_str()).collect();
        match self.severity() {
            Severity::Ok => "ok".into(),
            severity => {
                let line = format!("{}: {}", severity.name(), details.join("; "));
                line.replace(char::is_control, " ")
            }
        }
    }

    /// Which conditions last, in the Prometheus text format.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = String::from(
            "# HELP daywise_unwell 1 while the agent is not well for that reason\n\
             # TYPE daywise_unwell gauge\n",
        );
        for (condition, place) in Condition::ALL.iter().zip(self.lasting()) {
            let (name, lasts) = (condition.name(), u8::from(place.is_some()));
            text.push_str(&format!("daywise_unwell{{condition=\"{name}\"}} {lasts}\n"));
        }
        text
    }

    fn lasting(&self) -> [Option<Lasting>; Condition::ALL.len()] {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_has_its_own_place_and_name() {
        for (place, condition) in Condition::ALL.into_iter().enumerate() {
            assert_eq!(condition as usize, place);
            let health = Health::default();
            health.set(condition, Some("x".into()));
            let lasting: Vec<_> =
                Condition::ALL.into_iter().filter(|other| health.lasts(*other)).collect();
            assert_eq!(lasting, [condition]);
            assert_eq!(health.document()["why"][0]["condition"], condition.name());
        }
    }

    #[test]
    fn the_worst_condition_decides_and_all_are_named() {
        let health = Health::default();
        assert_eq!(health.document(), json!({ "status": "ok", "why": [] }));
        assert_eq!(health.summary(), "ok");
        health.set(Condition::StoreWaiting, Some("no space\nleft".into()));
        assert_eq!(health.severity(), Severity::Degraded);
        health.set(Condition::PipelineStuck, Some("for 61s".into()));
        let document = health.document();
        assert_eq!(document["status"], "failed");
        assert_eq!(document["why"][0]["detail"], "no space\nleft");
        assert_eq!(document["why"][1]["detail"], "for 61s");
        assert_eq!(health.summary(), "failed: no space left; for 61s");
        let text = health.to_prometheus();
        assert!(text.contains("\ndaywise_unwell{condition=\"pipeline_stuck\"} 1\n"), "{text}");
        assert!(text.contains("\ndaywise_unwell{condition=\"clock_untrusted\"} 0\n"), "{text}");
    }

    #[test]
    fn a_condition_keeps_its_beginning_until_it_is_over() {
        let health = Health::default();
        health.set(Condition::FlashBudget, Some("90 %".into()));
        let begun = health.lasting()[Condition::FlashBudget as usize].clone().unwrap().since;
        health.set(Condition::FlashBudget, Some("95 %".into()));
        let now = health.lasting()[Condition::FlashBudget as usize].clone().unwrap();
        assert_eq!((now.since, now.detail.as_str()), (begun, "95 %"));
        health.set(Condition::FlashBudget, None);
        assert_eq!(health.severity(), Severity::Ok);
    }
}
