//! What a target needs to be linked and run here: all that is not in the boards' files.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use daywise_core::board::Board;

use crate::system;

/// The architecture of this machine.
const NATIVE: &str = std::env::consts::ARCH;

/// What links a target's programs where they are not this machine's, and runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Toolchain {
    triple: &'static str,
    /// Debian's name for the architecture whose package it goes into; none: it is given away as a
    /// tarball only.
    debian: Option<&'static str>,
    linker: Linker,
    /// QEMU and what it is told.
    emulator: &'static [&'static str],
    /// For the compiler, beyond what it does for the target anyway.
    flags: &'static [&'static str],
    standard_library: StandardLibrary,
}

/// What links programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Linker {
    /// Rust's own, with the C library that comes with the standard library: nothing of the agent is
    /// written in C.
    Rust,
    /// Debian's cross compiler, and the C library of its own package.
    Cross(CrossCompiler),
}

/// One of Debian's cross compilers, all of which are named alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CrossCompiler {
    /// Debian's word for what it compiles for, which its program and folder are named after.
    machine: &'static str,
    /// The architecture whose C library that is.
    library: &'static str,
}

impl CrossCompiler {
    fn program(self) -> String {
        format!("{}-gcc", self.machine)
    }

    /// Files that must be here, and the packages that have them: the compiler recommends its C
    /// library only, whose first file to be linked is looked for.
    fn needs(self) -> [(String, String); 2] {
        let Self { machine, library } = self;
        [
            (self.program(), format!("gcc-{}", machine.replace('_', "-"))),
            (format!("/usr/{machine}/lib/crt1.o"), format!("libc6-dev-{library}-cross")),
        ]
    }
}

/// Where the standard library is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StandardLibrary {
    /// `rustup target add`
    Built,
    /// It is built along: Rust gives away none for the target.
    Sources,
}

const fn cross(machine: &'static str, library: &'static str) -> Linker {
    Linker::Cross(CrossCompiler { machine, library })
}

const TOOLCHAINS: [Toolchain; 6] = [
    Toolchain {
        triple: "x86_64-unknown-linux-gnu",
        debian: Some("amd64"),
        linker: cross("x86_64-linux-gnu", "amd64"),
        emulator: &["qemu-x86_64-static", "-L", "/usr/x86_64-linux-gnu"],
        flags: &[],
        standard_library: StandardLibrary::Built,
    },
    Toolchain {
        triple: "aarch64-unknown-linux-musl",
        debian: Some("arm64"),
        linker: Linker::Rust,
        emulator: &["qemu-aarch64-static"],
        flags: &[],
        standard_library: StandardLibrary::Built,
    },
    // No board's: what the 64-bit ARM package is on this machine, to be measured.
    Toolchain {
        triple: "x86_64-unknown-linux-musl",
        debian: None,
        linker: Linker::Rust,
        emulator: &["qemu-x86_64-static"],
        flags: &[],
        standard_library: StandardLibrary::Built,
    },
    Toolchain {
        triple: "aarch64-unknown-linux-gnu",
        // Of two C libraries for one architecture the static one runs everywhere.
        debian: None,
        linker: cross("aarch64-linux-gnu", "arm64"),
        emulator: &["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"],
        flags: &[],
        standard_library: StandardLibrary::Built,
    },
    Toolchain {
        triple: "armv7-unknown-linux-gnueabihf",
        debian: Some("armhf"),
        linker: cross("arm-linux-gnueabihf", "armhf"),
        emulator: &["qemu-arm-static", "-L", "/usr/arm-linux-gnueabihf"],
        flags: &[],
        standard_library: StandardLibrary::Built,
    },
    // ARMv6. Debian's C library for hard floats is ARMv7, that for soft floats is ARMv5: static,
    // it needs nothing of the board's system, and the floating-point unit is used all the same.
    Toolchain {
        triple: "arm-unknown-linux-gnueabi",
        debian: None,
        linker: cross("arm-linux-gnueabi", "armel"),
        // No processor that could do more.
        emulator: &["qemu-arm-static", "-cpu", "arm1176"],
        flags: &["-Ctarget-feature=+crt-static,+vfp2"],
        standard_library: StandardLibrary::Sources,
    },
];

/// A target of some boards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) triple: String,
    /// Of the smallest of its boards' budgets for the program.
    pub(crate) budget_bytes: u64,
    toolchain: Toolchain,
}

impl Target {
    /// The target of those boards.
    pub(crate) fn new(triple: &str, boards: &[Board]) -> anyhow::Result<Self> {
        let budget_mb = boards.iter().map(|board| board.budget.binary_mb).min();
        let budget_mb = budget_mb.with_context(|| format!("no board names {triple}"))?;
        let toolchain = TOOLCHAINS.iter().find(|toolchain| toolchain.triple == triple);
        let toolchain = toolchain
            .with_context(|| format!("{triple}: how to link and run it is not known here"))?;
        let budget_bytes = u64::from(budget_mb) * 1_000_000;
        Ok(Self { triple: triple.into(), budget_bytes, toolchain: *toolchain })
    }

