// SPDX-License-Identifier: MIT OR Apache-2.0

//! A thread whose end can be waited for, but not for ever; one that is nobody; and an end for a test that
//! waits itself.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Gid, Pid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::inspect::{Call, wait_until_asleep_in};

/// Runs `work` in a thread that is nobody: user and group 65534, in no other group, and without any
/// capability. Credentials belong to a thread, so the others keep theirs.
///
/// # Panics
///
/// If the thread may not become nobody, or `work` panics.
pub fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let nobody = || {
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
        set_thread_groups(&[]).expect("it leaves its groups");
        set_thread_res_gid(group, group, group).expect("it changes its group");
        set_thread_res_uid(user, user, user).expect("it changes its user");
        work()
    };
    match std::thread::scope(|scope| scope.spawn(nobody).join()) {
        Ok(result) => result,
        Err(panic) => resume_unwind(panic),
    }
}

/// A thread that does one thing, which may be to sleep in the kernel.
#[derive(Debug)]
pub struct Worker<T> {
    thread: Pid,
    results: Receiver<T>,
    result: RefCell<Option<T>>,
    handle: JoinHandle<()>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts `work` in a thread of its own.
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    pub fn spawn(work: impl FnOnce() -> T + Send + 'static) -> Self {
        let (tell_thread, thread) = mpsc::channel();
        let (tell_result, results) = mpsc::channel();
        let handle = std::thread::spawn(move || {
            // Nobody listens any more if the test has failed already.
            let _ = tell_thread.send(rustix::thread::gettid());
            let _ = tell_result.send(work());
        });
        let thread = thread.recv().expect("a thread tells its number first");
        Self {
            thread,
            results,
            result: RefCell::new(None),
            handle,
        }
    }

    /// The thread's number, for [`interrupt`](super::signal::interrupt).
    pub const fn thread(&self) -> Pid {
        self.thread
    }

    /// Waits until the thread sleeps in `call`.
    ///
    /// # Panics
    ///
    /// If it does not within `limit`.
    pub fn wait_until_asleep_in(&self, call: Call, limit: Duration) {
        let asleep = wait_until_asleep_in(self.thread, call, limit);
        assert!(asleep, "the thread does not sleep in {call:?}");
    }

    /// Whether the work has ended, at the latest after `limit`. What it gave is still [`finish`](Self::finish)'s.
    ///
    /// # Panics
    ///
    /// If the work panicked.
    pub fn ends_within(&self, limit: Duration) -> bool {
        let mut known = self.result.borrow_mut();
        if known.is_none() {
            *known = match self.results.recv_timeout(limit) {
                Ok(result) => Some(result),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => panic!("the thread panicked"),
            };
        }
        known.is_some()
    }

    /// What the work gave, once the thread is gone.
    ///
    /// # Panics
    ///
    /// If the work has not ended within `limit`, or panicked.
    pub fn finish(self, limit: Duration) -> T {
        assert!(
            self.ends_within(limit),
            "the thread is not done after {limit:?}"
        );
        self.handle.join().expect("the thread gave its result");
        let result = self.result.into_inner();
        result.expect("it has ended")
    }
}

/// Ends the process, as a failure, unless this is dropped within its limit.
///
/// For a test that calls a driver directly: should the driver never come back, neither would the
/// test.
#[derive(Debug)]
#[must_use = "it watches only while it lives"]
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// Watches from now on.
    pub fn new(limit: Duration) -> Self {
        let (alive, watched) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("the test is not done after {limit:?}: giving up");
                std::process::exit(101);
            }
        });
        Self { _alive: alive }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_ends_or_is_given_up() {
        assert_eq!(Worker::spawn(|| 7).finish(Duration::from_secs(10)), 7);
        let (reader, writer) = std::io::pipe().unwrap();
        let worker = Worker::spawn(move || rustix::io::read(&reader, &mut [0]));
        worker.wait_until_asleep_in(Call::Read, Duration::from_secs(10));
        assert!(!worker.ends_within(Duration::from_millis(5)));
        drop(writer);
        assert!(worker.ends_within(Duration::from_secs(10)));
        assert_eq!(worker.finish(Duration::from_secs(10)), Ok(0));
    }
}
