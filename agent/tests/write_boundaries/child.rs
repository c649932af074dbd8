//! The process that crashes: this same program, with `crash_at.c` loaded before the C library.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use crate::{
    content::{Progress, open},
    workload::{Step, steps, take},
};

/// Tells the child where to work.
const ROOT: &str = "DAYWISE_CRASH_ROOT";
/// Tells it to do no more than open the store.
const ONLY_OPENS: &str = "DAYWISE_CRASH_ONLY_OPENS";

/// When the child ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// Killed before the operation with this number, from 1.
    Before(usize),
    /// Killed in the middle of the write with this number.
    Within(usize),
    /// Once the store is open.
    Opened,
    /// After all its work.
    Finished,
}

/// In memory where possible: nothing here depends on the disk.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The compiled `crash_at.c`.
pub(crate) struct Preload {
    dir: tempfile::TempDir,
}

impl Preload {
    /// `None`, with a message, where there is no C compiler, or where this program has the C
    /// library inside, so that nothing can be loaded before it.
    pub(crate) fn build() -> Option<Self> {
        if cfg!(target_feature = "crt-static") {
            println!("left out: this is a static program");
            return None;
        }
        // Not in `scratch`, from where programs may not be loaded everywhere.
        let preload = Self { dir: tempfile::tempdir().unwrap() };
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/write_boundaries/crash_at.c");
        let compiled = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(preload.library())
            .arg(source)
            .args(["-ldl", "-pthread"])
            .status();
        match compiled {
            Ok(status) => assert!(status.success(), "cc: {status}"),
            Err(error) => {
                println!("left out: there is no C compiler: {error}");
                return None;
            }
        }
        Some(preload)
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("crash_at.so")
    }

    /// Runs the child in the folder `root`, with its store at `root/store`. What it does to its
    /// files is added to `log`.
    pub(crate) fn run(&self, root: &Path, end: End, log: Option<&Path>) -> (ExitStatus, Progress) {
        fs::create_dir_all(root).unwrap();
        let notes = notes_of(root);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "child::works_until_it_crashes", "--ignored", "--nocapture"])
            .env("LD_PRELOAD", self.library())
            .env(ROOT, root)
            .env("CRASH_DIR", root)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        match end {
            End::Before(place) => drop(command.env("CRASH_AT", place.to_string())),
            End::Within(place) => {
                command.env("CRASH_AT", place.to_string()).env("CRASH_TORN", "1");
            }
            End::Opened => drop(command.env(ONLY_OPENS, "1")),
            End::Finished => {}
        }
        if let Some(log) = log {
            command.env("CRASH_LOG", log).env("CRASH_NOTES", &notes);
        }
        let status = command.status().unwrap();
        let mut progress = Progress::default();
        let noted = fs::read_to_string(&notes).unwrap_or_default();
        noted.lines().for_each(|line| progress.handle(line));
        drop(fs::remove_file(notes));
        (status, progress)
    }
}

/// Where the child notes how far it is: beside its folder.
fn notes_of(root: &Path) -> PathBuf {
    root.with_extension("notes")
}

impl Progress {
    /// Reads a line of the child's notes.
    pub(crate) fn handle(&mut self, note: &str) {
        match note.trim().split_once(' ') {
            Some(("begun", steps)) => self.begun = steps.parse().unwrap(),
            Some(("durable", steps)) => self.confirmed = Some(steps.parse().unwrap()),
            _ => panic!("{note}"),
        }
    }
}

#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn works_until_it_crashes() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    let dir = root.join("store");
    let mut notes = OpenOptions::new().create(true).append(true).open(notes_of(&root)).unwrap();
    let mut note = |what: &str, steps: usize| {
        notes.write_all(format!("{what} {steps}\n").as_bytes()).unwrap();
    };
    let mut store = open(&dir).unwrap();
    if std::env::var_os(ONLY_OPENS).is_some() {
        return;
    }
    note("durable", 0);
    for (done, step) in (1..).zip(steps()) {
        note("begun", done);
        if matches!(step, Step::Reopen) {
            drop(store);
            store = open(&dir).unwrap();
        }
        take(&store, step).unwrap();
        if matches!(step, Step::Reopen | Step::Flush) {
            note("durable", done);
        }
    }
}
