//! sled, and what it needs to be trusted with acknowledged readings. The only code that names it.
//!
//! - Its `flush` does not make the file's new size durable, so each is followed by an fdatasync
//!   of its one file, and files that opening may create are fsynced with their folder.
//! - It can panic on a damaged file, in `open` and later. Every call is caught and comes back as
//!   [`StoreError::Damaged`]; a note beside the store then makes the next opening read it whole.
//! - Values above a quarter of a segment, leaves of the tree included, would become files of
//!   their own that it never fsyncs; records are kept small enough for that not to happen.
//! - A kill while it opens can leave a half-written snapshot, which it then takes for damage. One
//!   that is whole may speak of what is not durable yet. See [`prepare`].
//! - It cleans its file only on its own timer, which is therefore on, but slow.
//! - After a failed write it refuses everything. It is then closed and opened again in place, by
//!   [`Disk::reopen`]; until that has worked nothing is read or written.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    ops::{ControlFlow, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::fs::Advice;
use tracing::warn;

use super::error::StoreError;

/// Smaller than sled's own half megabyte, because several are held in memory; large enough that
/// a full leaf stays below a quarter of it.
const SEGMENT_BYTES: usize = 256 * 1024;
/// How often sled cleans its file; its own idea of flushing does no harm beside ours.
const CLEAN_EVERY_MS: u64 = 10_000;
/// How often, and how long apart, sled's own lock is tried.
const LOCK_TRIES: u32 = 200;
const OWN_LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// The journal's file, beside sled's.
pub(super) const JOURNAL_FILE: &str = "journal";
/// The folder of the samples' files, beside sled's.
pub(super) const CHUNKS_FOLDER: &str = "chunks";
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

/// An open store on disk.
#[derive(Debug)]
pub(super) struct Disk {
    /// `None` from a failure to an opening that works.
    engine: RwLock<Option<Engine>>,
    dir: PathBuf,
    cache_bytes: u64,
    /// Changes made so far.
    written: AtomicU64,
    /// As many changes are known to be on the disk; `None` before the first flush. Held while
    /// flushing, so that no caller returns while another's flush is under way.
    durable: Mutex<Option<u64>>,
    /// Whether the engine has failed and must be opened again.
    is_broken: AtomicBool,
    /// Held for as long as the store is open.
    _lock: File,
}

#[derive(Debug)]
pub(super) struct Engine {
    tree: sled::Db,
    /// A handle of our own to sled's file, for fdatasync.
    file: File,
}

