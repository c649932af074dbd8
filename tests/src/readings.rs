//! Readings to feed: made up, but the same each time.

use std::fmt::Write as _;

/// One hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;

/// One day without a clock change, in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// 2024-03-29T00:00 in Berlin; the clock there goes forward on the 31st.
pub const BERLIN_MARCH_29: i64 = 1_711_666_800_000;

/// The start of the `number`th local day in Berlin from 29 March 2024 on, until October.
#[must_use]
pub fn berlin_day(number: i64) -> i64 {
    let summer = if number > 2 { HOUR_MS } else { 0 };
    BERLIN_MARCH_29 + number * DAY_MS - summer
}

/// One value of one sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The sensor's id.
    pub sensor: String,
    /// Epoch milliseconds.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
}

/// A small generator of random numbers (SplitMix64), so that every run is the same.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Starts from `seed`, or from `DAYWISE_E2E_SEED` where that is set, to try other moments.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let given = std::env::var("DAYWISE_E2E_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(seed);
        println!("random moments by seed {seed}");
        Self(seed)
    }

    /// True with a probability of `percent` in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.between(0, 100) < percent
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` up to, but without, `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low)
    }

    /// A number from -1 to 1.
    #[expect(clippy::cast_precision_loss, reason = "20 bits fit f64")]
    pub fn noise(&mut self) -> f64 {
        (self.bits() % (1 << 20)) as f64 / f64::from(1 << 19) - 1.0
    }
}

/// A building: `sensors` sensors, alternating temperature and humidity, each read every
/// `step_ms` from `from_ms` up to `to_ms`, in order of time. Every third day is a different kind
/// of day.
#[must_use]
pub fn building(sensors: usize, from_ms: i64, to_ms: i64, step_ms: i64) -> Vec<Reading> {
    let mut random = Random(7);
    let mut readings = Vec::new();
    let mut at_ms = from_ms;
    while at_ms < to_ms {
        #[expect(clippy::cast_precision_loss, reason = "a day of milliseconds fits f64")]
        let hour = at_ms.rem_euclid(24 * HOUR_MS) as f64 / HOUR_MS as f64;
        let busy = at_ms.div_euclid(24 * HOUR_MS) % 3 != 0;
        for number in 0..sensors {
            let swing = if busy { 6.0 } else { 1.0 };
            let shape = (hour / 24.0 * std::f64::consts::TAU).sin();
            let level = if number.is_multiple_of(2) { 21.0 } else { 48.0 };
            #[expect(clippy::cast_precision_loss, reason = "few sensors")]
            let value = level + number as f64 * 0.25 + swing * shape + random.noise();
            let value = (value * 1_000.0).round() / 1_000.0;
            readings.push(Reading { sensor: sensor_id(number), at_ms, value });
        }
        at_ms += step_ms;
    }
    readings
}

/// The id of the building's sensor with that number; the first level is the room.
#[must_use]
pub fn sensor_id(number: usize) -> String {
    let quantity = if number.is_multiple_of(2) { "temperature" } else { "humidity" };
    format!("room-{}/{quantity}", number / 2)
}

/// The readings as the batch commands read them.
#[must_use]
pub fn to_csv(readings: &[Reading]) -> String {
    let mut csv = String::from("ts,sensor_id,value\n");
    for Reading { sensor, at_ms, value } in readings {
        writeln!(csv, "{at_ms},{sensor},{value}").unwrap();
    }
    csv
}
