// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the UDP gate agree on.

// new: begin
/// The module's port, on every address of the network namespace that it was loaded in.
pub const PORT: u16 = 5555;

/// The program's port.
pub const PROGRAM_PORT: u16 = 9999;

/// What the program sends: with the NUL, 12 bytes.
pub const MESSAGE: &[u8] = b"hello world\0";

/// The largest datagram that is answered: with its headers it has 1280 bytes, which no link may split
/// that IPv6 goes over.
pub const LARGEST: usize = 1232;

/// How many bytes of a datagram are logged. Escaped, each is up to four; and `printk()` cuts off what is
/// longer than 1 KiB, its end of the line included, so that the line waits in the kernel for the next.
pub const LOGGED: usize = 200;

/// The lowest port that is answered. Below are services, some of which would answer the answer.
pub const LOWEST_PORT: u16 = 1024;

/// What the module says when nobody asked it, and how often.
pub const GREETING: &[u8] = b"hallo from kernel space";
/// See [`GREETING`].
pub const GREETINGS: usize = 10;

/// The directory in debugfs.
pub const DIRECTORY: &str = "callgate_udp";

/// The file to which one writes whom to greet, such as `192.0.2.1:5555` or `[2001:db8::1]:5555`.
pub const GREET: &str = "greet";

/// The most that is written there, a newline included.
pub const GREET_LIMIT: usize = 80;

/// The directory with the two files that say what became of datagrams.
pub const DATAGRAMS: &str = "datagrams";

/// How many were answered.
pub const ANSWERED: &str = "answered";

/// How many were received, and not answered.
pub const UNANSWERED: &str = "unanswered";
// new: end