impl Disk {
    /// Opens or creates the store at `dir`; its folder's parent exists.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let lock = lock(dir)?;
        fs::create_dir_all(dir).map_err(|source| folder_error(dir, source))?;
        let engine = Engine::open(dir, cache_bytes)?;
        Ok(Self {
            engine: RwLock::new(Some(engine)),
            dir: dir.to_owned(),
            cache_bytes,
            written: AtomicU64::default(),
            durable: Mutex::default(),
            is_broken: false.into(),
            _lock: lock,
        })
    }

    /// The folder of the store's files.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether [`Self::reopen`] has to come before anything else.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Something else has failed that only opening everything again can mend.
    pub(super) fn give_up(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    /// Closes the engine and opens it again. What it holds then is what a crash would have left: the kernel may have dropped what it could not write, but goes on showing
    /// it, so it is made to read the disk.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = engine.take() {
            let file = failed.file.try_clone();
            close(Some(failed));
            if let Ok(file) = file
                && let Err(error) = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
            {
                warn!(%error, "the kernel keeps what it has of the store's file");
            }
        }
        *engine = Some(Engine::open(&self.dir, self.cache_bytes)?);
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.is_broken.store(false, Ordering::Release);
        Ok(())
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.guarded("read", |engine| engine.tree.get(key))?;
        Ok(found.map(|value| value.to_vec()))
    }

    /// Shows the records in `range` in the order of their keys until `visit` breaks.
    pub(super) fn scan(
        &self,
        range: Range<Vec<u8>>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let records = self.guarded("read", |engine| Ok(engine.tree.range(range)))?;
        self.visit(records, visit)
    }

    /// Shows the records in `range`, the last key first, until `visit` breaks.
    pub(super) fn scan_back(
        &self,
        range: Range<Vec<u8>>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let records = self.guarded("read", |engine| Ok(engine.tree.range(range)))?;
        self.visit(records.rev(), visit)
    }

    fn visit(
        &self,
        mut records: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        loop {
            let next = self.guarded("read", |_| records.next().transpose())?;
            let Some((key, value)) = next else { return Ok(()) };
            if visit(&key, &value).is_break() {
                return Ok(());
            }
        }
    }

    /// Whether there is any record in `range`.
    pub(super) fn has_any(&self, range: Range<Vec<u8>>) -> Result<bool, StoreError> {
        let mut found = false;
        self.scan(range, |_, _| {
            found = true;
            ControlFlow::Break(())
        })?;
        Ok(found)
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
            return self.guarded("write to", |engine| engine.tree.insert(key, record)).map(drop);
        }
        let mut batch = sled::Batch::default();
        puts.into_iter().for_each(|(key, record)| batch.insert(key, record));
        removals.into_iter().for_each(|key| batch.remove(key));
        self.guarded("write to", |engine| engine.tree.apply_batch(batch))
    }

    /// Removes all records in `range` in batches of `at_once`.
    pub(super) fn remove_all(
        &self,
        range: Range<Vec<u8>>,
        at_once: usize,
    ) -> Result<(), StoreError> {
        loop {
            let mut changes = Changes::default();
            self.scan(range.clone(), |key, _| {
                changes.remove(key.to_vec());
                if changes.len() < at_once {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            if changes.is_empty() {
                return Ok(());
            }
            self.write(changes)?;
        }
    }

    /// Returns once everything written is on the disk. Once it has failed, it fails until the
    /// engine is opened again: another fdatasync might succeed without having written what the
    /// kernel dropped.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.written.load(Ordering::Acquire);
        if *durable == Some(written) {
            return Ok(());
        }
        let synced = self.guarded("flush", |engine| {
            engine.tree.flush()?;
            Ok(engine.file.sync_data())
        })?;
        synced.map_err(|source| {
            self.is_broken.store(true, Ordering::Release);
            StoreError::Io { operation: "flush", source: source.into() }
        })?;
        *durable = Some(written);
        Ok(())
    }

    /// Bytes that the engine's files take.
    pub(super) fn size_on_disk(&self) -> u64 {
        let blobs = self.dir.join("blobs");
        [self.dir.as_path(), &blobs]
            .into_iter()
            .filter_map(|dir| fs::read_dir(dir).ok())
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name() != JOURNAL_FILE)
            .filter_map(|entry| entry.metadata().ok())
            .filter(fs::Metadata::is_file)
            .map(|file| file.len())
            .sum()
    }

    /// Calls sled; damage that it reports or panics on comes back as an error and is noted. After
    /// any failure the engine has to be opened again.
    pub(super) fn guarded<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&Engine) -> Result<T, sled::Error>,
    ) -> Result<T, StoreError> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let Some(engine) = engine.as_ref().filter(|_| !self.is_broken()) else {
            return Err(StoreError::Io {
                operation,
                source: "it is closed after a failure".into(),
            });
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| act(engine)));
        if let Ok(Ok(done)) = outcome {
            return Ok(done);
        }
        self.is_broken.store(true, Ordering::Release);
        let detail = match outcome {
            Ok(Err(source)) if !is_damage(&source) => {
                return Err(StoreError::Io { operation, source: source.into() });
            }
            Ok(outcome) => outcome.err().map(|source| source.to_string()).unwrap_or_default(),
            Err(panic) => panic_text(&*panic),
        };
        let note = suspicion(&self.dir);
        if let Err(error) = fs::write(&note, &detail) {
            warn!(path = %note.display(), %error, "cannot note that the store is suspect");
        }
        Err(StoreError::Damaged { detail })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        close(self.engine.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// It writes once more when it is closed, and panics where the disk refuses.
fn close(engine: Option<Engine>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(engine))) {
        warn!(detail = panic_text(&*panic), "the engine did not close cleanly");
    }
}

impl Engine {
    fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        prepare(dir)?;
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
        let engine = Self { tree, file };
        engine.sync_created_files(dir)?;
        Ok(engine)
    }

    fn sync_created_files(&self, dir: &Path) -> Result<(), StoreError> {
        let parent = dir.parent().map(Path::to_owned);
        let places = [Some(dir.join("conf")), Some(dir.to_owned()), parent];
        for path in places.into_iter().flatten().filter(|path| !path.as_os_str().is_empty()) {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|source| folder_error(&path, source))?;
        }
        self.file.sync_all().map_err(|source| folder_error(&dir.join("db"), source))
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

/// Makes the store at `dir` fit for opening, after which sled writes a snapshot: what it read, so
/// that the next time it need read only the log from there.
///
/// - One whose writing was interrupted goes: sled would take it, and the store, for damaged.
/// - What a killed process wrote is synced first. The snapshot is, and a power cut after it would
///   leave a log that ends before it.
fn prepare(dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(|source| folder_error(dir, source))? {
        let path = entry.map_err(|source| folder_error(dir, source))?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b"snap.") && name.ends_with(b".generating") {
            fs::remove_file(&path).map_err(|source| folder_error(&path, source))?;
        }
    }
    let db = dir.join("db");
    match File::open(&db).and_then(|file| file.sync_all()) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(folder_error(&db, source)),
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
    for _ in 0..OWN_LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A program that is just being started by this process holds all its files for a moment.
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(folder_error(&path, source)),
        }
    }
    Err(StoreError::Busy { path: dir.to_owned() })
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

/// The input or output error behind an error of sled's, which does not name it as its source.
pub(super) fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    match error.downcast_ref::<sled::Error>() {
        Some(sled::Error::Io(source)) => Some(source),
        _ => None,
    }
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
        let disk = open(dir.path());
        put(&disk, 1);
        // fdatasync refuses a device that has no disk behind it.
        let swap = |file| {
            let mut engine = disk.engine.write().unwrap();
            std::mem::replace(&mut engine.as_mut().unwrap().file, file)
        };
        let file = swap(File::open("/dev/null").unwrap());
        disk.make_durable().unwrap_err();
        swap(file);
        disk.make_durable().unwrap_err();
        assert!(disk.is_broken());
        disk.reopen().unwrap();
        disk.make_durable().unwrap();
    }
}
