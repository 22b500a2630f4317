// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;

const RUSTC: &str = "rustc 1.95.0 (59807616e 2026-04-14)";
const GCC: &str = "gcc (Debian 12.2.0-14+deb12u1) 12.2.0";

/// The options of a kernel of a distribution, as its `auto.conf` has them.
const CONFIG: &str = "\
CONFIG_X86_64=y
CONFIG_CC_IS_GCC=y
CONFIG_CC_VERSION_TEXT=gcc (Debian 12.2.0-14+deb12u1) 12.2.0
CONFIG_RUSTC_VERSION_TEXT=rustc 1.95.0 (59807616e 2026-04-14)
CONFIG_RUST=y
CONFIG_SYSFS=y
CONFIG_MODULES=y
CONFIG_MODULE_UNLOAD=y
CONFIG_MODVERSIONS=y
CONFIG_DEBUG_INFO_BTF_MODULES=y
CONFIG_PAHOLE_VERSION=124
";

/// What is in the tree of such a kernel besides its `Makefile`: what is built...
const BUILT: [&str; 20] = [
    "Module.symvers",
    "include/generated/autoconf.h",
    "include/generated/rustc_cfg",
    "rust/libbindings.rmeta",
    "rust/libbuild_error.rmeta",
    "rust/libcompiler_builtins.rmeta",
    "rust/libcore.rmeta",
    "rust/libffi.rmeta",
    "rust/libkernel.rmeta",
    "rust/libmacros.so",
    "rust/libpin_init.rmeta",
    "rust/libpin_init_internal.so",
    "rust/libuapi.rmeta",
    "rust/libzerocopy.rmeta",
    "rust/libzerocopy_derive.so",
    "scripts/basic/fixdep",
    "scripts/mod/modpost",
    "scripts/module.lds",
    "scripts/target.json",
    "tools/bpf/resolve_btfids/resolve_btfids",
];

/// ... and what is of the sources.
const SOURCES: [&str; 2] = ["scripts/gen-btf.sh", "scripts/module-common.c"];

fn files() -> Vec<&'static str> {
    [&BUILT[..], &SOURCES].concat()
}

fn tree(config: &str, files: &[&str]) -> Tree {
    let files = files.iter().map(|&file| file.to_owned());
    Tree::new(Path::new("/build"), config, "7.3.4-1-distro", files)
}

fn compilers() -> Compilers {
    Compilers {
        rustc: Some(RUSTC.into()),
        cc: Some(GCC.into()),
        llvm_lacks: Vec::new(),
        pahole: Some(Version::new(1, 24, 0)),
    }
}

/// What is missing without these files, if `option` is set as well.
fn missing(option: &str, without: &[&str]) -> Vec<String> {
    let mut files = files();
    files.retain(|file| !without.contains(file));
    let tree = tree(&format!("{CONFIG}{option}"), &files);
    check(&tree, Distribution::Ubuntu, &compilers()).missing
}

#[test]
fn a_complete_tree_has_nothing_missing_and_nothing_to_be_said() {
    let found = check(&tree(CONFIG, &files()), Distribution::User, &compilers());
    assert_eq!(found, Findings::default());
}

#[test]
fn what_the_kernel_lacks_is_said_alone() {
    for option in ["RUST", "MODULES", "MODULE_UNLOAD", "SYSFS"] {
        let config = CONFIG.replace(&format!("CONFIG_{option}=y\n"), "");
        // A kernel without Rust has none of its files, which is no second thing to mend.
        let tree = tree(&config, &["Makefile"]);
        let missing = check(&tree, Distribution::Ubuntu, &compilers()).missing;
        let [reason] = &missing[..] else {
            panic!("{missing:?}")
        };
        assert!(
            reason.contains(&format!("without CONFIG_{option},")),
            "{reason}"
        );
    }
}

