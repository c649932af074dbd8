//! The journal's file: group commits one after the other, each durable by one fdatasync.
//!
//! The file is written from its beginning again after each fold, so it does not grow, and in the
//! long run an fdatasync writes the pages of the commit and nothing else: no size, no block map.
//! New space is filled with zeros a page at a time, because the kernel counts, and may write, as
//! much at once as was first written at once.
//!
//! | bytes | content of a record |
//! |---|---|
//! | 4 | `dwj2` |
//! | 8 | number, one more than the record's before |
//! | 4 | length of the payload |
//! | 4 | CRC-32 of the payload |
//! | 4 | CRC-32 of the 20 bytes before |
//! | n | payload |
//!
//! Numbers are never used again, so what is left of an earlier round is told by its numbers, which
//! are not above that of the last fold. A record that does not check out is skipped; if a later
//! one follows, it was damaged, otherwise the power went while it was written.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::error::StoreError;

const MAGIC: [u8; 4] = *b"dwj2";
const HEADER_BYTES: usize = 24;
/// The file grows by this much.
const GROWTH_BYTES: u64 = 64 * 1024;
const PAGE: [u8; 4096] = [0; 4096];
const PAGE_BYTES: u64 = PAGE.len() as u64;
/// The file's size at the most: more is not held between two folds.
pub(super) const MAX_LOG_BYTES: u64 = 4 << 20;

/// What one record is.
#[derive(Clone, Copy, Debug)]
struct Header {
    seq: u64,
    len: usize,
    checksum: u32,
}

impl Header {
    fn encode(seq: u64, payload: &[u8]) -> Option<[u8; HEADER_BYTES]> {
        let len = u32::try_from(payload.len()).ok()?;
        let mut bytes = [0; HEADER_BYTES];
        let fields = [
            MAGIC.as_slice(),
            &seq.to_le_bytes(),
            &len.to_le_bytes(),
            &crc32fast::hash(payload).to_le_bytes(),
        ];
        for (place, byte) in bytes.iter_mut().zip(fields.concat()) {
            *place = byte;
        }
        let (fields, checksum) = bytes.split_last_chunk_mut::<4>()?;
        *checksum = crc32fast::hash(fields).to_le_bytes();
        Some(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let (stated, checksum) = fields.split_last_chunk::<4>()?;
        let rest = stated.strip_prefix(&MAGIC)?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (payload, _) = rest.split_first_chunk::<4>()?;
        let header = Self {
            seq: u64::from_le_bytes(*seq),
            len: usize::try_from(u32::from_le_bytes(*len)).ok()?,
            checksum: u32::from_le_bytes(*payload),
        };
        (u32::from_le_bytes(*checksum) == crc32fast::hash(stated)).then_some(header)
    }
}

/// The live records of a file's content: numbers above `folded`, ascending.
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    next_seq: u64,
}

impl<'a> Records<'a> {
    pub(super) fn new(bytes: &'a [u8], folded: u64) -> Self {
        Self { bytes, at: 0, next_seq: folded.saturating_add(1) }
    }

    /// The payload at the place, if there is a live and sound record.
    fn here(&self) -> Option<(Header, &'a [u8])> {
        let rest = self.bytes.get(self.at..)?;
        let header = Header::decode(rest).filter(|header| header.seq >= self.next_seq)?;
        let payload = rest.get(HEADER_BYTES..)?.get(..header.len)?;
        (crc32fast::hash(payload) == header.checksum).then_some((header, payload))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<(u64, &'a [u8])> {
        loop {
            if let Some((header, payload)) = self.here() {
                self.at += HEADER_BYTES + header.len;
                self.next_seq = header.seq.saturating_add(1);
                return Some((header.seq, payload));
            }
            // Damage, or the end: only a look at the rest can tell.
            let rest = self.bytes.get(self.at + 1..)?;
            let step = rest.windows(MAGIC.len()).position(|window| window == MAGIC)?;
            self.at += 1 + step;
        }
    }
}

/// The journal's file, open.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    path: PathBuf,
    /// All records up to this one have been folded.
    folded: u64,
    next_seq: u64,
    /// Where the next record goes.
    end: u64,
    /// The file's size.
    allocated: u64,
    records: u64,
    /// Written since the file was last made durable, and where that begins: to be written again
    /// should the kernel fail to, because then it forgets what it had.
    undurable: Vec<u8>,
    undurable_from: u64,
    is_lost: bool,
}

