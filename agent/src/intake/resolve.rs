//! Readings that the store may hold already.

use std::collections::HashMap;

use daywise_core::{
    collect::repeat,
    reading::{Reading, Refusal, SensorIx},
    time::{LocalDate, LocalDay, UtcMillis},
};

use super::{Intake, Status, Verdict};
use crate::store::{Question, Store, StoreError};

/// A reading about which the store must be asked.
#[derive(Clone, Debug)]
pub(crate) struct Unsure {
    pub(super) about: Verdict,
    pub(super) day: LocalDay,
    pub(super) reading: Reading,
    /// When it arrived: from then on its day waits for more.
    pub(super) now: UtcMillis,
}

type Instant = (LocalDate, SensorIx, UtcMillis);

impl Intake {
    /// Asks the store about all unsure readings: those that it does not hold join the batch, in
    /// the order of their arrival.
    ///
    /// # Errors
    /// The store cannot be read; nothing is decided then.
    pub(crate) fn resolve(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.batch.unsure.is_empty() {
            return Ok(());
        }
        let mut questions: Vec<Question> = self
            .batch
            .unsure
            .iter()
            .map(|unsure| {
                let Reading { sensor, sample } = unsure.reading;
                Question::new(unsure.day.date, sensor, sample.at)
            })
            .collect();
        store.look_up(&mut questions)?;
        let mut held: HashMap<Instant, f64> = HashMap::with_capacity(questions.len());
        let mut samples: HashMap<(LocalDate, SensorIx), u32> = HashMap::new();
        for question in &questions {
            let Question { date, sensor, at, .. } = *question;
            samples.insert((date, sensor), question.samples);
            held.extend(question.held.map(|value| ((date, sensor, at), value)));
        }
        for &(date, sensor, sample) in &self.batch.readings {
            held.entry((date, sensor, sample.at)).or_insert(sample.value);
        }
        for unsure in std::mem::take(&mut self.batch.unsure) {
            let Unsure { about, day, reading, now } = unsure;
            let Reading { sensor, sample } = reading;
            let samples = samples.entry((day.date, sensor)).or_default();
            if let Some(&value) = held.get(&(day.date, sensor, sample.at)) {
                self.conclude(about, Status::left_out(repeat(value, sample.value)));
            } else if *samples >= self.collector.max_samples_per_day() {
                self.conclude(about, Status::Refused(Refusal::DayFull));
            } else {
                *samples += 1;
                held.insert((day.date, sensor, sample.at), sample.value);
                self.keep(about, &day, reading, now);
            }
        }
        Ok(())
    }
}
