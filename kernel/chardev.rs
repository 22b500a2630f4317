// SPDX-License-Identifier: GPL-2.0

//! Character devices with a range of numbers of their own.
//!
//! C header: [`include/linux/cdev.h`](srctree/include/linux/cdev.h)
//!
//! The major number is assigned by the kernel, and no node is made: the user makes it, by mknod(1)
//! with the number that [`Registration::major`] returns. A device whose node is to appear by itself
//! is better off as a [`misc`](crate::misc) device.
//!
//! Not supported:
//!
//! - A fixed major number.
//! - `struct class` and `struct device`, hence nodes in devtmpfs and events to udev.
//! - More than 16 registrations at a time in one module.
//! - Telling the minor numbers of one registration apart.
//!
//! # How an open finds its device
//!
//! An open may race with the drop of the registration, and must neither find freed memory nor the
//! state of another device that has come to have the same number. Storing the state next to the
//! `struct cdev` would not do: the kernel may hold the cdev long after `cdev_del()`, and its release
//! would have to call into the module, which may be gone by then.
//!
//! So the cdev belongs to the kernel alone (`cdev_alloc()`), and this file has a small table of what
//! is registered. `chrdev_open()` holds a reference to `inode->i_cdev` while it calls `open`, so the
//! address of that cdev cannot be reused, and is in the table only if its registration is not being
//! dropped. The table is read under RCU, and a reference to the state is taken there.
//!
//! An inode may lead to the cdev, and the cdev to its owner, until the cdev is released; then the
//! owner must still be there. The release can come long after the drop, as with
//! `CONFIG_DEBUG_KOBJECT_RELEASE`, which puts it off by seconds. Therefore the module's kobject is
//! made the parent of the cdev: `free_module()` waits for that kobject, and the cdev holds it until
//! it has been released.

use crate::{
    bindings,
    file::{FileOperations, Registry, Settle, VTable},
    module,
};
use core::ptr::{self, NonNull};
use kernel::{
    error::to_result,
    module::this_module,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            ordering::{Acquire, Full, Release},
            Atomic,
        },
        rcu::{self, synchronize_rcu},
        Arc,
    },
};

/// What the table has about one registration.
#[repr(C)]
struct Entry<S> {
    cdev: *mut bindings::cdev,
    shared: Arc<S>,
}

/// A place in the table: null, or a pointer to some `Entry<S>`.
///
/// It points to a valid entry until an RCU grace period after the pointer was taken out; and the
/// cdev of an entry is valid for as long as the pointer is in. `S` is the `Shared` of the type whose
/// operations that cdev has.
type Slot = Atomic<*mut Entry<()>>;

/// Everything that is registered in this module.
static TABLE: [Slot; 16] = [const { Atomic::new(ptr::null_mut()) }; 16];

/// An entry that is in the table.
struct Listed<S: 'static> {
    slot: &'static Slot,
    entry: NonNull<Entry<S>>,
}

impl<S> Listed<S> {
    /// Fails with `ENOSPC` if the table is full, and with `ENOMEM`.
    fn new(cdev: &Cdev, shared: Arc<S>) -> Result<Self> {
        let entry = KBox::new(
            Entry {
                cdev: cdev.ptr.as_ptr(),
                shared,
            },
            GFP_KERNEL,
        )?;
        let entry = KBox::into_raw(entry);
        let slot = TABLE
            .iter()
            .find(|slot| slot.cmpxchg(ptr::null_mut(), entry.cast(), Full).is_ok());
        match slot {
            Some(slot) => Ok(Self {
                slot,
                // SAFETY: A box is not null.
                entry: unsafe { NonNull::new_unchecked(entry) },
            }),
            None => {
                // SAFETY: It came from `into_raw()` above, and is in no slot.
                drop(unsafe { KBox::from_raw(entry) });
                Err(ENOSPC)
            }
        }
    }
}

impl<S> Drop for Listed<S> {
    fn drop(&mut self) {
        self.slot.store(ptr::null_mut(), Release);
        // Until everybody who may have loaded the pointer has left `find()`.
        synchronize_rcu();
        // SAFETY: It came from `into_raw()` in `new()`, and nobody has the pointer any more.
        drop(unsafe { KBox::from_raw(self.entry.as_ptr()) });
    }
}

/// Finds the state of the device that `cdev` belongs to, unless it is being dropped.
///
/// # Safety
///
/// The caller must hold a reference to `cdev`. If it is in the table, its entry must be an
/// `Entry<S>`.
unsafe fn find<S>(cdev: *mut bindings::cdev) -> Option<Arc<S>> {
    let _rcu = rcu::read_lock();
    for slot in &TABLE {
        let entry = slot.load(Acquire);
        // SAFETY: An entry that was in the table is valid until the end of the read-side critical
        // section. Its first field is the same whatever its type.
        if !entry.is_null() && unsafe { (*entry).cdev } == cdev {
            // The cdev we were given cannot be freed, and that of the entry was not when it was
            // loaded. Their addresses are the same, so they are one.
            //
            // SAFETY: As above, and the caller promises the type.
            return Some(unsafe { (*entry.cast::<Entry<S>>()).shared.clone() });
        }
    }
    None
}

/// A range of device numbers.
struct Region {
    first: bindings::dev_t,
    minors: u32,
}

impl Region {
    #[inline]
    fn new(name: &str, minors: u32) -> Result<Self> {
        // C takes a major number for it, and does not find it again to give it back.
        if minors == 0 {
            return Err(EINVAL);
        }
        let name = CString::try_from_fmt(fmt!("{name}"))?;
        let mut first = 0;
        // SAFETY: Both pointers are valid; the name is copied.
        to_result(unsafe {
            bindings::alloc_chrdev_region(&mut first, 0, minors, name.as_char_ptr())
        })?;
        Ok(Self { first, minors })
    }
}

