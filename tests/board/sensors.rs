//! The load: sensors that go on whatever happens to the board, and what they sent.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::sleep,
    time::{Duration, SystemTime},
};

use e2e::{Publisher, agent::READINGS, readings::Reading};

/// Every sensor reports so often: a busy site.
const ROUND: Duration = Duration::from_secs(3);
/// Every second sensor hands in what it measured a day ago: devices that were out of reach.
const LATE_MS: i64 = 86_400_000;
/// Nothing the agent would leave out: temperatures in steps of a hundredth.
const STEPS: u64 = 9_000;

/// By sensor and time, the value.
pub(crate) type Truth = BTreeMap<(String, i64), f64>;

/// All sensors and what they have sent so far.
pub(crate) struct Sensors {
    count: u64,
    truth: Mutex<Truth>,
    sent: AtomicU64,
    is_over: AtomicBool,
}

/// This machine's time.
#[expect(clippy::disallowed_methods, reason = "sensors have clocks of their own")]
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

impl Sensors {
    pub(crate) fn new(count: u64) -> Self {
        let (truth, sent) = (Mutex::default(), AtomicU64::new(0));
        Self { count, truth, sent, is_over: AtomicBool::new(false) }
    }

    /// Publishes until told to stop; then the broker has taken everything.
    pub(crate) fn run(&self, mut publisher: Publisher) {
        let pause = ROUND / u32::try_from(self.count).unwrap();
        let mut number = 0;
        while !self.is_over.load(SeqCst) {
            let index = number % self.count;
            let late = if index.is_multiple_of(2) { 0 } else { LATE_MS };
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let value = -20.0 + (number * 7 % STEPS) as f64 / 100.0;
            let sensor = format!("s{index}/temperature");
            let reading = Reading { sensor, at_ms: now_ms() - late, value };
            publisher.reading(&reading);
            self.truth.lock().unwrap().insert((reading.sensor, reading.at_ms), value);
            number += 1;
            self.sent.store(number, SeqCst);
            sleep(pause);
        }
        publisher.flush();
    }

    /// How many were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(SeqCst)
    }

    /// Ends the load.
    pub(crate) fn stop(&self) {
        self.is_over.store(true, SeqCst);
    }

    /// What was sent.
    pub(crate) fn truth(&self) -> Truth {
        self.truth.lock().unwrap().clone()
    }
}

/// A value without a time, whose time is that of its arrival.
pub(crate) fn publish_untimed(publisher: &mut Publisher, sensor: &str, value: f64) {
    publisher.publish(&format!("{READINGS}/{sensor}"), value.to_string());
}
