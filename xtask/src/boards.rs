//! The files of `boards/`, which say what is built, packaged and tested for whom.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, bail};
use daywise_core::board::Board;

use crate::workspace;

/// The board of that name.
pub(crate) fn named(name: &str) -> anyhow::Result<Board> {
    let path = workspace::root()?.join("boards").join(format!("{name}.toml"));
    read(&path)
}

/// All of them, by name.
pub(crate) fn all() -> anyhow::Result<Vec<Board>> {
    let folder = workspace::root()?.join("boards");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut boards = Vec::new();
    for entry in entries {
        let path = entry.context("cannot list the boards")?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            boards.push(read(&path)?);
        }
    }
    boards.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(boards)
}

/// The boards by the target that is built for them.
pub(crate) fn by_triple() -> anyhow::Result<BTreeMap<String, Vec<Board>>> {
    let mut triples: BTreeMap<String, Vec<Board>> = BTreeMap::new();
    for board in all()? {
        triples.entry(board.triple.clone()).or_default().push(board);
    }
    Ok(triples)
}

/// Reads one and checks it.
fn read(path: &Path) -> anyhow::Result<Board> {
    let about = || format!("the board's file {}", path.display());
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", about()))?;
    parse(path, &text).map_err(anyhow::Error::msg).with_context(about)
}

/// What the text in the file of that name says.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Board, String> {
    let board: Board = toml::from_str(text).map_err(|error| error.to_string())?;
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    if stem != Some(board.name.as_str()) {
        return Err(format!("is named `{}` inside", board.name));
    }
    board.check()?;
    Ok(board)
}

/// What `Cross.toml` says has to do for the boards: an entry for every triple, and each with an
/// image whose version is named.
pub(crate) fn check_cross(text: &str, triples: &[String]) -> Result<(), String> {
    let file: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let targets = file.get("target").and_then(toml::Value::as_table).ok_or("has no targets")?;
    if let Some(missing) = triples.iter().find(|triple| !targets.contains_key(triple.as_str())) {
        return Err(format!("lacks target.{missing}, which a board names"));
    }
    for (triple, target) in targets {
        let image = target.get("image").and_then(toml::Value::as_str).unwrap_or_default();
        let name = image.rsplit('/').next().unwrap_or_default();
        match name.split_once(':') {
            Some((of, tag)) if of == triple && !tag.is_empty() && tag != "latest" => {}
            _ => return Err(format!("target.{triple}: `{image}` is not its image, by version")),
        }
    }
    Ok(())
}

/// The triples that boards name.
pub(crate) fn triples() -> anyhow::Result<Vec<String>> {
    let triples: Vec<String> = by_triple()?.into_keys().collect();
    if triples.is_empty() {
        bail!("no board names a triple");
    }
    Ok(triples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_must_be_complete_and_under_its_own_name() {
        let path = workspace::root().unwrap().join("boards/raspberry-pi-4.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(parse(&path, &text).is_ok());
        assert!(parse(Path::new("boards/other.toml"), &text).is_err());
        assert!(parse(&path, &text.replace("ram_mb", "ram")).is_err());
        assert!(parse(&path, &text.replace("memory_max_mb = 96", "memory_max_mb = 24")).is_err());
    }

    #[test]
    fn boards_are_sorted_by_what_is_built_for_them() {
        let triples = by_triple().unwrap();
        let zero = triples["aarch64-unknown-linux-musl"].iter();
        assert_eq!(zero.filter(|board| board.name == "raspberry-pi-zero-2w").count(), 1);
        assert_eq!(triples.values().map(Vec::len).sum::<usize>(), all().unwrap().len());
    }

    #[test]
    fn every_triple_needs_an_image_of_its_own_and_of_a_version() {
        let of = |image: &str| format!("[target.a-b-c]\nimage = \"ghcr.io/cross-rs/{image}\"\n");
        let check = |text: &str| check_cross(text, &["a-b-c".to_owned()]);
        assert_eq!(check(&of("a-b-c:0.2.5")), Ok(()));
        assert!(check(&of("a-b-c:latest")).is_err());
        assert!(check(&of("a-b-c")).is_err());
        assert!(check(&of("d-e-f:0.2.5")).is_err());
        assert!(check(&of("a-b-c:0.2.5").replace("a-b-c]", "d-e-f]")).is_err());
        assert!(check("[build]\n").is_err());
    }
}
