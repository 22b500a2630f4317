// SPDX-License-Identifier: MIT OR Apache-2.0

//! The doctor on machines made for the purpose.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lab::doctor::{Finding, Needs, Remedy, State, check_on, install_command};
use lab::kernel::Flavour;
use lab::toolchain::{LLVM_TOOLS, Machine, Toolchain, Version};

fn empty(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("doctor")
        .join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("bin")).unwrap();
    dir
}

fn machine(root: &Path) -> Machine {
    Machine::with(root.join("bin"), root)
}

/// A program that prints one line.
fn program(root: &Path, name: &str, prints: &str) {
    let file = root.join("bin").join(name);
    fs::write(&file, format!("#!/bin/sh\necho '{prints}'\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn llvm(root: &Path, major: u32) {
    program(
        root,
        &format!("clang-{major}"),
        &format!("Debian clang version {major}.1.7"),
    );
    for tool in LLVM_TOOLS.iter().chain(&["ld.lld"]) {
        program(root, &format!("{tool}-{major}"), "");
    }
    let lib = root.join(format!("usr/lib/llvm-{major}/lib"));
    fs::create_dir_all(&lib).unwrap();
    fs::write(lib.join(format!("libclang-{major}.so.1")), "").unwrap();
}

fn finding<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.name == name);
    found.unwrap_or_else(|| panic!("no finding {name} in {findings:#?}"))
}

#[test]
fn on_an_empty_machine_everything_is_missing_with_reason_and_package() {
    let findings = check_on(&machine(&empty("bare")), Needs::ALL);
    for finding in &findings {
        assert_eq!(finding.state, State::Missing, "{finding}");
        assert!(finding.why.len() > 10, "{finding}");
    }
    for (name, package) in [
        ("clang-19", "clang-19"),
        ("ld.lld-19", "lld-19"),
        ("llvm-objcopy-19", "llvm-19"),
        ("libclang 19", "libclang1-19"),
        ("make", "make"),
        ("flex", "flex"),
        ("bison", "bison"),
        ("bc", "bc"),
        ("lz4", "lz4"),
        ("cc", "gcc"),
        ("libelf and its headers", "libelf-dev"),
        ("static C library", "libc6-dev"),
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("bash", "bash"),
        ("modprobe", "kmod"),
        ("sysctl", "procps"),
        ("mount", "mount"),
        ("unshare", "util-linux"),
        ("ip", "iproute2"),
        ("genl-ctrl-list", "libnl-utils"),
        ("python3-yaml", "python3-yaml"),
    ] {
        let remedy = &finding(&findings, name).remedy;
        assert_eq!(remedy, &Remedy::Packages(vec![package.to_owned()]));
    }
    let names = |needs| {
        let findings = check_on(&machine(&empty("bare")), needs);
        findings.into_iter().map(|finding| finding.name).collect()
    };
    let (usual, distro): (Vec<_>, Vec<_>) =
        (names(Needs::ALL), names(Needs::ALL.on(&[Flavour::Distro])));
    let more: Vec<_> = distro.iter().filter(|name| !usual.contains(name)).collect();
    assert_eq!(
        more,
        [
            "gcc",
            "pahole",
            "openssl",
            "libcrypto and its headers",
            "libdw and its headers"
        ]
    );
    let command = install_command(&findings);
    assert!(
        command
            .contains("apt-get install -y --no-install-recommends bash bc binutils bison clang-19")
    );
    assert!(command.contains("rustup"), "{command}");
}

#[test]
fn building_needs_no_vm_and_running_no_compiler() {
    let machine = machine(&empty("needs"));
    let names = |needs| -> Vec<_> {
        check_on(&machine, needs)
            .into_iter()
            .map(|f| f.name)
            .collect()
    };
    assert_eq!(names(Needs::RUN), ["qemu-system-x86_64"]);
    assert!(!names(Needs::BUILD).contains(&"qemu-system-x86_64".to_owned()));
}

#[test]
fn only_the_tests_need_the_tools_that_they_run() {
    let machine = machine(&empty("tools"));
    let sysctl = |needs| check_on(&machine, needs).iter().any(|f| f.name == "sysctl");
    assert!(sysctl(Needs::ALL));
    assert!(!sysctl(Needs::BUILD_AND_RUN));
}

#[test]
fn an_old_qemu_is_told_with_both_versions() {
    let root = empty("old");
    program(
        &root,
        "qemu-system-x86_64",
        "QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2)",
    );
    let findings = check_on(&machine(&root), Needs::RUN);
    let (found, need) = (Version::new(6, 2, 0), Version::new(7, 0, 0));
    assert_eq!(findings[0].state, State::TooOld { found, need });
    assert!(
        findings[0]
            .to_string()
            .contains("6.2.0, too old: 7.0.0 is needed")
    );
}

#[test]
fn the_newest_complete_llvm_is_chosen() {
    let root = empty("llvm");
    llvm(&root, 18);
    llvm(&root, 19);
    // Newer, but without its linker; and one too old for the kernel.
    program(&root, "clang-22", "clang version 22.1.8");
    program(&root, "clang", "Debian clang version 14.0.6");
    let chosen = Toolchain::find_on(&machine(&root)).unwrap();
    assert_eq!(
        (chosen.make_llvm(), chosen.clang),
        ("-19", Version::new(19, 1, 7))
    );
    assert_eq!(chosen.tool("llvm-nm"), "llvm-nm-19");
    assert!(chosen.libclang.unwrap().ends_with("usr/lib/llvm-19/lib"));
}

#[test]
fn an_incomplete_llvm_is_to_be_completed() {
    let root = empty("incomplete");
    llvm(&root, 18);
    fs::remove_file(root.join("bin/ld.lld-18")).unwrap();
    let findings = check_on(&machine(&root), Needs::BUILD);
    let version = Some(Version::new(18, 1, 7));
    assert_eq!(finding(&findings, "clang-18").state, State::Ok { version });
    let linker = finding(&findings, "ld.lld-18");
    assert_eq!(linker.state, State::Missing);
    assert_eq!(linker.remedy, Remedy::Packages(vec!["lld-18".to_owned()]));
}
