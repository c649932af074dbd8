//! Every file that we ship as an example or as data parses, and boards say all there is to say.
//! (That the example configs are what the programs expect is tested beside the programs.)

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::Outcome;
use crate::{boards, dist, workspace};

/// Checks all files of `boards/` and `configs/`, and the tools' own settings.
pub(super) fn check() -> anyhow::Result<Outcome> {
    let root = workspace::root()?;
    let mut problems = Vec::new();
    let mut checked = 0;
    let mut files = vec![root.join("deny.toml"), root.join("Cross.toml"), root.join("clippy.toml")];
    files_below(&root.join("boards"), &mut files)?;
    files_below(&root.join("configs"), &mut files)?;
    for path in files {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        checked += 1;
        if let Err(problem) = check_one(&path, &text) {
            let name = path.strip_prefix(&root).unwrap_or(&path);
            problems.push(format!("{}: {problem}", name.display()));
        }
    }
    println!("{checked} files read");
    Ok(if problems.is_empty() { Outcome::Passed } else { Outcome::Failed(problems.join("\n    ")) })
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn check_one(path: &Path, text: &str) -> Result<(), String> {
    let is_board = path.parent().is_some_and(|folder| folder.ends_with("boards"));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") if is_board => boards::parse(path, text).map(drop),
        Some("toml") if path.ends_with("Cross.toml") => {
            let triples = boards::triples().map_err(|error| error.to_string())?;
            boards::check_cross(text, &triples)
        }
        Some("toml") => toml::from_str::<toml::Table>(text).map(drop).map_err(|e| e.to_string()),
        Some("json") => {
            serde_json::from_str::<serde_json::Value>(text).map(drop).map_err(|e| e.to_string())
        }
        Some("service") => check_unit(text).and_then(|()| check_exposure(path)),
        Some("conf") => check_mosquitto(text),
        Some("md") => Ok(()),
        _ => Err("a kind of file that no check knows".into()),
    }
}

/// A systemd unit: sections, and `Key=value` lines in them.
fn check_unit(text: &str) -> Result<(), String> {
    let mut section = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Some(name);
        } else if section.is_none() || !line.split_once('=').is_some_and(|(key, _)| is_word(key)) {
            return Err(format!("line {number} is no setting of a section"));
        }
    }
    let notifies = text.lines().any(|line| line.trim() == "Type=notify");
    if text.contains("WatchdogSec=") && !notifies {
        return Err("has a watchdog, but nobody who tells it anything: Type=notify".into());
    }
    let needed = ["[Unit]", "[Service]", "[Install]", "ExecStart=", "NoNewPrivileges=yes"];
    match needed.iter().find(|needed| !text.contains(**needed)) {
        Some(missing) => Err(format!("lacks {missing}")),
        None => Ok(()),
    }
}

/// How exposed a service may be, by systemd's own scale from 0 to 10.
const MAX_EXPOSURE: f64 = 2.5;

/// Where systemd is there to judge it; a unit that is not in a file cannot be asked about.
fn check_exposure(path: &Path) -> Result<(), String> {
    if !path.is_file() {
        return Ok(());
    }
    match dist::exposure(path).map_err(|error| format!("{error:#}"))? {
        Some(exposure) if exposure > MAX_EXPOSURE => {
            Err(format!("its exposure is {exposure}, more than {MAX_EXPOSURE}"))
        }
        Some(exposure) => {
            println!("{}: exposure {exposure}", path.display());
            Ok(())
        }
        None => {
            println!("{}: no systemd-analyze here to judge it", path.display());
            Ok(())
        }
    }
}

fn is_word(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric())
}

/// mosquitto's settings: a name in lower case and a value.
fn check_mosquitto(text: &str) -> Result<(), String> {
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let is_setting = line.split_once(' ').is_some_and(|(name, value)| {
            !value.trim().is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        });
        if !(line.is_empty() || line.starts_with('#') || is_setting) {
            return Err(format!("line {number} is no setting"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/x\n\
                        NoNewPrivileges=yes\n[Install]\nWantedBy=multi-user.target\n";

    #[test]
    fn every_file_that_we_ship_passes() {
        assert_eq!(check().unwrap(), Outcome::Passed);
    }

    #[test]
    fn a_service_that_is_not_hardened_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("open.service");
        fs::write(&path, UNIT).unwrap();
        if crate::system::find("systemd-analyze").is_some() {
            assert!(check_one(&path, UNIT).unwrap_err().contains("exposure"));
        }
    }

    #[test]
    fn mistakes_are_found_in_each_kind_of_file() {
        let check = |name: &str, text: &str| check_one(Path::new(name), text);
        assert_eq!(check("configs/x.service", UNIT), Ok(()));
        assert!(check("configs/x.service", &UNIT.replace("NoNewPrivileges=yes\n", "")).is_err());
        assert!(check("configs/x.service", &format!("{UNIT}Wanted By=x\n")).is_err());
        let watched = UNIT.replace("[Service]", "[Service]\nWatchdogSec=60");
        assert!(check("configs/x.service", &watched).is_err());
        let notifying = watched.replace("[Service]", "[Service]\nType=notify");
        assert_eq!(check("configs/x.service", &notifying), Ok(()));
        assert!(check("configs/x.conf", "listener 1883\nnonsense\n").is_err());
        assert!(check("configs/x.toml", "a = \n").is_err());
        assert!(check("configs/x.json", "{").is_err());
        assert!(check("configs/x.what", "").is_err());
    }
}
