// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel log, written to: so what user space does stands there in the order in which it
//! happened, among what the kernel says.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::write;

/// The file.
pub const PATH: &str = "/dev/kmsg";

/// Says `line` in the kernel log.
pub fn say(line: &str) {
    // There is nobody to tell if even this fails.
    let _ = open(PATH, OFlags::WRONLY, Mode::empty())
        .and_then(|log| write(log, format!("<14>{line}").as_bytes()));
}

/// Says what happens next, for the host to attribute complaints to.
pub fn mark(what: &str) {
    say(&format!("{}{what}", guest::MARK));
}
