//! Durations written as people write them: `"90s"`, `"2h"`, `"1h 30m"`.

use alloc::string::String;
use core::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer};

/// A duration in a config file: a number and one of `ms`, `s`, `m`, `h`, `d`, several added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// A whole number of seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// In milliseconds; saturates.
    #[must_use]
    pub fn as_ms(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration such as \"90s\", \"2h\" or \"1h 30m\"")]
pub struct NotADuration;

impl FromStr for HumanDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let mut total = Duration::ZERO;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(NotADuration);
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(NotADuration)?;
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| NotADuration)?;
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let ms_per_unit: u64 = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(NotADuration),
            };
            let ms = number.checked_mul(ms_per_unit).ok_or(NotADuration)?;
            total = total.checked_add(Duration::from_millis(ms)).ok_or(NotADuration)?;
            rest = tail.trim_start();
        }
        Ok(Self(total))
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let secs = |text: &str| text.parse::<HumanDuration>().map(|d| d.0.as_secs());
        assert_eq!(secs("90s"), Ok(90));
        assert_eq!(secs("1h 30m"), Ok(5_400));
        assert_eq!(secs("2d"), Ok(172_800));
        for wrong in ["", "5", "h", "-3s", "5 minutes", "99999999999999999999d"] {
            assert_eq!(secs(wrong), Err(NotADuration), "{wrong}");
        }
    }
}
