//! Waiting for something to become true, by looking at it.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// For what takes a moment. Generous, because the machine may be busy with something else.
pub const SHORT: Duration = Duration::from_secs(30);
/// For what takes a while.
pub const LONG: Duration = Duration::from_secs(120);

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// It did not within `deadline`.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain until {what}");
        sleep(LOOK_EVERY);
    }
}

/// Waits until `look` says yes; false if it does not within `deadline`.
pub fn is_so_within(deadline: Duration, mut look: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !look() {
        if started.elapsed() >= deadline {
            return false;
        }
        sleep(LOOK_EVERY);
    }
    true
}

/// Waits until `look` says yes.
///
/// # Panics
/// It did not within `deadline`.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut look: impl FnMut() -> bool) {
    wait_for(what, deadline, || look().then_some(()));
}
