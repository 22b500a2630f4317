// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the syscall gate.

use super::Surface;
use crate::syscall::abi;

/// Everything.
pub fn surface() -> Surface {
    let sizes = [0, 1, abi::CAPACITY as u64, abi::CAPACITY as u64 + 1];
    Surface::default()
        .calls(&[abi::MYSYSCALL, abi::MYSYSCALL2])
        .words(sizes.map(u64::to_ne_bytes))
}
