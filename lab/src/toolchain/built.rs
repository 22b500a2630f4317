// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs in Rust that the lab needs, and builds itself where the machine has none that fits.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::command::{Cmd, step};

use super::{Machine, Version};

struct Program {
    command: &'static str,
    /// What cargo installs it from.
    package: &'static str,
    /// The version that is installed where the machine has none of its series.
    version: Version,
    /// The features that it is built with; `None` for those it has by default.
    features: Option<&'static str>,
    /// How many packages cargo compiles for it: for the estimate of time only.
    crates: u64,
}

/// Turns the kernel's C headers into Rust.
const BINDGEN: Program = Program {
    command: "bindgen",
    package: "bindgen-cli",
    version: Version::new(0, 72, 1),
    features: None,
    crates: 46,
};

/// Makes a book of Markdown.
const MDBOOK: Program = Program {
    command: "mdbook",
    package: "mdbook",
    version: Version::new(0, 5, 4),
    // Without a web server.
    features: Some("search"),
    crates: 123,
};

/// A bindgen of the 0.72 series: the one on `PATH`, else one built into the cache.
pub fn ensure_bindgen(cache: &Cache) -> Result<PathBuf> {
    BINDGEN.ensure(cache)
}

/// An mdBook of the 0.5 series: the one on `PATH`, else one built into the cache.
pub fn ensure_mdbook(cache: &Cache) -> Result<PathBuf> {
    MDBOOK.ensure(cache)
}

impl Program {
    fn ensure(&self, cache: &Cache) -> Result<PathBuf> {
        let Self {
            command,
            package,
            version,
            features,
            crates,
        } = *self;
        if let Some(found) = Machine::here()
            .find(command)
            .filter(|found| self.fits(found))
        {
            return Ok(found);
        }
        let place = format!("tools/{command}-{version}");
        let kept = cache.path(&place).join("bin").join(command);
        if self.fits(&kept) {
            return Ok(kept);
        }
        let _lock = cache.lock(command)?;
        if self.fits(&kept) {
            return Ok(kept);
        }
        let scratch = cache.scratch(command)?;
        let target = cache.scratch(&format!("{command}-target"))?;
        let progress = step(&format!("building {command} {version} into the cache"));
        let mut compiled = 0;
        let features = features.map(|features| ["--no-default-features", "--features", features]);
        Cmd::new("cargo")
            .args(["install", "--locked", "--no-track", package, "--version"])
            .arg(version.to_string())
            .args(features.iter().flatten())
            .arg("--root")
            .arg(scratch.path())
            .env("CARGO_TARGET_DIR", target.path())
            // Outside of any workspace, whose configuration is not meant for it.
            .dir(target.path())
            .log(cache.log_file(command))
            .on_line(|line| {
                if line.trim_start().starts_with("Compiling ") {
                    compiled += 1;
                    progress.at(compiled.min(crates), crates);
                }
            })
            .run()
            .with_context(|| format!("building {command} with cargo install"))?;
        drop(progress);
        cache.replace(scratch, &place)?;
        Ok(kept)
    }

    fn fits(&self, program: &Path) -> bool {
        let version = || Version::find(&Cmd::new(program).arg("--version").output().ok()?);
        program.is_file()
            && version()
                .is_some_and(|v| (v.major, v.minor) == (self.version.major, self.version.minor))
    }
}
