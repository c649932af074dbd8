//! The commands that are not the server: messages to stderr, data to stdout.

pub(crate) mod registry;
pub(crate) mod train;

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Writes a line to stdout. A reader that went away (`| head`) is no failure.
pub(crate) fn print(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}
