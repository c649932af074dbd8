//! A payload read by one family's table.

use alloc::{borrow::Cow, format, string::ToString, vec::Vec};

use super::{
    super::timestamp,
    families::SYSTEM,
    models::{Coding, Family, History, Item, Part, What},
};
use crate::{decode::names, quantity::Quantity, reading::Refusal, time::UtcMillis};

/// Channel and type of an earlier record.
pub(super) const RECORD: [u8; 2] = [0x20, 0xce];
/// What a temperature and a share can be, in a payload that is what it is taken for. A table that
/// does not fit gives values far outside.
const TEMPERATURES: core::ops::RangeInclusive<f64> = -60.0..=200.0;
const SHARES: core::ops::RangeInclusive<f64> = 0.0..=100.0;

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) name: Cow<'static, str>,
    /// When, for an earlier one.
    pub(super) at: Option<UtcMillis>,
    pub(super) value: Result<f64, Refusal>,
    pub(super) what: What,
}

/// The numbers of a payload; `None` if it is not this family's to its last byte. `is_told` is
/// whether the device is known to be of this family.
pub(super) fn parse(family: &Family, is_told: bool, payload: &[u8]) -> Option<Vec<Value>> {
    let mut reader = Reader { rest: payload, ..Reader::default() };
    let mut seen: Vec<[u8; 2]> = Vec::new();
    while let Some((&[channel, kind], rest)) = reader.rest.split_first_chunk() {
        reader.rest = rest;
        let before = seen.iter().filter(|seen| **seen == [channel, kind]).count();
        seen.push([channel, kind]);
        if [channel, kind] == RECORD {
            reader.record(family.history)?;
        } else {
            let found = |items: &'static [Item]| {
                items.iter().find(|item| (item.0, item.1) == (channel, kind))
            };
            let (.., parts) = found(family.items).or_else(|| found(SYSTEM))?;
            // A second value of the same is a newer one, unless they are counted.
            if before > 0 && !parts.iter().any(|part| part.name.contains('*')) {
                return None;
            }
            reader.parts(parts, before)?;
        }
    }
    let is_marked = family.mark.is_none_or(|mark| seen.contains(&mark));
    let is_known = is_told || is_marked && reader.has_now_what_it_had_before();
    (reader.rest.is_empty() && is_known).then_some(reader.values)
}

struct Reader<'p> {
    rest: &'p [u8],
    values: Vec<Value>,
    /// The names of what a record of a bare form held.
    before: Vec<&'static str>,
    /// The time of what is being read; `None` for the uplink's own.
    at: Result<Option<UtcMillis>, Refusal>,
    weights: Option<(&'static str, &'static str)>,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        Self { rest: &[], values: Vec::new(), before: Vec::new(), at: Ok(None), weights: None }
    }
}

