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
//! - the length of a message is read once, and checked; the bytes are copied out of the memory before
//!   anybody looks at them, or are looked at as what they are: words that may change at any moment. There is
//!   no reference to bytes, only loads and stores of single words;
//! - a side that is put to sleep or kept awake by a false flag has only its peer to blame. It must not wait
//!   where it cannot be interrupted.
//!
//! What is sent is not secret, nor is it complete: a hostile peer may make the bytes of a message what it
//! likes, for that is what a message is.
//!
//! # Many at once
//!
//! The other side's position is in memory that the other side writes, so to look at it takes time. Each side
//! remembers what it saw, and looks again only when there is nothing left of that. Nor does it have to tell
//! of each message: [`Producer::batch`] and [`Consumer::drain`] tell of all together, and one question,
//! whether to ring, is enough for all.
//!
//! # Waiting
//!
//! A side with nothing to do says so in the memory ([`Consumer::sleep`], [`Producer::sleep`]), looks
//! once more, and sleeps. The other side, after each change, asks whether it has to ring
//! ([`Producer::must_ring`], [`Consumer::must_ring`]). Between the two steps each side has a full fence: of
//! two sides that write one word and then read the other's, at least one sees what the other wrote. So
//! either the sleeper finds the change, or the other one finds the sleeper. The flag is taken down by
//! whoever rings; so there is one ring for each sleep, and none while both are busy.
//!
//! # In the memory
//!
//! Words of 8 bytes in the machine's byte order. Each side has a line of control: its position, a number of
//! words that only grows, and a flag, which is not 0 while it sleeps. The words for messages begin again
//! when a position is a multiple of their number. A message is a word with its length in bytes, and as
//! many words as those take. It is always in one piece: if it does not fit before the end, a word of all ones
//! says that the rest is left out, and it is at the beginning.

#![allow(
    clippy::inline_always,
    reason = "what is short when lengths are constants, and is in loops"
)]

use core::ops::Deref;
use core::sync::atomic::fence;
use core::sync::atomic::{AtomicU64, Ordering};

/// A word of memory that others change, too: it is read or written whole.
pub trait Word {
    /// Loads it, with [`Ordering::Relaxed`] or [`Ordering::Acquire`].
    fn load(&self, order: Ordering) -> u64;

    /// Stores it, with [`Ordering::Relaxed`] or [`Ordering::Release`].
    fn store(&self, value: u64, order: Ordering);

    /// What is written before is written before what is read after: [`Ordering::SeqCst`].
    fn fence();
}

/// In the kernel, too, this is Rust's atomic and not the kernel's: the words are shared with a program, and
/// two sides of one protocol must be of one memory model.
impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline]
    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// Memory that is shared, as words.
///
/// An index beyond its end is an error of this side's, and a panic.
pub trait Words {
    /// What it is made of.
    type Word: Word;

    /// All of it.
    fn words(&self) -> &[Self::Word];

    /// Loads the word `at`, with [`Ordering::Relaxed`] or [`Ordering::Acquire`].
    #[inline]
    fn load(&self, at: usize, order: Ordering) -> u64 {
        self.words()[at].load(order)
    }

    /// Stores the word `at`, with [`Ordering::Relaxed`] or [`Ordering::Release`].
    #[inline]
    fn store(&self, at: usize, value: u64, order: Ordering) {
        self.words()[at].store(value, order);
    }

    /// Copies `bytes` to the words from `at` on. What is left of the last word becomes zero.
    #[inline]
    fn copy_in(&self, at: usize, bytes: &[u8]) {
        let words = &self.words()[at..];
        copy_in(&words[..bytes.len().div_ceil(WORD)], bytes);
    }

    /// Fills `bytes` from the words from `at` on.
    #[inline]
    fn copy_out(&self, at: usize, bytes: &mut [u8]) {
        let words = &self.words()[at..];
        copy_out(&words[..bytes.len().div_ceil(WORD)], bytes);
    }
}

/// Memory as it is.
impl<T: Word> Words for [T] {
    type Word = T;

    #[inline]
    fn words(&self) -> &[T] {
        self
    }
}

/// Whatever leads to such memory, as a reference or an `Arc` does.
impl<P: Deref<Target: Words>> Words for P {
    type Word = <P::Target as Words>::Word;

