//! Embeds every board's file, so that a new board is one new file and nothing else.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../boards").canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut list = String::from("const FILES: &[&str] = &[\n");
    for path in &files {
        println!("cargo::rerun-if-changed={}", path.display());
        writeln!(list, "    include_str!({path:?}),")?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("boards.rs"), list)?;
    Ok(())
}
