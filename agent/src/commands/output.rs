//! Output files: plain, gzipped or the standard output; whole or not there.
//!
//! A file is written beside its place as `NAME.part`, made durable and renamed, so that who reads
//! it next never meets half of it and an interrupted command leaves the old one.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use super::CommandError;

const BUFFER_BYTES: usize = 64 * 1024;

/// Where rows go.
pub(super) struct Output {
    path: PathBuf,
    /// The file's name while it is written; `None` for what cannot be renamed.
    part: Option<PathBuf>,
    sink: Sink,
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Stdout(BufWriter<io::Stdout>),
}

impl Output {
    /// Opens `path`: the standard output for `-`, gzipped if the name ends in `.gz`.
    pub(super) fn create(path: &Path) -> Result<Self, CommandError> {
        let at = path.to_owned();
        if path.as_os_str() == "-" {
            let sink = Sink::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()));
            return Ok(Self { path: at, part: None, sink });
        }
        // A device or a pipe must not be replaced by a file.
        let is_special = fs::metadata(path).is_ok_and(|found| !found.is_file());
        let part = (!is_special).then(|| part_of(path));
        let file = match &part {
            Some(part) => File::create(part),
            None => File::options().write(true).open(path),
        };
        let file = file.map_err(|source| CommandError::Output { path: at.clone(), source })?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let sink = match path.extension().is_some_and(|extension| extension == "gz") {
            true => Sink::Gzip(GzEncoder::new(file, Compression::default())),
            false => Sink::Plain(file),
        };
        Ok(Self { path: at, part, sink })
    }

    /// Writes one row; cells are quoted where needed.
    pub(super) fn row<C: AsRef<str>>(
        &mut self,
        cells: impl IntoIterator<Item = C>,
    ) -> Result<(), CommandError> {
        let mut line = String::new();
        for (place, cell) in cells.into_iter().enumerate() {
            if place > 0 {
                line.push(',');
            }
            push_cell(&mut line, cell.as_ref());
        }
        line.push('\n');
        let written = match &mut self.sink {
            Sink::Plain(file) => file.write_all(line.as_bytes()),
            Sink::Gzip(file) => file.write_all(line.as_bytes()),
            Sink::Stdout(stdout) => stdout.write_all(line.as_bytes()),
        };
        written.map_err(|source| CommandError::Output { path: self.path.clone(), source })
    }

    /// Completes the file and gives it its name.
    pub(super) fn finish(mut self) -> Result<(), CommandError> {
        self.complete()
            .map_err(|source| CommandError::Output { path: self.path.clone(), source })?;
        self.part = None;
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        let file = match &mut self.sink {
            Sink::Stdout(stdout) => return stdout.flush(),
            Sink::Plain(file) => file,
            Sink::Gzip(gzip) => {
                gzip.try_finish()?;
                gzip.get_mut()
            }
        };
        file.flush()?;
        if let Some(part) = &self.part {
            file.get_ref().sync_all()?;
            fs::rename(part, &self.path)?;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Given up half-way: what is there is of no use.
        if let Some(part) = &self.part {
            drop(fs::remove_file(part));
        }
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(".part");
    PathBuf::from(name)
}

fn push_cell(line: &mut String, cell: &str) {
    if cell.contains([',', '"', '\n', '\r']) || cell.trim().len() != cell.len() {
        line.push('"');
        line.push_str(&cell.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv_input::{Lines, Record};

    #[test]
    fn a_file_appears_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        let mut output = Output::create(&path).unwrap();
        output.row(["a"]).unwrap();
        assert!(!path.exists());
        drop(output);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        let mut output = Output::create(&path).unwrap();
        output.row(["a", "b"]).unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a,b\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn any_cell_reads_back_also_from_gzip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv.gz");
        let cells = ["plain", "a,b", "say \"x\"", ""];
        let mut output = Output::create(&path).unwrap();
        output.row(cells).unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap()[..2], [0x1f, 0x8b]);
        let mut lines = Lines::open(&path).unwrap();
        let mut record = Record::default();
        record.split(lines.next_line().unwrap().unwrap().text.unwrap()).unwrap();
        assert_eq!(record.cells().collect::<Vec<_>>(), cells);
    }
}
