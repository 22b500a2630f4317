// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the signal gate agree on.
//!
//! All paths are below the place where debugfs is mounted, as a rule `/sys/kernel/debug`.

// new: begin
/// The directory, in that of debugfs.
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

/// A real-time signal, which comes as often as it is sent.
pub const SIGNAL: i32 = 44;
// new: end

/// The HOWTO's file: whoever writes the number of a process to it has that process sent [`SIGNAL`].
pub const FILE: &str = "signalconfpid";

/// Its permissions.
pub const MODE: u16 = 0o200;

/// The most bytes that may be written to it. More fail with `EINVAL`.
pub const LIMIT: usize = 10;

/// The value that comes with it.
pub const VALUE: i32 = 1234;