impl Drop for Region {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: This is the range that was allocated in `new()`.
        unsafe { bindings::unregister_chrdev_region(self.first, self.minors) };
    }
}

/// A reference to a `struct cdev` that belongs to the kernel.
struct Cdev {
    ptr: NonNull<bindings::cdev>,
    added: bool,
}

impl Cdev {
    #[inline]
    fn new(owner: *mut bindings::module, ops: &'static bindings::file_operations) -> Result<Self> {
        // SAFETY: It may be called at any time.
        let ptr = NonNull::new(unsafe { bindings::cdev_alloc() }).ok_or(ENOMEM)?;
        // SAFETY: The cdev is valid, and nobody else has it yet.
        unsafe {
            (*ptr.as_ptr()).owner = owner;
            (*ptr.as_ptr()).ops = ops;
        }
        Ok(Self { ptr, added: false })
    }

    /// Makes the device available under the numbers of `region`.
    #[inline]
    fn add(&mut self, region: &Region) -> Result {
        let cdev = self.ptr.as_ptr();
        // SAFETY: The cdev is valid, and not added yet, so nobody else uses it.
        let owner = unsafe { (*cdev).owner };
        // SAFETY: The module is there, as its code runs.
        if let Some(kobject) = unsafe { module::kobject(owner) }? {
            // SAFETY: The cdev is valid and not added yet. The module is there, and so is its kobject.
            unsafe { bindings::cdev_set_parent(cdev, kobject) };
        }
        // SAFETY: The cdev is valid and initialised, and the numbers are ours.
        to_result(unsafe { bindings::cdev_add(cdev, region.first, region.minors) })?;
        self.added = true;
        Ok(())
    }
}

impl Drop for Cdev {
    #[inline]
    fn drop(&mut self) {
        let cdev = self.ptr.as_ptr();
        if self.added {
            // SAFETY: The cdev was added, and this is the only call that deletes it. Gives up our
            // reference.
            unsafe { bindings::cdev_del(cdev) };
        } else {
            // Releasing a cdev gives up a reference to its parent, which only a successful
            // `cdev_add()` takes.
            //
            // SAFETY: The cdev is valid, and nobody else has it. Gives up our reference.
            unsafe {
                (*cdev).kobj.parent = ptr::null_mut();
                bindings::kobject_put(&raw mut (*cdev).kobj);
            }
        }
    }
}

/// A registered range of character devices.
///
/// Dropping it takes the device away: it can no longer be opened, and files that are open stay
/// usable. It sleeps, so it must not be dropped in atomic context.
// The fields are dropped in this order. The entry leaves the table before the cdev can be freed and
// its address be reused; the wait comes when no further open can begin.
pub struct Registration<T: FileOperations> {
    _listed: Listed<T::Shared>,
    _cdev: Cdev,
    region: Region,
    _settle: Settle<T::OwnerModule>,
}

// SAFETY: It owns a reference to a `T::Shared`, which is `Send` and `Sync`; the C functions may be
// called from any thread.
unsafe impl<T: FileOperations> Send for Registration<T> {}
// SAFETY: A shared reference gives access to the numbers only.
unsafe impl<T: FileOperations> Sync for Registration<T> {}

impl<T: FileOperations> Registration<T> {
    /// Registers a device under a major number that the kernel assigns, with the minor numbers from
    /// 0 to `minors - 1`. `/proc/devices` shows it as `name`, of which 63 bytes count.
    ///
    /// It can be opened once the module's `init` has succeeded; before, open(2) fails with `ENXIO`.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: no major number is free.
    /// - `EINVAL`: `minors` is 0 or more than there can be, or there is a NUL in the name.
    /// - `ENOSPC`: this module has 16 registrations already.
    /// - `ENXIO`: the parameters that the module is loaded with are being set.
    /// - `ENOMEM`.
    pub fn new(name: &str, minors: u32, shared: Arc<T::Shared>) -> Result<Self> {
        // Should one step fail, those before it are undone in the opposite order.
        let settle = Settle::new();
        let region = Region::new(name, minors)?;
        let mut cdev = Cdev::new(
            this_module::<T::OwnerModule>().as_ptr(),
            VTable::<T, Self>::build(),
        )?;
        let listed = Listed::new(&cdev, shared)?;
        cdev.add(&region)?;
        Ok(Self {
            _listed: listed,
            _cdev: cdev,
            region,
            _settle: settle,
        })
    }

    /// The major number that the kernel assigned.
    #[inline]
    pub fn major(&self) -> u32 {
        self.region.first >> bindings::MINORBITS
    }
}

// SAFETY: `find()` returns the state that was listed with the cdev through which the file is opened.
unsafe impl<T: FileOperations> Registry<T> for Registration<T> {
    unsafe fn shared(
        inode: *mut bindings::inode,
        _file: *mut bindings::file,
    ) -> Option<Arc<T::Shared>> {
        // SAFETY: The inode is that of the device, so `chrdev_open()` set this field, and it holds a
        // reference to the cdev while the open is in progress. bindgen numbers C's anonymous unions;
        // in another one there would be no such field.
        let cdev = unsafe { (*inode).__bindgen_anon_5.i_cdev };
        // SAFETY: The cdev led to the operations made for `T` and this type, which only `new()`
        // gives to a cdev; it lists that cdev with a `T::Shared`.
        unsafe { find(cdev) }
    }
}
