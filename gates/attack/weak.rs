// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the device that is weak on purpose: `kernel/faults/weak.rs` says what its commands do.

use super::Surface;

/// Takes a length, and as many bytes.
const PUT: u32 = 0x4040_5701;
/// Gives the bytes.
const GET: u32 = 0x803c_5702;
/// Counts in the place that mapped memory says.
const COUNT: u32 = 0x5703;
/// For root only.
const ADMIN: u32 = 0x5704;

/// Everything.
pub fn surface() -> Surface {
    Surface::default()
        .path("/dev/callgate_weak")
        .commands(&[PUT, GET, COUNT, ADMIN])
        .roots(&[ADMIN])
        .words([60_u32, 61].map(u32::to_ne_bytes))
}
