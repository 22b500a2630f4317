// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the sysfs gate.

use std::path::Path;

use super::Surface;
use crate::sysfs::abi::{DIRECTORY, SIMPLE};

/// Everything.
pub fn surface() -> Surface {
    let directory = DIRECTORY.to_str().unwrap_or_default();
    let words = [SIMPLE, "expert", "255", "256", "-1", "\n"];
    Surface::default()
        .path(Path::new("/sys/fs").join(directory))
        .words(words)
}
