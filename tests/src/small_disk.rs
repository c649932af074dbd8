//! A small file system in memory, to be filled up or made read-only. Needs root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The mounted disk; gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// One of so many megabytes at `at`; `None`, with a message, where we may not mount.
    ///
    /// # Panics
    /// The folder cannot be made.
    #[must_use]
    pub fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m");
        let path = at.to_str().unwrap();
        if run("mount", &["-t", "tmpfs", "-o", &size, "daywise-e2e", path]) {
            return Some(Self { at: at.to_owned() });
        }
        eprintln!("skipped: only root can mount a file system for this");
        None
    }

    /// Fills it up but for so many megabytes.
    ///
    /// # Panics
    /// It cannot be written to.
    pub fn fill(&self, megabytes_left: u64) {
        let space = rustix::fs::statvfs(&self.at).unwrap();
        let free = space.f_bavail * space.f_frsize;
        let size = usize::try_from(free.saturating_sub(megabytes_left << 20)).unwrap();
        fs::write(self.filler(), vec![1; size]).unwrap();
    }

    /// Takes away what filled it up.
    ///
    /// # Panics
    /// Nothing did.
    pub fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Makes it read-only, or writable again. No file may be open for writing.
    ///
    /// # Panics
    /// One is.
    pub fn set_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        assert!(run("mount", &["-o", options, self.at.to_str().unwrap()]));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", self.at.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
