// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernels: from config fragments to a bootable image and a tree that modules build against.
//!
//! A kernel is kept in the cache under a key made of everything that decides the result. The object
//! tree stays until the kernel is done, so that a build that was killed goes on where it stopped.

use crate::Lab;
use crate::command::{Cmd, note, step};
use crate::fetch::{self, Source};
use crate::patches;
use crate::toolchain::{self, Rustc, Toolchain};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

/// Changes whenever the steps in this file change what they make of the same inputs.
const RECIPE: u32 = 2;

/// The kernels that everything is proven on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Small and quick, without checks.
    Release,
    /// With every check that turns a silent mistake into a splat.
    Debug,
    /// Made as a distribution makes its own: by gcc, with versioned and signed modules.
    Distro,
}

impl Flavour {
    /// The config fragments it is made of, relative to the repository.
    fn fragments(self) -> &'static [&'static str] {
        match self {
            Flavour::Release => &["kernel/config/release.config"],
            Flavour::Debug => &["kernel/config/release.config", "kernel/config/debug.config"],
            Flavour::Distro => &[
                "kernel/config/release.config",
                "kernel/config/distro.config",
            ],
        }
    }

    /// How many lines make prints over a whole build: what progress is measured against.
    fn expected_lines(self) -> u64 {
        match self {
            Flavour::Release => 1700,
            Flavour::Debug => 1800,
            Flavour::Distro => 2090,
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::Release => "release",
            Flavour::Debug => "debug",
            Flavour::Distro => "distro",
        })
    }
}

/// A kernel that is ready.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which of them it is.
    pub flavour: Flavour,
    /// Its version, such as `7.3.4`.
    pub version: String,
    /// What decides the result, in short; the same key means the same kernel.
    pub key: String,
    /// Where its parts are.
    directory: PathBuf,
}

impl Kernel {
    /// The bootable image.
    pub fn image(&self) -> PathBuf {
        self.directory.join("bzImage")
    }

    /// The tree that modules are built against, as `/lib/modules/VERSION/build` is elsewhere.
    pub fn build_tree(&self) -> PathBuf {
        self.directory.join("build")
    }

    /// The key that the distribution's kernel knows, with its certificate. As a distribution keeps it to
    /// itself, it is not in the build tree.
    pub fn signing_key(&self) -> PathBuf {
        self.directory.join(SIGNING_KEY)
    }
}

const SIGNING_KEY: &str = "signing_key.pem";

/// The programs that kernels and modules are built with.
#[derive(Clone, Debug)]
pub struct Tools {
    llvm: Toolchain,
    rustc: Rustc,
    rust_src: PathBuf,
    bindgen: PathBuf,
}

impl Tools {
    /// Finds them, or brings into the cache what is missing and can be had without root.
    pub fn find(lab: &Lab) -> Result<Self> {
        Ok(Self {
            llvm: Toolchain::find().context("no complete LLVM; `callgate doctor` says more")?,
            rustc: toolchain::rustc_version()?,
            rust_src: toolchain::ensure_rust_src(&lab.cache)?,
            bindgen: toolchain::ensure_bindgen(&lab.cache)?,
        })
    }

