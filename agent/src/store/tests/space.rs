//! Full disks, read-only ones, and stores that have grown as large as they may.
//!
//! The disks are real file systems in memory or in a file, which only root can make; elsewhere
//! those tests say so and end.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use daywise_core::reading::Sample;

use super::*;

const MB: u64 = 1 << 20;

/// A program that is being started holds all our files open for a moment, so that one that was
/// removed still takes its space. So no two of these tests run at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A file system of our own; unmounted when dropped.
struct Mounted {
    dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Mounted {
    /// One in memory; `None` where we may not.
    fn tmpfs(megabytes: u64) -> Option<Self> {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted = mount(&["-t", "tmpfs", "-o", &size, "daywise-test"], dir.path());
        mounted.then_some(Self { dir, _alone })
    }

    /// An ext4 in a file beside it.
    fn ext4(megabytes: u64, image: &Path) -> Option<Self> {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        fs::File::create(image).unwrap().set_len(megabytes * MB).unwrap();
        let made = run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let dir = tempfile::tempdir().unwrap();
        let mounted = made && mount(&["-o", "loop", image.to_str().unwrap()], dir.path());
        mounted.then_some(Self { dir, _alone })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn remount(&self, options: &str) -> bool {
        mount(&["-o", &format!("remount,{options}")], self.path())
    }

    /// Leaves `free` bytes, or none.
    fn fill(&self, free: u64) -> PathBuf {
        let filler = self.path().join("filler");
        let space = rustix::fs::statvfs(self.path()).unwrap();
        let available = space.f_bavail * space.f_frsize;
        let blocks = available.saturating_sub(free) / 4096;
        let size = usize::try_from(blocks * 4096).unwrap();
        // Short of space it is cut, which is what is wanted.
        drop(fs::write(&filler, vec![1; size]));
        filler
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l", self.path().to_str().unwrap()]);
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    run("mount", &[arguments, &[at.to_str().unwrap()]].concat())
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

macro_rules! or_skip {
    ($mounted:expr) => {
        match $mounted {
            Some(mounted) => mounted,
            None => {
                eprintln!("skipped: only root can mount a file system for this");
                return;
            }
        }
    };
}

fn options(reserve_bytes: u64, max_bytes: u64) -> StoreOptions {
    StoreOptions { reserve_bytes, max_bytes, ..StoreOptions::default() }
}

/// A day of ten sensors whose values do not compress; then it is folded.
fn add_day(store: &Store, date: i32) -> Result<(), StoreError> {
    for minute in 0..60 {
        let readings: Vec<DayReading> = (0..10)
            .map(|ix| {
                let value = f64::from(minute * 10 + i32::try_from(ix).unwrap()).sin();
                reading(date, ix, i64::from(minute) * 60, value)
            })
            .collect();
        let new_days = [day(date)];
        let first = minute == 0;
        let batch = Batch {
            new_days: if first { &new_days } else { &[] },
            readings: &readings,
            ..Batch::default()
        };
        store.append(&batch)?;
    }
    store.flush()?;
    store.fold().map(drop)
}

/// As [`add_day`], and closed and computed.
fn add_closed_day(store: &Store, date: i32) -> Result<(), StoreError> {
    add_day(store, date)?;
    let sensors = store.begin_close(LocalDate(date))?;
    let commits: Vec<DayCommit> = sensors.iter().map(|ix| commit(date, ix.0, 1)).collect();
    store.commit_days(&commits)?;
    store.flush()
}

fn samples_of(store: &Store, date: i32) -> usize {
    (0..10).map(|ix| store.chunk(LocalDate(date), SensorIx(ix)).unwrap().len()).sum()
}

fn one(date: i32, second: i64) -> [DayReading; 1] {
    [reading(date, 0, second, 1.5)]
}

fn append(store: &Store, readings: &[DayReading]) -> Result<(), StoreError> {
    store.append(&Batch { readings, ..Batch::default() })?;
    store.flush()
}

#[test]
fn below_the_reserve_nothing_is_written_and_above_it_work_goes_on() {
    let disk = or_skip!(Mounted::tmpfs(24));
    let store = open(&disk.path().join("store"), &options(4 * MB, 512 * MB));
    add_day(&store, 0).unwrap();
    let filler = disk.fill(2 * MB);
    for _ in 0..3 {
        let error = append(&store, &one(0, 7_000)).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        assert_eq!(error.remedy(), Remedy::Retry);
    }
    assert_eq!(samples_of(&store, 0), 600, "what there is can be read");
    fs::remove_file(filler).unwrap();
    append(&store, &one(0, 7_000)).unwrap();
    assert_eq!(samples_of(&store, 0), 601, "and it is there once");
}

/// The reserve is looked at before a write; whatever fills the disk in that moment is met.
#[test]
fn a_disk_that_is_full_in_the_middle_of_a_write_is_survived_in_place() {
    let disk = or_skip!(Mounted::tmpfs(24));
    let path = disk.path().join("store");
    let store = open(&path, &options(0, 512 * MB));
    add_closed_day(&store, 0).unwrap();
    add_day(&store, 1).unwrap();
    let filler = disk.fill(0);
    // Until the engine has no room left in what its file has already.
    let mut kept = 0;
    let error = loop {
        let items: Vec<DayCommit> = (0..10).map(|ix| commit(0, ix, kept + 2)).collect();
        match store.commit_days(&items).and_then(|()| store.flush()) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 10_000, "the disk must be full some time");
    };
    assert_eq!(error.remedy(), Remedy::Retry, "{error}: {:?}", std::error::Error::source(&error));
    for _ in 0..3 {
        let error = add_closed_day(&store, 2).unwrap_err();
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    }
    fs::remove_file(filler).unwrap();
    append(&store, &one(1, 7_000)).unwrap();
    add_closed_day(&store, 3).unwrap();
    let check = |store: &Store| {
        assert_eq!([0, 1, 3].map(|date| samples_of(store, date)), [600, 601, 600]);
        let revision = store.day_record(LocalDate(0), SensorIx(0)).unwrap().unwrap().revision;
        assert!(revision > kept, "what was flushed is there: {revision} of {kept}");
        assert_eq!(store.stats().damaged, 0);
    };
    check(&store);
    drop(store);
    check(&open(&path, &options(0, 512 * MB)));
}

#[test]
fn a_read_only_disk_at_the_start_can_be_waited_out() {
    let disk = or_skip!(Mounted::tmpfs(24));
    let path = disk.path().join("store");
    let store = open(&path, &StoreOptions::default());
    drop(store);
    assert!(disk.remount("ro"));
    let error = Store::open(&path, &StoreOptions::default()).unwrap_err();
    assert_eq!(error.remedy(), Remedy::Retry, "{error}: {:?}", std::error::Error::source(&error));
    assert!(disk.remount("rw"));
    add_day(&open(&path, &options(MB, 512 * MB)), 0).unwrap();
}

#[test]
fn a_full_disk_at_the_start_can_be_waited_out() {
    let disk = or_skip!(Mounted::tmpfs(24));
    let filler = disk.fill(0);
    let path = disk.path().join("store");
    let error = Store::open(&path, &StoreOptions::default()).unwrap_err();
    assert_eq!(error.remedy(), Remedy::Retry, "{error}: {:?}", std::error::Error::source(&error));
    fs::remove_file(filler).unwrap();
    add_day(&open(&path, &options(MB, 512 * MB)), 0).unwrap();
}

/// What the kernel does after an error of the card.
#[test]
fn a_disk_that_turns_read_only_under_a_running_store_is_waited_out() {
    let images = tempfile::tempdir().unwrap();
    let disk = or_skip!(Mounted::ext4(32, &images.path().join("image")));
    let store = open(&disk.path().join("store"), &options(MB, 512 * MB));
    add_day(&store, 0).unwrap();
    assert!(disk.remount("abort"));
    for _ in 0..3 {
        let error = append(&store, &one(0, 7_000)).unwrap_err();
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    }
    assert_eq!(samples_of(&store, 0), 600, "what there is can be read");
}

#[test]
fn for_a_full_disk_the_oldest_closed_days_samples_go_first_and_open_days_never() {
    let disk = or_skip!(Mounted::tmpfs(24));
    let store = open(&disk.path().join("store"), &options(2 * MB, 512 * MB));
    for date in 0..4 {
        add_closed_day(&store, date).unwrap();
    }
    add_day(&store, 4).unwrap();
    assert_eq!(store.kept_from(), LocalDate(i32::MIN));
    // Just below the reserve: one day's samples are enough.
    let filler = disk.fill(2 * MB - 8192);
    append(&store, &one(4, 7_000)).unwrap();
    assert_eq!(store.kept_from(), LocalDate(1));
    assert_eq!([0, 1, 2, 3, 4].map(|date| samples_of(&store, date)), [0, 600, 600, 600, 601]);
    assert_eq!(store.stats().evicted_chunk_days, 1);
    fs::remove_file(&filler).unwrap();
    disk.fill(MB);
    let error = append(&store, &one(4, 7_001)).unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert_eq!(store.kept_from(), LocalDate(1), "nothing goes that would not help");
    assert_eq!([1, 2, 3, 4].map(|date| samples_of(&store, date)), [600, 600, 600, 601]);
    let record = store.day_record(LocalDate(0), SensorIx(3)).unwrap();
    assert_eq!(record, Some(commit(0, 3, 1).record), "features stay");
    assert_eq!(store.outbox_len(), 40, "and so does what waits for the server");
}

#[test]
fn days_that_are_yet_to_be_computed_keep_their_samples() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path, &StoreOptions::default());
    add_closed_day(&store, 0).unwrap();
    add_closed_day(&store, 1).unwrap();
    append(&store, &one(0, 7_000)).unwrap();
    drop(store);
    let store = open(&path, &options(0, 1));
    // Day 2 is closed for the store, so this is late, and its day has to stay too.
    let error = append(&store, &one(2, 5)).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!((samples_of(&store, 0), samples_of(&store, 1)), (601, 0));
}

/// Of the store's own limit: samples, then features and predictions, then the outbox.
#[test]
fn the_store_keeps_within_its_limit_and_gives_up_what_is_worth_least() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path, &StoreOptions::default());
    for date in 0..3 {
        add_closed_day(&store, date).unwrap();
    }
    add_day(&store, 3).unwrap();
    let stats = store.stats();
    drop(store);
    let left = |max_bytes: u64| {
        let copied = dir.path().join(format!("of-{max_bytes}"));
        copy(&path, &copied);
        let store = open(&copied, &options(0, max_bytes));
        let outcome = append(&store, &one(3, 7_000));
        let samples = [0, 1, 2, 3].map(|date| samples_of(&store, date));
        let mut records = [0; 3];
        store
            .day_records(&mut |date, _, _| {
                records[usize::try_from(date.0).unwrap()] += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        (outcome.is_ok(), samples, records, store.outbox_len())
    };
    let journal = 64 * 1024;
    let tree = 2 * (stats.live_bytes - stats.chunk_bytes);
    let day = stats.chunk_bytes / 4;
    let all = journal + tree + stats.chunk_bytes;
    assert_eq!(left(all), (true, [600, 600, 600, 601], [10; 3], 30));
    assert_eq!(left(all - 1), (true, [0, 600, 600, 601], [10; 3], 30));
    assert_eq!(left(all - day - 1), (true, [0, 0, 600, 601], [10; 3], 30));
    let without_samples = all - 3 * day + 3;
    assert_eq!(left(without_samples), (true, [0, 0, 0, 601], [10; 3], 30));
    assert_eq!(left(without_samples - 10), (true, [0, 0, 0, 601], [0, 10, 10], 30));
    let (kept, samples, records, outbox) = left(1);
    assert_eq!((kept, samples, records, outbox), (false, [0, 0, 0, 600], [0; 3], 0));
}

/// An evicted day's file is gone before the tree knows; a crash in between is no damage.
#[test]
fn a_days_file_that_is_missing_is_an_evicted_day() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path, &StoreOptions::default());
    add_closed_day(&store, 0).unwrap();
    drop(store);
    fs::remove_file(path.join("chunks/0.chunks")).unwrap();
    let store = open(&path, &StoreOptions::default());
    assert_eq!(store.chunk(LocalDate(0), SensorIx(0)).unwrap(), Vec::<Sample>::new());
    assert_eq!(store.stats().damaged, 0);
    assert_eq!(store.kept_from(), LocalDate(1), "late readings would make a thin day of it");
    assert_eq!(store.stats().chunk_bytes, 0);
}
