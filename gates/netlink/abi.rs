// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the netlink gate agree on.

// new: begin
use core::ffi::CStr;

/// The protocol's number, the last of those there are.
// new: end
///
/// Examples have always taken it. The module's parameter may say otherwise.
// new: begin
pub const PROTOCOL: u32 = 31;

// new: end
/// How many protocols there are: their numbers are less than this.
pub const PROTOCOLS: u32 = 32;
// new: begin

/// What requests there are. Numbers below 16 are netlink's own.
pub mod kind {
    /// Takes [`MSG`](super::MSG), and answers with one.
    pub const ECHO: u16 = 16;
    /// Takes [`MSG`](super::MSG), and sends it to [`GROUP`](super::GROUP), as a message of this kind.
    /// It takes `CAP_NET_ADMIN`.
    pub const SAY: u16 = 17;
    /// Answers with a [`COUNT`](super::COUNT).
    pub const COUNT: u16 = 18;
}

/// A string of at most [`MSG_MAX`] bytes.
pub const MSG: u16 = 1;
/// How many messages this network namespace has sent to [`kind::ECHO`], a u32.
pub const COUNT: u16 = 2;

/// The longest message, without its NUL.
pub const MSG_MAX: u16 = 255;

/// The multicast group.
pub const GROUP: u32 = 1;

/// What the module answers.
pub const ANSWER: &CStr = c"hello world from kernel space";
// new: end
