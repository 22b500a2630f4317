// SPDX-License-Identifier: MIT OR Apache-2.0

//! Counting instructions, on a machine whose clock they are.
//!
//! There, the time-stamp counter counts them: QEMU with `-icount shift=3` has each instruction take 8 ns, and
//! emulates a counter of 1 GHz. Anywhere else this is the time of some clock.
//!
//! # References
//!  - `rdtsc` in the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2
//!  - [QEMU](https://www.qemu.org/docs/master/devel/tcg-icount.html)

#![expect(
    unsafe_code,
    reason = "an instruction, and a system call, that have no safe name"
)]

use std::arch::x86_64::_rdtsc;
use std::io;

/// How many nanoseconds an instruction takes there.
const NANOSECONDS: u64 = 1 << 3;

/// How many instructions the machine has carried out so far, this one not among them.
#[inline]
#[must_use]
pub fn so_far() -> u64 {
    // SAFETY: Linux lets every process read the counter, unless it asked not to be let by prctl(2), and then
    // this is SIGSEGV. It touches no memory.
    unsafe { _rdtsc() / NANOSECONDS }
}

/// Has this process, and those that it starts from now on, keep the CPU until they wait. Then what others do
/// for it, such as the kernel's threads, they do at the same moment each time.
///
/// # Errors
///
/// `EPERM`, without `CAP_SYS_NICE`.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man7/sched.7.html)
pub fn undisturbed() -> io::Result<()> {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: it only reads the parameter.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