    #[inline]
    fn words(&self) -> &[Self::Word] {
        (**self).words()
    }
}

/// How many bytes a word has.
const WORD: usize = size_of::<u64>();

/// As many bytes as a word has, or less, and zero for the others.
#[inline]
fn to_word(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// The first bytes of a word.
#[inline]
fn from_word(word: u64, bytes: &mut [u8]) {
    bytes.copy_from_slice(&word.to_ne_bytes()[..bytes.len()]);
}

/// Copies bytes to as many words as they take. What is left of the last one becomes zero.
#[inline]
fn copy_in<T: Word>(words: &[T], bytes: &[u8]) {
    let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % WORD);
    let (words, last) = words.split_at(whole.len() / WORD);
    for (word, bytes) in words.iter().zip(whole.chunks_exact(WORD)) {
        word.store(to_word(bytes), Ordering::Relaxed);
    }
    if let (false, [last, ..]) = (rest.is_empty(), last) {
        last.store(to_word(rest), Ordering::Relaxed);
    }
}

/// Fills bytes from as many words as they take.
#[inline]
fn copy_out<T: Word>(words: &[T], bytes: &mut [u8]) {
    let (whole, rest) = bytes.split_at_mut(bytes.len() - bytes.len() % WORD);
    let (words, last) = words.split_at(whole.len() / WORD);
    for (word, bytes) in words.iter().zip(whole.chunks_exact_mut(WORD)) {
        from_word(word.load(Ordering::Relaxed), bytes);
    }
    if let (false, [last, ..]) = (rest.is_empty(), last) {
        from_word(last.load(Ordering::Relaxed), rest);
    }
}

/// Loads words, each by itself.
#[inline]
fn load<T: Word, const N: usize>(words: &[T; N]) -> [u64; N] {
    words.each_ref().map(|word| word.load(Ordering::Relaxed))
}

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

    /// In place of a length: what is left before the end of the ring is not used.
    const SKIP: u64 = u64::MAX;

    /// A ring with its words of control from the word `control` on, and `capacity` words for messages of
    /// at most `limit` bytes from the word `data` on.
    ///
    /// # Panics
    ///
    /// If the capacity is no power of two, or too small for one message with what may have to be left out
    /// before it. For a constant, that is when it is compiled.
    #[inline]
    pub const fn new(control: usize, data: usize, capacity: usize, limit: usize) -> Self {
        assert!(capacity.is_power_of_two(), "a position is masked");
        assert!(
            limit / WORD < capacity && Self::words(limit) * 2 <= capacity + 1,
            "a message must fit"
        );
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
        len.div_ceil(WORD).wrapping_add(1)
    }

    /// The longest message, in bytes.
    #[inline]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// How many words a side uses at most before it tells the other: a good part of the ring, but more than
    /// any message.
    #[inline]
    fn stretch(&self) -> usize {
        let (part, message) = (self.capacity / 4, Self::words(self.limit));
        part.max(message)
    }

    /// The word of a position, of the words for messages.
    #[inline]
    fn place(&self, position: u64) -> usize {
        let place = position & (self.capacity as u64).wrapping_sub(1);
        usize::try_from(place).unwrap_or(0)
    }

    /// How many words there are from a position to the end of the ring.
    #[inline]
    fn before_end(&self, position: u64) -> usize {
        self.capacity.wrapping_sub(self.place(position))
    }

    /// A number of words that is no more than the capacity, so that it fits.
    #[inline]
    fn within(&self, words: u64) -> usize {
        usize::try_from(words).map_or(self.capacity, |words| words.min(self.capacity))
    }

    /// One of the words of control.
    #[inline]
    fn control<'a, T>(&self, words: &'a [T], which: usize) -> &'a T {
        &words[self.control.wrapping_add(which)]
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

/// What one side knows of a ring, where the other side cannot reach.
struct Side {
    layout: Layout,
    /// How many words this side uses next, one after the other.
    stretch: usize,
    /// The position behind those.
    end: u64,
    /// The position up to which this side may go, by what it last saw of the other. If the ring is broken,
    /// that is nowhere.
    until: u64,
    broken: bool,
}

impl Side {
    const fn new(layout: Layout, until: u64) -> Self {
        Self {
            layout,
            stretch: 0,
            end: 0,
            until,
            broken: false,
        }
    }

