// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that ends, memory that is not there, and memory that changes while the kernel looks.
//!
//! A driver copies from and to addresses that a program gives it. [`Guarded`] is memory whose end
//! is the end of what is mapped, so that one byte too far is a fault; [`Hole`] is an address where
//! nothing can be read or written at all; [`Shared`] is memory that another thread may change in
//! the middle of a call.

#![expect(
    unsafe_code,
    reason = "mmap(2), and calls with addresses that are not references"
)]

use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Result;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::signal::last_errno;
use crate::ioctl::Target;
use crate::syscall::Number;

/// The size of a page of memory.
pub fn page_size() -> usize {
    rustix::param::page_size()
}

/// Pages of anonymous memory, below 2 GiB so that a 32-bit pointer can reach them.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is plain memory that belongs to whoever owns this value, on any thread.
unsafe impl Send for Mapping {}

// SAFETY: through a shared reference a mapping gives out nothing but its address and length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` bytes, in whole pages, zeroed, of which nothing can be touched yet.
    fn reserve(len: usize) -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::from_bits_retain(LOW);
        // SAFETY: the kernel chooses a place where nothing is mapped.
        let start =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags)? };
        // The kernel is given these addresses as integers.
        start.expose_provenance();
        let start = NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Self { start, len })
    }

    /// Lets the first `len` bytes be used as `how` says.
    fn open(&self, len: usize, how: MprotectFlags) -> Result<()> {
        debug_assert!(len <= self.len);
        // SAFETY: these bytes lie within the mapping, to which there is no reference yet.
        unsafe { rustix::mm::mprotect(self.start.as_ptr().cast(), len, how) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and all borrows of it have ended. Unmapping
        // one's own whole mapping cannot fail.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Below 2 GiB, where the processor knows such a thing.
#[cfg(target_arch = "x86_64")]
const LOW: u32 = libc::MAP_32BIT.cast_unsigned();
#[cfg(not(target_arch = "x86_64"))]
const LOW: u32 = 0;

/// Memory that ends where nothing more can be read or written.
///
/// The kernel can be given any part of it, and also a length that reaches beyond its end: there it
/// meets a page without permissions, and the call fails with [`FAULT`](rustix::io::Errno::FAULT).
pub struct Guarded {
    mapping: Mapping,
    /// Where the bytes begin in the mapping.
    offset: usize,
    len: usize,
}

impl Guarded {
    /// `len` zeroed bytes.
    ///
    /// # Errors
    ///
    /// What mmap(2) fails with.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/mmap.2.html)
    pub fn new(len: usize) -> Result<Self> {
        let usable = len.next_multiple_of(page_size());
        let mapping = Mapping::reserve(usable + page_size())?;
        if usable > 0 {
            mapping.open(usable, MprotectFlags::READ | MprotectFlags::WRITE)?;
        }
        Ok(Self {
            mapping,
            offset: usable - len,
            len,
        })
    }

    /// Memory that holds just `bytes`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn holding(bytes: &[u8]) -> Result<Self> {
        let mut guarded = Self::new(bytes.len())?;
        guarded.bytes_mut().copy_from_slice(bytes);
        Ok(guarded)
    }

    /// The bytes up to the end.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: these bytes are mapped readable, initialised, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts(self.at(0), self.len) }
    }

    /// The bytes up to the end, to change them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: these bytes are mapped, initialised, and borrowed with `self` alone.
        unsafe { std::slice::from_raw_parts_mut(self.at(0), self.len) }
    }

    /// read(2) from `fd`: up to `len` bytes, to this memory from its beginning on.
    ///
    /// # Errors
    ///
    /// What the driver answers; `FAULT` if it tries to go beyond the end.
    pub fn read(&mut self, fd: impl AsFd, len: usize) -> Result<usize> {
        assert!(
            len <= self.len + page_size(),
            "only one page behind the end is known to be empty"
        );
        // SAFETY: what the kernel can write to of this range is ours, and borrowed for it.
        unsafe { read(fd, self.at(0), len) }
    }

    /// write(2) to `fd`: `len` bytes, from this memory from its beginning on.
    ///
    /// # Errors
    ///
    /// What the driver answers; `FAULT` if it tries to go beyond the end.
    pub fn write(&self, fd: impl AsFd, len: usize) -> Result<usize> {
        write(fd, self.at(0), len)
    }

    /// Sends the command `number` with the address of byte `at` of this memory as its argument.
    ///
    /// # Errors
    ///
    /// What the driver answers; `FAULT` if it tries to go beyond the end.
    ///
    /// # Panics
    ///
    /// If `at` is beyond the end.
    pub fn ioctl(&mut self, target: &impl Target, number: u32, at: usize) -> Result<i32> {
        assert!(at <= self.len);
        // SAFETY: what a driver finds writable from there on is ours, borrowed for it, and followed
        // by a page where it faults.
        unsafe { target.issue_at(number, self.at(at).addr()) }
    }

    /// Makes the system call `number` with the address of byte `at` of this memory as its first
    /// argument, and two more, which are no addresses. For addresses within this memory vouches
    /// whoever wrote them there, as for anything written to `/proc/self/mem`.
    ///
    /// # Errors
    ///
    /// What the kernel answers; `FAULT` if it tries to go beyond the end.
    ///
    /// # Panics
    ///
    /// If `at` is beyond the end.
    pub fn syscall(&mut self, number: Number, at: usize, b: u64, c: u64) -> Result<usize> {
        // SAFETY: what the kernel finds writable from there on is ours, borrowed for it, and followed
        // by a page where it faults. For addresses within, the caller vouches.
        unsafe { number.issue([self.address(at), b, c]) }
    }

    /// The address of byte `at`, for a struct that the kernel is given.
    ///
    /// # Panics
    ///
    /// If `at` is beyond the end.
    pub fn address(&self, at: usize) -> u64 {
        assert!(at <= self.len);
        self.at(at).addr() as u64
    }

    fn at(&self, at: usize) -> *mut u8 {
        self.mapping.start.as_ptr().wrapping_add(self.offset + at)
    }
}

