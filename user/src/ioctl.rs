// SPDX-License-Identifier: MIT OR Apache-2.0

//! Typed commands on an open file.
//!
//! A command's number names four things: a type byte, which drivers choose so as to be told apart
//! though some share one, a number within the type, the direction its payload takes, and the
//! payload's size. The constants here are made from
//! the number as it stands in the definitions a driver and its programs share, and refuse to
//! compile if direction or size do not fit the payload's type:
//!
//! ```
//! use callgate::ioctl::ToKernel;
//! const SET_VOLUME: ToKernel<u32> = ToKernel::new(0x4004_5601); // _IOW('V', 1, u32)
//! ```
//!
//! ```compile_fail
//! use callgate::ioctl::ToKernel;
//! const SET_VOLUME: ToKernel<u64> = ToKernel::new(0x4004_5601); // the number says 4 bytes
//! ```
//!
//! | payload | C | here |
//! |---|---|---|
//! | none | `_IO` | [`NoArgument`] |
//! | to the kernel | `_IOW` | [`ToKernel`] |
//! | from the kernel | `_IOR` | [`FromKernel`] |
//! | both ways | `_IOWR` | [`Exchange`] |
//! | both ways, and may grow | `_IOWR` | [`Extensible`] |
//! | a string, whatever the number says | `_IOW`, `_IOR` | [`StringToKernel`], [`StringFromKernel`] |
//!
//! # What is guaranteed, and what is not
//!
//! These calls are safe functions, and ioctl(2) is not a safe call: a driver may move more bytes
//! than its number says. So a payload never meets the driver itself. It is copied into a
//! [`Buffer`] of [`Buffer::SIZE`] bytes, more than any number can encode; the driver gets that; what
//! comes back is copied out of it as a type for which every bit pattern is valid.
//!
//! What is left is up to the driver, as with `/proc/self/mem`, and no type can see it:
//!
//! - A driver that writes more than [`Buffer::SIZE`] bytes corrupts the caller's stack.
//! - A payload that *carries addresses* has the driver reach memory that no copy protects
//!   (`UFFDIO_COPY`).
//! - A driver that *keeps* the argument's address writes there when the call is over
//!   (`USBDEVFS_SUBMITURB`).
//!
//! So whoever declares a command here vouches that none of this holds for the driver it is sent to.
//! For other commands there is `rustix::ioctl`, which is `unsafe`.
//!
//! # References
//!  - [Linux](https://man7.org/linux/man-pages/man2/ioctl.2.html)
//!  - [Decoding numbers](https://docs.kernel.org/userspace-api/ioctl/ioctl-decoding.html)

#![expect(unsafe_code, reason = "ioctl(2) takes an address")]

use std::ffi::{CStr, CString};
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Direction, Opcode, opcode};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Why a command did not do what it was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel or the driver refused the command.
    #[error("command {number:#010x} failed: {errno}; {}", hint(*.errno))]
    Refused {
        /// The command's number.
        number: u32,
        /// What the kernel or the driver answered.
        errno: Errno,
    },
    /// A string to the kernel is longer than the command takes. It was not sent.
    #[error(
        "command {number:#010x} takes {bound} bytes with the NUL, the string has {len}: shorten it"
    )]
    TooLong {
        /// The command's number.
        number: u32,
        /// Length of the string with its NUL.
        len: usize,
        /// The longest string the command takes, with its NUL.
        bound: usize,
    },
    /// A string from the kernel has no NUL where it must have ended.
    #[error(
        "command {number:#010x} gave no NUL within {bound} bytes: is the bound the driver's own?"
    )]
    Unterminated {
        /// The command's number.
        number: u32,
        /// Where the string must have ended.
        bound: usize,
    },
}