    /// The position of this side.
    #[inline]
    fn own(&self) -> u64 {
        self.end.wrapping_sub(self.stretch as u64)
    }

    /// How many words this side may use, as far as it knows.
    fn known(&self) -> usize {
        self.layout.within(self.until.wrapping_sub(self.own()))
    }

    /// Moves this side to a position, without telling the other. It uses the words from there to the end of
    /// the ring at most, and not so many that the other side waits for long.
    fn move_to(&mut self, own: u64) {
        let (layout, known) = (self.layout, self.until.wrapping_sub(own));
        let stretch = layout.within(known).min(layout.before_end(own));
        self.stretch = stretch.min(layout.stretch());
        self.end = own.wrapping_add(self.stretch as u64);
    }

    /// The words that this side uses next.
    #[inline]
    fn stretch<'a, T>(&self, words: &'a [T]) -> &'a [T] {
        let start = self.layout.data.wrapping_add(self.layout.place(self.own()));
        &words[start..][..self.stretch]
    }

    /// Has so many of the words left that this side uses: it tells the other side that it is done with those
    /// before.
    #[inline]
    fn leave<T: Word>(&mut self, words: &[T], which: usize, left: usize) {
        if left != self.stretch {
            self.stretch = left;
            let word = self.layout.control(words, which);
            word.store(self.own(), Ordering::Release);
        }
    }

    /// Takes over how far this side may go, by a position that the other side wrote. It is not less far than
    /// before, and not beyond the ring.
    fn look(&mut self, until: u64) -> Result<(), Error> {
        let (seen, count) = (self.known(), until.wrapping_sub(self.own()));
        if self.broken || count > self.layout.capacity as u64 || count < seen as u64 {
            return Err(self.broken());
        }
        self.until = until;
        Ok(())
    }

    fn broken(&mut self) -> Error {
        self.broken = true;
        self.until = self.own();
        self.move_to(self.until);
        Error::Broken
    }

    /// Says in a word of control that somebody sleeps. What is looked at from now on counts.
    fn raise<T: Word>(&self, words: &[T], which: usize) {
        self.layout
            .control(words, which)
            .store(1, Ordering::Relaxed);
        T::fence();
    }

    /// Takes back what was said there.
    fn stay_awake<T: Word>(&self, words: &[T], which: usize) {
        self.layout
            .control(words, which)
            .store(0, Ordering::Relaxed);
    }

    /// Whether somebody sleeps who says so there. From now on the flag is down: the caller must ring.
    #[inline]
    fn lower<T: Word>(&self, words: &[T], which: usize) -> bool {
        let flag = self.layout.control(words, which);
        T::fence();
        let sleeps = flag.load(Ordering::Relaxed) != 0;
        if sleeps {
            flag.store(0, Ordering::Relaxed);
        }
        sleeps
    }
}

/// The side that writes messages.
pub struct Producer<W> {
    words: W,
    side: Side,
}

impl<W: Words> Producer<W> {
    /// The producer of a ring in memory that is zeroed. There must be no other.
    #[inline]
    pub const fn new(words: W, layout: Layout) -> Self {
        let side = Side::new(layout, layout.capacity as u64);
        Self { words, side }
    }

    /// Puts in a message.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Full`], [`Error::Broken`].
    #[inline(always)]
    pub fn push(&mut self, message: &[u8]) -> Result<(), Error> {
        self.batch().push(message)
    }

