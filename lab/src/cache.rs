// SPDX-License-Identifier: MIT OR Apache-2.0

//! The one place on the host where callgate keeps what it made: `$XDG_CACHE_HOME/callgate`.
//!
//! Two runs at once and runs killed midway do no harm, by three rules: whoever makes something holds
//! its [`Lock`]; it is made in a [`Scratch`] directory and appears in its final place by one rename;
//! locks and scratch directories are held by `flock`, which ends with the process, however it ends.

mod lock;
mod scratch;

pub use lock::Lock;
pub use scratch::Scratch;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};

const LOCKS: &str = "locks";
const SCRATCH: &str = "scratch";

/// An open cache.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the user's cache, making it when it is not there, and removes what dead runs left.
    pub fn open() -> Result<Self> {
        let Some(place) = user_directory("XDG_CACHE_HOME", ".cache") else {
            bail!(
                "no place for the cache: set XDG_CACHE_HOME (or HOME) to the absolute path of a \
                 directory with room for a few gigabytes"
            );
        };
        Self::open_at(place).context("no place for the cache; XDG_CACHE_HOME names another")
    }

    /// Opens a cache, or what is made and kept by the same rules, at a place of the caller's choice.
    pub fn open_at(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let make = || -> io::Result<()> {
            fs::create_dir_all(root.join(LOCKS))?;
            fs::create_dir_all(root.join(SCRATCH))?;
            Ok(rustix::fs::access(&root, rustix::fs::Access::WRITE_OK)?)
        };
        make().with_context(|| format!("{} cannot be written", root.display()))?;
        scratch::remove_stale(&root.join(SCRATCH));
        Ok(Self { root })
    }

    /// The path of something in the cache. It needs not exist.
    pub fn path(&self, sub: impl AsRef<Path>) -> PathBuf {
        self.root.join(sub)
    }

    /// Where the output of a step is kept, for [`Cmd::log`](crate::command::Cmd::log).
    pub fn log_file(&self, step: &str) -> PathBuf {
        self.root.join("logs").join(format!("{step}.log"))
    }

    /// Waits for the exclusive lock of this name. It is released on drop and when the process dies.
    ///
    /// A name must not be locked again while this process holds it: that would wait for ever.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        Lock::wait(&self.root.join(LOCKS), name)
    }

    /// A fresh, empty directory on the file system of its final place, for [`Cache::publish`].
    pub fn scratch(&self, name: &str) -> Result<Scratch> {
        Scratch::new(&self.root.join(SCRATCH), name)
    }

    /// Puts a finished directory in its place, in one step. When another run was first, its result
    /// stays and this one is discarded: both were made from the same key.
    pub fn publish(&self, scratch: Scratch, to: impl AsRef<Path>) -> Result<PathBuf> {
        let to = self.place(to.as_ref())?;
        match renameat_with(CWD, scratch.path(), CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) => scratch.published(),
            Err(rustix::io::Errno::EXIST) => drop(scratch),
            // A file system without RENAME_NOREPLACE: plain rename refuses a full directory too.
            Err(rustix::io::Errno::INVAL) => match fs::rename(scratch.path(), &to) {
                Ok(()) => scratch.published(),
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => drop(scratch),
                Err(error) => return Err(error).with_context(|| publishing(&to)),
            },
            Err(error) => return Err(error).with_context(|| publishing(&to)),
        }
        Ok(to)
    }

    /// Like [`Cache::publish`], but this result takes the place of an older one.
    ///
    /// The caller holds the lock under which the place is used.
    pub fn replace(&self, scratch: Scratch, to: impl AsRef<Path>) -> Result<PathBuf> {
        let to = self.place(to.as_ref())?;
        match renameat_with(CWD, scratch.path(), CWD, &to, RenameFlags::EXCHANGE) {
            // The scratch directory now is the old result, and goes away with it.
            Ok(()) => drop(scratch),
            Err(rustix::io::Errno::NOENT) => return self.publish(scratch, &to),
            Err(rustix::io::Errno::INVAL) => {
                let old = self.scratch("old")?;
                fs::rename(&to, old.path().join("it")).with_context(|| publishing(&to))?;
                return self.publish(scratch, &to);
            }
            Err(error) => return Err(error).with_context(|| publishing(&to)),
        }
        Ok(to)
    }

    /// Empties the cache. Refused while any run holds a lock.
    pub fn clear(&self) -> Result<()> {
        let alone = lock::alone(&self.root.join(LOCKS))?;
        for entry in fs::read_dir(&self.root).context("reading the cache")? {
            let entry = entry.context("reading the cache")?;
            if entry.file_name() != LOCKS {
                remove(&entry.path())?;
            }
        }
        fs::create_dir_all(self.root.join(SCRATCH)).context("reading the cache")?;
        drop(alone);
        Ok(())
    }

    /// The disk space the cache takes, in bytes.
    pub fn size(&self) -> u64 {
        disk_use(&self.root)
    }

    /// The absolute place for a result, its parent directory made.
    fn place(&self, to: &Path) -> Result<PathBuf> {
        let to = self.root.join(to);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        Ok(to)
    }
}

/// callgate's own among the user's directories of one kind: below the one that `variable` names, else below
/// `default` in the home directory.
pub fn user_directory(variable: &str, default: &str) -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(default)))
        .map(|directory| directory.join("callgate"))
}

fn publishing(to: &Path) -> String {
    format!("putting the result at {}", to.display())
}

/// Removes a file, a link or a directory; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn disk_use(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return 0;
    };
    let below = match fs::read_dir(path) {
        Ok(entries) if meta.is_dir() => entries.flatten().map(|e| disk_use(&e.path())).sum(),
        _ => 0,
    };
    meta.blocks() * 512 + below
}
