// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls of a kernel that somebody has added some to.
//!
//! A system call is a number. What mainline Linux has given out means the same everywhere; the next
//! numbers mean nothing, or what a patch made of them, until mainline gives them out as well. So a
//! [`Number`] is one that is free in Linux [`RELEASE`], and is called in that release alone: in a
//! later one it may be anything.
//!
//! A call that is not there is [`Errno::NOSYS`]. That is an answer like any other, which a program must
//! expect as long as there are kernels without the call, and [`Error::Missing`] here.
//!
//! | shape | C | here |
//! |---|---|---|
//! | a buffer, and its length | `(char *, int)` | [`InPlace`] |
//! | a struct that may grow, its size, flags | `(const T *, size_t, unsigned int)` | [`Extensible`] |
//!
//! # What is guaranteed, and what is not
//!
//! These are safe functions, and a system call can do anything to the memory of its caller. The
//! kernel is given the addresses of slices that are borrowed for as long as the call takes, and no
//! call is made in a release where its number may be another one's.
//!
//! What is left is up to the declaration. **A call that is misdeclared is unsound**: safe code then has
//! the kernel write anywhere, as by `/proc/self/mem`, and no type can see it:
//!
//! - A call that takes a struct with addresses, declared as [`InPlace`]: the buffer's bytes are those
//!   addresses.
//! - An [`Extensible`] whose offsets are exchanged, so that the kernel answers into the message; or one
//!   whose struct has further addresses, which are the caller's to choose.
//! - A call that writes more than it is told to, or keeps an address.
//!
//! So whoever declares a call vouches for its shape. The same holds for the `syscall` functions of
//! [`testing::memory`](crate::testing::memory), which pass on memory with whatever addresses are in it.
//! Other calls are for `libc::syscall`, which is `unsafe`.
//!
//! # References
//!  - [Linux](https://man7.org/linux/man-pages/man2/syscall.2.html)
//!  - [Adding a new system call](https://docs.kernel.org/process/adding-syscalls.html)

#![expect(unsafe_code, reason = "syscall(2) takes a number and registers")]

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::testing::signal::last_errno;

/// The release of Linux whose free numbers these are: how uname(2) begins in it.
pub const RELEASE: &str = "7.3.";

/// The numbers that are free in it: 512 and on were x32's, where that is served.
pub const FREE: RangeInclusive<u32> = 473..=511;

/// Why a call did not do what it was made for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel does not have the call (`ENOSYS`), or a filter says so.
    #[error(
        "this kernel has no system call {number}: boot one that is built with the patch that adds it, \
         as `cargo callgate build` makes; if it is, look whether a seccomp(2) filter forbids the call"
    )]
    Missing {
        /// The call's number.
        number: u32,
    },
    /// The number is free in another release than this kernel's. It was not called.
    #[error(
        "system call {number} is a number that is free in Linux {RELEASE}x, and this is {release}, where \
         it may be another call: boot a kernel of that release"
    )]
    OtherRelease {
        /// The call's number.
        number: u32,
        /// What uname(2) says.
        release: String,
    },
    /// The kernel refused the call.
    #[error("system call {number} failed: {errno}; {}", hint(*.errno))]
    Refused {
        /// The call's number.
        number: u32,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A buffer has more bytes than the call's length can say. It was not called.
    #[error("system call {number} takes no buffer of {len} bytes: pass a part of it")]
    TooLong {
        /// The call's number.
        number: u32,
        /// The buffer's length.
        len: usize,
    },
}

impl Error {
    /// What the kernel answered, if it was asked.
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Missing { .. } => Some(Errno::NOSYS),
            Self::Refused { errno, .. } => Some(*errno),
            Self::OtherRelease { .. } | Self::TooLong { .. } => None,
        }
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => "a flag or value it does not know, or a text too long: see its description",
        Errno::TOOBIG => {
            "the struct asks for something that this kernel is too old for: leave it zero, or say less"
        }
        Errno::RANGE => {
            "there is too little room for the answer: ask for its length, and try again"
        }
        Errno::FAULT => "an address is wrong, or memory cannot be read or written there",
        Errno::PERM => "a seccomp(2) filter forbids it, or the call itself does",
        _ => "see its description",
    }
}