#[test]
fn a_missing_file_is_named_with_the_package_that_has_it() {
    // Where there is no vmlinux, these do nothing.
    let types = [
        "scripts/gen-btf.sh",
        "tools/bpf/resolve_btfids/resolve_btfids",
    ];
    for file in files() {
        let missing = missing("", &[file]);
        if types.contains(&file) {
            assert_eq!(missing.len(), 0, "{missing:?}");
            continue;
        }
        let of_rust = file.starts_with("rust/")
            || ["include/generated/rustc_cfg", "scripts/target.json"].contains(&file);
        let said = if of_rust {
            "linux-lib-rust-7.3.4-1-distro"
        } else {
            "linux-headers-7.3.4-1-distro"
        };
        let [reason] = &missing[..] else {
            panic!("{missing:?}")
        };
        assert!(
            reason.starts_with(&format!("{file} is not there,")),
            "{reason}"
        );
        assert!(reason.contains(said), "{reason}");
    }
    let several = missing("", &["rust/libcore.rmeta", "rust/libmacros.so"]);
    assert!(several[0].starts_with("rust/libcore.rmeta, rust/libmacros.so are not there"));
    let helpers = missing("CONFIG_RUST_INLINE_HELPERS=y", &[]);
    assert!(helpers[0].starts_with("rust/helpers/helpers_module.bc is"));
    let objtool = missing("CONFIG_OBJTOOL=y", &[]);
    assert!(objtool[0].starts_with("tools/objtool/objtool is"));
}

#[test]
fn the_crates_of_another_series_are_not_asked_for() {
    let mut files = files();
    files.retain(|&file| file != "rust/libzerocopy.rmeta");
    let mut other = tree(CONFIG, &files);
    other.release = "7.4.1-arch1-1".into();
    let found = check(&other, Distribution::Arch, &compilers());
    assert_eq!(found.missing.len(), 0, "{found:?}");
}

#[test]
fn a_kernel_for_other_machines_is_refused() {
    let config = CONFIG.replace("CONFIG_X86_64=y", "CONFIG_ARM64=y");
    let found = check(&tree(&config, &files()), Distribution::User, &compilers());
    let [reason] = &found.missing[..] else {
        panic!("{found:?}")
    };
    assert!(reason.contains("is not for x86-64"), "{reason}");
}

#[test]
fn pahole_is_needed_only_where_there_is_a_vmlinux_to_compare_with() {
    let with_vmlinux = [&files()[..], &["vmlinux"]].concat();
    let missing = |config: &str, files: &[&str], pahole: Option<Version>| {
        let compilers = Compilers {
            pahole,
            ..compilers()
        };
        check(&tree(config, files), Distribution::User, &compilers).missing
    };
    assert_eq!(missing(CONFIG, &files(), None).len(), 0);
    assert!(missing(CONFIG, &with_vmlinux, None)[0].contains("install pahole"));
    let without_types = CONFIG.replace("CONFIG_DEBUG_INFO_BTF_MODULES=y", "");
    assert_eq!(missing(&without_types, &with_vmlinux, None).len(), 0);
    let pahole = |major, minor| {
        let pahole = Version::new(major, minor, 0);
        missing(CONFIG, &with_vmlinux, Some(pahole))
    };
    let older = &pahole(1, 22)[0];
    for part in ["made with pahole 1.24,", "and 1.22 does", "install 1.24 or"] {
        assert!(older.contains(part), "{older}");
    }
    assert_eq!(
        [pahole(1, 24), pahole(1, 31), pahole(2, 0)].concat().len(),
        0
    );
    for file in [
        "scripts/gen-btf.sh",
        "tools/bpf/resolve_btfids/resolve_btfids",
    ] {
        let mut files = with_vmlinux.clone();
        files.retain(|&there| there != file);
        let missing = missing(CONFIG, &files, Some(Version::new(1, 24, 0)));
        assert!(missing[0].starts_with(&format!("{file} is")), "{missing:?}");
    }
}

