// SPDX-License-Identifier: GPL-2.0

//! Misc devices: single devices whose node appears by itself.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)
//!
//! Where [`kernel::miscdevice`] suffices, use that; this is for a node that needs a mode, or a
//! device that needs what [`crate::file`] adds.
//!
//! Not supported: fixed minor numbers, a parent device, attribute groups, and a node whose name is
//! not that of the device.
//!
//! # How an open finds its device
//!
//! `misc_open()` holds `misc_mtx` while it calls `open`, and has put the `struct miscdevice` into
//! the file's private data. `misc_deregister()` takes the same lock. So the registration is there
//! for as long as `open` runs.
//!
//! A registration may also be leaked; then a [`Hold`] keeps the module, which has the operations.

use crate::{
    bindings,
    file::{FileOperations, Registry, Settle, VTable},
    module::Hold,
};
use kernel::{container_of, error::to_result, prelude::*, str::CString, sync::Arc, types::Opaque};

/// A registered misc device.
///
/// Dropping it takes the device away: it can no longer be opened, and files that are open stay
/// usable. It sleeps, so it must not be dropped in atomic context.
///
/// # Invariants
///
/// `inner` is registered with the operations that `VTable` made for `T` and this type.
#[pin_data(PinnedDrop)]
pub struct Registration<T: FileOperations> {
    // These two are initialised before `inner`, as the device is in use from then on; and dropped
    // after it has been deregistered.
    name: CString,
    shared: Arc<T::Shared>,
    #[pin]
    inner: Opaque<bindings::miscdevice>,
    _settle: Settle<T::OwnerModule>,
    _hold: Hold<T::OwnerModule>,
}

// SAFETY: It owns a reference to a `T::Shared`, which is `Send` and `Sync`; the C functions may be
// called from any thread.
unsafe impl<T: FileOperations> Send for Registration<T> {}
// SAFETY: A shared reference gives access to nothing but `shared`, from within `open`.
unsafe impl<T: FileOperations> Sync for Registration<T> {}

impl<T: FileOperations> Registration<T> {
    /// Registers a device under a minor number that the kernel assigns. devtmpfs shows it as
    /// `/dev/NAME` with the permissions `mode`, owned by root; 0 stands for 0600.
    ///
    /// It can be opened once the module's `init` has succeeded; before, open(2) fails with `ENXIO`.
    /// The uevent that announces the device comes before that. A program that opens the device as soon
    /// as it hears of it may therefore have to try again; the uevent of the module itself, which
    /// `do_init_module()` sends, comes after.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: no minor number is free.
    /// - `EEXIST`: there is a misc device of that name.
    /// - `EINVAL`: there is a NUL in the name, or `mode` has more than permissions (0o7777).
    /// - `ENXIO`: the parameters that the module is loaded with are being set.
    /// - `ENOMEM`.
    pub fn new(name: &'static str, mode: u16, shared: Arc<T::Shared>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _: {
                // devtmpfs would take the rest as the type of the node.
                if mode & !0o7777 != 0 {
                    Err(EINVAL)?
                }
            },
            _hold: Hold::new()?,
            _settle: Settle::new(),
            shared,
            name: CString::try_from_fmt(fmt!("{name}"))?,
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let device = bindings::miscdevice {
                    minor: bindings::MISC_DYNAMIC_MINOR as c_int,
                    name: name.as_char_ptr(),
                    mode,
                    fops: VTable::<T, Self>::build(),
                    ..pin_init::zeroed()
                };
                // SAFETY: The slot may be written to.
                unsafe { slot.write(device) };
                // SAFETY: The device is initialised, and pinned until it is deregistered on drop.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl<T: FileOperations> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It is registered, by the type invariants, and this is the only call that
        // deregisters it.
        unsafe { bindings::misc_deregister(self.inner.get()) };
    }
}

// SAFETY: The registration found is the one whose device is being opened.
unsafe impl<T: FileOperations> Registry<T> for Registration<T> {
    unsafe fn shared(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> Option<Arc<T::Shared>> {
        // SAFETY: `misc_open()` put the `struct miscdevice` there.
        let device = unsafe { (*file).private_data }.cast::<Opaque<bindings::miscdevice>>();
        // SAFETY: Only `new()` registers a device with these operations, so it is that field of a
        // `Registration<T>`. It is there while `open` runs, as the module documentation shows, and
        // nothing writes to `shared` after `new()` initialised it.
        let shared = unsafe { &(*container_of!(device, Self, inner)).shared };
        Some(shared.clone())
    }
}
