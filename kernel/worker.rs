// SPDX-License-Identifier: GPL-2.0

//! A function that the kernel's threads run, for as long as its owner lives.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)
//!
//! [`kernel::workqueue`] has work items as well. Each holds a reference to itself while it is queued, so
//! it ends when it has run, not when its owner goes; and the end of the function may still run when the
//! module is unloaded. A [`Worker`] belongs to its owner, and dropping it waits until the function is over.
//!
//! Not supported: a work queue of one's own, delays, and a choice of CPU.

use crate::{bindings, module::Hold};
use kernel::{container_of, ffi::c_int, prelude::*, sync::LockClassKey, types::Opaque};

/// What a [`Worker`] does.
#[vtable]
pub trait Work: Send + Sync + 'static {
    /// Does it, in process context, and returns whether there is more to do; then this is called again,
    /// after others had their turn. Two calls never run at the same time.
    fn work(&self) -> bool;
}

/// Something that does its work when it is told to.
///
/// Dropping it waits for the work that is being done, so it sleeps; and must not be done by that work.
///
/// # Invariants
///
/// `item` is initialised, and its function is `Self::run`.
#[pin_data(PinnedDrop)]
pub struct Worker<T: Work> {
    #[pin]
    item: Opaque<bindings::work_struct>,
    #[pin]
    inner: T,
    _hold: Hold<T::OwnerModule>,
}

// SAFETY: The functions that take a work item may be called from any thread, and `T` is `Send`.
unsafe impl<T: Work> Send for Worker<T> {}
// SAFETY: As above, and `T` is `Sync`.
unsafe impl<T: Work> Sync for Worker<T> {}

impl<T: Work> Worker<T> {
    /// A worker with nothing to do.
    ///
    /// # Errors
    ///
    /// `ENXIO`, while the parameters that the module is loaded with are set.
    #[inline]
    pub fn new(
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
        inner: impl PinInit<T>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            item <- Opaque::ffi_init(move |slot| {
                // SAFETY: The slot may be written to, and the item stays there until it is dropped.
                unsafe {
                    bindings::init_work_with_key(
                        slot,
                        Some(Self::run),
                        false,
                        name.as_char_ptr(),
                        key.as_ptr(),
                    )
                }
            }),
            inner <- inner,
            _hold: Hold::new()?,
        })
    }

    /// Has the work done, soon and by another thread. If it is being done now, it is done again.
    #[inline]
    pub fn start(self: Pin<&Self>) {
        // SAFETY: The queue is there from the start of the kernel on. The item is initialised, and is
        // pinned until it has been dropped, which waits for the function and lets it start no more. If it is
        // never dropped, it stays; so does what `T` has, as that is `'static`, and the module, by the hold.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_wq,
                self.item.get(),
            )
        };
    }

    /// # Safety
    ///
    /// `item` must be that of a `Self` which is pinned, and which waits for this function if it is dropped.
    unsafe extern "C" fn run(item: *mut bindings::work_struct) {
        let item = item.cast::<Opaque<bindings::work_struct>>();
        // SAFETY: As the caller promises, it is that field of a valid `Self`, and pinned.
        let this = unsafe { Pin::new_unchecked(&*container_of!(item, Self, item)) };
        if this.inner.work() {
            this.start();
        }
    }
}

impl<T: Work> core::ops::Deref for Worker<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

#[pinned_drop]
impl<T: Work> PinnedDrop for Worker<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The item is initialised, by the type invariants. From here on it cannot be queued.
        unsafe { bindings::disable_work_sync(self.item.get()) };
    }
}