/// An address where something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// Address 0.
    Null,
    /// Nothing can be read or written there.
    Unmapped,
    /// Zeroes can be read there, but nothing written.
    ReadOnly,
    /// The kernel's half of the address space.
    Kernel,
    /// An address the processor cannot even form.
    NonCanonical,
}

impl Hole {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Null,
        Self::Unmapped,
        Self::ReadOnly,
        Self::Kernel,
        Self::NonCanonical,
    ];

    /// Those that a 32-bit program can name.
    pub const LOW: [Self; 3] = [Self::Null, Self::Unmapped, Self::ReadOnly];

    /// read(2) from `fd`: up to `len` bytes, to this address.
    ///
    /// # Errors
    ///
    /// What the driver answers, which should be `FAULT` as soon as there is a byte to move.
    ///
    /// # Panics
    ///
    /// If `len` is more than a page.
    pub fn read(self, fd: impl AsFd, len: usize) -> Result<usize> {
        // SAFETY: nothing can be written at this address, for a page from there on.
        self.with(len, |address| unsafe { read(fd, address, len) })
    }

    /// write(2) to `fd`: `len` bytes, from this address.
    ///
    /// # Errors
    ///
    /// What the driver answers, which should be `FAULT` unless the hole can be read.
    ///
    /// # Panics
    ///
    /// If `len` is more than a page.
    pub fn write(self, fd: impl AsFd, len: usize) -> Result<usize> {
        self.with(len, |address| write(fd, address, len))
    }

    /// Sends the command `number` with this address as its argument.
    ///
    /// # Errors
    ///
    /// What the driver answers, which should be `FAULT` if it touches the argument.
    pub fn ioctl(self, target: &impl Target, number: u32) -> Result<i32> {
        // SAFETY: nothing can be written at this address.
        self.with(0, |address| unsafe {
            target.issue_at(number, address.addr())
        })
    }

    /// Makes the system call `number` with this address as its first argument, and two more, which are
    /// no addresses.
    ///
    /// # Errors
    ///
    /// What the kernel answers, which should be `FAULT` if it touches the address.
    pub fn syscall(self, number: Number, b: u64, c: u64) -> Result<usize> {
        // SAFETY: nothing can be written at this address.
        self.with_address(|address| unsafe { number.issue([address, b, c]) })
    }

    /// Runs `call` with the address, for a struct that the kernel is given, while it is what it should
    /// be.
    ///
    /// # Errors
    ///
    /// What `call` does, or mmap(2).
    pub fn with_address<T>(self, call: impl FnOnce(u64) -> Result<T>) -> Result<T> {
        self.with(0, |address| call(address.addr() as u64))
    }

    /// Runs `call` with the address, while it is what it should be.
    fn with<T>(self, len: usize, call: impl FnOnce(*mut u8) -> Result<T>) -> Result<T> {
        assert!(
            len <= page_size(),
            "only a page of this hole is known to be empty"
        );
        // As much as an ioctl number can speak of.
        let mapping = Mapping::reserve(crate::ioctl::Buffer::SIZE)?;
        call(match self {
            Self::Null => ptr::null_mut(),
            Self::Unmapped => mapping.start.as_ptr(),
            Self::ReadOnly => {
                mapping.open(mapping.len, MprotectFlags::READ)?;
                mapping.start.as_ptr()
            }
            Self::Kernel => ptr::without_provenance_mut(usize::MAX - (1 << 32) + 1),
            Self::NonCanonical => ptr::without_provenance_mut(1 << 63),
        })
    }
}

