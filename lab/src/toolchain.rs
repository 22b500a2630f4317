// SPDX-License-Identifier: MIT OR Apache-2.0

//! The compilers a kernel with Rust needs: which of the installed ones to use, and what is fetched
//! into the cache when the machine has none: the sources of `core`, and programs written in Rust.

mod built;
mod machine;
mod rust_src;
mod version;

pub use built::{ensure_bindgen, ensure_mdbook};
pub use machine::Machine;
pub use rust_src::ensure_rust_src;
pub use version::Version;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::command::Cmd;

/// The oldest LLVM that Linux 7.3 can be built with, and the newest that was heard of.
pub const LLVM: std::ops::RangeInclusive<u32> = 17..=22;

/// The LLVM tools that kbuild calls besides clang.
pub const LLVM_TOOLS: &[&str] = &[
    "llvm-ar",
    "llvm-link",
    "llvm-nm",
    "llvm-objcopy",
    "llvm-objdump",
    "llvm-readelf",
    "llvm-strip",
];

/// One LLVM, all of whose tools carry the same suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// What follows every tool's name: `-19`, or nothing.
    pub llvm_suffix: String,
    /// The version of its clang.
    pub clang: Version,
    /// The directory of its libclang, for bindgen's `LIBCLANG_PATH`.
    pub libclang: Option<PathBuf>,
}

impl Toolchain {
    /// The newest complete LLVM on this machine.
    pub fn find() -> Option<Self> {
        Self::find_on(&Machine::here())
    }

    /// The newest complete LLVM on the given machine.
    pub fn find_on(machine: &Machine) -> Option<Self> {
        Self::candidates(machine)
            .into_iter()
            .find(|candidate| candidate.is_complete(machine))
    }

    /// Every supported clang, newest first, whether or not the rest of its LLVM is there.
    pub(crate) fn candidates(machine: &Machine) -> Vec<Self> {
        let suffixes = LLVM
            .rev()
            .map(|major| format!("-{major}"))
            .chain([String::new()]);
        let mut found: Vec<_> = suffixes
            .filter_map(|suffix| {
                let clang = machine.version(&format!("clang{suffix}"), &["--version"])?;
                let libclang = machine.libclang(&suffix, clang.major);
                LLVM.contains(&clang.major).then_some(Self {
                    llvm_suffix: suffix,
                    clang,
                    libclang,
                })
            })
            .collect();
        // Stable: of one version, the name with the suffix stays before the plain one.
        found.sort_by_key(|candidate| std::cmp::Reverse(candidate.clang));
        found
    }

    fn is_complete(&self, machine: &Machine) -> bool {
        let has = |tool: &str| machine.find(&self.tool(tool)).is_some();
        self.libclang.is_some() && has("ld.lld") && LLVM_TOOLS.iter().all(|tool| has(tool))
    }

    /// The value of make's `LLVM=`.
    pub fn make_llvm(&self) -> &str {
        if self.llvm_suffix.is_empty() {
            "1"
        } else {
            &self.llvm_suffix
        }
    }

    /// The full name of one of its tools.
    pub fn tool(&self, name: &str) -> String {
        format!("{name}{}", self.llvm_suffix)
    }
}

/// The directory of the newest libclang that is where a supported clang has it, for `LIBCLANG_PATH`.
/// Without it, bindgen looks in places of its own.
pub fn newest_libclang(machine: &Machine) -> Option<PathBuf> {
    let mut found = Toolchain::candidates(machine).into_iter();
    found.find_map(|candidate| candidate.libclang)
}

/// The compiler that cargo and kbuild will call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rustc {
    /// The whole line, as the kernel records it in `CONFIG_RUSTC_VERSION_TEXT`.
    pub text: String,
    /// Its version.
    pub version: Version,
    /// The major version of the LLVM in it, unless its backend is another.
    pub llvm: Option<u32>,
}

/// Asks rustc for its version.
pub fn rustc_version() -> Result<Rustc> {
    let all = Cmd::new("rustc")
        .args(["--version", "--verbose"])
        .output()?;
    let text = all.lines().next().unwrap_or_default().to_owned();
    let version = Version::find(&text).with_context(|| format!("no version in `{text}`"))?;
    let llvm = llvm_of_rustc(&all);
    Ok(Rustc {
        text,
        version,
        llvm,
    })
}

/// The major version of the LLVM in rustc, by what it says of itself at length.
fn llvm_of_rustc(says: &str) -> Option<u32> {
    let line = says
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    Some(Version::find(line)?.major)
}

/// The LLVM to install where there is none. The one that rustc has in it, if there is a package: a kernel that
/// is built by both inlines C's inline functions into Rust. Else one that Debian 12 and 13 both have.
pub fn llvm_to_install(machine: &Machine) -> u32 {
    let says = machine.ask("rustc", &["--version", "--verbose"]);
    let own = says.as_deref().and_then(llvm_of_rustc);
    own.filter(|major| LLVM.contains(major))
        .filter(|major| {
            machine
                .ask("apt-cache", &["show", &format!("clang-{major}")])
                .is_some()
        })
        .unwrap_or(19)
}
