//! Readings: from the journal into blocks, and back out of both.

use std::{collections::BTreeMap, ops::ControlFlow};

use daywise_core::{
    block,
    reading::{Sample, SensorIx},
    time::{LocalDate, UtcMillis},
};

use super::{
    DayReading, State, Store, StoreError,
    chunks::{Block, Chunks},
    days,
    disk::Changes,
    journal::{self, midnight},
    keys,
    records::{HeldValue, SensorValue, seal_value},
};

/// Readings in one section of a day's file, about; bounds the memory of a fold.
const FOLD_READINGS: usize = 8_192;

/// What a fold did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Journal records that are gone now.
    pub records: u64,
    /// Readings that moved into the days' files.
    pub readings: u64,
}

/// Whether a reading is held already, asked of [`Store::look_up`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// The day.
    pub date: LocalDate,
    /// The sensor.
    pub sensor: SensorIx,
    /// The instant.
    pub at: UtcMillis,
    /// The answer: the value that arrived first for that instant.
    pub held: Option<f64>,
    /// And how many samples are held of that sensor-day.
    pub samples: u32,
}

impl Question {
    /// A question that has not been asked.
    #[must_use]
    pub fn new(date: LocalDate, sensor: SensorIx, at: UtcMillis) -> Self {
        Self { date, sensor, at, held: None, samples: 0 }
    }

    fn sensor_day(&self) -> (LocalDate, SensorIx) {
        (self.date, self.sensor)
    }
}

/// Gives the answer to all questions of one sensor-day, sorted by instant, that a sample holds.
fn answer(questions: &mut [Question], sample: Sample) {
    let from = questions.partition_point(|question| question.at < sample.at);
    let rest = questions.get_mut(from..).unwrap_or_default();
    for question in rest.iter_mut().take_while(|question| question.at == sample.at) {
        question.held.get_or_insert(sample.value);
    }
    for question in questions {
        question.samples = question.samples.saturating_add(1);
    }
}

