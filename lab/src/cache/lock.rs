// SPDX-License-Identifier: MIT OR Apache-2.0

//! Advisory locks between runs, by `flock`.
//!
//! Each holder also shares `users.lock`, so that one exclusive attempt on it tells whether anyone
//! holds any lock. Lock files are never removed: that is what would make them unsafe.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::command::{check_interrupted, note, watch_signals};

const USERS: &str = "users.lock";

/// A lock that is held until this value is dropped.
#[derive(Debug)]
#[must_use = "the lock is released at once when it is not kept"]
pub struct Lock {
    _named: File,
    _users: File,
}

impl Lock {
    pub(super) fn wait(dir: &Path, name: &str) -> Result<Self> {
        watch_signals()?;
        let path = dir.join(format!("{}.lock", name.replace('/', "-")));
        let users = open(&dir.join(USERS))?;
        acquire(&users, FlockOperation::NonBlockingLockShared, || {
            format!("callgate: waiting for another run to finish with the cache ({name})")
        })?;
        let mut named = open(&path)?;
        acquire(&named, FlockOperation::NonBlockingLockExclusive, || {
            let holder = holder(&path);
            format!("callgate: waiting for {name}, which {holder} is working on")
        })?;
        named.set_len(0).context("writing a lock")?;
        named
            .write_all(std::process::id().to_string().as_bytes())
            .context("writing a lock")?;
        Ok(Self {
            _named: named,
            _users: users,
        })
    }
}

/// Keeps all others out, or says who is there.
pub(super) fn alone(dir: &Path) -> Result<File> {
    let users = open(&dir.join(USERS))?;
    if try_flock(&users, FlockOperation::NonBlockingLockExclusive)? {
        return Ok(users);
    }
    let mut busy = Vec::new();
    for entry in fs::read_dir(dir).context("reading the locks")?.flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|name| name != USERS)
            && !try_flock(&open(&path)?, FlockOperation::NonBlockingLockShared)?
        {
            busy.push(holder(&path));
        }
    }
    busy.sort();
    busy.dedup();
    let who = if busy.is_empty() {
        "another run".to_owned()
    } else {
        busy.join(", ")
    };
    bail!("the cache is in use by {who}; try again when it has ended")
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("opening the lock {}", path.display()))
}

fn acquire(file: &File, how: FlockOperation, waiting: impl Fn() -> String) -> Result<()> {
    let started = Instant::now();
    let mut told = false;
    while !try_flock(file, how)? {
        check_interrupted()?;
        if !told && started.elapsed() > Duration::from_secs(1) {
            told = true;
            note(&waiting());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn try_flock(file: &File, how: FlockOperation) -> Result<bool> {
    loop {
        match flock(file, how) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("locking the cache"),
        }
    }
}

fn holder(path: &Path) -> String {
    let mut pid = String::new();
    let read = File::open(path).and_then(|mut file| file.read_to_string(&mut pid));
    match read {
        Ok(1..) => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}
