//! Samples by local day: one file per date, written to its end only.
//!
//! A fold appends a section with one block per sensor. How much of a file counts is kept in the
//! store's tree: what a crash left beyond that is overwritten by the next section, and a file the
//! tree does not know goes when the store is opened. So a day's readings are written once, and
//! forgetting a day gives its space back at once.
//!
//! | bytes | content of a section |
//! |---|---|
//! | 4 | `dwc1` |
//! | 4 | length of the index |
//! | 4 | CRC-32 of date, length and index |
//! | n | index: for each block, by sensor, varints: sensor minus the one before; length |
//! | m | blocks: each a CRC-32 of date, sensor and payload, and the payload |
//!
//! A damaged block is left out. A damaged index takes its section's blocks with it; the sections
//! behind it are found again by their beginning.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use daywise_core::{
    block::{self, BlockError},
    reading::{Sample, SensorIx},
    time::{LocalDate, UtcMillis},
};

use super::{error::StoreError, journal::midnight, records::Damage};

const MAGIC: [u8; 4] = *b"dwc1";
const HEADER_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
/// A damaged file is looked through for the next section by this much at a time.
const SEARCH_BYTES: usize = 64 * 1024;
/// No index is larger: a fold of 4 MiB of journal cannot bring more sensors than that.
const MAX_INDEX_BYTES: usize = 8 << 20;

/// One sensor's samples in a section.
pub(super) type Block = (SensorIx, Vec<u8>);

/// Where a block is in its file.
#[derive(Clone, Copy, Debug)]
struct Place {
    sensor: SensorIx,
    offset: u64,
    bytes: usize,
}

/// What was found out about a file, so that a day's sensors can be read one by one.
#[derive(Debug)]
struct Known {
    date: LocalDate,
    bytes: u64,
    /// `None` if there is none.
    file: Option<File>,
    sections: Vec<Vec<Place>>,
    damaged: bool,
}

/// The folder of the files.
#[derive(Debug)]
pub(super) struct Chunks {
    dir: PathBuf,
    /// The file that was read last.
    known: Option<Known>,
    /// Written, but not synced.
    written: BTreeMap<LocalDate, File>,
    /// A file was made or removed.
    is_folder_changed: bool,
}

impl Chunks {
    /// The files in the folder `dir`, which is made if need be.
    pub(super) fn open(dir: PathBuf) -> Result<Self, StoreError> {
        if !dir.exists() {
            fs::create_dir(&dir).map_err(|source| file_error(&dir, source))?;
        }
        // Also where it is there: a process that made it may have been killed before this.
        if let Some(parent) = dir.parent() {
            sync_folder(parent)?;
        }
        Ok(Self { dir, known: None, written: BTreeMap::new(), is_folder_changed: false })
    }

    fn path(&self, date: LocalDate) -> PathBuf {
        path(&self.dir, date)
    }

    /// Whether there is a file of `date`.
    pub(super) fn exists(&self, date: LocalDate) -> bool {
        self.path(date).exists()
    }

    /// Removes the files of dates that are not among `dates`.
    pub(super) fn keep_only(
        &mut self,
        dates: impl Fn(LocalDate) -> bool,
    ) -> Result<(), StoreError> {
        let entries = fs::read_dir(&self.dir).map_err(|source| file_error(&self.dir, source))?;
        for entry in entries {
            let path = entry.map_err(|source| file_error(&self.dir, source))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let date = name.strip_suffix(".chunks").and_then(|date| date.parse().ok());
            if date.is_some_and(|date| !dates(LocalDate(date))) {
                fs::remove_file(&path).map_err(|source| file_error(&path, source))?;
                self.is_folder_changed = true;
            }
        }
        Ok(())
    }

