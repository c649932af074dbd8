//! A payload read by one family's table.

use alloc::{borrow::Cow, format, string::ToString, vec::Vec};

use super::{
    super::timestamp,
    models::{Coding, Family, History, Item, Maker, Part, What},
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
pub(super) fn parse(
    maker: &Maker,
    family: &Family,
    is_told: bool,
    payload: &[u8],
) -> Option<Parsed> {
    let mut reader = Reader {
        rest: payload,
        is_high_first: maker.is_high_first,
        later_counts: family.repeats_with.is_some(),
        ..Reader::default()
    };
    let mut seen: Vec<[u8; 2]> = Vec::new();
    let mut repeats = false;
    while let Some((&[channel, kind], rest)) = reader.rest.split_first_chunk() {
        if !seen.is_empty() && is_filling(maker, reader.rest) {
            reader.rest = &[];
            break;
        }
        reader.rest = rest;
        let before = seen.iter().filter(|seen| **seen == [channel, kind]).count();
        seen.push([channel, kind]);
        if [channel, kind] == RECORD && !maker.is_high_first {
            reader.record(family.history)?;
        } else {
            let found = |items: &'static [Item]| {
                items.iter().find(|item| (item.0, item.1) == (channel, kind))
            };
            let (.., parts) = found(family.items).or_else(|| found(maker.system))?;
            let are_counted = parts.iter().any(|part| part.name.contains('*'));
            repeats |= before > 0 && !are_counted;
            reader.parts(parts, before)?;
        }
    }
    if repeats && !family.repeats_with.is_some_and(|mark| seen.contains(&mark)) {
        return None;
    }
    let is_marked = family.mark.is_none_or(|mark| seen.contains(&mark));
    let is_known = is_told || is_marked && reader.has_now_what_it_had_before();
    let items = seen.len();
    let values = reader.values;
    (reader.rest.is_empty() && is_known).then_some(Parsed { items, values })
}

/// What was read: the numbers, and of how many items they are.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) items: usize,
    pub(super) values: Vec<Value>,
}

/// Whether what is left is there for the length only: no item of these is all zeros.
fn is_filling(maker: &Maker, rest: &[u8]) -> bool {
    !maker.is_high_first && rest.iter().all(|byte| *byte == 0)
}

struct Reader<'p> {
    rest: &'p [u8],
    is_high_first: bool,
    later_counts: bool,
    values: Vec<Value>,
    /// The names of what a record of a bare form held.
    before: Vec<&'static str>,
    /// The time of what is being read; `None` for the uplink's own.
    at: Result<Option<UtcMillis>, Refusal>,
    weights: Option<(&'static str, &'static str)>,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        Self {
            rest: &[],
            is_high_first: false,
            later_counts: false,
            values: Vec::new(),
            before: Vec::new(),
            at: Ok(None),
            weights: None,
        }
    }
}

impl Reader<'_> {
    fn has_now_what_it_had_before(&self) -> bool {
        let is_now =
            |value: &&Value| value.at.is_none() && value.value != Err(Refusal::BadTimestamp);
        let now = |name: &str| self.values.iter().filter(is_now).any(|value| value.name == name);
        self.before.iter().all(|name| now(name))
    }

    /// The next bytes, the low one first.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.peek()?;
        self.rest = self.rest.get(N..)?;
        Some(bytes)
    }

    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = *self.rest.first_chunk()?;
        if self.is_high_first {
            bytes.reverse();
        }
        Some(bytes)
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
            History::Ranged(parts) => self.parts(parts, 0)?,
            History::Behind(parts, kinds) => {
                self.parts(parts, 0)?;
                let [kind] = self.take()?;
                let (_, rest) = kinds.iter().find(|(of, _)| *of == kind)?;
                self.parts(rest, 0)?;
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
            if self.passes(part.coding)? {
                continue;
            }
            let value = self.number(part)?;
            let (at, value) = match self.at {
                Ok(at) => (at, value),
                Err(reason) => (None, Err(reason)),
            };
            if let Ok(value) = value {
                is_plausible(part, value).then_some(())?;
            }
            let name = self.name(part, before);
            if self.later_counts && at.is_none() {
                self.values.retain(|earlier| earlier.at.is_some() || earlier.name != name);
            }
            self.values.push(Value { name, at, value, what: part.what });
        }
        Some(())
    }

    /// Passes over a part that holds no number, if it is one.
    fn passes(&mut self, coding: Coding) -> Option<bool> {
        match coding {
            Coding::Skip(bytes) => self.rest = self.rest.get(bytes..)?,
            Coding::State => {
                let [state] = self.take()?;
                matches!(state, 0 | u8::MAX).then_some(())?;
            }
            Coding::Text => {
                let [length] = self.take()?;
                self.rest = self.rest.get(usize::from(length)..)?;
            }
            Coding::Weights => {
                let [weights] = self.take()?;
                self.weights = Some(weighting(weights)?);
            }
            _ => return Some(false),
        }
        Some(true)
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
            _ => (self.bits(part.coding)?, false),
        };
        Some(if is_none { Err(Refusal::Sentinel) } else { Ok(raw / part.divisor) })
    }

    /// A number that is not as wide as its bytes.
    fn bits(&mut self, coding: Coding) -> Option<f64> {
        Some(match coding {
            Coding::U7 => {
                let [raw] = self.take()?;
                f64::from(raw & 0x7f)
            }
            Coding::Cell => {
                let [raw] = self.take()?;
                f64::from(raw & 0x7f) + 250.0
            }
            Coding::Place => {
                let [raw] = self.take()?;
                f64::from(raw) + 1.0
            }
            Coding::UpperPlace => {
                let [raw] = self.take()?;
                f64::from(raw >> 6) + 1.0
            }
            Coding::Upper11 => f64::from(u16::from_le_bytes(self.take()?) >> 5) - 1_000.0,
            Coding::Bit(place) => {
                let [raw] = self.peek()?;
                f64::from(raw >> place & 1)
            }
            Coding::Thermistor => {
                let millivolts = f64::from(u16::from_le_bytes(self.peek()?));
                (millivolts > 0.0).then_some(())?;
                libm::round((236.36 - 32.46 * libm::log(millivolts)) * 10.0)
            }
            _ => return None,
        })
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
        Coding::U8
        | Coding::I8
        | Coding::U7
        | Coding::Cell
        | Coding::Place
        | Coding::UpperPlace
        | Coding::Weights
        | Coding::State => 1,
        Coding::U16 | Coding::I16 | Coding::I15 | Coding::Upper11 => 2,
        Coding::U32 | Coding::I32 | Coding::F32 => 4,
        Coding::Skip(bytes) => bytes,
        // Not passed over, or not always as long.
        Coding::Bit(_) | Coding::Thermistor | Coding::Text => 0,
    }
}

/// The letters of a sound level's weightings: by frequency, then by time.
fn weighting(byte: u8) -> Option<(&'static str, &'static str)> {
    let frequency = ["Z", "A", "C"].get(usize::from(byte & 3))?;
    let time = ["I", "F", "S"].get(usize::from(byte >> 2))?;
    Some((frequency, time))
}

fn is_plausible(part: &Part, value: f64) -> bool {
    if let Some(is_allowed) = part.allows(value) {
        return is_allowed;
    }
    if part.name == "battery" {
        return SHARES.contains(&value);
    }
    match names::classify(part.name).quantity {
        Quantity::Temperature => TEMPERATURES.contains(&value),
        Quantity::Humidity | Quantity::Moisture => SHARES.contains(&value),
        _ => true,
    }
}
