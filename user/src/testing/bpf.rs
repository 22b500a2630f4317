// SPDX-License-Identifier: MIT OR Apache-2.0

//! BPF's ring buffer, and programs that fill it: another way for many events from the kernel, to compare
//! with.
//!
//! A program is of the kind `BPF_PROG_TYPE_SYSCALL`, which runs when it is called, by
//! `BPF_PROG_TEST_RUN`. It is put together here, as it is short. The reader is the least that one can be. It
//! needs the kernel's word for what is in a record, but not for where one is: whoever has the ring's descriptor
//! can write its reader's position, and have the kernel overwrite what is being read.
//!
//! # References
//!  - [Linux](https://man7.org/linux/man-pages/man2/bpf.2.html)
//!  - [BPF ring buffer](https://docs.kernel.org/bpf/ringbuf.html)

#![expect(unsafe_code, reason = "bpf(2), and memory that the kernel writes")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::mmap::{self, Mapping, View};
use crate::testing::memory::page_size;

/// `union bpf_attr`, for the commands below.
#[repr(C, align(8))]
#[derive(Default)]
struct Attributes([u32; 32]);

impl Attributes {
    fn word(mut self, at: usize, value: u32) -> Self {
        self.0[at / 4] = value;
        self
    }

    fn address(self, at: usize, address: usize) -> Self {
        let address = address as u64;
        #[expect(clippy::cast_possible_truncation, reason = "the halves of it")]
        let (low, high) = (address as u32, (address >> 32) as u32);
        self.word(at, low).word(at + 4, high)
    }
}

const MAP_CREATE: i32 = 0;
const PROG_LOAD: i32 = 5;
const PROG_TEST_RUN: i32 = 10;

/// Carries out a command.
///
/// # Safety
///
/// All addresses in `attributes` must be of memory that the command may read or write.
unsafe fn bpf(command: i32, attributes: &mut Attributes) -> io::Result<i32> {
    let size = size_of::<Attributes>();
    // SAFETY: the kernel reads and writes the attributes, and what the caller promises.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size) };
    i32::try_from(result)
        .ok()
        .filter(|result| *result >= 0)
        .ok_or_else(io::Error::last_os_error)
}

/// As [`bpf`], for a command that returns a descriptor.
unsafe fn opened(command: i32, mut attributes: Attributes) -> io::Result<OwnedFd> {
    // SAFETY: the caller promises it.
    let fd = unsafe { bpf(command, &mut attributes)? };
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A ring buffer, and its reader.
#[derive(Debug)]
pub struct Ring {
    map: OwnedFd,
    /// Where the kernel is told how far the reader is.
    control: Mapping,
    /// How far the kernel is, and behind that page the records, mapped twice.
    records: View,
    size: usize,
    /// How far the reader is, where nobody else can write.
    position: u64,
}

/// What stands in a record's length while it is not there yet, and if it is to be passed over.
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;

/// A record where it is. The kernel changes it no more, unless somebody else writes the reader's position.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Of memory that can only be read: nobody outside gets the reference, so that nobody stores by it.
    first: &'a AtomicU64,
    len: usize,
}

#[expect(clippy::len_without_is_empty, reason = "no record is none")]
impl Record<'_> {
    /// How many bytes it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// One of its whole words.
    #[inline]
    pub fn word(&self, at: usize) -> Option<u64> {
        if at >= self.len / size_of::<u64>() {
            return None;
        }
        // SAFETY: the record has that word, behind its first one.
        let word = unsafe { &*std::ptr::from_ref(self.first).add(at) };
        Some(word.load(Ordering::Relaxed))
    }
}

/// How far a reader is, and where that is kept when it leaves, however it does.
struct Place<'a> {
    kept: &'a mut u64,
    now: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.kept = self.now;
    }
}

impl Ring {
    /// One with room for so many bytes, a power of two.
    ///
    /// # Errors
    ///
    /// What bpf(2) and mmap(2) fail with.
    pub fn new(size: usize) -> io::Result<Self> {
        /// `BPF_MAP_TYPE_RINGBUF`.
        const RINGBUF: u32 = 27;
        let entries = u32::try_from(size).map_err(io::Error::other)?;
        let attributes = Attributes::default().word(0, RINGBUF).word(12, entries);
        // SAFETY: there are no addresses in it.
        let map = unsafe { opened(MAP_CREATE, attributes)? };
        let page = page_size();
        let control = mmap::options().map(&map, page).map_err(io::Error::other)?;
        let records = mmap::options().offset(page as u64);
        let records = records
            .view(&map, page + 2 * size)
            .map_err(io::Error::other)?;
        Ok(Self {
            map,
            control,
            records,
            size,
            position: 0,
        })
    }

