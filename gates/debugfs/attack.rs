// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the debugfs gate.

use std::path::Path;

use super::Surface;
use crate::debugfs::abi::{AGAIN, DIRECTORY, FILE, GATE, MAKE, REMOVE};

/// Everything.
pub fn surface() -> Surface {
    let root = Path::new("/sys/kernel/debug");
    Surface::default()
        .path(root.join(DIRECTORY))
        .path(root.join(FILE))
        .path(root.join(GATE))
        .words([
            MAKE,
            REMOVE,
            AGAIN,
            " ",
            "1",
            "0",
            "Y",
            "N",
            "\n",
            "3735928559",
        ])
}
