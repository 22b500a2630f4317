// SPDX-License-Identifier: GPL-2.0

//! The module whose code runs: its state, and what keeps its memory.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    module::this_module,
    prelude::*,
    sync::barrier::{smp_mb, Read},
    ModuleMetadata,
};

/// The kobject of a module whose code runs; `None` for code that is built into the kernel, and where
/// modules have no kobject.
///
/// It is there before the module's `init` runs, and `free_module()` waits until all references to it
/// are gone.
///
/// # Errors
///
/// `ENXIO`: it is not there yet. The parameters a module is loaded with are set even before; should one
/// of them be refused, the kernel frees the module without waiting for anything.
///
/// # Safety
///
/// `module` must be null, or be there.
#[inline]
pub(crate) unsafe fn kobject(
    module: *mut bindings::module,
) -> Result<Option<*mut bindings::kobject>> {
    if !cfg!(CONFIG_SYSFS) || module.is_null() {
        return Ok(None);
    }
    // It is what `kobject_init()` sets last. Another thread may be in there: a parameter's hook could have
    // started work on another CPU.
    //
    // SAFETY: The caller promises that the module is there.
    if unsafe { (&raw const (*module).mkobj.kobj.ktype).read_volatile() }.is_null() {
        return Err(ENXIO);
    }
    smp_mb(Read);
    // SAFETY: As above; only an address is computed.
    Ok(Some(unsafe { &raw mut (*module).mkobj.kobj }))
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
///
/// There is none, but `ENXIO`, before the module has a kobject: a hook of a parameter that it is loaded
/// with can make no registration that needs one.
pub struct Hold<M: ModuleMetadata>(PhantomData<fn() -> M>);

impl<M: ModuleMetadata> Hold<M> {
    #[inline]
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The module is there, as its code runs.
        if let Some(kobject) = unsafe { kobject(this_module::<M>().as_ptr()) }? {
            // SAFETY: The module is there, and so is its kobject.
            unsafe { bindings::kobject_get(kobject) };
        }
        Ok(Self(PhantomData))
    }
}

impl<M: ModuleMetadata> Drop for Hold<M> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The module is there, as its code runs.
        if let Ok(Some(kobject)) = unsafe { kobject(this_module::<M>().as_ptr()) } {
            // SAFETY: Gives up the reference that `new()` took.
            unsafe { bindings::kobject_put(kobject) };
        }
    }
}
