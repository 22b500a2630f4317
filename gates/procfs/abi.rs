// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the procfs gate agree on.

/// The directory in `/proc` that the files are in.
pub const DIRECTORY: &str = "example";

/// The HOWTO's file: reads as a greeting, and has what is written to it logged.
pub const FIRST: &str = "first";

/// What [`FIRST`] is made with, and says.
pub const FIRST_DATA: &str = "first file private data";

/// How many bytes [`FIRST`] takes in one write; a longer one fails with `EINVAL`.
pub const FIRST_LIMIT: usize = 1024;

/// The file that keeps what is written.
pub const SECOND: &str = "second";

/// How large [`SECOND`] may grow; a write beyond fails with `EFBIG`.
pub const SECOND_LIMIT: usize = 1 << 16;

/// The permissions of both: anybody reads, root writes.
pub const MODE: u16 = 0o644;
