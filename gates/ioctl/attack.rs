// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the ioctl gate.

use anyhow::Result;

use super::{Surface, node};
use crate::ioctl::abi::{self, DRIVER, HOWTO_MINOR, HOWTO_NODE, MESSAGE_CAPACITY, STORE_NODE};

/// Everything.
pub fn surface() -> Result<Surface> {
    node(DRIVER, HOWTO_NODE, HOWTO_MINOR)?;
    let sizes = [0, 1, MESSAGE_CAPACITY, MESSAGE_CAPACITY + 1];
    Ok(Surface::default()
        .path(HOWTO_NODE)
        .path(STORE_NODE)
        .commands(&[
            abi::READ,
            abi::WRITE,
            abi::CLEAR,
            abi::SET,
            abi::GET,
            abi::EXCHANGE,
            abi::STATUS,
        ])
        .words(sizes.map(usize::to_ne_bytes)))
}
