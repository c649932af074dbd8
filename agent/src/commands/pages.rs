//! The pages in `docs/formats` are true: what they say comes out of a message does, their configs
//! load, and the tables of their first page name everything there is.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use daywise_core::{decode::Format, quantity::Quantity, reading::Refusal};
use serde_json::json;

use super::{decode, tests::read_rows};
use crate::config::AgentConfig;

/// The columns of `decode` that the pages show; of the last two they make one.
const SHOWN: [&str; 7] = ["sensor_id", "quantity", "value", "unit", "ts", "status", "reason"];
const TITLES: [&str; 6] = ["sensor", "quantity", "value", "unit", "time", "status"];

/// What an agent's config needs beside what a page shows of it.
const IDENTITY: &str = "gateway = \"docs\"\nstate_dir = \"/var/lib/daywise\"\n";
const BROKER: &str = "mqtt = { url = \"mqtt://127.0.0.1:1883\" }\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn formats_folder() -> PathBuf {
    root().join("docs/formats")
}

/// The pages, by name.
fn pages() -> Vec<(String, String)> {
    let files = fs::read_dir(formats_folder()).unwrap().map(|file| file.unwrap().path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let mut paths: Vec<PathBuf> = files.filter(is_page).collect();
    paths.push(root().join("README.md"));
    paths.sort();
    paths
        .iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// A part of a page, with its first line's number.
enum Part<'p> {
    Prose,
    Block { line: usize, mark: &'p str, body: String },
}

fn parts(page: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(mark) = line.strip_prefix("```") else {
            if !line.trim().is_empty() {
                parts.push(Part::Prose);
            }
            continue;
        };
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let body = inside.map(|line| [line, "\n"].concat()).collect();
        parts.push(Part::Block { line: number + 1, mark, body });
    }
    parts
}

/// Messages, and what comes out of them.
#[derive(Default)]
struct Example {
    line: usize,
    config: Option<String>,
    /// As lines of a recording.
    messages: Vec<String>,
    rows: String,
}

/// A page's examples. A config belongs to the messages right behind it.
fn examples(page: &str) -> Vec<Example> {
    let (mut examples, mut next) = (Vec::new(), Example::default());
    for part in parts(page) {
        match part {
            Part::Prose if next.messages.is_empty() => next.config = None,
            Part::Prose => {}
            Part::Block { mark: "toml config", body, .. } => next.config = Some(body),
            Part::Block { line, mark: "text comes out", body } => {
                assert!(!next.messages.is_empty(), "line {line}: of no message");
                let example = std::mem::take(&mut next);
                examples.push(Example { line, rows: body, ..example });
            }
            // What has no more than a language is an example of something else.
            Part::Block { line, mark, body } => {
                let marks = mark.split_once(' ');
                next.messages.extend(marks.map(|(kind, rest)| message(line, kind, rest, &body)));
            }
        }
    }
    assert!(next.messages.is_empty(), "a page ends with messages");
    examples
}

/// A message's block as a line of a recording.
fn message(line: usize, kind: &str, mark: &str, body: &str) -> String {
    let words: Vec<&str> = mark.split(' ').collect();
    let told = match words[..] {
        ["message", topic, recv] => topic.strip_prefix("topic=").zip(recv.strip_prefix("recv=")),
        _ => None,
    };
    let (topic, recv) = told.unwrap_or_else(|| panic!("line {line}: `{mark}` is not understood"));
    match kind {
        "hex" => {
            let digits: String = body.split_whitespace().collect();
            json!({ "recv": recv, "topic": topic, "payload": digits, "payload_encoding": "hex" })
        }
        "json" | "text" => json!({ "recv": recv, "topic": topic, "payload": body.trim_end() }),
        _ => panic!("line {line}: `{kind}` is no kind of message"),
    }
    .to_string()
}

/// A config as pages show it, made whole.
fn whole(config: &str) -> String {
    let identity = if config.contains("gateway =") { "" } else { IDENTITY };
    let broker = if config.contains("[mqtt]") || config.contains("mqtt.url") { "" } else { BROKER };
    [identity, broker, config].concat()
}

/// The rows of `decode`, by column, header first.
fn decoded(example: &Example) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let [jsonl, toml, out] = ["x.jsonl", "x.toml", "x.csv"].map(|name| folder.path().join(name));
    fs::write(&jsonl, example.messages.join("\n")).unwrap();
    let config = example.config.as_ref().map(|config| {
        fs::write(&toml, whole(config)).unwrap();
        toml
    });
    let timezone = "Europe/Berlin".parse().unwrap();
    let args = decode::DecodeArgs { jsonl, timezone, config, out: out.clone(), json: false };
    decode::run(&args).unwrap();
    read_rows(&out)
}