impl Error {
    /// What the kernel answered, if it was the kernel that refused.
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::TooLong { .. } | Self::Unterminated { .. } => None,
        }
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::NOTTY => {
            "the driver behind this file knows no command of this number, direction and size: \
             check the file, and that driver and program were built from the same definitions"
        }
        Errno::INVAL => "the driver refused the payload: see the command's description",
        Errno::TOOBIG => "the payload asks for something this driver is too old for: leave it zero",
        Errno::BADF => "the file is not open, or was opened as a mere path: open it first",
        _ => "see ioctl(2) and the driver's documentation",
    }
}

/// What typed commands return.
pub type Result<T> = std::result::Result<T, Error>;

/// Memory for a payload, larger than any number can say.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct Buffer {
    bytes: [MaybeUninit<u8>; Self::SIZE],
    /// The bytes up to here are initialised.
    known: usize,
}

impl Buffer {
    /// Bytes in a buffer. A number has 14 bits for a payload's size.
    pub const SIZE: usize = 1 << 14;

    /// A buffer that begins with `payload` and is zero from there on.
    ///
    /// # Panics
    ///
    /// If `payload` is longer than [`Buffer::SIZE`].
    pub fn new(payload: &[u8]) -> Self {
        Self::known(payload, Self::SIZE)
    }

    /// A buffer that begins with `payload` and is zero from there to `known`. What follows would cost more to
    /// zero than most commands do.
    #[inline]
    fn known(payload: &[u8], known: usize) -> Self {
        let mut bytes = [MaybeUninit::uninit(); Self::SIZE];
        let (begin, rest) = bytes[..known].split_at_mut(payload.len());
        begin.write_copy_of_slice(payload);
        // SAFETY: it writes to all of `rest`, and nowhere else. (`fill` would go byte by byte.)
        unsafe { rest.as_mut_ptr().write_bytes(0, rest.len()) };
        Self { bytes, known }
    }

    /// The bytes: all of a buffer from [`Buffer::new`].
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: they are initialised, as `known` says. Whatever a driver writes there are bytes.
        unsafe { self.bytes[..self.known].assume_init_ref() }
    }

    /// The bytes, to change them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { self.bytes[..self.known].assume_init_mut() }
    }

    /// The payload that stands at the beginning.
    ///
    /// # Panics
    ///
    /// If fewer bytes are known.
    #[inline]
    fn payload<T: FromBytes>(&self) -> T {
        let read = T::read_from_prefix(self.bytes());
        read.map_or_else(|_| panic!("the buffer is shorter"), |(payload, _)| payload)
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Buffer").field(&self.bytes()).finish()
    }
}

/// Where a command can be sent: anything with a file descriptor, or such a thing wrapped in
/// `compat::As32Bit`.
pub trait Target: sealed::Target {
    /// Sends the command `number` with `buffer` as its payload, and returns the driver's result.
    ///
    /// This is what all typed commands come down to. Use it for a command that no type describes,
    /// or to see a positive result, which typed commands drop.
    ///
    /// # Errors
    ///
    /// What the kernel or the driver answers; [`Errno::NOTTY`] if the driver does not know `number`.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/ioctl.2.html)
    fn issue(&self, number: u32, buffer: &mut Buffer) -> rustix::io::Result<i32>;
}

/// Keeps [`Target`] closed, so that its unsafe half stays in this crate.
pub(crate) mod sealed {
    /// The unsafe half of a target.
    pub trait Target {
        /// Sends the command `number` with the argument `address`.
        ///
        /// # Safety
        ///
        /// Whatever the kernel may write to from `address` on must be the caller's to have
        /// written, or not be mapped writable at all.
        unsafe fn issue_at(&self, number: u32, address: usize) -> rustix::io::Result<i32>;
    }
}

/// One call of ioctl(2), as rustix wants it described.
struct Call {
    number: u32,
    address: usize,
}

// SAFETY: `as_ptr` hands on the address that `issue_at`'s caller vouched for; `output_from_ptr` does
// not touch it; and the call counts as one that changes memory.
unsafe impl rustix::ioctl::Ioctl for Call {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.number as Opcode
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        std::ptr::with_exposed_provenance_mut(self.address)
    }

    unsafe fn output_from_ptr(
        result: rustix::ioctl::IoctlOutput,
        _: *mut rustix::ffi::c_void,
    ) -> rustix::io::Result<i32> {
        Ok(result)
    }
}

