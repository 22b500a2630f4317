// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that a file of the kernel maps, and rings of messages in it.
//!
//! A [`View`] is mapped memory to read, a [`Mapping`] also to write. Whoever else has it mapped, and the
//! kernel, may change it at any moment; so it is words, each read or written whole, and there is no
//! reference to what is in them. [`copy_out`](crate::ring::Words::copy_out) and [`copy_in`](crate::ring::Words::copy_in) are for
//! bytes.
//!
//! A [`Channel`] is two [rings](crate::ring) of messages in such memory, one in each direction, and a file
//! whose poll(2), and write(2) of a word, are the doorbell. It makes a system call only when the other side
//! sleeps, or this one has to.
//!
//! # Not supported
//!
//! - Choosing the address.
//! - Files that become shorter. Whoever touches memory beyond the end of the file, and that includes
//!   [`View::load`], is sent `SIGBUS`, and dies of it. [`View::is_there`] asks first.

#![expect(
    unsafe_code,
    reason = "mmap(2) and its kin, and words where they mapped"
)]

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags};

use crate::ring::{self, Consumer, Layout, Producer};
use crate::testing::signal::last_errno;

/// Why memory was not mapped, or a message did not cross.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused.
    #[error("cannot {what}: {errno}; {}", hint(*.errno))]
    Refused {
        /// What was tried, such as `map 4096 bytes`.
        what: String,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The message, or the room for it, has the wrong length.
    #[error("a message has at most {limit} bytes, and a buffer for one has no less")]
    TooLong {
        /// The longest message.
        limit: usize,
    },
    /// There is no message, or no room for one.
    #[error("nothing changed within {0:?}: is the other side there?")]
    TimedOut(Duration),
    /// Somebody wrote into the memory what makes no sense there.
    #[error("the ring is broken: close the channel and open it again")]
    Broken,
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::TooLong { .. } | Self::TimedOut(_) | Self::Broken => None,
        }
    }

    fn refused(what: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Refused {
            what: what.into(),
            errno,
        }
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::NODEV => "this file cannot be mapped",
        Errno::ACCESS => {
            "open the file for what the mapping is for, and map read-only what the driver only shows"
        }
        Errno::NXIO => "the file is shorter, or its module is being loaded or unloaded",
        Errno::INVAL => "length and offset must be whole pages, and the length not 0",
        Errno::NOMEM => "there is no memory, or no room in the address space",
        Errno::FAULT => "the driver does not let a mapping grow",
        Errno::NOENT => "load the module that makes it",
        Errno::PROTO => "the ring is broken: close the channel and open it again",
        Errno::IO => "the file was removed while it was open",
        _ => "see mmap(2) and the driver's documentation",
    }
}

/// How to map: begin with [`options`], end with [`Options::view`] or [`Options::map`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "nothing is mapped until `view` or `map` is called"]
pub struct Options {
    offset: u64,
    private: bool,
}

/// Maps from the beginning of a file, and shares what is written.
pub const fn options() -> Options {
    Options {
        offset: 0,
        private: false,
    }
}

impl Options {
    /// From the byte `offset` of the file on, which must be a whole number of pages.
    pub const fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// What is written is the process' own: a page is copied when it is first written to.
    pub const fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Maps `len` bytes of `file` to read them.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with what the driver answers; [`Errno::NODEV`] if it cannot be mapped.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/mmap.2.html)
    pub fn view(self, file: impl AsFd, len: usize) -> Result<View, Error> {
        self.mmap(file, len, ProtFlags::READ)
    }

    /// Maps `len` bytes of `file` to read and write them.
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view); [`Errno::ACCESS`] if the file is not open for both, or the driver only
    /// shows its memory.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/mmap.2.html)
    pub fn map(self, file: impl AsFd, len: usize) -> Result<Mapping, Error> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        Ok(Mapping(self.mmap(file, len, protection)?))
    }

    fn mmap(self, file: impl AsFd, len: usize, protection: ProtFlags) -> Result<View, Error> {
        let flags = if self.private {
            MapFlags::PRIVATE
        } else {
            MapFlags::SHARED
        };
        // SAFETY: the kernel chooses a place where nothing is mapped.
        let start =
            unsafe { rustix::mm::mmap(ptr::null_mut(), len, protection, flags, file, self.offset) };
        let failed = Error::refused(format!("map {len} bytes"));
        let start = start.map_err(failed)?;
        Ok(View {
            start: NonNull::new(start.cast()).expect("nothing is mapped at address 0"),
            len,
        })
    }
}