/// What typed calls return.
pub type Result<T> = std::result::Result<T, Error>;

/// The number of a system call that mainline does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(u32);

impl Number {
    /// The call of that number.
    ///
    /// # Panics
    ///
    /// Unless the number is one that is [`FREE`]; in a constant that is an error when compiling.
    pub const fn new(number: u32) -> Self {
        assert!(
            *FREE.start() <= number && number <= *FREE.end(),
            "mainline has given this number out"
        );
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Makes the call, if the number is free in this kernel's release; [`Errno::NOSYS`] if not.
    ///
    /// # Safety
    ///
    /// Whatever the call may write to from an address among the arguments on must be the caller's to
    /// have written, or not be mapped writable at all.
    pub(crate) unsafe fn issue(self, [a, b, c]: [u64; 3]) -> rustix::io::Result<usize> {
        if !are_free_in(release()) {
            return Err(Errno::NOSYS);
        }
        // SAFETY: the caller vouches for the addresses, and whoever declared the number for the rest.
        let result = unsafe { libc::syscall(self.0.into(), a, b, c) };
        usize::try_from(result).map_err(|_| last_errno())
    }

    /// As [`issue`](Self::issue), with errors that say what to do.
    unsafe fn call(self, arguments: [u64; 3]) -> Result<usize> {
        let Self(number) = self;
        if !are_free_in(release()) {
            let release = release().to_owned();
            return Err(Error::OtherRelease { number, release });
        }
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.issue(arguments) }.map_err(|errno| match errno {
            Errno::NOSYS => Error::Missing { number },
            errno => Error::Refused { number, errno },
        })
    }

    /// Makes the call as a 32-bit program would, with zero for every argument. To such a program the
    /// number is one of the i386 table, which has the same ones free.
    ///
    /// # Errors
    ///
    /// What the kernel answers: [`Errno::NOSYS`] if it has the call for 64-bit programs alone. A kernel of
    /// another release than [`RELEASE`] is not asked, and that is [`Errno::NOSYS`] as well.
    #[cfg(target_arch = "x86_64")]
    pub fn call_as_32_bit(self) -> rustix::io::Result<u32> {
        if !are_free_in(release()) {
            return Err(Errno::NOSYS);
        }
        // SAFETY: no address is handed out, and whoever declared the number vouches for the rest.
        unsafe { crate::compat::enter(self.0, [0; 3]) }
    }
}

/// What uname(2) says this kernel's release is.
fn release() -> &'static str {
    static HERE: OnceLock<String> = OnceLock::new();
    HERE.get_or_init(|| {
        let uname = rustix::system::uname();
        uname.release().to_string_lossy().into_owned()
    })
}

/// Whether the numbers that are [`FREE`] in [`RELEASE`] are known to be so in this one.
fn are_free_in(release: &str) -> bool {
    release.starts_with(RELEASE)
}

/// A call that takes a buffer and overwrites it: `(char *buffer, int len)`.
#[derive(Clone, Copy, Debug)]
pub struct InPlace(Number);

impl InPlace {
    /// The call of that number.
    ///
    /// # Panics
    ///
    /// As [`Number::new`].
    pub const fn new(number: u32) -> Self {
        Self(Number::new(number))
    }

    /// The call's number.
    pub const fn number(self) -> Number {
        self.0
    }

    /// Makes the call with `buffer`. Returns what the kernel does, as a rule how much of it is new.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the kernel does not have the call; [`Error::Refused`] with its errno;
    /// [`Error::TooLong`] for a buffer of 2 GiB.
    pub fn call(self, buffer: &mut [u8]) -> Result<usize> {
        let (Number(number), len) = (self.0, buffer.len());
        if i32::try_from(len).is_err() {
            return Err(Error::TooLong { number, len });
        }
        let address = buffer.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the buffer has `len` bytes, and is borrowed for just this.
        unsafe { self.0.call([address, len as u64, 0]) }
    }
}

