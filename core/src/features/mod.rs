//! Feature sets: what a sensor's day is reduced to.
//!
//! A set is a name and a version, and what it computes never changes once released: a model
//! trained on `profile/1` would be meaningless on anything else. A feature that the day does
//! not have (an hour without a reading) is missing, never 0 or NaN.

mod moments;
mod profile;

use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::chunk::Chunk;

/// The most features that any set has; bounds every buffer that holds one sensor-day.
pub const MAX_FEATURES: usize = 40;
/// Below this many samples a day has no spread, so no set describes it.
pub const MIN_SAMPLES: usize = 2;

/// A feature set: name and version. The number is its code on the wire and in models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum FeatureSet {
    /// `moments/1`: mean and standard deviation of the day's values.
    Moments1 = 1,
    /// `profile/1`: the day's shape, level, spread, roughness and completeness.
    #[default]
    Profile1 = 2,
}

impl FeatureSet {
    /// Every set.
    pub const ALL: &[Self] = &[Self::Moments1, Self::Profile1];

    /// Name and version, as files and messages show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Moments1 => "moments/1",
            Self::Profile1 => "profile/1",
        }
    }

    /// The names of its features, in order.
    #[must_use]
    pub const fn feature_names(self) -> &'static [&'static str] {
        match self {
            Self::Moments1 => &moments::NAMES,
            Self::Profile1 => &profile::NAMES,
        }
    }

    /// The smallest spread between days that means anything for feature `index`: shares of a day
    /// or of its readings differ by a few hundredths for no reason; 0 where the quantity's own
    /// scale decides.
    #[must_use]
    pub fn least_spread(self, index: usize) -> f32 {
        let is_share = match self {
            Self::Moments1 => false,
            Self::Profile1 => profile::is_share(index),
        };
        if is_share { 0.02 } else { 0.0 }
    }

    /// How many of its features are means of the wall clock's hours; they come first.
    #[must_use]
    pub const fn hours(self) -> usize {
        match self {
            Self::Moments1 => 0,
            Self::Profile1 => profile::HOURS,
        }
    }

    /// How many features it has.
    #[must_use]
    pub const fn dimensions(self) -> usize {
        self.feature_names().len()
    }

    /// The set whose features have exactly these names in this order.
    #[must_use]
    pub fn from_feature_names<S: AsRef<str>>(names: &[S]) -> Option<Self> {
        Self::ALL.iter().copied().find(|set| {
            set.dimensions() == names.len()
                && set
                    .feature_names()
                    .iter()
                    .zip(names)
                    .all(|(known, name)| *known == name.as_ref())
        })
    }

    /// Computes the features of one sensor's day.
    ///
    /// # Errors
    /// The day has fewer than [`MIN_SAMPLES`] samples.
    pub fn extract(self, chunk: &Chunk) -> Result<Features, TooFewSamples> {
        if chunk.samples().len() < MIN_SAMPLES {
            return Err(TooFewSamples { found: chunk.samples().len() });
        }
        Ok(match self {
            Self::Moments1 => moments::extract(chunk),
            Self::Profile1 => profile::extract(chunk),
        })
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Moments1),
            2 => Some(Self::Profile1),
            _ => None,
        }
    }
}

/// The set is none that this build knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown feature set; known are moments and profile")]
pub struct UnknownSet;

impl FromStr for FeatureSet {
    type Err = UnknownSet;
    /// Takes the name with or without the version; without it means the newest.
    fn from_str(text: &str) -> Result<Self, UnknownSet> {
        match text {
            "moments" | "moments/1" => Ok(Self::Moments1),
            "profile" | "profile/1" => Ok(Self::Profile1),
            _ => Err(UnknownSet),
        }
    }
}

impl fmt::Display for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for FeatureSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.name())
        } else {
            serializer.serialize_u8(*self as u8)
        }
    }
}

impl<'de> Deserialize<'de> for FeatureSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            let name = alloc::string::String::deserialize(deserializer)?;
            name.parse().map_err(D::Error::custom)
        } else {
            Self::from_code(u8::deserialize(deserializer)?).ok_or(D::Error::custom(UnknownSet))
        }
    }
}

/// A day with too few samples to describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only {found} samples, at least 2 are needed")]
pub struct TooFewSamples {
    /// How many distinct samples the day has.
    pub found: usize,
}

/// One sensor-day's features: as many as the set has, each a finite number or missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    set: FeatureSet,
    /// 0.0 where missing; only read through `observed`.
    values: heapless::Vec<f32, MAX_FEATURES>,
    /// Bit i says that feature i is there.
    observed: u64,
}

