//! What each family of models sends: its items, each told by channel and type, and its history.
//!
//! The maker publishes the table of every model. Channels are the models' own, so the same item
//! may mean two things (`05 7d` is carbon dioxide of one and hydrogen sulphide of another).

use crate::quantity::Quantity;

/// How a part of an item is written; whole numbers have their low byte first.
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
    /// The weightings of the sound levels behind it.
    Weights,
    /// So many bytes that hold no number.
    Skip(usize),
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
    pub(super) items: &'static [Item],
    pub(super) history: History,
}

pub(super) const fn part(name: &'static str, coding: Coding, divisor: f64, what: What) -> Part {
    Part { name, coding, divisor, what }
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
    Family { models, is_by_name_only: false, mark: None, items, history: History::None }
}
