//! Two model slots, A and B, and the record that says which one predicts.
//!
//! | file in `{state_dir}/models/` | content |
//! |---|---|
//! | `a.dwm`, `b.dwm` | an artifact each, as [`daywise_core::model`] writes it |
//! | `slots` | schema, `Record` in postcard, CRC-32, all little endian |
//! | `*.tmp` | what a power cut left of a write; overwritten by the next one |
//!
//! Every file is written beside its place, fsynced, renamed, and its folder fsynced, so each is
//! whole: the old one or the new one. A model is staged into the spare slot first and the record
//! flipped after, so a power cut in between leaves the old model active and the new one spare.
//! Whatever is damaged is noticed by checksum and digest: without the record the newest sound
//! model goes on trial; without the active model the other slot takes over.
//!
//! Opening only reads, so a command may look while the agent runs.

mod record;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use daywise_core::{
    model::{self, ArtifactError, Digest, MAX_ARTIFACT_BYTES, Model},
    wire::ModelRef,
};
use tracing::warn;

use record::{RECORD_SCHEMA, Record, Slot, Trial, decode_record, encode_record, remember};

const RECORD_FILE: &str = "slots";
/// The record is far smaller.
const MAX_RECORD_BYTES: u64 = 4096;

/// A failure of the slots.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotsError {
    /// A file of the slots cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the slots cannot be written; what it held before is still there.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A newer build wrote the record.
    #[error("the slots' record has schema {found}; this build reads up to {RECORD_SCHEMA}")]
    TooNew {
        /// The record's schema.
        found: u16,
    },
    /// The bytes to be staged are not a model.
    #[error("the model cannot be staged")]
    Artifact(#[source] ArtifactError),
    /// There is no sound model in the spare slot.
    #[error("the spare slot holds no model")]
    NoSpare,
}

/// A model that predicts.
#[derive(Debug)]
pub struct ActiveModel {
    /// Its content, checked.
    pub model: Model,
    /// Its version, address and size.
    pub reference: ModelRef,
}

/// The two slots.
#[derive(Debug)]
pub struct Slots {
    dir: PathBuf,
    record: Record,
    active: Option<Arc<ActiveModel>>,
    spare: Option<ModelRef>,
}

impl Slots {
    /// Reads the slots under `state_dir` and checks everything in them.
    ///
    /// # Errors
    /// A file cannot be read, or a newer build wrote the record. Damage is no error.
    pub fn open(state_dir: &Path) -> Result<Self, SlotsError> {
        let dir = state_dir.join("models");
        let mut slots = Self { dir, record: Record::default(), active: None, spare: None };
        let a = slots.load(Slot::A)?;
        let b = slots.load(Slot::B)?;
        let version = |loaded: &Option<ActiveModel>| loaded.as_ref().map(|l| l.reference.version);
        let (version_a, version_b) = (version(&a), version(&b));
        slots.record = match slots.load_record()? {
            Some(record) => record,
            // The newest may have been on trial, and there is nothing to say that it was not.
            None => Record {
                active: [(version_b, Slot::B), (version_a, Slot::A)]
                    .into_iter()
                    .filter_map(|(version, slot)| version.map(|version| (version, slot)))
                    .max_by_key(|&(version, _)| version)
                    .map(|(_, slot)| slot),
                trial: (version_a.is_some() && version_b.is_some())
                    .then_some(Trial { starts: 0, spare_unproven: false }),
                ..Record::default()
            },
        };
        let (mut active, mut spare) = match slots.record.active {
            Some(Slot::A) => (a, b),
            Some(Slot::B) => (b, a),
            None => (None, a),
        };
        if slots.record.active.is_some() && active.is_none() {
            slots.fall_back(&mut active, &mut spare);
        }
        slots.active = active.map(Arc::new);
        slots.spare = spare.map(|spare| spare.reference);
        Ok(slots)
    }

