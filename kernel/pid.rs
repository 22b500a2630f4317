// SPDX-License-Identifier: GPL-2.0

//! References to a thread or process that outlive it.
//!
//! C header: [`include/linux/pid.h`](srctree/include/linux/pid.h)
//!
//! A number names a thread only for as long as that thread lives, then the next one gets it. A
//! `struct pid` is what the number stood for when it was looked up: once that is gone, it leads nowhere,
//! and never to somebody else.
//!
//! Not supported: process groups and sessions, pidfds, and numbers in another namespace than that of the
//! task which asks.

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    sync::aref::ARef,
    task::{self, Task},
};

/// What a number in a namespace of processes stands for: a thread, and if it is the first one of its
/// process, the process as well.
///
/// It may be gone. That is no reason to drop this: it keeps neither the thread nor its number.
pub struct Pid(NonNull<bindings::pid>);

// SAFETY: A reference may be given up by any thread.
unsafe impl Send for Pid {}
// SAFETY: All functions that take a `struct pid` may be called at the same time.
unsafe impl Sync for Pid {}

impl Pid {
    /// The one that has this number in the namespace of the current task; `None` if nobody has it, or the
    /// task has no namespace any more.
    ///
    /// Neither 0 nor a negative number is anybody's.
    #[inline]
    pub fn find(number: task::Pid) -> Option<Self> {
        // A task that is exiting may have none any more, and an interrupt may come even then.
        //
        // SAFETY: The current task is valid.
        if unsafe { bindings::task_active_pid_ns(Task::current_raw()) }.is_null() {
            return None;
        }
        // SAFETY: Any number may be asked for. The current task has a namespace, and keeps it.
        Self::from_owned(unsafe { bindings::find_get_pid(number) })
    }

    /// That of the process of the current task; `None` if it is exiting and has none any more.
    #[inline]
    pub fn current_process() -> Option<Self> {
        let tgid = bindings::pid_type_PIDTYPE_TGID;
        // SAFETY: The current task is valid.
        Self::from_owned(unsafe { bindings::get_task_pid(Task::current_raw(), tgid) })
    }

    /// Whether it is that of the process of the current task.
    #[inline]
    pub fn is_current_process(&self) -> bool {
        Self::current_process().is_some_and(|current| current.0 == self.0)
    }

    /// Takes over the reference that the caller got from C.
    #[inline]
    fn from_owned(pid: *mut bindings::pid) -> Option<Self> {
        NonNull::new(pid).map(Self)
    }

    /// Its number in the namespace of the current task; `None` if it has none there.
    ///
    /// It keeps its number when it is gone, and another may have the same one then.
    #[inline]
    pub fn number(&self) -> Option<task::Pid> {
        // SAFETY: The pointer is valid, as we own a reference.
        let number = unsafe { bindings::pid_vnr(self.as_ptr()) };
        (number != 0).then_some(number)
    }

    /// The thread; `None` if it is gone, which it is when it has ended and nobody waits for it any
    /// more.
    #[inline]
    pub fn thread(&self) -> Option<ARef<Task>> {
        self.task(bindings::pid_type_PIDTYPE_PID)
    }

    /// The first thread of the process; `None` if the process is gone, or if this is not a process.
    #[inline]
    pub fn process(&self) -> Option<ARef<Task>> {
        self.task(bindings::pid_type_PIDTYPE_TGID)
    }

    #[inline]
    fn task(&self, kind: bindings::pid_type) -> Option<ARef<Task>> {
        // SAFETY: The pointer is valid, as we own a reference.
        let task = unsafe { bindings::get_pid_task(self.as_ptr(), kind) };
        // SAFETY: The task is valid, and we got a reference to it. `Task` has its layout.
        NonNull::new(task).map(|task| unsafe { ARef::from_raw(task.cast()) })
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::pid {
        self.0.as_ptr()
    }
}

impl Drop for Pid {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Gives up the reference that we own.
        unsafe { bindings::put_pid(self.as_ptr()) };
    }
}
