//! Lines of a text file, plain or gzipped, or of the standard input.
//!
//! A line longer than [`MAX_LINE_BYTES`] is passed over without being held, so that a file that
//! is not text at all costs time but no memory. Cells may be quoted; a quoted cell does not go on
//! in the next line, so a stray quote spoils its own row only.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    path::Path,
};

use daywise_core::reading::Refusal;
use flate2::bufread::MultiGzDecoder;

/// The longest line that is looked at: a message with the largest payload, in base64.
pub const MAX_LINE_BYTES: usize = 256 * 1024;
/// Bytes read at a time.
const BUFFER_BYTES: usize = 64 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file, without the blank ones.
pub struct Lines {
    input: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    number: u64,
}

/// One line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its place in the file, from 1.
    pub number: u64,
    /// What it says; `TooLarge` or `NotText` if that cannot be said.
    pub text: Result<&'a str, Refusal>,
}

impl Lines {
    /// Opens a file, or the standard input for `-`; gzip is told by its first bytes.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" { Self::new(io::stdin()) } else { Self::new(File::open(path)?) }
    }

    /// Reads from `source`.
    ///
    /// # Errors
    /// Its first bytes cannot be read.
    pub fn new(mut source: impl Read + Send + 'static) -> io::Result<Self> {
        let mut first = Vec::with_capacity(GZIP_MAGIC.len());
        source.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut first)?;
        let is_gzip = first == GZIP_MAGIC;
        let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(first).chain(source));
        let input: Box<dyn BufRead + Send> = if is_gzip {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self { input, buffer: Vec::new(), number: 0 })
    }

    /// The number of the line last read, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// The file cannot be read on; for gzip also if it is damaged or cut short.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut fits;
        loop {
            fits = match self.fill()? {
                Some(fits) => fits,
                None => return Ok(None),
            };
            self.number += 1;
            if !fits || !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        let bytes = match self.number {
            1 => self.buffer.strip_prefix(BOM).unwrap_or(&self.buffer),
            _ => &self.buffer,
        };
        let text = match fits {
            true => std::str::from_utf8(bytes.trim_ascii_end()).map_err(|_| Refusal::NotText),
            false => Err(Refusal::TooLarge),
        };
        Ok(Some(Line { number: self.number, text }))
    }

    /// Takes one line into the buffer. `None` at the end, `false` if it was too long to keep.
    fn fill(&mut self) -> io::Result<Option<bool>> {
        self.buffer.clear();
        let mut fits = true;
        let mut is_empty = true;
        loop {
            let ready = match self.input.fill_buf() {
                Ok(ready) => ready,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if ready.is_empty() {
                return Ok((!is_empty).then_some(fits));
            }
            is_empty = false;
            let end = ready.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(ready.len(), |end| end + 1);
            fits = fits && self.buffer.len() + taken <= MAX_LINE_BYTES;
            if fits {
                self.buffer.extend_from_slice(ready.get(..taken).unwrap_or_default());
            }
            self.input.consume(taken);
            if end.is_some() {
                return Ok(Some(fits));
            }
        }
    }
}

/// The cells of one row. Kept from row to row, so that reading a file allocates once.
#[derive(Debug, Default)]
pub struct Record {
    text: String,
    cells: Vec<Range<usize>>,
}

impl Record {
    /// Splits a line at its commas.
    ///
    /// # Errors
    /// `Malformed` if a quoted cell does not end before its comma or the line.
    pub fn split(&mut self, line: &str) -> Result<(), Refusal> {
        self.text.clear();
        self.cells.clear();
        if !line.contains('"') {
            self.text.push_str(line);
            let mut start = 0;
            for cell in line.split(',') {
                self.cells.push(start..start + cell.len());
                start += cell.len() + 1;
            }
            return Ok(());
        }
        let mut rest = Some(line);
        while let Some(cells) = rest {
            let start = self.text.len();
            rest = match cells.trim_start().strip_prefix('"') {
                Some(quoted) => self.unquote(quoted)?,
                None => {
                    let (cell, tail) = match cells.split_once(',') {
                        Some((cell, tail)) => (cell, Some(tail)),
                        None => (cells, None),
                    };
                    self.text.push_str(cell);
                    tail
                }
            };
            self.cells.push(start..self.text.len());
        }
        Ok(())
    }

