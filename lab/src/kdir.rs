// SPDX-License-Identifier: MIT OR Apache-2.0

//! A kernel's build tree that the lab has not made: `/lib/modules/VERSION/build` of a distribution.
//!
//! What decides whether a module in Rust builds against it, and whether the kernel then loads the module,
//! is looked at [before](check) anything is built. Where something is missing, one sentence says what, and
//! how the distribution provides it.

mod distribution;
mod tree;

pub use distribution::Distribution;
pub use tree::Tree;

use crate::Lab;
use crate::command::{Cmd, check_interrupted, note, step};
use crate::fetch::SERIES;
use crate::kernel::hex;
use crate::modules;
use crate::project::Project;
use crate::toolchain::{self, Machine, Version};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Nothing can be built against this tree as things are. Exit status 3.
#[derive(Debug, thiserror::Error)]
#[error(
    "no module in Rust can be built against {}:{}",
    .directory.display(), .missing.iter().fold(String::new(), |all, reason| all + "\n  " + reason)
)]
pub struct Unsuited {
    /// The tree.
    pub directory: PathBuf,
    /// What is missing, each with what provides it.
    pub missing: Vec<String>,
}

/// What the machine has to build with.
#[derive(Clone, Debug, Default)]
pub struct Compilers {
    /// What `rustc --version` says.
    pub rustc: Option<String>,
    /// What the C compiler of the tree's kind says, in its first line.
    pub cc: Option<String>,
    /// What there is not of the programs of LLVM that kbuild runs beside clang.
    pub llvm_lacks: Vec<String>,
    /// The version of pahole.
    pub pahole: Option<Version>,
}

/// What there is to say before a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why it cannot succeed.
    pub missing: Vec<String>,
    /// What may go wrong.
    pub warnings: Vec<String>,
    /// What the kernel demands of the modules, once they are built.
    pub afterwards: Option<String>,
}

/// Where distributions have the build tree of the kernel that runs here.
pub fn of_this_machine() -> PathBuf {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    Path::new("/lib/modules").join(&*release).join("build")
}

/// Builds every module of the checkout against the tree in `directory`, and gives their files.
pub fn build(lab: &Lab, project: &Project, directory: &Path) -> Result<Vec<PathBuf>> {
    let ready = Ready::find(lab, directory)?;
    for warning in &ready.findings.warnings {
        note(&format!("callgate: warning: {warning}"));
    }
    let output = project.output.join(format!("modules-kdir-{}", ready.key()));
    let _lock = modules::claim(lab, &output)?;
    let building = step(&format!(
        "building the modules for Linux {}",
        ready.tree.release
    ));
    ready
        .make(&project.root, &output)
        .log(project.log_file("modules-kdir"))
        .arg("modules")
        .run()
        .with_context(|| format!("building the modules against {}", directory.display()))?;
    drop(building);
    if let Some(text) = &ready.findings.afterwards {
        note(&format!("callgate: {text}"));
    }
    modules::complete(project, &output)?;
    modules::built(&output)
}

/// A tree that has all that is needed, with the compilers for it.
#[derive(Debug)]
pub struct Ready {
    tree: Tree,
    /// How make is told of the C compiler; nothing if it is the one that make takes by itself.
    cc: Option<String>,
    bindgen: PathBuf,
    libclang: Option<PathBuf>,
    findings: Findings,
}

impl Ready {
    /// Looks at the tree and for the compilers. Fails with [`Unsuited`].
    pub fn find(lab: &Lab, directory: &Path) -> Result<Self> {
        let distribution = Distribution::of(directory);
        let unsuited = |missing| Unsuited {
            directory: directory.to_owned(),
            missing,
        };
        let tree = Tree::look(directory)
            .ok_or_else(|| unsuited(vec![distribution.provides_tree(directory)]))?;
        let machine = Machine::here();
        let (cc, mut compilers) = c_compiler(&tree, &machine);
        compilers.rustc = toolchain::rustc_version().ok().map(|rustc| rustc.text);
        compilers.pahole = machine.version("pahole", &["--version"]);
        check_interrupted()?;
        let findings = check(&tree, distribution, &compilers);
        if !findings.missing.is_empty() {
            return Err(unsuited(findings.missing).into());
        }
        // Last, for it may have to be built.
        let bindgen = toolchain::ensure_bindgen(&lab.cache)?;
        let libclang = toolchain::newest_libclang(&machine);
        if !reads_c(&bindgen, libclang.as_deref()) {
            check_interrupted()?;
            return Err(unsuited(vec![NO_LIBCLANG.to_owned()]).into());
        }
        Ok(Self {
            tree,
            cc,
            bindgen,
            libclang,
            findings,
        })
    }

