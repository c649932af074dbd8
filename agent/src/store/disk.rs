//! sled, and what it needs to be trusted with acknowledged readings. The only code that names it.
//!
//! - Its `flush` does not make the file's new size durable, so each is followed by an fdatasync
//!   of its one file, and files that opening may create are fsynced with their folder.
//! - It can panic on a damaged file, in `open` and later. Every call is caught and comes back as
//!   [`StoreError::Damaged`]; a note beside the store then makes the next opening read it whole.
//! - Values above a quarter of a segment, leaves of the tree included, would become files of
//!   their own that it never fsyncs; records are kept small enough for that not to happen.
//! - It cleans its file only on its own timer, which is therefore on, but slow.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    ops::{ControlFlow, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing::warn;

use super::error::StoreError;

/// Smaller than sled's own half megabyte, because several are held in memory; large enough that
/// a full leaf stays below a quarter of it.
const SEGMENT_BYTES: usize = 256 * 1024;
/// How often sled cleans its file; its own idea of flushing does no harm beside ours.
const CLEAN_EVERY_MS: u64 = 10_000;
/// How often, and how long apart, sled's own lock is tried.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Damaged stores that are kept for inspection; the oldest goes first.
const MAX_SET_ASIDE: usize = 3;

/// Changes that become visible, and durable, together or not at all.
#[derive(Debug, Default)]
pub(super) struct Changes {
    puts: Vec<KeyAndRecord>,
    removals: Vec<Vec<u8>>,
}

impl Changes {
    pub(super) fn put(&mut self, key: Vec<u8>, record: Vec<u8>) {
        self.puts.push((key, record));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.removals.push(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.removals.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.puts.len() + self.removals.len()
    }
}

/// A key and the record under it.
type KeyAndRecord = (Vec<u8>, Vec<u8>);

/// How far the file is known to be on the disk.
#[derive(Debug, Default)]
struct Durable {
    /// As many changes as were made then; `None` before the first flush.
    written: Option<u64>,
    /// The kernel may drop what it could not write and report that just once: another fdatasync
    /// would succeed without having written it.
    has_failed: bool,
}

/// An open store on disk.
#[derive(Debug)]
pub(super) struct Disk {
    tree: sled::Db,
    /// A handle of our own to sled's file, for fdatasync.
    file: File,
    dir: PathBuf,
    /// Changes made so far.
    written: AtomicU64,
    /// Held while flushing, so that no caller returns while another's flush is under way.
    durable: Mutex<Durable>,
    /// Held for as long as the store is open.
    _lock: File,
}

impl Disk {
    /// Opens or creates the store at `dir`; its folder's parent exists.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let lock = lock(dir)?;
        fs::create_dir_all(dir).map_err(|source| folder_error(dir, source))?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .mode(sled::Mode::LowSpace)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(Some(CLEAN_EVERY_MS));
        let tree = match catch_unwind(AssertUnwindSafe(|| open_patiently(&config))) {
            Ok(Ok(tree)) => tree,
            Ok(Err(source)) if is_damage(&source) => {
                return Err(StoreError::Damaged { detail: source.to_string() });
            }
            Ok(Err(source)) => {
                return Err(StoreError::Open { path: dir.to_owned(), source: source.into() });
            }
            Err(panic) => return Err(StoreError::Damaged { detail: panic_text(&*panic) }),
        };
        let db = dir.join("db");
        let file = File::open(&db).map_err(|source| folder_error(&db, source))?;
        let disk = Self {
            tree,
            file,
            dir: dir.to_owned(),
            written: AtomicU64::default(),
            durable: Mutex::default(),
            _lock: lock,
        };
        disk.sync_created_files()?;
        Ok(disk)
    }

