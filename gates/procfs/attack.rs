// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the procfs gate.

use super::Surface;
use crate::procfs::abi::{DIRECTORY, FIRST_LIMIT, SECOND_LIMIT};

/// Everything.
pub fn surface() -> Surface {
    let files = format!("/proc/{DIRECTORY}");
    let sizes = [FIRST_LIMIT, SECOND_LIMIT].map(|size| size.to_string());
    Surface::default().path(files).words(sizes)
}