/// Mapped memory to read. It is unmapped when this is dropped.
#[derive(Debug)]
pub struct View {
    start: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, and is unmapped by whichever thread drops it.
unsafe impl Send for View {}

// SAFETY: through a shared reference the memory is accessed as atomics only.
unsafe impl Sync for View {}

impl View {
    /// How many bytes are mapped.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is mapped, which does not happen.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The word `at`.
    ///
    /// # Panics
    ///
    /// If it is not mapped, or the order is not one for loads.
    pub fn load(&self, at: usize, order: Ordering) -> u64 {
        assert!(at < self.len / 8, "word {at} of {} bytes", self.len);
        // SAFETY: the word is mapped, aligned and initialised while `self` lives; and whatever changes
        // it, in this process, does so by atomics.
        let word: &AtomicU64 = unsafe { self.start.add(at).as_ref() };
        // Where the memory cannot be written, Rust promises what a relaxed load does, and of no other.
        let value = word.load(Ordering::Relaxed);
        if order != Ordering::Relaxed {
            fence(order);
        }
        value
    }

    /// `len` bytes from the word `at` on, as they are one after the other.
    ///
    /// # Panics
    ///
    /// If they are not mapped.
    pub fn bytes(&self, at: usize, len: usize) -> Vec<u8> {
        let words = (at..at + len.div_ceil(8)).map(|at| self.load(at, Ordering::Relaxed));
        let mut bytes: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        bytes.truncate(len);
        bytes
    }

    /// Where it is mapped.
    pub fn address(&self) -> usize {
        self.start.as_ptr().expose_provenance()
    }

    /// Lends the first `len` bytes to a pipe: who reads that reads this memory, as it is then, and also
    /// when it is not mapped any more. Returns how many bytes the pipe took.
    ///
    /// # Errors
    ///
    /// What vmsplice(2) fails with.
    ///
    /// # Panics
    ///
    /// If they are not mapped.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/vmsplice.2.html)
    pub fn lend(&self, len: usize, pipe: &io::PipeWriter) -> Result<usize, Errno> {
        assert!(len <= self.len, "{len} of {} bytes", self.len);
        let part = libc::iovec {
            iov_base: self.start.as_ptr().cast(),
            iov_len: len,
        };
        // SAFETY: the kernel only reads there, as it is the pipe's writing end, and keeps the pages as long
        // as the pipe has them.
        let taken = unsafe { libc::vmsplice(pipe.as_fd().as_raw_fd(), &raw const part, 1, 0) };
        usize::try_from(taken).map_err(|_| last_errno())
    }

    /// Whether the kernel finds memory at byte `at`, where a program would be sent `SIGBUS` if not.
    ///
    /// # Errors
    ///
    /// What pipe(2) fails with.
    ///
    /// # Panics
    ///
    /// If it is not mapped.
    pub fn is_there(&self, at: usize) -> io::Result<bool> {
        assert!(at < self.len, "byte {at} of {}", self.len);
        let (_reader, writer) = io::pipe()?;
        let address = self.start.as_ptr().cast::<u8>().wrapping_add(at);
        // SAFETY: the kernel only reads there, and reports an address it cannot read.
        let written = unsafe { libc::write(writer.as_raw_fd(), address.cast(), 1) };
        Ok(written == 1)
    }

    /// Has the memory be written to as well, as far as the driver lets.
    ///
    /// # Errors
    ///
    /// [`Errno::ACCESS`] if it does not, or the file is not open for writing. The memory is unmapped then.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/mprotect.2.html)
    pub fn into_writable(self) -> Result<Mapping, Error> {
        self.protect(MprotectFlags::READ | MprotectFlags::WRITE)
            .map_err(Error::refused("make memory writable"))?;
        Ok(Mapping(self))
    }

