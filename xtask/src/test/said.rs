//! What a step's program said last, so that the end of a long log names what failed.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, IsTerminal as _, Read, Write},
    process::{Command, ExitStatus, Stdio},
    sync::Mutex,
    thread,
};

/// Enough for the failures of a test program and what its processes logged.
const KEPT_LINES: usize = 60;

/// Runs a program to its end with our own output; how it ended, and the last lines that it
/// printed. To a terminal it prints by itself, with its colours and progress bars.
pub(super) fn run(command: &mut Command) -> std::io::Result<(ExitStatus, String)> {
    command.stdin(Stdio::null());
    if std::io::stderr().is_terminal() {
        return Ok((command.status()?, String::new()));
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let last = Mutex::new(VecDeque::new());
    thread::scope(|scope| {
        if let Some(output) = child.stdout.take() {
            scope.spawn(|| pass_on(output, std::io::stdout(), &last));
        }
        if let Some(output) = child.stderr.take() {
            scope.spawn(|| pass_on(output, std::io::stderr(), &last));
        }
    });
    let lines = last.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok((child.wait()?, lines.into_iter().map(|line| format!("  | {line}\n")).collect()))
}

fn pass_on(from: impl Read, mut to: impl Write, last: &Mutex<VecDeque<String>>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // Whether or not anybody still reads our output, the program is not to be held up.
        drop(to.write_all(&line));
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.len() == KEPT_LINES {
            last.pop_front();
        }
        last.push_back(text);
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_both_outputs_are_kept() {
        let last = Mutex::new(VecDeque::new());
        let said: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let mut passed_on = Vec::new();
        pass_on(said.as_bytes(), &mut passed_on, &last);
        assert_eq!(passed_on, said.as_bytes());
        pass_on(&b"not \xff text, no end"[..], &mut passed_on, &last);
        let last = last.into_inner().unwrap();
        assert_eq!(last.len(), KEPT_LINES);
        assert_eq!(last.front().unwrap(), "line 41");
        assert_eq!(last.back().unwrap(), "not \u{fffd} text, no end");
    }
}
