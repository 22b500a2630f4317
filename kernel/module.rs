// SPDX-License-Identifier: GPL-2.0

//! The module whose code runs: its state, and what keeps its memory.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::bindings;
use core::{marker::PhantomData, mem::offset_of};
use kernel::{module::this_module, ModuleMetadata};

/// The kobject of a module; `None` for code that is built into the kernel, and where modules have no
/// kobject.
///
/// It is there before the module's `init` runs, and `free_module()` waits until all references to it
/// are gone.
#[inline]
pub(crate) fn kobject(module: *mut bindings::module) -> Option<*mut bindings::kobject> {
    if !cfg!(CONFIG_SYSFS) || module.is_null() {
        return None;
    }
    // Only an address is computed.
    let offset = offset_of!(bindings::module, mkobj.kobj);
    Some(module.wrapping_byte_add(offset).cast())
}

/// The state of the module `M`, or `None` for code that is built into the kernel.
#[inline]
pub(crate) fn state<M: ModuleMetadata>() -> Option<bindings::module_state> {
    let module = this_module::<M>().as_ptr();
    if module.is_null() {
        return None;
    }
    // SAFETY: A module whose code runs is there. Its state may change at any time, hence the
    // volatile read.
    Some(unsafe { (&raw const (*module).state).read_volatile() })
}

/// Keeps the memory of the module `M`, for a registration that leads the kernel into it.
///
/// A registration may be leaked, as safe code can by `mem::forget()`. The kernel then goes on using
/// what was registered, which is in the module or owned by it. So a registration has this as its last
/// field: a reference to the module's kobject, for which `free_module()` waits. To unload a module
/// that leaked one then hangs, rather than leave the kernel with pointers into freed memory.
pub struct Hold<M: ModuleMetadata>(PhantomData<fn() -> M>);

impl<M: ModuleMetadata> Hold<M> {
    #[inline]
    pub(crate) fn new() -> Self {
        if let Some(kobject) = kobject(this_module::<M>().as_ptr()) {
            // SAFETY: The module is there, as its code runs, and so is its kobject.
            unsafe { bindings::kobject_get(kobject) };
        }
        Self(PhantomData)
    }
}

impl<M: ModuleMetadata> Drop for Hold<M> {
    #[inline]
    fn drop(&mut self) {
        if let Some(kobject) = kobject(this_module::<M>().as_ptr()) {
            // SAFETY: Gives up the reference that `new()` took.
            unsafe { bindings::kobject_put(kobject) };
        }
    }
}
