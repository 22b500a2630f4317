// SPDX-License-Identifier: MIT OR Apache-2.0

//! The modules of a project, built against one of the lab's kernels by the kernel's own build system.

use crate::Lab;
use crate::cache::Lock;
use crate::command::{Cmd, step};
use crate::kernel::{self, Kernel};
use crate::project::Project;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Builds every module of a project for a kernel, and gives the directory that they are in.
pub fn build(
    lab: &Lab,
    tools: &kernel::Tools,
    kernel: &Kernel,
    project: &Project,
) -> Result<PathBuf> {
    let output = directory(project, kernel);
    let _lock = claim(lab, &output)?;
    let _step = step(&format!(
        "building the modules for the {} kernel",
        kernel.flavour
    ));
    make(tools, kernel, project, &output)
        .arg("modules")
        .run()
        .context("building the modules")?;
    Ok(output)
}

/// The modules that the last build in `output` made.
pub fn built(output: &Path) -> Result<Vec<PathBuf>> {
    let order = output.join("modules.order");
    let order =
        std::fs::read_to_string(&order).with_context(|| format!("reading {}", order.display()))?;
    let modules = order
        .lines()
        .map(|object| output.join(object).with_extension("ko"));
    Ok(modules.collect())
}

/// Lints every module and the kernel library; a warning is an error. In callgate's own checkout, where nothing
/// of the library is left out, builds its documentation as well.
pub fn lint(lab: &Lab, tools: &kernel::Tools, kernel: &Kernel, project: &Project) -> Result<()> {
    // Elsewhere than the modules: objects that clippy made are up to date, too.
    let output = project.output.join(format!("lint-{}", kernel.key));
    let _lock = claim(lab, &output)?;
    let _step = step("linting the kernel side");
    let whole = project.root == lab.source;
    make(tools, kernel, project, &output)
        .args(["modules", "CLIPPY=1", "KRUSTFLAGS=--deny=warnings"])
        .args(whole.then_some("DOC=1"))
        .run()
        .context("linting the kernel side")
}

/// Where the modules for a kernel are built.
pub fn directory(project: &Project, kernel: &Kernel) -> PathBuf {
    project
        .output
        .join(format!("modules-{}-{}", kernel.flavour, kernel.key))
}

/// Makes a directory to build in and keeps other runs out of it.
pub fn claim(lab: &Lab, output: &Path) -> Result<Lock> {
    std::fs::create_dir_all(output).context("making a directory to build in")?;
    lab.cache.lock(&format!("make{}", output.display()))
}

/// The make command for everything in the project's Kbuild file.
pub fn make(
    tools: &kernel::Tools,
    kernel: &Kernel,
    project: &Project,
    output: &Path,
) -> Cmd<'static> {
    tools
        .make(&kernel.build_tree())
        .arg(format!("M={}", project.root.display()))
        .arg(format!("MO={}", output.display()))
        .log(project.log_file(&format!("modules-{}", kernel.flavour)))
}
