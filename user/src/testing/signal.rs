// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interrupting a thread that sleeps in the kernel.
//!
//! A signal wakes a sleeper only if the process catches it. [`Caught`] catches `SIGUSR1` and does
//! nothing with it; [`interrupt`] sends it to one thread.

#![expect(unsafe_code, reason = "sigaction(2) installs a function")]

use std::mem::MaybeUninit;

use rustix::io::Result;
use rustix::process::Pid;

pub(crate) use crate::signal::last_errno;

/// What becomes of a call that a signal interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It fails with [`INTR`](rustix::io::Errno::INTR), if nothing has moved yet.
    Fail,
    /// The kernel restarts it (`SA_RESTART`), if the driver allows.
    Restart,
}

/// While this lives, `SIGUSR1` interrupts a thread of this process, and does nothing else.
///
/// What a signal does is the same for a whole process: two of these at a time make no sense.
#[must_use = "the signal is caught only while this lives"]
pub struct Caught {
    before: libc::sigaction,
}

impl Caught {
    /// Catches the signal.
    ///
    /// # Errors
    ///
    /// What sigaction(2) fails with.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/sigaction.2.html)
    pub fn new(then: Then) -> Result<Self> {
        extern "C" fn nothing(_: libc::c_int) {}

        let handler: extern "C" fn(libc::c_int) = nothing;
        // SAFETY: all zeroes are a valid `sigaction`: default action, empty mask, no flags.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = match then {
            Then::Fail => 0,
            Then::Restart => libc::SA_RESTART,
        };
        let mut before = MaybeUninit::uninit();
        // SAFETY: `action` is valid and its handler, which does nothing, can run at any moment;
        // `before` has room for the answer.
        if unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, before.as_mut_ptr()) } != 0 {
            return Err(last_errno());
        }
        // SAFETY: sigaction succeeded and filled it in.
        let before = unsafe { before.assume_init() };
        Ok(Self { before })
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        // SAFETY: this puts back what sigaction itself reported.
        unsafe { libc::sigaction(libc::SIGUSR1, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Sends `SIGUSR1` to `thread` of this process. It takes effect on the thread's sleep only while
/// [`Caught`] lives; without it the process dies of it.
///
/// # Errors
///
/// [`SRCH`](rustix::io::Errno::SRCH) if there is no such thread.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/tgkill.2.html)
pub fn interrupt(thread: Pid) -> Result<()> {
    let process = rustix::process::getpid();
    // SAFETY: tgkill takes three integers and touches no memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            process.as_raw_nonzero(),
            thread.as_raw_nonzero(),
            libc::SIGUSR1,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::io::Errno;

    use super::*;
    use crate::testing::inspect::{Call, wait_until_asleep_in};

    #[test]
    fn an_interrupted_read_fails_and_can_be_repeated() {
        let _caught = Caught::new(Then::Fail).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            rustix::io::read(&reader, &mut [0; 4])
        });
        let tid = told.recv().unwrap();
        assert!(wait_until_asleep_in(
            tid,
            Call::Read,
            Duration::from_secs(10)
        ));
        interrupt(tid).unwrap();
        assert_eq!(thread.join().unwrap(), Err(Errno::INTR));
        drop(writer);
    }
}
