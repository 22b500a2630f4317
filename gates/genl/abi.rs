// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the programs of the generic netlink gate agree on. `control_exmpl.yaml` says the
//! same to programs that are not in Rust.

// new: begin
use core::ffi::CStr;

/// The family.
pub const FAMILY: &CStr = c"CONTROL_EXMPL";
/// Its version.
pub const VERSION: u8 = 1;

/// The commands.
pub mod command {
    // new: end
    /// The HOWTO's `DOC_EXMPL_C_ECHO`: takes [`MSG`](super::MSG), and answers with one.
    pub const ECHO: u8 = 1;
    // new: begin
    /// Adds records: [`COUNT`](super::COUNT) of them, beginning with [`RECORD`](super::RECORD).
    pub const ADD: u8 = 2;
    /// Removes the record with this [`NUMBER`](super::NUMBER).
    pub const REMOVE: u8 = 3;
    /// Gets the record with this [`NUMBER`](super::NUMBER), or as a dump all records, or those
    /// [`FROM`](super::FROM) a number on.
    pub const GET: u8 = 4;
    /// What the module says in the group [`RECORDS`](super::RECORDS): records were added.
    pub const ADDED: u8 = 6;
    /// There too: a record was removed.
    pub const REMOVED: u8 = 7;
    // new: end
    /// What it says in the group [`ECHOES`](super::ECHOES): somebody called [`ECHO`].
    pub const HEARD: u8 = 8;
    /// Takes an attribute of each [`kind`](super::kind), and sends them back.
    pub const KINDS: u8 = 5;
    // new: begin
}

// new: end
/// `DOC_EXMPL_A_MSG`: a string of at most [`MSG_MAX`] bytes.
pub const MSG: u16 = 1;
// new: begin
/// A nest with [`record::NUMBER`] and [`record::TEXT`].
pub const RECORD: u16 = 2;
/// How many records, a u32 from 1 to [`RECORDS_MAX`].
pub const COUNT: u16 = 3;
/// A flag: records that are there already are replaced.
pub const REPLACE: u16 = 4;
/// The number of a record, a u32.
pub const NUMBER: u16 = 5;
/// The least number to list, a u32.
pub const FROM: u16 = 6;

/// What a record consists of.
pub mod record {
    /// A u32 from 1 to [`NUMBER_MAX`](super::NUMBER_MAX).
    pub const NUMBER: u16 = 1;
    /// A string of at most [`TEXT_MAX`](super::TEXT_MAX) bytes.
    pub const TEXT: u16 = 2;
}

// new: end
/// One attribute of each kind.
pub mod kind {
    /// Any.
    pub const U8: u16 = 1;
    /// From 1 to 1000.
    pub const U16: u16 = 2;
    /// From 1 to 100 000.
    pub const U32: u16 = 3;
    /// From 1 to 2⁴⁰.
    pub const U64: u16 = 4;
    /// Any.
    pub const S8: u16 = 5;
    /// From -1000 to 1000.
    pub const S16: u16 = 6;
    /// From -100 000 to 100 000.
    pub const S32: u16 = 7;
    /// From -2⁴⁰ to 2⁴⁰.
    pub const S64: u16 = 8;
    /// From 4 to 8 bytes.
    pub const BYTES: u16 = 9;
    /// There or not.
    pub const FLAG: u16 = 10;
    /// A record.
    pub const NEST: u16 = 11;
}

/// The longest message, without its NUL.
pub const MSG_MAX: u16 = 255;
// new: begin
/// The longest text of a record, without its NUL.
pub const TEXT_MAX: u16 = 63;
/// The largest number of a record.
pub const NUMBER_MAX: u32 = 1_000_000;
/// How many records there can be.
pub const RECORDS_MAX: u32 = 200_000;

/// The group for changes of the records: its index, and its name. Anybody may join.
pub const RECORDS: (usize, &CStr) = (0, c"records");
// new: end
/// The group that hears what others send to [`command::ECHO`]. It takes `CAP_NET_ADMIN`.
pub const ECHOES: (usize, &CStr) = (1, c"echoes");

/// What the module answers, as in the HOWTO.
pub const ANSWER: &CStr = c"hello world from kernel space";