impl Reader<'_> {
    fn has_now_what_it_had_before(&self) -> bool {
        let is_now =
            |value: &&Value| value.at.is_none() && value.value != Err(Refusal::BadTimestamp);
        let now = |name: &str| self.values.iter().filter(is_now).any(|value| value.name == name);
        self.before.iter().all(|name| now(name))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn record(&mut self, history: History) -> Option<()> {
        let seconds = u32::from_le_bytes(self.take()?);
        self.at = timestamp::from_integer(i64::from(seconds)).map(Some);
        match history {
            History::None => return None,
            History::Fixed(parts) => self.bare(parts)?,
            History::Status(allowed, parts) => {
                self.rest.first().filter(|status| allowed.contains(status))?;
                self.parts(parts, 0)?;
            }
            History::Kind(short, long) => match self.take()? {
                [0] => self.parts(short, 0)?,
                [1] => self.parts(long, 0)?,
                _ => return None,
            },
            History::Upto(counts, parts) => {
                // A device's records are all of one length, and up to the next one or the end.
                let fits = |count: &&usize| {
                    let parts = parts.get(..**count).unwrap_or(parts);
                    let length: usize = parts.iter().map(length).sum();
                    self.rest
                        .get(length..)
                        .is_some_and(|after| after.is_empty() || after.starts_with(&RECORD))
                };
                let count = *counts.iter().find(fits)?;
                self.bare(parts.get(..count)?)?;
            }
        }
        self.at = Ok(None);
        Some(())
    }

    fn bare(&mut self, parts: &'static [Part]) -> Option<()> {
        self.before.extend(parts.iter().map(|part| part.name).filter(|name| !name.is_empty()));
        self.parts(parts, 0)
    }

    fn parts(&mut self, parts: &'static [Part], before: usize) -> Option<()> {
        for part in parts {
            let value = match part.coding {
                Coding::Skip(bytes) => {
                    self.rest = self.rest.get(bytes..)?;
                    continue;
                }
                Coding::Weights => {
                    let [weights] = self.take()?;
                    self.weights = Some(weighting(weights)?);
                    continue;
                }
                _ => self.number(part)?,
            };
            let (at, value) = match self.at {
                Ok(at) => (at, value),
                Err(reason) => (None, Err(reason)),
            };
            if let Ok(value) = value {
                is_plausible(part, value).then_some(())?;
            }
            let name = self.name(part, before);
            self.values.push(Value { name, at, value, what: part.what });
        }
        Some(())
    }

    fn number(&mut self, part: &Part) -> Option<Result<f64, Refusal>> {
        // All ones is what a sensor has that could not be read, and the number below it what one
        // has that is warming up; of a temperature it is the greatest there is.
        let (raw, is_none) = match part.coding {
            Coding::U8 => {
                let [raw] = self.take()?;
                (f64::from(raw), raw == u8::MAX)
            }
            Coding::I8 => (f64::from(i8::from_le_bytes(self.take()?)), false),
            Coding::U16 => {
                let raw = u16::from_le_bytes(self.take()?);
                (f64::from(raw), raw >= u16::MAX - 2)
            }
            Coding::I16 => {
                let raw = i16::from_le_bytes(self.take()?);
                (f64::from(raw), raw == i16::MAX || raw == i16::MIN)
            }
            Coding::I15 => (f64::from(i16::from_le_bytes(self.take()?) >> 1), false),
            Coding::U32 => {
                let raw = u32::from_le_bytes(self.take()?);
                (f64::from(raw), raw == u32::MAX)
            }
            Coding::I32 => (f64::from(i32::from_le_bytes(self.take()?)), false),
            Coding::F32 => {
                // The decimal number that is meant, not the single float nearest to it.
                let raw = f32::from_le_bytes(self.take()?).to_string().parse::<f64>().ok()?;
                (raw, !raw.is_finite())
            }
            Coding::Weights | Coding::Skip(_) => return None,
        };
        Some(if is_none { Err(Refusal::Sentinel) } else { Ok(raw / part.divisor) })
    }

    fn name(&self, part: &Part, before: usize) -> Cow<'static, str> {
        if part.name.contains('*') {
            return Cow::Owned(part.name.replace('*', &format!("{before}")));
        }
        match self.weights {
            Some((frequency, time)) if part.name.contains('?') => {
                Cow::Owned(part.name.replace('?', frequency).replace('!', time))
            }
            _ => Cow::Borrowed(part.name),
        }
    }
}

fn length(part: &Part) -> usize {
    match part.coding {
        Coding::U8 | Coding::I8 | Coding::Weights => 1,
        Coding::U16 | Coding::I16 | Coding::I15 => 2,
        Coding::U32 | Coding::I32 | Coding::F32 => 4,
        Coding::Skip(bytes) => bytes,
    }
}

/// The letters of a sound level's weightings: by frequency, then by time.
fn weighting(byte: u8) -> Option<(&'static str, &'static str)> {
    let frequency = ["Z", "A", "C"].get(usize::from(byte & 3))?;
    let time = ["I", "F", "S"].get(usize::from(byte >> 2))?;
    Some((frequency, time))
}

fn is_plausible(part: &Part, value: f64) -> bool {
    if part.name == "battery" {
        return SHARES.contains(&value);
    }
    match names::classify(part.name).quantity {
        Quantity::Temperature => TEMPERATURES.contains(&value),
        Quantity::Humidity | Quantity::Moisture => SHARES.contains(&value),
        _ => true,
    }
}
