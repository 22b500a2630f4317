// SPDX-License-Identifier: MIT OR Apache-2.0

//! The modules of a project, built against one of the lab's kernels by the kernel's own build system.

use crate::Lab;
use crate::cache::Lock;
use crate::command::{Cmd, step};
use crate::kdir;
use crate::kernel::{self, Flavour, Kernel};
use crate::project::Project;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Builds every module of a project for a kernel, and gives the directory that they are in, as the
/// kernel takes them.
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
    make(lab, tools, kernel, project, &output)?
        .arg("modules")
        .run()
        .context("building the modules")?;
    complete(project, &output)?;
    match kernel.flavour {
        Flavour::Release | Flavour::Debug => Ok(output),
        Flavour::Distro => sign(kernel, &output),
    }
}

/// What can be had beside a project's modules, under the same names.
#[derive(Clone, Copy, Debug)]
pub enum Variant {
    /// The same in C.
    Twins,
    /// The same, which tell which of their code was reached (KCOV).
    Telling,
}

impl Variant {
    /// What they are called, and what make is told.
    fn parts(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Twins => ("twins", &["TWIN=1", "W=1", "KCFLAGS=-Werror"]),
            Self::Telling => ("telling modules", &["KCOV_INSTRUMENT=y"]),
        }
    }
}

/// Builds a variant of a project's modules for a kernel, and gives the directory that they are in.
pub fn variant(
    lab: &Lab,
    tools: &kernel::Tools,
    kernel: &Kernel,
    project: &Project,
    variant: Variant,
) -> Result<PathBuf> {
    let (name, arguments) = variant.parts();
    let (flavour, key) = (kernel.flavour, &kernel.key);
    let directory = format!("{}-{flavour}-{key}", name.replace(' ', "-"));
    let output = project.output.join(directory);
    let _lock = claim(lab, &output)?;
    let _step = step(&format!("building the {name} for the {flavour} kernel"));
    make(lab, tools, kernel, project, &output)?
        .arg("modules")
        .args(arguments)
        .run()
        .with_context(|| format!("building the {name}"))?;
    Ok(output)
}

/// Signs the modules built in `output`, as a distribution's user does, and gives the directory that they are
/// in. The debug information that they are made with, for their types, is left out: no module may change
/// after it is signed.
fn sign(kernel: &Kernel, output: &Path) -> Result<PathBuf> {
    let signed = output.join("signed");
    std::fs::create_dir_all(&signed)?;
    let key = kernel.signing_key();
    for module in built(output)? {
        let name = module.file_name().unwrap_or_default();
        // Whoever reads the signed modules meanwhile finds the old one or the new one.
        let [stripped, new] = ["stripped", "new"].map(|name| signed.join(name));
        Cmd::new("strip")
            .args(["--strip-debug", "-o"])
            .args([&stripped, &module])
            .run()?;
        Cmd::new(kernel.build_tree().join("scripts/sign-file"))
            .arg("sha512")
            .args([&key, &key, &stripped, &new])
            .run()?;
        std::fs::rename(new, signed.join(name))?;
    }
    std::fs::remove_file(signed.join("stripped"))?;
    Ok(signed)
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

/// Sees to it that the last build in `output` made every module of the project. What make does not know, it
/// passes over; and what an earlier build made is still there.
pub fn complete(project: &Project, output: &Path) -> Result<()> {
    let built = built(output)?;
    for name in project.gates.iter().filter_map(|gate| gate.module.as_ref()) {
        let file = format!("{name}.ko");
        if !built.iter().any(|path| path.ends_with(&file)) {
            let kbuild = project.root.join("Kbuild");
            bail!(
                "{} makes no {file}: look there how that is spelt",
                kbuild.display()
            );
        }
    }
    Ok(())
}

/// Lints every module and the kernel library; a warning is an error. In callgate's own checkout, where nothing
/// of the library is left out, builds its documentation as well.
pub fn lint(lab: &Lab, tools: &kernel::Tools, kernel: &Kernel, project: &Project) -> Result<()> {
    // Elsewhere than the modules: objects that clippy made are up to date, too.
    let output = project.output.join(format!("lint-{}", kernel.key));
    let _lock = claim(lab, &output)?;
    let _step = step("linting the kernel side");
    let whole = project.root == lab.source;
    make(lab, tools, kernel, project, &output)?
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
    lab: &Lab,
    tools: &kernel::Tools,
    kernel: &Kernel,
    project: &Project,
    output: &Path,
) -> Result<Cmd<'static>> {
    let make = match kernel.flavour {
        Flavour::Release | Flavour::Debug => tools
            .make(kernel.flavour, &kernel.build_tree())
            .arg(format!("M={}", project.root.display()))
            .arg(format!("MO={}", output.display())),
        // By no more than what is known of anybody's kernel.
        Flavour::Distro => {
            kdir::Ready::find(lab, &kernel.build_tree())?.make(&project.root, output)
        }
    };
    Ok(make.log(project.log_file(&format!("modules-{}", kernel.flavour))))
}
