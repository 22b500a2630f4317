// SPDX-License-Identifier: MIT OR Apache-2.0

//! The list of what is needed, and why.
//!
//! Not needed to build, though often named: cpio, rsync, kmod, perl, python3. None of them is in the
//! commands that kbuild records for our kernels. Nor is what signs modules and describes their types, but
//! for the distribution's kernel.

use crate::toolchain::{LLVM, LLVM_TOOLS, Machine, Toolchain, Version, llvm_to_install};

use super::{Finding, Remedy, State};

/// A tool whose presence, and perhaps version, is all that counts.
struct Tool {
    name: &'static str,
    why: &'static str,
    package: &'static str,
    at_least: Option<Version>,
}

const BUILD_TOOLS: &[Tool] = &[
    tool(
        "make",
        "drives the kernel's build",
        "make",
        Some(Version::new(4, 0, 0)),
    ),
    tool(
        "flex",
        "generates the lexer of the kernel's configuration language",
        "flex",
        None,
    ),
    tool(
        "bison",
        "generates the parser of the kernel's configuration language",
        "bison",
        None,
    ),
    tool(
        "bc",
        "computes the kernel's time conversion constants",
        "bc",
        None,
    ),
    tool(
        "lz4",
        "compresses the kernel image, fast to unpack at boot",
        "lz4",
        None,
    ),
    tool("xz", "unpacks the kernel's source", "xz-utils", None),
    tool("tar", "unpacks the kernel's source", "tar", None),
    tool("patch", "applies callgate's patches to it", "patch", None),
    tool(
        "awk",
        "post-processes generated headers of the kernel",
        "mawk",
        None,
    ),
    tool("cc", "links Rust programs and build scripts", "gcc", None),
    tool(
        "ld",
        "links the programs that the kernel's build itself runs",
        "binutils",
        None,
    ),
];

const fn tool(
    name: &'static str,
    why: &'static str,
    package: &'static str,
    at_least: Option<Version>,
) -> Tool {
    Tool {
        name,
        why,
        package,
        at_least,
    }
}

pub(super) fn build(machine: &Machine) -> Vec<Finding> {
    let mut findings = llvm(machine);
    findings.extend(rust(machine));
    findings.extend(BUILD_TOOLS.iter().map(|tool| tool.check(machine)));
    findings.push(library(
        "libelf and its headers",
        "objtool, which checks every object of the kernel, reads ELF files with it",
        &["-include", "libelf.h", "-include", "gelf.h", "-lelf"],
        "libelf-dev",
        machine,
    ));
    findings.push(library(
        "static C library",
        "programs inside the VM have no shared libraries",
        &["-static", "-lc"],
        "libc6-dev",
        machine,
    ));
    // Where apt can bring the kernel's source, nothing else needs to.
    if machine.find("apt-get").is_none() {
        let curl = tool(
            "curl",
            "fetches the kernel's source from kernel.org",
            "curl",
            None,
        );
        findings.push(curl.check(machine));
    }
    findings
}

/// What only the distribution's kernel needs.
const DISTRO_TOOLS: &[Tool] = &[
    tool(
        "gcc",
        "compiles the distribution's kernel",
        "gcc",
        Some(Version::new(8, 1, 0)),
    ),
    tool(
        "pahole",
        "describes the types of the distribution's kernel and its modules",
        "pahole",
        // The first that leaves out Rust's types.
        Some(Version::new(1, 24, 0)),
    ),
    tool(
        "openssl",
        "makes the key that the distribution's kernel knows",
        "openssl",
        None,
    ),
];

pub(super) fn distro(machine: &Machine) -> Vec<Finding> {
    let mut findings: Vec<_> = DISTRO_TOOLS
        .iter()
        .map(|tool| tool.check(machine))
        .collect();
    findings.push(library(
        "libcrypto and its headers",
        "the kernel's own program that signs modules is made with it",
        &["-include", "openssl/cms.h", "-lcrypto"],
        "libssl-dev",
        machine,
    ));
    findings.push(library(
        "libdw and its headers",
        "the kernel's own program that versions symbols reads debug information with it",
        &["-include", "elfutils/libdwfl.h", "-ldw"],
        "libdw-dev",
        machine,
    ));
    findings
}

pub(super) fn run(machine: &Machine) -> Vec<Finding> {
    let qemu = tool(
        "qemu-system-x86_64",
        "the VM: kernels and modules under test never run on this machine itself",
        "qemu-system-x86",
        Some(Version::new(7, 0, 0)),
    );
    vec![qemu.check(machine)]
}

/// The tools that the tests run inside the VM, beside coreutils; they are the host's.
const TEST_TOOLS: &[Tool] = &[
    tool(
        "bash",
        "the shell in which the tests write to the kernel's files",
        "bash",
        None,
    ),
    tool(
        "genl",
        "finds families of generic netlink in the tests",
        "iproute2",
        None,
    ),
    tool(
        "genl-ctrl-list",
        "finds them in another way, by libnl",
        "libnl-utils",
        None,
    ),
    tool(
        "modprobe",
        "loads modules in the tests, with modinfo and depmod beside it",
        "kmod",
        None,
    ),
    tool(
        "sysctl",
        "reads and sets the kernel's variables in the tests",
        "procps",
        None,
    ),
    tool(
        "mount",
        "mounts the kernel's file systems in the tests",
        "mount",
        None,
    ),
    tool("ip", "makes the networks of the tests", "iproute2", None),
    tool(
        "unshare",
        "runs tools in namespaces of their own in the tests",
        "util-linux",
        None,
    ),
];

pub(super) fn test(machine: &Machine) -> Vec<Finding> {
    let tools = TEST_TOOLS.iter().map(|tool| tool.check(machine));
    tools.chain([python_yaml(machine)]).collect()
}

