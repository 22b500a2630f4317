// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the modules and the program of the measurement of many events agree on.

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The device of the ring.
pub const RING: &str = "callgate_peer_ring";

/// The device of relay and netlink.
pub const OTHERS: &str = "callgate_peers";

/// `_IOWR('B', 0, Task)`: produces events.
pub const PRODUCE: u32 = 0xc020_4200;

/// Events to be produced, and what came of it.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Task {
    /// How: see [`way`].
    pub way: u32,
    /// How many bytes an event has: 16, 64 or 256. Each of its words is its number.
    pub bytes: u32,
    /// In: how many, [`MOST`] at most. Out: how many were, before there was no room for one.
    pub count: u64,
    /// In: the number of the first. Out: that of the next one.
    pub number: u64,
    /// Out: how often somebody was woken.
    pub rang: u64,
}

/// Ways to produce events.
pub mod way {
    /// By the ring, in batches.
    pub const BATCHES: u32 = 0;
    /// In batches, and nobody is ever woken.
    pub const SILENT_BATCHES: u32 = 1;
    /// One by one, each with the lock taken for it.
    pub const SINGLE: u32 = 2;
    /// One by one, and nobody is ever woken.
    pub const SILENT_SINGLE: u32 = 3;
    /// By the relay channel.
    pub const RELAY: u32 = 4;
    /// By netlink's multicast.
    pub const NETLINK: u32 = 5;
}

/// How many events are in a batch at most.
pub const BATCH: u64 = 64;

/// How many events a task has at most: nobody can stop one halfway.
pub const MOST: u64 = 4096;

/// How many pages the ring has for messages, after one for control. The others have as much.
pub const RING_PAGES: usize = 128;

/// The longest event, in bytes.
pub const LIMIT: usize = 256;

/// Size of a page.
pub const PAGE_SIZE: usize = 4096;

/// Where the relay channel's files are in debugfs, one for each CPU, and what their names begin with.
pub const RELAY: (&str, &str) = ("callgate_peers", "events");

/// The family and the group of the netlink events; their command, and the attribute that is the event.
pub const FAMILY: &str = "callgate_peers";
/// The group.
pub const GROUP: &str = "events";
