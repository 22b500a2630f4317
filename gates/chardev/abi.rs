// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the character-device gate agree on.

/// Name of the HOWTO's driver, as `/proc/devices` shows it next to its major number.
pub const DRIVER: &str = "my_device";

/// Where the HOWTO has the user make its node: `mknod /dev/cdev_example c MAJOR 0`.
pub const HOWTO_NODE: &str = "/dev/cdev_example";

/// The HOWTO device's one minor number.
pub const HOWTO_MINOR: u32 = 0;

/// Size of the HOWTO's buffer, in bytes. The last byte is kept for a NUL, so that a message has at
/// most `MESSAGE_CAPACITY - 1` bytes; a longer write fails with `EINVAL`.
pub const MESSAGE_CAPACITY: usize = 200;

// new: begin
/// Name of the pipe: it appears as `/dev/callgate_chardev` without anybody's mknod(1).
pub const PIPE_NAME: &str = "callgate_chardev";

/// Where the pipe appears.
pub const PIPE_NODE: &str = "/dev/callgate_chardev";

/// The permissions its node appears with.
pub const PIPE_MODE: u16 = 0o660;

/// How many bytes the pipe holds before a writer has to wait.
pub const PIPE_CAPACITY: usize = 4096;
// new: end