    /// The make command for a kernel tree, with the compilers that kernels of this flavour are built with.
    pub fn make(&self, flavour: Flavour, tree: &Path) -> Cmd<'static> {
        let make = Cmd::new("make")
            .arg("-C")
            .arg(tree)
            .arg("ARCH=x86_64")
            .args(match flavour {
                Flavour::Release | Flavour::Debug => {
                    Some(format!("LLVM={}", self.llvm.make_llvm()))
                }
                Flavour::Distro => None,
            })
            .arg(format!("BINDGEN={}", self.bindgen.display()))
            .arg(format!(
                "-j{}",
                std::thread::available_parallelism().map_or(1, usize::from)
            ))
            .env("RUST_LIB_SRC", &self.rust_src)
            // The same kernel from the same inputs, whenever and by whom it is built.
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_USER", "callgate")
            .env("KBUILD_BUILD_HOST", "callgate")
            // Cargo's, where it runs us, is not the one for kernels.
            .env_remove("MAKEFLAGS")
            .env_remove("RUSTFLAGS");
        match &self.llvm.libclang {
            Some(directory) => make.env("LIBCLANG_PATH", directory),
            None => make,
        }
    }

    /// The compilers that decide what instructions a kernel of callgate's own is made of.
    pub fn compilers(&self) -> Vec<String> {
        vec![
            self.rustc.text.clone(),
            format!("clang {}", self.llvm.clang),
        ]
    }

    /// Whether clang understands what rustc makes for it: then C's inline functions can be inlined into Rust.
    fn inline_helpers(&self) -> bool {
        self.rustc.llvm == Some(self.llvm.clang.major)
    }

    /// What decides the code of a kernel of this flavour, beside its sources and rustc.
    fn identity(&self, flavour: Flavour) -> Result<String> {
        let says = |program: &str| Cmd::new(program).arg("--version").output();
        Ok(match flavour {
            Flavour::Release | Flavour::Debug => self.llvm.clang.to_string(),
            Flavour::Distro => says("gcc")? + &says("ld")? + &says("pahole")?,
        })
    }
}

/// Gives the kernels of these flavours, building those that the cache does not have.
pub fn ensure(lab: &Lab, tools: &Tools, flavours: &[Flavour]) -> Result<Vec<Kernel>> {
    let source = fetch::kernel_source(&lab.cache, lab.kernel_source.as_deref())?;
    let kernels = flavours
        .iter()
        .map(|&flavour| describe(lab, tools, flavour, &source))
        .collect::<Result<Vec<_>>>()?;
    if kernels.iter().all(|kernel| kernel.directory.exists()) {
        return Ok(kernels);
    }

    let missing = kernels
        .iter()
        .filter(|kernel| !kernel.directory.exists())
        .count();
    note(&format!(
        "callgate: {missing} kernel(s) to build, once: some 7 minutes each on 2 cores, and 4 GB of disk \
         meanwhile"
    ));
    let _lock = lab.cache.lock("kernels")?;
    let tree = patched(lab, &source)?;
    for kernel in &kernels {
        // Another run may have been faster.
        if !kernel.directory.exists() {
            build(lab, tools, kernel, &tree)?;
        }
    }
    // 1.8 GB that are unpacked again in seconds.
    fetch::discard(&lab.cache, &source)?;
    Ok(kernels)
}

fn describe(lab: &Lab, tools: &Tools, flavour: Flavour, source: &Source) -> Result<Kernel> {
    let mut key = Sha256::new();
    for part in [
        &RECIPE.to_string(),
        &source.identity,
        &tools.identity(flavour)?,
        &tools.rustc.text,
        &fragments(lab, tools, flavour)?,
        &patches::find(lab)?.1,
    ] {
        key.update(part);
        key.update([0]);
    }
    let key = hex(&key.finalize()[..6]);
    let directory = lab
        .cache
        .path("kernels")
        .join(format!("{flavour}-{}-{key}", source.version));
    Ok(Kernel {
        flavour,
        version: source.version.clone(),
        key,
        directory,
    })
}

/// The fragments of a flavour in one.
fn fragments(lab: &Lab, tools: &Tools, flavour: Flavour) -> Result<String> {
    let texts = flavour.fragments().iter().map(|fragment| {
        let path = lab.source.join(fragment);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    });
    let mut text = texts.collect::<Result<String>>()?;
    if flavour == Flavour::Release && tools.inline_helpers() {
        text.push_str("CONFIG_RUST_INLINE_HELPERS=y\n");
    }
    Ok(merged(&text))
}