/// A page that several threads and the kernel may change at the same time.
pub struct Shared {
    mapping: Mapping,
}

impl Shared {
    /// A zeroed page, with nothing behind it.
    ///
    /// # Errors
    ///
    /// What mmap(2) fails with.
    pub fn new() -> Result<Self> {
        let mapping = Mapping::reserve(2 * page_size())?;
        mapping.open(page_size(), MprotectFlags::READ | MprotectFlags::WRITE)?;
        Ok(Self { mapping })
    }

    /// The page. There is no view of it by the byte: atomics of different sizes must not meet.
    pub fn words(&self) -> &[AtomicU32] {
        // SAFETY: the page is mapped and initialised while `self` lives, has no other kind of
        // reference, may change under an atomic, is aligned for it and a multiple of its size.
        unsafe { std::slice::from_raw_parts(self.mapping.start.as_ptr().cast(), page_size() / 4) }
    }

    /// Puts `bytes` at the beginning, and zeroes up to the end of a word.
    ///
    /// # Panics
    ///
    /// If there are more than fit.
    pub fn store(&self, bytes: &[u8]) {
        assert!(bytes.len() <= page_size(), "it does not fit");
        for (place, bytes) in self.words().iter().zip(bytes.chunks(4)) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            place.store(u32::from_ne_bytes(word), Ordering::Relaxed);
        }
    }

    /// Sends the command `number` with the page's address as its argument.
    ///
    /// # Errors
    ///
    /// What the driver answers.
    pub fn ioctl(&self, target: &impl Target, number: u32) -> Result<i32> {
        // SAFETY: the page is only ever seen through atomics, so the kernel may change it; behind
        // it, it faults.
        unsafe { target.issue_at(number, self.mapping.start.as_ptr().addr()) }
    }

    /// Makes the system call `number` with the page's address as its first argument, and two more, which
    /// are no addresses. For addresses within the page vouches whoever wrote them there.
    ///
    /// # Errors
    ///
    /// What the kernel answers.
    pub fn syscall(&self, number: Number, b: u64, c: u64) -> Result<usize> {
        // SAFETY: as for `ioctl`.
        unsafe { number.issue([self.address(), b, c]) }
    }

    /// The page's address, for a struct that the kernel is given.
    pub fn address(&self) -> u64 {
        self.mapping.start.as_ptr().addr() as u64
    }
}

