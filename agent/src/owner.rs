//! Whose files the state directory's are: its owner's, also where root runs a command.
//!
//! `sudo daywise-agent check` must not leave files that the service, which has a user of its own,
//! cannot write to afterwards.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

/// The state directory's owner cannot be looked up, or not become.
#[derive(Debug, thiserror::Error)]
#[error("cannot work as the owner of {}", path.display())]
pub struct OwnerError {
    path: PathBuf,
    source: io::Error,
}

/// Where root runs this and `state_dir` is somebody else's, this thread becomes that user for good,
/// and so does every thread that it starts. A folder that is not there changes nothing.
///
/// # Errors
/// The folder cannot be looked at, or the system does not allow it.
pub fn act_as_owner(state_dir: &Path) -> Result<(), OwnerError> {
    let error = |source| OwnerError { path: state_dir.to_owned(), source };
    let owner = match fs::metadata(state_dir) {
        Ok(folder) => folder,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(error(source)),
    };
    if !geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    // In this order: the last one takes the right to the others away.
    set_thread_groups(&[])
        .and_then(|()| set_thread_gid(Gid::from_raw(owner.gid())))
        .and_then(|()| set_thread_uid(Uid::from_raw(owner.uid())))
        .map_err(|source| error(source.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn what_root_writes_belongs_to_the_folders_owner() {
        let folder = tempfile::tempdir().unwrap();
        act_as_owner(&folder.path().join("missing")).unwrap();
        act_as_owner(folder.path()).unwrap();
        if !geteuid().is_root() {
            eprintln!("skipped: only root can become somebody else");
            return;
        }
        let (state, file) = (folder.path().join("state"), folder.path().join("state/file"));
        fs::create_dir(&state).unwrap();
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        chown(&state, Some(12_345), Some(12_346)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                act_as_owner(&state).unwrap();
                std::thread::scope(|scope| {
                    scope.spawn(|| fs::write(&file, "x").unwrap());
                });
            });
        });
        let written = fs::metadata(&file).unwrap();
        assert_eq!((written.uid(), written.gid()), (12_345, 12_346));
        assert!(geteuid().is_root(), "nobody else has changed");
    }
}
