// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the packet gate agree on: a protocol of their own, right above
//! Ethernet.

// new: begin
use zerocopy::byteorder::network_endian::{U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What the frames are said to carry: the first number that IEEE 802 leaves to experiments.
pub const ETHER_TYPE: u16 = 0x88b5;

/// The version of the protocol. A frame of another one is ignored.
pub const VERSION: u8 = 1;

/// A question: a text of up to [`TEXT_CAPACITY`] bytes, which the module logs. The answer is
/// [`GREETING`].
pub const HELLO: u8 = 1;

/// A question: any bytes, which the answer has as well.
pub const ECHO: u8 = 2;

/// A question: nothing. The answer is [`Counts`].
pub const COUNT: u8 = 3;

/// Added to a question's kind, makes it that of the answer. The module answers no answers.
pub const ANSWER: u8 = 0x80;

/// What the module answers to [`HELLO`].
pub const GREETING: &[u8] = b"hello world from kernel space";

/// The longest text, in bytes.
pub const TEXT_CAPACITY: usize = 200;

/// What each frame begins with. As many bytes as it says follow, and behind them is padding. It may lie at
/// any address, and its numbers are big-endian, as is usual on a network.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
pub struct Header {
    /// [`VERSION`].
    pub version: u8,
    /// [`HELLO`] and so on.
    pub kind: u8,
    /// How many bytes follow the header and are no padding.
    pub len: U16,
    /// Chosen by who asks; the answer has the same.
    pub sequence: U32,
}

/// What the module has seen of this protocol in one network namespace. Frames for others and answers do not
/// count.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
pub struct Counts {
    /// Questions that were answered before this one.
    pub answered: U64,
    /// Frames that were not understood, and questions whose answer could not be sent.
    pub ignored: U64,
}

const _: () = assert!(size_of::<Header>() == 8);
const _: () = assert!(size_of::<Counts>() == 16);
// new: end
