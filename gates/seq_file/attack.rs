// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the `seq_file` gate.

use std::path::Path;

use super::Surface;
use crate::seq_file::abi::{CONTROL, LIST, SEQUENCE};

/// Everything.
pub fn surface() -> Surface {
    let commands = ["add ", "remove ", "clear", "\n", "1", "100", "a"];
    // The first of them has no end.
    let surface = Surface::default().words(commands).farthest(1 << 16);
    let files = [SEQUENCE, LIST, CONTROL].map(|name| Path::new("/proc").join(name));
    files.iter().fold(surface, Surface::path)
}