/// For the system's Python, and not another that comes before it in PATH: the tests run that one.
fn python_yaml(machine: &Machine) -> Finding {
    let python = machine.file("/usr/bin/python3");
    let has = machine.ask(&python.to_string_lossy(), &["-c", "import yaml"]);
    Finding {
        name: "python3-yaml".to_owned(),
        why: "the kernel's own client of netlink specifications needs it in the tests",
        state: if has.is_some() {
            State::Ok { version: None }
        } else {
            State::Missing
        },
        remedy: Remedy::Packages(vec!["python3-yaml".to_owned()]),
    }
}

/// One LLVM with all its parts: the newest complete one, else the one to complete or to install.
fn llvm(machine: &Machine) -> Vec<Finding> {
    let candidates = Toolchain::candidates(machine);
    let chosen = Toolchain::find_on(machine).or_else(|| candidates.first().cloned());
    let (suffix, major) = if let Some(found) = &chosen {
        (found.llvm_suffix.clone(), found.clang.major)
    } else {
        let major = llvm_to_install(machine);
        (format!("-{major}"), major)
    };
    let packages = |name: &str| Remedy::Packages(vec![format!("{name}{suffix}")]);
    let need = Version::new(*LLVM.start(), 0, 0);
    let clang = match &chosen {
        Some(found) => State::Ok {
            version: Some(found.clang),
        },
        None => at_least(machine.version("clang", &["--version"]), Some(need)),
    };
    let is_there = |there: bool| {
        if there {
            State::Ok { version: None }
        } else {
            State::Missing
        }
    };
    let mut findings = vec![
        Finding {
            name: format!("clang{suffix}"),
            why: "compiles the kernel: with Rust, KASAN works only in a kernel built by clang",
            state: clang,
            remedy: packages("clang"),
        },
        Finding {
            name: format!("ld.lld{suffix}"),
            why: "links the kernel and its modules",
            state: is_there(machine.find(&format!("ld.lld{suffix}")).is_some()),
            remedy: packages("lld"),
        },
    ];
    findings.extend(LLVM_TOOLS.iter().map(|tool| Finding {
        name: format!("{tool}{suffix}"),
        why: "handles the object files of the kernel's build",
        state: is_there(machine.find(&format!("{tool}{suffix}")).is_some()),
        remedy: packages("llvm"),
    }));
    findings.push(Finding {
        name: format!("libclang {major}"),
        why: "bindgen reads the kernel's C headers with it",
        state: is_there(chosen.is_some_and(|found| found.libclang.is_some())),
        remedy: Remedy::Packages(vec![format!("libclang1-{major}")]),
    });
    findings
}

fn rust(machine: &Machine) -> Vec<Finding> {
    let need = env!("CARGO_PKG_RUST_VERSION");
    let need = Version::find(need).unwrap_or(Version::new(1, 85, 0));
    let install = || {
        Remedy::Command(
            "install Rust by https://rustup.rs, or `rustup update` where it is too old".to_owned(),
        )
    };
    let target = "x86_64-unknown-linux-gnu";
    let libdir = machine.ask("rustc", &["--print", "target-libdir", "--target", target]);
    let std = libdir.is_some_and(|dir| std::path::Path::new(dir.trim()).is_dir());
    vec![
        Finding {
            name: "rustc".to_owned(),
            why: "compiles the kernel's Rust, the modules and the programs",
            state: at_least(machine.version("rustc", &["--version"]), Some(need)),
            remedy: install(),
        },
        Finding {
            name: "cargo".to_owned(),
            why: "builds the programs, and bindgen where it is missing",
            state: at_least(machine.version("cargo", &["--version"]), Some(need)),
            remedy: install(),
        },
        Finding {
            name: format!("Rust's library for {target}"),
            why: "programs inside the VM are built for this target",
            state: if std {
                State::Ok { version: None }
            } else {
                State::Missing
            },
            remedy: Remedy::Command(format!("rustup target add {target}")),
        },
    ]
}

impl Tool {
    fn check(&self, machine: &Machine) -> Finding {
        let state = match (machine.find(self.name), self.at_least) {
            (None, _) => State::Missing,
            // Some tools print no version: that they are there is enough.
            (Some(_), None) => State::Ok {
                version: machine.version(self.name, &["--version"]),
            },
            (Some(_), need) => at_least(machine.version(self.name, &["--version"]), need),
        };
        Finding {
            name: self.name.to_owned(),
            why: self.why,
            state,
            remedy: Remedy::Packages(vec![self.package.to_owned()]),
        }
    }
}

fn library(
    name: &str,
    why: &'static str,
    flags: &[&str],
    package: &str,
    machine: &Machine,
) -> Finding {
    let compiles = machine.compiles(flags);
    Finding {
        name: name.to_owned(),
        why,
        state: if compiles {
            State::Ok { version: None }
        } else {
            State::Missing
        },
        remedy: Remedy::Packages(vec![package.to_owned()]),
    }
}

fn at_least(found: Option<Version>, need: Option<Version>) -> State {
    match (found, need) {
        (None, _) => State::Missing,
        (Some(found), Some(need)) if found < need => State::TooOld { found, need },
        (version, _) => State::Ok { version },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_version_is_told_from_a_missing_one() {
        let need = Version::new(7, 0, 0);
        assert_eq!(at_least(None, Some(need)), State::Missing);
        let found = Version::new(6, 2, 0);
        assert_eq!(
            at_least(Some(found), Some(need)),
            State::TooOld { found, need }
        );
        let version = Some(Version::new(7, 2, 0));
        assert_eq!(at_least(version, Some(need)), State::Ok { version });
    }
}
