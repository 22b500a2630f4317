// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the chardev gate.

use anyhow::Result;

use super::{Surface, node};
use crate::chardev::abi::{DRIVER, HOWTO_MINOR, HOWTO_NODE, PIPE_CAPACITY, PIPE_NODE};

/// Everything.
pub fn surface() -> Result<Surface> {
    node(DRIVER, HOWTO_NODE, HOWTO_MINOR)?;
    Ok(Surface::default()
        .path(HOWTO_NODE)
        .path(PIPE_NODE)
        .words([PIPE_CAPACITY.to_ne_bytes()]))
}