impl Store {
    /// Answers questions in any order, in one pass over the sensor-days and the journal; they
    /// come back by sensor-day and instant.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn look_up(&self, questions: &mut [Question]) -> Result<(), StoreError> {
        questions.sort_by_key(|question| (question.sensor_day(), question.at));
        let mut state = self.ready()?;
        let mut samples = Vec::new();
        for group in questions.chunk_by_mut(|a, b| a.sensor_day() == b.sensor_day()) {
            let Some((date, sensor)) = group.first().map(Question::sensor_day) else { continue };
            let bytes = state.chunk_bytes(date);
            let mut damage = self.damaged.in_chunks(date);
            samples.clear();
            state.chunks.read(date, bytes, sensor, &mut samples, &mut damage)?;
            samples.iter().for_each(|&sample| answer(group, sample));
        }
        if questions.is_empty() {
            return Ok(());
        }
        self.journal_readings(&state, &mut |(date, sensor, sample)| {
            let place = (date, sensor);
            let from = questions.partition_point(|question| question.sensor_day() < place);
            let rest = questions.get_mut(from..).unwrap_or_default();
            let count = rest.partition_point(|question| question.sensor_day() == place);
            answer(rest.get_mut(..count).unwrap_or_default(), sample);
        })
    }

    /// Moves all readings from the journal into the files of their days. A reading always counts in
    /// exactly one of the two: the change to the other is a single one in the tree.
    ///
    /// # Errors
    /// The disk refuses; nothing has changed then.
    pub fn fold(&self) -> Result<Folded, StoreError> {
        let mut state = self.ready()?;
        self.make_room(&mut state)?;
        self.fold_all(&mut state)
    }

    /// As [`Self::fold`], whatever the room.
    pub(super) fn fold_all(&self, state: &mut State) -> Result<Folded, StoreError> {
        if state.log.records() == 0 {
            return Ok(Folded::default());
        }
        let mut held = state.held.clone();
        let readings = self.fold_readings(state, &mut held).inspect_err(|_| {
            // Written again from the start, over what is there.
            state.chunks.forget_written();
        })?;
        let mut changes = Changes::default();
        for sensor in &state.unfolded.sensors {
            let key = keys::sensor(sensor.ix);
            let value = SensorValue { id: sensor.id.clone(), quantity: sensor.quantity };
            let record = seal_value("a sensor's record", &key, &value)?;
            changes.put(key, record);
        }
        for (date, known) in &state.days {
            if state.unfolded.days.contains(date) {
                let key = keys::local_day(*date);
                let record = seal_value("a day's record", &key, known)?;
                changes.put(key, record);
            }
        }
        for (&(date, sensor), &due) in &state.unfolded.dirty {
            let key = keys::dirty(date, sensor);
            let record = days::mark(&key, due)?;
            changes.put(key, record);
        }
        state.arrivals.fold(&self.disk, &mut changes)?;
        for (&date, value) in
            held.iter().filter(|(date, value)| state.held.get(date) != Some(value))
        {
            let key = keys::held(date);
            let record = seal_value("what is held of a date", &key, value)?;
            changes.put(key, record);
        }
        let key = keys::META_FOLDED;
        changes.put(key.to_vec(), seal_value("the journal's state", key, &state.log.newest())?);
        self.disk.write(changes)?;
        // Before the journal's space is used again.
        self.make_tree_durable(state)?;
        let records = state.log.records();
        state.held = held;
        state.unfolded = super::Unfolded::default();
        state.arrivals.handle_fold();
        state.log.reset();
        Ok(Folded { records, readings })
    }

    /// Appends the journal's readings to the days' files, durably. A part of the sensors at a time,
    /// so that the memory this takes does not grow with the journal.
    fn fold_readings(
        &self,
        state: &mut State,
        held: &mut BTreeMap<LocalDate, HeldValue>,
    ) -> Result<u64, StoreError> {
        let content = state.log.content()?;
        let commits = |visit: &mut dyn FnMut(Vec<DayReading>)| {
            for (seq, payload) in state.log.records_of(&content) {
                if let Some(commit) = self.sound(&keys::journal(seq), journal::decode(payload)) {
                    visit(commit.readings);
                }
            }
        };
        let mut count = 0;
        commits(&mut |readings| count += readings.len());
        let parts = u32::try_from(count.div_ceil(FOLD_READINGS)).unwrap_or(u32::MAX);
        let mut part_readings: Vec<DayReading> = Vec::new();
        for part in 0..parts {
            commits(&mut |readings| {
                let of_part = |(_, sensor, _): &DayReading| sensor.0 % parts == part;
                part_readings.extend(readings.into_iter().filter(of_part));
            });
            add_to_chunks(&mut state.chunks, held, &mut part_readings)?;
        }
        state.chunks.make_durable()?;
        Ok(count as u64)
    }

    /// Shows all readings of open days, each sensor's in the order they arrived.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn restore(
        &self,
        visit: &mut dyn FnMut(LocalDate, SensorIx, Sample),
    ) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        let open: Vec<LocalDate> =
            state.days.values().filter(|known| known.open).map(|known| known.day.date).collect();
        for &date in &open {
            let bytes = state.chunk_bytes(date);
            let mut damage = self.damaged.in_chunks(date);
            state.chunks.scan(
                date,
                bytes,
                &mut |sensor, sample| visit(date, sensor, sample),
                &mut damage,
            )?;
        }
        self.journal_readings(&state, &mut |(date, sensor, sample)| {
            if open.contains(&date) {
                visit(date, sensor, sample);
            }
        })
    }

    /// All samples of one sensor-day in the order they arrived. Reads the whole journal too, so
    /// fold before asking for many.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn chunk(&self, date: LocalDate, sensor: SensorIx) -> Result<Vec<Sample>, StoreError> {
        let mut state = self.ready()?;
        let mut samples = Vec::new();
        let bytes = state.chunk_bytes(date);
        let mut damage = self.damaged.in_chunks(date);
        state.chunks.read(date, bytes, sensor, &mut samples, &mut damage)?;
        self.journal_readings(&state, &mut |reading| {
            if (reading.0, reading.1) == (date, sensor) {
                samples.push(reading.2);
            }
        })?;
        Ok(samples)
    }

    /// Shows the samples of each sensor of `date`, by number and in the order they arrived, until
    /// `visit` breaks: all of a date's [chunks](Self::chunk) with the journal read once. A sensor
    /// whose samples are damaged may have none.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn chunks(
        &self,
        date: LocalDate,
        visit: &mut dyn FnMut(SensorIx, Vec<Sample>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut state = self.ready()?;
        let mut newest: BTreeMap<SensorIx, Vec<Sample>> = BTreeMap::new();
        self.journal_readings(&state, &mut |(of, sensor, sample)| {
            if of == date {
                newest.entry(sensor).or_default().push(sample);
            }
        })?;
        let bytes = state.chunk_bytes(date);
        let mut damage = self.damaged.in_chunks(date);
        let folded = state.chunks.sensors(date, bytes, &mut damage)?;
        for sensor in folded {
            newest.entry(sensor).or_default();
        }
        for (sensor, newest) in newest {
            let mut samples = Vec::new();
            state.chunks.read(date, bytes, sensor, &mut samples, &mut damage)?;
            samples.extend(newest);
            if visit(sensor, samples).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The sensors with readings on `date`, by number.
    pub(super) fn sensors_with_readings(
        &self,
        state: &mut State,
        date: LocalDate,
    ) -> Result<Vec<SensorIx>, StoreError> {
        let bytes = state.chunk_bytes(date);
        let mut damage = self.damaged.in_chunks(date);
        let mut sensors = state.chunks.sensors(date, bytes, &mut damage)?;
        self.journal_readings(state, &mut |reading| {
            if reading.0 == date {
                sensors.push(reading.1);
            }
        })?;
        sensors.sort_unstable();
        sensors.dedup();
        Ok(sensors)
    }

    /// Shows what is in the journal.
    fn journal_readings(
        &self,
        state: &State,
        visit: &mut dyn FnMut(DayReading),
    ) -> Result<(), StoreError> {
        if state.log.records() == 0 {
            return Ok(());
        }
        let content = state.log.content()?;
        for (seq, payload) in state.log.records_of(&content) {
            let commit = self.sound(&keys::journal(seq), journal::decode(payload));
            commit.into_iter().flat_map(|commit| commit.readings).for_each(&mut *visit);
        }
        Ok(())
    }
}

/// Appends a section for each date among `readings` to its file, and takes them out.
pub(super) fn add_to_chunks(
    chunks: &mut Chunks,
    held: &mut BTreeMap<LocalDate, HeldValue>,
    readings: &mut Vec<DayReading>,
) -> Result<(), StoreError> {
    // Stable, so that a sensor's readings stay in the order of their arrival.
    readings.sort_by_key(|&(date, sensor, _)| (date, sensor));
    for of_date in readings.chunk_by(|a, b| a.0 == b.0) {
        let Some(&(date, _, _)) = of_date.first() else { continue };
        let mut blocks: Vec<Block> = Vec::new();
        let mut samples: Vec<Sample> = Vec::new();
        for run in of_date.chunk_by(|a, b| a.1 == b.1) {
            let Some(&(_, sensor, _)) = run.first() else { continue };
            samples.clear();
            samples.extend(run.iter().map(|(_, _, sample)| *sample));
            blocks.push((sensor, block::encode(midnight(date), &samples)));
        }
        let held = held.entry(date).or_default();
        held.chunk_bytes = chunks.append(date, held.chunk_bytes, &blocks)?;
    }
    readings.clear();
    Ok(())
}