    /// Whether the kernel lets the memory be used as `how` says; this does not change it.
    ///
    /// # Errors
    ///
    /// What mprotect(2) fails with.
    pub fn may_be(&mut self, how: MprotectFlags) -> Result<(), Errno> {
        self.protect(how)?;
        self.protect(MprotectFlags::READ)
    }

    fn protect(&self, how: MprotectFlags) -> Result<(), Errno> {
        // SAFETY: the memory is this value's own, and the callers have it to themselves.
        unsafe { rustix::mm::mprotect(self.start.as_ptr().cast(), self.len, how) }
    }

    /// madvise(2) for all of the memory.
    ///
    /// # Errors
    ///
    /// What madvise(2) fails with. [`Errno::INVAL`] for `MADV_DONTFORK`: a child would have this value
    /// without its memory.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/madvise.2.html)
    pub fn advise(&self, advice: Advice) -> Result<(), Errno> {
        if advice == Advice::LinuxDontFork {
            return Err(Errno::INVAL);
        }
        // SAFETY: the memory is this value's own. What is in it may change by this, as it may at any
        // moment.
        unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.len, advice) }
    }

    /// Moves the memory to another address.
    ///
    /// # Errors
    ///
    /// What mremap(2) fails with; it stays where it is. The place it should have gone to is lost to the
    /// process then: whether something else is there by now cannot be told.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/mremap.2.html)
    pub fn relocate(&mut self) -> Result<(), Error> {
        let failed = || Error::refused("move memory");
        let nothing = ProtFlags::empty();
        // SAFETY: the kernel chooses a place where nothing is mapped.
        let free = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), self.len, nothing, MapFlags::PRIVATE)
        }
        .map_err(failed())?;
        let start = self.start.as_ptr().cast();
        // SAFETY: both places are this value's own, and nobody borrows it.
        let moved = unsafe {
            rustix::mm::mremap_fixed(start, self.len, self.len, MremapFlags::MAYMOVE, free)
        };
        let start = moved.map_err(failed())?;
        self.start = NonNull::new(start.cast()).expect("it is not moved to address 0");
        Ok(())
    }

    /// Makes the memory shorter or longer.
    ///
    /// # Errors
    ///
    /// [`Errno::FAULT`] if the driver does not let it grow; it stays as it is.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/mremap.2.html)
    pub fn resize(&mut self, len: usize) -> Result<(), Error> {
        let start = self.start.as_ptr().cast();
        // SAFETY: the memory is this value's own, and nobody borrows it.
        let start = unsafe { rustix::mm::mremap(start, self.len, len, MremapFlags::MAYMOVE) }
            .map_err(Error::refused(format!("make it {len} bytes")))?;
        self.start = NonNull::new(start.cast()).expect("it is not moved to address 0");
        self.len = len;
        Ok(())
    }

    /// Two parts, the first of `at` bytes: each is unmapped by itself.
    ///
    /// # Panics
    ///
    /// If `at` is not within it, or no whole number of pages.
    #[must_use = "what is not kept is unmapped"]
    pub fn split(self, at: usize) -> (Self, Self) {
        assert!(at > 0 && at < self.len, "both parts must have a page");
        assert!(at.is_multiple_of(rustix::param::page_size()), "no page");
        let whole = std::mem::ManuallyDrop::new(self);
        // SAFETY: `at` is within the memory.
        let second = unsafe { whole.start.byte_add(at) };
        let part = |start, len| Self { start, len };
        (part(whole.start, at), part(second, whole.len - at))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the memory is this value's own, and all borrows of it have ended. To unmap it cannot
        // fail, unless it is a part and the kernel has no memory for what is left; then it stays.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Mapped memory to read and write. It is unmapped when this is dropped.
#[derive(Debug)]
pub struct Mapping(View);

impl Mapping {
    /// The memory.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the memory is mapped, aligned and initialised while `self` lives; and whatever changes
        // it, in this process, does so by atomics.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.len / 8) }
    }

    /// As [`View::is_there`].
    ///
    /// # Errors
    ///
    /// What pipe(2) fails with.
    ///
    /// # Panics
    ///
    /// If it is not mapped.
    pub fn is_there(&self, at: usize) -> io::Result<bool> {
        self.0.is_there(at)
    }

    /// Has the memory be read only.
    ///
    /// # Errors
    ///
    /// What mprotect(2) fails with. The memory is unmapped then.
    pub fn into_read_only(self) -> Result<View, Error> {
        let failed = Error::refused("make memory read-only");
        self.0.protect(MprotectFlags::READ).map_err(failed)?;
        Ok(self.0)
    }

    /// As [`View::split`].
    ///
    /// # Panics
    ///
    /// As [`View::split`].
    #[must_use = "what is not kept is unmapped"]
    pub fn split(self, at: usize) -> (Self, Self) {
        let (first, second) = self.0.split(at);
        (Self(first), Self(second))
    }

    /// As [`View::relocate`].
    ///
    /// # Errors
    ///
    /// As [`View::relocate`].
    pub fn relocate(&mut self) -> Result<(), Error> {
        self.0.relocate()
    }

    /// As [`View::resize`].
    ///
    /// # Errors
    ///
    /// As [`View::resize`].
    pub fn resize(&mut self, len: usize) -> Result<(), Error> {
        self.0.resize(len)
    }
}