    /// The make command that builds in `output` what the Kbuild file in `source` describes.
    pub fn make(&self, source: &Path, output: &Path) -> Cmd<'static> {
        let make = Cmd::new("make")
            .arg("-C")
            .arg(&self.tree.directory)
            .args(&self.cc)
            .arg(format!("BINDGEN={}", self.bindgen.display()))
            .arg(format!(
                "-j{}",
                std::thread::available_parallelism().map_or(1, usize::from)
            ))
            .arg(format!("M={}", source.display()))
            .arg(format!("MO={}", output.display()))
            // Cargo's, where it runs us, is not the one for kernels.
            .env_remove("MAKEFLAGS")
            .env_remove("RUSTFLAGS");
        match &self.libclang {
            Some(directory) => make.env("LIBCLANG_PATH", directory),
            None => make,
        }
    }

    /// What keeps apart the modules for one tree from those for another: a tree may be replaced by
    /// another one of the same name. If that has the same options, `kernel/library.mk` notices.
    fn key(&self) -> String {
        let mut key = Sha256::new();
        for part in [
            self.tree.directory.as_os_str().as_encoded_bytes(),
            self.tree.config.as_bytes(),
        ] {
            key.update(part);
            key.update([0]);
        }
        format!("{}-{}", self.tree.release, hex(&key.finalize()[..6]))
    }
}

/// The C compiler that the tree was built by, as this machine has it: what make has to be told, and what
/// there is to say of the compiler.
fn c_compiler(tree: &Tree, machine: &Machine) -> (Option<String>, Compilers) {
    let text = tree.text("CC_VERSION_TEXT");
    let says = |program: &str| {
        let said = machine.ask(program, &["--version"]);
        Compilers {
            cc: said.and_then(|said| said.lines().next().map(str::to_owned)),
            ..Compilers::default()
        }
    };
    if tree.is_set("CC_IS_CLANG") {
        let major = Version::find(text).map_or(0, |version| version.major);
        let suffix = [format!("-{major}"), String::new()]
            .into_iter()
            .find(|suffix| {
                let version = machine.version(&format!("clang{suffix}"), &["--version"]);
                version.is_some_and(|version| version.major == major)
            })
            .unwrap_or_default();
        let llvm = if suffix.is_empty() { "1" } else { &suffix };
        let beside = ["ld.lld"].iter().chain(toolchain::LLVM_TOOLS);
        let beside = beside.map(|tool| format!("{tool}{suffix}"));
        let compilers = Compilers {
            llvm_lacks: beside.filter(|tool| machine.find(tool).is_none()).collect(),
            ..says(&format!("clang{suffix}"))
        };
        return (Some(format!("LLVM={llvm}")), compilers);
    }
    // gcc says by which name it was called: gcc, gcc-12, x86_64-linux-gnu-gcc-15.
    let name = text.split(' ').next().unwrap_or_default();
    if name != "gcc" && machine.find(name).is_some() {
        return (Some(format!("CC={name}")), says(name));
    }
    (None, says("gcc"))
}

const NO_LIBCLANG: &str = "bindgen finds no libclang to read the kernel's headers by: install libclang, or \
                           set LIBCLANG_PATH to the directory that it is in";

/// Whether bindgen finds a libclang and can use it.
fn reads_c(bindgen: &Path, libclang: Option<&Path>) -> bool {
    let bindgen = Cmd::new(bindgen).args(["/dev/null", "--", "-x", "c"]);
    let bindgen = match libclang {
        Some(directory) => bindgen.env("LIBCLANG_PATH", directory),
        None => bindgen,
    };
    bindgen.output().is_ok()
}