    /// Debian's name for the architecture whose package holds it, if one does.
    pub(crate) fn debian(&self) -> Option<&'static str> {
        self.toolchain.debian
    }

    /// The Debian packages that are missing here.
    pub(crate) fn missing_packages(&self) -> impl Iterator<Item = String> {
        let mut needs = Vec::new();
        if !self.is_native() {
            let emulator = self.toolchain.emulator.first();
            needs.extend(emulator.map(|&qemu| (qemu.to_owned(), "qemu-user-static".to_owned())));
            if let Linker::Cross(compiler) = self.toolchain.linker {
                needs.extend(compiler.needs());
            }
        }
        let is_there = |what: &str| match what.starts_with('/') {
            true => Path::new(what).exists(),
            false => system::find(what).is_some(),
        };
        needs.into_iter().filter(move |(what, _)| !is_there(what)).map(|(_, package)| package)
    }

    /// Gets its standard library, or what it is built from.
    pub(crate) fn add_standard_library(&self) -> anyhow::Result<()> {
        match self.toolchain.standard_library {
            StandardLibrary::Built => system::add_target(&self.triple).map(drop),
            StandardLibrary::Sources => system::add_library_sources(),
        }
    }

    /// What cargo must be told before its subcommand.
    pub(super) fn cargo_arguments(&self) -> &'static [&'static str] {
        match self.toolchain.standard_library {
            StandardLibrary::Built => &[],
            StandardLibrary::Sources => &["-Zbuild-std"],
        }
    }

    /// What the compiler must be told.
    pub(super) fn compiler_flags(&self) -> &'static [&'static str] {
        self.toolchain.flags
    }

    /// What cargo must know of it.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let name = self.triple.to_uppercase().replace('-', "_");
        let of_target = |what: &str| format!("CARGO_TARGET_{name}_{what}");
        let mut environment = Vec::new();
        match self.toolchain.linker {
            Linker::Rust => environment.push((of_target("LINKER"), "rust-lld".to_owned())),
            Linker::Cross(compiler) if !self.is_native() => {
                environment.push((of_target("LINKER"), compiler.program()));
            }
            Linker::Cross(_) => {}
        }
        if !self.is_native() {
            environment.push((of_target("RUNNER"), self.toolchain.emulator.join(" ")));
        }
        if !self.toolchain.flags.is_empty() {
            environment.push((of_target("RUSTFLAGS"), self.toolchain.flags.join(" ")));
        }
        if self.toolchain.standard_library == StandardLibrary::Sources {
            // Cargo's word for what only a nightly compiler is trusted with.
            environment.push(("RUSTC_BOOTSTRAP".to_owned(), "1".to_owned()));
        }
        environment
    }

    /// What a program of this target is started with here: itself, or QEMU.
    pub(super) fn command(&self, program: &Path) -> Vec<String> {
        let emulator: &[&str] = if self.is_native() { &[] } else { self.toolchain.emulator };
        let program = program.display().to_string();
        emulator.iter().map(|word| (*word).to_owned()).chain([program]).collect()
    }

    /// Whether programs of this target run here without QEMU.
    pub(crate) fn is_native(&self) -> bool {
        self.triple.split('-').next() == Some(NATIVE)
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
    fn cross_compilers_are_named_as_debian_does() {
        let named = |linker, program: &str, packages: [&str; 2]| {
            let Linker::Cross(compiler) = linker else { panic!("{linker:?}") };
            assert_eq!(compiler.program(), program);
            assert_eq!(compiler.needs().map(|(_, package)| package), packages);
        };
        let packages = ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"];
        named(TOOLCHAINS[0].linker, "x86_64-linux-gnu-gcc", packages);
        let packages = ["gcc-arm-linux-gnueabi", "libc6-dev-armel-cross"];
        named(TOOLCHAINS[5].linker, "arm-linux-gnueabi-gcc", packages);
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
        let old = of("arm-unknown-linux-gnueabi");
        assert!(old.contains(&pair("RUSTC_BOOTSTRAP", "1")), "{old:?}");
        assert!(old[2].0.ends_with("_RUSTFLAGS") && old[2].1.contains("+crt-static"), "{old:?}");
        let gnu = of("aarch64-unknown-linux-gnu");
        assert!(gnu[1].1.ends_with("-L /usr/aarch64-linux-gnu"), "{gnu:?}");
        assert!(Target::new("riscv64gc-unknown-linux-gnu", &boards).is_err());
        assert!(Target::new("thumbv7em-none-eabihf", &boards).is_err());
    }
}
