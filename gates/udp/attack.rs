// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the udp gate.

use std::path::Path;

use super::{Peer, Surface};
use crate::udp::abi::{DIRECTORY, MESSAGE, PORT};

/// Everything.
pub fn surface() -> Surface {
    Surface::default()
        .peer(Peer::Udp(PORT))
        .path(Path::new("/sys/kernel/debug").join(DIRECTORY))
        .words([MESSAGE, b"127.0.0.1:9999", b"[::1]:9999", b"\n"])
}
