// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packs callgate's own source into one archive, for the command that runs outside its checkout:
//! `src/home.rs` unpacks it. Of the same files it makes the same bytes, wherever and whenever.

#![forbid(unsafe_code)]

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What kernels, modules, programs and the handbook are made from, and cargo's workspace around it.
const PARTS: [&str; 14] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Kbuild",
    "LICENSES",
    "README.md",
    "book",
    "cli",
    "gates",
    "guest",
    "kernel",
    "lab",
    "user",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("the command is not in a workspace")?;
    for part in PARTS {
        println!("cargo:rerun-if-changed={}", root.join(part).display());
    }

    let mut archive = tar::Builder::new(Vec::new());
    archive.mode(tar::HeaderMode::Deterministic);
    for file in files(root)? {
        archive.append_path_with_name(root.join(&file), &file)?;
    }
    let archive = archive.into_inner()?;

    let mut hash = String::new();
    for byte in &Sha256::digest(&archive)[..6] {
        write!(hash, "{byte:02x}")?;
    }
    let version = env!("CARGO_PKG_VERSION");
    println!("cargo:rustc-env=CALLGATE_SOURCE={version}-{hash}");

    let output = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo runs this")?);
    let output = File::create(output.join("source.tar.gz"))?;
    let mut output = GzBuilder::new().write(output, Compression::best());
    std::io::Write::write_all(&mut output, &archive)?;
    output.finish()?;
    Ok(())
}

/// The files to pack, in their order. In a checkout, those that git does not ignore: a new one belongs to
/// the source before it is added. Elsewhere there should be no others.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>, Box<dyn Error>> {
    let mut files = BTreeSet::new();
    if root.join(".git").exists() {
        let git = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(["ls-files", "-z", "--cached", "--others"])
            .args(["--exclude-standard", "--"])
            .args(PARTS)
            .output();
        if let Ok(listed) = git
            && listed.status.success()
        {
            let paths = listed.stdout.split(|byte| *byte == 0);
            files.extend(paths.map(|path| PathBuf::from(OsStr::from_bytes(path))));
            // The last one is empty, and one that was deleted is listed until git is told.
            files.retain(|path| root.join(path).is_file());
            return Ok(files);
        }
    }
    for part in PARTS {
        find(root, Path::new(part), &mut files)?;
    }
    Ok(files)
}

fn find(root: &Path, path: &Path, files: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    if root.join(path).is_dir() {
        for entry in fs::read_dir(root.join(path))? {
            find(root, &path.join(entry?.file_name()), files)?;
        }
    } else {
        files.insert(path.to_owned());
    }
    Ok(())
}