/// The lines of fragments without their comments. A later line about an option takes the place of an earlier
/// one.
fn merged(fragments: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in fragments.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some((option, _)) = line.split_once('=') {
            lines.retain(|old| !old.starts_with(&format!("{option}=")));
            lines.push(format!("{line}\n"));
        }
    }
    lines.concat()
}

/// The unpacked source with our patches in it. The caller holds the lock under which kernels are built.
fn patched(lab: &Lab, source: &Source) -> Result<PathBuf> {
    let (paths, text) = patches::find(lab)?;
    let tree = fetch::unpacked(&lab.cache, source);
    let record = tree.join(".callgate-patches");
    if fs::read_to_string(&record).is_ok_and(|old| old == text) {
        return Ok(tree);
    }
    // If it is there, it has other patches, or half of these.
    fetch::discard(&lab.cache, source)?;
    fetch::unpack(&lab.cache, source)?;
    for path in paths {
        patches::apply(&path, &tree)
            .with_context(|| format!("applying {} to {}", path.display(), source.origin))?;
    }
    fs::write(&record, text)?;
    Ok(tree)
}

fn build(lab: &Lab, tools: &Tools, kernel: &Kernel, source: &Path) -> Result<()> {
    let Kernel {
        flavour, directory, ..
    } = kernel;
    let objects = lab.cache.path("objects");
    discard_others(&objects, directory)?;
    let objects = objects.join(directory.file_name().unwrap_or_default());
    fs::create_dir_all(&objects)?;
    let make = |log: &str| {
        tools
            .make(*flavour, source)
            .arg(format!("O={}", objects.display()))
            .log(lab.cache.log_file(&format!("{flavour}-{log}")))
    };

    configure(&fragments(lab, tools, *flavour)?, &objects, make("config"))?;
    let step = step(&format!(
        "building the {flavour} kernel (some 7 minutes on 2 cores)"
    ));
    let mut lines = 0;
    make("kernel")
        .args(["bzImage", "modules"])
        .on_line(|_| {
            lines += 1;
            step.at(lines, flavour.expected_lines());
        })
        .run()
        .with_context(|| format!("building the {flavour} kernel"))?;
    drop(step);

    let scratch = lab.cache.scratch("kernel")?;
    prune(*flavour, source, &objects, scratch.path(), make("prune"))?;
    lab.cache.publish(scratch, directory)?;
    fs::remove_dir_all(&objects).context("removing the object tree")
}

/// Removes object trees that no build will go on with: those of other kernels than this, left by
/// builds that were given up. The caller holds the lock under which kernels are built.
fn discard_others(objects: &Path, kernel: &Path) -> Result<()> {
    for entry in fs::read_dir(objects).into_iter().flatten().flatten() {
        if Some(entry.file_name().as_os_str()) != kernel.file_name() {
            fs::remove_dir_all(entry.path()).context("removing an old object tree")?;
        }
    }
    Ok(())
}

/// Makes the configuration, and sees to it that nothing that was asked for has been dropped.
fn configure(wanted: &str, objects: &Path, make: Cmd) -> Result<()> {
    let fragment = objects.join("callgate.config");
    // Rewriting an unchanged configuration would make a continued build start over.
    if fs::read_to_string(&fragment).is_ok_and(|old| old == wanted)
        && objects.join("include/config/auto.conf").exists()
    {
        return Ok(());
    }
    fs::write(&fragment, wanted)?;
    make.arg("allnoconfig")
        .env("KCONFIG_ALLCONFIG", &fragment)
        .run()
        .context("configuring the kernel")?;
    let dropped = dropped(wanted, &fs::read_to_string(objects.join(".config"))?);
    if !dropped.is_empty() {
        fs::remove_file(&fragment)?;
        bail!(
            "the kernel's configuration does not have what its fragments ask for: {}\n\
             Look at the options' dependencies in the kernel's Kconfig files, and mend \
             kernel/config.",
            dropped.join(", ")
        );
    }
    Ok(())
}

