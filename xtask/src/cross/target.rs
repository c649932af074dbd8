//! What a target needs to be linked and run here: all that is not in the boards' files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use daywise_core::board::Board;

use crate::system;

/// The architecture of this machine.
const NATIVE: &str = std::env::consts::ARCH;

/// A target of some boards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) triple: String,
    /// Of the smallest of its boards' budgets for the program.
    pub(crate) budget_bytes: u64,
    /// Debian's name for its architecture.
    pub(crate) debian: &'static str,
    /// The linker; none where the compiler's usual one does.
    linker: Option<&'static str>,
    /// QEMU and its arguments; empty where programs run as they are.
    runner: Vec<String>,
    /// What is not everywhere: a program, and the Debian package that has it.
    needs: Vec<(&'static str, &'static str)>,
}

/// What Debian calls an architecture, and what links and runs its programs elsewhere.
#[derive(Clone, Copy, Debug)]
struct Architecture {
    name: &'static str,
    debian: &'static str,
    linker: &'static str,
    compiler_package: &'static str,
    emulator: &'static str,
    /// Where its C library is.
    libraries: &'static str,
}

const ARCHITECTURES: [Architecture; 3] = [
    Architecture {
        name: "x86_64",
        debian: "amd64",
        linker: "x86_64-linux-gnu-gcc",
        compiler_package: "gcc-x86-64-linux-gnu",
        emulator: "qemu-x86_64-static",
        libraries: "/usr/x86_64-linux-gnu",
    },
    Architecture {
        name: "aarch64",
        debian: "arm64",
        linker: "aarch64-linux-gnu-gcc",
        compiler_package: "gcc-aarch64-linux-gnu",
        emulator: "qemu-aarch64-static",
        libraries: "/usr/aarch64-linux-gnu",
    },
    Architecture {
        name: "armv7",
        debian: "armhf",
        linker: "arm-linux-gnueabihf-gcc",
        compiler_package: "gcc-arm-linux-gnueabihf",
        emulator: "qemu-arm-static",
        libraries: "/usr/arm-linux-gnueabihf",
    },
];

impl Target {
    /// The target of those boards.
    pub(crate) fn new(triple: &str, boards: &[Board]) -> anyhow::Result<Self> {
        let budget_mb = boards.iter().map(|board| board.budget.binary_mb).min();
        let budget_mb = budget_mb.with_context(|| format!("no board names {triple}"))?;
        let [name, _, "linux", environment] = *triple.split('-').collect::<Vec<_>>() else {
            bail!("{triple} is not a target of Linux that is known here");
        };
        let architecture = ARCHITECTURES.iter().find(|architecture| architecture.name == name);
        let architecture = architecture
            .with_context(|| format!("{triple}: how to link and run it is not known here"))?;
        let (is_static, is_native) = (environment.starts_with("musl"), name == NATIVE);
        let mut needs = Vec::new();
        let mut linker = None;
        if is_static {
            // Nothing of the agent is written in C, so that Rust's own linker and musl do.
            linker = Some("rust-lld");
        } else if !is_native {
            linker = Some(architecture.linker);
            needs.push((architecture.linker, architecture.compiler_package));
        }
        let mut runner = Vec::new();
        if !is_native {
            needs.push((architecture.emulator, "qemu-user-static"));
            runner.push(architecture.emulator.to_owned());
        }
        if !is_native && !is_static {
            runner.extend(["-L".to_owned(), architecture.libraries.to_owned()]);
        }
        let budget_bytes = u64::from(budget_mb) * 1_000_000;
        let debian = architecture.debian;
        Ok(Self { triple: triple.into(), budget_bytes, debian, linker, runner, needs })
    }

    /// The Debian packages that are missing here.
    pub(crate) fn missing_packages(&self) -> impl Iterator<Item = &'static str> {
        let missing = self.needs.iter().filter(|(program, _)| system::find(program).is_none());
        missing.map(|(_, package)| *package)
    }

    /// What cargo must know of it.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let name = self.triple.to_uppercase().replace('-', "_");
        let mut environment = Vec::new();
        if let Some(linker) = self.linker {
            environment.push((format!("CARGO_TARGET_{name}_LINKER"), linker.to_owned()));
        }
        if !self.runner.is_empty() {
            environment.push((format!("CARGO_TARGET_{name}_RUNNER"), self.runner.join(" ")));
        }
        environment
    }

    /// What a program of this target is started with here: itself, or QEMU.
    pub(super) fn command(&self, program: &Path) -> Vec<String> {
        let program = program.display().to_string();
        self.runner.iter().cloned().chain([program]).collect()
    }

    /// Whether programs of this target run here without QEMU.
    pub(crate) fn is_native(&self) -> bool {
        self.runner.is_empty()
    }

    /// Where cargo puts its programs, below the folder that it builds into.
    pub(super) fn folder(&self, target_dir: &Path, profile: &str) -> PathBuf {
        target_dir.join(&self.triple).join(profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boards;

    #[test]
    fn every_target_that_a_board_names_is_known() {
        for (triple, boards) in boards::by_triple().unwrap() {
            let target = Target::new(&triple, &boards).unwrap();
            let smallest = boards.iter().map(|b| b.budget.binary_mb).min().unwrap();
            assert_eq!(target.budget_bytes, u64::from(smallest) * 1_000_000);
        }
    }

    #[test]
    fn cargo_is_told_how_to_link_and_to_run() {
        let boards = boards::all().unwrap();
        let of = |triple| Target::new(triple, &boards[..1]).unwrap().environment();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        if NATIVE == "aarch64" {
            return;
        }
        assert_eq!(
            of("aarch64-unknown-linux-musl"),
            [
                pair("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld"),
                pair("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER", "qemu-aarch64-static"),
            ]
        );
        let gnu = of("aarch64-unknown-linux-gnu");
        assert!(gnu[1].1.ends_with("-L /usr/aarch64-linux-gnu"), "{gnu:?}");
        assert!(Target::new("riscv64gc-unknown-linux-gnu", &boards).is_err());
        assert!(Target::new("thumbv7em-none-eabihf", &boards).is_err());
    }
}
