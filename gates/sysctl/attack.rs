// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the sysctl gate.

use std::path::Path;

use super::Surface;
use crate::sysctl::abi::{MODES, SETTINGS, TEST};

/// Everything.
pub fn surface() -> Surface {
    let directories = [TEST, SETTINGS].map(|name| name.to_str().unwrap_or_default());
    let paths = directories.map(|name| Path::new("/proc/sys").join(name));
    let surface = Surface::default().words(MODES).words([
        "10", "20", "9", "21", "-1", "\t", " ", "0x1f", "a,b", "1-5", "\n",
    ]);
    paths.iter().fold(surface, Surface::path)
}