    /// Puts in messages of which the consumer is told together, when what this returns is dropped; of some
    /// it may be told earlier.
    #[inline]
    pub fn batch(&mut self) -> Batch<'_, W::Word> {
        let words = self.words.words();
        Batch {
            stretch: self.side.stretch(words),
            words,
            side: &mut self.side,
        }
    }

    /// Whether any message has room.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    pub fn has_room(&mut self) -> Result<bool, Error> {
        let layout = self.side.layout;
        let free = layout.capacity.wrapping_sub(self.waiting()?);
        Ok(fits(&layout, self.side.own(), free))
    }

    /// How many words wait for the consumer.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    pub fn waiting(&mut self) -> Result<usize, Error> {
        self.side.look_for_room(self.words.words())?;
        Ok(self.side.layout.capacity.wrapping_sub(self.side.known()))
    }

    /// Says that this side is about to sleep until there is room. Whoever calls must look once more, and
    /// sleep only if there is none.
    pub fn sleep(&self) {
        self.side.raise(self.words.words(), Layout::PRODUCER_SLEEPS);
    }

    /// Says that this side does not sleep after all. To leave that out costs the other side a ring.
    pub fn stay_awake(&self) {
        self.side
            .stay_awake(self.words.words(), Layout::PRODUCER_SLEEPS);
    }

    /// Whether the consumer sleeps, and must be told of what was put in. To be asked after the last message,
    /// or after each; on `true` the caller must ring.
    #[inline]
    #[must_use = "the consumer sleeps on if it is not told"]
    pub fn must_ring(&self) -> bool {
        self.side.lower(self.words.words(), Layout::CONSUMER_SLEEPS)
    }

    /// Says that the consumer sleeps, for a consumer that cannot: it calls this side to be put to sleep.
    /// Whoever calls must look once more whether something waits.
    pub fn other_sleeps(&self) {
        self.side.raise(self.words.words(), Layout::CONSUMER_SLEEPS);
    }
}

/// Whether any message has room in so many words behind a position.
fn fits(layout: &Layout, head: u64, free: usize) -> bool {
    let (end, message) = (layout.before_end(head), Layout::words(layout.limit));
    let skipped = if end < message { end } else { 0 };
    free >= message.wrapping_add(skipped)
}

impl Side {
    /// For the producer: looks how far the consumer is.
    fn look_for_room<T: Word>(&mut self, words: &[T]) -> Result<(), Error> {
        let tail = self
            .layout
            .control(words, Layout::TAIL)
            .load(Ordering::Acquire);
        self.look(tail.wrapping_add(self.layout.capacity as u64))
    }

    /// For the producer: tells the consumer of what there is, and makes room for a message in one piece.
    #[cold]
    fn make_room<T: Word>(&mut self, words: &[T], left: usize, needed: usize) -> Result<(), Error> {
        self.leave(words, Layout::HEAD, left);
        let own = self.own();
        let end = self.layout.before_end(own);
        let skipped = if end < needed { end } else { 0 };
        let needed = needed.wrapping_add(skipped);
        if self.known() < needed {
            self.look_for_room(words)?;
            if self.known() < needed {
                return Err(Error::Full);
            }
        }
        if skipped > 0 {
            let skipping = &words[self.layout.data..][self.layout.place(own)];
            skipping.store(Layout::SKIP, Ordering::Relaxed);
        }
        self.move_to(own.wrapping_add(skipped as u64));
        Ok(())
    }
}

/// Messages that are being put in: see [`Producer::batch`].
pub struct Batch<'a, T: Word> {
    side: &'a mut Side,
    words: &'a [T],
    /// Where the next message goes.
    stretch: &'a [T],
}

impl<T: Word> Batch<'_, T> {
    /// Puts in a message.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Full`], [`Error::Broken`].
    #[inline(always)]
    pub fn push(&mut self, message: &[u8]) -> Result<(), Error> {
        if message.len() > self.side.layout.limit {
            return Err(Error::TooLong);
        }
        let needed = Layout::words(message.len());
        if self.stretch.len() < needed {
            let left = self.stretch.len();
            let made = self.side.make_room(self.words, left, needed);
            self.stretch = self.side.stretch(self.words);
            made?;
        }
        let (record, rest) = self.stretch.split_at_checked(needed).ok_or(Error::Full)?;
        if let [length, words @ ..] = record {
            length.store(message.len() as u64, Ordering::Relaxed);
            copy_in(words, message);
        }
        self.stretch = rest;
        Ok(())
    }

    /// Tells the consumer of all of them, and asks whether it sleeps, as [`Producer::must_ring`] does.
    #[inline]
    #[must_use = "the consumer sleeps on if it is not told"]
    pub fn must_ring(self) -> bool {
        self.side
            .leave(self.words, Layout::HEAD, self.stretch.len());
        self.side.lower(self.words, Layout::CONSUMER_SLEEPS)
    }
}

impl<T: Word> Drop for Batch<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.side
            .leave(self.words, Layout::HEAD, self.stretch.len());
    }
}

/// The side that reads messages.
pub struct Consumer<W> {
    words: W,
    side: Side,
}

