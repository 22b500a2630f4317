// SPDX-License-Identifier: MIT OR Apache-2.0

//! Directories for work in progress, told apart from a dead run's by a `flock` on the directory.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

/// A directory that goes away with this value, unless it was published.
#[derive(Debug)]
#[must_use = "the directory is removed at once when it is not kept"]
pub struct Scratch {
    path: PathBuf,
    _held: File,
    published: bool,
}

impl Scratch {
    pub(super) fn new(dir: &Path, name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = name.replace('/', "-");
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{name}.{}.{next}", process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.with_context(|| format!("making {}", path.display()))?,
            }
            // A run that cleans up may have taken it for a dead one's before it was held.
            if let Some(held) = hold(&path).filter(|_| path.exists()) {
                return Ok(Self {
                    path,
                    _held: held,
                    published: false,
                });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn published(mut self) {
        self.published = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now goes when the next run opens the cache.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn hold(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

/// Removes the directories that no living process holds.
pub(super) fn remove_stale(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if let Some(held) = hold(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
            drop(held);
        }
    }
}
