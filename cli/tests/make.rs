// SPDX-License-Identifier: MIT OR Apache-2.0

//! What make(1) and dkms(8) do in a project. No kernel is built for it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The project `door` in a directory of its own, which goes when the test ends.
struct Made(PathBuf);

impl Made {
    fn new(test: &str) -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("make-{test}"));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        let door = Self(place.join("door"));
        let mut new = Command::new(env!("CARGO_BIN_EXE_callgate"));
        new.arg("new").arg(&door.0);
        let output = new.args(["--gate", "ioctl", "--minimal"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        door
    }

    /// An empty directory beside it.
    fn beside(&self, name: &str) -> PathBuf {
        let path = self.0.with_file_name(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn run(&self, command: &mut Command) -> Output {
        command
            .current_dir(&self.0)
            // Those of the make or the cargo that runs the tests.
            .env_remove("MAKEFLAGS")
            .env_remove("CARGO_TARGET_DIR")
            .output()
            .unwrap()
    }

    fn make(&self, arguments: &[&str]) -> Output {
        self.run(Command::new("make").args(arguments))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(place) = self.0.parent() {
            let _ = fs::remove_dir_all(place);
        }
    }
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

/// A program's directory, if it is somewhere in these.
fn find(directories: impl IntoIterator<Item = PathBuf>, program: &str) -> Option<PathBuf> {
    let mut directories = directories.into_iter();
    directories.find(|directory| directory.join(program).is_file())
}

#[test]
fn without_a_kernel_make_says_what_is_missing_and_still_helps_and_cleans() {
    let door = Made::new("without");
    let nowhere = "KDIR=/nowhere";
    for target in ["modules", "modules_install"] {
        let output = door.make(&[target, nowhere]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for part in ["in /nowhere.", "linux-headers-", "KDIR=DIR"] {
            assert!(said.contains(part), "{target}: {said}");
        }
        assert!(!door.0.join("target").exists(), "{target}: {said}");
    }
    let help = said(&door.make(&["help", nowhere]));
    for part in ["KDIR=", "MO=", "LLVM=", "INSTALL_MOD_PATH", "door.ko"] {
        assert!(help.contains(part), "{help}");
    }

    // What it built goes, and nothing else in a directory that somebody named.
    let mine = door.beside("mine");
    let kbuild = door.0.join("target/kbuild");
    fs::create_dir_all(&kbuild).unwrap();
    let clean = door.make(&["clean", nowhere, "MO=../mine"]);
    assert!(clean.status.success(), "{}", said(&clean));
    assert!(!kbuild.exists() && mine.exists());
}

#[test]
fn the_kernels_make_is_told_of_whole_paths_and_of_the_compiler_of_the_kernel() {
    let door = Made::new("told");
    let kernel = door.beside("kernel");
    let auto = kernel.join("include/config");
    fs::create_dir_all(&auto).unwrap();
    fs::write(
        kernel.join("Makefile"),
        "%:\n\t@echo $@ M=$(M) MO=$(MO) LLVM=$(LLVM) to $(INSTALL_MOD_PATH)\n",
    )
    .unwrap();
    let make = |arguments: &[&str]| {
        let output = door.make(&[&["KDIR=../kernel", "BINDGEN=true"], arguments].concat());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let root = door.0.display();
    let place = door.0.parent().unwrap().display();

    fs::write(auto.join("auto.conf"), "CONFIG_CC_IS_GCC=y\n").unwrap();
    let said_of = make(&["modules", "MO=../out"]);
    let whole = format!("modules M={root} MO={place}/out LLVM= to\n");
    assert!(said_of.contains(&whole), "{said_of}");

    fs::write(
        auto.join("auto.conf"),
        "CONFIG_CC_IS_CLANG=y\nCONFIG_CLANG_VERSION=1190107\n",
    )
    .unwrap();
    for (given, llvm) in [(&[][..], "1"), (&["LLVM=-20"], "-20")] {
        let said = make(&[&["modules"], given].concat());
        assert!(said.contains(&format!(" LLVM={llvm} ")), "{said}");
    }

    // make(1) of the kernel would install nothing, and be content.
    let early = door.make(&["modules_install", "KDIR=../kernel"]);
    assert_eq!(early.status.code(), Some(2));
    assert!(
        said(&early).contains("`make modules` first"),
        "{}",
        said(&early)
    );
    fs::write(door.0.join("target/kbuild/modules.order"), "").unwrap();
    let said = make(&["modules_install", "INSTALL_MOD_PATH=../root"]);
    assert!(said.contains(&format!(" to {place}/root\n")), "{said}");
}

#[test]
fn without_rustc_or_bindgen_make_says_what_to_install() {
    let door = Made::new("tools");
    let kernel = door.beside("kernel");
    fs::create_dir_all(kernel.join("include/config")).unwrap();
    fs::write(kernel.join("Makefile"), "%:\n\t@echo built\n").unwrap();
    fs::write(
        kernel.join("include/config/auto.conf"),
        "CONFIG_RUSTC_VERSION_TEXT=rustc 1.95.0 (59807616e 2026-04-14)\n",
    )
    .unwrap();
    // A machine that has but these.
    let bin = door.beside("bin");
    let path = env::var_os("PATH").unwrap();
    let link = |program: &str, name: &str| {
        let place = find(env::split_paths(&path), program).expect(program);
        std::os::unix::fs::symlink(place.join(program), bin.join(name)).unwrap();
    };
    for program in ["echo", "grep", "make", "mkdir", "sed", "uname"] {
        link(program, program);
    }
    let make = |target: &str| {
        let mut make = Command::new(bin.join("make"));
        make.args([target, "KDIR=../kernel"]).env("PATH", &bin);
        let output = door.run(&mut make);
        (output.status.code(), said(&output))
    };
    let (status, said) = make("modules");
    assert_eq!(status, Some(2), "{said}");
    for part in ["no rustc.", "rustc 1.95.0 (59807616e 2026-04-14)\n"] {
        assert!(said.contains(part), "{said}");
    }
    link("true", "rustc");
    let (status, said) = make("modules");
    assert_eq!(status, Some(2), "{said}");
    for part in ["no bindgen,", "bindgen-cli", "BINDGEN=PROGRAM"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("not found") && !door.0.join("target").exists());
    link("true", "bindgen");
    assert_eq!(make("modules").0, Some(0));

    // Root installs what a user built.
    fs::remove_file(bin.join("rustc")).unwrap();
    fs::write(door.0.join("target/kbuild/modules.order"), "").unwrap();
    let (status, said) = make("modules_install");
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn everything_is_compiled_again_for_another_kernel_of_the_same_name() {
    let door = Made::new("again");
    let kernel = door.beside("kernel");
    let write = |file: &str, text: &str| {
        let file = kernel.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        // As a package has it: from before anything was compiled.
        let file = fs::File::options().write(true).open(&file).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    // As much of the kernel's as to read Kbuild.
    write(
        "Makefile",
        "objtree := $(CURDIR)\nobj := .\nsrc := $(M)\ninclude $(M)/Kbuild\n\
         modules:\n\t@echo C: $(ccflags-y) Rust: $(rustflags-y)\n",
    );
    write("include/config/auto.conf", "CONFIG_RUST=y\n");
    write("Module.symvers", "0x01\tprintk\n");
    write("rust/libkernel.rmeta", "");
    let flags = || {
        let output = door.make(&["modules", "KDIR=../kernel", "BINDGEN=true"]);
        assert!(output.status.success(), "{}", said(&output));
        let said = said(&output);
        let flags = said.lines().find(|line| line.starts_with("C: -D"));
        flags.expect(&said).to_owned()
    };
    let mut seen = vec![flags()];
    assert_eq!(flags(), seen[0]);
    for (file, text) in [
        ("Module.symvers", "0x02\tprintk\n"),
        ("rust/libkernel.rmeta", "more"),
        ("include/config/auto.conf", "CONFIG_RUST=y\nCONFIG_SMP=y\n"),
        ("vmlinux", ""),
    ] {
        write(file, text);
        let now = flags();
        assert!(!seen.contains(&now), "{file}: {now}");
        seen.push(now);
    }
}

/// Needs root, dkms(8) and the third kernel of the lab, and is content without.
#[test]
fn dkms_adds_builds_installs_and_removes_the_module() {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = env::var_os("XDG_CACHE_HOME").map_or(home.join(".cache"), PathBuf::from);
    let entries = |folder: &str| {
        let entries = fs::read_dir(cache.join("callgate").join(folder))
            .into_iter()
            .flatten();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let is_distro = |path: &PathBuf| {
        path.join("build/include/config/auto.conf").exists()
            && path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("distro-"))
    };
    let kernel = entries("kernels").into_iter().find(is_distro);
    let tools = entries("tools").into_iter().map(|tool| tool.join("bin"));
    let bindgen = find(tools, "bindgen");
    let path = env::var_os("PATH").unwrap_or_default();
    let dkms = find(env::split_paths(&path), "dkms");
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    let (Some(kernel), Some(bindgen), Some(_), true) = (kernel, bindgen, dkms, is_root) else {
        eprintln!("skipped: no dkms, not root, or `callgate build --kernel distro` was never run");
        return;
    };

    let door = Made::new("dkms");
    let installed = door.beside("install");
    let path = env::join_paths([bindgen].into_iter().chain(env::split_paths(&path))).unwrap();
    let dkms = |arguments: &[&str]| {
        let mut dkms = Command::new("dkms");
        dkms.args(arguments)
            .args(["-k", "1.2.3-door", "--no-depmod", "--kernelsourcedir"])
            .arg(kernel.join("build"))
            .arg("--dkmstree")
            .arg(door.beside("tree"))
            .arg("--sourcetree")
            .arg(door.beside("source"))
            .arg("--installtree")
            .arg(&installed)
            .env("PATH", &path);
        let output = door.run(&mut dkms);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    };
    let modules = installed.join("1.2.3-door");
    fs::create_dir(&modules).unwrap();
    let module = modules.join("updates/dkms/door.ko");
    dkms(&["install", "."]);
    assert!(module.exists(), "{}", dkms(&["status"]));
    assert!(dkms(&["status"]).contains("door/0.1.0, 1.2.3-door"));
    dkms(&["uninstall", "door/0.1.0"]);
    assert!(!module.exists());
    dkms(&["remove", "door/0.1.0"]);
    assert!(!dkms(&["status"]).contains("door/"));
}
