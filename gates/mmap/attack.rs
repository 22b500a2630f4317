// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the mmap gate.

use std::path::Path;

use super::Surface;
use crate::mmap::abi::{CHANNEL, FILE, RING, SHARED, STATUS};

/// Everything.
pub fn surface() -> Surface {
    // RING is _IO of the channel's.
    Surface::default()
        .path(Path::new("/dev").join(CHANNEL))
        .path(Path::new("/dev").join(STATUS))
        .path(Path::new("/sys/kernel/debug").join(FILE))
        .path(Path::new("/dev").join(SHARED))
        .words([
            RING.to_ne_bytes(),
            16_u64.to_ne_bytes(),
            u64::MAX.to_ne_bytes(),
        ])
}
