// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the tests of a driver need and a safe program cannot make for itself.
//!
//! Everything here is safe to call, so that the tests of a gate can do without `unsafe` too.

use std::fmt::Debug;

use rustix::io::{Errno, Result};

#[cfg(target_arch = "x86_64")]
pub mod bpf;
pub mod elsewhere;
pub mod faults;
pub mod inspect;
#[cfg(target_arch = "x86_64")]
pub mod instructions;
pub mod kcov;
pub mod memory;
pub mod namespace;
pub mod numbers;
pub mod process;
pub mod signal;
pub mod tools;
pub mod unload;
pub mod worker;

/// A table of calls that must be refused, each with one errno.
///
/// All of them are made before any of them fails the test, so that one run shows every difference.
#[derive(Debug, Default)]
pub struct Refusals {
    cases: usize,
    wrong: Vec<String>,
}

impl Refusals {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// One case: `result` must be the refusal `errno`.
    pub fn case<T: Debug>(&mut self, what: &str, errno: Errno, result: Result<T>) {
        self.cases += 1;
        match result {
            Err(refusal) if refusal == errno => {}
            other => self
                .wrong
                .push(format!("{what}: {other:?} instead of {errno:?}")),
        }
    }

    /// The end of the table.
    ///
    /// # Panics
    ///
    /// If any case differs; the message lists all that do.
    pub fn finish(self) {
        let Self { cases, wrong } = self;
        assert!(
            wrong.is_empty(),
            "{} of {cases} differ:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        println!("{cases} calls refused as they must be");
    }
}
