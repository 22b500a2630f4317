// SPDX-License-Identifier: GPL-2.0

//! configfs: directories that user space makes and removes, and whose files configure the kernel.
//!
//! C header: [`include/linux/configfs.h`](srctree/include/linux/configfs.h), documented in
//! [`Documentation/filesystems/configfs.rst`](srctree/Documentation/filesystems/configfs.rst)
//!
//! A *subsystem* is a directory at the top of configfs, made by a [`Subsystem`]. Below it, an *item* is
//! a directory that a user made by mkdir(2); an item that can hold further items is a *group*. What an
//! item is, and what can be done with it, is its [`ItemType`]: its attributes, the type of its children,
//! the groups that come with it, and the items it may link to. In Rust there is no item to be written
//! out: there is the data, in an [`Arc`], and this file makes the item that stands for it.
//!
//! Beyond what [`kernel::configfs`] has, there are items that are no groups, default groups, symbolic
//! links, binary attributes, and dependencies of the kernel on an item. The two do not mix.
//!
//! Not supported:
//!
//! - `disconnect_notify`, and walking the hierarchy: an item knows its data only. What it needs of its
//!   parent's data, `make` can give it.
//! - Attributes that some items of a type have and others do not (`is_visible`).
//! - Links in a subsystem's own directory or in its default groups, and links to these: they do not hold
//!   the module, as what mkdir(2) made does.
//! - Groups that come and go by themselves (`configfs_register_group()`).
//! - More than 32 attributes, or 8 binary attributes, of a type.
//! - Types, in one subsystem, that belong to different modules.
//!
//! # Why an item is never freed while the kernel uses it
//!
//! In C an item is freed by its `release`, when the last reference goes. As a rule that is within the
//! rmdir(2) that removes it, which holds the module. But symlink(2) takes references to the item that is
//! to hold the link, and to the target, and does not hold the module; and it holds no lock while it
//! looks the target up, which takes as long as a FUSE server likes. Meanwhile both items can be removed
//! and the module be unloaded. The last reference then goes in a module that is no more.
//!
//! So here no item has a `release`. The last reference is always our own:
//!
//! - When an item is removed, its data goes at once, and the item is put aside.
//! - Each later mkdir(2) and rmdir(2) in the subsystem frees those of the items put aside that nobody
//!   else refers to. Nobody can come to refer to one that has been removed, so that stays true.
//! - Dropping the [`Subsystem`] waits until it is true of all. Whoever gives up a reference that is not
//!   the last one, does not enter the module.
//!
//! The data is behind a lock, and each callback takes a reference to it first. One that comes after the
//! item was removed finds no data, and fails with `ENOENT`.
//!
//! # Why a subsystem is never unregistered while there are items in it
//!
//! `configfs_unregister_subsystem()` has no way to fail. Called with items still there, it prints an
//! error and leaves them behind, without the directory they are in. So:
//!
//! - Each item holds a reference to the module, which is not unloaded before it is removed. (configfs
//!   itself sees to that.)
//! - A module whose `init` fails after all is freed without a look at such references. So while it is
//!   not yet live, mkdir(2) fails with `ENXIO`; and then there is no item.
//! - A subsystem that is dropped in a live module first forbids further items. If there are some, it
//!   stays: see [`Subsystem`].
//!
//! # Open files
//!
//! An open attribute does not hold the module, unlike in most C users of configfs. It need not:
//! `configfs_unregister_subsystem()` and rmdir(2) wait for callbacks in flight, and afterwards reading
//! and writing fails with `ENOENT` before it gets to the module. And it must not: a reference that is
//! taken while `init` runs, and `init` then fails, would be given back to a module that has been freed.

mod node;
mod operations;

use crate::{attribute::Attribute, bindings, module::Hold};
use core::{
    ffi::CStr,
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit},
    ops::Deref,
    ptr,
};
use kernel::{
    error::{to_result, VTABLE_DEFAULT_ERROR},
    module::this_module,
    prelude::*,
    sync::Arc,
    ModuleMetadata, ThisModule,
};
use node::{ItemRef, Owned, OwnedRoot, Place};

