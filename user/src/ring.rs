// SPDX-License-Identifier: MIT OR Apache-2.0

//! A ring of messages in memory that two sides share and neither trusts.
//!
//! The kernel's modules and the programs of user space compile this same file, so there is nothing here
//! but `core`. One side has the [`Producer`], the other the [`Consumer`]; there is one of each.
//!
//! # What the other side may do
//!
//! Anything, at any moment: the memory is its own, too. So
//!
//! - a position that the other side wrote is used only if it is one that it may have: not before the one
//!   seen last, and not beyond what there is. Anything else is [`Error::Broken`], from then on;
//! - a side never reads back what it wrote itself: its own position is kept where the other side cannot
//!   reach it;
//! - the length of a message is read once, and checked; a message is copied out before anybody looks at
//!   it, and there is no reference to the memory, only loads and stores of single words;
//! - a side that is put to sleep or kept awake by a false flag has only its peer to blame. It must not wait
//!   where it cannot be interrupted.
//!
//! What is sent is not secret, nor is it complete: a hostile peer may make the bytes of a message what it
//! likes, for that is what a message is.
//!
//! # Waiting
//!
//! A side with nothing to do says so in the memory ([`Consumer::sleep`], [`Producer::sleep`]), looks
//! once more, and sleeps. The other side, after each change, asks whether it has to ring
//! ([`Producer::must_ring`], [`Consumer::must_ring`]). Between the two steps each side has a full fence: of
//! two sides that write one word and then read the other's, at least one sees what the other wrote. So
//! either the sleeper finds the change, or the other one finds the sleeper. The flag is taken down by
//! whoever rings; so there is one ring for each sleep, and none while both are busy.

use core::ops::Deref;
use core::sync::atomic::Ordering;

/// Memory that is shared, as words.
///
/// No two methods are ever more than one word apart in what they promise: a word is read or written whole.
pub trait Words {
    /// Loads the word `at`, with [`Ordering::Relaxed`] or [`Ordering::Acquire`].
    fn load(&self, at: usize, order: Ordering) -> u64;

    /// Stores the word `at`, with [`Ordering::Relaxed`] or [`Ordering::Release`].
    fn store(&self, at: usize, value: u64, order: Ordering);

    /// What is written before is written before what is read after: [`Ordering::SeqCst`].
    fn fence(&self);

    /// Copies `bytes` to the words from `at` on. What is left of the last word becomes zero.
    #[inline]
    fn copy_in(&self, at: usize, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(WORD).enumerate() {
            let mut word = [0; WORD];
            word[..chunk.len()].copy_from_slice(chunk);
            self.store(at + index, u64::from_ne_bytes(word), Ordering::Relaxed);
        }
    }