/// What the kernel answers to mmap(2) of the first page of `fd`; if it maps it, that is undone.
///
/// # Errors
///
/// [`NODEV`](rustix::io::Errno::NODEV) from a driver that cannot be mapped.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/mmap.2.html)
pub fn try_map(fd: impl AsFd) -> Result<()> {
    let len = page_size();
    // SAFETY: the kernel chooses a place where nothing is mapped.
    let start = unsafe {
        rustix::mm::mmap(
            ptr::null_mut(),
            len,
            ProtFlags::READ,
            MapFlags::SHARED,
            fd,
            0,
        )?
    };
    // SAFETY: this is the mapping just made, which nobody else knows of.
    unsafe { rustix::mm::munmap(start, len) }
}

/// What the kernel answers to mmap(2) of `len` bytes of `fd` from `offset` on, with any numbers for
/// protection and flags; if it maps them, that is undone.
///
/// # Errors
///
/// What the kernel or the driver answers.
///
/// # Panics
///
/// If the flags have `MAP_FIXED`, which would put the mapping in place of another.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/mmap.2.html)
pub fn try_map_as(
    fd: impl AsFd,
    len: usize,
    protection: i32,
    flags: i32,
    offset: i64,
) -> Result<()> {
    assert!(flags & libc::MAP_FIXED == 0, "only where nothing is mapped");
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the kernel chooses a place where nothing is mapped.
    let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, fd, offset) };
    if start == libc::MAP_FAILED {
        return Err(last_errno());
    }
    // SAFETY: this is the mapping just made, which nobody else knows of.
    unsafe { rustix::mm::munmap(start, len) }
}

/// read(2) to an address.
///
/// # Safety
///
/// What can be written to of the `len` bytes at `address` must be the caller's to have written.
unsafe fn read(fd: impl AsFd, address: *mut u8, len: usize) -> Result<usize> {
    // SAFETY: the caller vouches for the address.
    count(unsafe { libc::read(fd.as_fd().as_raw_fd(), address.cast(), len) })
}

/// write(2) from an address. The kernel only reads there, and it checks whether it can.
fn write(fd: impl AsFd, address: *const u8, len: usize) -> Result<usize> {
    // SAFETY: the kernel changes nothing of ours, and reports an address it cannot read.
    count(unsafe { libc::write(fd.as_fd().as_raw_fd(), address.cast(), len) })
}

fn count(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| last_errno())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn guarded_memory_is_low_zeroed_and_ends() {
        for len in [0, 1, 100, page_size(), page_size() + 1] {
            let mut guarded = Guarded::new(len).unwrap();
            assert_eq!(guarded.bytes(), vec![0; len]);
            guarded.bytes_mut().fill(7);
            let end = guarded.at(len).addr();
            assert!(end.is_multiple_of(page_size()) && end < 1 << 31, "{end:#x}");
        }
    }

    #[test]
    fn a_call_reaches_the_end_and_not_further() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let five = Guarded::holding(b"hello").unwrap();
        assert_eq!(five.write(&writer, 5), Ok(5));
        let mut bytes = [0; 5];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        writer.write_all(b"world!").unwrap();
        let mut five = Guarded::new(5).unwrap();
        assert_eq!(five.read(&reader, 5), Ok(5));
        assert_eq!(five.bytes(), b"world");
    }

    #[test]
    fn nothing_can_be_written_to_a_hole() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        for hole in Hole::ALL {
            assert_eq!(hole.read(&reader, 1), Err(Errno::FAULT), "{hole:?}");
            assert_eq!(hole.ioctl(&reader, 0x541b), Err(Errno::FAULT), "{hole:?}");
            if hole != Hole::ReadOnly {
                assert_eq!(hole.write(&writer, 1), Err(Errno::FAULT), "{hole:?}");
            }
        }
    }

    #[test]
    fn shared_memory_is_seen_by_the_kernel() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"123").unwrap();
        let shared = Shared::new().unwrap();
        shared.store(&[0xff; 8]);
        assert_eq!(shared.ioctl(&reader, 0x541b), Ok(0));
        assert_eq!(shared.words()[0].load(Ordering::Relaxed), 3);
        assert_eq!(shared.words()[1].load(Ordering::Relaxed), u32::MAX);
    }
}