/// What the items with data of this type are, and can do.
///
/// configfs holds locks while it calls these functions, and the callbacks of attributes, and while the
/// data of an item is dropped: to make or to drop a [`Subsystem`] there is a deadlock.
///
/// # Examples
///
/// A directory in which `mkdir` makes fans:
///
/// ```
/// use callgate_kernel::{
///     attribute::Attribute,
///     configfs::{Attributes, ItemType, NoItem, Subsystem},
/// };
/// use kernel::{
///     prelude::*,
///     sync::{
///         atomic::{ordering::Relaxed, Atomic},
///         Arc,
///     },
/// };
///
/// struct Fans;
///
/// #[vtable]
/// impl ItemType for Fans {
///     type Child = Fan;
///     type Target = NoItem;
///
///     fn make(&self, _name: &CStr) -> Result<Arc<Fan>> {
///         Ok(Arc::new(Fan { speed: Atomic::new(0) }, GFP_KERNEL)?)
///     }
/// }
///
/// struct Fan {
///     speed: Atomic<i32>,
/// }
///
/// #[vtable]
/// impl ItemType for Fan {
///     type Child = NoItem;
///     type Target = NoItem;
///
///     const ATTRIBUTES: Attributes<Self> = &[Attribute::new(
///         c"speed",
///         |fan, page| writeln!(page, "{}", fan.speed.load(Relaxed)),
///         |fan, text| {
///             fan.speed.store(text.parse()?, Relaxed);
///             Ok(())
///         },
///     )];
/// }
///
/// fn init() -> Result<Subsystem<Fans>> {
///     Subsystem::new(c"fans", Arc::new(Fans, GFP_KERNEL)?)
/// }
/// ```
#[vtable]
pub trait ItemType: Send + Sync + Sized + 'static {
    /// What mkdir(2) makes in such an item; [`NoItem`] if it makes nothing.
    type Child: ItemType;

    /// What such an item may link to; [`NoItem`] if to nothing.
    type Target: ItemType;

    /// The files of each such item. Their callbacks run at any time from when the item has appeared
    /// until it has been removed.
    const ATTRIBUTES: Attributes<Self> = &[];

    /// The files with binary contents.
    const BINARY_ATTRIBUTES: BinaryAttributes<Self> = &[];

    /// Makes the data of a child that is about to be called `name`. Without it, mkdir(2) fails with
    /// `EPERM`.
    ///
    /// Not called, and mkdir(2) fails with `ENXIO`, while the module is not yet live.
    fn make(&self, _name: &CStr) -> Result<Arc<Self::Child>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Is told that a child has been removed, or could not be made after all once `make` had given its
    /// data. There may be other references to its data, but its attributes are no longer called.
    fn drop_item(&self, _child: &Self::Child) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Adds the groups that are to be in such an item from the start, and go with it. rmdir(2) of one
    /// of them fails with `EPERM`.
    fn default_groups(&self, _groups: &mut DefaultGroups<'_>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Decides about a link to `target`. Without it, symlink(2) fails with `EPERM`; and with `EINVAL`,
    /// without a call, if the target is of another type.
    ///
    /// As long as the link is there, rmdir(2) of the target fails with `EBUSY`, and that of this item
    /// with `ENOTEMPTY`.
    fn allow_link(&self, _target: Arc<Self::Target>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Is told that a link has been removed, once for each that was allowed; also of one that was
    /// allowed and then could not be made.
    fn drop_link(&self, _target: &Self::Target) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// Attributes of the items whose data is a `T`. Their names must differ.
pub type Attributes<T> = &'static [Attribute<Item<T>>];

/// Binary attributes of the items whose data is a `T`.
pub type BinaryAttributes<T> = &'static [BinaryAttribute<Item<T>>];

/// The type of items that there are none of: for an [`ItemType`] without children, or without links.
pub enum NoItem {}

#[vtable]
impl ItemType for NoItem {
    type Child = NoItem;
    type Target = NoItem;
    type OwnerModule = NoItem;
}

impl ModuleMetadata for NoItem {
    const NAME: &'static CStr = c"";
    // It is in no module. Whoever takes it for the owner of anything else is stopped by the compiler.
    const THIS_MODULE: ThisModule = panic!("NoItem is in no module");
}

/// An item, as the callbacks of its attributes see it: its data, and what can be done with it there.
///
/// # Invariants
///
/// A callback of one of the attributes of `item` is running, and `item` is one of ours with data of the
/// type `T`.
pub struct Item<T> {
    data: Arc<T>,
    item: *mut bindings::config_item,
}

impl<T: ItemType> Item<T> {
    /// # Safety
    ///
    /// A callback of one of the attributes of `item` must be running, for as long as the result is
    /// used. `item` must be one of ours.
    #[inline]
    unsafe fn new(item: *mut bindings::config_item) -> Result<Self> {
        // SAFETY: As the caller promises.
        let data = unsafe { ItemRef::from_raw(item) }.data()?;
        // INVARIANT: As the caller promises, and the data is a `T`.
        Ok(Self { data, item })
    }

    /// Makes the kernel depend on this item: rmdir(2) fails with `EBUSY` until the result is dropped.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: it was not made by mkdir(2), so nobody can remove it anyway.
    /// - `ENOENT`: it is being removed.
    #[inline]
    pub fn depend(&self) -> Result<Dependency> {
        // SAFETY: It is one of ours, by the type invariants, and has not been removed, as that waits
        // for the callback.
        let item = unsafe { ItemRef::from_raw(self.item) };
        if item.place() != Place::Made {
            return Err(EINVAL);
        }
        // SAFETY: We are in a callback of this subsystem. The item has been linked into it by a mkdir(2)
        // that is done: before, its attributes could not be opened.
        to_result(unsafe {
            bindings::configfs_depend_item_unlocked(item.root().subsystem(), self.item)
        })?;
        // INVARIANT: The dependency was just added.
        Ok(Dependency(self.item))
    }
}

impl<T> Deref for Item<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

/// Keeps an item from being removed.
///
/// If it is leaked, the item cannot be removed any more, and the module not be unloaded.
///
/// # Invariants
///
/// The item has been depended on for this, and so is there.
#[must_use = "the item may be removed once this is dropped"]
pub struct Dependency(*mut bindings::config_item);

// SAFETY: It does not matter who gives up a dependency.
unsafe impl Send for Dependency {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl Sync for Dependency {}

impl Drop for Dependency {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::configfs_undepend_item(self.0) };
    }
}

/// Where [`ItemType::default_groups`] puts the groups.
pub struct DefaultGroups<'a> {
    parent: ItemRef<'a>,
}

