//! Which version of MQTT to speak.

use super::{link::LinkError, packet::Version};
use crate::config::Protocol;

/// A version that worked fails this often before the other is tried: a broker that is being
/// restarted closes a connection or two as well.
const PATIENCE: u32 = 3;

/// What a failed connection says about the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// The broker said that it does not speak it.
    Version,
    /// Brokers that do not speak it do that too: close, or say what cannot be understood.
    Perhaps,
    /// Nothing.
    Other,
}

/// Tries one version and the other until one works, and stays with it while it does.
#[derive(Debug)]
pub(super) struct Choice {
    is_free: bool,
    version: Version,
    works: bool,
    doubts: u32,
    /// Changes since the last connection.
    changes: u32,
}

impl Choice {
    pub(super) fn new(protocol: Protocol) -> Self {
        let version = match protocol {
            Protocol::Auto | Protocol::V5 => Version::V5,
            Protocol::V311 => Version::V311,
        };
        Self { is_free: protocol == Protocol::Auto, version, works: false, doubts: 0, changes: 0 }
    }

    /// The version to try next.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn handle_connected(&mut self) {
        self.works = true;
        self.doubts = 0;
        self.changes = 0;
    }

    /// Whether the version to try next has not failed since the last connection: then there is
    /// nothing to wait for.
    pub(super) fn is_untried(&self) -> bool {
        self.changes == 1
    }

    /// There was no connection; says whether the other version is next.
    pub(super) fn handle_failure(&mut self, error: &LinkError) -> bool {
        let blame = match error {
            LinkError::Refused { for_version: true, .. } => Blame::Version,
            LinkError::NoAnswer
            | LinkError::Lost(_)
            | LinkError::Closed
            | LinkError::Ended(_)
            | LinkError::Malformed(_) => Blame::Perhaps,
            LinkError::Refused { for_version: false, .. }
            | LinkError::Unreachable(_)
            | LinkError::Unsendable(_)
            | LinkError::Silent => Blame::Other,
        };
        self.doubts += u32::from(blame == Blame::Perhaps);
        let is_other_next = match blame {
            Blame::Version => true,
            Blame::Perhaps => !self.works || self.doubts >= PATIENCE,
            Blame::Other => false,
        };
        if is_other_next && self.is_free {
            self.version = match self.version {
                Version::V311 => Version::V5,
                Version::V5 => Version::V311,
            };
            self.works = false;
            self.doubts = 0;
            self.changes = self.changes.saturating_add(1);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(for_version: bool) -> LinkError {
        LinkError::Refused { reason: "no".into(), for_version, for_will: false }
    }

    #[test]
    fn versions_take_turns_until_one_works_and_that_one_stays() {
        let mut choice = Choice::new(Protocol::Auto);
        assert_eq!(choice.version(), Version::V5);
        assert!(choice.handle_failure(&LinkError::Closed));
        assert_eq!((choice.version(), choice.is_untried()), (Version::V311, true));
        assert!(choice.handle_failure(&LinkError::NoAnswer));
        assert_eq!((choice.version(), choice.is_untried()), (Version::V5, false));
        assert!(choice.handle_failure(&refused(true)));
        assert!(!choice.is_untried());
        assert_eq!(choice.version(), Version::V311);
        choice.handle_connected();
        for _ in 1..PATIENCE {
            assert!(!choice.handle_failure(&LinkError::Closed), "a restart is no reason");
        }
        choice.handle_connected();
        assert!(!choice.handle_failure(&LinkError::Closed), "doubts end with a connection");
        assert_eq!(choice.version(), Version::V311);
    }

    #[test]
    fn a_version_that_has_ceased_to_work_is_given_up() {
        let mut choice = Choice::new(Protocol::Auto);
        choice.handle_connected();
        for _ in 1..PATIENCE {
            assert!(!choice.handle_failure(&LinkError::Closed));
        }
        assert!(choice.handle_failure(&LinkError::Closed));
        assert_eq!(choice.version(), Version::V311);
        choice.handle_connected();
        assert!(choice.handle_failure(&refused(true)), "the broker said so");
    }

    #[test]
    fn what_says_nothing_about_the_version_changes_nothing() {
        let mut choice = Choice::new(Protocol::Auto);
        let away = LinkError::Unreachable(std::io::ErrorKind::ConnectionRefused.into());
        for _ in 0..10 {
            assert!(!choice.handle_failure(&away));
            assert!(!choice.handle_failure(&refused(false)));
        }
        assert_eq!(choice.version(), Version::V5);
    }

    #[test]
    fn a_version_that_is_set_is_kept() {
        for (protocol, version) in [(Protocol::V5, Version::V5), (Protocol::V311, Version::V311)] {
            let mut choice = Choice::new(protocol);
            assert!(!choice.handle_failure(&refused(true)));
            assert_eq!(choice.version(), version);
        }
    }
}
