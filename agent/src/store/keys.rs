//! The key layout. One tree, so that any set of changes can be one atomic batch.
//!
//! | key | tag | then | value |
//! |---|---|---|---|
//! | `meta/schema` | `m` | `s` | the store's schema, `u16` |
//! | `meta/outbox` | `m` | `o` | stream, next and lowest number, bytes and entries held, entries evicted |
//! | `meta/zone` | `m` | `z` | name of the site's zone |
//! | `meta/folded` | `m` | `j` | the newest journal record that has been folded, `u64` |
//! | `meta/evicted` | `m` | `e` | what went for lack of space |
//! | `sensor/{ix}` | `s` | ix | id and quantity |
//! | `localday/{date}` | `l` | date | the day's bounds; open or closed |
//! | `held/{date}` | `h` | date | bytes of the date's file of samples that count; number and bytes of its `day`s |
//! | `dirty/{date}/{sensor}` | `d` | date, ix | its features are to be computed, and when |
//! | `day/{date}/{sensor}` | `r` | date, ix | features, prediction, revision |
//! | `state/{sensor}` | `t` | ix | the sensor's baseline, opaque here |
//! | `outbox/{seq}` | `o` | seq | a sensor-day or a silence that waits for the server |
//! | `quarantine/{seq}` | `q` | seq | readings that wait for the clock to be set |
//! | `deliveries/{seq}` | `f` | seq | fingerprints of messages without times, as of the last fold |
//! | `offset/{sensor}` | `c` | ix | how far the device's clock is off |
//! | `silence/{sensor}` | `z` | ix | since when the sensor is silent, and its usual interval |
//!
//! `ix` and `n` are `u32`, `seq` is `u64`, all big endian; `date` is days since 1970 as `u32` with
//! the sign bit flipped. So a scan goes by date, then sensor.
//!
//! Before there were files for samples they were here too: `journal/{seq}` (`j`), the readings of
//! one commit, and `block/{date}/{sensor}/{n}` (`b`, date, ix, n), samples in arrival order.

use std::ops::Range;

use daywise_core::{reading::SensorIx, time::LocalDate};

pub(super) const META_SCHEMA: &[u8] = b"ms";
pub(super) const META_OUTBOX: &[u8] = b"mo";
pub(super) const META_ZONE: &[u8] = b"mz";
pub(super) const META_FOLDED: &[u8] = b"mj";
pub(super) const META_EVICTED: &[u8] = b"me";

const SENSOR: u8 = b's';
const LOCAL_DAY: u8 = b'l';
const JOURNAL: u8 = b'j';
const BLOCK: u8 = b'b';
const HELD: u8 = b'h';
const DIRTY: u8 = b'd';
const DAY: u8 = b'r';
const STATE: u8 = b't';
const OUTBOX: u8 = b'o';
const QUARANTINE: u8 = b'q';
const DELIVERIES: u8 = b'f';
const OFFSET: u8 = b'c';
const SILENCE: u8 = b'z';

fn date_part(date: LocalDate) -> [u8; 4] {
    (date.0.cast_unsigned() ^ (1 << 31)).to_be_bytes()
}

