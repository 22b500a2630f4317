// SPDX-License-Identifier: MIT OR Apache-2.0

//! Another network namespace, for a closure to look around in.

#![expect(
    unsafe_code,
    reason = "unshare(2) can share more or less than Rust knows of"
)]

use std::fs::File;
use std::io::Result;
use std::os::fd::AsFd;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The network namespace of the thread that asks.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace. It lives until this is dropped and nobody is in it any more; then the kernel
/// takes it down, in its own time.
#[derive(Debug)]
pub struct Network(File);

impl Network {
    /// A new one.
    ///
    /// # Errors
    ///
    /// What unshare(2) fails with, or what the kernel's modules answer that have something for each
    /// network namespace.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man7/network_namespaces.7.html)
    pub fn new() -> Result<Self> {
        in_thread(|| {
            // SAFETY: this thread alone gets another network namespace; memory, files and all else
            // stay shared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET)? };
            Ok(Self(File::open(OWN)?))
        })
    }

    /// Runs `inside`, in a thread of its own, in this namespace.
    ///
    /// # Panics
    ///
    /// If the namespace cannot be entered, or `inside` panics.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        in_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root can enter a network namespace");
            inside()
        })
    }
}

fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