    /// Takes a cell up to its closing quote; a doubled quote stands for one.
    fn unquote<'a>(&mut self, mut quoted: &'a str) -> Result<Option<&'a str>, Refusal> {
        loop {
            let (head, tail) = quoted.split_once('"').ok_or(Refusal::Malformed)?;
            self.text.push_str(head);
            if let Some(more) = tail.strip_prefix('"') {
                self.text.push('"');
                quoted = more;
                continue;
            }
            let tail = tail.trim_start();
            return match tail.strip_prefix(',') {
                Some(next) => Ok(Some(next)),
                None if tail.is_empty() => Ok(None),
                None => Err(Refusal::Malformed),
            };
        }
    }

    /// How many cells there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cells.len()
    }

    /// Cell `index` without the white space around it; empty if there is none.
    #[must_use]
    pub fn cell(&self, index: usize) -> &str {
        self.cells.get(index).and_then(|range| self.text.get(range.clone())).unwrap_or("").trim()
    }

    /// All cells in order.
    pub fn cells(&self) -> impl Iterator<Item = &str> {
        (0..self.count()).map(|index| self.cell(index))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Vec<(u64, Result<String, Refusal>)> {
        let mut lines = Lines::new(io::Cursor::new(bytes.to_vec())).unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push((line.number, line.text.map(str::to_owned)));
        }
        found
    }

    fn cells(line: &str) -> Result<Vec<String>, Refusal> {
        let mut record = Record::default();
        record.split(line)?;
        Ok(record.cells().map(str::to_owned).collect())
    }

    #[test]
    fn lines_lose_bom_and_line_ends_and_keep_their_numbers() {
        let expected = vec![(1, Ok("a,b".to_owned())), (3, Ok("1,2".to_owned()))];
        assert_eq!(all(b"\xef\xbb\xbfa,b\r\n\r\n1,2"), expected);
        assert_eq!(all(b""), vec![]);
        assert_eq!(all(b"x"), vec![(1, Ok("x".to_owned()))]);
        assert_eq!(all(b"\xff\nb")[0], (1, Err(Refusal::NotText)));
    }

    #[test]
    fn gzip_is_told_by_its_first_bytes() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"a\nb\n").unwrap();
        let one = gzip.finish().unwrap();
        let two = [one.clone(), one.clone()].concat();
        assert_eq!(all(&two).len(), 4, "members joined as by cat");
        let mut cut = Lines::new(io::Cursor::new(one[..one.len() - 3].to_vec())).unwrap();
        let error = std::iter::repeat_with(|| cut.next_line().map(|line| line.is_some()))
            .find_map(Result::err);
        assert!(error.is_some(), "a cut file is not taken for a whole one");
    }

    #[test]
    fn a_line_too_long_is_passed_over() {
        let long = [vec![b'x'; MAX_LINE_BYTES * 2], b"\nnext\n".to_vec()].concat();
        let expected = vec![(1, Err(Refusal::TooLarge)), (2, Ok("next".to_owned()))];
        assert_eq!(all(&long), expected);
    }

    #[test]
    fn quoted_cells_may_hold_commas_and_quotes() {
        assert_eq!(cells("a, b ,").unwrap(), ["a", "b", ""]);
        assert_eq!(cells(r#""a,b", "c ""d""" ,e"#).unwrap(), ["a,b", "c \"d\"", "e"]);
        assert_eq!(cells(r#"x"y,2"#).unwrap(), ["x\"y", "2"]);
        assert_eq!(cells(r#""open,2"#), Err(Refusal::Malformed));
        assert_eq!(cells(r#""a"b,2"#), Err(Refusal::Malformed));
    }

    proptest! {
        #[test]
        fn any_line_splits_or_is_refused(line in "[a\", é]{0,20}") {
            if let Ok(cells) = cells(&line) {
                prop_assert!(!cells.is_empty());
            }
        }
    }
}