impl<W: Words> Consumer<W> {
    /// The consumer of a ring in memory that is zeroed. There must be no other.
    #[inline]
    pub const fn new(words: W, layout: Layout) -> Self {
        let side = Side::new(layout, 0);
        Self { words, side }
    }

    /// Takes out a message, and returns its length.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`]; [`Error::TooLong`] if `buffer` is too short for it; [`Error::Broken`].
    #[inline]
    pub fn pop(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut messages = self.drain();
        let (message, rest) = messages.look()?.ok_or(Error::Empty)?;
        let len = message.len();
        message.copy_out(buffer.get_mut(..len).ok_or(Error::TooLong)?);
        messages.stretch = rest;
        Ok(len)
    }

    /// Takes out messages, whose room the producer gets back together, when what this returns is dropped; some
    /// of it may get back earlier.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_, W::Word> {
        let words = self.words.words();
        Drain {
            stretch: self.side.stretch(words),
            words,
            side: &mut self.side,
        }
    }

    /// How many words wait.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    pub fn waiting(&mut self) -> Result<usize, Error> {
        self.side.look_for_messages(self.words.words())?;
        Ok(self.side.known())
    }

    /// Says that this side is about to sleep until there is a message. Whoever calls must look once more,
    /// and sleep only if there is none.
    pub fn sleep(&self) {
        self.side.raise(self.words.words(), Layout::CONSUMER_SLEEPS);
    }

    /// Says that this side does not sleep after all. To leave that out costs the other side a ring.
    pub fn stay_awake(&self) {
        self.side
            .stay_awake(self.words.words(), Layout::CONSUMER_SLEEPS);
    }

    /// Whether the producer sleeps, and must be told that there is room. To be asked after the last message
    /// that was taken out, or after each; on `true` the caller must ring.
    #[inline]
    #[must_use = "the producer sleeps on if it is not told"]
    pub fn must_ring(&self) -> bool {
        self.side.lower(self.words.words(), Layout::PRODUCER_SLEEPS)
    }

    /// Says that the producer sleeps, for a producer that cannot: it calls this side to be put to sleep.
    /// Whoever calls must look once more whether there is room.
    pub fn other_sleeps(&self) {
        self.side.raise(self.words.words(), Layout::PRODUCER_SLEEPS);
    }

    /// Whether any message has room in the ring.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    pub fn has_room(&mut self) -> Result<bool, Error> {
        let layout = self.side.layout;
        let free = layout.capacity.wrapping_sub(self.waiting()?);
        Ok(fits(&layout, self.side.until, free))
    }
}

impl Side {
    /// For the consumer: looks how far the producer is.
    fn look_for_messages<T: Word>(&mut self, words: &[T]) -> Result<(), Error> {
        let head = self.layout.control(words, Layout::HEAD);
        self.look(head.load(Ordering::Acquire))
    }

    /// For the consumer: whether it is where it last saw the producer, and the producer still is. To find that
    /// out takes less than to look for a message.
    #[inline]
    fn has_nothing_new<T: Word>(&self, words: &[T]) -> bool {
        let head = self.layout.control(words, Layout::HEAD);
        self.own() == self.until && !self.broken && head.load(Ordering::Relaxed) == self.until
    }

    /// For the consumer: finds the next message if there is one.
    fn find<'a, T: Word>(&mut self, words: &'a [T]) -> Result<Option<Found<'a, T>>, Error> {
        loop {
            if self.known() == 0 {
                self.look_for_messages(words)?;
            }
            let own = self.own();
            self.move_to(own);
            let Some((length, rest)) = self.stretch(words).split_first() else {
                return Ok(None);
            };
            let length = length.load(Ordering::Relaxed);
            if length != Layout::SKIP {
                let found = self.layout.cut(length, rest);
                return found.map(Some).ok_or_else(|| self.broken());
            }
            // A message is behind it, and it is not at the beginning: so this ends.
            let skipped = self.layout.before_end(own);
            if skipped == self.layout.capacity || skipped >= self.known() {
                return Err(self.broken());
            }
            self.move_to(own.wrapping_add(skipped as u64));
        }
    }
}

/// A message, and the words behind it.
type Found<'a, T> = (Message<'a, T>, &'a [T]);

