//! The boards that this build knows: one file of data each in `boards/`, embedded.

use serde::Deserialize;

include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// One board's file; `boards/README.md` says what each key means.
#[derive(Clone, Debug, PartialEq, Deserialize)]
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

/// Of a board that this build does not know.
pub const UNKNOWN: Budget =
    Budget { agent_memory_mb: 16, sensors: 2_000, flash_writes_mb_per_day: 150, binary_mb: 6 };

impl Board {
    /// The board of that name, if this build knows it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        // A test reads every one.
        FILES.iter().filter_map(|text| toml::from_str::<Self>(text).ok()).find(|b| b.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_file_loads_and_says_what_limits_it_brings() {
        assert!(FILES.len() >= 8, "{} boards", FILES.len());
        for text in FILES {
            let board: Board = toml::from_str(text).unwrap();
            assert_eq!(Board::named(&board.name), Some(board.clone()));
            let Budget { sensors, flash_writes_mb_per_day, agent_memory_mb, .. } = board.budget;
            assert!(sensors > 0 && flash_writes_mb_per_day > 0, "{}", board.name);
            assert!(agent_memory_mb < board.service.memory_max_mb, "{}", board.name);
        }
    }

    #[test]
    fn boards_are_found_by_name() {
        let zero = Board::named("raspberry-pi-zero-2w").unwrap();
        assert_eq!((zero.flash, zero.budget.flash_writes_mb_per_day), (Flash::Sd, 150));
        assert_eq!(Board::named("abacus"), None);
        assert_eq!(Board::named(""), None);
    }
}