    /// Writes a section of `blocks`, ascending by sensor, at `end` of the date's file; says where
    /// it ends. Durable after [`Self::make_durable`].
    pub(super) fn append(
        &mut self,
        date: LocalDate,
        end: u64,
        blocks: &[Block],
    ) -> Result<u64, StoreError> {
        let path = self.path(date);
        let about = |source| file_error(&path, source);
        let file = match self.written.entry(date) {
            std::collections::btree_map::Entry::Occupied(written) => written.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                self.is_folder_changed |= !path.exists();
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false);
                place.insert(options.open(&path).map_err(about)?)
            }
        };
        let section = encode(date, blocks);
        file.write_all_at(&section, end).map_err(about)?;
        Ok(end + section.len() as u64)
    }

    /// Returns once all that was written is on the disk.
    pub(super) fn make_durable(&mut self) -> Result<(), StoreError> {
        let written: Vec<LocalDate> = self.written.keys().copied().collect();
        for date in written {
            if let Some(file) = self.written.remove(&date) {
                file.sync_data().map_err(|source| file_error(&self.path(date), source))?;
            }
        }
        if self.is_folder_changed {
            sync_folder(&self.dir)?;
            self.is_folder_changed = false;
        }
        Ok(())
    }

    /// Forgets what was written and not made durable: it will be written again.
    pub(super) fn forget_written(&mut self) {
        self.written.clear();
        self.known = None;
    }

    /// Removes the file of `date`, if there is one.
    pub(super) fn remove(&mut self, date: LocalDate) -> Result<(), StoreError> {
        self.known = None;
        self.written.remove(&date);
        let path = self.path(date);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(file_error(&path, source))
            }
            _ => Ok(()),
        }
    }

    /// One sensor's samples in the first `bytes` of the date's file, in the order they arrived.
    pub(super) fn read(
        &mut self,
        date: LocalDate,
        bytes: u64,
        sensor: SensorIx,
        samples: &mut Vec<Sample>,
        damage: &mut dyn FnMut(u64, Damage),
    ) -> Result<(), StoreError> {
        let known = self.look(date, bytes, damage)?;
        let Some(file) = &known.file else { return Ok(()) };
        for section in &known.sections {
            let Ok(found) = section.binary_search_by_key(&sensor, |place| place.sensor) else {
                continue;
            };
            if let Some(place) = section.get(found) {
                read_block(file, date, place, samples, damage)?;
            }
        }
        Ok(())
    }

    /// The sensors with samples in the first `bytes` of the date's file, by number.
    pub(super) fn sensors(
        &mut self,
        date: LocalDate,
        bytes: u64,
        damage: &mut dyn FnMut(u64, Damage),
    ) -> Result<Vec<SensorIx>, StoreError> {
        let known = self.look(date, bytes, damage)?;
        let mut sensors: Vec<SensorIx> =
            known.sections.iter().flatten().map(|place| place.sensor).collect();
        sensors.sort_unstable();
        sensors.dedup();
        Ok(sensors)
    }

    /// Shows all samples of the date, each sensor's in the order they arrived.
    pub(super) fn scan(
        &mut self,
        date: LocalDate,
        bytes: u64,
        visit: &mut dyn FnMut(SensorIx, Sample),
        damage: &mut dyn FnMut(u64, Damage),
    ) -> Result<(), StoreError> {
        let known = self.look(date, bytes, damage)?;
        let Some(file) = &known.file else { return Ok(()) };
        let mut samples = Vec::new();
        for place in known.sections.iter().flatten() {
            samples.clear();
            read_block(file, date, place, &mut samples, damage)?;
            samples.iter().for_each(|&sample| visit(place.sensor, sample));
        }
        Ok(())
    }

    /// Closes the file that was read last, and forgets where its blocks are.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Reads the indexes of the date's file, unless they are known.
    fn look(
        &mut self,
        date: LocalDate,
        bytes: u64,
        damage: &mut dyn FnMut(u64, Damage),
    ) -> Result<&Known, StoreError> {
        let fresh = |known: &Known| known.date == date && known.bytes == bytes && !known.damaged;
        if !self.known.as_ref().is_some_and(fresh) {
            let path = self.path(date);
            let about = |source| file_error(&path, source);
            let file = match File::open(&path) {
                Ok(file) => Some(file),
                // Nothing was ever written, or it was given up for lack of space.
                Err(source) if source.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(about(source)),
            };
            let mut damaged = false;
            let mut note = |at, what| {
                damaged = true;
                damage(at, what);
            };
            let found = file.as_ref().map(|file| sections(file, date, bytes, &mut note));
            let sections = found.transpose().map_err(about)?.unwrap_or_default();
            self.known = Some(Known { date, bytes, file, sections, damaged });
        }
        self.known
            .as_ref()
            .ok_or_else(|| file_error(&self.path(date), io::Error::from(io::ErrorKind::NotFound)))
    }
}

/// The file of `date` in the folder `dir`.
pub(super) fn path(dir: &Path, date: LocalDate) -> PathBuf {
    // By number, because not every number is a date of the calendar.
    dir.join(format!("{}.chunks", date.0))
}

fn encode(date: LocalDate, blocks: &[Block]) -> Vec<u8> {
    let (mut index, mut previous) = (Vec::new(), 0);
    for (sensor, payload) in blocks {
        block::put_varint(&mut index, u64::from(sensor.0.saturating_sub(previous)));
        block::put_varint(&mut index, payload.len() as u64);
        previous = sensor.0;
    }
    let length = u32::try_from(index.len()).unwrap_or(u32::MAX).to_le_bytes();
    let body: usize = blocks.iter().map(|(_, payload)| CHECKSUM_BYTES + payload.len()).sum();
    let mut section = Vec::with_capacity(HEADER_BYTES + index.len() + body);
    section.extend_from_slice(&MAGIC);
    section.extend_from_slice(&length);
    section.extend_from_slice(&checksum(date, &length, &index));
    section.extend_from_slice(&index);
    for (sensor, payload) in blocks {
        section.extend_from_slice(&checksum(date, &sensor.0.to_le_bytes(), payload));
        section.extend_from_slice(payload);
    }
    section
}

