//! What can go wrong with the store, and what to do then.

use std::{error::Error, io, path::PathBuf};

/// What the caller should do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Try again later; nothing is lost.
    Retry,
    /// Leave this one out and go on.
    SkipRecord,
    /// Stop the agent: what was acknowledged is on disk, and opening the store again is the only
    /// way to know what else is. A store that proves damaged is then set aside.
    Stop,
}

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the store.
    #[error("the store at {} is in use by another process", path.display())]
    Busy {
        /// The store's folder.
        path: PathBuf,
    },
    /// A folder or file beside the store cannot be used.
    #[error("cannot use {}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be opened for a reason other than damage, such as missing rights.
    #[error("cannot open the store at {}", path.display())]
    Open {
        /// The store's folder.
        path: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A newer build wrote the store.
    #[error("the store has schema {found}; this build reads up to {newest}")]
    TooNew {
        /// The store's schema.
        found: u16,
        /// The newest that this build reads.
        newest: u16,
    },
    /// The store's files contradict themselves.
    #[error("the store is damaged: {detail}")]
    Damaged {
        /// What the storage engine said.
        detail: String,
    },
    /// An operation on the disk failed.
    #[error("cannot {operation} the store")]
    Io {
        /// What was being done: read, write, flush.
        operation: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// One value is larger than a record may be.
    #[error("{what} of {bytes} bytes; a record holds {limit}")]
    TooLarge {
        /// Of what kind the value is.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The most that is possible.
        limit: usize,
    },
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Busy { .. } => Remedy::Retry,
            Self::TooLarge { .. } => Remedy::SkipRecord,
            // The engine keeps refusing after a failed write, and after a failed fsync the
            // kernel's pages cannot be trusted.
            Self::Folder { .. }
            | Self::Open { .. }
            | Self::TooNew { .. }
            | Self::Damaged { .. }
            | Self::Io { .. } => Remedy::Stop,
        }
    }
}
