// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the signal gate agree on.
//!
//! All paths are below the place where debugfs is mounted, as a rule `/sys/kernel/debug`.

/// The HOWTO's file: whoever writes the number of a process to it has that process signalled.
pub const FILE: &str = "signalconfpid";

/// Its permissions.
pub const MODE: u16 = 0o200;

/// The most bytes that may be written to it. More fail with `EINVAL`.
pub const LIMIT: usize = 10;

/// The signal that the process gets: a real-time signal.
pub const SIGNAL: i32 = 44;

/// The value that comes with it.
pub const VALUE: i32 = 1234;

/// The directory of what the HOWTO does not have.
pub const GATE: &str = "callgate_signal";

/// The file in [`GATE`] that takes [`REGISTER`] and [`SEND`], by one write(2) each. Each open file has a
/// receiver of its own. It reads as the number of signals that the last [`SEND`] got through, in decimal.
pub const RECEIVER: &str = "receiver";

/// The permissions of that file.
pub const RECEIVER_MODE: u16 = 0o600;

/// Command: `register NUMBER` makes the thread with this number the receiver. `ENODEV` if there is
/// none; then there is no receiver.
pub const REGISTER: &str = "register";

/// Command: `send SIGNAL VALUE COUNT` sends the receiver `COUNT` signals, with `VALUE`, `VALUE` + 1
/// and so on. `ESRCH` if it is gone, or runs another program; `EAGAIN` if it has too many pending;
/// `ENODEV` if there is none.
pub const SEND: &str = "send";

/// The largest `COUNT`.
pub const MAX_COUNT: i32 = 10_000;