/// A call that takes a struct which may grow at its end, the size the caller knows it to have, and
/// flags: `(const T *arguments, size_t size, unsigned int flags)`.
///
/// In the struct are the addresses of a message to the kernel and of room for its answer. Each is a
/// `u64`, and the `u64` behind it is the length.
///
/// An old kernel serves a new program as long as what it does not know is zero, and refuses with
/// [`Errno::TOOBIG`] otherwise. A new kernel serves an old program with the part it knows.
#[derive(Clone, Copy, Debug)]
pub struct Extensible<T> {
    number: Number,
    message: usize,
    answer: usize,
    arguments: PhantomData<fn(T)>,
}

impl<T: FromBytes + IntoBytes + Immutable> Extensible<T> {
    /// The call of that number, whose struct has the two addresses at these offsets.
    ///
    /// # Panics
    ///
    /// As [`Number::new`]; or if the struct ends before the addresses and lengths do.
    pub const fn new(number: u32, message: usize, answer: usize) -> Self {
        assert!(
            message + 16 <= size_of::<T>() && answer + 16 <= size_of::<T>(),
            "the struct does not have these fields"
        );
        Self {
            number: Number::new(number),
            message,
            answer,
            arguments: PhantomData,
        }
    }

    /// The call's number.
    pub const fn number(&self) -> Number {
        self.number
    }

    /// Makes the call with the whole of `arguments`, where the two addresses and lengths are put in.
    /// Returns what the kernel does, as a rule the length of the answer.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the kernel does not have the call; [`Error::Refused`] with its errno.
    pub fn call(
        &self,
        arguments: &T,
        message: &[u8],
        answer: &mut [u8],
        flags: u32,
    ) -> Result<usize> {
        self.call_sized(size_of::<T>(), arguments, message, answer, flags)
    }

    /// Does as [`call`](Self::call), but as a program would that knows only the first `size` bytes of
    /// `T`: the kernel hears of no more.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Panics
    ///
    /// If `T` has less than `size` bytes.
    pub fn call_sized(
        &self,
        size: usize,
        arguments: &T,
        message: &[u8],
        answer: &mut [u8],
        flags: u32,
    ) -> Result<usize> {
        let mut bytes = arguments.as_bytes().to_vec();
        let mut put = |at: usize, address: usize, len: usize| {
            bytes[at..at + 8].copy_from_slice(&(address as u64).to_ne_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&(len as u64).to_ne_bytes());
        };
        put(
            self.message,
            message.as_ptr().expose_provenance(),
            message.len(),
        );
        put(
            self.answer,
            answer.as_mut_ptr().expose_provenance(),
            answer.len(),
        );
        let bytes = &bytes[..size];
        let address = bytes.as_ptr().expose_provenance() as u64;
        // SAFETY: the kernel only reads the struct, of which it is told the size. Both slices are
        // borrowed for this call, and the kernel is told their lengths.
        unsafe { self.number.call([address, size as u64, flags.into()]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_mainlines_is_refused() {
        for number in [0, 472, 512, u32::MAX] {
            assert!(std::panic::catch_unwind(|| Number::new(number)).is_err());
        }
        assert_eq!(Number::new(473).number(), 473);
    }

    #[test]
    fn another_release_is_not_trusted() {
        assert!(are_free_in("7.3.4-callgate"));
        for release in ["7.4.0", "7.30.1", "6.7.3.1", "17.3.1", "7.3", ""] {
            assert!(!are_free_in(release), "{release}");
        }
    }

    #[test]
    fn a_struct_without_the_fields_is_refused() {
        assert!(std::panic::catch_unwind(|| Extensible::<[u64; 3]>::new(473, 0, 16)).is_err());
    }

    #[test]
    fn errors_say_what_to_do() {
        let missing = Error::Missing { number: 473 };
        assert!(missing.to_string().contains("built with the patch"));
        assert_eq!(missing.errno(), Some(Errno::NOSYS));
        let other = Error::OtherRelease {
            number: 473,
            release: "7.4.1".into(),
        };
        assert!(other.to_string().contains("and this is 7.4.1"));
        assert_eq!(other.errno(), None);
    }
}
