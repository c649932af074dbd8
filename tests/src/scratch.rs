//! A temporary directory that a failed test leaves behind.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use tempfile::TempDir;

/// A test's own directory; kept when the test fails.
#[derive(Debug)]
pub struct Scratch(Option<TempDir>);

impl Scratch {
    /// A new, empty one.
    ///
    /// # Panics
    /// It cannot be created.
    #[must_use]
    pub fn new() -> Self {
        Self(Some(tempfile::Builder::new().prefix("daywise-e2e-").tempdir().unwrap()))
    }

    /// Leaves it behind for a look, and says where.
    ///
    /// # Panics
    /// Never: it is there until dropped.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        self.0.take().unwrap().keep()
    }

    /// Where it is.
    ///
    /// # Panics
    /// Never: it is there until dropped.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }

    /// A path in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file into it.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(directory) = self.0.take()
        {
            eprintln!("left behind for a look: {}", directory.keep().display());
        }
    }
}
