//! Man pages and shell completions, which the agent's own example writes: the program itself does
//! not carry what it takes to make them.

use anyhow::Context as _;
use tempfile::TempDir;

use crate::workspace;

/// Writes them into a folder that is gone with what is returned.
pub(super) fn write() -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let to = folder.path().to_str().context("a folder's name is not UTF-8")?;
    let example = ["--package", "daywise-agent", "--example", "pages", "--", to];
    workspace::run_cargo(&[&["run", "--quiet", "--locked"][..], &example].concat())?;
    Ok(folder)
}
