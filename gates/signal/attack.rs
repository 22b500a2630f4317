// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the signal gate.

use std::path::Path;

use super::Surface;
use crate::signal::abi::{FILE, GATE, REGISTER, SEND};

/// Everything.
pub fn surface() -> Surface {
    let root = Path::new("/sys/kernel/debug");
    let own = std::process::id().to_string();
    Surface::default()
        .path(root.join(GATE))
        .path(root.join(FILE))
        .words([REGISTER, SEND, " ", "\n", "1", "10000", &own])
}
