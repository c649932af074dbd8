//! Licences, sources and advisories of all dependencies.
//!
//! With `cargo-deny` installed it is asked. Without it, licences and sources are checked here,
//! offline, from what cargo knows, against the same `deny.toml`; advisories are then left out,
//! and the result says so.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::{Outcome, cargo, has_cargo_command};
use crate::workspace;

#[derive(Debug, Deserialize)]
struct Deny {
    licenses: DenyLicences,
    sources: DenySources,
}

#[derive(Debug, Deserialize)]
struct DenyLicences {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DenySources {
    allow_registry: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None for our own.
    source: Option<String>,
}

/// Checks all dependencies.
pub(super) fn check() -> anyhow::Result<Outcome> {
    if has_cargo_command("deny") {
        return with_cargo_deny();
    }
    let deny = fs::read_to_string(workspace::root()?.join("deny.toml"))
        .context("cannot read deny.toml")?;
    let deny: Deny = toml::from_str(&deny).context("deny.toml is not as expected")?;
    let packages = metadata()?.packages;
    let problems = problems(&deny, &packages);
    println!("{} packages looked at", packages.len());
    if problems.is_empty() {
        let note = "cargo-deny is not installed: licences and sources were checked from cargo's \
                    metadata, advisories and duplicates were not";
        return Ok(Outcome::Noted(note.into()));
    }
    Ok(Outcome::Failed(problems.join("\n    ")))
}

fn with_cargo_deny() -> anyhow::Result<Outcome> {
    match cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"])? {
        Outcome::Passed => {}
        other => return Ok(other),
    }
    let database = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
        .map(|home| home.join("advisory-dbs"));
    if database.is_some_and(|database| database.is_dir()) {
        return cargo(&["deny", "--offline", "check", "advisories"]);
    }
    let note = "advisories were not checked: no advisory database here (cargo deny fetch gets it)";
    Ok(Outcome::Noted(note.into()))
}

fn metadata() -> anyhow::Result<Metadata> {
    let mut output = ask_metadata()?;
    if !output.status.success() {
        // Packages for other platforms only may not have been fetched yet.
        cargo(&["fetch", "--locked"])?;
        output = ask_metadata()?;
    }
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo's metadata is not as expected")
}

fn ask_metadata() -> anyhow::Result<Output> {
    Command::new(workspace::cargo())
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(workspace::root()?)
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo metadata")
}

fn problems(deny: &Deny, packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        match &package.license {
            Some(licence) if is_allowed(licence, &deny.licenses.allow) => {}
            Some(licence) => problems.push(format!("{name}: licence `{licence}` is not allowed")),
            None => problems.push(format!("{name}: no licence is stated")),
        }
        let source = package.source.as_deref();
        let is_known = |source: &str| {
            let allowed = deny.sources.allow_registry.iter();
            allowed.into_iter().any(|registry| source.strip_prefix("registry+") == Some(registry))
        };
        if source.is_some_and(|source| !is_known(source)) {
            problems.push(format!("{name}: comes from {}", source.unwrap_or_default()));
        }
    }
    problems
}

/// Whether an SPDX expression can be satisfied with allowed licences. `/` is an old way to say
/// OR. A licence with an exception counts as its own entry, `X WITH y`.
fn is_allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { tokens: &tokens, allow };
    reader.any_of() == Some(true) && reader.tokens.is_empty()
}

struct Reader<'a> {
    tokens: &'a [&'a str],
    allow: &'a BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take_if(&mut self, word: &str) -> bool {
        let is_next = self.tokens.first() == Some(&word);
        if is_next {
            self.take();
        }
        is_next
    }

    fn any_of(&mut self) -> Option<bool> {
        let mut allowed = self.all_of()?;
        while self.take_if("OR") {
            allowed |= self.all_of()?;
        }
        Some(allowed)
    }

    fn all_of(&mut self) -> Option<bool> {
        let mut allowed = self.one()?;
        while self.take_if("AND") {
            allowed &= self.one()?;
        }
        Some(allowed)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take_if("(") {
            let inner = self.any_of()?;
            return self.take_if(")").then_some(inner);
        }
        let mut licence = self.take()?.to_owned();
        if self.take_if("WITH") {
            licence = format!("{licence} WITH {}", self.take()?);
        }
        Some(self.allow.contains(&licence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(expression: &str) -> bool {
        let allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];
        is_allowed(expression, &allow.map(str::to_owned).into())
    }

    #[test]
    fn an_expression_is_allowed_if_one_way_to_satisfy_it_is() {
        assert!(allowed("MIT"));
        assert!(allowed("GPL-3.0 OR MIT"));
        assert!(allowed("MIT/Apache-2.0"));
        assert!(allowed("(MIT OR GPL-2.0) AND Unicode-3.0"));
        assert!(allowed("Apache-2.0 WITH LLVM-exception"));
        assert!(!allowed("GPL-3.0"));
        assert!(!allowed("MIT AND GPL-3.0"));
        assert!(!allowed("Apache-2.0 WITH other-exception"));
        assert!(!allowed("(MIT"));
        assert!(!allowed(""));
    }

    #[test]
    fn a_package_without_licence_or_from_elsewhere_is_named() {
        let deny = Deny {
            licenses: DenyLicences { allow: ["MIT".to_owned()].into() },
            sources: DenySources { allow_registry: vec!["https://registry".into()] },
        };
        let package = |license: Option<&str>, source: &str| Package {
            name: "p".into(),
            version: "1.0.0".into(),
            license: license.map(str::to_owned),
            source: Some(source.into()),
        };
        let here = "registry+https://registry";
        assert_eq!(problems(&deny, &[package(Some("MIT"), here)]), Vec::<String>::new());
        assert_eq!(problems(&deny, &[package(None, here)]).len(), 1);
        assert_eq!(problems(&deny, &[package(Some("MIT"), "git+https://x")]).len(), 1);
    }
}
