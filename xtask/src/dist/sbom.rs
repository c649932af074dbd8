//! What is in the agent: a CycloneDX list of every crate that is linked into it for a target, from
//! cargo's own tree and lock file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Target, VERSION};
use crate::{process::output_of, workspace};

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    /// Of what came from a registry.
    checksum: Option<String>,
}

/// Writes the list into `out`; says where.
pub(super) fn write(target: &Target, out: &Path) -> anyhow::Result<PathBuf> {
    let root = workspace::root()?;
    let mut command = Command::new(workspace::cargo());
    command
        .args(["tree", "--locked", "--package", "daywise-agent", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}|{l}", "--target", &target.triple])
        .current_dir(&root);
    let tree = output_of(&mut command)?;
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let document = document(&target.triple, &tree, &lock)?;
    let path = out.join(format!("daywise-agent-{VERSION}-{}.cdx.json", target.triple));
    let text = serde_json::to_string_pretty(&document).context("the list is no JSON")?;
    fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn document(triple: &str, tree: &str, lock: &str) -> anyhow::Result<Value> {
    let lock: Lock = toml::from_str(lock).context("Cargo.lock is not as expected")?;
    let sums: BTreeMap<(&str, &str), &str> = lock
        .package
        .iter()
        .filter_map(|p| Some(((p.name.as_str(), p.version.as_str()), p.checksum.as_deref()?)))
        .collect();
    let lines: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    let mut components = Vec::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let (package, licence) = line.split_once('|').context("a crate without licence")?;
        let mut words = package.split_whitespace();
        let name = words.next().context("a crate without name")?;
        let version = words.next().and_then(|word| word.strip_prefix('v'));
        let version = version.with_context(|| format!("{name} has no version"))?;
        if name == "daywise-agent" {
            continue;
        }
        let mut component = json!({
            "type": "library",
            "bom-ref": format!("pkg:cargo/{name}@{version}"),
            "name": name,
            "version": version,
            "purl": format!("pkg:cargo/{name}@{version}"),
            // What `/` says in old manifests.
            "licenses": [{ "expression": licence.trim_end_matches(" (*)").replace('/', " OR ") }],
        });
        if let (Some(sum), Some(map)) = (sums.get(&(name, version)), component.as_object_mut()) {
            map.insert("hashes".into(), json!([{ "alg": "SHA-256", "content": sum }]));
        }
        components.push(component);
    }
    ensure!(!components.is_empty(), "cargo's tree is empty");
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": format!("pkg:cargo/daywise-agent@{VERSION}"),
                "name": "daywise-agent",
                "version": VERSION,
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
            },
            "properties": [{ "name": "rust:target", "value": triple }],
        },
        "components": components,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_is_listed_once_with_licence_and_sum() {
        let tree = "daywise-agent v0.1.0 (/x)|MIT\nbytes v1.2.3|MIT\n\
                    daywise-core v0.1.0 (/y)|MIT OR Apache-2.0\nold v0.1.0|MIT/Apache-2.0\n\
                    bytes v1.2.3|MIT (*)\n";
        let lock = "[[package]]\nname = \"bytes\"\nversion = \"1.2.3\"\nchecksum = \"abc\"\n\
                    [[package]]\nname = \"daywise-core\"\nversion = \"0.1.0\"\n";
        let document = document("a-b-c", tree, lock).unwrap();
        let components = document["components"].as_array().unwrap();
        let names: Vec<&str> = components.iter().filter_map(|c| c["name"].as_str()).collect();
        assert_eq!(names, ["bytes", "daywise-core", "old"]);
        assert_eq!(components[0]["hashes"][0]["content"], "abc");
        assert_eq!(components[1]["hashes"], Value::Null, "our own has none");
        assert_eq!(components[2]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert!(super::document("a-b-c", "", lock).is_err());
    }
}
