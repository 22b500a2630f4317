// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the debugfs gate agree on.
//!
//! All paths are below the place where debugfs is mounted, as a rule `/sys/kernel/debug`.

/// Name of both of the HOWTO's files: the one in the root of debugfs holds a `u8`.
pub const FILE: &str = "myfile";

/// The directory of the other, which holds a message.
pub const DIRECTORY: &str = "mydirectory";

// new: begin
/// The permissions of what can be written.
pub const MODE: u16 = 0o644;

/// The longest message, in bytes. What would make it longer fails with `EINVAL`.
pub const MESSAGE_LIMIT: usize = 200;

// new: end
/// The directory of everything that the HOWTO does not have.
pub const GATE: &str = "callgate_debugfs";

/// The file in [`GATE`] that takes commands: [`MAKE`], [`REMOVE`], [`COUNT`], [`AGAIN`].
pub const CONTROL: &str = "control";

/// The directory in [`GATE`] of what comes and goes by command. All of it is there at first.
pub const TREE: &str = "tree";

// new: begin
/// The path of everything below.
pub const TREE_PATH: &str = "callgate_debugfs/tree";

/// The directory there of values that have a file each.
pub const VALUES: &str = "values";

/// The file there that holds a message.
pub const MESSAGE: &str = "message";

// new: end
/// The file in [`TREE`] that lists the bytes of `blob`, a line each, as the module sees them.
pub const BYTES: &str = "bytes";

/// The file in [`TREE`] with an array of numbers that have ten digits each.
pub const TEN_DIGITS: &str = "ten_digits";

/// Command that fills [`TREE`]; `EEXIST` if it is.
pub const MAKE: &str = "make";

/// Command that empties [`TREE`]; `ENOENT` if it is.
pub const REMOVE: &str = "remove";

/// Command that adds 1 to `u64` and to each number of `u32_array`; `ENOENT` if [`TREE`] is empty.
pub const COUNT: &str = "count";

/// Command that makes, and removes again, what is there already: a second `myfile`, and a file in a
/// second `mydirectory`.
pub const AGAIN: &str = "again";

/// What `str` holds.
pub const STR: &str = "a string";

/// What `blob` holds at first.
pub const BLOB: [u8; 8] = [0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff];

/// What `u32_array` holds at first.
pub const U32_ARRAY: [u32; 4] = [0, 1, 1000, 1_000_000];