#[test]
fn another_rustc_is_an_obstacle_and_the_right_one_is_named() {
    let with = |built: &str, here: Option<&str>| {
        let config = CONFIG.replace(RUSTC, built);
        let compilers = Compilers {
            rustc: here.map(str::to_owned),
            ..compilers()
        };
        check(&tree(&config, &files()), Distribution::Debian, &compilers).missing
    };
    assert_eq!(with(RUSTC, Some(RUSTC)).len(), 0);
    let older = "rustc 1.93.0 (254b59607 2026-01-19)";
    let said = &with(older, Some(RUSTC))[0];
    assert!(said.contains(older) && said.contains(RUSTC), "{said}");
    assert!(said.contains("rustup toolchain install 1.93.0"), "{said}");
    assert!(with(RUSTC, None)[0].contains("here it is missing"));
    // The same version, but not the same compiler.
    let said = &with(
        &format!("{RUSTC} (built from a source tarball)"),
        Some(RUSTC),
    )[0];
    assert!(said.contains("that the distribution packages"), "{said}");
}

#[test]
fn another_c_compiler_is_a_warning_and_none_an_obstacle() {
    let with = |here: Option<&str>| {
        let compilers = Compilers {
            cc: here.map(str::to_owned),
            ..compilers()
        };
        check(&tree(CONFIG, &files()), Distribution::User, &compilers)
    };
    assert!(with(None).missing[0].contains("there is no gcc here"));
    let other = with(Some("gcc (Debian 14.2.0-19) 14.2.0"));
    assert_eq!(other.missing.len(), 0);
    assert!(other.warnings[0].contains(GCC), "{other:?}");
    let clang = CONFIG.replace("CC_IS_GCC", "CC_IS_CLANG");
    let no_cc = Compilers {
        cc: None,
        ..compilers()
    };
    let found = check(&tree(&clang, &files()), Distribution::User, &no_cc);
    assert!(
        found.missing[0].contains("clang, lld and llvm"),
        "{found:?}"
    );
    let no_linker = Compilers {
        llvm_lacks: vec!["ld.lld-19".into()],
        ..compilers()
    };
    let found = check(&tree(&clang, &files()), Distribution::User, &no_linker);
    let [reason] = &found.missing[..] else {
        panic!("{found:?}")
    };
    assert!(reason.starts_with("ld.lld-19 is not there,"), "{reason}");
}

#[test]
fn what_llvm_lacks_is_looked_for_under_the_names_that_make_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let bin = std::env::temp_dir().join(format!("callgate-llvm-{}", std::process::id()));
    std::fs::create_dir_all(&bin).unwrap();
    for tool in ["clang-19", "ld.lld-19", "llvm-nm-19", "llvm-objcopy"] {
        let tool = bin.join(tool);
        std::fs::write(&tool, "#!/bin/sh\necho clang version 19.1.7\n").unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let clang = CONFIG
        .replace("CC_IS_GCC", "CC_IS_CLANG")
        .replace(GCC, "clang version 19.1.7");
    let (make, compilers) = c_compiler(&tree(&clang, &[]), &Machine::with(&bin, "/"));
    std::fs::remove_dir_all(&bin).unwrap();
    assert_eq!(make.as_deref(), Some("LLVM=-19"));
    assert_eq!(compilers.cc.as_deref(), Some("clang version 19.1.7"));
    let lacks = &compilers.llvm_lacks;
    assert!(lacks.contains(&"llvm-objcopy-19".into()), "{lacks:?}");
    for there in ["ld.lld-19", "llvm-nm-19"] {
        assert!(!lacks.contains(&there.into()), "{lacks:?}");
    }
}

#[test]
fn another_series_is_a_warning() {
    let mut other = tree(CONFIG, &files());
    other.release = "7.4.1-arch1-1".into();
    let found = check(&other, Distribution::Arch, &compilers());
    assert!(found.warnings[0].contains("7.4.1-arch1-1, and callgate is written for 7.3"));
}

#[test]
fn a_kernel_that_wants_signatures_is_told_of_with_the_command() {
    let after = |options: &str| {
        let config = format!("{CONFIG}{options}CONFIG_MODULE_SIG_HASH=sha256\n");
        check(&tree(&config, &files()), Distribution::User, &compilers()).afterwards
    };
    assert_eq!(after(""), None);
    let sometimes = after("CONFIG_MODULE_SIG=y\n").unwrap();
    assert!(sometimes.starts_with("where Secure Boot"), "{sometimes}");
    let always = after("CONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_FORCE=y\n").unwrap();
    assert!(
        always.starts_with("this kernel loads only modules signed"),
        "{always}"
    );
    assert!(
        always.contains("/build/scripts/sign-file sha256 KEY.priv"),
        "{always}"
    );
}

