// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the kernel and the program of the system call gate agree on.
//!
//! The numbers are those of `arch/x86/entry/syscalls/syscall_64.tbl`, where the patch puts them. They
//! are free in Linux 7.3, and are ours in no other kernel: there they are nobody's, or somebody else's.

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `mysyscall(char *buf, int len)`: the HOWTO's.
///
/// Takes the string at `buf`, whose NUL must come within `len` and within [`CAPACITY`] bytes (else
/// `EINVAL`; of `len` bytes the first [`CAPACITY`] are read, and `EFAULT` if they are not there), and
/// writes `hello world` over it with its NUL (`ERANGE` if `len` is too small for that). Returns how
/// many bytes it wrote: 12.
pub const MYSYSCALL: u32 = 473;

/// `mysyscall2(const struct greeting *greeting, size_t size, unsigned int flags)`: the same, as a call
/// is made today.
///
/// `size` is what the caller knows a [`Greeting`] to have: less than [`GREETING_SIZE_V0`] is `EINVAL`;
/// more than the kernel knows is fine if all of that is zero, else `E2BIG`; more than a page is `E2BIG`
/// whatever is there. Returns the length of the whole answer. After `EFAULT` a part of it may be there.
pub const MYSYSCALL2: u32 = 474;

/// The longest message, in bytes: for [`MYSYSCALL`] with its NUL, for [`MYSYSCALL2`] without one.
pub const CAPACITY: usize = 200;

/// A flag of [`MYSYSCALL2`]: do not log the message. Any other bit is `EINVAL`.
pub const QUIET: u32 = 1;

/// What is said to the kernel, and where it may answer. Grows at its end only, and a field that is zero
/// means what was done before there was such a field.
///
/// Addresses are 64 bits wide, so that it is the same for any caller.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Greeting {
    /// Address of the message: bytes, without a NUL at the end.
    pub message: u64,
    /// How many bytes the message has. More than [`CAPACITY`] is `EINVAL`.
    pub message_len: u64,
    /// Address of the room for the answer.
    pub answer: u64,
    /// How many bytes of room there are. 0 just asks for the answer's length: nothing is written or
    /// logged. Otherwise, if the answer is longer, `ERANGE`.
    pub answer_len: u64,
    /// Since version 1. How often the answer is given beyond the first time, up to [`MOST_REPEATS`]
    /// (else `EINVAL`).
    pub repeat: u32,
    /// Since version 1. Must be 0 (`EINVAL`), so that it can become something.
    pub reserved: u32,
}

/// Size of the first version of [`Greeting`], which ended after `answer_len`.
pub const GREETING_SIZE_V0: usize = 32;

/// The most that [`Greeting::repeat`] may ask for.
pub const MOST_REPEATS: u32 = 15;

const _: () = assert!(size_of::<Greeting>() == 40);
