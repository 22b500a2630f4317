// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the packet gate.

use super::{Peer, Surface};
use crate::packet::abi;

/// Everything.
pub fn surface() -> Surface {
    let length = |len: usize| len.to_be_bytes()[6..].to_vec();
    let kinds = [abi::HELLO, abi::ECHO, abi::COUNT, abi::ANSWER].map(|kind| [abi::VERSION, kind]);
    Surface::default()
        .peer(Peer::Ethernet(abi::ETHER_TYPE))
        .words(kinds)
        .words([abi::TEXT_CAPACITY, abi::TEXT_CAPACITY + 1].map(length))
}
