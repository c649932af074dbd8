//! What each family of models sends: its items, each told by channel and type, and its history.
//!
//! The makers publish the table of every model. Channels are the models' own, so the same item
//! may mean two things (`05 7d` is carbon dioxide of one and hydrogen sulphide of another).

use core::ops::RangeInclusive;

use crate::quantity::Quantity;

/// A maker of sensors whose payloads are such items.
#[derive(Debug)]
pub(super) struct Maker {
    /// Its block of EUIs.
    pub(super) prefix: &'static str,
    /// Its name, in small letters.
    pub(super) name: &'static str,
    /// The port that its sensors send to.
    pub(super) port: u64,
    /// Whether numbers have their high byte first.
    pub(super) is_high_first: bool,
    /// How many items there must be at least, if the port alone tells the maker.
    pub(super) least_items: usize,
    /// What every model may tell of itself.
    pub(super) system: &'static [Item],
    pub(super) families: &'static [Family],
}

/// How a part of an item is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    U8,
    I8,
    U16,
    I16,
    /// As `I16`, but its lowest bit says whether a threshold is passed.
    I15,
    U32,
    I32,
    F32,
    /// One byte, without its highest bit.
    U7,
    /// The same, in hundredths of a volt above two and a half: a lithium cell's.
    Cell,
    /// One byte, for what is counted from one on.
    Place,
    /// The two highest bits of a byte, for the same.
    UpperPlace,
    /// The eleven highest bits of two bytes, less a thousand.
    Upper11,
    /// One bit of the next byte, which is not passed over.
    Bit(u8),
    /// The temperature of a thermistor with the millivolts of the next two bytes, which are not
    /// passed over.
    Thermistor,
    /// The weightings of the sound levels behind it.
    Weights,
    /// So many bytes that hold no number.
    Skip(usize),
    /// A byte of all zeros or all ones that stands for a word.
    State,
    /// As many bytes as the first one says.
    Text,
}

/// What a part's value is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// What its name says.
    Named,
    /// This, whatever its name says.
    Is(Quantity),
    /// A setting or an identity.
    Setting,
    /// The device's own health.
    Health,
}

/// A part of an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// In it `*` stands for how many of these items there were before, `?` and `!` for the letters
    /// of the weightings by frequency and by time.
    pub(super) name: &'static str,
    pub(super) coding: Coding,
    /// What the number is to be divided by.
    pub(super) divisor: f64,
    pub(super) what: What,
    /// What it can be, where its name does not tell.
    pub(super) range: Option<(f64, f64)>,
}

impl Part {
    pub(super) const fn within(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }

    /// Whether the value can be one.
    pub(super) fn allows(&self, value: f64) -> Option<bool> {
        let range = self.range.map(|(low, high)| RangeInclusive::new(low, high));
        range.map(|range| range.contains(&value))
    }
}

/// An item: channel, type, parts.
pub(super) type Item = (u8, u8, &'static [Part]);

/// What is behind the time of an earlier record.
#[derive(Clone, Copy, Debug)]
pub(super) enum History {
    /// None, or none whose form is known.
    None,
    /// Always these parts. As others may be as long, the model must be told or the payload have
    /// the same values of now.
    Fixed(&'static [Part]),
    /// These parts, the first one to have one of these values.
    Status(&'static [u8], &'static [Part]),
    /// As many of these parts as there is place for, one of these counts; as before.
    Upto(&'static [usize], &'static [Part]),
    /// A byte that says which.
    Kind(&'static [Part], &'static [Part]),
    /// Always these parts, whose ranges tell them from any other model's.
    Ranged(&'static [Part]),
    /// These parts, and behind them a byte that says which.
    Behind(&'static [Part], &'static [(u8, &'static [Part])]),
}

/// Models that share one table.
#[derive(Debug)]
pub(super) struct Family {
    /// The models, as they start in capital letters without signs between them.
    pub(super) models: &'static [&'static str],
    /// Only for devices whose model is told: others have the same items for other things.
    pub(super) is_by_name_only: bool,
    /// An item without which it is none of these, if the model is not told.
    pub(super) mark: Option<[u8; 2]>,
    /// An item with which several reports may stand in one payload: of two values of the same the
    /// later one counts. Of others no item comes twice, unless its parts are counted.
    pub(super) repeats_with: Option<[u8; 2]>,
    pub(super) items: &'static [Item],
    pub(super) history: History,
}

pub(super) const fn part(name: &'static str, coding: Coding, divisor: f64, what: What) -> Part {
    Part { name, coding, divisor, what, range: None }
}

pub(super) const fn named(name: &'static str, coding: Coding, divisor: f64) -> Part {
    part(name, coding, divisor, What::Named)
}

pub(super) const fn is(
    name: &'static str,
    coding: Coding,
    divisor: f64,
    quantity: Quantity,
) -> Part {
    part(name, coding, divisor, What::Is(quantity))
}

pub(super) const fn skip(bytes: usize) -> Part {
    part("", Coding::Skip(bytes), 1.0, What::Named)
}

pub(super) const fn family(models: &'static [&'static str], items: &'static [Item]) -> Family {
    Family {
        models,
        is_by_name_only: false,
        mark: None,
        repeats_with: None,
        items,
        history: History::None,
    }
}
