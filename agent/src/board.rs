//! The boards that this build knows: one file of data each in `boards/`, embedded.

pub use daywise_core::board::{Board, Budget, Flash, Service, UNKNOWN};

include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// The board of that name, if this build knows it.
#[must_use]
pub fn named(name: &str) -> Option<Board> {
    all().find(|board| board.name == name)
}

/// The names of all of them.
pub fn names() -> impl Iterator<Item = String> {
    all().map(|board| board.name)
}

fn all() -> impl Iterator<Item = Board> {
    // A test reads every one.
    FILES.iter().filter_map(|text| toml::from_str(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_file_loads_and_is_found_by_its_name() {
        assert!(FILES.len() >= 8, "{} boards", FILES.len());
        for text in FILES {
            let board: Board = toml::from_str(text).unwrap();
            assert_eq!(board.check(), Ok(()), "{}", board.name);
            assert_eq!(named(&board.name), Some(board));
        }
    }

    #[test]
    fn boards_are_found_by_name() {
        let zero = named("raspberry-pi-zero-2w").unwrap();
        assert_eq!((zero.flash, zero.budget.flash_writes_mb_per_day), (Flash::Sd, 150));
        assert_eq!(named("abacus"), None);
        assert_eq!(named(""), None);
    }
}
