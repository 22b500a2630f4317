// SPDX-License-Identifier: GPL-2.0

//! Bindings: those of the `kernel` crate, and what `bindings.h` adds to them.
//!
//! An item that exists in both would be two distinct types, or two declarations of one function.
//! The build refuses it: the generated file uses every added item once through this module, where
//! such a name is ambiguous between the two glob imports.

#[allow(unused_imports, reason = "a part of the crate may need none of them")]
pub(crate) use added::*;
pub(crate) use kernel::bindings::*;

#[allow(
    unreachable_pub,
    unused_imports,
    reason = "which of these there are to complain of depends on what is bound"
)]
#[allow(
    improper_ctypes,
    reason = "as in kernel::bindings: some C structs are empty"
)]
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "as in kernel::bindings: nobody writes comments into generated code"
)]
mod added {
    // What the added items mention.
    use kernel::{bindings::*, ffi};
    use pin_init::MaybeZeroable;

    // Made by Kbuild from `bindings.h`.
    include!(env!("CALLGATE_BINDINGS"));
}
