//! Home Assistant: what it is told of the sensors, so that they show up there by themselves.
//!
//! Each sensor is announced as a device of its own with four entities: the kind of its last day,
//! that day's novelty, the live score, and whether there is a problem. Everything here is pure: the
//! pipeline gives the time and the figures, and publishes what comes out (`pipeline/home.rs`).

mod documents;
mod names;
mod outbox;
mod problem;
#[cfg(test)]
mod schema;
mod states;
mod steady;

pub use self::{
    documents::{gateway_document, sensor_document},
    names::{Names, our_announcements},
    outbox::{Due, Outbox, Saying},
    problem::{Cause, DayEvidence, Evidence, Problem, Rules, Trouble},
    states::{last_day_message, problem_message},
};
