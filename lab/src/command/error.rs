// SPDX-License-Identifier: MIT OR Apache-2.0

//! What went wrong with a program, with all that is needed to look into it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A program did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` {outcome}{}{}", place(.log.as_deref()), indented(.tail))]
pub struct Failed {
    /// The command line, quoted for a shell.
    pub command: String,
    /// What became of it: "exited with status 2", "was not found", …
    pub outcome: String,
    /// The exit status, where there is one.
    pub code: Option<i32>,
    /// Lines of its output: from the first on that speaks of an error, else the last.
    pub tail: Vec<String>,
    /// Where all of its output is.
    pub log: Option<PathBuf>,
}

/// A program ran longer than it was given.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` did not end within {} s and was stopped", .limit.as_secs())]
pub struct TimedOut {
    /// The command line, quoted for a shell.
    pub command: String,
    /// The time it had.
    pub limit: Duration,
}

fn place(log: Option<&Path>) -> String {
    log.map(|log| format!("\nfull log: {}", log.display()))
        .unwrap_or_default()
}

fn indented(lines: &[String]) -> String {
    lines
        .iter()
        .fold(String::new(), |all, line| all + "\n  | " + line)
}
