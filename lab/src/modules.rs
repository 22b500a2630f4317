// SPDX-License-Identifier: MIT OR Apache-2.0

//! The modules, built against one of the lab's kernels by the kernel's own build system.

use crate::Lab;
use crate::cache::Lock;
use crate::command::{Cmd, step};
use crate::kernel::{self, Kernel};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Builds every module of the checkout for a kernel, and gives the directory that they are in.
pub fn build(lab: &Lab, tools: &kernel::Tools, kernel: &Kernel) -> Result<PathBuf> {
    let output = directory(lab, kernel);
    let _lock = claim(lab, &output)?;
    let _step = step(&format!(
        "building the modules for the {} kernel",
        kernel.flavour
    ));
    make(lab, tools, kernel, &output)
        .arg("modules")
        .run()
        .context("building the modules")?;
    Ok(output)
}

/// Lints every module and the kernel library and builds the library's documentation; a warning is an
/// error.
pub fn lint(lab: &Lab, tools: &kernel::Tools, kernel: &Kernel) -> Result<()> {
    // Elsewhere than the modules: objects that clippy made are up to date, too.
    let output = lab.output().join(format!("lint-{}", kernel.key));
    let _lock = claim(lab, &output)?;
    let _step = step("linting the kernel side");
    make(lab, tools, kernel, &output)
        .args(["modules", "CLIPPY=1", "DOC=1", "KRUSTFLAGS=--deny=warnings"])
        .run()
        .context("linting the kernel side")
}

/// Where the modules for a kernel are built.
pub fn directory(lab: &Lab, kernel: &Kernel) -> PathBuf {
    lab.output()
        .join(format!("modules-{}-{}", kernel.flavour, kernel.key))
}

/// Makes a directory to build in and keeps other runs out of it.
pub fn claim(lab: &Lab, output: &Path) -> Result<Lock> {
    std::fs::create_dir_all(output).context("making a directory to build in")?;
    lab.cache.lock(&format!("make{}", output.display()))
}

/// The make command for everything in the checkout's Kbuild file.
pub fn make(lab: &Lab, tools: &kernel::Tools, kernel: &Kernel, output: &Path) -> Cmd<'static> {
    tools
        .make(&kernel.build_tree())
        .arg(format!("M={}", lab.repository.display()))
        .arg(format!("MO={}", output.display()))
        .log(lab.log_file(&format!("modules-{}", kernel.flavour)))
}
