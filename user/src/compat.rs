// SPDX-License-Identifier: MIT OR Apache-2.0

//! Commands sent as a 32-bit program would send them.
//!
//! A driver has a second entry, `compat_ioctl`, for 32-bit programs on a 64-bit kernel. To reach it
//! from a 64-bit program, [`As32Bit`] enters the kernel the way i386 programs do, by `int $0x80`,
//! with the payload below 4 GiB where a 32-bit pointer can find it. It takes the place of a file
//! wherever `ioctl` wants a [`Target`].
//!
//! The kernel must have `CONFIG_IA32_EMULATION=y` and must not run with `ia32_emulation=off`: ask
//! [`is_available`] first. Without it `int $0x80` is a fault, and the program dies of `SIGSEGV`.
//!
//! # References
//!  - [Linux](https://docs.kernel.org/arch/x86/entry_64.html)
//!  - [32-bit compatible commands](https://docs.kernel.org/driver-api/ioctl.html)

#![expect(
    unsafe_code,
    reason = "another way into the kernel takes another instruction"
)]

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::io::{Errno, Result};

use crate::ioctl::{Buffer, Target, sealed};
use crate::testing::memory::Guarded;

/// ioctl's number in the i386 system call table.
const IOCTL: u32 = 54;

/// Whether this kernel was built to serve 32-bit programs.
///
/// It cannot tell whether the kernel was started with `ia32_emulation=off`.
pub fn is_available() -> bool {
    Path::new("/proc/sys/abi/vsyscall32").exists()
}

/// An open file to which a 32-bit program sends its commands.
#[derive(Clone, Copy, Debug)]
pub struct As32Bit<F>(
    /// The file.
    pub F,
);

/// Makes the system call that has this number in the i386 table.
///
/// # Safety
///
/// As for any system call: whatever this one does to the memory of its caller must be fine.
pub(crate) unsafe fn enter(call: u32, [a, b, c]: [u32; 3]) -> Result<u32> {
    let result: u32;
    // SAFETY: `int $0x80` is a call of the kernel by the i386 convention: number in eax, arguments in
    // ebx, ecx, edx, result in eax. LLVM keeps rbx to itself, so it is exchanged for the operand
    // before and given back after. Some kernels clear r8 to r11. The kernel keeps all else, and does
    // not use this stack. The caller vouches for what the call does.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {a:r}",
            "int 0x80",
            "xchg rbx, {a:r}",
            a = inout(reg) u64::from(a) => _,
            inout("eax") call => result,
            in("ecx") b,
            in("edx") c,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
            options(nostack),
        );
    }
    match result.cast_signed() {
        errno @ -4095..=-1 => Err(Errno::from_raw_os_error(-errno)),
        _ => Ok(result),
    }
}

impl<F: AsFd> sealed::Target for As32Bit<F> {
    unsafe fn issue_at(&self, number: u32, address: usize) -> Result<i32> {
        let address = u32::try_from(address).map_err(|_| Errno::FAULT)?;
        let fd = self.0.as_fd().as_raw_fd().cast_unsigned();
        // SAFETY: the caller vouches for the address.
        let result = unsafe { enter(IOCTL, [fd, number, address]) };
        result.map(u32::cast_signed)
    }
}

impl<F: AsFd> Target for As32Bit<F> {
    fn issue(&self, number: u32, buffer: &mut Buffer) -> Result<i32> {
        let mut low = Guarded::new(Buffer::SIZE)?;
        let known = buffer.bytes().len();
        low.bytes_mut()[..known].copy_from_slice(buffer.bytes());
        let result = low.ioctl(&As32Bit(self.0.as_fd()), number, 0);
        buffer.bytes_mut().copy_from_slice(&low.bytes()[..known]);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_32_bit_caller_is_served_like_any_other() {
        if !is_available() {
            eprintln!("skipped: this kernel does not serve 32-bit programs");
            return;
        }
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"12345").unwrap();
        let mut buffer = Buffer::new(&[0xff; 8]);
        assert_eq!(As32Bit(&reader).issue(0x541b, &mut buffer), Ok(0));
        assert_eq!(buffer.bytes()[..8], [5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(
            As32Bit(&reader).issue(0x4700, &mut buffer),
            Err(Errno::NOTTY)
        );
    }
}