    fn sync_created_files(&self) -> Result<(), StoreError> {
        let parent = self.dir.parent().map(Path::to_owned);
        let places = [Some(self.dir.join("conf")), Some(self.dir.clone()), parent];
        for path in places.into_iter().flatten().filter(|path| !path.as_os_str().is_empty()) {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|source| folder_error(&path, source))?;
        }
        self.file.sync_all().map_err(|source| folder_error(&self.dir.join("db"), source))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.guarded("read", || self.tree.get(key))?;
        Ok(found.map(|value| value.to_vec()))
    }

    /// The last key in `range` and its record.
    pub(super) fn last(&self, range: Range<Vec<u8>>) -> Result<Option<KeyAndRecord>, StoreError> {
        let found = self.guarded("read", || self.tree.range(range).next_back().transpose())?;
        Ok(found.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    /// Shows the records in `range` in the order of their keys until `visit` breaks.
    pub(super) fn scan(
        &self,
        range: Range<Vec<u8>>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.visit(self.tree.range(range), visit)
    }

    /// Shows the records in `range`, the last key first, until `visit` breaks.
    pub(super) fn scan_back(
        &self,
        range: Range<Vec<u8>>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.visit(self.tree.range(range).rev(), visit)
    }

    fn visit(
        &self,
        mut records: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        loop {
            let next = self.guarded("read", || records.next().transpose())?;
            let Some((key, value)) = next else { return Ok(()) };
            if visit(&key, &value).is_break() {
                return Ok(());
            }
        }
    }

    /// Makes all of `changes` at once; durable after [`Self::make_durable`].
    pub(super) fn write(&self, changes: Changes) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let done = self.apply(changes);
        // After the change, or a flush in between would be taken for one that had it.
        self.written.fetch_add(1, Ordering::AcqRel);
        done
    }

    fn apply(&self, changes: Changes) -> Result<(), StoreError> {
        let Changes { mut puts, removals } = changes;
        if removals.is_empty()
            && puts.len() == 1
            && let Some((key, record)) = puts.pop()
        {
            // A batch rolls sled's buffers over to be atomic; a single insert is so by itself.
            return self.guarded("write to", || self.tree.insert(key, record)).map(drop);
        }
        let mut batch = sled::Batch::default();
        puts.into_iter().for_each(|(key, record)| batch.insert(key, record));
        removals.into_iter().for_each(|key| batch.remove(key));
        self.guarded("write to", || self.tree.apply_batch(batch))
    }

    /// Returns once everything written is on the disk. Fails for good once it has failed.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.has_failed {
            let source = "an earlier flush failed".into();
            return Err(StoreError::Io { operation: "flush", source });
        }
        let written = self.written.load(Ordering::Acquire);
        if durable.written == Some(written) {
            return Ok(());
        }
        let done = self
            .guarded("flush", || self.tree.flush())
            .and_then(|_| self.file.sync_data().map_err(|source| io_error("flush", source)));
        match done {
            Ok(()) => durable.written = Some(written),
            Err(_) => durable.has_failed = true,
        }
        done
    }

    /// Bytes that the store's files take.
    pub(super) fn size_on_disk(&self) -> u64 {
        let blobs = self.dir.join("blobs");
        [self.dir.as_path(), &blobs]
            .into_iter()
            .filter_map(|dir| fs::read_dir(dir).ok())
            .flatten()
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .filter(fs::Metadata::is_file)
            .map(|file| file.len())
            .sum()
    }

    /// Calls sled; damage that it reports or panics on comes back as an error and is noted.
    pub(super) fn guarded<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce() -> Result<T, sled::Error>,
    ) -> Result<T, StoreError> {
        let detail = match catch_unwind(AssertUnwindSafe(act)) {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(source)) if is_damage(&source) => source.to_string(),
            Ok(Err(source)) => return Err(StoreError::Io { operation, source: source.into() }),
            Err(panic) => panic_text(&*panic),
        };
        let note = suspicion(&self.dir);
        if let Err(error) = fs::write(&note, &detail) {
            warn!(path = %note.display(), %error, "cannot note that the store is suspect");
        }
        Err(StoreError::Damaged { detail })
    }
}