impl Layout {
    /// The message of this length at the beginning of these words, if it can be.
    #[inline]
    fn cut<'a, T>(&self, length: u64, words: &'a [T]) -> Option<Found<'a, T>> {
        if length > self.limit as u64 {
            return None;
        }
        let len = usize::try_from(length).ok()?;
        let (words, rest) = words.split_at_checked(len.wrapping_add(WORD - 1) / WORD)?;
        Some((Message { words, len }, rest))
    }
}

/// Messages that are being taken out: see [`Consumer::drain`].
pub struct Drain<'a, T: Word> {
    side: &'a mut Side,
    words: &'a [T],
    /// Where the next message is.
    stretch: &'a [T],
}

impl<'a, T: Word> Drain<'a, T> {
    /// Takes out a message, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    #[inline(always)]
    pub fn take(&mut self) -> Result<Option<Message<'_, T>>, Error> {
        let Some((message, rest)) = self.look()? else {
            return Ok(None);
        };
        self.stretch = rest;
        Ok(Some(message))
    }

    /// Takes out a message of `N` whole words, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] if it is of another size; [`Error::Broken`].
    #[inline(always)]
    pub fn take_words<const N: usize>(&mut self) -> Result<Option<[u64; N]>, Error> {
        Ok(self.take_in_place()?.map(load))
    }

    /// The same, but the words stay where they are until the next message is taken. Where all messages are of one
    /// size, and not all of their words are needed, this is what takes the least. Each look at a word may find
    /// another, if the other side is hostile.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] if it is of another size; [`Error::Broken`].
    #[inline(always)]
    pub fn take_in_place<const N: usize>(&mut self) -> Result<Option<&[T; N]>, Error> {
        if let Some((words, rest)) = self.words_at_hand::<N>() {
            self.stretch = rest;
            return Ok(Some(words));
        }
        let Some((message, rest)) = self.look()? else {
            return Ok(None);
        };
        let words = message.in_place().ok_or(Error::TooLong)?;
        self.stretch = rest;
        Ok(Some(words))
    }

    /// The next message, if it is at hand and made of `N` words, and what is behind it.
    #[inline(always)]
    fn words_at_hand<const N: usize>(&self) -> Option<(&'a [T; N], &'a [T])> {
        let (length, rest) = self.stretch.split_first()?;
        let it_is = length.load(Ordering::Relaxed) == N.wrapping_mul(WORD) as u64;
        rest.split_first_chunk().filter(|_| it_is)
    }

    /// The next message, which stays, and what is behind it.
    #[inline(always)]
    fn look(&mut self) -> Result<Option<Found<'a, T>>, Error> {
        if let Some((length, rest)) = self.stretch.split_first() {
            let length = length.load(Ordering::Relaxed);
            if let Some(found) = self.side.layout.cut(length, rest) {
                return Ok(Some(found));
            }
        }
        self.find()
    }

    /// Gives back the room of what was taken out, and finds the next message if there is one.
    #[cold]
    fn find(&mut self) -> Result<Option<Found<'a, T>>, Error> {
        self.side
            .leave(self.words, Layout::TAIL, self.stretch.len());
        if self.side.has_nothing_new(self.words) {
            return Ok(None);
        }
        let found = self.side.find(self.words);
        self.stretch = self.side.stretch(self.words);
        found
    }
}

impl<T: Word> Drop for Drain<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.side
            .leave(self.words, Layout::TAIL, self.stretch.len());
    }
}

/// A message where it is: each look at it may find other bytes, if the other side is hostile.
pub struct Message<'a, T> {
    words: &'a [T],
    len: usize,
}

#[expect(clippy::len_without_is_empty, reason = "no message is none")]
impl<'a, T: Word> Message<'a, T> {
    /// How many bytes it has. That does not change.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its words, if it is made of `N` whole ones.
    #[inline]
    pub fn words<const N: usize>(&self) -> Option<[u64; N]> {
        self.in_place().map(load)
    }

    /// The same where they are.
    #[inline]
    fn in_place<const N: usize>(&self) -> Option<&'a [T; N]> {
        let words = self.words.try_into().ok()?;
        (self.len == N.wrapping_mul(WORD)).then_some(words)
    }

    /// Copies its first bytes, or all, to `buffer`, and returns how many that are.
    #[inline]
    pub fn copy_out(&self, buffer: &mut [u8]) -> usize {
        let len = self.len.min(buffer.len());
        copy_out(self.words, &mut buffer[..len]);
        len
    }
}
