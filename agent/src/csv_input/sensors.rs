//! The sensors of a file, numbered in the order in which they appear.

use std::collections::HashMap;

use daywise_core::{quantity::Quantity, reading::SensorIx};

/// Finds sensors by id; consecutive rows of one sensor need no lookup.
#[derive(Debug, Default)]
pub struct FileSensors {
    /// What all of them measure; `None` to infer it from each id.
    quantity: Option<Quantity>,
    by_id: HashMap<String, usize>,
    all: Vec<(String, Quantity)>,
    last: usize,
}

impl FileSensors {
    /// None yet.
    #[must_use]
    pub fn new(quantity: Option<Quantity>) -> Self {
        Self { quantity, ..Self::default() }
    }

    /// The sensor's number, its next one at first sight, and what it measures.
    pub fn of(&mut self, id: &str) -> (SensorIx, Quantity) {
        if self.all.get(self.last).is_none_or(|(known, _)| known != id) {
            self.last = match self.by_id.get(id) {
                Some(&place) => place,
                None => self.add(id),
            };
        }
        let quantity = self.all.get(self.last).map_or(Quantity::Generic, |(_, quantity)| *quantity);
        (SensorIx(u32::try_from(self.last).unwrap_or(u32::MAX)), quantity)
    }

    fn add(&mut self, id: &str) -> usize {
        let place = self.all.len();
        let quantity = self.quantity.unwrap_or_else(|| Quantity::infer(id));
        self.by_id.insert(id.to_owned(), place);
        self.all.push((id.to_owned(), quantity));
        place
    }

    /// Their ids and quantities, in the order of their numbers.
    #[must_use]
    pub fn into_all(self) -> Vec<(String, Quantity)> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_keeps_its_number() {
        let mut sensors = FileSensors::new(None);
        let numbers = ["a/temp", "a/temp", "b/rh", "a/temp", "b/rh"].map(|id| sensors.of(id));
        let (a, b) = ((SensorIx(0), Quantity::Temperature), (SensorIx(1), Quantity::Humidity));
        assert_eq!(numbers, [a, a, b, a, b]);
        assert_eq!(sensors.into_all().len(), 2);
    }

    #[test]
    fn a_quantity_that_is_given_is_everyones() {
        let mut sensors = FileSensors::new(Some(Quantity::Power));
        assert_eq!(sensors.of("a/temp").1, Quantity::Power);
    }
}