/// The cells of a column.
fn column<'r>(rows: &'r [Vec<String>], name: &str) -> Vec<&'r str> {
    let place = rows[0].iter().position(|title| title == name).unwrap();
    rows[1..].iter().map(|row| row[place].as_str()).collect()
}

/// Rows as pages show them.
fn shown(rows: &[Vec<String>]) -> String {
    let columns = SHOWN.map(|name| column(rows, name));
    let mut table = vec![TITLES.map(str::to_owned)];
    for row in 0..rows.len() - 1 {
        let [cells @ .., status, reason] = columns.each_ref().map(|column| column[row]);
        let colon = if reason.is_empty() { "" } else { ": " };
        let [sensor, quantity, value, unit, time] =
            cells.map(|cell| if cell.is_empty() { "-" } else { cell }.to_owned());
        table.push([sensor, quantity, value, unit, time, [status, colon, reason].concat()]);
    }
    let widths: Vec<usize> = (0..TITLES.len())
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap())
        .collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        [cells.collect::<Vec<_>>().join("  ").trim_end(), "\n"].concat()
    };
    table.iter().map(line).collect()
}

#[test]
fn what_the_pages_say_comes_out_of_a_message_does() {
    let mut formats = BTreeSet::new();
    for (name, page) in pages() {
        for example in examples(&page) {
            let rows = decoded(&example);
            let (line, shown) = (example.line, shown(&rows));
            assert_eq!(example.rows, shown, "{name}, line {line}; what comes out is\n{shown}");
            for (format, status) in column(&rows, "format").iter().zip(column(&rows, "status")) {
                if status == "accepted" {
                    assert!(page.contains(&format!("`{format}`")), "{name} does not name {format}");
                    formats.insert((*format).to_owned());
                }
            }
        }
    }
    for format in Format::ALL {
        assert!(formats.contains(format.name()), "no page has a message in {format}");
    }
}

#[test]
fn configs_in_the_pages_load() {
    let mut count = 0;
    for (name, page) in pages() {
        for part in parts(&page) {
            if let Part::Block { line, mark: "toml config", body } = part {
                let outcome = AgentConfig::parse(&whole(&body));
                assert!(outcome.is_ok(), "{name}, line {line}: {outcome:?}");
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn the_first_page_names_every_format_quantity_column_and_reason() {
    let page = fs::read_to_string(formats_folder().join("README.md")).unwrap();
    let names_all = |what: &[&str]| {
        for name in what.iter().filter(|name| !name.is_empty()) {
            assert!(page.contains(&format!("`{name}`")), "{name} is missing");
        }
    };
    let has_rows = |what: &[&str]| {
        for name in what {
            assert!(page.contains(&format!("\n| `{name}` | ")), "{name} has no row");
        }
    };
    has_rows(&Format::ALL.iter().map(|format| format.name()).collect::<Vec<_>>());
    has_rows(&Refusal::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>());
    names_all(&Quantity::ALL.iter().map(|quantity| quantity.name()).collect::<Vec<_>>());
    names_all(&Quantity::ALL.iter().map(|quantity| quantity.unit()).collect::<Vec<_>>());
    let messages = vec![json!({ "recv": 1_711_360_800, "topic": "a", "payload": "1" }).to_string()];
    let rows = decoded(&Example { messages, ..Example::default() });
    names_all(&rows[0].iter().map(String::as_str).collect::<Vec<_>>());
}