impl DefaultGroups<'_> {
    /// Adds a group.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `name` cannot be that of a directory.
    /// - `ENAMETOOLONG`: it has more than 255 bytes.
    /// - `ENOMEM`.
    #[inline]
    pub fn add<T: ItemType>(&mut self, name: &CStr, data: Arc<T>) -> Result {
        check_name(name)?;
        let place = match self.parent.place() {
            Place::Top => Place::Top,
            Place::Made | Place::Below => Place::Below,
        };
        let group = Owned::new(name, data, self.parent.root(), place)?;
        self.parent.add_default_group(group);
        Ok(())
    }
}

/// The limit that the VFS has for the name of a file.
const NAME_MAX: usize = 255;

/// Whether something in a directory can be called `name`.
#[inline]
const fn is_name(name: &CStr) -> bool {
    let name = name.to_bytes();
    let mut n = 0;
    while n < name.len() {
        if name[n] == b'/' {
            return false;
        }
        n += 1;
    }
    !matches!(name, b"" | b"." | b"..")
}

/// Whether a directory can be called `name`. The VFS has seen to it for those that a user makes.
#[inline]
fn check_name(name: &CStr) -> Result {
    if !is_name(name) {
        return Err(EINVAL);
    }
    if name.to_bytes().len() > NAME_MAX {
        return Err(ENAMETOOLONG);
    }
    Ok(())
}

/// A directory at the top of configfs.
///
/// It appears when this is made. It can be filled once the module's `init` has succeeded: before,
/// mkdir(2) fails with `ENXIO`.
///
/// Dropping this takes the directory away. It waits for callbacks that are running, so to do it in a
/// callback of configfs is a deadlock, whichever subsystem that belongs to.
///
/// It cannot be taken away while there are items in it that a user has made. That never comes to pass
/// when the module is unloaded, which such an item prevents, nor when its `init` fails. In a live module
/// it can. Then the directory stays for good, with a warning in the log: its items go on working until
/// they are removed, no others can be made, and the module can no longer be unloaded.
pub struct Subsystem<T: ItemType> {
    root: ManuallyDrop<OwnedRoot>,
    _type: PhantomData<T>,
    hold: ManuallyDrop<Hold<T::OwnerModule>>,
}

