//! How far each gateway's outbox has arrived without a hole.

use daywise_core::{time::UtcMillis, wire::Up};
use sqlx::{Row as _, Sqlite, Transaction};

use super::{Doing as _, StorageError};

/// Streams remembered of one gateway, the last used first. A gateway has one, and a new one
/// each time it lost its store; an older one that comes back starts from its floor.
const MAX_STREAMS: i64 = 8;

/// The highest sequence number such that all up to it have arrived or were given up.
///
/// `known` is what was contiguous before, `floor` the lowest number that the gateway still holds
/// or will hold. A hole among `arrived` stops the count; what lies behind it is counted when the
/// gateway sends it again.
#[must_use]
pub fn contiguous(known: u64, floor: u64, arrived: impl IntoIterator<Item = u64>) -> u64 {
    let mut up_to = known.max(floor.saturating_sub(1));
    let mut arrived: Vec<u64> = arrived.into_iter().filter(|seq| *seq > up_to).collect();
    arrived.sort_unstable();
    for seq in arrived {
        match up_to.checked_add(1) {
            Some(next) if seq == next => up_to = seq,
            Some(next) if seq > next => break,
            _ => {}
        }
    }
    up_to
}

/// Moves the gateway's stream forward and returns how far it is now.
pub(super) async fn advance(
    tx: &mut Transaction<'_, Sqlite>,
    gateway: &str,
    up: &Up,
    now: UtcMillis,
) -> Result<u64, StorageError> {
    let doing = "record how far a stream has arrived";
    let known = sqlx::query("SELECT contiguous FROM streams WHERE gateway = $1 AND stream = $2")
        .bind(gateway)
        .bind(up.stream.cast_signed())
        .fetch_optional(&mut **tx)
        .await
        .doing(doing)?;
    let is_new = known.is_none();
    let known = match known {
        Some(row) => row.try_get::<i64, _>("contiguous").doing(doing)?.cast_unsigned(),
        None => 0,
    };
    let up_to = contiguous(known, up.floor, up.entries.iter().map(|entry| entry.seq));
    sqlx::query(
        "INSERT INTO streams (gateway, stream, contiguous, used_ms) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (gateway, stream) \
         DO UPDATE SET contiguous = excluded.contiguous, used_ms = excluded.used_ms",
    )
    .bind(gateway)
    .bind(up.stream.cast_signed())
    .bind(up_to.cast_signed())
    .bind(now.0)
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
    Ok(up_to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hole_stops_the_count_and_the_floor_closes_holes_given_up() {
        assert_eq!(contiguous(0, 1, [1, 2, 3]), 3);
        assert_eq!(contiguous(0, 1, [1, 2, 4, 5]), 2);
        assert_eq!(contiguous(2, 1, [3]), 3);
        assert_eq!(contiguous(0, 4, [4, 5]), 5);
        assert_eq!(contiguous(7, 1, [1, 2]), 7, "never goes back");
        assert_eq!(contiguous(0, 0, []), 0);
        assert_eq!(contiguous(u64::MAX, u64::MAX, [u64::MAX]), u64::MAX);
    }

    proptest! {
        /// Whatever is sent again and in whatever order, what counts is the set that arrived.
        #[test]
        fn the_count_does_not_depend_on_order_or_repeats(
            known in 0_u64..5, floor in 0_u64..6,
            (sent, again) in prop::collection::vec(1_u64..10, 0..12).prop_flat_map(|sent| {
                let twice = [sent.clone(), sent.clone()].concat();
                (Just(sent), Just(twice).prop_shuffle())
            })
        ) {
            let up_to = contiguous(known, floor, sent.clone());
            prop_assert_eq!(up_to, contiguous(known, floor, again));
            prop_assert!(up_to >= known);
            for seq in known.max(floor.saturating_sub(1)) + 1..=up_to {
                prop_assert!(sent.contains(&seq), "{} was never sent", seq);
            }
            prop_assert!(!sent.contains(&(up_to + 1)), "stopped too early");
        }
    }
}
