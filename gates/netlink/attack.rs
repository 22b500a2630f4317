// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the netlink gate.

use super::{Peer, Surface};
use crate::netlink::abi;

/// Everything.
pub fn surface() -> Surface {
    Surface::default()
        .peer(Peer::Netlink(abi::PROTOCOL))
        .kinds(&[abi::kind::ECHO, abi::kind::SAY, abi::kind::COUNT])
        .attributes([abi::MSG, abi::COUNT])
        .words([b"hello\0"])
}