    /// The active slot's file is damaged or gone: the other one's model takes over.
    fn fall_back(&mut self, active: &mut Option<ActiveModel>, spare: &mut Option<ActiveModel>) {
        let usable = spare.take_if(|spare| !self.record.given_up.contains(&spare.reference.digest));
        warn!(fallback = ?usable.as_ref().map(|spare| spare.reference), "the active model is lost");
        let unproven = self.record.trial.is_some_and(|trial| trial.spare_unproven);
        self.record.trial = unproven.then_some(Trial { starts: 0, spare_unproven: false });
        self.record.active = match &usable {
            Some(_) => self.record.active.map(Slot::other),
            None => None,
        };
        *active = usable;
        if active.is_none() {
            // Whatever slot A holds, it is not to be used, but to be overwritten.
            *spare = None;
        }
    }

    /// The model that predicts.
    #[must_use]
    pub fn active_model(&self) -> Option<Arc<ActiveModel>> {
        self.active.clone()
    }

    /// The version and address of the model that predicts.
    #[must_use]
    pub fn active_ref(&self) -> Option<ModelRef> {
        self.active.as_ref().map(|active| active.reference)
    }

    /// The version and address of the model in the other slot.
    #[must_use]
    pub fn spare_ref(&self) -> Option<ModelRef> {
        self.spare
    }

    /// Whether the active model is not confirmed yet.
    #[must_use]
    pub fn on_trial(&self) -> bool {
        self.record.trial.is_some()
    }

