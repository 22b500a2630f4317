// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a project can be called: its module, its program and its package all have that name.

use super::Refused;
use std::path::Path;

/// `MODULE_NAME_LEN` of `include/linux/module.h`, which counts a NUL: 64 bytes without the pointer that ends
/// there.
const LONGEST: usize = 55;

/// What is a word of the language, or the name of a crate that one side or the other has already.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "anyhow",
    "as",
    "async",
    "await",
    "become",
    "bindings",
    "box",
    "break",
    "build_error",
    "callgate",
    "callgate_kernel",
    "compiler_builtins",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "ffi",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "kernel",
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
    "override",
    "pin_init",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "rustix",
    "self",
    "static",
    "std",
    "struct",
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
    "virtual",
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
        return refuse("Rust, the kernel or a library has that name already");
    }
    if Path::new("/sys/module").join(name).exists() {
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
            (&long, "55 bytes"),
            ("/my projects/door", "without spaces"),
            ("/a:b/door", "its characters"),
        ] {
            let said = of(Path::new(folder)).unwrap_err().to_string();
            assert!(said.contains(why), "{folder}: {said}");
        }
    }
}
