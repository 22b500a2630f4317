// SPDX-License-Identifier: GPL-2.0

//! Typed access to the argument of an ioctl command.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)
//!
//! The numbers themselves are made by [`kernel::ioctl`]. What a command's argument is, is known only
//! to the one who made its number; the methods of [`Call`] must be picked accordingly.
//!
//! User memory is read once: each method that reads it consumes the [`Call`]. What can still be done
//! afterwards is to write there, by the [`Reply`] that the method returned.
//!
//! Not supported: arguments that are themselves pointers or contain them, and buffers whose length
//! is not part of the command's number.

use crate::bindings;
use core::mem::MaybeUninit;
use kernel::{
    ioctl::_IOC_SIZE,
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// One ioctl call: a command's number and its argument, which may be anything.
pub struct Call {
    cmd: u32,
    arg: UserPtr,
}

impl Call {
    #[inline]
    pub(crate) fn new(cmd: u32, arg: usize) -> Self {
        Self {
            cmd,
            arg: UserPtr::from_addr(arg),
        }
    }

    /// The command's number.
    #[inline]
    pub fn cmd(&self) -> u32 {
        self.cmd
    }

    /// Reads the value that the argument points to, by a single copy to `place`.
    ///
    /// # Errors
    ///
    /// `EFAULT`: it cannot be read.
    #[inline]
    pub fn read<T: FromBytes>(self, place: &mut MaybeUninit<T>) -> Result<(&mut T, Reply)> {
        let len = size_of::<T>();
        // SAFETY: That many bytes of `place` may be written to. What is written there is initialised.
        unsafe { copy_from_user(place.as_mut_ptr().cast(), self.arg, len)? };
        // SAFETY: All its bytes have been written, and any bytes are a `T`.
        let value = unsafe { place.assume_init_mut() };
        Ok((value, Reply::new(self.arg, len)))
    }

    /// Gives access to the `len` bytes that the argument points to, of a command that only writes.
    #[inline]
    pub fn reply(self, len: usize) -> Reply {
        Reply::new(self.arg, len)
    }

    /// Reads the string that the argument points to, and returns it without its NUL, which must be
    /// among the first `buf.len()` bytes. No more than these are looked at.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: a byte up to the NUL cannot be read.
    /// - `EINVAL`: there is no NUL.
    #[inline]
    pub fn read_str(self, buf: &mut [u8]) -> Result<&[u8]> {
        // CAST: The length of a slice fits.
        let size = buf.len() as isize;
        // SAFETY: `buf` may be written to for that many bytes. Any user pointer may be given.
        let len = unsafe {
            bindings::strncpy_from_user(
                buf.as_mut_ptr().cast(),
                self.arg.as_const_ptr().cast(),
                size,
            )
        };
        if len < 0 {
            // CAST: A negative result is an error number, which fits.
            return Err(Error::from_errno(len as i32));
        }
        if len == size {
            return Err(EINVAL);
        }
        buf.get(..len as usize).ok_or(EINVAL)
    }

    /// Reads an extensible struct, of which the caller may have another version than we.
    ///
    /// How much the caller has is in the size field of the command's number, so such a command must
    /// be recognised by [`same_but_size`]. What the caller has less is taken as zero; what it has
    /// more must be zero, as in the C function `copy_struct_from_user()`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the caller has less than `min_size`, the size of the first version.
    /// - `E2BIG`: the caller has more, and asks there for something we do not know.
    /// - `EFAULT`: it cannot be read.
    #[inline]
    pub fn read_struct<T: FromBytes + IntoBytes>(self, min_size: usize) -> Result<(T, Reply)> {
        let size = _IOC_SIZE(self.cmd);
        if size < min_size {
            return Err(EINVAL);
        }
        let common = size.min(size_of::<T>());
        if size > common {
            let tail = self.arg.wrapping_byte_add(common);
            // SAFETY: Any user pointer may be given.
            match unsafe { bindings::check_zeroed_user(tail.as_const_ptr(), size - common) } {
                0 => return Err(E2BIG),
                err if err < 0 => return Err(Error::from_errno(err)),
                _ => {}
            }
        }
        let mut value = T::new_zeroed();
        // SAFETY: `common` is no more than its size, and any bytes are a `T`.
        unsafe { copy_from_user((&raw mut value).cast(), self.arg, common)? };
        Ok((value, Reply::new(self.arg, size)))
    }
}

/// Where the answer to an ioctl call goes.
pub struct Reply {
    arg: UserPtr,
    len: usize,
}

impl Reply {
    #[inline]
    fn new(arg: UserPtr, len: usize) -> Self {
        Self { arg, len }
    }

    /// Writes as much of `value` as the caller has room for, and zeroes what room is left.
    ///
    /// # Errors
    ///
    /// `EFAULT`: it cannot be written. Some of it may have been.
    #[inline]
    pub fn write<T: IntoBytes + Immutable + ?Sized>(&self, value: &T) -> Result {
        let value = value.as_bytes();
        let known = value.get(..self.len).unwrap_or(value);
        copy_to_user(self.arg, known)?;
        if known.len() < self.len {
            self.clear(known.len())?;
        }
        Ok(())
    }

    /// Zeroes what room there is from `start` on.
    #[cold]
    fn clear(&self, start: usize) -> Result {
        let rest = self.arg.wrapping_byte_add(start);
        let mut writer = UserSlice::new(rest, self.len.saturating_sub(start)).writer();
        while !writer.is_empty() {
            let zeroes = [0; 64];
            writer.write_slice(zeroes.get(..writer.len()).unwrap_or(&zeroes))?;
        }
        Ok(())
    }
}

// As `UserSlice` does it; but that is a function of the kernel's, and not inlined.

/// Copies from the user.
///
/// # Safety
///
/// `to` may be written to for `len` bytes.
#[inline]
unsafe fn copy_from_user(to: *mut u8, from: UserPtr, len: usize) -> Result {
    // SAFETY: By the safety requirements. Any user pointer may be given.
    match unsafe { bindings::copy_from_user(to.cast(), from.as_const_ptr(), len) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}

/// Copies to the user.
#[inline]
fn copy_to_user(to: UserPtr, bytes: &[u8]) -> Result {
    // SAFETY: `bytes` may be read. Any user pointer may be given.
    match unsafe { bindings::copy_to_user(to.as_mut_ptr(), bytes.as_ptr().cast(), bytes.len()) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}

/// Whether two commands differ in nothing but the size of their argument: the test for a command
/// whose argument is an extensible struct.
#[inline]
pub const fn same_but_size(cmd: u32, other: u32) -> bool {
    let size = kernel::uapi::_IOC_SIZEMASK << kernel::uapi::_IOC_SIZESHIFT;
    cmd & !size == other & !size
}
