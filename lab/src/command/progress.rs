// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the lab tells about long work. The `callgate` command decides how it looks.

use std::sync::{Arc, OnceLock};

/// Receives what happens; everything belongs on standard error.
pub trait Progress: Send + Sync {
    /// A line the user should see.
    fn note(&self, line: &str) {
        eprintln!("{line}");
    }

    /// A step that takes a while begins.
    fn begin(&self, _what: &str) {}

    /// The current step has done this much of the total, in whatever unit: enough for an estimate.
    fn at(&self, _done: u64, _total: u64) {}

    /// The current step is over.
    fn end(&self) {}
}

struct Plain;
impl Progress for Plain {}

static PROGRESS: OnceLock<Arc<dyn Progress>> = OnceLock::new();

/// Sets the receiver, once. Without it, notes go to standard error and steps are silent.
pub fn set_progress(progress: Arc<dyn Progress>) {
    let _ = PROGRESS.set(progress);
}

fn progress() -> &'static dyn Progress {
    PROGRESS.get().map_or(&Plain, |progress| &**progress)
}

/// Tells the user one line.
pub fn note(line: &str) {
    progress().note(line);
}

/// Begins a step; it ends when the value is dropped. Steps do not nest.
pub fn step(what: &str) -> Step {
    progress().begin(what);
    Step(())
}

/// A step under way.
#[derive(Debug)]
pub struct Step(());

impl Step {
    /// Reports how far the step is.
    pub fn at(&self, done: u64, total: u64) {
        progress().at(done, total);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        progress().end();
    }
}
