// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the ioctl gate agree on.
//!
//! Command numbers stand here as the literals that strace(1) shows; both sides check them at
//! compile time against their own `_IO*` arithmetic, and so against the payload's size.
//!
//! The HOWTO's device and today's know the same commands; each has a message and counters of its own.

// new: begin
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Name of the device.
pub const STORE_NAME: &str = "callgate_ioctl";

/// Where it appears.
pub const STORE_NODE: &str = "/dev/callgate_ioctl";

/// The permissions its node appears with.
pub const STORE_MODE: u16 = 0o660;

/// The longest message, in bytes.
pub const MESSAGE_CAPACITY: usize = 200;

/// The type byte of every command here.
pub const TYPE: u8 = b'G';

/// `_IO('G', 2)`: no argument. Forgets the message and zeroes the counters.
pub const CLEAR: u32 = 0x0000_4702;

/// `_IOW('G', 3, Message)`: to the kernel. Stores a message.
pub const SET: u32 = 0x40cc_4703;

/// `_IOR('G', 4, Message)`: from the kernel. Gives the stored message.
pub const GET: u32 = 0x80cc_4704;

/// `_IOWR('G', 5, Message)`: exchange. Stores a message and gives the one it replaced.
///
/// If the argument can be read but not written, this is `EFAULT` as well, and the message has been
/// stored all the same; the one it replaced is lost.
pub const EXCHANGE: u32 = 0xc0cc_4705;

/// `_IOWR('G', 6, Status)`: an extensible struct. The size inside the number says which version of
/// [`Status`] the caller was compiled with; every size from [`STATUS_SIZE_V0`] on is served.
pub const STATUS: u32 = 0xc020_4706;

/// A message of up to [`MESSAGE_CAPACITY`] bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Message {
    /// How many of `bytes` count. More than [`MESSAGE_CAPACITY`] is `EINVAL`.
    pub len: u32,
    /// The message; the bytes from `len` on are ignored by the kernel and zero when they come from it.
    pub bytes: [u8; MESSAGE_CAPACITY],
}

/// What the device has seen so far. Grows at its end only; see [`STATUS`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Status {
    /// In: [`STATUS_RESET`] or 0; any other bit is `EINVAL`. Out: 0.
    pub flags: u32,
    /// Out: length of the stored message in bytes, without a NUL. In: must be 0 (`EINVAL`).
    pub message_len: u32,
    /// Out: messages stored since load or the last reset. In: must be 0 (`EINVAL`).
    pub stores: u64,
    /// Since version 1. Out: messages given out. In: must be 0 (`EINVAL`).
    pub loads: u64,
    /// Since version 1. Out: commands that failed with an error. In: must be 0 (`EINVAL`).
    pub refused: u64,
}

/// Size of the first published version of [`Status`]: it ended after `stores`.
pub const STATUS_SIZE_V0: usize = 16;

/// Zero the counters, of which the answer tells the last. If the answer cannot be written (`EFAULT`),
/// they are zeroed all the same.
pub const STATUS_RESET: u32 = 1;

const _: () = assert!(size_of::<Message>() == 204);
const _: () = assert!(size_of::<Status>() == 32);
// new: end

/// Name of the HOWTO's driver, as `/proc/devices` shows it next to its major number.
pub const DRIVER: &str = "my_device";

/// Where the HOWTO has the user make its node: `mknod /dev/cdev_example c MAJOR 0`.
pub const HOWTO_NODE: &str = "/dev/cdev_example";

/// The HOWTO device's one minor number.
pub const HOWTO_MINOR: u32 = 0;

/// HOWTO: `_IOR('G', 0, int)`. Copies the stored message out as a string ended by NUL.
///
/// The number says `int`, the command moves up to [`MESSAGE_CAPACITY`] bytes: the caller's buffer
/// must have that many, the NUL among them. A message stored by [`SET`] that leaves no room for the NUL is `EMSGSIZE`.
/// Kept because it is the HOWTO's number; [`GET`] is how it is done today.
pub const READ: u32 = 0x8004_4700;

/// HOWTO: `_IOW('G', 1, int)`. Stores the string at the argument, which NUL must end within
/// [`MESSAGE_CAPACITY`] bytes (else `EINVAL`).
pub const WRITE: u32 = 0x4004_4701;