impl<F: AsFd> sealed::Target for F {
    unsafe fn issue_at(&self, number: u32, address: usize) -> rustix::io::Result<i32> {
        // SAFETY: the caller vouches for the address.
        unsafe { rustix::ioctl::ioctl(self, Call { number, address }) }
    }
}

impl<F: AsFd> Target for F {
    fn issue(&self, number: u32, buffer: &mut Buffer) -> rustix::io::Result<i32> {
        let address = (&raw mut buffer.bytes).expose_provenance();
        // SAFETY: the driver may write to the buffer, which is borrowed for just that. It has room
        // for any payload a number can describe; the module's documentation states that limit.
        unsafe { sealed::Target::issue_at(self, number, address) }
    }
}

/// Sends what is in `buffer`. It is large, and so stays where it is.
fn send(target: &impl Target, number: u32, buffer: &mut Buffer) -> Result<()> {
    match target.issue(number, buffer) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::Refused { number, errno }),
    }
}

/// `_IOC_DIR`, `_IOC_TYPE`, `_IOC_NR` and `_IOC_SIZE` come apart by position.
const fn parts(number: u32) -> (u32, u8, u8, usize) {
    let [nr, group, ..] = number.to_le_bytes();
    (number >> 30, group, nr, (number >> 16 & 0x3fff) as usize)
}

/// `number` with another size of payload in it.
///
/// # Panics
///
/// If no number can encode `size`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to be less than 2^14"
)]
pub const fn with_size(number: u32, size: usize) -> u32 {
    assert!(size < Buffer::SIZE, "no number can encode such a size");
    number & !(0x3fff << 16) | (size as u32) << 16
}

/// Panics, at compile time for a constant, unless `number` has that direction and size.
const fn check(number: u32, direction: Direction, size: usize) {
    let (_, group, nr, _) = parts(number);
    assert!(
        size < Buffer::SIZE,
        "no ioctl number can encode a payload of this size"
    );
    assert!(
        number as Opcode == opcode::from_components(direction, group, nr, size),
        "this ioctl number has another direction or another size than its payload"
    );
}

macro_rules! command {
    ($(#[$doc:meta])* $name:ident, $direction:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<T> {
            number: u32,
            payload: PhantomData<fn(T) -> T>,
        }

        impl<T: FromBytes + IntoBytes + Immutable> $name<T> {
            /// The command of that number.
            ///
            /// # Panics
            ///
            /// If direction or size in `number` are not the payload's; in a constant that is an
            /// error when compiling.
            pub const fn new(number: u32) -> Self {
                check(number, Direction::$direction, size_of::<T>());
                Self { number, payload: PhantomData }
            }

            /// The command's number.
            pub const fn number(&self) -> u32 {
                self.number
            }
        }
    };
}

/// A command without a payload: `_IO(type, nr)`.
#[derive(Debug)]
pub struct NoArgument {
    number: u32,
}

impl NoArgument {
    /// The command of that number.
    ///
    /// # Panics
    ///
    /// If `number` says there is a payload; in a constant that is an error when compiling.
    pub const fn new(number: u32) -> Self {
        check(number, Direction::None, 0);
        Self { number }
    }

    /// The command's number.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Sends the command.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the driver's errno.
    pub fn call(&self, target: &impl Target) -> Result<()> {
        // The argument is 0, as many a driver insists.
        //
        // SAFETY: no address is handed out.
        match unsafe { target.issue_at(self.number, 0) } {
            Ok(_) => Ok(()),
            Err(errno) => Err(Error::Refused {
                number: self.number,
                errno,
            }),
        }
    }
}

command! {
    /// A command that takes a payload to the kernel: `_IOW(type, nr, T)`.
    ToKernel, Write
}

