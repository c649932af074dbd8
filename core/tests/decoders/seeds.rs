//! The seeds of the fuzz targets.

use std::{
    fs,
    path::{Path, PathBuf},
};

use daywise_core::decode::{Detected, Format, Message, detect};

use super::check;

/// The targets that are no format's.
const OTHERS: [&str; 2] = ["detect", "discovery"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The inputs of a target, in the order of their names.
pub(crate) fn of(target: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// All of them.
pub(crate) fn all() -> Vec<Vec<u8>> {
    let formats = Format::ALL.iter().map(|format| format.name());
    formats.chain(OTHERS).flat_map(of).collect()
}

#[test]
fn every_format_has_a_fuzz_target_and_seeds_that_are_its_own() {
    for format in Format::ALL {
        let target = folder().join(format!("fuzz_targets/{format}.rs"));
        let text = fs::read_to_string(&target).unwrap_or_default();
        assert!(text.contains(&format!("fuzz_format!({format:?})")), "{}", target.display());
        let seeds = of(format.name());
        assert!(seeds.len() >= 2, "{format}: {} seeds", seeds.len());
        let accepted: usize = seeds.iter().map(|seed| check::decode(*format, seed)).sum();
        assert!(accepted > 0, "no seed of {format} has a value");
    }
}

#[test]
fn the_first_message_of_a_seed_is_taken_for_its_format() {
    for format in Format::ALL {
        for seed in of(format.name()) {
            let first = check::parts(&seed).next().unwrap();
            let now = daywise_core::time::UtcMillis(1_735_689_600_000);
            let message =
                Message { topic: &first.topic, payload: first.payload, device: None, now };
            assert_eq!(detect(&message), Detected::Format(*format), "{}", first.topic);
        }
    }
}

#[test]
fn the_seeds_of_discovery_announce_something() {
    let announced: usize = of("discovery").iter().map(|seed| check::announced(seed)).sum();
    assert!(announced >= 3, "{announced}");
}

#[test]
fn a_target_without_a_file_is_not_in_the_manifest() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let named = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let mut named: Vec<String> = named.map(|rest| rest.trim_end_matches('"').into()).collect();
    let files = fs::read_dir(folder().join("fuzz_targets")).unwrap();
    let mut files: Vec<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    named.sort();
    files.sort();
    assert_eq!(named, files);
    assert_eq!(named.len(), Format::ALL.len() + OTHERS.len());
}
