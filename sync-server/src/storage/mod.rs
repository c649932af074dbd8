//! The server's database: sensor-days, silences, gateways, streams and the model registry.
//!
//! SQLite in write-ahead mode with full synchronisation: when a transaction is committed it
//! survives a power cut, which is what an acknowledgement to a gateway promises. Several
//! processes may use the file at once, so the command line works beside a running server. The
//! SQL keeps to what PostgreSQL speaks too; only this file knows which database it is.

mod clusters;
mod gateways;
mod intake;
mod received;
mod record;
mod registry;
mod sensor_days;
mod silences;
mod streams;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use sqlx::{
    Row as _, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use clusters::ClusterDays;
pub use gateways::{Gateway, GatewayDesired};
pub use intake::{Applied, Tally};
pub use received::Received;
pub use record::RecordError;
pub use registry::{Champion, NewModel, RegistryError, StoredModel};
pub use sensor_days::StoredDay;
pub use silences::StoredSilence;

/// Each is one step of the schema, applied once, in order; never edited after release.
const MIGRATIONS: [(i64, &str); 3] = [
    (1, include_str!("migrations/0001_start.sql")),
    (2, include_str!("migrations/0002_newest_first.sql")),
    (3, include_str!("migrations/0003_scores_and_clusters.sql")),
];
/// Readers beside the one writer that the database allows.
const MAX_CONNECTIONS: u32 = 4;
/// A sensor id is a part of a topic; longer ones are a fault.
const MAX_SENSOR_BYTES: usize = 512;
/// How long a write waits for another process's write to end.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// It cannot be opened.
    #[error("cannot open the database at {}", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: sqlx::Error,
    },
    /// It was written by a newer server.
    #[error("the database has schema {found}; this build knows up to {newest}")]
    TooNew {
        /// The database's schema.
        found: i64,
        /// The newest that this build knows.
        newest: i64,
    },
    /// A statement failed.
    #[error("cannot {doing}")]
    Query {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
    /// A stored record cannot be read or written.
    #[error("cannot {doing}")]
    Record {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: RecordError,
    },
    /// There are as many gateways as the server takes.
    #[error("already {limit} gateways; gateway {gateway} is not taken on")]
    TooManyGateways {
        /// The most.
        limit: i64,
        /// Which one it was.
        gateway: String,
    },
}

/// Attaches what was being done to a database error.
trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, StorageError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::Query { doing, source })
    }
}

impl<T> Doing<T> for Result<T, RecordError> {
    fn doing(self, doing: &'static str) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::Record { doing, source })
    }
}

/// Whether a missing database file is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Yes: a server's first start.
    Create,
    /// No: a command that only looks.
    Refuse,
}

/// The open database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    pool: SqlitePool,
}

impl Storage {
    /// Opens the database file and brings its schema up to date.
    ///
    /// # Errors
    /// It cannot be opened, or a newer server wrote it.
    pub async fn open(path: PathBuf, missing: Missing) -> Result<Self, StorageError> {
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(missing == Missing::Create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .connect_with(options)
            .await
            .map_err(|source| StorageError::Open { path, source })?;
        let storage = Self { pool };
        storage.migrate().await?;
        Ok(storage)
    }

    /// Finishes what runs and closes the file, so that its write-ahead log is folded in.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn migrate(&self) -> Result<(), StorageError> {
        let doing = "bring the database up to date";
        let mut tx = self.begin().await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)")
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM schema_version")
            .fetch_one(&mut *tx)
            .await
            .doing(doing)?;
        let found: i64 = row.try_get("version").doing(doing)?;
        let newest = MIGRATIONS.iter().map(|(version, _)| *version).max().unwrap_or(0);
        if found > newest {
            return Err(StorageError::TooNew { found, newest });
        }
        for (version, statements) in MIGRATIONS.iter().filter(|(version, _)| *version > found) {
            sqlx::raw_sql(statements).execute(&mut *tx).await.doing(doing)?;
            sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
                .bind(version)
                .execute(&mut *tx)
                .await
                .doing(doing)?;
        }
        tx.commit().await.doing(doing)
    }

    /// Starts a transaction that will write. It takes the write lock at once: one that turned
    /// from reading to writing halfway would fail whenever another writer got in between.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StorageError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.doing("start a transaction")
    }

    /// One number from a query without parameters.
    async fn number(&self, query: &'static str, doing: &'static str) -> Result<i64, StorageError> {
        let row = sqlx::query(query).fetch_one(&self.pool).await.doing(doing)?;
        row.try_get(0).doing(doing)
    }
}
