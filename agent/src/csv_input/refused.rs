//! Rows left out of a file: the first few are shown, all are counted.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    io::{self, Write},
};

use serde::{Serialize, Serializer};

/// How many rows are named one by one; after that only their number is told.
pub const MAX_ROWS_SHOWN: u64 = 20;
/// How much of a cell is repeated in a message.
const MAX_CELL_SHOWN: usize = 40;

/// The rows of one file that were refused, by reason.
pub struct RefusedRows {
    file: String,
    by_reason: BTreeMap<&'static str, u64>,
    shown: u64,
    out: Box<dyn Write + Send>,
}

impl RefusedRows {
    /// None yet; rows will be named on the standard error.
    #[must_use]
    pub fn new(file: String) -> Self {
        Self::with_output(file, Box::new(io::stderr()))
    }

    /// None yet; rows will be named on `out`.
    #[must_use]
    pub fn with_output(file: String, out: Box<dyn Write + Send>) -> Self {
        Self { file, by_reason: BTreeMap::new(), shown: 0, out }
    }

    /// Counts a row and, if not too many were, names it.
    pub fn note(&mut self, line: u64, reason: &'static str, detail: impl Display) {
        *self.by_reason.entry(reason).or_default() += 1;
        if self.shown < MAX_ROWS_SHOWN {
            self.shown += 1;
            let file = &self.file;
            // A closed standard error is no reason to stop: the count is in the result.
            drop(writeln!(self.out, "{file}: line {line} refused: {reason}{detail}"));
        }
    }

    /// Counts what belongs to no single line.
    pub fn count(&mut self, reason: &'static str, rows: u64) {
        if rows > 0 {
            *self.by_reason.entry(reason).or_default() += rows;
        }
    }

    /// How many were refused.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason.values().sum()
    }

    /// How many were refused for that reason.
    #[must_use]
    pub fn of(&self, reason: &str) -> u64 {
        self.by_reason.get(reason).copied().unwrap_or(0)
    }

    /// The numbers, by reason.
    #[must_use]
    pub fn by_reason(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_reason
    }

    /// Tells the numbers in one line, if there are any.
    pub fn tell(&mut self) {
        if self.total() > 0 {
            let summary = self.to_string();
            drop(writeln!(self.out, "{}: rows refused: {} ({summary})", self.file, self.total()));
        }
    }
}

impl Display for RefusedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (reason, rows)) in self.by_reason.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{reason} {rows}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RefusedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefusedRows({self})")
    }
}

impl Serialize for RefusedRows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_reason.serialize(serializer)
    }
}

/// A cell as messages repeat it: quoted, short, without control characters.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start: String = self.0.chars().take(MAX_CELL_SHOWN).collect();
        let more = if start.len() < self.0.len() { "…" } else { "" };
        write!(f, ": {start:?}{more}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_few_rows_are_named_and_all_are_counted() {
        let shared = Shared::default();
        let mut refused = RefusedRows::with_output("x.csv".into(), Box::new(shared.clone()));
        refused.note(2, "not_a_number", Shown("a\u{7}b"));
        for line in 3..1_000 {
            refused.note(line, "bad_timestamp", "");
        }
        refused.tell();
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 21);
        assert_eq!(lines[0], r#"x.csv: line 2 refused: not_a_number: "a\u{7}b""#);
        assert_eq!(lines[20], "x.csv: rows refused: 998 (bad_timestamp 997, not_a_number 1)");
    }
}
