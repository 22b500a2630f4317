// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is done to the kernel's source before a kernel is built from it: the files in `kernel/patches`.

use crate::Lab;
use crate::command::Cmd;
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Where x86-64 gives system calls their numbers.
const TABLE: &str = "arch/x86/entry/syscalls/syscall_64.tbl";

/// Begins the line above each new file of a patch that is a copy of one of ours: its path, then
/// [`COPY_ENDS`].
const COPY: &str = "From ";
const COPY_ENDS: &str = ", to the letter:";

/// The patches that every kernel gets, in the order of their names; and what they say.
pub fn find(lab: &Lab) -> Result<(Vec<PathBuf>, String)> {
    let directory = lab.source.join("kernel/patches");
    let mut paths = fs::read_dir(&directory)
        .with_context(|| format!("reading {}", directory.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    let texts = paths.iter().map(fs::read_to_string);
    let text = texts
        .collect::<std::io::Result<String>>()
        .context("reading the kernel patches")?;
    Ok((paths, text))
}

/// Applies `patch`, a file, to a kernel tree, if the system calls it adds are free there.
pub fn apply(patch: &Path, tree: &Path) -> Result<()> {
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    check_system_calls(&read(patch)?, &read(&tree.join(TABLE))?)?;
    Cmd::new("patch")
        .args(["--strip=1", "--batch", "--forward", "--directory"])
        .arg(tree)
        .arg("--input")
        .arg(patch)
        .run()
}

/// Sees to it that the numbers and names of system calls that `patch` adds are nobody's in `table`.
fn check_system_calls(patch: &str, table: &str) -> Result<()> {
    let given: Vec<_> = table.lines().filter_map(system_call).collect();
    for (number, name) in added_system_calls(patch) {
        for &(other_number, other_name) in &given {
            if number == other_number {
                bail!(
                    "system call number {number}, which the patch wants for {name}, is {other_name}'s \
                     in this kernel: take one that is free, in the patch and in the abi.rs that has it"
                );
            }
            if name == other_name {
                bail!(
                    "this kernel has a system call {name} already, with number {other_number}: is the \
                     patch in its source?"
                );
            }
        }
    }
    Ok(())
}

/// Numbers and names of the system calls that a patch adds.
pub fn added_system_calls(patch: &str) -> Vec<(u32, &str)> {
    let mut in_table = false;
    let mut added = Vec::new();
    for line in patch.lines() {
        if let Some(file) = line.strip_prefix("+++ ") {
            in_table = file.ends_with(TABLE);
        } else if in_table && let Some(line) = line.strip_prefix('+') {
            added.extend(system_call(line));
        }
    }
    added
}

/// Number and name in a line of the table. The lines above 512 that are for x32 alone are among them.
fn system_call(line: &str) -> Option<(u32, &str)> {
    let mut words = line.split_whitespace();
    let number = words.next()?.parse().ok()?;
    let _abi = words.next()?;
    Some((number, words.next()?))
}

/// What `patch` would say if its copies of files in `repository` were made now.
pub fn with_copies(patch: &str, repository: &Path) -> Result<String> {
    let mut made = String::new();
    let mut lines = patch.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(made, "{line}")?;
        let copied = line
            .strip_prefix(COPY)
            .and_then(|rest| rest.strip_suffix(COPY_ENDS));
        let Some(source) = copied else { continue };
        for header in ["--- /dev/null", "+++ b/"] {
            let line = lines.next().unwrap_or_default();
            if !line.starts_with(header) {
                bail!("no line `{header}…` follows the copy of {source}");
            }
            writeln!(made, "{line}")?;
        }
        while lines.next_if(|line| line.starts_with(['@', '+'])).is_some() {}
        let source = repository.join(source);
        let text =
            fs::read_to_string(&source).with_context(|| format!("reading {}", source.display()))?;
        writeln!(made, "@@ -0,0 +1,{} @@", text.lines().count())?;
        for line in text.lines() {
            writeln!(made, "+{line}")?;
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE_OF_THREE: &str = "# number abi name entry\n1\tcommon\twrite\t\tsys_write\n\n5 64 b sys_b\n512\tx32\tc\tsys_c\n";

    fn adding(lines: &str) -> String {
        format!(
            "7 common why it is done\n--- a/{TABLE}\n+++ b/{TABLE}\n@@ -1,1 +1,2 @@\n 1\tcommon\twrite\n\
             {lines}--- a/kernel/Makefile\n+++ b/kernel/Makefile\n+9 common not_a_call\n"
        )
    }

    #[test]
    fn added_calls_are_found_in_the_table_alone() {
        let patch = adding("+473\tcommon\tx\t\tsys_x\n+# a comment\n+474 64 y sys_y\n");
        assert_eq!(added_system_calls(&patch), [(473, "x"), (474, "y")]);
        check_system_calls(&patch, TABLE_OF_THREE).unwrap();
    }

    #[test]
    fn a_number_or_name_that_is_taken_is_said_so() {
        for (line, said) in [
            (
                "+5\tcommon\tx\tsys_x\n",
                "number 5, which the patch wants for x, is b's",
            ),
            ("+512\tcommon\tx\tsys_x\n", "is c's"),
            (
                "+6\tcommon\twrite\tsys_write\n",
                "a system call write already, with number 1",
            ),
        ] {
            let error = check_system_calls(&adding(line), TABLE_OF_THREE).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn copies_are_made_anew() {
        let root = std::env::temp_dir().join(format!("callgate-copies-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("one.rs"), "new\n\nlines\n").unwrap();
        let patch = "why\n\nFrom one.rs, to the letter:\n--- /dev/null\n+++ b/x/one.rs\n@@ -0,0 +1,1 @@\n\
                     +old\n\n--- a/y\n+++ b/y\n@@ -1,1 +1,2 @@\n y\n+z\n";
        let made = with_copies(patch, &root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let new = "@@ -0,0 +1,3 @@\n+new\n+\n+lines\n\n--- a/y";
        assert!(made.contains(new) && !made.contains("old"), "{made}");
        assert!(
            made.starts_with("why\n") && made.ends_with("+z\n"),
            "{made}"
        );
    }
}
