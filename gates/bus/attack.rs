// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the bus gate.

use super::Surface;
use crate::bus::abi::LAST_ERRNO;

/// Everything.
pub fn surface() -> Surface {
    let words = [
        "my_pseudo_device",
        "my_strange_device",
        "my_pseudo_driver",
        "4095",
        "0",
        "1",
        "\n",
    ];
    Surface::default()
        .path("/sys/bus/my_pseudo_bus")
        .path("/sys/devices/virtual/my_pseudo_bus")
        .words(words)
        .last_errno(LAST_ERRNO)
}