/// What there is to say of a build against this tree, by these compilers.
pub fn check(tree: &Tree, distribution: Distribution, compilers: &Compilers) -> Findings {
    let mut findings = Findings::default();
    kernel(tree, &mut findings);
    if findings.missing.is_empty() {
        files(tree, distribution, &mut findings);
        tools(tree, compilers, &mut findings);
        findings.afterwards = signing(tree);
    }
    findings
}

/// What the kernel itself must be. What it is not, no package brings.
fn kernel(tree: &Tree, findings: &mut Findings) {
    let release = &tree.release;
    if !tree.is_set("X86_64") {
        findings.missing.push(format!(
            "Linux {release} is not for x86-64, and callgate_kernel is for nothing else: name the tree of a \
             kernel that is"
        ));
    }
    for (option, why) in [
        ("MODULES", "it loads no modules"),
        ("RUST", "it has nothing that a module in Rust could use"),
        (
            "MODULE_UNLOAD",
            "callgate_kernel relies on the count of a module's users",
        ),
        (
            "SYSFS",
            "callgate_kernel relies on the objects of modules there",
        ),
    ] {
        if !tree.is_set(option) {
            findings.missing.push(format!(
                "Linux {release} was built without CONFIG_{option}, so {why}: boot another kernel, or \
                 build one with that option"
            ));
        }
    }
    let (major, minor) = SERIES;
    if !is_of_the_series(tree) {
        findings.warnings.push(format!(
            "this is Linux {release}, and callgate is written for {major}.{minor}: the kernel crate \
             differs from one series to the next, so that the build may stop in the midst"
        ));
    }
}

/// Whether the kernel is of the series that callgate is written for.
fn is_of_the_series(tree: &Tree) -> bool {
    Version::find(&tree.release).is_none_or(|version| (version.major, version.minor) == SERIES)
}

/// What a build reads and runs in the tree. Packages leave out what modules in C have no need of.
fn files(tree: &Tree, distribution: Distribution, findings: &mut Findings) {
    let mut rust = vec![
        "rust/libcore.rmeta",
        "rust/libkernel.rmeta",
        "rust/libmacros.so",
        "include/generated/rustc_cfg",
        "scripts/target.json",
    ];
    if is_of_the_series(tree) {
        // What libkernel refers to. Another series has other crates.
        rust.extend([
            "rust/libbindings.rmeta",
            "rust/libbuild_error.rmeta",
            "rust/libcompiler_builtins.rmeta",
            "rust/libffi.rmeta",
            "rust/libpin_init.rmeta",
            "rust/libpin_init_internal.so",
            "rust/libuapi.rmeta",
            "rust/libzerocopy.rmeta",
            "rust/libzerocopy_derive.so",
        ]);
    }
    if tree.is_set("RUST_INLINE_HELPERS") {
        rust.push("rust/helpers/helpers_module.bc");
    }
    rust.retain(|file| !tree.has(file));
    if !rust.is_empty() {
        findings.missing.push(format!(
            "{} not there, which modules in Rust are built from: {}",
            are(&rust),
            distribution.provides_rust(&tree.release)
        ));
    }
    let mut other = vec![
        // Without it modpost knows no symbol of the kernel, and with versions none of their checksums.
        "Module.symvers",
        "include/generated/autoconf.h",
        "scripts/basic/fixdep",
        "scripts/mod/modpost",
        "scripts/module-common.c",
        "scripts/module.lds",
    ];
    if tree.is_set("OBJTOOL") {
        other.push("tools/objtool/objtool");
    }
    // Where there is no vmlinux, kbuild leaves out the types of modules by itself.
    if tree.makes_types() {
        other.extend([
            "scripts/gen-btf.sh",
            "tools/bpf/resolve_btfids/resolve_btfids",
        ]);
    }
    other.retain(|file| !tree.has(file));
    if !other.is_empty() {
        findings.missing.push(format!(
            "{} not there, which every module is made with: {}",
            are(&other),
            distribution.completes_tree(&tree.release)
        ));
    }
}