    /// The last generation acted on.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.record.generation
    }

    /// The model that was given up last.
    #[must_use]
    pub fn given_up(&self) -> Option<Digest> {
        self.record.given_up.last().copied()
    }

    /// Whether a model was given up here, among the last few.
    #[must_use]
    pub fn is_given_up(&self, digest: Digest) -> bool {
        self.record.given_up.contains(&digest)
    }

    /// Checks an artifact and writes it into the spare slot, durably. The active one goes on.
    ///
    /// # Errors
    /// It is not a sound model, or it cannot be written.
    pub fn stage(&mut self, bytes: &[u8]) -> Result<ModelRef, SlotsError> {
        let staged = read_model(bytes).map_err(SlotsError::Artifact)?.reference;
        if self.spare == Some(staged) && self.load(self.spare_slot())?.is_some() {
            return Ok(staged);
        }
        // The record first, if it is not there or was made up for in opening: it must never
        // call the slot active that is written now.
        if self.load_record()?.as_ref() != Some(&self.record) {
            self.write_record(&self.record)?;
        }
        // From here on the slot's old content may be gone.
        self.spare = None;
        self.write(self.spare_slot().file(), bytes)?;
        self.spare = Some(staged);
        Ok(staged)
    }

    /// Makes the spare slot the active one, on trial. A model that was given up gets another try.
    ///
    /// # Errors
    /// There is no sound model in it, or the record cannot be written.
    pub fn start_trial(&mut self) -> Result<(), SlotsError> {
        let slot = self.spare_slot();
        let spare_unproven = self.record.trial.is_some();
        let model = self.load(slot)?.ok_or(SlotsError::NoSpare)?;
        let mut record = self.record.clone();
        record.active = Some(slot);
        record.trial = Some(Trial { starts: 0, spare_unproven });
        record.given_up.retain(|digest| *digest != model.reference.digest);
        self.write_record(&record)?;
        self.record = record;
        self.spare = self.active.replace(Arc::new(model)).map(|active| active.reference);
        Ok(())
    }

    /// Counts a start of the agent with a model on trial; returns how many there were.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn count_start(&mut self) -> Result<u32, SlotsError> {
        let mut record = self.record.clone();
        let Some(trial) = &mut record.trial else { return Ok(0) };
        trial.starts = trial.starts.saturating_add(1);
        let starts = trial.starts;
        self.write_record(&record)?;
        self.record = record;
        Ok(starts)
    }

    /// Ends the trial: the active model is kept.
    ///
    /// # Errors
    /// The record cannot be written; the trial then goes on.
    pub fn confirm(&mut self) -> Result<(), SlotsError> {
        let record = Record { trial: None, ..self.record.clone() };
        self.write_record(&record)?;
        self.record = record;
        Ok(())
    }

    /// Gives the active model up and returns to the one in the other slot. One that was on trial
    /// itself goes on trial again; one that was given up, too, is not used: then none predicts.
    ///
    /// # Errors
    /// The record cannot be written; nothing has changed then.
    pub fn roll_back(&mut self) -> Result<(), SlotsError> {
        let Some(failed) = self.active_ref() else { return Ok(()) };
        let mut record = self.record.clone();
        remember(&mut record.given_up, failed.digest);
        let slot = self.spare_slot();
        let spare = self.load(slot)?;
        let spare = spare.filter(|spare| !record.given_up.contains(&spare.reference.digest));
        let unproven = record.trial.is_some_and(|trial| trial.spare_unproven);
        record.trial =
            (unproven && spare.is_some()).then_some(Trial { starts: 0, spare_unproven: false });
        record.active = spare.is_some().then_some(slot);
        self.write_record(&record)?;
        self.record = record;
        self.active = spare.map(Arc::new);
        self.spare = match self.active {
            Some(_) => Some(failed),
            None => self.load(self.spare_slot())?.map(|spare| spare.reference),
        };
        Ok(())
    }

    /// Remembers a model that was refused before it ran.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn give_up(&mut self, digest: Digest) -> Result<(), SlotsError> {
        let mut record = self.record.clone();
        remember(&mut record.given_up, digest);
        self.write_record(&record)?;
        self.record = record;
        Ok(())
    }

    /// Remembers the generation acted on. It only goes up.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn set_generation(&mut self, generation: u64) -> Result<(), SlotsError> {
        if generation <= self.record.generation {
            return Ok(());
        }
        let record = Record { generation, ..self.record.clone() };
        self.write_record(&record)?;
        self.record = record;
        Ok(())
    }

    /// Where the next model goes: beside the active one, or A while there is none.
    fn spare_slot(&self) -> Slot {
        self.record.active.map_or(Slot::A, Slot::other)
    }

    /// The sound model in a slot; damage is reported and counts as none.
    fn load(&self, slot: Slot) -> Result<Option<ActiveModel>, SlotsError> {
        let path = self.dir.join(slot.file());
        let Some(bytes) = read_up_to(&path, MAX_ARTIFACT_BYTES as u64 + 1)? else {
            return Ok(None);
        };
        match read_model(&bytes) {
            Ok(model) => Ok(Some(model)),
            Err(error) => {
                warn!(path = %path.display(), %error, "the model in this slot cannot be used");
                Ok(None)
            }
        }
    }

    fn load_record(&self) -> Result<Option<Record>, SlotsError> {
        let path = self.dir.join(RECORD_FILE);
        let Some(bytes) = read_up_to(&path, MAX_RECORD_BYTES)? else { return Ok(None) };
        let record = decode_record(&bytes)?;
        if record.is_none() {
            warn!(path = %path.display(), "the record of the model slots is damaged");
        }
        Ok(record)
    }

    fn write_record(&self, record: &Record) -> Result<(), SlotsError> {
        let path = self.dir.join(RECORD_FILE);
        let bytes = encode_record(record)
            .map_err(|error| SlotsError::Write { path, source: io::Error::other(error) })?;
        self.write(RECORD_FILE, &bytes)
    }

    /// Replaces a file durably: it holds the old content or the new, whenever the power goes.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SlotsError> {
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!("{name}.tmp"));
        let replace = || {
            if !self.dir.exists() {
                fs::create_dir_all(&self.dir)?;
                if let Some(parent) = self.dir.parent() {
                    File::open(parent)?.sync_all()?;
                }
            }
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        replace().map_err(|source| SlotsError::Write { path: path.clone(), source })
    }
}

fn read_model(bytes: &[u8]) -> Result<ActiveModel, ArtifactError> {
    let (model, digest) = model::decode(bytes)?;
    let size = u32::try_from(bytes.len()).map_err(|_| ArtifactError::Length)?;
    let reference = ModelRef { version: model.version, digest, bytes: size };
    Ok(ActiveModel { model, reference })
}

/// At most `limit` bytes of the file; `None` if it is not there.
fn read_up_to(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, SlotsError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SlotsError::Read { path: path.to_owned(), source }),
    }
}
