// SPDX-License-Identifier: MIT OR Apache-2.0

//! bindgen, which turns the kernel's C headers into Rust.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::command::{Cmd, step};

use super::{Machine, Version};

/// The version that is installed where the machine has none of its series.
const VERSION: Version = Version::new(0, 72, 1);

/// How many packages cargo compiles for it: for the estimate of time only.
const CRATES: u64 = 46;

/// A bindgen of the 0.72 series: the one on `PATH`, else one built into the cache.
pub fn ensure_bindgen(cache: &Cache) -> Result<PathBuf> {
    if let Some(found) = Machine::here().find("bindgen").filter(|found| fits(found)) {
        return Ok(found);
    }
    let place = format!("tools/bindgen-{VERSION}");
    let kept = cache.path(&place).join("bin/bindgen");
    if fits(&kept) {
        return Ok(kept);
    }
    let _lock = cache.lock("bindgen")?;
    if fits(&kept) {
        return Ok(kept);
    }
    let scratch = cache.scratch("bindgen")?;
    let target = cache.scratch("bindgen-target")?;
    let progress = step(&format!("building bindgen {VERSION} into the cache"));
    let mut compiled = 0;
    Cmd::new("cargo")
        .args([
            "install",
            "--locked",
            "--no-track",
            "bindgen-cli",
            "--version",
        ])
        .arg(VERSION.to_string())
        .arg("--root")
        .arg(scratch.path())
        .env("CARGO_TARGET_DIR", target.path())
        // Outside of any workspace, whose configuration is not meant for it.
        .dir(target.path())
        .log(cache.log_file("bindgen"))
        .on_line(|line| {
            if line.trim_start().starts_with("Compiling ") {
                compiled += 1;
                progress.at(compiled.min(CRATES), CRATES);
            }
        })
        .run()
        .context("building bindgen with cargo install")?;
    drop(progress);
    cache.replace(scratch, &place)?;
    Ok(kept)
}

fn fits(bindgen: &Path) -> bool {
    let version = || Version::find(&Cmd::new(bindgen).arg("--version").output().ok()?);
    bindgen.is_file()
        && version().is_some_and(|v| (v.major, v.minor) == (VERSION.major, VERSION.minor))
}
