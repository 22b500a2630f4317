// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a project can be called: its module, its program and its package all have that name.

use super::Refused;
use std::path::Path;

/// `MODULE_NAME_LEN` of `include/linux/module.h`, which counts a NUL: 64 bytes without the pointer that ends
/// there.
const LONGEST: usize = 55;

/// What is a word of the language; the name of a crate that one side or the other has already; what means
/// something else to Kbuild with `-y` after it, or to modpost; or a folder of Cargo's.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "always",
    "anyhow",
    "as",
    "asflags",
    "async",
    "await",
    "become",
    "bindings",
    "box",
    "break",
    "build",
    "build_error",
    "callgate",
    "callgate_kernel",
    "ccflags",
    "compiler_builtins",
    "const",
    "continue",
    "core",
    "cppflags",
    "crate",
    "deps",
    "do",
    "dtb",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "extra",
    "false",
    "ffi",
    "final",
    "fn",
    "for",
    "gen",
    "hostprogs",
    "if",
    "impl",
    "in",
    "incremental",
    "kernel",
    "ldflags",
    "let",
    "lib",
    "libc",
    "loop",
    "macro",
    "macros",
    "main",
    "match",
    "mod",
    "module",
    "move",
    "mut",
    "obj",
    "override",
    "pin_init",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "rustflags",
    "rustix",
    "self",
    "static",
    "std",
    "struct",
    "subdir",
    "super",
    "target",
    "test",
    "thiserror",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "uapi",
    "union",
    "unsafe",
    "unsized",
    "use",
    "userprogs",
    "virtual",
    "vmlinux",
    "where",
    "while",
    "yield",
    "zerocopy",
    "zerocopy_derive",
];

/// The name of the project in `folder`, which is that of the folder.
pub fn of(folder: &Path) -> Result<String, Refused> {
    let path = folder.display();
    let name = folder.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        return Err(Refused(format!("`{path}` has no name for a project")));
    };
    let refuse = |why: &str| {
        Err(Refused(format!(
            "a project cannot be called `{name}`: {why}"
        )))
    };
    if name.len() > LONGEST {
        return refuse(&format!("a module's name has {LONGEST} bytes at most"));
    }
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_word) {
        return refuse(
            "module, program and package have this name, so it is of lower-case letters, digits and `_`, \
             and begins with a letter",
        );
    }
    if TAKEN.contains(&name) {
        return refuse("Rust, Cargo, the kernel or a library has that name already");
    }
    if Path::new("/sys/module").join(name).exists() || is_installed(name) {
        return refuse("the kernel that runs here has a module of that name");
    }
    // make takes it for the end of the path.
    if folder.to_string_lossy().contains(char::is_whitespace) {
        return Err(Refused(format!(
            "the kernel's build cannot work in `{path}`: it must be a path without spaces"
        )));
    }
    if folder
        .to_string_lossy()
        .contains(['#', ':', '$', '%', '\\', '"', '\''])
    {
        return Err(Refused(format!(
            "the kernel's build cannot work in `{path}`: make takes one of its characters for its own"
        )));
    }
    Ok(name.to_owned())
}

/// Whether the kernel that runs here could load a module of this name, or is built with it.
fn is_installed(name: &str) -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let folder = Path::new("/lib/modules").join(&*release);
    // Where a machine does not have these files, there is nothing to be mistaken for.
    ["modules.dep", "modules.builtin"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(folder.join(file)).ok())
        .any(|modules| lists(&modules, name))
}

/// Whether a file such as `modules.dep` lists a module of this name, in which `-` is `_`.
fn lists(modules: &str, name: &str) -> bool {
    modules.lines().any(|line| {
        let path = line.split(':').next().unwrap_or(line);
        let file = path.rsplit('/').next().unwrap_or(path);
        let listed = file.split_once(".ko").map(|(listed, _)| listed);
        listed.is_some_and(|listed| listed.replace('-', "_") == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_the_folder() {
        assert_eq!(of(Path::new("/somewhere/my_dev2")).unwrap(), "my_dev2");
        assert_eq!(of(Path::new("/où/mydev")).unwrap(), "mydev");
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_with_the_reason() {
        let long = format!("/{}", "a".repeat(LONGEST + 1));
        for (folder, why) in [
            ("/", "no name"),
            ("/x/..", "no name"),
            ("/My", "lower-case"),
            ("/my-dev", "lower-case"),
            ("/2nd", "begins with a letter"),
            ("/_x", "begins with a letter"),
            ("/naïve", "lower-case"),
            ("/loop", "already"),
            ("/kernel", "already"),
            ("/anyhow", "already"),
            ("/ccflags", "already"),
            ("/vmlinux", "already"),
            ("/deps", "already"),
            (&long, "55 bytes"),
            ("/my projects/door", "without spaces"),
            ("/a:b/door", "its characters"),
        ] {
            let said = of(Path::new(folder)).unwrap_err().to_string();
            assert!(said.contains(why), "{folder}: {said}");
        }
    }

    #[test]
    fn a_module_that_is_not_loaded_has_its_name_as_well() {
        let modules = "kernel/drivers/net/dummy.ko.xz:\n\
            kernel/drivers/net/veth.ko: kernel/net/core/peer.ko\n\
            kernel/drivers/usb/snd-usb.ko.zst:\n\
            kernel/fs/ext4/ext4.ko\n";
        for name in ["dummy", "veth", "snd_usb", "ext4"] {
            assert!(lists(modules, name), "{name}");
        }
        for name in ["dumm", "peer", "net", "ko", "kernel"] {
            assert!(!lists(modules, name), "{name}");
        }
    }
}