/// Values that are not one day's features of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeaturesError {
    /// Not as many values as the set has features.
    #[error("{found} values, but the feature set has {expected}")]
    Count {
        /// How many there are.
        found: usize,
        /// How many the set has.
        expected: usize,
    },
    /// NaN or an infinity.
    #[error("feature {index} is not a finite number")]
    NotFinite {
        /// Which one, counted from 0.
        index: usize,
    },
    /// Nothing was observed at all.
    #[error("every feature is missing")]
    Empty,
}

impl Features {
    /// Takes the values in the set's order, `None` for a missing one.
    ///
    /// # Errors
    /// The wrong number of values, one that is not finite, or none that is there.
    pub fn new(
        set: FeatureSet,
        given: impl IntoIterator<Item = Option<f32>>,
    ) -> Result<Self, FeaturesError> {
        let mut values = heapless::Vec::new();
        let mut observed = 0;
        let mut found = 0;
        for (index, value) in given.into_iter().enumerate() {
            found += 1;
            if value.is_some_and(|value| !value.is_finite()) {
                return Err(FeaturesError::NotFinite { index });
            }
            if values.push(value.unwrap_or(0.0)).is_ok() && value.is_some() {
                observed |= 1 << index;
            }
        }
        if found != set.dimensions() {
            return Err(FeaturesError::Count { found, expected: set.dimensions() });
        }
        if observed == 0 {
            return Err(FeaturesError::Empty);
        }
        Ok(Self { set, values, observed })
    }

    /// The set they belong to.
    #[must_use]
    pub fn set(&self) -> FeatureSet {
        self.set
    }

    /// How many features there are, missing ones included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no feature set is empty")]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Feature `index`, or `None` if it is missing.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<f32> {
        self.values.get(index).copied().filter(|_| self.observed & (1 << index) != 0)
    }

    /// All features in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<f32>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Replaces the first `count` of them.
    pub(crate) fn replace(&mut self, count: usize, with: impl Fn(Option<f32>) -> Option<f32>) {
        for index in 0..count.min(self.len()) {
            let value = with(self.get(index));
            let bit = 1 << index;
            self.observed =
                if value.is_some() { self.observed | bit } else { self.observed & !bit };
            if let Some(place) = self.values.get_mut(index) {
                *place = value.unwrap_or(0.0);
            }
        }
    }

    /// How many are there.
    #[must_use]
    pub fn observed(&self) -> usize {
        self.observed.count_ones() as usize
    }

    /// The feature of that name, or `None` if it is missing or not in the set.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<f32> {
        self.set.feature_names().iter().position(|known| *known == name).and_then(|i| self.get(i))
    }
}

/// On the wire: set code, bit mask of the present ones, the present values.
#[derive(Serialize, Deserialize)]
struct Encoded {
    set: FeatureSet,
    observed: u64,
    values: Vec<f32>,
}

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.iter().flatten().collect();
        Encoded { set: self.set, observed: self.observed, values }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let Encoded { set, observed, values } = Encoded::deserialize(deserializer)?;
        let dimensions = set.dimensions();
        if observed >> dimensions != 0 || observed.count_ones() as usize != values.len() {
            return Err(D::Error::custom("feature mask and values disagree"));
        }
        let mut present = values.into_iter();
        let all =
            (0..dimensions).map(|i| if observed & (1 << i) != 0 { present.next() } else { None });
        Self::new(set, all).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_survive_the_wire_with_their_gaps() {
        let mut values = alloc::vec![Some(1.5); FeatureSet::Profile1.dimensions()];
        values[3] = None;
        let features = Features::new(FeatureSet::Profile1, values).unwrap();
        let bytes = postcard::to_allocvec(&features).unwrap();
        let back: Features = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back, features);
        assert_eq!(back.get(3), None);
        assert_eq!(back.get(4), Some(1.5));
    }

    #[test]
    fn values_that_are_not_a_day_are_refused() {
        let moments = |values: &[Option<f32>]| {
            Features::new(FeatureSet::Moments1, values.iter().copied()).map(|_| ())
        };
        assert_eq!(moments(&[Some(1.0)]), Err(FeaturesError::Count { found: 1, expected: 2 }));
        assert_eq!(
            moments(&[Some(1.0), Some(f32::NAN)]),
            Err(FeaturesError::NotFinite { index: 1 })
        );
        assert_eq!(moments(&[None, None]), Err(FeaturesError::Empty));
    }

    #[test]
    fn no_set_outgrows_the_buffers() {
        for set in FeatureSet::ALL {
            assert!(set.dimensions() <= MAX_FEATURES);
            assert_eq!(set.name().parse(), Ok(*set));
            assert_eq!(FeatureSet::from_feature_names(set.feature_names()), Some(*set));
        }
    }
}
