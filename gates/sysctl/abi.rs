// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the sysctl gate agree on.

// new: begin
use core::ffi::CStr;

// new: end
/// The HOWTO's directory below `/proc/sys`. Each network namespace has values of its own in it.
pub const TEST: &CStr = c"net/test";

/// The HOWTO's two files.
pub const VALUES: [&CStr; 2] = [c"value1", c"value2"];

/// What the HOWTO's values may be.
pub const MIN: i32 = 10;
/// See [`MIN`].
pub const MAX: i32 = 20;

/// What they are in a namespace to begin with. The HOWTO has 0 and 1, which its own range forbids.
pub const FIRST: [i32; 2] = [10, 11];

// new: begin
/// The directory of the settings, below `/proc/sys`.
pub const SETTINGS: &CStr = c"dev/callgate";

/// What `mode` can be.
pub const MODES: [&str; 3] = ["off", "on", "auto"];

/// The size of `string`: one byte more than the longest that fits.
pub const STRING_SIZE: usize = 1024;
// new: end