    /// Fills `bytes` from the words from `at` on.
    #[inline]
    fn copy_out(&self, at: usize, bytes: &mut [u8]) {
        for (index, chunk) in bytes.chunks_mut(WORD).enumerate() {
            let word = self.load(at + index, Ordering::Relaxed).to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// Whatever leads to such memory, as a reference or an `Arc` does.
impl<P: Deref<Target: Words>> Words for P {
    #[inline]
    fn load(&self, at: usize, order: Ordering) -> u64 {
        (**self).load(at, order)
    }

    #[inline]
    fn store(&self, at: usize, value: u64, order: Ordering) {
        (**self).store(at, value, order);
    }

    #[inline]
    fn fence(&self) {
        (**self).fence();
    }
}

/// How many bytes a word has.
const WORD: usize = size_of::<u64>();

/// Where a ring is in the memory. Both sides must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    control: usize,
    data: usize,
    capacity: usize,
    limit: usize,
}

impl Layout {
    /// How many words of control a ring has: a cache line of what the producer writes, and one of what the
    /// consumer does.
    pub const CONTROL: usize = 16;

    const HEAD: usize = 0;
    const PRODUCER_SLEEPS: usize = 1;
    const TAIL: usize = 8;
    const CONSUMER_SLEEPS: usize = 9;

    /// A ring with its words of control from the word `control` on, and `capacity` words for messages of
    /// at most `limit` bytes from the word `data` on.
    ///
    /// # Panics
    ///
    /// If the capacity is no power of two, or too small for one message. For a constant, that is when it
    /// is compiled.
    #[inline]
    pub const fn new(control: usize, data: usize, capacity: usize, limit: usize) -> Self {
        assert!(capacity.is_power_of_two(), "a position is masked");
        assert!(Self::words(limit) <= capacity, "a message must fit");
        Self {
            control,
            data,
            capacity,
            limit,
        }
    }

    /// How many words a message of `len` bytes takes: one with its length, and its bytes.
    #[inline]
    const fn words(len: usize) -> usize {
        1 + len.div_ceil(WORD)
    }

    /// The longest message, in bytes.
    #[inline]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    #[inline]
    const fn head(&self) -> usize {
        self.control + Self::HEAD
    }

    #[inline]
    const fn tail(&self) -> usize {
        self.control + Self::TAIL
    }

    #[inline]
    const fn producer_sleeps(&self) -> usize {
        self.control + Self::PRODUCER_SLEEPS
    }

    #[inline]
    const fn consumer_sleeps(&self) -> usize {
        self.control + Self::CONSUMER_SLEEPS
    }

    /// The word of a position. Any position leads to one of the ring's.
    #[inline]
    fn place(&self, position: u64) -> usize {
        self.data + self.within(position & (self.capacity as u64 - 1))
    }

    /// A number of words that is no more than the capacity, so that it fits.
    #[inline]
    fn within(&self, words: u64) -> usize {
        usize::try_from(words).map_or(self.capacity, |words| words.min(self.capacity))
    }

    /// Where `len` bytes are that begin at `position`: the first word and the bytes up to the ring's end,
    /// and again for the rest, which is at its beginning.
    #[inline]
    fn pieces(&self, position: u64, len: usize) -> [(usize, core::ops::Range<usize>); 2] {
        let start = self.place(position);
        let straight = ((self.data + self.capacity - start) * WORD).min(len);
        [(start, 0..straight), (self.data, straight..len)]
    }
}

/// Why a message did not go in or come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no room for it. Nothing has changed.
    Full,
    /// There is none. Nothing has changed.
    Empty,
    /// It is longer than the ring's limit; or the buffer is shorter than it. Nothing has changed.
    TooLong,
    /// The other side wrote what it cannot mean. The ring is of no use any more.
    Broken,
}

/// One side's view of a ring: what it knows, and where the other side cannot reach.
struct Side<W> {
    words: W,
    layout: Layout,
    /// The position of this side.
    own: u64,
    /// The position of the other side, as last seen.
    other: u64,
    broken: bool,
}

impl<W: Words> Side<W> {
    /// Takes over a position of the other side. It may move up to `most` words.
    fn advance(&mut self, position: u64, most: u64) -> Result<(), Error> {
        if self.broken || position.wrapping_sub(self.other) > most {
            return Err(self.broken());
        }
        self.other = position;
        Ok(())
    }

    fn broken(&mut self) -> Error {
        self.broken = true;
        Error::Broken
    }

    /// Tells the other side of a new position, and of all that was written before.
    fn publish(&mut self, word: usize, position: u64) {
        self.own = position;
        self.words.store(word, position, Ordering::Release);
    }

    /// Says at `flag` that somebody sleeps. What is looked at from now on counts.
    fn raise(&self, flag: usize) {
        self.words.store(flag, 1, Ordering::Relaxed);
        self.words.fence();
    }

    /// Takes back what was said at `flag`.
    fn stay_awake(&self, flag: usize) {
        self.words.store(flag, 0, Ordering::Relaxed);
    }

    /// Whether somebody sleeps who says so at `flag`. From now on the flag is down: the caller must ring.
    fn lower(&self, flag: usize) -> bool {
        self.words.fence();
        let sleeps = self.words.load(flag, Ordering::Relaxed) != 0;
        if sleeps {
            self.words.store(flag, 0, Ordering::Relaxed);
        }
        sleeps
    }
}

/// The side that writes messages.
pub struct Producer<W>(Side<W>);

impl<W: Words> Producer<W> {
    /// The producer of a ring in memory that is zeroed. There must be no other.
    pub const fn new(words: W, layout: Layout) -> Self {
        Self(Side {
            words,
            layout,
            own: 0,
            other: 0,
            broken: false,
        })
    }

    /// Puts in a message.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Full`], [`Error::Broken`].
    pub fn push(&mut self, message: &[u8]) -> Result<(), Error> {
        let layout = self.0.layout;
        if message.len() > layout.limit {
            return Err(Error::TooLong);
        }
        let needed = Layout::words(message.len());
        if self.free()? < needed {
            return Err(Error::Full);
        }
        let head = self.0.own;
        let words = &self.0.words;
        words.store(layout.place(head), message.len() as u64, Ordering::Relaxed);
        for (at, bytes) in layout.pieces(head.wrapping_add(1), message.len()) {
            words.copy_in(at, &message[bytes]);
        }
        self.0
            .publish(layout.head(), head.wrapping_add(needed as u64));
        Ok(())
    }

