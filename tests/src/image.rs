//! A disk whose power can be cut: an ext4 file system in an image file on a loop device.
//!
//! What has gone through the loop device is in the image; what the file system still holds in
//! memory is not. So a copy of the image is what a power cut leaves. Needs root and loop devices.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;

/// A small SD card's worth for tests; sparse, so that it costs what is written.
const IMAGE_BYTES: u64 = 64 << 20;
/// Copied at a time; parts without content are left out.
const PART_BYTES: usize = 256 << 10;
/// A copy during which the disk was written shows no one moment, and is made again.
const COPY_TRIES: u32 = 200;
const COPY_PAUSE: Duration = Duration::from_millis(3);
/// Memory, where there is such a place: an image takes many small synchronous writes.
const FAST: &str = "/dev/shm";

/// The mounted disk; gone when dropped.
#[derive(Debug)]
pub struct Image {
    folder: TempDir,
    at: PathBuf,
    device: String,
    generation: u32,
}

impl Image {
    /// A fresh one, mounted at `at`.
    ///
    /// # Errors
    /// Not root, no loop devices, or no `mkfs.ext4`.
    pub fn mount(at: &Path) -> io::Result<Self> {
        let fast = Path::new(FAST);
        let parent = if fast.is_dir() { fast.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("daywise-image-").tempdir_in(parent)?;
        fs::create_dir_all(at)?;
        let mut image = Self { folder, at: at.to_owned(), device: String::new(), generation: 0 };
        let path = image.path();
        File::create(&path)?.set_len(IMAGE_BYTES)?;
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), path.as_ref()])?;
        image.attach()?;
        Ok(image)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.ext4", self.generation))
    }

    fn attach(&mut self) -> io::Result<()> {
        // Two at a time may look for a free loop device and take the same one.
        static ATTACHING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = ATTACHING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (path, at) = (self.path(), self.at.clone());
        run("mount", &["-o".as_ref(), "loop".as_ref(), path.as_ref(), at.as_ref()])?;
        let mounts = fs::read_to_string("/proc/mounts")?;
        let own = |line: &&str| line.split(' ').nth(1).is_some_and(|place| Path::new(place) == at);
        let device = mounts.lines().rev().find(own).and_then(|line| line.split(' ').next());
        let device = device.and_then(|device| device.strip_prefix("/dev/"));
        self.device = device.ok_or_else(|| io::Error::other("mounted, but not there"))?.to_owned();
        Ok(())
    }

    /// Notes what the disk holds at this moment, for [`Self::cut_power`]. Whoever writes to it
    /// should be paused.
    ///
    /// # Errors
    /// It cannot be copied, or is written to all the time.
    pub fn note(&mut self) -> io::Result<Noted> {
        let next = self.folder.path().join(format!("{}.ext4", self.generation + 1));
        for _ in 0..COPY_TRIES {
            let before = self.writes()?;
            if before.in_flight == 0 {
                copy_sparse(&self.path(), &next)?;
                if self.writes()? == before {
                    return Ok(Noted(()));
                }
            }
            sleep(COPY_PAUSE);
        }
        Err(io::Error::other("the disk is written to all the time"))
    }

    /// Goes back to what was noted. Nobody may have a file open on the disk.
    ///
    /// # Errors
    /// It is in use, or what was noted cannot be mounted.
    pub fn cut_power(&mut self, _noted: Noted) -> io::Result<()> {
        run("umount", &[self.at.as_ref()])?;
        let old = self.path();
        self.generation += 1;
        self.attach()?;
        fs::remove_file(old)
    }

    fn writes(&self) -> io::Result<Writes> {
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.device))?;
        let numbers: Vec<u64> = text.split_whitespace().map_while(|n| n.parse().ok()).collect();
        match numbers.as_slice() {
            [_, _, _, _, done, _, _, _, in_flight, ..] => {
                Ok(Writes { done: *done, in_flight: *in_flight })
            }
            _ => Err(io::Error::other(format!("no figures of {}: {text}", self.device))),
        }
    }

    /// Freezes the file system: whoever writes to it waits, until what is returned is dropped.
    ///
    /// # Errors
    /// It cannot be frozen.
    pub fn freeze(&self) -> io::Result<Frozen> {
        run("fsfreeze", &["--freeze".as_ref(), self.at.as_ref()])?;
        Ok(Frozen(self.at.clone()))
    }

    /// Fills the disk until nothing more fits; empty again when what is returned is dropped.
    ///
    /// # Errors
    /// It cannot be written at all.
    pub fn fill(&self) -> io::Result<Filler> {
        fill(&self.at)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[self.at.as_ref()]) {
            eprintln!("{} stays mounted: {error}", self.at.display());
        }
    }
}

/// That the disk's content is noted.
#[derive(Debug)]
pub struct Noted(());

/// Write requests that the device has done and has yet to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Writes {
    done: u64,
    in_flight: u64,
}

/// That a file system is frozen.
#[derive(Debug)]
pub struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = run("fsfreeze", &["--unfreeze".as_ref(), self.0.as_ref()]) {
            eprintln!("{} stays frozen: {error}", self.0.display());
        }
    }
}

/// What fills a disk.
#[derive(Debug)]
pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

impl Filler {
    /// Without the sync a power cut would bring it back.
    fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.0)?;
        self.0.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

fn fill(folder: &Path) -> io::Result<Filler> {
    let filler = Filler(folder.join("filler"));
    let mut file = File::create(&filler.0)?;
    let mut part = vec![0xaa_u8; 1 << 20];
    while !part.is_empty() {
        match file.write(&part) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                part.truncate(part.len() / 2);
            }
            Err(error) => return Err(error),
        }
    }
    // What is not allocated yet would leave room for others.
    drop(file.sync_all());
    Ok(filler)
}

fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    to.set_len(from.metadata()?.size())?;
    let mut part = vec![0; PART_BYTES];
    loop {
        let size = from.read(&mut part)?;
        if size == 0 {
            return Ok(());
        }
        if part[..size].iter().all(|byte| *byte == 0) {
            to.seek_relative(i64::try_from(size).unwrap())?;
        } else {
            to.write_all(&part[..size])?;
        }
    }
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}: {}", output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_takes_what_was_not_synced_and_leaves_what_was() {
        let place = tempfile::tempdir().unwrap();
        let at = place.path().join("disk");
        let mut image = match Image::mount(&at) {
            Ok(image) => image,
            Err(error) => {
                println!("no disks to cut the power of: {error}");
                return;
            }
        };
        let synced = File::create(at.join("synced")).unwrap();
        (&synced).write_all(b"kept").unwrap();
        synced.sync_all().unwrap();
        fs::write(at.join("unsynced"), b"lost").unwrap();
        let noted = image.note().unwrap();
        File::create(at.join("later")).unwrap().sync_all().unwrap();
        drop(synced);
        image.cut_power(noted).unwrap();
        assert_eq!(fs::read(at.join("synced")).unwrap(), b"kept");
        let unsynced = fs::read(at.join("unsynced")).unwrap_or_default();
        assert!(unsynced.is_empty(), "what the file system held in memory is gone");
        assert!(!at.join("later").exists());

        let filler = image.fill().unwrap();
        let full = fs::write(at.join("more"), vec![1; 1 << 20]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        drop(filler);
        let noted = image.note().unwrap();
        image.cut_power(noted).unwrap();
        fs::write(at.join("more"), vec![1; 1 << 20]).expect("what filled the disk stays gone");
    }
}
