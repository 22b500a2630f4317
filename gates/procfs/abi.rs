// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the procfs gate agree on.

// new: begin
/// The directory in `/proc`.
pub const DIRECTORY: &str = "example";

// new: end
/// The HOWTO's file: reads as a greeting, and has what is written to it logged.
pub const FIRST: &str = "first";

/// What [`FIRST`] is made with, and says.
pub const FIRST_DATA: &str = "first file private data";

/// How many bytes [`FIRST`] takes in one write; a longer one fails with `EINVAL`.
pub const FIRST_LIMIT: usize = 1024;

// new: begin
/// The file that keeps what is written.
pub const SECOND: &str = "second";

/// How large [`SECOND`] may grow; a write beyond fails with `EFBIG`.
pub const SECOND_LIMIT: usize = 1 << 16;

/// Its permissions: anybody reads, root writes.
pub const MODE: u16 = 0o644;
// new: end