fn checksum(date: LocalDate, about: &[u8; 4], content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&date.0.to_le_bytes());
    crc.update(about);
    crc.update(content);
    crc.finalize().to_le_bytes()
}

/// The places of all blocks, section by section.
fn sections(
    file: &File,
    date: LocalDate,
    bytes: u64,
    damage: &mut dyn FnMut(u64, Damage),
) -> io::Result<Vec<Vec<Place>>> {
    let mut sections = Vec::new();
    let mut at = 0;
    while at < bytes {
        match section(file, date, at, bytes)? {
            Some((places, end)) => {
                sections.push(places);
                at = end;
            }
            None => {
                damage(at, Damage::Checksum);
                at = next_beginning(file, at + 1, bytes)?;
            }
        }
    }
    Ok(sections)
}

/// The section at `at` and its end; `None` if it is damaged.
fn section(
    file: &File,
    date: LocalDate,
    at: u64,
    bytes: u64,
) -> io::Result<Option<(Vec<Place>, u64)>> {
    let Some(header) = read(file, at, HEADER_BYTES, bytes)? else { return Ok(None) };
    let fields = header.strip_prefix(&MAGIC).and_then(|rest| rest.split_first_chunk::<4>());
    let Some((length, stated)) = fields else { return Ok(None) };
    let index_bytes = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if index_bytes > MAX_INDEX_BYTES {
        return Ok(None);
    }
    let index_at = at + HEADER_BYTES as u64;
    let Some(index) = read(file, index_at, index_bytes, bytes)? else { return Ok(None) };
    if stated != checksum(date, length, &index) {
        return Ok(None);
    }
    let body = index_at + index_bytes as u64;
    Ok(places(&index, body).ok().filter(|(_, end)| *end <= bytes))
}

fn places(mut index: &[u8], body: u64) -> Result<(Vec<Place>, u64), BlockError> {
    let (mut places, mut sensor, mut offset) = (Vec::new(), 0_u32, body);
    while !index.is_empty() {
        let (step, rest) = block::take_varint(index)?;
        let (bytes, rest) = block::take_varint(rest)?;
        let step = u32::try_from(step).map_err(|_| BlockError::Impossible)?;
        let bytes = usize::try_from(bytes).map_err(|_| BlockError::Impossible)?;
        sensor = sensor.checked_add(step).ok_or(BlockError::Impossible)?;
        places.push(Place { sensor: SensorIx(sensor), offset, bytes });
        offset = offset.saturating_add((CHECKSUM_BYTES as u64).saturating_add(bytes as u64));
        index = rest;
    }
    Ok((places, offset))
}

/// Where the next section seems to begin, from `at` on.
fn next_beginning(file: &File, mut at: u64, bytes: u64) -> io::Result<u64> {
    while at < bytes {
        let left = usize::try_from(bytes - at).unwrap_or(SEARCH_BYTES).min(SEARCH_BYTES);
        let Some(part) = read(file, at, left, bytes)? else { return Ok(bytes) };
        if let Some(found) = part.windows(MAGIC.len()).position(|window| window == MAGIC) {
            return Ok(at + found as u64);
        }
        // The beginning may lie across two parts.
        at += left.saturating_sub(MAGIC.len() - 1).max(1) as u64;
        if left < MAGIC.len() {
            return Ok(bytes);
        }
    }
    Ok(bytes)
}

/// `None` where the file is shorter than it should be.
fn read(file: &File, at: u64, length: usize, bytes: u64) -> io::Result<Option<Vec<u8>>> {
    if at.saturating_add(length as u64) > bytes {
        return Ok(None);
    }
    let mut content = vec![0; length];
    match file.read_exact_at(&mut content, at) {
        Ok(()) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_block(
    file: &File,
    date: LocalDate,
    place: &Place,
    samples: &mut Vec<Sample>,
    damage: &mut dyn FnMut(u64, Damage),
) -> Result<(), StoreError> {
    let Place { sensor, offset, bytes } = *place;
    let content = read(file, offset, CHECKSUM_BYTES + bytes, u64::MAX);
    let content =
        content.map_err(|source| StoreError::Io { operation: "read", source: Box::new(source) })?;
    let payload = content.as_deref().and_then(|content| {
        let (stated, payload) = content.split_first_chunk::<CHECKSUM_BYTES>()?;
        (*stated == checksum(date, &sensor.0.to_le_bytes(), payload)).then_some(payload)
    });
    match payload.map(|payload| decode(midnight(date), payload)) {
        Some(Ok(mut found)) => samples.append(&mut found),
        Some(Err(_)) => damage(offset, Damage::Content),
        None => damage(offset, Damage::Checksum),
    }
    Ok(())
}

fn decode(base: UtcMillis, payload: &[u8]) -> Result<Vec<Sample>, BlockError> {
    block::decode(base, payload)
}

/// Returns once all names in the folder are on the disk.
pub(super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|source| file_error(path, source))
}

fn file_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder { path: path.to_owned(), source }
}