impl AsRef<View> for Mapping {
    fn as_ref(&self) -> &View {
        &self.0
    }
}

/// Its words.
impl Deref for Mapping {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        self.words()
    }
}

/// Where the rings of a channel are in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// How many bytes are to be mapped.
    pub len: usize,
    /// The ring that this side writes to.
    pub to_kernel: Layout,
    /// The ring that this side reads.
    pub to_user: Layout,
}

/// The open file of a channel, and its memory.
#[derive(Debug)]
struct Line {
    file: OwnedFd,
    memory: Mapping,
}

impl Line {
    /// Tells the kernel that a ring has changed.
    fn ring(&self) -> Result<(), Error> {
        match rustix::io::write(&self.file, &1u64.to_ne_bytes()) {
            Ok(_) => Ok(()),
            Err(Errno::PROTO) => Err(Error::Broken),
            Err(errno) => Err(Error::refused("ring")(errno)),
        }
    }

    /// Waits until the file is ready.
    fn wait(&self, ready: PollFlags, end: Instant, limit: Duration) -> Result<(), Error> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|_| Error::TimedOut(limit))?;
            let mut fds = [PollFd::new(&self.file, ready)];
            match rustix::event::poll(&mut fds, Some(&left)) {
                Ok(0) => return Err(Error::TimedOut(limit)),
                Ok(_) if fds[0].revents().contains(PollFlags::ERR) => return Err(Error::Broken),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::refused("wait")(errno)),
            }
        }
    }
}

impl Deref for Line {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.memory
    }
}

/// Two rings, one in each direction, and the doorbell of both.
pub struct Channel {
    sender: Sender,
    receiver: Receiver,
}

impl Channel {
    /// Opens the file at `path` and maps its rings, which must be as new: so they are for each open.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn open(path: impl AsRef<Path>, rings: Rings) -> Result<Self, Error> {
        let path: PathBuf = path.as_ref().to_owned();
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(Error::refused(format!("open {}", path.display())))?;
        let memory = options().map(&file, rings.len)?;
        let line = Arc::new(Line { file, memory });
        Ok(Self {
            sender: Sender {
                limit: rings.to_kernel.limit(),
                ring: Producer::new(line.clone(), rings.to_kernel),
                line: line.clone(),
            },
            receiver: Receiver {
                limit: rings.to_user.limit(),
                ring: Consumer::new(line.clone(), rings.to_user),
                line,
            },
        })
    }

    /// Both ends, for a thread each.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// As [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    pub fn send(&mut self, message: &[u8], limit: Duration) -> Result<(), Error> {
        self.sender.send(message, limit)
    }

    /// As [`Receiver::receive`].
    ///
    /// # Errors
    ///
    /// As [`Receiver::receive`].
    pub fn receive(&mut self, buffer: &mut [u8], limit: Duration) -> Result<usize, Error> {
        self.receiver.receive(buffer, limit)
    }

    /// The memory of both rings. Who writes there breaks them.
    pub fn memory(&self) -> &Mapping {
        &self.sender.line.memory
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.line.file.as_fd()
    }
}