impl Log {
    /// Opens or makes the file at `path`, whose records up to `folded` do not count.
    pub(super) fn open(path: &Path, folded: u64) -> Result<Self, StoreError> {
        let about = |source| file_error(path, source);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(about)?;
        let bytes = std::fs::read(path).map_err(about)?;
        let mut records = Records::new(&bytes, folded);
        let (mut count, mut end) = (0, 0);
        while records.next().is_some() {
            count += 1;
            end = records.at as u64;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            folded,
            next_seq: records.next_seq,
            end,
            allocated: bytes.len() as u64,
            records: count,
            undurable: Vec::new(),
            undurable_from: end,
            // What is read may be in the kernel's memory only.
            is_lost: true,
        })
    }

    /// Adds a record; says its number. Durable after [`Self::make_durable`].
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<u64, StoreError> {
        let seq = self.next_seq;
        let too_large = StoreError::TooLarge {
            what: "a commit",
            bytes: payload.len(),
            limit: usize::try_from(MAX_LOG_BYTES).unwrap_or(usize::MAX) - HEADER_BYTES,
        };
        if !self.has_room(payload.len()) {
            return Err(too_large);
        }
        let Some(header) = Header::encode(seq, payload) else { return Err(too_large) };
        let mut record = Vec::with_capacity(HEADER_BYTES + payload.len());
        record.extend_from_slice(&header);
        record.extend_from_slice(payload);
        let about = |source| StoreError::Io { operation: "write to", source: Box::new(source) };
        let end = self.end + record.len() as u64;
        self.grow_to(end).map_err(about)?;
        self.file.write_all_at(&record, self.end).map_err(about)?;
        self.undurable.extend_from_slice(&record);
        (self.end, self.next_seq, self.records) = (end, seq.saturating_add(1), self.records + 1);
        Ok(seq)
    }

    /// Whether a record of that payload fits before the next fold.
    pub(super) fn has_room(&self, payload_bytes: usize) -> bool {
        self.end + (HEADER_BYTES + payload_bytes) as u64 <= MAX_LOG_BYTES
    }

    fn grow_to(&mut self, end: u64) -> io::Result<()> {
        if end <= self.allocated {
            return Ok(());
        }
        let wanted = end.next_multiple_of(GROWTH_BYTES);
        while self.allocated < wanted {
            let page_end = (self.allocated / PAGE_BYTES + 1) * PAGE_BYTES;
            let missing = usize::try_from(page_end - self.allocated).unwrap_or(0);
            self.file.write_all_at(PAGE.get(..missing).unwrap_or(&PAGE), self.allocated)?;
            self.allocated = page_end;
        }
        Ok(())
    }

    /// Returns once all records are on the disk. Without cost if they are.
    pub(super) fn make_durable(&mut self) -> Result<(), StoreError> {
        if self.undurable.is_empty() && !self.is_lost {
            return Ok(());
        }
        let written = if self.is_lost {
            self.file.write_all_at(&self.undurable, self.undurable_from)
        } else {
            Ok(())
        };
        match written.and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.undurable.clear();
                (self.undurable_from, self.is_lost) = (self.end, false);
                Ok(())
            }
            Err(source) => {
                self.is_lost = true;
                Err(StoreError::Io { operation: "flush", source: Box::new(source) })
            }
        }
    }

    /// The file's content, for [`Self::records_of`].
    pub(super) fn content(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; usize::try_from(self.end).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, 0).map_err(|source| file_error(&self.path, source))?;
        Ok(bytes)
    }

    /// The records in the file's content.
    pub(super) fn records_of<'a>(&self, content: &'a [u8]) -> Records<'a> {
        Records::new(content, self.folded)
    }

    /// All records have been folded, durably: their space is free.
    pub(super) fn reset(&mut self) {
        self.folded = self.next_seq.saturating_sub(1);
        (self.end, self.records) = (0, 0);
        self.undurable.clear();
        (self.undurable_from, self.is_lost) = (0, false);
    }

    /// The number of the newest record, in the file or folded.
    pub(super) fn newest(&self) -> u64 {
        self.next_seq.saturating_sub(1)
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of the records.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Bytes of the file.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }
}

