// SPDX-License-Identifier: MIT OR Apache-2.0

//! What it costs to have the kernel start a program, which is no more than a few lines of this one.
//!
//! All that this takes is counted as the kernel's, also what the started program does itself. It differs from boot
//! to boot, by up to 3 %: the memory of a process comes from, and goes to, whatever lists are long enough.

use std::ffi::CStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use callgate::Errno;
use callgate::attribute::{Attribute, Open};
use callgate::debugfs::Debugfs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

use super::{Operation, Work};
use crate::upcall::abi;

/// How long a program may take to have done what it does.
const LIMIT: Duration = Duration::from_secs(30);

/// A program that ends, one that is not there, and one that rings a bell.
///
/// There is one bell for all, so one thread at a time may have it rung.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let mut operations = vec![run()?, not_there()?];
    let bell = Arc::new(Bell::default());
    let (heard, file) = (Arc::clone(&bell), open()?);
    let command = format!("{} script", abi::NO_WAIT);
    let tell = move || Ok(file.write(command.as_bytes())?);
    let start = Operation::notify("a program starts", 0, tell, move || heard.hear());
    operations.push(start.first(move || bell.hang()));
    Ok(operations)
}

/// What this program is told when it is the one that is started.
pub const RING: &str = "ring";

fn open() -> anyhow::Result<Open> {
    let path = Debugfs::find()?.root().join(abi::GATE).join(abi::CALL);
    Ok(Attribute::at(path).open(OFlags::RDWR)?)
}

/// A program is started, and ends, of which the kernel is told.
fn run() -> anyhow::Result<Operation<'static>> {
    let file = open()?;
    let command = format!("{} exit", abi::WAIT_PROC);
    let ended = format!("exited {}\n", abi::EXIT_STATUS.to_str()?);
    Ok(Operation::new(Work::Other, "run a program", 0, move || {
        file.write(command.as_bytes())?;
        ensure!(file.read()? == ended.as_bytes(), "it ended otherwise");
        Ok(())
    }))
}

/// There is no program to be started.
fn not_there() -> anyhow::Result<Operation<'static>> {
    let file = open()?;
    let command = format!("{} missing", abi::WAIT_EXEC);
    let name = "run a program that is not there";
    Ok(Operation::new(Work::Other, name, 0, move || {
        let refused = file.write(command.as_bytes());
        let errno = refused.map_err(|error| error.errno());
        ensure!(errno == Err(Some(Errno::NOENT)), "it is there: {errno:?}");
        Ok(())
    }))
}

/// A program that the kernel starts rings a bell: it writes a byte into a pipe that has a name.
#[derive(Default)]
struct Bell(Mutex<Option<OwnedFd>>);

/// The pipe, and the script that the kernel starts.
const BELL: &str = "/tmp/callgate_upcall_bell";
const SCRIPT: &CStr = abi::SCRIPT;

impl Bell {
    /// Puts all in its place.
    fn hang(&self) -> anyhow::Result<()> {
        let script = SCRIPT.to_str()?;
        let program = abi::PROGRAM.to_str()?;
        fs::write(script, format!("#!{program} {RING}\n"))?;
        fs::set_permissions(script, Permissions::from_mode(0o700))?;
        match mkfifoat(CWD, BELL, Mode::RUSR | Mode::WUSR) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        *self.lock()? = Some(rustix::fs::open(BELL, flags, Mode::empty())?);
        Ok(())
    }

    fn hear(&self) -> anyhow::Result<()> {
        let bell = self.lock()?;
        let bell = bell.as_ref().context("there is no bell")?;
        let limit = Timespec::try_from(LIMIT)?;
        let ready = poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&limit))?;
        ensure!(ready == 1, "the bell did not ring");
        ensure!(rustix::io::read(bell, &mut [0])? == 1, "the bell is broken");
        Ok(())
    }

    fn lock(&self) -> anyhow::Result<MutexGuard<'_, Option<OwnedFd>>> {
        self.0
            .lock()
            .map_err(|_| anyhow!("who listened has failed"))
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // Where there is none, none is removed.
        let _ = fs::remove_file(BELL);
        let _ = fs::remove_file(SCRIPT.to_string_lossy().as_ref());
    }
}

/// What the program that is started does.
pub fn ring() -> anyhow::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(BELL)?
        .write_all(b"x")?;
    Ok(())
}