fn key(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(tag);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

pub(super) fn sensor(ix: SensorIx) -> Vec<u8> {
    key(SENSOR, &[&ix.0.to_be_bytes()])
}

pub(super) fn local_day(date: LocalDate) -> Vec<u8> {
    key(LOCAL_DAY, &[&date_part(date)])
}

pub(super) fn journal(seq: u64) -> Vec<u8> {
    key(JOURNAL, &[&seq.to_be_bytes()])
}

#[cfg(test)]
pub(super) fn block(date: LocalDate, ix: SensorIx, n: u32) -> Vec<u8> {
    key(BLOCK, &[&date_part(date), &ix.0.to_be_bytes(), &n.to_be_bytes()])
}

pub(super) fn held(date: LocalDate) -> Vec<u8> {
    key(HELD, &[&date_part(date)])
}

pub(super) fn dirty(date: LocalDate, ix: SensorIx) -> Vec<u8> {
    key(DIRTY, &[&date_part(date), &ix.0.to_be_bytes()])
}

pub(super) fn day(date: LocalDate, ix: SensorIx) -> Vec<u8> {
    key(DAY, &[&date_part(date), &ix.0.to_be_bytes()])
}

pub(super) fn state(ix: SensorIx) -> Vec<u8> {
    key(STATE, &[&ix.0.to_be_bytes()])
}

pub(super) fn outbox(seq: u64) -> Vec<u8> {
    key(OUTBOX, &[&seq.to_be_bytes()])
}

pub(super) fn quarantine(seq: u64) -> Vec<u8> {
    key(QUARANTINE, &[&seq.to_be_bytes()])
}

pub(super) fn deliveries(seq: u64) -> Vec<u8> {
    key(DELIVERIES, &[&seq.to_be_bytes()])
}

pub(super) fn offset(ix: SensorIx) -> Vec<u8> {
    key(OFFSET, &[&ix.0.to_be_bytes()])
}

pub(super) fn silence(ix: SensorIx) -> Vec<u8> {
    key(SILENCE, &[&ix.0.to_be_bytes()])
}

/// All keys that begin with `prefix`; its last byte is not 0xff for any prefix used here, or it
/// is carried over.
fn under(prefix: Vec<u8>) -> Range<Vec<u8>> {
    let mut end = prefix.clone();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    prefix..end
}

pub(super) fn all_sensors() -> Range<Vec<u8>> {
    under(vec![SENSOR])
}

pub(super) fn all_local_days() -> Range<Vec<u8>> {
    under(vec![LOCAL_DAY])
}

pub(super) fn all_journal() -> Range<Vec<u8>> {
    under(vec![JOURNAL])
}

pub(super) fn all_dirty() -> Range<Vec<u8>> {
    under(vec![DIRTY])
}

pub(super) fn all_days() -> Range<Vec<u8>> {
    under(vec![DAY])
}

/// The entries from `first` up to and including `last`.
pub(super) fn outbox_between(first: u64, last: u64) -> Range<Vec<u8>> {
    let end = last.checked_add(1).map_or_else(|| under(vec![OUTBOX]).end, outbox);
    outbox(first).min(end.clone())..end
}

pub(super) fn all_quarantined() -> Range<Vec<u8>> {
    under(vec![QUARANTINE])
}

pub(super) fn all_deliveries() -> Range<Vec<u8>> {
    under(vec![DELIVERIES])
}

pub(super) fn all_offsets() -> Range<Vec<u8>> {
    under(vec![OFFSET])
}

pub(super) fn all_silences() -> Range<Vec<u8>> {
    under(vec![SILENCE])
}

pub(super) fn outbox_from(seq: u64) -> Range<Vec<u8>> {
    outbox(seq)..under(vec![OUTBOX]).end
}

pub(super) fn all_states() -> Range<Vec<u8>> {
    under(vec![STATE])
}

pub(super) fn all_held() -> Range<Vec<u8>> {
    under(vec![HELD])
}

pub(super) fn all_blocks() -> Range<Vec<u8>> {
    under(vec![BLOCK])
}

pub(super) fn days_of_date(date: LocalDate) -> Range<Vec<u8>> {
    under(key(DAY, &[&date_part(date)]))
}

pub(super) fn blocks_of_date(date: LocalDate) -> Range<Vec<u8>> {
    under(key(BLOCK, &[&date_part(date)]))
}

pub(super) fn local_days_before(date: LocalDate) -> Range<Vec<u8>> {
    vec![LOCAL_DAY]..local_day(date)
}

pub(super) fn held_before(date: LocalDate) -> Range<Vec<u8>> {
    vec![HELD]..held(date)
}

pub(super) fn dirty_before(date: LocalDate) -> Range<Vec<u8>> {
    vec![DIRTY]..key(DIRTY, &[&date_part(date)])
}

pub(super) fn days_before(date: LocalDate) -> Range<Vec<u8>> {
    vec![DAY]..key(DAY, &[&date_part(date)])
}

/// Takes 4 bytes of a key.
fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk::<4>().map(|(part, rest)| (u32::from_be_bytes(*part), rest))
}

