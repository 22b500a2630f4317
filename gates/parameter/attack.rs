// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the parameter gate.

use super::Surface;

/// Everything.
pub fn surface() -> Surface {
    let words = [
        "1", "-1", "10..20", "20..10", "..", ",", "Y", "N", "0x10", "hello",
    ];
    Surface::default()
        .path("/sys/module/callgate_parameter/parameters")
        .words(words)
}
