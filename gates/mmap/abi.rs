// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the mmap gate agree on.
//!
//! Where a ring is, each side says by a `Layout` of its own `ring` module, made of these numbers.

// new: begin
/// Counters of the module, a page to be read only. They begin at 0 when the module is loaded.
pub const STATUS: &str = "callgate_mmap_status";

/// The word that counts how often the channel has been opened.
pub const STATUS_OPENED: usize = 0;

/// The word that counts the messages that were sent back.
pub const STATUS_ECHOED: usize = 1;

/// The channel: two rings of messages, for each who opens it. What comes in by one, the module sends back
/// by the other.
pub const CHANNEL: &str = "callgate_mmap";

/// What is written to the channel, a word in the machine's byte order, to say that a ring has changed whose
/// other side sleeps. To read a word, how many bytes wait, is to sleep until there are some.
pub const RING: u64 = 1;

/// Permissions of what users write to.
pub const MODE: u16 = 0o660;

/// Permissions of what they only read.
pub const STATUS_MODE: u16 = 0o444;

/// Size of a page, for which all this is laid out.
pub const PAGE_SIZE: usize = 4096;

/// How many words of 8 bytes a page has.
pub const PAGE_WORDS: usize = PAGE_SIZE / 8;

/// How many words a ring has for messages: 16 pages.
pub const RING_WORDS: usize = 16 * PAGE_WORDS;

/// The longest message, in bytes.
pub const MESSAGE_LIMIT: usize = 4096;

/// The words of control and of messages of the ring to the kernel.
pub const TO_KERNEL: (usize, usize) = (0, PAGE_WORDS);

/// The words of control and of messages of the ring to the user.
pub const TO_USER: (usize, usize) = (16, PAGE_WORDS + RING_WORDS);

/// How many pages the channel has: one for control, the rest for messages.
pub const CHANNEL_PAGES: usize = 1 + 2 * RING_WORDS / PAGE_WORDS;
// new: end

/// The HOWTO's file, in the root of debugfs: a page of its own for each who opens it.
pub const FILE: &str = "mmap_example";

/// Its permissions.
pub const FILE_MODE: u16 = 0o644;

/// What is in the page at first.
pub const GREETING: &str = "hello from kernel this is file: mmap_example";

/// Where the HOWTO's program writes, and what.
pub const ANSWER_OFFSET: usize = 11;

/// What the HOWTO's program writes there. It replaces as many bytes of the greeting.
pub const ANSWER: &str = "*user*";

/// Memory that all who open it share, page by page.
pub const SHARED: &str = "callgate_mmap_shared";

/// How many pages that is.
pub const SHARED_PAGES: usize = 4;
