//! Another wall clock for one process, which can be set while it runs: libfaketime.
//!
//! Only the wall clock: monotonic time goes on as it does, as when someone sets the system's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::scratch::Scratch;

/// Where Debian puts the library, by architecture.
const PLACES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/arm-linux-gnueabihf/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// The clock; what it says is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeTime {
    file: PathBuf,
}

impl FakeTime {
    /// One that is right, until it is told to be off.
    ///
    /// # Panics
    /// The scratch folder cannot be written.
    #[must_use]
    pub fn new(scratch: &Scratch) -> Self {
        let clock = Self { file: scratch.file("faketime") };
        clock.set_off_by(0);
        clock
    }

    /// Whether the library is on this machine.
    #[must_use]
    pub fn is_there() -> bool {
        library().is_some()
    }

    /// From now on it goes before the true time by so many seconds, or after it if negative.
    ///
    /// # Panics
    /// Its file cannot be written.
    pub fn set_off_by(&self, seconds: i64) {
        // Whole or not at all: the process may read it at any time.
        let draft = self.file.with_extension("draft");
        fs::write(&draft, format!("{seconds:+}s\n")).unwrap();
        fs::rename(draft, &self.file).unwrap();
    }

    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let library = library().expect("faketime is needed: apt-get install faketime");
        let file = self.file.to_str().unwrap();
        let settings = [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }
}

fn library() -> Option<&'static str> {
    PLACES.into_iter().find(|place| Path::new(place).exists())
}
