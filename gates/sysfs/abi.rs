// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the sysfs gate agree on.

// new: begin
use core::ffi::CStr;

/// The directory, in `/sys/fs`.
pub const DIRECTORY: &CStr = c"myfs";

/// An `int`, which is 1 to begin with.
pub const FIRST: &CStr = c"first";

/// An `int`, which is 2 to begin with.
pub const SECOND: &CStr = c"second";

// new: end
/// How many times one of the other texts has been written; whoever waits for it is woken each time.
pub const CHANGES: &CStr = c"changes";

// new: begin
/// A line of text.
pub const NOTE: &CStr = c"note";

/// How many bytes [`NOTE`] has at most, its newline included; a longer one fails with `EINVAL`. It is all
/// that a file of text can show.
pub const NOTE_LIMIT: usize = 4095;
// new: end

/// Which of the other files there are: [`SIMPLE`], at first, or [`EXPERT`].
pub const MODE: &CStr = c"mode";

/// Those above only.
pub const SIMPLE: &str = "simple";

/// Also a directory of this name, with [`LEVEL`] in it.
pub const EXPERT: &CStr = c"expert";

/// A number from 0 to 255, 0 at first.
pub const LEVEL: &CStr = c"level";

/// A file of [`BLOB_SIZE`] bytes, to be read and written at any offset; zeroes at first.
pub const BLOB: &CStr = c"blob";

/// The size of [`BLOB`]: more than a page, which is all that one call moves.
pub const BLOB_SIZE: usize = 5000;
