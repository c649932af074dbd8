//! What of each gateway's outbox has arrived.

use daywise_core::{time::UtcMillis, wire::Up};
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};

use super::{Doing as _, StorageError, received::Received, record};

/// Streams remembered of one gateway, the last used first. A gateway has one, and a new one
/// each time it lost its store; an older one that comes back starts from its floor.
const MAX_STREAMS: i64 = 8;

/// Moves the gateway's stream forward and returns what of it has arrived now.
pub(super) async fn advance(
    tx: &mut Transaction<'_, Sqlite>,
    gateway: &str,
    up: &Up,
    now: UtcMillis,
) -> Result<Received, StorageError> {
    let doing = "record how far a stream has arrived";
    let known =
        sqlx::query("SELECT contiguous, beyond FROM streams WHERE gateway = $1 AND stream = $2")
            .bind(gateway)
            .bind(up.stream.cast_signed())
            .fetch_optional(&mut **tx)
            .await
            .doing(doing)?;
    let is_new = known.is_none();
    let known = known.as_ref().map(received).transpose()?.unwrap_or_default();
    let received = known.with(up.floor, up.entries.iter().map(|entry| entry.seq));
    let beyond = (!received.beyond.is_empty()).then(|| record::encode(&received.beyond));
    sqlx::query(
        "INSERT INTO streams (gateway, stream, contiguous, used_ms, beyond) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (gateway, stream) \
         DO UPDATE SET contiguous = excluded.contiguous, used_ms = excluded.used_ms, \
         beyond = excluded.beyond",
    )
    .bind(gateway)
    .bind(up.stream.cast_signed())
    .bind(received.up_to.cast_signed())
    .bind(now.0)
    .bind(beyond.transpose().doing(doing)?)
    .execute(&mut **tx)
    .await
    .doing(doing)?;
    if is_new {
        sqlx::query(
            "DELETE FROM streams WHERE gateway = $1 AND stream <> $2 AND stream NOT IN \
             (SELECT stream FROM streams WHERE gateway = $1 ORDER BY used_ms DESC LIMIT $3)",
        )
        .bind(gateway)
        .bind(up.stream.cast_signed())
        .bind(MAX_STREAMS)
        .execute(&mut **tx)
        .await
        .doing(doing)?;
    }
    Ok(received)
}

fn received(row: &SqliteRow) -> Result<Received, StorageError> {
    let doing = "read how far a stream has arrived";
    let up_to = row.try_get::<i64, _>("contiguous").doing(doing)?.cast_unsigned();
    let beyond: Option<Vec<u8>> = row.try_get("beyond").doing(doing)?;
    // What cannot be read is sent again; failing would stop the gateway for good.
    let beyond = beyond.and_then(|bytes| record::decode(&bytes).ok()).unwrap_or_default();
    Ok(Received { up_to, beyond })
}