#[test]
fn a_tree_is_whoever_made_it() {
    for (os_release, is) in [
        (
            "PRETTY_NAME=\"Debian GNU/Linux 13\"\nID=debian\n",
            Distribution::Debian,
        ),
        ("ID=ubuntu\nID_LIKE=debian\n", Distribution::Ubuntu),
        (
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
            Distribution::Ubuntu,
        ),
        ("ID=arch\n", Distribution::Arch),
        ("ID=cachyos\nID_LIKE=arch\n", Distribution::Arch),
        ("ID=fedora\nVERSION_ID=44\n", Distribution::Fedora),
        ("ID=\"rhel\"\nID_LIKE=\"fedora\"\n", Distribution::Fedora),
        (
            "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n",
            Distribution::Suse,
        ),
        ("ID=void\n", Distribution::Unknown),
        ("", Distribution::Unknown),
    ] {
        assert_eq!(Distribution::named(os_release), is, "{os_release}");
    }
    assert_eq!(
        Distribution::of(Path::new("/home/me/linux")),
        Distribution::User
    );
    assert_ne!(
        Distribution::of(Path::new("/lib/modules/7.3.4/build")),
        Distribution::User
    );
}

#[test]
fn where_there_is_no_tree_the_release_in_its_path_names_the_package() {
    let nowhere = Path::new("/lib/modules/7.3.4-none/build");
    let said = Distribution::Debian.provides_tree(nowhere);
    assert!(
        said.contains("apt-get install linux-headers-7.3.4-none"),
        "{said}"
    );
    let said = Distribution::Fedora.provides_tree(Path::new("/usr/src/kernels/none"));
    assert!(said.contains("kernel-devel-$(uname -r)"), "{said}");
    let said = Distribution::User.provides_tree(Path::new("/nowhere"));
    assert_eq!(said, "there is no such directory");
    // Not what any kernel was built in.
    assert!(Tree::look(&std::env::temp_dir()).is_none());
}

#[test]
fn a_tree_on_the_disk_is_read_as_kbuild_reads_it() {
    let root = std::env::temp_dir().join(format!("callgate-kdir-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&root);
    let write = |file: &str, text: &str| {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    write("build/include/config/auto.conf", CONFIG);
    write("build/include/config/kernel.release", "7.3.4-1-distro\n");
    for file in BUILT {
        write(&format!("build/{file}"), "");
    }
    write("build/tools/objtool/objtool", "");
    for file in SOURCES {
        write(&format!("sources/{file}"), "");
    }
    let look = |makefile: &str| {
        write("build/Makefile", makefile);
        Tree::look(&root.join("build")).unwrap()
    };
    let own = "include $(srctree)/arch/$(SRCARCH)/Makefile\n";
    let without_sources = look(own);
    let beside = look("export KBUILD_OUTPUT = .\ninclude ../sources/Makefile\n");
    let elsewhere = look(&format!("include {}/sources/Makefile\n", root.display()));
    std::fs::remove_file(root.join("build/Makefile")).unwrap();
    let without_makefile = Tree::look(&root.join("build"));
    std::fs::remove_dir_all(&root).unwrap();
    assert_eq!(beside.release, "7.3.4-1-distro");
    assert_eq!(beside.text("CC_VERSION_TEXT"), GCC);
    for mut tree in [beside, elsewhere] {
        tree.config.push_str("CONFIG_OBJTOOL=y\n");
        let found = check(&tree, Distribution::User, &compilers());
        assert_eq!(found, Findings::default());
    }
    let found = check(&without_sources, Distribution::User, &compilers());
    assert!(found.missing[0].starts_with("scripts/module-common.c is not there,"));
    assert!(without_makefile.is_none());
}
