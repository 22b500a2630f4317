// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processes that have the memory of this one.

#![expect(unsafe_code, reason = "fork(2) and clone3(2)")]

use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::io::{Errno, Result};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

use super::signal::last_errno;

/// What a child that panicked exits with.
const PANICKED: i32 = 101;

/// A child, made by fork(2). It is killed if this is dropped before it has ended.
#[derive(Debug)]
#[must_use = "the child is killed if nobody waits for it"]
pub struct Forked(Pid);

impl Forked {
    /// Runs `child` in a copy of this process, which has this thread only, and exits with what it returns.
    ///
    /// It should do little: a lock that another thread holds at this moment is never released there.
    ///
    /// # Errors
    ///
    /// What fork(2) fails with.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/fork.2.html)
    pub fn new(child: impl FnOnce() -> u8) -> Result<Self> {
        // SAFETY: the child goes on with a copy of this thread; what other threads hold stays held, which
        // is a deadlock at worst. It leaves by _exit(2), so nothing of this process is done twice.
        match unsafe { libc::fork() } {
            0 => {
                let code = catch_unwind(AssertUnwindSafe(child)).map_or(PANICKED, i32::from);
                // SAFETY: it ends this process, and runs nothing of it.
                unsafe { libc::_exit(code) }
            }
            pid => Pid::from_raw(pid)
                .filter(|_| pid > 0)
                .map(Self)
                .ok_or_else(last_errno),
        }
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// If it has not within `limit`.
    pub fn wait(self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            let state = waitpid(Some(self.0), WaitOptions::NOHANG);
            if let Some((_, status)) = state.expect("it is our child") {
                std::mem::forget(self);
                return ExitStatus::from_raw(status.as_raw());
            }
            assert!(
                Instant::now() < end,
                "the child is not done after {limit:?}"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
        let _ = waitpid(Some(self.0), WaitOptions::empty());
    }
}

/// A process that does nothing. It ends when this is dropped, or of a signal.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct Idle {
    pid: Pid,
    status: Option<WaitStatus>,
}

impl Idle {
    /// With this number, which must be free. So a number is used again at once, and not after the
    /// thousands of others that come before.
    ///
    /// # Errors
    ///
    /// [`Errno::EXIST`] if somebody has it; [`Errno::PERM`] without `CAP_CHECKPOINT_RESTORE`.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/clone3.2.html)
    pub fn with_number(number: Pid) -> Result<Self> {
        let wanted = [number.as_raw_nonzero().get()];
        // SAFETY: all zeroes are a valid `clone_args`: fork(2), but for the signal at the end.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.exit_signal = libc::SIGCHLD.cast_unsigned().into();
        args.set_tid = wanted.as_ptr().expose_provenance() as u64;
        args.set_tid_size = wanted.len() as u64;
        // SAFETY: the arguments are valid. The child has a copy of our memory, in whatever state other
        // threads left it; so it does nothing but a system call that touches none.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
        if pid == 0 {
            loop {
                // SAFETY: it sleeps until a signal comes.
                unsafe { libc::syscall(libc::SYS_pause) };
            }
        }
        match i32::try_from(pid).ok().and_then(Pid::from_raw) {
            Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Self { pid, status: None }),
            _ => Err(last_errno()),
        }
    }

    /// Its number.
    pub const fn number(&self) -> Pid {
        self.pid
    }

    /// How it ended; `None` if it has not.
    ///
    /// # Errors
    ///
    /// What waitpid(2) fails with.
    pub fn ended(&mut self) -> Result<Option<WaitStatus>> {
        if self.status.is_none() {
            let ended = waitpid(Some(self.pid), WaitOptions::NOHANG)?;
            self.status = ended.map(|(_, status)| status);
        }
        Ok(self.status)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = kill_process(self.pid, Signal::KILL);
            while matches!(
                waitpid(Some(self.pid), WaitOptions::empty()),
                Err(Errno::INTR)
            ) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_child_ends_as_it_says() {
        assert_eq!(Forked::new(|| 7).unwrap().wait(LIMIT).code(), Some(7));
        let killed = Forked::new(|| {
            let _ = kill_process(rustix::process::getpid(), Signal::KILL);
            0
        });
        assert_eq!(killed.unwrap().wait(LIMIT).signal(), Some(9));
    }
}