impl<T: FromBytes + IntoBytes + Immutable> ToKernel<T> {
    /// Sends the command with `payload`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the driver's errno.
    pub fn call(&self, target: &impl Target, payload: &T) -> Result<()> {
        let bytes = payload.as_bytes();
        send(target, self.number, &mut Buffer::known(bytes, bytes.len()))
    }
}

command! {
    /// A command that brings a payload from the kernel: `_IOR(type, nr, T)`.
    FromKernel, Read
}

impl<T: FromBytes + IntoBytes + Immutable> FromKernel<T> {
    /// Sends the command and returns what the kernel gave.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the driver's errno.
    pub fn call(&self, target: &impl Target) -> Result<T> {
        let mut buffer = Buffer::known(&[], size_of::<T>());
        send(target, self.number, &mut buffer)?;
        Ok(buffer.payload())
    }
}

command! {
    /// A command that takes a payload to the kernel and brings one back: `_IOWR(type, nr, T)`.
    Exchange, ReadWrite
}

impl<T: FromBytes + IntoBytes + Immutable> Exchange<T> {
    /// Sends the command with `payload` and returns what the kernel put in its place.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the driver's errno.
    pub fn call(&self, target: &impl Target, payload: &T) -> Result<T> {
        let bytes = payload.as_bytes();
        let mut buffer = Buffer::known(bytes, bytes.len());
        send(target, self.number, &mut buffer)?;
        Ok(buffer.payload())
    }
}

command! {
    /// A command whose payload may grow at its end: `_IOWR(type, nr, T)`, where the size in the
    /// number says which version of `T` the program knows.
    ///
    /// An old driver serves a new program as long as what it does not know is zero, and refuses
    /// with [`Errno::TOOBIG`] otherwise. A new driver serves an old program with the part it knows.
    Extensible, ReadWrite
}

impl<T: FromBytes + IntoBytes + Immutable> Extensible<T> {
    /// Sends the command with the whole of `payload` and returns what the kernel put in its place.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the driver's errno.
    pub fn call(&self, target: &impl Target, payload: &T) -> Result<T> {
        self.call_sized(target, size_of::<T>(), payload)
    }

    /// Does as [`call`](Self::call), but as a program would that knows only the first `size` bytes
    /// of `T`: the rest is not sent and comes back zero.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the driver's errno.
    ///
    /// # Panics
    ///
    /// If `T` has less than `size` bytes.
    pub fn call_sized(&self, target: &impl Target, size: usize, payload: &T) -> Result<T> {
        let mut buffer = Buffer::known(&payload.as_bytes()[..size], size);
        send(target, with_size(self.number, size), &mut buffer)?;
        let mut answer = T::new_zeroed();
        answer.as_mut_bytes()[..size].copy_from_slice(buffer.bytes());
        Ok(answer)
    }
}

/// A command that takes a string to the kernel, whatever size its number says.
#[derive(Debug)]
pub struct StringToKernel {
    number: u32,
    bound: usize,
}

/// A command that brings a string from the kernel, whatever size its number says.
#[derive(Debug)]
pub struct StringFromKernel {
    number: u32,
    bound: usize,
}

macro_rules! string_command {
    ($name:ident, $direction:ident) => {
        impl $name {
            /// The command of that number, whose string has at most `bound` bytes with its NUL.
            ///
            /// # Panics
            ///
            /// If `number` has another direction, or a [`Buffer`] cannot hold `bound` bytes; in a
            /// constant that is an error when compiling.
            pub const fn new(number: u32, bound: usize) -> Self {
                check(number, Direction::$direction, parts(number).3);
                assert!(
                    bound <= Buffer::SIZE,
                    "a buffer cannot hold so long a string"
                );
                Self { number, bound }
            }

            /// The command's number.
            pub const fn number(&self) -> u32 {
                self.number
            }
        }
    };
}

string_command!(StringToKernel, Write);
string_command!(StringFromKernel, Read);