    /// Whether any message has room.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    pub fn has_room(&mut self) -> Result<bool, Error> {
        Ok(self.free()? >= Layout::words(self.0.layout.limit))
    }

    /// How many words wait for the consumer.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    pub fn waiting(&mut self) -> Result<usize, Error> {
        let tail = self.0.words.load(self.0.layout.tail(), Ordering::Acquire);
        let most = self.0.own.wrapping_sub(self.0.other);
        self.0.advance(tail, most)?;
        Ok(self.0.layout.within(self.0.own.wrapping_sub(tail)))
    }

    fn free(&mut self) -> Result<usize, Error> {
        Ok(self.0.layout.capacity - self.waiting()?)
    }

    /// Says that this side is about to sleep until there is room. Whoever calls must look once more, and
    /// sleep only if there is none.
    pub fn sleep(&self) {
        self.0.raise(self.0.layout.producer_sleeps());
    }

    /// Says that this side does not sleep after all. To leave that out costs the other side a ring.
    pub fn stay_awake(&self) {
        self.0.stay_awake(self.0.layout.producer_sleeps());
    }

    /// Whether the consumer sleeps, and must be told of what was put in. To be asked after the last message,
    /// or after each; on `true` the caller must ring.
    #[must_use = "the consumer sleeps on if it is not told"]
    pub fn must_ring(&self) -> bool {
        self.0.lower(self.0.layout.consumer_sleeps())
    }

    /// Says that the consumer sleeps, for a consumer that cannot: it calls this side to be put to sleep.
    /// Whoever calls must look once more whether something waits.
    pub fn other_sleeps(&self) {
        self.0.raise(self.0.layout.consumer_sleeps());
    }
}

/// The side that reads messages.
pub struct Consumer<W>(Side<W>);

impl<W: Words> Consumer<W> {
    /// The consumer of a ring in memory that is zeroed. There must be no other.
    pub const fn new(words: W, layout: Layout) -> Self {
        Self(Side {
            words,
            layout,
            own: 0,
            other: 0,
            broken: false,
        })
    }

    /// Takes out a message, and returns its length.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`]; [`Error::TooLong`] if `buffer` is too short for it; [`Error::Broken`].
    pub fn pop(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let layout = self.0.layout;
        let waiting = self.waiting()?;
        if waiting == 0 {
            return Err(Error::Empty);
        }
        let tail = self.0.own;
        // Read once; what it is later does not matter.
        let len = self.0.words.load(layout.place(tail), Ordering::Relaxed);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > layout.limit || Layout::words(len) > waiting {
            return Err(self.0.broken());
        }
        let message = buffer.get_mut(..len).ok_or(Error::TooLong)?;
        for (at, bytes) in layout.pieces(tail.wrapping_add(1), len) {
            self.0.words.copy_out(at, &mut message[bytes]);
        }
        let tail = tail.wrapping_add(Layout::words(len) as u64);
        self.0.publish(layout.tail(), tail);
        Ok(len)
    }

    /// How many words wait.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    pub fn waiting(&mut self) -> Result<usize, Error> {
        let layout = self.0.layout;
        let head = self.0.words.load(layout.head(), Ordering::Acquire);
        let seen = self.0.other.wrapping_sub(self.0.own);
        self.0.advance(head, layout.capacity as u64 - seen)?;
        Ok(layout.within(head.wrapping_sub(self.0.own)))
    }

    /// Says that this side is about to sleep until there is a message. Whoever calls must look once more,
    /// and sleep only if there is none.
    pub fn sleep(&self) {
        self.0.raise(self.0.layout.consumer_sleeps());
    }

    /// Says that this side does not sleep after all. To leave that out costs the other side a ring.
    pub fn stay_awake(&self) {
        self.0.stay_awake(self.0.layout.consumer_sleeps());
    }

    /// Whether the producer sleeps, and must be told that there is room. To be asked after the last message
    /// that was taken out, or after each; on `true` the caller must ring.
    #[must_use = "the producer sleeps on if it is not told"]
    pub fn must_ring(&self) -> bool {
        self.0.lower(self.0.layout.producer_sleeps())
    }

    /// Says that the producer sleeps, for a producer that cannot: it calls this side to be put to sleep.
    /// Whoever calls must look once more whether there is room.
    pub fn other_sleeps(&self) {
        self.0.raise(self.0.layout.producer_sleeps());
    }

    /// Whether the ring's words for messages have room for any.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    pub fn has_room(&mut self) -> Result<bool, Error> {
        let free = self.0.layout.capacity - self.waiting()?;
        Ok(free >= Layout::words(self.0.layout.limit))
    }
}
