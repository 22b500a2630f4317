// SPDX-License-Identifier: MIT OR Apache-2.0

//! The lab: from a bare machine to a judged run in a VM. It knows nothing of any one gate.
//!
//! Top down: [`run`] does what a command asks for, with a [`kernel`], the [`modules`] and the
//! [`userspace`] built for it, in a [`vm`] whose console [`splat`] reads and whose end [`verdict`]
//! judges. [`doctor`], [`fetch`] and [`toolchain`] see to it that all of that can be built.

#![forbid(unsafe_code)]

pub mod accel;
pub mod cache;
pub mod command;
pub mod doctor;
pub mod editor;
pub mod fetch;
pub mod initramfs;
pub mod kernel;
pub mod modules;
pub mod run;
pub mod splat;
pub mod toolchain;
pub mod userspace;
pub mod verdict;
pub mod vm;

use accel::Accel;
use cache::Cache;
use std::path::{Path, PathBuf};

/// What every step needs to know.
#[derive(Debug)]
pub struct Lab {
    /// Where everything is kept that is made once.
    pub cache: Cache,
    /// The checkout that modules and programs are built from.
    pub repository: PathBuf,
    /// A kernel tree of the user's, instead of a fetched one.
    pub kernel_source: Option<PathBuf>,
    /// How the VM's CPUs are run, instead of by what a probe boot finds.
    pub accel: Option<Accel>,
}

impl Lab {
    /// Where what is built from this checkout goes.
    pub fn output(&self) -> PathBuf {
        self.repository.join("target/callgate")
    }
}

/// The gates in a checkout: each folder below `gates` with a kernel side, with the first line of its
/// chapter behind the `# NAME: `.
pub fn gates(repository: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut gates = Vec::new();
    for entry in std::fs::read_dir(repository.join("gates"))? {
        let folder = entry?.path();
        if !folder.join("module.rs").exists() {
            continue;
        }
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let chapter = std::fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        let title = chapter
            .lines()
            .find_map(|line| line.strip_prefix("# "))
            .unwrap_or_default();
        let title = title.split_once(": ").map_or(title, |(_, title)| title);
        gates.push((name, title.to_owned()));
    }
    gates.sort();
    Ok(gates)
}