/// Opens sled's store. Its threads may keep its own lock for a moment after it was closed in
/// this process; another process is out of the question once we hold ours.
fn open_patiently(config: &sled::Config) -> Result<sled::Db, sled::Error> {
    for _ in 0..LOCK_TRIES {
        match config.open() {
            Err(sled::Error::Io(source)) if source.to_string().contains("acquire lock") => {
                std::thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
    config.open()
}

/// Whether the last run met damage in the store at `dir`, so that it needs reading whole.
pub(super) fn is_suspect(dir: &Path) -> bool {
    suspicion(dir).exists()
}

/// Forgets that: the store was read whole, or set aside.
pub(super) fn clear_suspicion(dir: &Path) -> Result<(), StoreError> {
    let note = suspicion(dir);
    match fs::remove_file(&note) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(folder_error(&note, source)),
        _ => Ok(()),
    }
}

/// Renames the store at `dir` to `{dir}.damaged-{n}` with the next free number.
pub(super) fn set_aside(dir: &Path) -> Result<PathBuf, StoreError> {
    let mut numbers = set_aside_numbers(dir)?;
    numbers.sort_unstable();
    let target = sibling(dir, &format!("damaged-{}", numbers.last().unwrap_or(&0) + 1));
    fs::rename(dir, &target).map_err(|source| folder_error(dir, source))?;
    let surplus = (numbers.len() + 1).saturating_sub(MAX_SET_ASIDE);
    for number in numbers.iter().take(surplus) {
        let old = sibling(dir, &format!("damaged-{number}"));
        fs::remove_dir_all(&old).map_err(|source| folder_error(&old, source))?;
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| folder_error(parent, source))?;
    }
    clear_suspicion(dir)?;
    Ok(target)
}

fn set_aside_numbers(dir: &Path) -> Result<Vec<u64>, StoreError> {
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let stem = sibling(dir, "damaged-");
    let stem = stem.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let entries = fs::read_dir(parent).map_err(|source| folder_error(parent, source))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(stem)?.parse().ok())
        .collect())
}

/// `{dir}.{suffix}`, beside the store.
fn sibling(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or("store".as_ref()).to_owned();
    name.push(".");
    name.push(suffix);
    dir.with_file_name(name)
}

fn suspicion(dir: &Path) -> PathBuf {
    sibling(dir, "suspect")
}

/// A lock of our own, because sled's own failure to lock cannot be told from other failures.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = sibling(dir, "lock");
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(|source| folder_error(parent, source))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| folder_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Busy { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(folder_error(&path, source)),
    }
}

/// Whether the error says that the file's content is wrong, not that the disk refused.
fn is_damage(error: &sled::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error {
        sled::Error::Io(source) => {
            matches!(source.kind(), UnexpectedEof | InvalidData | InvalidInput)
        }
        _ => true,
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the engine panicked: {}", text.unwrap_or("no message"))
}

fn folder_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder { path: path.to_owned(), source }
}

fn io_error(operation: &'static str, source: io::Error) -> StoreError {
    StoreError::Io { operation, source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn open(dir: &Path) -> Disk {
        Disk::open(&dir.join("store"), 1 << 20).unwrap()
    }

    fn put(disk: &Disk, key: u8) {
        let mut changes = Changes::default();
        changes.put(vec![key], vec![0; 10]);
        disk.write(changes).unwrap();
    }

    #[test]
    fn a_flush_waits_for_one_that_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let disk = open(dir.path());
        put(&disk, 1);
        let first = disk.durable.lock().unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| disk.make_durable());
            thread::sleep(Duration::from_millis(50));
            assert!(!second.is_finished());
            drop(first);
            second.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_flush_that_failed_is_not_made_good_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path());
        put(&disk, 1);
        // fdatasync refuses a device that has no disk behind it.
        let file = std::mem::replace(&mut disk.file, File::open("/dev/null").unwrap());
        disk.make_durable().unwrap_err();
        disk.file = file;
        disk.make_durable().unwrap_err();
        drop(disk);
        open(dir.path()).make_durable().unwrap();
    }
}
