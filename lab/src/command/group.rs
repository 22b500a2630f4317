// SPDX-License-Identifier: MIT OR Apache-2.0

//! A child process that leads a process group, ended as a whole.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// How long a group has between SIGTERM and SIGKILL: make removes half-made targets in it.
const GRACE: Duration = Duration::from_secs(3);

/// A running child and everything it started. Dropping it kills them all.
#[derive(Debug)]
pub struct Group {
    child: Child,
    leader: Pid,
    status: Option<ExitStatus>,
}

impl Group {
    /// Starts the command as the leader of a new process group.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let leader = Pid::from_child(&child);
        Ok(Self {
            child,
            leader,
            status: None,
        })
    }

    /// The child itself: its pid and its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether the leader has ended. It is not reaped yet, so the group's number stays its own.
    pub fn has_ended(&self) -> io::Result<bool> {
        if self.status.is_some() {
            return Ok(true);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::Pid(self.leader), options)?.is_some())
    }

    /// Asks the group to end, and makes it end when it has not done so within a few seconds.
    pub fn stop(&mut self) {
        if self.status.is_some() {
            return;
        }
        let _ = kill_process_group(self.leader, Signal::TERM);
        let started = Instant::now();
        while started.elapsed() < GRACE && !self.has_ended().unwrap_or(true) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.finish_by_kill();
    }

    /// Waits for the leader, then kills whatever it left running.
    pub fn finish(&mut self) -> io::Result<ExitStatus> {
        if self.status.is_none() {
            waitid(
                WaitId::Pid(self.leader),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            )?;
        }
        self.finish_by_kill()
    }

    fn finish_by_kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // Nothing to do about a failure: the group is gone, or belongs to root (sudo).
        let _ = kill_process_group(self.leader, Signal::KILL);
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.finish_by_kill();
    }
}

/// util-linux's `setpriv`, if it can set the signal a child gets when its parent dies.
pub(super) fn setpriv() -> Option<&'static OsString> {
    static SETPRIV: OnceLock<Option<OsString>> = OnceLock::new();
    SETPRIV
        .get_or_init(|| {
            let path = std::env::var_os("PATH")?;
            let setpriv: PathBuf = super::find_in(&path, "setpriv")?;
            let works = Command::new(&setpriv)
                .args(["--pdeathsig", "TERM", "--", "true"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            works
                .is_ok_and(|status| status.success())
                .then(|| setpriv.into())
        })
        .as_ref()
}
