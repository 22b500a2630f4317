// SPDX-License-Identifier: GPL-2.0

//! Signals with a value, from the kernel to a thread.
//!
//! C header: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)
//!
//! A [`Receiver`] is found by its number and then held. [`Receiver::send`] reaches that thread or nobody.
//!
//! Not supported:
//!
//! - Signals to a whole process, of which whatever thread has it not blocked takes it: the function that
//!   does this with a value (`kill_pid_info()`) is not exported.
//! - Signals to process groups, and what only the kernel may say: a fault, a child's end.
//! - Kernel threads.
//! - Asking whether a user may signal the receiver, as kill(2) does. That is for whoever takes the
//!   number from the user; most simply, by letting only root say it.
//!
//! # Whom a signal reaches
//!
//! What a signal does to a program that is not prepared for it is to end it. So it matters that it goes
//! to the program that asked for it:
//!
//! - When the thread has ended, its number is given to another. The receiver holds what the number stood
//!   for, a [`Pid`], and not the number.
//! - When the process executes another program, that has the same number, and the same `struct pid`. It
//!   may be a set-user-ID program, which whoever started it could not signal. The receiver remembers the
//!   count of programs that the thread has executed (`self_exec_id`), as mq_notify(3) does in the
//!   kernel.
//!
//! What is sent before that is another matter. A signal that is pending when the thread executes another
//! program, because it is blocked or came while execve(2) was at work, stays pending; and no handler
//! is left for it then. So a signal that crosses an execve(2) may end the new program, whoever sends it:
//! the kernel has no signals that could not. Who must be sure sends none to programs that execute others.
//!
//! The count is that of the moment when the receiver is found. Who takes a number from a user should have
//! it from the process itself; anybody else's may name a process that has executed something by then.

use crate::{bindings, pid::Pid};
use core::{mem::MaybeUninit, ptr};
use kernel::{
    error::to_result,
    ffi::c_int,
    prelude::*,
    sync::aref::ARef,
    task::{self, Task},
};

/// The number of a signal, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(c_int);

impl Signal {
    /// `None` if there is no such signal.
    #[inline]
    pub const fn new(number: c_int) -> Option<Self> {
        if number >= 1 && number <= bindings::_NSIG as c_int {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    #[inline]
    pub const fn number(self) -> c_int {
        self.0
    }

    /// Whether it is a real-time signal, of which any number is queued, in the order they were sent. Of
    /// the others one is pending at most, and those sent meanwhile are lost.
    ///
    /// User space calls some of them by another name: the C library keeps the first two or three for
    /// itself, so that its `SIGRTMIN` is 34 or 35.
    #[inline]
    pub const fn is_real_time(self) -> bool {
        self.0 >= bindings::SIGRTMIN as c_int
    }
}

/// A thread that runs a program, to be signalled for as long as it runs that program.
///
/// # Examples
///
/// ```
/// use callgate_kernel::signal::{Receiver, Signal};
/// use kernel::prelude::*;
///
/// const ATTENTION: Signal = Signal::new(44).unwrap();
///
/// fn answer(number: i32) -> Result {
///     let receiver = Receiver::find(number)?;
///     receiver.send(ATTENTION, 1234)
/// }
/// ```
pub struct Receiver {
    pid: Pid,
    exec_id: u64,
}

impl Receiver {
    /// The thread that has this number in the namespace of the current task. A process' number is that
    /// of its first thread.
    ///
    /// # Errors
    ///
    /// `ESRCH`: no thread has it that could receive a signal. Nobody has it, or somebody who has ended,
    /// or a thread of the kernel's own.
    #[inline]
    pub fn find(number: task::Pid) -> Result<Self> {
        let pid = Pid::find(number).ok_or(ESRCH)?;
        let exec_id = exec_id(&*living(&pid)?);
        Ok(Self { pid, exec_id })
    }

    /// The thread's number in the namespace of the current task; `None` if it has none there.
    #[inline]
    pub fn number(&self) -> Option<task::Pid> {
        self.pid.number()
    }

    /// Sends it `signal` with `value`, as sigqueue(3) would: `si_code` is `SI_QUEUE`. `si_pid` is 0, as
    /// the sender is the kernel, and `si_uid` is root as the receiver's user namespace knows it: 0, or the
    /// number for whoever it does not know.
    ///
    /// May be called in atomic context, and while holding spin locks other than the kernel's own for
    /// signals.
    ///
    /// Success says that the signal is pending, or need not be: the receiver ignores it, or is about to
    /// end, or is the first process of a namespace and has no handler for it; or a normal signal of this
    /// number is pending already. A normal signal beyond the limit of the queue loses its value, and is
    /// then one that kill(2) could have sent.
    ///
    /// # Errors
    ///
    /// - `ESRCH`: the thread has ended, or runs another program.
    /// - `EAGAIN`: for a real-time signal, so many are pending for the receiver's user that
    ///   `RLIMIT_SIGPENDING` allows no more; or there is no memory for it.
    #[inline]
    pub fn send(&self, signal: Signal, value: c_int) -> Result {
        let thread = living(&self.pid)?;
        if exec_id(&thread) != self.exec_id {
            return Err(ESRCH);
        }
        let mut info = MaybeUninit::<bindings::kernel_siginfo>::uninit();
        let info = info.as_mut_ptr();
        // The receiver gets to see all bytes of it, also those between the fields; so it is zeroed in
        // place, and then set field by field.
        //
        // SAFETY: All of this writes to our own variable, for which zeroes are a valid value.
        unsafe {
            ptr::write_bytes(info, 0, 1);
            let info = &raw mut (*info).__bindgen_anon_1;
            (*info).si_signo = signal.number();
            (*info).si_code = bindings::SI_QUEUE;
            (*info)._sifields._rt._sigval.sival_int = value;
        }
        // SAFETY: The thread is valid, as we have a reference to it, and so is the information, which is
        // copied.
        to_result(unsafe { bindings::send_sig_info(signal.number(), info, thread.as_ptr()) })
    }
}

/// The thread, if it can receive a signal.
#[inline]
fn living(pid: &Pid) -> Result<ARef<Task>> {
    const NEVER: u32 = bindings::PF_KTHREAD | bindings::PF_USER_WORKER;

    let thread = pid.thread().ok_or(ESRCH)?;
    // SAFETY: The thread is valid. Its flags may change at any time, hence the volatile read.
    let flags = unsafe { (&raw const (*thread.as_ptr()).flags).read_volatile() };
    // Who is exiting takes no more signals for this thread, and the kernel would not tell.
    if flags & (NEVER | bindings::PF_EXITING) != 0 {
        return Err(ESRCH);
    }
    Ok(thread)
}

/// How many programs the thread, and those it comes from, have executed.
#[inline]
fn exec_id(thread: &Task) -> u64 {
    // SAFETY: The thread is valid. It may execute a program at any time, hence the volatile read.
    unsafe { (&raw const (*thread.as_ptr()).self_exec_id).read_volatile() }
}
