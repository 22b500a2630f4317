// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which gates a checkout has: the folders below `gates` with a kernel side, in the order of
//! `gates/lib.rs`.
//!
//! That is a `module.rs`; or a `builtin.rs`, which a patch in `kernel/patches` puts into the kernel
//! itself. See [`crate::patches`].
//!
//! A gate that can be reached from another machine has an `elsewhere.rs` as well, with what its program does
//! there. It gets a second machine, beside the one that its turn is on.

use anyhow::{Context, Result, bail};
use std::path::Path;

/// A gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The name of its folder.
    pub name: String,
    /// What it is, as the first line of its chapter says.
    pub title: String,
    /// Its folder, relative to that of the project.
    pub folder: String,
    /// The module that its kernel side is in; `None` if that is part of the kernel.
    pub module: Option<String>,
    /// Whether its program runs on another machine as well.
    pub elsewhere: bool,
    /// Whether its module has a twin: the same in C.
    pub twin: bool,
}

impl Gate {
    /// Where its kernel side is.
    pub fn kernel_side(&self) -> KernelSide {
        match self.module {
            Some(_) => KernelSide::Module,
            None => KernelSide::BuiltIn,
        }
    }
}

/// Where the kernel side of a gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelSide {
    /// In a module of its own.
    Module,
    /// In the kernel.
    BuiltIn,
}

impl KernelSide {
    /// The file with its source, in the gate's folder.
    pub fn file(self) -> &'static str {
        match self {
            Self::Module => "module.rs",
            Self::BuiltIn => "builtin.rs",
        }
    }

    /// That of the gate in `folder`, if there is one.
    pub fn find(folder: &Path) -> Option<Self> {
        [Self::Module, Self::BuiltIn]
            .into_iter()
            .find(|side| folder.join(side.file()).exists())
    }
}

/// Finds them, and sees to it that both compilers are told of each.
pub fn find(repository: &Path) -> Result<Vec<Gate>> {
    let read = |path: &str| {
        let path = repository.join(path);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let modules = words(&read("Kbuild")?, "\ngates := ", "\n");
    let user_side = words(&read("gates/lib.rs")?, "\ngates! {", "}");

    let mut gates = Vec::new();
    for entry in std::fs::read_dir(repository.join("gates")).context("reading gates")? {
        let folder = entry?.path();
        let Some(kernel_side) = KernelSide::find(&folder) else {
            continue;
        };
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if kernel_side == KernelSide::Module && !modules.contains(&name) {
            bail!("gates/{name} has a module.rs; name it in Kbuild, at `gates :=`");
        }
        if !user_side.contains(&name) {
            bail!("gates/{name} is a gate; name it in gates/lib.rs, at `gates!`");
        }
        let chapter = read(&format!("gates/{name}/README.md")).unwrap_or_default();
        let first = chapter.lines().next().unwrap_or_default();
        let title = first
            .split_once(": ")
            .map_or("", |(_, title)| title)
            .to_owned();
        gates.push(Gate {
            folder: format!("gates/{name}"),
            module: (kernel_side == KernelSide::Module).then(|| format!("callgate_{name}")),
            name,
            title,
            elsewhere: folder.join("elsewhere.rs").exists(),
            twin: folder.join("twin.c").exists(),
        });
    }
    let find = |name: &str| gates.iter().find(|gate| gate.name == name);
    for listed in modules {
        if find(&listed).is_none_or(|gate| gate.module.is_none()) {
            bail!("Kbuild names `{listed}`, but there is no gates/{listed}/module.rs");
        }
    }
    for listed in &user_side {
        if find(listed).is_none() {
            bail!("gates/lib.rs names `{listed}`, but gates/{listed} has no kernel side");
        }
    }
    gates.sort_by_key(|gate| user_side.iter().position(|name| *name == gate.name));
    Ok(gates)
}

/// The words between the last `start` and the next `end`.
fn words(text: &str, start: &str, end: &str) -> Vec<String> {
    let list = text.rsplit_once(start).map_or("", |(_, rest)| rest);
    let list = list.split(end).next().unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A checkout with one gate, `door`, whose kernel side is in `file`, and these lists.
    fn checkout(name: &str, file: &str, kernel: &str, user: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("callgate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("gates/door")).unwrap();
        fs::write(root.join("gates/door").join(file), "").unwrap();
        fs::write(
            root.join("gates/door/README.md"),
            "# door: one to go through\n",
        )
        .unwrap();
        fs::write(root.join("Kbuild"), format!("#\ngates := {kernel}\n")).unwrap();
        fs::write(
            root.join("gates/lib.rs"),
            format!("//\ngates! {{\n{user}\n}}\n"),
        )
        .unwrap();
        root
    }

    /// What is found in it.
    fn found(name: &str, file: &str, kernel: &str, user: &str) -> Result<Vec<Gate>> {
        let root = checkout(name, file, kernel, user);
        let found = find(&root);
        fs::remove_dir_all(root).unwrap();
        found
    }

    #[test]
    fn a_gate_in_its_lists_is_found_with_its_title() {
        for (file, kernel, module) in [
            ("module.rs", "door", Some("callgate_door")),
            ("builtin.rs", "", None),
        ] {
            let gate = Gate {
                name: "door".into(),
                title: "one to go through".into(),
                folder: "gates/door".into(),
                module: module.map(str::to_owned),
                elsewhere: false,
                twin: false,
            };
            assert_eq!(found("both", file, kernel, "door").unwrap(), [gate]);
        }
    }

    #[test]
    fn a_gate_that_is_reached_from_another_machine_says_so_by_a_file() {
        let elsewhere = |name, file| {
            let root = checkout(name, "module.rs", "door", "door");
            fs::write(root.join("gates/door").join(file), "").unwrap();
            let found = find(&root);
            fs::remove_dir_all(root).unwrap();
            found.unwrap()[0].elsewhere
        };
        assert!(elsewhere("reached", "elsewhere.rs"));
        assert!(!elsewhere("not-reached", "program.rs"));
    }

    #[test]
    fn a_forgotten_list_is_named() {
        for (name, file, kernel, user, said) in [
            ("kernel", "module.rs", "", "door", "name it in Kbuild"),
            ("user", "module.rs", "door", "", "name it in gates/lib.rs"),
            ("program", "builtin.rs", "", "", "name it in gates/lib.rs"),
            (
                "folder",
                "module.rs",
                "door window",
                "door",
                "no gates/window/module.rs",
            ),
            (
                "side",
                "module.rs",
                "door",
                "door window",
                "gates/window has no kernel side",
            ),
            (
                "built-in",
                "builtin.rs",
                "door",
                "door",
                "no gates/door/module.rs",
            ),
        ] {
            let error = found(name, file, kernel, user).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
