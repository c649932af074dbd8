//! The agent's systemd unit with the limits of the boards that a package is for.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use daywise_core::board::{Board, Service};

use crate::system;

/// The unit with other limits.
pub(super) fn with_limits(unit: &str, service: &Service) -> anyhow::Result<String> {
    let mut text = String::with_capacity(unit.len());
    let mut set = 0;
    for line in unit.lines() {
        let limit = limits(service)
            .into_iter()
            .find(|(key, _)| line.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')));
        match limit {
            Some((key, value)) => {
                set += 1;
                writeln!(text, "{key}={value}")
            }
            None => writeln!(text, "{line}"),
        }
        .context("cannot write to memory")?;
    }
    if set != limits(service).len() {
        bail!("the unit does not name each limit once");
    }
    Ok(text)
}

/// What makes the unit a board's: to be put beside it.
pub(super) fn drop_in(board: &Board) -> anyhow::Result<String> {
    let mut text = format!("# {}\n[Service]\n", board.title);
    for (key, value) in limits(&board.service) {
        writeln!(text, "{key}={value}").context("cannot write to memory")?;
    }
    Ok(text)
}

/// What every one of the boards allows.
pub(super) fn smallest(boards: &[Board]) -> anyhow::Result<Service> {
    let least = |of: fn(&Service) -> u32| boards.iter().map(|board| of(&board.service)).min();
    let limits = (
        least(|service| service.memory_max_mb),
        least(|service| service.cpu_quota_percent),
        least(|service| service.tasks_max),
    );
    match limits {
        (Some(memory_max_mb), Some(cpu_quota_percent), Some(tasks_max)) => {
            Ok(Service { memory_max_mb, cpu_quota_percent, tasks_max })
        }
        _ => bail!("a package for no board"),
    }
}

fn limits(service: &Service) -> [(&'static str, String); 3] {
    [
        ("MemoryMax", format!("{}M", service.memory_max_mb)),
        ("CPUQuota", format!("{}%", service.cpu_quota_percent)),
        ("TasksMax", service.tasks_max.to_string()),
    ]
}

/// How exposed systemd finds a service, from 0 (not at all) to 10; `None` where nobody can say.
pub(crate) fn exposure(unit: &Path) -> anyhow::Result<Option<f64>> {
    let Some(program) = system::find("systemd-analyze") else { return Ok(None) };
    let asked = Command::new(program)
        .args(["security", "--offline=true", "--no-pager"])
        .arg(unit)
        .stdin(Stdio::null())
        .output()
        .context("cannot run systemd-analyze")?;
    let said = String::from_utf8_lossy(&asked.stdout);
    let level = level(&said);
    Ok(Some(level.with_context(|| {
        format!("no level in: {said}{}", String::from_utf8_lossy(&asked.stderr))
    })?))
}

fn level(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.contains("Overall exposure level"))?;
    line.rsplit_once(": ")?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{boards, workspace};

    #[test]
    fn limits_are_the_smallest_of_the_boards() {
        let boards = boards::by_triple().unwrap().remove("aarch64-unknown-linux-musl").unwrap();
        let service = smallest(&boards).unwrap();
        assert_eq!((service.memory_max_mb, service.cpu_quota_percent), (64, 50));
        let path = workspace::root().unwrap().join("configs/systemd/daywise-agent.service");
        let unit = std::fs::read_to_string(path).unwrap();
        let other = Service { memory_max_mb: 7, cpu_quota_percent: 8, tasks_max: 9 };
        let text = with_limits(&unit, &other).unwrap();
        assert!(text.contains("\nMemoryMax=7M\nCPUQuota=8%\nTasksMax=9\n"), "{text}");
        assert_eq!(text.lines().count(), unit.lines().count());
        assert!(with_limits(&unit.replace("MemoryMax", "MemoryHigh"), &other).is_err());
        assert!(smallest(&[]).is_err());
    }

    #[test]
    fn a_boards_own_limits_fit_beside_the_unit() {
        let text = drop_in(&boards::named("raspberry-pi-5").unwrap()).unwrap();
        let limits = "[Service]\nMemoryMax=96M\nCPUQuota=100%\nTasksMax=32\n";
        assert_eq!(text, format!("# Raspberry Pi 5\n{limits}"));
    }

    #[test]
    fn the_level_is_found_in_what_systemd_says() {
        let said = "✗ UMask=  0.1\n\n→ Overall exposure level for a.service: 1.8 OK 🙂\n";
        assert_eq!(level(said), Some(1.8));
        assert_eq!(level("no such file"), None);
    }
}