impl StringToKernel {
    /// Sends the command with `string`.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] if the string exceeds the bound; [`Error::Refused`] with the driver's errno.
    pub fn call(&self, target: &impl Target, string: &CStr) -> Result<()> {
        let bytes = string.to_bytes_with_nul();
        let (number, len, bound) = (self.number, bytes.len(), self.bound);
        if len > bound {
            return Err(Error::TooLong { number, len, bound });
        }
        // A driver may take all that the bound allows, whatever the string's length.
        send(target, number, &mut Buffer::known(bytes, bound))
    }
}

impl StringFromKernel {
    /// Sends the command and returns the string the kernel gave.
    ///
    /// # Errors
    ///
    /// [`Error::Unterminated`] if no NUL came within the bound; [`Error::Refused`] with the
    /// driver's errno.
    pub fn call(&self, target: &impl Target) -> Result<CString> {
        let (number, bound) = (self.number, self.bound);
        let mut answer = Buffer::known(&[], bound);
        send(target, number, &mut answer)?;
        match CStr::from_bytes_until_nul(answer.bytes()) {
            Ok(string) => Ok(string.to_owned()),
            Err(_) => Err(Error::Unterminated { number, bound }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `FIONREAD` on a pipe writes an `int`, though its number says there is no payload.
    const FIONREAD: u32 = 0x541b;

    #[test]
    fn a_number_comes_apart_and_together() {
        assert_eq!(parts(0x8004_4700), (2, b'G', 0, 4));
        assert_eq!(parts(0xc0cc_4705), (3, b'G', 5, 204));
        assert_eq!(with_size(0xc020_4706, 16), 0xc010_4706);
        assert_eq!(with_size(0xc020_4706, 0x3fff), 0xffff_4706);
        assert_eq!(
            ToKernel::<[u8; 204]>::new(0x40cc_4703).number(),
            0x40cc_4703
        );
        assert_eq!(NoArgument::new(0x4702).number(), 0x4702);
    }

    #[test]
    fn a_number_that_does_not_fit_its_payload_is_refused() {
        type Construct = fn() -> u32;
        let refused: [(&str, Construct); 7] = [
            ("size", || ToKernel::<u64>::new(0x4004_4701).number()),
            ("direction", || ToKernel::<u32>::new(0x8004_4701).number()),
            ("one direction for two", || {
                Exchange::<u32>::new(0x8004_4701).number()
            }),
            ("payload for none", || NoArgument::new(0x4004_4701).number()),
            ("size beyond the field", || {
                ToKernel::<[u8; 1 << 14]>::new(0x4000_4701).number()
            }),
            ("string's direction", || {
                StringToKernel::new(0x8004_4700, 200).number()
            }),
            ("string's bound", || {
                StringFromKernel::new(0x8004_4700, Buffer::SIZE + 1).number()
            }),
        ];
        for (what, construct) in refused {
            assert!(std::panic::catch_unwind(construct).is_err(), "{what}");
        }
    }

    #[test]
    fn the_buffer_takes_what_the_number_does_not_mention() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"12345").unwrap();
        let mut buffer = Buffer::new(&[]);
        assert_eq!(reader.issue(FIONREAD, &mut buffer), Ok(0));
        assert_eq!(buffer.payload::<i32>(), 5);
        assert!(buffer.bytes()[4..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_refusal_keeps_number_and_errno() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let error = FromKernel::<u32>::new(0x8004_4700)
            .call(&reader)
            .unwrap_err();
        assert_eq!(
            error,
            Error::Refused {
                number: 0x8004_4700,
                errno: Errno::NOTTY
            }
        );
        assert!(
            error.to_string().starts_with("command 0x80044700 failed"),
            "{error}"
        );
    }

    #[test]
    fn a_string_over_its_bound_is_not_sent() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let write = StringToKernel::new(0x4004_4701, 4);
        let too_long = Error::TooLong {
            number: 0x4004_4701,
            len: 5,
            bound: 4,
        };
        assert_eq!(write.call(&reader, c"1234"), Err(too_long));
        assert_eq!(
            write.call(&reader, c"123").unwrap_err().errno(),
            Some(Errno::NOTTY)
        );
    }
}