// SAFETY: It owns data that is `Send` and `Sync`; the C functions may be called from any thread.
unsafe impl<T: ItemType> Send for Subsystem<T> {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl<T: ItemType> Sync for Subsystem<T> {}

impl<T: ItemType> Subsystem<T> {
    /// Makes the subsystem `name`, whose own data is `data`.
    ///
    /// # Errors
    ///
    /// - `EEXIST`: there is one of that name.
    /// - `EINVAL`: `name` cannot be that of a directory.
    /// - `ENAMETOOLONG`: it has more than 255 bytes.
    /// - `ENOMEM`.
    /// - What [`ItemType::default_groups`] fails with.
    pub fn new(name: &CStr, data: Arc<T>) -> Result<Self> {
        check_name(name)?;
        let hold = Hold::new()?;
        let root = OwnedRoot::new(name, data)?;
        // SAFETY: Group and mutex are initialised. They stay until the subsystem has been unregistered;
        // or, should this fail, until `root` is dropped and nobody uses them any more.
        to_result(unsafe { bindings::configfs_register_subsystem(root.get().subsystem()) })?;
        Ok(Self {
            root: ManuallyDrop::new(root),
            _type: PhantomData,
            hold: ManuallyDrop::new(hold),
        })
    }
}

impl<T: ItemType> Drop for Subsystem<T> {
    fn drop(&mut self) {
        let root = self.root.get();
        if !root.close() {
            let module = <T::OwnerModule as ModuleMetadata>::NAME;
            pr_warn!("{module}: a subsystem of configfs is in use, so it stays for good\n");
            // SAFETY: The module is there, as its code runs.
            unsafe { bindings::__module_get(this_module::<T::OwnerModule>().as_ptr()) };
            return;
        }
        // SAFETY: `new()` registered it, and this is the only call that unregisters it. There are no
        // items in it, and there will be none. Who has just removed the last one is still within
        // rmdir(2), and holds the lock of the directory it was in, for which this waits.
        unsafe { bindings::configfs_unregister_subsystem(root.subsystem()) };
        // SAFETY: It is not used again.
        unsafe { ManuallyDrop::drop(&mut self.root) };
        // SAFETY: As above.
        unsafe { ManuallyDrop::drop(&mut self.hold) };
    }
}

/// A file of a `T` with contents that are more, or other, than a page of text.
///
/// It is read as a whole, when it is first read after it was opened. It is written as a whole too, when
/// it is closed: configfs collects what is written, and hands it on then. So nobody learns whether what
/// was written makes sense; an attribute of text can tell. close(2) itself always succeeds.
///
/// A write(2) that fails because the user's memory is not there counts nevertheless, with zeros for what
/// could not be copied: configfs has no way to take it back.
pub struct BinaryAttribute<T: ?Sized> {
    name: &'static CStr,
    mode: u16,
    max_size: usize,
    read: Option<ReadBinary<T>>,
    write: Option<WriteBinary<T>>,
}

/// Puts the contents together. It is called twice for each time the file is read: first to find the
/// size, then for the contents.
pub type ReadBinary<T> = fn(&T, &mut Contents<'_>) -> Result;

/// Takes new contents, which are not empty.
pub type WriteBinary<T> = fn(&T, &[u8]);

impl<T: ?Sized> BinaryAttribute<T> {
    /// One that anybody reads, and root writes: mode 0644.
    ///
    /// Who reads or writes more than `max_size` bytes gets `EFBIG`.
    pub const fn new(
        name: &'static CStr,
        max_size: usize,
        read: ReadBinary<T>,
        write: WriteBinary<T>,
    ) -> Self {
        Self::with(name, 0o644, max_size, Some(read), Some(write))
    }

    /// One that anybody reads, and nobody writes: mode 0444.
    pub const fn read_only(name: &'static CStr, max_size: usize, read: ReadBinary<T>) -> Self {
        Self::with(name, 0o444, max_size, Some(read), None)
    }

    /// One that root writes, and nobody reads: mode 0200.
    pub const fn write_only(name: &'static CStr, max_size: usize, write: WriteBinary<T>) -> Self {
        Self::with(name, 0o200, max_size, None, Some(write))
    }

    const fn with(
        name: &'static CStr,
        mode: u16,
        max_size: usize,
        read: Option<ReadBinary<T>>,
        write: Option<WriteBinary<T>>,
    ) -> Self {
        // 0 would be no limit, and configfs keeps it in an `int`.
        assert!(0 < max_size && max_size <= i32::MAX as usize);
        Self {
            name,
            mode,
            max_size,
            read,
            write,
        }
    }
}

/// The contents that a [`ReadBinary`] puts together.
pub struct Contents<'a> {
    /// Where they go; `None` if only their size is wanted.
    bytes: Option<&'a mut [MaybeUninit<u8>]>,
    len: usize,
}

impl Contents<'_> {
    /// Appends these bytes.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: the contents have become longer since their size was asked for. To be handed on: who
    /// reads can try again.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> Result {
        let end = self.len.checked_add(bytes.len()).ok_or(EFBIG)?;
        if let Some(room) = &mut self.bytes {
            let room = room.get_mut(self.len..end).ok_or(EAGAIN)?;
            // SAFETY: Both have this length, and what is borrowed mutably overlaps with nothing.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr().cast(), bytes.len())
            };
        }
        self.len = end;
        Ok(())
    }
}