    /// Takes out all records, and returns how many there were.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if a record cannot be where one should be: somebody else wrote the
    /// reader's position.
    #[inline]
    pub fn drain(&mut self, mut each: impl FnMut(Record<'_>)) -> io::Result<usize> {
        let page = page_size();
        let start = std::ptr::with_exposed_provenance::<AtomicU64>(self.records.address() + page);
        let told = &self.control.words()[0];
        let mask = self.size as u64 - 1;
        let mut place = Place {
            now: self.position,
            kept: &mut self.position,
        };
        let mut count = 0;
        loop {
            let end = self.records.load(0, Ordering::Acquire);
            let mut left = end.wrapping_sub(place.now);
            if left == 0 {
                return Ok(count);
            }
            if left > self.size as u64 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            while left > 0 {
                let at = usize::try_from(place.now & mask).unwrap_or(0);
                // SAFETY: it is within the first of the two mappings of `size` bytes behind that page. All
                // positions are multiples of 8.
                let header = unsafe { start.byte_add(at) };
                // SAFETY: it is mapped while `self.records` lives, and aligned. No program can write there, and
                // the kernel writes a length whole.
                let length = unsafe { &*header.cast::<AtomicU32>() }.load(Ordering::Relaxed);
                if length & BUSY != 0 {
                    return Ok(count);
                }
                // As for `View::load`: the memory can only be read.
                fence(Ordering::Acquire);
                let len = (length & !DISCARDED) as usize;
                let whole = (len as u64 + 15) & !7;
                if whole > left {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                if length & DISCARDED == 0 {
                    // SAFETY: behind the header are at most `left` bytes of the record, and no more than
                    // `size`: the second mapping has what the first one has no room for.
                    let first = unsafe { &*header.add(1) };
                    each(Record { first, len });
                    count += 1;
                }
                place.now = place.now.wrapping_add(whole);
                left -= whole;
                told.store(place.now, Ordering::Release);
            }
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

/// How a program puts in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `bpf_ringbuf_reserve()` and `bpf_ringbuf_submit()`.
    Reserve,
    /// `bpf_ringbuf_output()`.
    Output,
}

/// Whether a program wakes the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Wakeup {
    /// If he had read all.
    Adaptive = 0,
    /// Never.
    Never = 1,
    /// Each time.
    Always = 2,
}

/// A program that puts events into a ring.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// What a program is given, and what it gives back.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// How many it is to put in, [`Program::MOST`] at most.
    pub count: u64,
    /// The number of the first; afterwards, that of the next one.
    pub number: u64,
}

/// Instructions of BPF: a code, two registers, an offset and a number.
mod code {
    pub const MOVE: u8 = 0xbf;
    pub const SET: u8 = 0xb7;
    pub const ADD_NUMBER: u8 = 0x07;
    pub const LOAD: u8 = 0x79;
    pub const STORE: u8 = 0x7b;
    pub const ADDRESS: u8 = 0x18;
    pub const JUMP: u8 = 0x05;
    pub const JUMP_EQUAL: u8 = 0x1d;
    pub const JUMP_ZERO: u8 = 0x15;
    pub const JUMP_NOT_ZERO: u8 = 0x55;
    pub const JUMP_OVER: u8 = 0x35;
    pub const CALL: u8 = 0x85;
    pub const EXIT: u8 = 0x95;
}

const RESERVE: i32 = 131;
const SUBMIT: i32 = 132;
const OUTPUT: i32 = 130;

const fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> u64 {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = number.to_le_bytes();
    u64::from_le_bytes([code, from << 4 | to, low, high, a, b, c, d])
}

impl Program {
    /// How many events one call can put in: the verifier goes through all of them.
    pub const MOST: u64 = 128;

    /// A program that puts events of so many bytes into `ring`, until there is no room for one. Each word of
    /// an event is its number.
    ///
    /// # Errors
    ///
    /// What bpf(2) fails with.
    pub fn new(ring: &Ring, by: By, wakeup: Wakeup, bytes: u16) -> io::Result<Self> {
        use code::{
            ADD_NUMBER, ADDRESS, CALL, EXIT, JUMP, JUMP_EQUAL, JUMP_NOT_ZERO, JUMP_OVER, JUMP_ZERO,
            LOAD, MOVE, SET, STORE,
        };
        let map = ring.map.as_raw_fd();
        let size = i32::from(bytes);
        let offset = i16::try_from(bytes).map_err(io::Error::other)?;
        let mut code = vec![
            // 6: what it was given, 7: the number, 8: how many to go, 9: how many there were.
            instruction(MOVE, 6, 1, 0, 0),
            instruction(LOAD, 7, 6, 8, 0),
            instruction(LOAD, 8, 6, 0, 0),
            instruction(SET, 9, 0, 0, 0),
        ];
        let start = code.len();
        let mut exits = Vec::new();
        let mut leave = |code: &mut Vec<u64>, jump: u64| {
            exits.push(code.len());
            code.push(jump);
        };
        leave(&mut code, instruction(JUMP_EQUAL, 9, 8, 0, 0));
        leave(&mut code, instruction(JUMP_OVER, 9, 0, 0, 128));
        let fill = |base: u8, from: i16| {
            (0..offset / 8).map(move |word| instruction(STORE, base, 7, from + 8 * word, 0))
        };
        match by {
            By::Reserve => {
                code.extend([
                    instruction(ADDRESS, 1, 1, 0, map),
                    0,
                    instruction(SET, 2, 0, 0, size),
                    instruction(SET, 3, 0, 0, 0),
                    instruction(CALL, 0, 0, 0, RESERVE),
                ]);
                leave(&mut code, instruction(JUMP_ZERO, 0, 0, 0, 0));
                code.extend(fill(0, 0));
                code.extend([
                    instruction(MOVE, 1, 0, 0, 0),
                    instruction(SET, 2, 0, 0, wakeup as i32),
                    instruction(CALL, 0, 0, 0, SUBMIT),
                ]);
            }
            By::Output => {
                code.extend(fill(10, -offset));
                code.extend([
                    instruction(ADDRESS, 1, 1, 0, map),
                    0,
                    instruction(MOVE, 2, 10, 0, 0),
                    instruction(ADD_NUMBER, 2, 0, 0, -size),
                    instruction(SET, 3, 0, 0, size),
                    instruction(SET, 4, 0, 0, wakeup as i32),
                    instruction(CALL, 0, 0, 0, OUTPUT),
                ]);
                leave(&mut code, instruction(JUMP_NOT_ZERO, 0, 0, 0, 0));
            }
        }
        code.extend([
            instruction(ADD_NUMBER, 7, 0, 0, 1),
            instruction(ADD_NUMBER, 9, 0, 0, 1),
        ]);
        let distance = |from: usize, to: usize| {
            let far = i64::try_from(to).unwrap_or(0) - i64::try_from(from).unwrap_or(0) - 1;
            i16::try_from(far).map_err(io::Error::other)
        };
        code.push(instruction(JUMP, 0, 0, distance(code.len(), start)?, 0));
        let end = code.len();
        for at in exits {
            let [_, _, low, high, ..] = instruction(0, 0, 0, distance(at, end)?, 0).to_le_bytes();
            code[at] |= u64::from_le_bytes([0, 0, low, high, 0, 0, 0, 0]);
        }
        code.extend([
            instruction(STORE, 6, 7, 8, 0),
            instruction(SET, 0, 0, 0, 0),
            instruction(EXIT, 0, 0, 0, 0),
        ]);
        Self::load(&code)
    }

    fn load(code: &[u64]) -> io::Result<Self> {
        /// `BPF_PROG_TYPE_SYSCALL`.
        const SYSCALL: u32 = 31;
        /// `BPF_F_SLEEPABLE`.
        const SLEEPABLE: u32 = 1 << 4;
        const LICENSE: &std::ffi::CStr = c"GPL";
        let count = u32::try_from(code.len()).map_err(io::Error::other)?;
        let attributes = Attributes::default()
            .word(0, SYSCALL)
            .word(4, count)
            .address(8, code.as_ptr().expose_provenance())
            .address(16, LICENSE.as_ptr().expose_provenance())
            .word(44, SLEEPABLE);
        // SAFETY: the code and the license are read.
        unsafe { opened(PROG_LOAD, attributes) }.map(Self)
    }

    /// Has it put in events.
    ///
    /// # Errors
    ///
    /// What bpf(2) fails with.
    #[inline]
    pub fn run(&self, events: &mut Events) -> io::Result<()> {
        let program = self.0.as_raw_fd().cast_unsigned();
        let size = u32::try_from(size_of::<Events>()).map_err(io::Error::other)?;
        let mut attributes = Attributes::default()
            .word(0, program)
            .word(40, size)
            .address(48, std::ptr::from_mut(events).expose_provenance());
        // SAFETY: the events are read and written.
        unsafe { bpf(PROG_TEST_RUN, &mut attributes) }.map(drop)
    }
}
