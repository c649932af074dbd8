//! Ports of loopback that nobody else is given.
//!
//! A port that the system says is free is so only until its next look: any connection and any
//! listener on port 0 may get it before the process it was meant for listens, or while that is
//! down between a kill and its restart. These lie below what the system gives away by itself,
//! and each process of tests has a block of them to itself for as long as it lives.

use std::{
    fs::File,
    net::TcpListener,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
};

/// Well above the ports of services, and below 32768, where Linux begins to give ports away
/// (others do at 49152).
const FIRST: u16 = 16_000;
const BLOCKS: u16 = 32;
/// More than a run of tests uses at a time; then it begins anew.
const BLOCK: u16 = 500;

/// A port that nobody listens on, and that this process does not give out again soon.
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_port() -> u16 {
    static OWN: OnceLock<Block> = OnceLock::new();
    OWN.get_or_init(Block::lease).next()
}

/// Ports that are this process's own while it holds the lock on a file.
#[derive(Debug)]
struct Block {
    first: u16,
    given: AtomicU16,
    _lease: File,
}

impl Block {
    /// The first that no other process has. The lock goes with the process, however it ends.
    fn lease() -> Self {
        // Each user's own, because nobody may write into another's.
        let user = rustix::process::getuid().as_raw();
        let folder = std::env::temp_dir().join(format!("daywise-test-ports-{user}"));
        std::fs::create_dir_all(&folder).unwrap();
        let lease = |block: u16| {
            let file = File::create(folder.join(block.to_string())).unwrap();
            let is_ours = file.try_lock().is_ok();
            is_ours.then_some((block, file))
        };
        let (block, file) = (0..BLOCKS).find_map(lease).expect("so many tests run at once?");
        Self { first: FIRST + block * BLOCK, given: AtomicU16::new(0), _lease: file }
    }

    fn next(&self) -> u16 {
        (0..BLOCK)
            .map(|_| self.first + self.given.fetch_add(1, Relaxed) % BLOCK)
            .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
            .expect("every port of the block is listened on")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ports_are_free_and_given_once() {
        let block = Block::lease();
        let taken = block.next();
        let listener = TcpListener::bind(("127.0.0.1", taken)).unwrap();
        let more: HashSet<u16> = (0..50).map(|_| block.next()).collect();
        assert_eq!(more.len(), 50, "none is given twice");
        assert!(!more.contains(&taken));
        block.given.store(0, Relaxed);
        assert_ne!(block.next(), taken, "it is listened on");
        drop(listener);
    }

    #[test]
    fn nobody_else_gets_a_leased_block() {
        let (ours, theirs) = (Block::lease(), Block::lease());
        assert_ne!(ours.first, theirs.first);
    }
}