/// The date of a `held` key.
pub(super) fn date_of(key: &[u8]) -> Option<LocalDate> {
    let (date, rest) = take_u32(key.get(1..)?)?;
    rest.is_empty().then_some(LocalDate((date ^ (1 << 31)).cast_signed()))
}

/// Date and sensor of a `block`, `dirty` or `day` key.
pub(super) fn date_and_sensor(key: &[u8]) -> Option<(LocalDate, SensorIx)> {
    let (_tag, rest) = key.split_first()?;
    let (date, rest) = take_u32(rest)?;
    let (ix, _) = take_u32(rest)?;
    Some((LocalDate((date ^ (1 << 31)).cast_signed()), SensorIx(ix)))
}

/// The number at the end of a `block` key.
pub(super) fn block_number(key: &[u8]) -> Option<u32> {
    key.last_chunk::<4>().filter(|_| key.len() == 13).map(|part| u32::from_be_bytes(*part))
}

/// The number of a `sensor`, `state`, `offset` or `silence` key.
pub(super) fn sensor_of(key: &[u8]) -> Option<SensorIx> {
    key.last_chunk::<4>().filter(|_| key.len() == 5).map(|part| SensorIx(u32::from_be_bytes(*part)))
}

/// The number of a `journal`, `outbox`, `quarantine` or `deliveries` key.
pub(super) fn seq_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().filter(|_| key.len() == 9).map(|part| u64::from_be_bytes(*part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_date_then_sensor_then_age() {
        let ordered = [
            block(LocalDate(i32::MIN), SensorIx(9), 9),
            block(LocalDate(-1), SensorIx(u32::MAX), 0),
            block(LocalDate(0), SensorIx(0), 255),
            block(LocalDate(0), SensorIx(0), 256),
            block(LocalDate(0), SensorIx(1), 0),
            block(LocalDate(1), SensorIx(0), 0),
        ];
        assert!(ordered.is_sorted());
        assert!(journal(255) < journal(256));
    }

    #[test]
    fn keys_lead_back_to_their_parts() {
        let (date, ix) = (LocalDate(-5), SensorIx(70_000));
        for key in [block(date, ix, 3), dirty(date, ix), day(date, ix)] {
            assert_eq!(date_and_sensor(&key), Some((date, ix)));
        }
        assert_eq!(date_of(&held(date)), Some(date));
        assert_eq!(block_number(&block(date, ix, 3)), Some(3));
        assert_eq!(sensor_of(&state(ix)), Some(ix));
        assert_eq!(seq_of(&outbox(1 << 40)), Some(1 << 40));
        assert_eq!(seq_of(b"o12"), None);
    }

    #[test]
    fn ranges_hold_their_own_keys_only() {
        let (date, ix) = (LocalDate(3), SensorIx(u32::MAX));
        let range = blocks_of_date(date);
        assert!(range.contains(&block(date, ix, 0)) && range.contains(&block(date, ix, u32::MAX)));
        assert!(!range.contains(&block(LocalDate(4), SensorIx(0), 0)));
        assert!(!days_before(date).contains(&day(date, SensorIx(0))));
        assert!(days_before(date).contains(&day(LocalDate(2), ix)));
        assert!(days_of_date(date).contains(&day(date, ix)));
        assert!(outbox_from(5).contains(&outbox(u64::MAX)));
        assert!(!outbox_from(5).contains(&outbox(4)));
        assert!(outbox_between(5, 5).contains(&outbox(5)));
        assert!(!outbox_between(5, 6).contains(&outbox(7)));
        assert!(outbox_between(5, u64::MAX).contains(&outbox(u64::MAX)));
        assert!(outbox_between(5, 4).is_empty() && outbox_between(u64::MAX, 4).is_empty());
    }
}
