//! Man pages and shell completions, which the agent's own example writes: the program itself does
//! not carry what it takes to make them.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::workspace;

/// Writes them into a folder that is gone with what is returned.
pub(super) fn write() -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let status = Command::new(workspace::cargo())
        .args(["run", "--quiet", "--locked", "--package", "daywise-agent", "--example", "pages"])
        .arg("--")
        .arg(folder.path())
        .current_dir(workspace::root()?)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("man pages and completions were not written");
    }
    Ok(folder)
}