/// The lines of a fragment that do not hold in the finished configuration.
fn dropped<'a>(wanted: &'a str, config: &str) -> Vec<&'a str> {
    let holds = |line: &str| match line.strip_suffix("=n") {
        Some(option) => !config
            .lines()
            .any(|set| set.starts_with(&format!("{option}="))),
        None => config.lines().any(|set| set == line),
    };
    wanted.lines().filter(|line| !holds(line)).collect()
}

/// Takes from a built tree what boots, module builds and tests need: some 150 MB of its 2 GB.
///
/// The kernel's own script for that, the one that its Debian and RPM packages are made with, leaves
/// out what modules in Rust need; that is added.
fn prune(flavour: Flavour, source: &Path, objects: &Path, into: &Path, make: Cmd) -> Result<()> {
    let tree = into.join("build");
    fs::copy(objects.join("arch/x86/boot/bzImage"), into.join("bzImage"))?;
    make.arg("run-command")
        .arg(format!(
            "KBUILD_RUN_COMMAND=$(srctree)/scripts/package/install-extmod-build {}",
            tree.display()
        ))
        .run()
        .context("taking what modules need from the kernel's tree")?;
    fs::copy(objects.join(".config"), tree.join(".config"))?;
    // Crates as the compiler wants them, and what of C is inlined into modules.
    let extensions = ["rmeta", "so", "bc"];
    copy_matching(&objects.join("rust"), &tree.join("rust"), &extensions)?;
    match flavour {
        Flavour::Release | Flavour::Debug => copy_rust_sources(source, objects, &tree)?,
        Flavour::Distro => {
            fs::copy(
                objects.join("certs").join(SIGNING_KEY),
                into.join(SIGNING_KEY),
            )?;
            // What pahole makes the types of modules from.
            Cmd::new("objcopy")
                .arg("--only-section=.BTF")
                .arg(objects.join("vmlinux"))
                .arg(tree.join("vmlinux"))
                .run()?;
        }
    }
    // The kernel's own client of netlink specifications.
    let ynl = "tools/net/ynl/pyynl";
    copy_matching(&source.join(ynl), &tree.join(ynl), &["py"])
}

/// Copies what rust-analyzer looks into. No distribution's build tree has it.
fn copy_rust_sources(source: &Path, objects: &Path, tree: &Path) -> Result<()> {
    copy_matching(&objects.join("rust"), &tree.join("rust"), &["rs"])?;
    copy_matching(&source.join("rust"), &tree.join("rust"), &["rs"])?;
    for file in [
        "Makefile",
        "bindgen_parameters",
        "bindings/bindings_helper.h",
    ] {
        fs::copy(source.join("rust").join(file), tree.join("rust").join(file))?;
    }
    Ok(())
}

/// Copies the files below `from` that end in one of `extensions`.
fn copy_matching(from: &Path, to: &Path, extensions: &[&str]) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_matching(&entry.path(), &target, extensions)?;
        } else if entry
            .path()
            .extension()
            .is_some_and(|end| extensions.iter().any(|e| end == *e))
        {
            fs::create_dir_all(to)?;
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_about_an_option_counts() {
        let fragments = "# A\n\nCONFIG_A=y   # why\nCONFIG_AB=y\n# more\nCONFIG_A=n\n";
        assert_eq!(merged(fragments), "CONFIG_AB=y\nCONFIG_A=n\n");
    }

    #[test]
    fn a_dropped_option_is_noticed() {
        let config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_AB=y\nCONFIG_N=16\n";
        assert!(dropped("CONFIG_A=y\nCONFIG_N=16\nCONFIG_B=n", config).is_empty());
        assert_eq!(dropped("CONFIG_B=y\nCONFIG_A=y", config), ["CONFIG_B=y"]);
        assert_eq!(dropped("CONFIG_AB=n", config), ["CONFIG_AB=n"]);
        assert_eq!(dropped("CONFIG_N=1", config), ["CONFIG_N=1"]);
    }
}
