//! A board as its file in `boards/` describes it: what it has, and what the agent may take of it.
//!
//! The agent takes its limits from here, the developer commands build, package and test by it.
//! Whoever reads the files brings a TOML parser; what they must say is checked here, once.

use alloc::{format, string::String};

use serde::Deserialize;

/// One board's file; `boards/README.md` says what each key means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// What a config says as `board`.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The target that programs are built for.
    pub triple: String,
    /// The kind of its cores.
    pub cpu: String,
    /// How many it has.
    pub cores: u32,
    /// Its memory.
    pub ram_mb: u32,
    /// Where the state directory lies.
    pub flash: Flash,
    /// What the agent may take of it.
    pub budget: Budget,
    /// What its service is held to.
    pub service: Service,
}

/// A kind of flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flash {
    /// A card: wears fastest.
    Sd,
    /// Soldered on.
    Emmc,
    /// A disk.
    Ssd,
}

/// What the agent may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Resident memory in steady state.
    pub agent_memory_mb: u32,
    /// Sensors.
    pub sensors: u32,
    /// Bytes written to flash, by the block.
    pub flash_writes_mb_per_day: u32,
    /// Size of the stripped agent.
    pub binary_mb: u32,
}

/// What the service manager holds the agent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// `MemoryMax=`.
    pub memory_max_mb: u32,
    /// `CPUQuota=`.
    pub cpu_quota_percent: u32,
    /// `TasksMax=`.
    pub tasks_max: u32,
}

/// Of a board that nobody described.
pub const UNKNOWN: Budget =
    Budget { agent_memory_mb: 24, sensors: 2_000, flash_writes_mb_per_day: 150, binary_mb: 6 };

impl Board {
    /// Whether what the file says can be true, and fits together.
    ///
    /// # Errors
    /// What does not, in words.
    pub fn check(&self) -> Result<(), String> {
        let Self { name, triple, ram_mb, budget, service, .. } = self;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!("`{name}` is no name: lower case, digits, - and _"));
        }
        if self.title.is_empty() || self.cpu.is_empty() {
            return Err("has no title, or no cpu".into());
        }
        if triple.split('-').count() < 3 {
            return Err(format!("`{triple}` is not a target triple"));
        }
        let figures = [
            ("cores", self.cores),
            ("ram_mb", *ram_mb),
            ("budget.agent_memory_mb", budget.agent_memory_mb),
            ("budget.sensors", budget.sensors),
            ("budget.flash_writes_mb_per_day", budget.flash_writes_mb_per_day),
            ("budget.binary_mb", budget.binary_mb),
            ("service.cpu_quota_percent", service.cpu_quota_percent),
            ("service.tasks_max", service.tasks_max),
        ];
        if let Some((key, _)) = figures.iter().find(|(_, figure)| *figure == 0) {
            return Err(format!("{key} is 0"));
        }
        if service.memory_max_mb <= budget.agent_memory_mb {
            return Err("the service's memory limit is not above the agent's budget".into());
        }
        if service.memory_max_mb >= *ram_mb {
            return Err("the service's memory limit is the whole board".into());
        }
        if service.cpu_quota_percent > self.cores.saturating_mul(100) {
            return Err("the service may take more cores than there are".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        Board {
            name: "abacus".into(),
            title: "An abacus".into(),
            triple: "wood-unknown-none".into(),
            cpu: "beads".into(),
            cores: 1,
            ram_mb: 128,
            flash: Flash::Sd,
            budget: UNKNOWN,
            service: Service { memory_max_mb: 64, cpu_quota_percent: 50, tasks_max: 32 },
        }
    }

    #[test]
    fn a_board_whose_figures_fit_together_passes() {
        assert_eq!(board().check(), Ok(()));
    }

    #[test]
    fn a_board_that_promises_more_than_it_has_is_refused() {
        let with = |change: fn(&mut Board)| {
            let mut board = board();
            change(&mut board);
            board.check().unwrap_err()
        };
        assert!(with(|board| board.name = "An abacus".into()).contains("no name"));
        assert!(with(|board| board.cpu.clear()).contains("no cpu"));
        assert!(with(|board| board.triple = "wood".into()).contains("triple"));
        assert!(with(|board| board.budget.sensors = 0).contains("budget.sensors is 0"));
        assert!(with(|board| board.service.memory_max_mb = 16).contains("not above"));
        assert!(with(|board| board.service.memory_max_mb = 128).contains("whole board"));
        assert!(with(|board| board.service.cpu_quota_percent = 101).contains("more cores"));
    }
}