/// The end of a channel that sends.
pub struct Sender {
    line: Arc<Line>,
    ring: Producer<Arc<Line>>,
    limit: usize,
}

impl Sender {
    /// Sends a message, if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Broken`], or what to ring fails with.
    pub fn try_send(&mut self, message: &[u8]) -> Result<bool, Error> {
        match self.ring.push(message) {
            Ok(()) => {}
            Err(ring::Error::Full | ring::Error::Empty) => return Ok(false),
            Err(ring::Error::TooLong) => return Err(Error::TooLong { limit: self.limit }),
            Err(ring::Error::Broken) => return Err(Error::Broken),
        }
        if self.ring.must_ring() {
            self.line.ring()?;
        }
        Ok(true)
    }

    /// Sends a message, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send); [`Error::TimedOut`].
    pub fn send(&mut self, message: &[u8], limit: Duration) -> Result<(), Error> {
        let end = Instant::now() + limit;
        while !self.try_send(message)? {
            self.line.wait(PollFlags::OUT, end, limit)?;
        }
        Ok(())
    }
}

/// The end of a channel that receives.
pub struct Receiver {
    line: Arc<Line>,
    ring: Consumer<Arc<Line>>,
    limit: usize,
}

impl Receiver {
    /// Takes a message, if there is one now, and returns its length.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] if `buffer` has no room for it, [`Error::Broken`], or what to ring fails with.
    pub fn try_receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        let len = match self.ring.pop(buffer) {
            Ok(len) => len,
            Err(ring::Error::Full | ring::Error::Empty) => return Ok(None),
            Err(ring::Error::TooLong) => return Err(Error::TooLong { limit: self.limit }),
            Err(ring::Error::Broken) => return Err(Error::Broken),
        };
        if self.ring.must_ring() {
            self.line.ring()?;
        }
        Ok(Some(len))
    }

    /// Takes a message, and waits for one if there is none.
    ///
    /// # Errors
    ///
    /// As [`try_receive`](Self::try_receive); [`Error::TimedOut`].
    pub fn receive(&mut self, buffer: &mut [u8], limit: Duration) -> Result<usize, Error> {
        let end = Instant::now() + limit;
        loop {
            if let Some(len) = self.try_receive(buffer)? {
                return Ok(len);
            }
            self.line.wait(PollFlags::IN, end, limit)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Words as _;

    const PAGE: usize = 4096;

    /// A file of ordinary memory.
    fn file(pages: usize) -> OwnedFd {
        let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, (pages * PAGE) as u64).unwrap();
        file
    }

    #[test]
    fn what_is_written_is_seen_by_who_shares_it() {
        let file = file(2);
        let mapping = options().map(&file, 2 * PAGE).unwrap();
        let view = options().offset(PAGE as u64).view(&file, PAGE).unwrap();
        let private = options().private().map(&file, PAGE).unwrap();
        mapping.copy_in(PAGE / 8, b"hello world");
        assert_eq!(view.bytes(0, 11), b"hello world");
        private.words()[0].store(7, Ordering::Relaxed);
        assert_eq!(mapping.load(0, Ordering::Relaxed), 0);
    }

    #[test]
    fn parts_live_and_die_by_themselves() {
        let file = file(3);
        let mapping = options().map(&file, 3 * PAGE).unwrap();
        mapping.words()[2 * PAGE / 8].store(7, Ordering::Relaxed);
        let (first, rest) = mapping.split(PAGE);
        let (middle, mut last) = rest.split(PAGE);
        drop(middle);
        last.relocate().unwrap();
        assert_eq!(last.load(0, Ordering::Relaxed), 7);
        assert_eq!(first.load(0, Ordering::Relaxed), 0);
    }

    #[test]
    fn memory_beyond_the_end_is_not_there() {
        let file = file(1);
        let view = options().view(&file, 2 * PAGE).unwrap();
        assert!(view.is_there(PAGE - 1).unwrap());
        assert!(!view.is_there(PAGE).unwrap());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = options()
            .view(std::io::pipe().unwrap().0, PAGE)
            .unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NODEV));
        assert!(
            error.to_string().starts_with("cannot map 4096 bytes: "),
            "{error}"
        );
    }
}
