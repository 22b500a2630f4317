// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which gates a checkout has: the folders below `gates` with a kernel side.

use anyhow::{Context, Result, bail};
use std::path::Path;

/// A gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The name of its folder.
    pub name: String,
    /// What it is, as the first line of its chapter says.
    pub title: String,
}

/// Finds them, and sees to it that both compilers are told of each.
pub fn find(repository: &Path) -> Result<Vec<Gate>> {
    let read = |path: &str| {
        let path = repository.join(path);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let kernel_side = words(&read("Kbuild")?, "\ngates := ", "\n");
    let user_side = words(&read("gates/lib.rs")?, "\ngates! {", "}");

    let mut gates = Vec::new();
    for entry in std::fs::read_dir(repository.join("gates")).context("reading gates")? {
        let folder = entry?.path();
        if !folder.join("module.rs").exists() {
            continue;
        }
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !kernel_side.contains(&name) {
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
        gates.push(Gate { name, title });
    }
    for listed in kernel_side.iter().chain(&user_side) {
        if !gates.iter().any(|gate| gate.name == *listed) {
            bail!(
                "Kbuild or gates/lib.rs names `{listed}`, but there is no gates/{listed}/module.rs"
            );
        }
    }
    gates.sort_by(|a, b| a.name.cmp(&b.name));
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

    fn checkout(name: &str, kernel: &str, user: &str) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("callgate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("gates/door")).unwrap();
        fs::write(root.join("gates/door/module.rs"), "").unwrap();
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

    fn found(name: &str, kernel: &str, user: &str) -> Result<Vec<Gate>> {
        let root = checkout(name, kernel, user);
        let found = find(&root);
        fs::remove_dir_all(root).unwrap();
        found
    }

    #[test]
    fn a_gate_in_both_lists_is_found_with_its_title() {
        let [gate] = &found("both", "door", "door").unwrap()[..] else {
            panic!()
        };
        assert_eq!(
            (gate.name.as_str(), gate.title.as_str()),
            ("door", "one to go through")
        );
    }

    #[test]
    fn a_forgotten_list_is_named() {
        for (name, kernel, user, said) in [
            ("kernel", "", "door", "name it in Kbuild"),
            ("user", "door", "", "name it in gates/lib.rs"),
            ("folder", "door window", "door", "no gates/window/module.rs"),
        ] {
            let error = found(name, kernel, user).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
