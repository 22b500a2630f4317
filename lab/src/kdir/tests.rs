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
";

const FILES: [&str; 8] = [
    "Makefile",
    "Module.symvers",
    "include/generated/rustc_cfg",
    "rust/libcore.rmeta",
    "rust/libkernel.rmeta",
    "rust/libmacros.so",
    "scripts/target.json",
    "tools/bpf/resolve_btfids/resolve_btfids",
];

fn tree(config: &str, files: &[&str]) -> Tree {
    let files = files.iter().map(|&file| file.to_owned());
    Tree::new(Path::new("/build"), config, "7.3.4-1-distro", files)
}

fn compilers() -> Compilers {
    Compilers {
        rustc: Some(RUSTC.into()),
        cc: Some(GCC.into()),
        pahole: true,
    }
}

/// What is missing without these files, if `option` is set as well.
fn missing(option: &str, without: &[&str]) -> Vec<String> {
    let files: Vec<_> = FILES
        .into_iter()
        .filter(|file| !without.contains(file))
        .collect();
    let tree = tree(&format!("{CONFIG}{option}"), &files);
    check(&tree, Distribution::Ubuntu, &compilers()).missing
}

#[test]
fn a_complete_tree_has_nothing_missing_and_nothing_to_be_said() {
    let found = check(&tree(CONFIG, &FILES), Distribution::User, &compilers());
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
    for (file, said) in [
        ("rust/libcore.rmeta", "linux-lib-rust-7.3.4-1-distro"),
        ("rust/libkernel.rmeta", "linux-lib-rust-7.3.4-1-distro"),
        ("rust/libmacros.so", "linux-lib-rust-7.3.4-1-distro"),
        ("scripts/target.json", "linux-lib-rust-7.3.4-1-distro"),
        (
            "include/generated/rustc_cfg",
            "linux-lib-rust-7.3.4-1-distro",
        ),
        ("Module.symvers", "linux-headers-7.3.4-1-distro"),
    ] {
        let missing = missing("", &[file]);
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
}

#[test]
fn pahole_is_needed_only_where_there_is_a_vmlinux_to_compare_with() {
    let with_vmlinux = [&FILES[..], &["vmlinux"]].concat();
    let no_pahole = Compilers {
        pahole: false,
        ..compilers()
    };
    let missing = |config: &str, files: &[&str]| {
        check(&tree(config, files), Distribution::User, &no_pahole).missing
    };
    assert_eq!(missing(CONFIG, &FILES).len(), 0);
    assert!(missing(CONFIG, &with_vmlinux)[0].contains("install pahole"));
    let without_types = CONFIG.replace("CONFIG_DEBUG_INFO_BTF_MODULES=y", "");
    assert_eq!(missing(&without_types, &with_vmlinux).len(), 0);
    let found = check(
        &tree(CONFIG, &["vmlinux", "Module.symvers"]),
        Distribution::User,
        &compilers(),
    );
    assert!(found.missing[1].starts_with("tools/bpf/resolve_btfids/resolve_btfids is"));
}

#[test]
fn another_rustc_is_an_obstacle_and_the_right_one_is_named() {
    let with = |built: &str, here: Option<&str>| {
        let config = CONFIG.replace(RUSTC, built);
        let compilers = Compilers {
            rustc: here.map(str::to_owned),
            ..compilers()
        };
        check(&tree(&config, &FILES), Distribution::Debian, &compilers).missing
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
        check(&tree(CONFIG, &FILES), Distribution::User, &compilers)
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
    let found = check(&tree(&clang, &FILES), Distribution::User, &no_cc);
    assert!(
        found.missing[0].contains("clang, lld and llvm"),
        "{found:?}"
    );
}

#[test]
fn another_series_is_a_warning() {
    let mut other = tree(CONFIG, &FILES);
    other.release = "7.4.1-arch1-1".into();
    let found = check(&other, Distribution::Arch, &compilers());
    assert!(found.warnings[0].contains("7.4.1-arch1-1, and callgate is written for 7.3"));
}

#[test]
fn a_kernel_that_wants_signatures_is_told_of_with_the_command() {
    let after = |options: &str| {
        let config = format!("{CONFIG}{options}CONFIG_MODULE_SIG_HASH=sha256\n");
        check(&tree(&config, &FILES), Distribution::User, &compilers()).afterwards
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
    for (file, text) in [
        ("include/config/auto.conf", CONFIG),
        ("include/config/kernel.release", "7.3.4-1-distro\n"),
    ]
    .into_iter()
    .chain(FILES.map(|file| (file, "")))
    {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let found = Tree::look(&root).unwrap();
    std::fs::remove_file(root.join("Makefile")).unwrap();
    let without_makefile = Tree::look(&root);
    std::fs::remove_dir_all(&root).unwrap();
    assert_eq!(found.release, "7.3.4-1-distro");
    assert_eq!(found.text("CC_VERSION_TEXT"), GCC);
    assert_eq!(
        check(&found, Distribution::User, &compilers()),
        Findings::default()
    );
    assert!(without_makefile.is_none());
}