fn file_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, folded: u64) -> (Log, Vec<(u64, String)>) {
        let log = Log::open(path, folded).unwrap();
        let content = log.content().unwrap();
        let seen = log.records_of(&content);
        let seen = seen.map(|(seq, payload)| (seq, String::from_utf8(payload.to_vec()).unwrap()));
        let seen = seen.collect();
        (log, seen)
    }

    fn seqs(seen: &[(u64, String)]) -> Vec<u64> {
        seen.iter().map(|(seq, _)| *seq).collect()
    }

    fn filled(path: &Path, texts: &[&str]) -> Log {
        let (mut log, _) = open(path, 0);
        for text in texts {
            log.append(text.as_bytes()).unwrap();
        }
        log.make_durable().unwrap();
        log
    }

    /// Where a text stands in the file.
    fn place_of(path: &Path, text: &str) -> u64 {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap() as u64
    }

    #[test]
    fn records_come_back_in_their_order_and_the_file_keeps_its_size_from_round_to_round() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut log = filled(&path, &["one", "two", "three"]);
        assert_eq!(open(&path, 0).1, [(1, "one".into()), (2, "two".into()), (3, "three".into())]);
        log.reset();
        assert_eq!((log.records(), log.bytes(), log.newest()), (0, 0, 3));
        assert_eq!(log.append(b"four").unwrap(), 4);
        log.make_durable().unwrap();
        let (mut again, seen) = open(&path, 3);
        assert_eq!(seen, [(4, "four".into())], "what is left of the round before does not count");
        assert_eq!(again.append(b"five").unwrap(), 5);
        assert_eq!(seqs(&open(&path, 3).1), [4, 5]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), GROWTH_BYTES);
    }

    #[test]
    fn a_damaged_record_is_skipped_and_the_next_ones_are_found() {
        for (what, offset) in [("payload", 0_i64), ("header", -10), ("magic", -24)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("journal");
            let log = filled(&path, &["one", "two", "three"]);
            let place = place_of(&path, "two").checked_add_signed(offset).unwrap();
            log.file.write_all_at(b"!", place).unwrap();
            assert_eq!(seqs(&open(&path, 0).1), [1, 3], "damaged {what}");
        }
    }

    #[test]
    fn a_record_cut_short_by_a_power_cut_is_overwritten_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let log = filled(&path, &["one", "a longer second one"]);
        log.file.write_all_at(b"????", place_of(&path, "second")).unwrap();
        let (mut log, seen) = open(&path, 0);
        assert_eq!(seqs(&seen), [1]);
        assert_eq!(log.append(b"2nd").unwrap(), 2);
        assert_eq!(open(&path, 0).1, [(1, "one".into()), (2, "2nd".into())]);
    }

    #[test]
    fn what_the_kernel_failed_to_write_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut log = filled(&path, &["one"]);
        log.append(b"two").unwrap();
        // As after a failed fdatasync: the kernel has dropped the page.
        log.is_lost = true;
        log.file.write_all_at(&[0; 3], place_of(&path, "two")).unwrap();
        log.make_durable().unwrap();
        assert_eq!(seqs(&open(&path, 0).1), [1, 2]);
    }

    #[test]
    fn a_full_journal_says_so_and_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut log, _) = open(&path, 0);
        let large = vec![7; 1 << 20];
        let fitting = (0..10).take_while(|_| log.append(&large).is_ok()).count();
        assert_eq!(fitting, 3, "4 MiB less the headers");
        assert!(!log.has_room(large.len()));
        assert_eq!(log.records(), 3);
    }
}
