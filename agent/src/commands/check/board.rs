//! What the board is meant for, beside what the config asks and what is there.

use std::fs;

use daywise_core::board::Board;
use serde_json::Value;

use crate::{board, config::AgentConfig, http};

/// Of what a board's data sheet says, the firmware and the kernel keep some for themselves.
const USABLE_RAM_PERCENT: u64 = 75;
/// The target that this program was built for, as far as a program can know: architecture and
/// whether it needs a C library of the system.
const BUILT_FOR: (&str, &str) =
    (std::env::consts::ARCH, if cfg!(target_env = "musl") { "musl" } else { "gnu" });

type Result = std::result::Result<String, String>;

/// The config beside its own board: what it asks must be within the board's budget.
pub(super) fn check_config(config: &AgentConfig) -> Result {
    match board::named(&config.board) {
        Some(board) => asks(config, &board),
        None if config.board.is_empty() => Ok("none named: generic limits are used".into()),
        None => Ok(format!("`{}` is not known: generic limits are used", config.board)),
    }
}

/// The machine, the program and the running agent beside the board.
pub(super) fn check_all(config: &AgentConfig, name: &str) -> Vec<(&'static str, Result)> {
    let Some(board) = board::named(name) else {
        let what = if name.is_empty() {
            "the config names none; say which".to_owned()
        } else {
            format!("`{name}` is not known")
        };
        let known: Vec<String> = board::names().collect();
        let problem = format!("{what}; known are: {}", known.join(", "));
        return vec![("board", Err(problem))];
    };
    let mut results = vec![
        ("board", asks(config, &board)),
        ("board: program", program(&board)),
        ("board: memory", memory(&board, usable_kb())),
        ("board: cores", cores(&board)),
    ];
    if let Some(status) = http::ask_running(&config.state_dir) {
        results.push(("board: agent's memory", resident(&board, &status)));
    }
    results
}

fn asks(config: &AgentConfig, board: &Board) -> Result {
    let budget = &board.budget;
    let (sensors, flash) = (config.max_sensors(), config.flash_budget_mb_per_day());
    let message = format!(
        "{}: {sensors} sensors of {}, {flash} MB of flash a day of {}",
        board.name, budget.sensors, budget.flash_writes_mb_per_day
    );
    let is_within = sensors <= usize::try_from(budget.sensors).unwrap_or(usize::MAX)
        && flash <= u64::from(budget.flash_writes_mb_per_day);
    if is_within { Ok(message) } else { Err(message) }
}

fn program(board: &Board) -> Result {
    let size = std::env::current_exe().and_then(fs::metadata).map_err(|error| error.to_string())?;
    verdict_of_program(board, size.len(), BUILT_FOR)
}

fn verdict_of_program(board: &Board, bytes: u64, built_for: (&str, &str)) -> Result {
    let (architecture, library) = built_for;
    let of_board = board.triple.split('-').next().unwrap_or_default();
    // `armv7` is a board's, `arm` what a program knows of itself.
    let fits = of_board == architecture || (architecture == "arm" && of_board.starts_with("arm"));
    let budget = u64::from(board.budget.binary_mb);
    let message = format!(
        "{architecture} ({library}) for {}, {} KB of {}",
        board.triple,
        bytes / 1_000,
        budget * 1_000
    );
    if fits && bytes <= budget * 1_000_000 { Ok(message) } else { Err(message) }
}

fn memory(board: &Board, usable_kb: Option<u64>) -> Result {
    let mb = usable_kb.ok_or("this system does not tell")? / 1_024;
    let of = u64::from(board.ram_mb);
    let message = format!("{mb} MB usable of {of}");
    if mb * 100 >= of * USABLE_RAM_PERCENT { Ok(message) } else { Err(message) }
}

/// The machine's memory, without what the kernel keeps for itself.
fn usable_kb() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cores(board: &Board) -> Result {
    let cores = std::thread::available_parallelism().map_err(|error| error.to_string())?;
    let message = format!("{cores} of {}", board.cores);
    let is_enough = u32::try_from(cores.get()).is_ok_and(|cores| cores >= board.cores);
    if is_enough { Ok(message) } else { Err(message) }
}

fn resident(board: &Board, status: &Value) -> Result {
    let kb = status.get("rss_kb").and_then(Value::as_u64).ok_or("it does not tell")?;
    let budget = u64::from(board.budget.agent_memory_mb);
    let sensors = status.get("sensors").and_then(Value::as_u64).unwrap_or_default();
    let message = format!("{} KB of {} with {sensors} sensors", kb, budget * 1_024);
    if kb <= budget * 1_024 { Ok(message) } else { Err(message) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn zero() -> Board {
        board::named("raspberry-pi-zero-2w").unwrap()
    }

    fn config(lines: &str) -> AgentConfig {
        let needed = "gateway = 'g'\nstate_dir = 's'\nmqtt = { url = 'mqtt://127.0.0.1:1' }\n";
        AgentConfig::parse(&format!("{needed}{lines}")).unwrap()
    }

    #[test]
    fn a_config_that_asks_more_than_the_board_is_meant_for_fails() {
        assert!(check_config(&config("board = 'raspberry-pi-zero-2w'")).is_ok());
        assert!(check_config(&config("")).unwrap().contains("none named"));
        assert!(check_config(&config("board = 'abacus'")).unwrap().contains("not known"));
        let many = config("board = 'raspberry-pi-zero-2w'\ndays = { max_sensors = 1001 }");
        assert!(check_config(&many).unwrap_err().contains("1001 sensors of 1000"));
        let wearing = config("board = 'raspberry-pi-zero-2w'\nstore = { flash_mb_per_day = 151 }");
        assert!(check_config(&wearing).unwrap_err().contains("151 MB of flash"));
    }

    #[test]
    fn another_board_than_the_configs_can_be_asked_about() {
        let roomy = config("board = 'raspberry-pi-5'");
        assert!(asks(&roomy, &zero()).is_err(), "5,000 sensors");
        let unknown = check_all(&roomy, "abacus");
        assert!(unknown.len() == 1 && unknown[0].1.as_ref().unwrap_err().contains("known are"));
        assert!(check_all(&roomy, "raspberry-pi-zero-2w").len() >= 4);
    }

    #[test]
    fn a_program_must_be_the_boards_and_within_its_size() {
        let of = |bytes, architecture| verdict_of_program(&zero(), bytes, (architecture, "musl"));
        assert!(of(6_000_000, "aarch64").is_ok());
        assert!(of(6_000_001, "aarch64").is_err());
        assert!(of(5_000_000, "x86_64").is_err());
        let bone = board::named("beaglebone-black").unwrap();
        assert!(verdict_of_program(&bone, 5_000_000, ("arm", "gnu")).is_ok());
    }

    #[test]
    fn memory_is_held_against_the_boards() {
        assert!(memory(&zero(), Some(430 * 1_024)).is_ok(), "the kernel keeps some of 512");
        assert!(memory(&zero(), Some(240 * 1_024)).is_err());
        assert!(memory(&zero(), None).is_err());
        assert!(resident(&zero(), &json!({ "rss_kb": 16_384, "sensors": 9 })).is_ok());
        assert!(resident(&zero(), &json!({ "rss_kb": 16_385 })).is_err());
        assert!(resident(&zero(), &json!({})).is_err());
    }
}
