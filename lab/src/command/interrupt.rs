// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ctrl-C and its kin, as a flag that every wait looks at.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;

static FLAG: AtomicBool = AtomicBool::new(false);

/// The user, or the system, asked callgate to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// From now on SIGINT, SIGTERM and SIGHUP only raise the flag. Calling it again does nothing.
pub fn watch_signals() -> anyhow::Result<()> {
    static WATCHED: OnceLock<()> = OnceLock::new();
    if WATCHED.set(()).is_err() {
        return Ok(());
    }
    ctrlc::set_handler(|| FLAG.store(true, Ordering::SeqCst)).context("preparing for Ctrl-C")
}

/// Whether callgate was asked to stop.
pub fn interrupted() -> bool {
    FLAG.load(Ordering::SeqCst)
}

/// [`interrupted`] as an error, for `?`.
pub fn check_interrupted() -> Result<(), Interrupted> {
    if interrupted() {
        Err(Interrupted)
    } else {
        Ok(())
    }
}
