// SPDX-License-Identifier: MIT OR Apache-2.0

//! What several tests of the lab need.

use std::process::{Child, Command, Stdio};

/// Runs `lab/examples/another_run.rs`, which cargo builds beside the tests.
pub fn another_run(arguments: &[&str]) -> Child {
    let test = std::env::current_exe().unwrap();
    let examples = test.ancestors().nth(2).unwrap().join("examples");
    Command::new(examples.join("another_run"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
