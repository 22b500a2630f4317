// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the upcall gate.

use std::path::Path;

use super::Surface;
use crate::upcall::abi::{CALL, GATE, NO_WAIT, WAIT_EXEC, WAIT_PROC};

/// Everything.
pub fn surface() -> Surface {
    let programs = ["beep", "exit", "crash", "missing", "text", "directory"];
    Surface::default()
        .path(Path::new("/sys/kernel/debug").join(GATE).join(CALL))
        .words([NO_WAIT, WAIT_EXEC, WAIT_PROC, " ", "\n"])
        .words(programs)
}
