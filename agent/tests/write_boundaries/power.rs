//! What a power cut leaves of files: all that was synced, and any part of the rest.
//!
//! Of a write that was not synced, each block of the disk may have arrived or not. A size that was
//! not synced may have been kept or not, whatever arrived. Files that were made, renamed or removed
//! since their folder was synced may be so or not yet, in the order in which it was done.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::content::Progress;

const BLOCK_BYTES: usize = 4_096;

/// A line of the log that `crash_at.c` writes.
#[derive(Debug)]
pub(crate) enum Operation {
    Write {
        path: PathBuf,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        length: usize,
    },
    Sync {
        path: PathBuf,
    },
    Create {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    /// Of no use after a power cut.
    StartWriting,
    Note {
        text: String,
    },
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(count);
    *rest = after;
    taken
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let count = u32::from_le_bytes(take(rest, 4).try_into().unwrap());
    take(rest, usize::try_from(count).unwrap())
}

pub(crate) fn read_log(log: &Path) -> Vec<Operation> {
    let bytes = fs::read(log).unwrap();
    let mut rest = bytes.as_slice();
    let mut operations = Vec::new();
    while let [kind, _, ..] = rest {
        take(&mut rest, 1);
        let path = PathBuf::from(str::from_utf8(take_sized(&mut rest)).unwrap());
        let number = u64::from_le_bytes(take(&mut rest, 8).try_into().unwrap());
        let number = usize::try_from(number).unwrap();
        let more = take_sized(&mut rest);
        let text = || String::from_utf8(more.to_vec()).unwrap();
        operations.push(match kind {
            b'w' => Operation::Write { path, offset: number, bytes: more.to_vec() },
            b't' => Operation::Truncate { path, length: number },
            b's' => Operation::Sync { path },
            b'o' => Operation::Create { path },
            b'd' => Operation::MakeFolder { path },
            b'r' => Operation::Rename { from: path, to: text().into() },
            b'u' => Operation::Remove { path },
            b'x' => Operation::StartWriting,
            b'n' => Operation::Note { text: text() },
            other => panic!("unknown operation {other}"),
        });
    }
    operations
}

/// A change of one file's content.
#[derive(Clone, Debug)]
enum Change {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn make(&self, content: &mut Vec<u8>) {
        match self {
            Self::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                content.resize(end.max(content.len()), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct FileOnDisk {
    synced: Vec<u8>,
    since: Vec<Change>,
}

/// A change of names; files by number.
#[derive(Clone, Debug)]
enum Naming {
    File(PathBuf, usize),
    Folder(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// Names of files, by number, and of folders.
#[derive(Clone, Debug, Default)]
struct Names(BTreeMap<PathBuf, Option<usize>>);

impl Names {
    fn handle(&mut self, naming: &Naming) {
        match naming {
            Naming::File(path, file) => drop(self.0.insert(path.clone(), Some(*file))),
            Naming::Folder(path) => drop(self.0.insert(path.clone(), None)),
            Naming::Rename(from, to) => {
                let renamed = self.0.remove(from).unwrap();
                self.0.insert(to.clone(), renamed);
            }
            Naming::Remove(path) => drop(self.0.remove(path)),
        }
    }
}

/// The disk as the operations so far leave it.
pub(crate) struct Disk {
    root: PathBuf,
    files: Vec<FileOnDisk>,
    /// As the process sees them.
    names: Names,
    synced_names: Names,
    namings: Vec<Naming>,
    notes: String,
}

impl Disk {
    /// `root` is there and durable.
    pub(crate) fn new(root: &Path) -> Self {
        let mut names = Names::default();
        names.handle(&Naming::Folder(root.to_owned()));
        let synced_names = names.clone();
        let (files, namings, notes) = (Vec::new(), Vec::new(), String::new());
        Self { root: root.to_owned(), files, names, synced_names, namings, notes }
    }

    /// What the child has noted by now.
    pub(crate) fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        self.notes.lines().for_each(|line| progress.handle(line));
        progress
    }

    pub(crate) fn handle(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { path, offset, bytes } => {
                self.file(path).since.push(Change::Bytes(*offset, bytes.clone()));
            }
            Operation::Truncate { path, length } => {
                self.file(path).since.push(Change::Length(*length));
            }
            Operation::Create { path } => match self.names.0.get(path) {
                Some(_) => self.file(path).since.push(Change::Length(0)),
                None => {
                    self.files.push(FileOnDisk::default());
                    self.rename(Naming::File(path.clone(), self.files.len() - 1));
                }
            },
            Operation::MakeFolder { path } => self.rename(Naming::Folder(path.clone())),
            Operation::Rename { from, to } => self.rename(Naming::Rename(from.clone(), to.clone())),
            Operation::Remove { path } => self.rename(Naming::Remove(path.clone())),
            Operation::Sync { path } => match self.names.0.get(path) {
                Some(None) => {
                    // A journal keeps the order of all names, in whichever folder.
                    self.namings.clear();
                    self.synced_names = self.names.clone();
                }
                _ => {
                    let FileOnDisk { synced, since } = self.file(path);
                    since.drain(..).for_each(|change| change.make(synced));
                }
            },
            Operation::StartWriting => {}
            Operation::Note { text } => self.notes.push_str(text),
        }
    }

    fn rename(&mut self, naming: Naming) {
        self.names.handle(&naming);
        self.namings.push(naming);
    }

    fn file(&mut self, path: &Path) -> &mut FileOnDisk {
        let number = self.names.0.get(path).copied().flatten();
        &mut self.files[number.unwrap_or_else(|| panic!("{} is not a file", path.display()))]
    }

    /// Writes to `to` what may be left after a power cut now; `seed` decides what is.
    pub(crate) fn cut_power(&self, seed: u64, to: &Path) {
        let mut chance = Chance(seed);
        let mut names = self.synced_names.clone();
        let kept = chance.below(self.namings.len() + 1);
        self.namings[..kept].iter().for_each(|naming| names.handle(naming));
        for (path, file) in &names.0 {
            let target = to.join(path.strip_prefix(&self.root).unwrap());
            match file {
                None => fs::create_dir_all(target).unwrap(),
                Some(file) => fs::write(target, left(&self.files[*file], &mut chance)).unwrap(),
            }
        }
    }
}

fn left(file: &FileOnDisk, chance: &mut Chance) -> Vec<u8> {
    let mut content = file.synced.clone();
    let mut length = content.len();
    // Nothing, little, much, or all of it.
    let percent = [0, 20, 80, 100][chance.below(4)];
    let is_length_kept = chance.below(2) == 0;
    for change in &file.since {
        match change {
            Change::Bytes(offset, bytes) => {
                for (from, until) in blocks(*offset, bytes.len()) {
                    if chance.below(100) < percent {
                        let part = bytes[from - offset..until - offset].to_vec();
                        Change::Bytes(from, part).make(&mut content);
                    }
                }
            }
            Change::Length(_) if chance.below(100) >= percent => {}
            Change::Length(shorter) => {
                change.make(&mut content);
                length = length.min(*shorter);
            }
        }
    }
    if !is_length_kept {
        content.truncate(length);
    }
    content
}

/// The parts of a write that lie in different blocks, as their ends.
fn blocks(offset: usize, length: usize) -> Vec<(usize, usize)> {
    let end = offset + length;
    let starts = (offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).map(|block| block * BLOCK_BYTES);
    starts.map(|start| (start.max(offset), (start + BLOCK_BYTES).min(end))).collect()
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}
