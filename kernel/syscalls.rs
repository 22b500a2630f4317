// SPDX-License-Identifier: GPL-2.0

//! System calls.
//!
//! [`define`] is to a system call in Rust what `SYSCALL_DEFINEn` is to one in C: it makes the function
//! that the system call table names. A call's number is a line of that table. The table is part of
//! the kernel's image, and so is all that it names: this file is not one of callgate_kernel, which is
//! linked into modules, but goes into the kernel's own tree, by a patch.
//!
//! C header: `include/linux/syscalls.h`
//!
//! # Not supported
//!
//! - Any architecture but x86-64. Others hand over the arguments in another way.
//! - Callers from i386: to them, the number stays `ENOSYS`. Those from x32 are as good as any.
//! - `ALLOW_ERROR_INJECTION` and the trace events of each call (`CONFIG_FTRACE_SYSCALLS`): both are
//!   tables that C's macro adds a line to.
//!
//! # Examples
//!
//! ```ignore
//! syscalls::define! {
//!     __x64_sys_double = double;
//! }
//!
//! fn double(number: u32, flags: u32) -> Result<u32> {
//!     if flags != 0 {
//!         return Err(EINVAL);
//!     }
//!     number.checked_mul(2).ok_or(ERANGE)
//! }
//! ```

#![expect(
    unsafe_code,
    reason = "the entry code passes a pointer, and finds the function by its symbol"
)]

use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};
use zerocopy::{FromBytes, IntoBytes};

/// What a register can be an argument as.
pub(crate) trait Argument {
    /// The argument. A type that is narrower than a register ignores what is beyond: by the C calling
    /// convention, a caller may have left anything there.
    fn from_register(register: c_ulong) -> Self;
}

impl Argument for i32 {
    fn from_register(register: c_ulong) -> Self {
        register as i32
    }
}

impl Argument for u32 {
    fn from_register(register: c_ulong) -> Self {
        register as u32
    }
}

impl Argument for usize {
    fn from_register(register: c_ulong) -> Self {
        register
    }
}

impl Argument for UserPtr {
    fn from_register(register: c_ulong) -> Self {
        UserPtr::from_addr(register)
    }
}

/// A function that can be a system call with the arguments `A`.
///
/// What it returns is the call's result. That it is a `u32` keeps it from being taken for an errno:
/// those are the numbers from -4095 to -1.
pub(crate) trait Function<A> {
    /// Calls it.
    fn call(self, registers: [c_ulong; 3]) -> Result<u32>;
}

impl<F: FnOnce(A, B) -> Result<u32>, A: Argument, B: Argument> Function<(A, B)> for F {
    fn call(self, [a, b, _]: [c_ulong; 3]) -> Result<u32> {
        self(A::from_register(a), B::from_register(b))
    }
}

impl<F, A, B, C> Function<(A, B, C)> for F
where
    F: FnOnce(A, B, C) -> Result<u32>,
    A: Argument,
    B: Argument,
    C: Argument,
{
    fn call(self, [a, b, c]: [c_ulong; 3]) -> Result<u32> {
        self(
            A::from_register(a),
            B::from_register(b),
            C::from_register(c),
        )
    }
}

/// Calls `function` with the arguments in `registers`, and makes of its result what user space gets.
///
/// # Safety
///
/// `registers` must be those of a task that is in a system call.
#[inline]
pub(crate) unsafe fn call<A>(
    registers: *const bindings::pt_regs,
    function: impl Function<A>,
) -> c_long {
    // SAFETY: By this function's contract; only the task itself changes them while it is in the call.
    let registers = unsafe { &*registers };
    match function.call([registers.di, registers.si, registers.dx]) {
        Ok(result) => result as c_long,
        Err(error) => error.to_errno() as c_long,
    }
}

/// Defines system calls: `__x64_sys_NAME = FUNCTION;` for each, where the table in
/// `arch/x86/entry/syscalls/syscall_64.tbl` has `sys_NAME`.
macro_rules! define {
    ($($symbol:ident = $function:expr;)*) => {
        $(
            // Nothing else of that name can be in the kernel's image: it would not link.
            #[expect(unsafe_code, reason = "the entry code finds it by this symbol")]
            #[no_mangle]
            unsafe extern "C" fn $symbol(
                registers: *const kernel::bindings::pt_regs,
            ) -> kernel::ffi::c_long {
                // SAFETY: Only the entry code calls this, for a task that is in this system call.
                unsafe { $crate::syscalls::call(registers, $function) }
            }
        )*
    };
}
pub(crate) use define;

/// Reads a struct that may be older or newer than `T`, as C's `copy_struct_from_user()` does.
///
/// `size` is what the caller says its struct has, `first_size` what the first version of it had. What
/// an older caller does not have is zero; what a newer one has must be zero, as its meaning is not
/// known here.
///
/// # Errors
///
/// - [`E2BIG`]: the struct is larger than a page, or has something other than zero behind what `T` has.
/// - [`EINVAL`]: it is smaller than its first version was.
/// - [`EFAULT`]: it is not all there.
pub(crate) fn copy_struct_from_user<T: FromBytes + IntoBytes>(
    from: UserPtr,
    size: usize,
    first_size: usize,
) -> Result<T> {
    if size > PAGE_SIZE {
        return Err(E2BIG);
    }
    if size < first_size {
        return Err(EINVAL);
    }
    let known = size.min(size_of::<T>());
    if known < size {
        let unknown = from.wrapping_byte_add(known).as_const_ptr();
        // SAFETY: It reads user memory, and so copes with any address.
        let zero = unsafe { bindings::check_zeroed_user(unknown, size - known) };
        to_result(zero)?;
        if zero == 0 {
            return Err(E2BIG);
        }
    }
    let mut value = T::new_zeroed();
    let bytes = &mut value.as_mut_bytes()[..known];
    UserSlice::new(from, known).reader().read_slice(bytes)?;
    Ok(value)
}
