// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's source: found, fetched, checked, unpacked.
//!
//! In this order: the tree the user names; what an earlier run fetched; Debian's package, checked by
//! apt's signatures; the tarball from kernel.org, checked against the sums published with it.

mod checksum;
mod debian;
mod kernel_org;
mod tree;

pub use checksum::{Altered, sha256};
pub use debian::AptArea;
pub use kernel_org::KERNEL_ORG;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cache::{self, Cache};
use crate::command::{Cmd, Interrupted, note, step};
use crate::toolchain::Version;

/// The kernel series this project is written for: `kernel` is no stable interface.
pub const SERIES: (u32, u32) = (7, 3);

/// The directory of the cache with the fetched sources.
const SOURCES: &str = "sources";

/// The file beside a fetched tarball that says what it is.
const RECORD: &str = "source.json";

/// A kernel source that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The kernel's version, such as `7.3.4`.
    pub version: String,
    /// Where it came from, for people.
    pub origin: String,
    /// Changes whenever the contents do: a part of every key under which results are kept.
    pub identity: String,
    /// The tarball or the tree.
    pub form: Form,
}

/// How a source lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A `.tar.xz` whose SHA-256 is the source's identity.
    Tarball(PathBuf),
    /// A directory of the user's.
    Tree(PathBuf),
}

/// No way to a source worked.
#[derive(Debug, thiserror::Error)]
#[error(
    "no source of Linux {}.{} could be had:{}\n`--kernel-source DIR` names an unpacked tree instead",
    SERIES.0, SERIES.1, .reasons.iter().fold(String::new(), |all, reason| all + "\n  " + reason)
)]
pub struct NoSource {
    /// What each way said.
    pub reasons: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: String,
    origin: String,
    sha256: String,
    file: String,
}

/// Finds or fetches the kernel's source. A tree of the user's (`--kernel-source`) is only read.
pub fn kernel_source(cache: &Cache, tree: Option<&Path>) -> Result<Source> {
    if let Some(dir) = tree {
        return tree::source(dir);
    }
    if let Some(kept) = kept(cache) {
        return Ok(kept);
    }
    let lock = cache.lock("kernel-source")?;
    if let Some(kept) = kept(cache) {
        return Ok(kept);
    }
    let mut reasons = Vec::new();
    for (name, way) in [
        (
            "Debian",
            debian::fetch_kernel as fn(&Cache) -> Result<Source>,
        ),
        ("kernel.org", |cache| {
            kernel_org::fetch_kernel(cache, KERNEL_ORG)
        }),
    ] {
        match way(cache) {
            Ok(source) => {
                note(&format!(
                    "callgate: Linux {} from {}",
                    source.version, source.origin
                ));
                return Ok(source);
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => reasons.push(format!("{name}: {error:#}")),
        }
    }
    drop(lock);
    Err(NoSource { reasons }.into())
}

/// Fetches the newest tarball of the series from a server laid out like kernel.org.
pub fn from_kernel_org(cache: &Cache, base: &str) -> Result<Source> {
    let _lock = cache.lock("kernel-source")?;
    kernel_org::fetch_kernel(cache, base)
}

/// Unpacks a source into the cache, unless that was done. Either all of it appears, or nothing.
///
/// The caller holds the lock under which the tree is used.
pub fn unpack(cache: &Cache, source: &Source) -> Result<PathBuf> {
    let into = unpacked(cache, source);
    if into.is_dir() {
        return Ok(into);
    }
    let scratch = cache.scratch("linux")?;
    match &source.form {
        Form::Tree(dir) => tree::copy(dir, scratch.path())?,
        Form::Tarball(file) => {
            let checked = checksum::require(file, &source.identity);
            if checked.as_ref().is_err_and(anyhow::Error::is::<Altered>) {
                // Without its record it is not offered again: the next run fetches it anew.
                cache::remove(&file.with_file_name(RECORD))?;
            }
            checked?;
            extract(file, scratch.path())?;
        }
    }
    cache.publish(scratch, &into)
}

/// Removes what [`unpack`] made; unpacking again takes seconds.
pub fn discard(cache: &Cache, source: &Source) -> Result<()> {
    let tree = unpacked(cache, source);
    if !tree.exists() {
        return Ok(());
    }
    // In one step, so that a removal cut short does not leave half a tree in its place.
    let scratch = cache.scratch("discarded")?;
    fs::rename(&tree, scratch.path().join("linux"))
        .with_context(|| format!("removing {}", tree.display()))
}

/// Where [`unpack`] puts a source.
pub fn unpacked(cache: &Cache, source: &Source) -> PathBuf {
    let short = source.identity.get(..12).unwrap_or(&source.identity);
    cache.path(format!("linux-{}-{short}", source.version))
}

/// The newest source that an earlier run fetched.
fn kept(cache: &Cache) -> Option<Source> {
    let entries = fs::read_dir(cache.path(SOURCES)).ok()?.flatten();
    entries
        .filter_map(|entry| recorded(&entry.path()))
        .max_by_key(|source| Version::find(&source.version))
}

fn recorded(dir: &Path) -> Option<Source> {
    let record: Record = serde_json::from_slice(&fs::read(dir.join(RECORD)).ok()?).ok()?;
    let file = dir.join(&record.file);
    file.is_file().then_some(Source {
        version: record.version,
        origin: record.origin,
        identity: record.sha256,
        form: Form::Tarball(file),
    })
}

/// Keeps a checked tarball, with its record, for later runs.
fn keep(
    cache: &Cache,
    tarball: &Path,
    version: Version,
    origin: String,
    name: &str,
) -> Result<Source> {
    let scratch = cache.scratch("source")?;
    let record = Record {
        version: version.to_string(),
        origin,
        sha256: sha256(tarball)?,
        file: format!("{name}.tar.xz"),
    };
    fs::rename(tarball, scratch.path().join(&record.file))
        .context("keeping the kernel's source")?;
    let json = serde_json::to_vec_pretty(&record).context("describing the kernel's source")?;
    fs::write(scratch.path().join(RECORD), json).context("keeping the kernel's source")?;
    let dir = cache.replace(scratch, Path::new(SOURCES).join(name))?;
    recorded(&dir).context("the source just kept cannot be read back")
}

fn extract(tarball: &Path, into: &Path) -> Result<()> {
    /// tar counts in records of this size.
    const RECORD_SIZE: u64 = 10 * 1024;
    let listed = Cmd::new("xz")
        .args(["--robot", "--list"])
        .arg(tarball)
        .output()?;
    let total = listed
        .lines()
        .find(|line| line.starts_with("totals"))
        .and_then(|line| line.split('\t').nth(4)?.parse().ok())
        .unwrap_or(0);
    let step = step("unpacking the kernel's source");
    Cmd::new("tar")
        .args([
            "--extract",
            "--strip-components=1",
            "--no-same-owner",
            "--checkpoint=1000",
        ])
        .args(["--use-compress-program", "xz -T0", "--directory"])
        .arg(into)
        .arg("--file")
        .arg(tarball)
        .on_line(|line| {
            let records = line
                .rsplit(' ')
                .next()
                .and_then(|word| word.parse::<u64>().ok());
            step.at(records.unwrap_or(0) * RECORD_SIZE, total);
        })
        .run()
        .context("unpacking the kernel's source")
}
