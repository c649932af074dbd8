//! What can go wrong with the store, and what to do then.

use std::{error::Error, io, path::PathBuf};

/// What the caller should do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Try again later; nothing is lost.
    Retry,
    /// Leave this one out and go on.
    SkipRecord,
    /// Stop the agent: what was acknowledged is on disk, but waiting would not help. A store that
    /// proves damaged is set aside at the next start.
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
    /// The file system has less free space than is to be left.
    #[error("the disk is full: {} MB free, {} MB are to stay free", free_bytes >> 20, reserve_bytes >> 20)]
    DiskFull {
        /// What is free.
        free_bytes: u64,
        /// What is to stay free.
        reserve_bytes: u64,
    },
    /// The store has reached the size that it may have, and nothing in it may be given up.
    #[error("the store is full: {} of {} MB", used_bytes >> 20, limit_bytes >> 20)]
    Full {
        /// What its files take.
        used_bytes: u64,
        /// What they may take.
        limit_bytes: u64,
    },
    /// The file system takes no writes.
    #[error("{} is on a read-only file system", path.display())]
    ReadOnly {
        /// The store's folder.
        path: PathBuf,
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
            // A failed engine is opened again by the next call.
            Self::Busy { .. }
            | Self::DiskFull { .. }
            | Self::Full { .. }
            | Self::ReadOnly { .. }
            | Self::Io { .. } => Remedy::Retry,
            Self::TooLarge { .. } => Remedy::SkipRecord,
            Self::Folder { source, .. } if is_the_disks(source) => Remedy::Retry,
            Self::Open { source, .. } if is_from_the_disk(&**source) => Remedy::Retry,
            Self::Folder { .. }
            | Self::Open { .. }
            | Self::TooNew { .. }
            | Self::Damaged { .. } => Remedy::Stop,
        }
    }
}

/// An error and its causes, in one line.
#[must_use]
pub fn in_words(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(known) = cause {
        text.push_str(": ");
        text.push_str(&known.to_string());
        cause = known.source();
    }
    text
}

/// Whether a cause is one that can pass by itself: no space, no quota, read-only, a failing card.
#[must_use]
pub fn is_from_the_disk(error: &(dyn Error + 'static)) -> bool {
    let engine = super::disk::io_cause(error);
    let found = error.downcast_ref::<io::Error>().or(engine);
    found.is_some_and(is_the_disks) || error.source().is_some_and(is_from_the_disk)
}

fn is_the_disks(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    const EIO: i32 = 5;
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
        || error.raw_os_error() == Some(EIO)
}
