//! The running agent's intake on a store that is gone with the command.

use std::{path::PathBuf, sync::Arc};

use tempfile::TempDir;

use super::CommandError;
use crate::{
    calendar::Calendar,
    config::{AgentConfig, ClockSource, ConfigError},
    intake::Intake,
    store::{Store, StoreError, StoreOptions},
};

/// What a command without a config reads by: every topic, each in its own format.
const ANY_TOPIC: &str = r#"
    gateway = "scratch"
    state_dir = "."
    mqtt = { url = "mqtt://localhost" }
"#;

/// An intake that says what it decides, with its store.
pub(super) struct Scratch {
    pub(super) intake: Intake,
    pub(super) store: Store,
    folder: TempDir,
}

/// The config of that file, or of none; its clock is told the time by the command.
///
/// # Errors
/// The file cannot be used.
pub(super) fn config(path: Option<&PathBuf>) -> Result<AgentConfig, CommandError> {
    let config = match path {
        Some(path) => AgentConfig::load(path),
        None => AgentConfig::parse(ANY_TOPIC)
            .map_err(|problems| ConfigError::Problems { path: "defaults".into(), problems }),
    };
    let mut config = config.map_err(CommandError::Config)?;
    config.clock.source = ClockSource::Topic;
    // No message is a tick.
    config.clock.topic = String::new();
    Ok(config)
}

impl Scratch {
    /// A new one.
    ///
    /// # Errors
    /// No store can be made.
    pub(super) fn new(config: &AgentConfig, calendar: Calendar) -> Result<Self, CommandError> {
        let folder = tempfile::tempdir()
            .map_err(|source| CommandError::Output { path: std::env::temp_dir(), source })?;
        let failed = |source| CommandError::Scratch { path: folder.path().to_owned(), source };
        let store = Store::open(&folder.path().join("store"), &StoreOptions::default());
        let store = store.map_err(failed)?.store;
        let (metrics, seen) = (Arc::default(), Arc::default());
        let mut intake = Intake::new(config, calendar, &store, metrics, seen).map_err(failed)?;
        intake.verdicts = Some(Vec::new());
        Ok(Self { intake, store, folder })
    }

    /// What a failure of the store means to the command.
    pub(super) fn failed(&self, source: StoreError) -> CommandError {
        CommandError::Scratch { path: self.folder.path().to_owned(), source }
    }
}
