// SPDX-License-Identifier: MIT OR Apache-2.0

//! A kernel tree of the user's own. It is read, never written: builds use a copy.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::command::{Cmd, check_interrupted, step};
use crate::toolchain::Version;

use super::{Form, SERIES, Source};

/// Checks that a directory is a kernel tree of the series or newer, and takes its fingerprint.
pub(super) fn source(dir: &Path) -> Result<Source> {
    let shown = dir.display();
    let dir = fs::canonicalize(dir).with_context(|| format!("--kernel-source {shown}"))?;
    let makefile = fs::read_to_string(dir.join("Makefile"))
        .with_context(|| format!("--kernel-source {shown}: no kernel tree"))?;
    let version = version(&makefile)
        .filter(|_| dir.join("Kconfig").is_file() && dir.join("rust/kernel").is_dir())
        .with_context(|| format!("--kernel-source {shown}: no kernel tree with Rust in it"))?;
    if (version.major, version.minor) < SERIES {
        let (major, minor) = SERIES;
        bail!(
            "--kernel-source {shown}: this is Linux {version}; {major}.{minor} or newer is needed"
        );
    }
    let mut hash = Sha256::new();
    fingerprint(&dir, Path::new(""), &mut hash)?;
    let identity = hash
        .finalize()
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let origin = format!("the tree {}", dir.display());
    Ok(Source {
        version: version.to_string(),
        origin,
        identity,
        form: Form::Tree(dir),
    })
}

/// Copies a tree without its history and without what was built in it.
pub(super) fn copy(dir: &Path, to: &Path) -> Result<()> {
    let step = step("copying the kernel tree");
    Cmd::new("sh")
        .args([
            "-c",
            r#"tar -C "$1" --exclude=./.git -cf - . | tar -C "$2" -xf -"#,
            "sh",
        ])
        .arg(dir)
        .arg(to)
        .run()
        .context("copying the kernel tree")?;
    // kbuild refuses to build elsewhere from a tree that was itself built or configured.
    if to.join(".config").exists() || to.join("include/config").exists() {
        Cmd::new("make")
            .args(["-s", "mrproper"])
            .dir(to)
            .run()
            .context("cleaning the copy")?;
    }
    drop(step);
    Ok(())
}

fn version(makefile: &str) -> Option<Version> {
    let number = |key: &str| -> Option<u32> {
        let line = makefile
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='))?;
        line.trim().parse().ok()
    };
    Some(Version::new(
        number("VERSION")?,
        number("PATCHLEVEL")?,
        number("SUBLEVEL")?,
    ))
}

/// Names, sizes and times of all files: cheap, and different after any ordinary change.
fn fingerprint(root: &Path, below: &Path, hash: &mut Sha256) -> Result<()> {
    check_interrupted()?;
    let dir = root.join(below);
    let reading = || format!("reading {}", dir.display());
    let mut entries = fs::read_dir(&dir)
        .with_context(reading)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(reading)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries.iter().filter(|entry| entry.file_name() != ".git") {
        let meta = entry.metadata().with_context(reading)?;
        let path = below.join(entry.file_name());
        if meta.is_dir() {
            fingerprint(root, &path, hash)?;
        } else {
            let changed = meta.modified().with_context(reading)?;
            hash.update(format!("{} {} {changed:?}\n", path.display(), meta.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_makefile() {
        let makefile = "# SPDX\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n";
        assert_eq!(version(makefile), Some(Version::new(7, 3, 4)));
        assert_eq!(version("VERSION = 7\n"), None);
    }
}