/// What a build runs.
fn tools(tree: &Tree, compilers: &Compilers, findings: &mut Findings) {
    let built = tree.text("RUSTC_VERSION_TEXT");
    match &compilers.rustc {
        Some(here) if here == built => {}
        here => findings.missing.push(format!(
            "the kernel's Rust was compiled by `{built}`, and no other rustc can read that; here it is {}: {}",
            here.as_ref().map_or("missing".to_owned(), |here| format!("`{here}`")),
            rustc_remedy(built)
        )),
    }
    let built = tree.text("CC_VERSION_TEXT");
    let (kind, package) = if tree.is_set("CC_IS_CLANG") {
        ("clang", "clang, lld and llvm")
    } else {
        ("gcc", "gcc")
    };
    match &compilers.cc {
        None => findings.missing.push(format!(
            "the kernel's C was compiled by `{built}`, and there is no {kind} here: install {package}"
        )),
        // kbuild says so as well, and goes on.
        Some(here) if here != built => findings.warnings.push(format!(
            "the kernel's C was compiled by `{built}`, the modules' will be by `{here}`"
        )),
        Some(_) => {
            if !compilers.llvm_lacks.is_empty() {
                findings.missing.push(format!(
                    "{} not there, which belong to the clang that the kernel's C was compiled by: install lld \
                     and llvm of the same version",
                    are(&compilers.llvm_lacks)
                ));
            }
        }
    }
    if tree.makes_types() {
        pahole(tree, compilers.pahole, findings);
    }
}

/// What adds to each module the types it uses.
fn pahole(tree: &Tree, here: Option<Version>, findings: &mut Findings) {
    let types = "which adds to each module the types it uses (CONFIG_DEBUG_INFO_BTF_MODULES)";
    let Some(here) = here else {
        findings.missing.push(format!(
            "there is no pahole, {types}: install pahole; some distributions call the package dwarves"
        ));
        return;
    };
    // 124 for 1.24. By it, and not by the one that is here, kbuild chooses what to ask of pahole.
    let built = tree.text("PAHOLE_VERSION").parse().unwrap_or(0);
    if here.major * 100 + here.minor < built {
        let built = format!("{}.{}", built / 100, built % 100);
        findings.missing.push(format!(
            "the kernel was made with pahole {built}, {types}, and {}.{} does not know all that kbuild asks of \
             that one: install {built} or a newer one",
            here.major, here.minor
        ));
    }
}

/// Where the rustc of a kernel is had from.
fn rustc_remedy(built: &str) -> String {
    // After the date, distributions say who built theirs, and rustup's say nothing.
    match Version::find(built) {
        Some(version) if !built.contains(") (") => {
            format!("`rustup toolchain install {version}`, and set RUSTUP_TOOLCHAIN={version}")
        }
        _ => "that is the rustc that the distribution packages; set PATH so that it comes first"
            .into(),
    }
}

/// How a module is made acceptable to a kernel that checks signatures.
fn signing(tree: &Tree) -> Option<String> {
    let when = if tree.is_set("MODULE_SIG_FORCE") {
        "this kernel loads only modules"
    } else if tree.is_set("MODULE_SIG") {
        "where Secure Boot has locked it down, this kernel loads only modules"
    } else {
        return None;
    };
    Some(format!(
        "{when} signed with a key that it knows, such as one enrolled by `mokutil --import KEY.der`. To sign \
         one:\n  {}/scripts/sign-file {} KEY.priv KEY.der MODULE.ko",
        tree.directory.display(),
        tree.text("MODULE_SIG_HASH")
    ))
}

fn are<T: AsRef<str>>(files: &[T]) -> String {
    let names: Vec<_> = files.iter().map(AsRef::as_ref).collect();
    format!(
        "{} {}",
        names.join(", "),
        if files.len() == 1 { "is" } else { "are" }
    )
}

#[cfg(test)]
mod tests;
