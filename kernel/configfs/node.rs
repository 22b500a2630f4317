// SPDX-License-Identifier: GPL-2.0

//! The memory of items and subsystems: what C has of them, what we have, and when it is freed.

use super::{
    operations::{Links, Type},
    DefaultGroups, ItemType,
};
use crate::{bindings, module};
use core::{
    any::Any,
    cell::Cell,
    ffi::CStr,
    iter,
    marker::PhantomData,
    mem::{self, offset_of, ManuallyDrop},
    ptr::{self, NonNull},
};
use kernel::{
    ffi::c_void,
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{Arc, Mutex},
    time::{delay::fsleep, Delta},
    types::{Opaque, ScopeGuard},
    ModuleMetadata,
};

/// A structure of C's, with what we have to say about it. The structure is a `config_group`, also for an
/// item that is no group, or a `configfs_subsystem`, which begins with one.
#[pin_data]
#[repr(C)]
struct Node<C> {
    #[pin]
    head: Head,
    #[pin]
    c: Opaque<C>,
}

/// Where the item is in its node, of either kind.
const ITEM: usize = offset_of!(Node<bindings::config_group>, c);
const _: () = {
    assert!(offset_of!(Node<bindings::configfs_subsystem>, c) == ITEM);
    assert!(offset_of!(bindings::configfs_subsystem, su_group) == 0);
    assert!(offset_of!(bindings::config_group, cg_item) == 0);
};

#[pin_data]
struct Head {
    /// The data, until the item is removed.
    #[pin]
    data: Mutex<Option<Arc<Data>>>,
    /// Where the data is, also when it is no longer here.
    address: *const c_void,
    links: Option<Links>,
    /// Valid for as long as the item.
    root: *const Root,
    place: Place,
    /// The first of the default groups, or null. They are chained by their `next`, and are freed with
    /// this item.
    default_groups: Cell<*mut bindings::config_item>,
    /// The next default group, or the next of the items put aside, or null.
    next: Cell<*mut bindings::config_item>,
}

type Data = dyn Any + Send + Sync;

/// What an item is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the subsystem itself, or comes with it.
    Top,
    /// It was made by mkdir(2).
    Made,
    /// It comes with an item that was.
    Below,
}

impl<C> Node<C> {
    /// # Safety
    ///
    /// `C` must be one of the two structures that a node can have.
    #[inline]
    unsafe fn new<T: ItemType>(
        name: &CStr,
        data: Arc<T>,
        root: *const Root,
        place: Place,
    ) -> impl PinInit<Self, Error> + use<'_, T, C> {
        let head = pin_init!(Head {
            address: Arc::as_ptr(&data).cast(),
            data <- new_mutex!(Some(data as Arc<Data>), "configfs item"),
            links: if T::HAS_ALLOW_LINK {
                Some(Links::of::<T>())
            } else {
                None
            },
            root,
            place,
            default_groups: Cell::new(ptr::null_mut()),
            next: Cell::new(ptr::null_mut()),
        });
        let c = Opaque::try_ffi_init(move |slot: *mut C| {
            let group = slot.cast::<bindings::config_group>();
            // SAFETY: The slot may be written to. Both structures may be zero, and begin with a
            // `config_group`. The type is for items with a `T`, as this one. The name is copied.
            let name = unsafe {
                slot.write_bytes(0, 1);
                bindings::config_group_init_type_name(group, name.as_char_ptr(), Type::<T>::TYPE);
                (*group).cg_item.ci_name
            };
            // C does not say that there was no memory for it.
            if name.is_null() {
                return Err(ENOMEM);
            }
            Ok(())
        });
        try_pin_init!(Self { head <- head, c <- c })
    }
}

/// A borrowed item, which is one of ours.
///
/// # Invariants
///
/// It is the item of a [`Node`] that is valid during `'a`.
#[derive(Clone, Copy)]
pub(super) struct ItemRef<'a>(NonNull<bindings::config_item>, PhantomData<&'a Head>);

impl<'a> ItemRef<'a> {
    /// # Safety
    ///
    /// `item` must be one of ours, and valid during `'a`.
    #[inline]
    pub(super) unsafe fn from_raw(item: *mut bindings::config_item) -> Self {
        // INVARIANT: As the caller promises.
        //
        // SAFETY: What is valid is not null.
        Self(unsafe { NonNull::new_unchecked(item) }, PhantomData)
    }

    #[inline]
    pub(super) fn as_ptr(self) -> *mut bindings::config_item {
        self.0.as_ptr()
    }

    /// The group that it is, or that it could be.
    #[inline]
    pub(super) fn as_group(self) -> *mut bindings::config_group {
        self.as_ptr().cast()
    }

    #[inline]
    fn head(self) -> &'a Head {
        // SAFETY: By the type invariants.
        unsafe { self.0.byte_sub(ITEM).cast().as_ref() }
    }

    #[inline]
    pub(super) fn root(self) -> &'a Root {
        // SAFETY: It is valid for as long as the item.
        unsafe { &*self.head().root }
    }

    #[inline]
    pub(super) fn place(self) -> Place {
        self.head().place
    }

    #[inline]
    pub(super) fn links(self) -> Option<Links> {
        self.head().links
    }

    /// A reference to the data. `ENOENT`: the item has been removed. `EINVAL`: it is of another type.
    #[inline]
    pub(super) fn data<T: ItemType>(self) -> Result<Arc<T>> {
        let data = self.head().data.lock().clone().ok_or(ENOENT)?;
        if !(*data).is::<T>() {
            return Err(EINVAL);
        }
        // SAFETY: It was an `Arc<T>` before it became an `Arc<Data>`.
        Ok(unsafe { Arc::from_raw(Arc::into_raw(data).cast()) })
    }

    /// Where the data is, or was.
    #[inline]
    pub(super) fn address(self) -> *const c_void {
        self.head().address
    }

    /// Gives up the data of this item, and of its default groups.
    #[inline]
    fn clear(self) {
        let data = self.head().data.lock().take();
        drop(data);
        self.default_groups().for_each(Self::clear);
    }

    /// Whether the one reference to this item is ours, and so for each of its default groups.
    #[inline]
    fn is_idle(self) -> bool {
        let item = self.as_ptr();
        // SAFETY: The item is valid. Its count may change at any time, hence the volatile read.
        let count = unsafe { (&raw const (*item).ci_kref.refcount.refs.counter).read_volatile() };
        count == 1 && self.default_groups().all(Self::is_idle)
    }

    /// Adds a default group to this item, which must not have been registered yet.
    #[inline]
    pub(super) fn add_default_group(self, group: Owned) {
        let group = group.into_item();
        // SAFETY: Both are valid groups, and nobody else uses them yet.
        unsafe {
            bindings::list_add_tail(
                &raw mut (*group.as_group()).group_entry,
                &raw mut (*self.as_group()).default_groups,
            )
        };
        let first = self.head().default_groups.replace(group.as_ptr());
        group.head().next.set(first);
    }

    #[inline]
    fn default_groups(self) -> impl Iterator<Item = ItemRef<'a>> {
        let at = |group: *mut bindings::config_item| {
            // INVARIANT: What is in the chain is valid for as long as this item.
            NonNull::new(group).map(|group| ItemRef(group, PhantomData))
        };
        let first = at(self.head().default_groups.get());
        iter::successors(first, move |group| at(group.head().next.get()))
    }

    /// Adds the default groups that its data, which is a `T`, wants. It must be new.
    #[inline]
    fn populate<T: ItemType>(self) -> Result {
        if T::HAS_DEFAULT_GROUPS {
            let mut groups = DefaultGroups { parent: self };
            self.data::<T>()?.default_groups(&mut groups)?;
        }
        Ok(())
    }

    /// # Safety
    ///
    /// The one reference to this item must be ours, and so for each of its default groups. It must not
    /// be used again but to free its node.
    #[inline]
    unsafe fn release(self) {
        let mut next = self.head().default_groups.get();
        while let Some(group) = NonNull::new(next) {
            // INVARIANT: The reference to the group, which came to this item, is ours now.
            let group = Owned(group);
            next = group.as_item().head().next.get();
        }
        // SAFETY: Gives up the one reference. That frees the name and leaves the rest to us, as there is
        // no `release` in C's sense.
        unsafe { bindings::config_item_put(self.as_ptr()) };
    }
}

/// An item, other than a subsystem, that nobody but us has.
///
/// # Invariants
///
/// It is the item of a `Node<config_group>` in a box of its own. The one reference to it is ours, and
/// so for each of its default groups.
pub(super) struct Owned(NonNull<bindings::config_item>);

impl Owned {
    #[inline]
    pub(super) fn new<T: ItemType>(
        name: &CStr,
        data: Arc<T>,
        root: &Root,
        place: Place,
    ) -> Result<Self> {
        // SAFETY: This is one of the two structures.
        let node = unsafe { Node::<bindings::config_group>::new(name, data, root, place) };
        let node = KBox::pin_init(node, GFP_KERNEL)?;
        // SAFETY: It stays where it is.
        let node = NonNull::from(KBox::leak(unsafe { Pin::into_inner_unchecked(node) }));
        // INVARIANT: It was just made, with one reference, and has no default groups yet. Should one of
        // them fail, it is dropped with the others.
        //
        // SAFETY: This is within the node.
        let owned = Self(unsafe { node.byte_add(ITEM) }.cast());
        owned.as_item().populate::<T>()?;
        Ok(owned)
    }

    #[inline]
    fn as_item(&self) -> ItemRef<'_> {
        ItemRef(self.0, PhantomData)
    }

    /// Leaves it to whoever gets the result.
    #[inline]
    pub(super) fn into_item<'a>(self) -> ItemRef<'a> {
        // INVARIANT: It is valid until it is made an `Owned` again.
        ItemRef(ManuallyDrop::new(self).0, PhantomData)
    }
}

impl Drop for Owned {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe {
            self.as_item().release();
            let node = self.0.byte_sub(ITEM).cast::<Node<bindings::config_group>>();
            drop(KBox::from_raw(node.as_ptr()));
        }
    }
}

/// A subsystem, and what is common to all its items.
#[pin_data]
pub(super) struct Root {
    #[pin]
    state: Mutex<State>,
    #[pin]
    node: Node<bindings::configfs_subsystem>,
}

struct State {
    /// No further items are made.
    closed: bool,
    /// How many items there are that mkdir(2) made.
    items: usize,
    /// The first of the items put aside, or null. They are chained by their `next`.
    aside: *mut bindings::config_item,
}

impl Root {
    #[inline]
    fn item(&self) -> ItemRef<'_> {
        // SAFETY: This is within the node.
        let item = unsafe { NonNull::from(&self.node).byte_add(ITEM) };
        // INVARIANT: It is the item of a node that is borrowed.
        ItemRef(item.cast(), PhantomData)
    }

    #[inline]
    pub(super) fn subsystem(&self) -> *mut bindings::configfs_subsystem {
        self.item().as_ptr().cast()
    }

    /// Counts one more item, if there may be one more, and uncounts it when the result is dropped.
    #[inline]
    pub(super) fn enter<M: ModuleMetadata>(
        &self,
    ) -> Result<ScopeGuard<&Self, impl FnOnce(&Self) + use<'_, M>>> {
        let live = bindings::module_state_MODULE_STATE_LIVE;
        if module::state::<M>().is_some_and(|state| state != live) {
            return Err(ENXIO);
        }
        let mut state = self.state.lock();
        if state.closed {
            return Err(ENXIO);
        }
        state.items += 1;
        Ok(ScopeGuard::new_with_data(self, Self::leave))
    }

    #[inline]
    pub(super) fn leave(&self) {
        self.state.lock().items -= 1;
    }

    /// Forbids further items. Returns whether there are none.
    #[inline]
    pub(super) fn close(&self) -> bool {
        let mut state = self.state.lock();
        state.closed = true;
        state.items == 0
    }

    /// Takes the data from an item that has been removed, and keeps the item until nobody else uses it.
    ///
    /// To be called under the subsystem's mutex.
    #[inline]
    pub(super) fn put_aside(&self, item: ItemRef<'_>) {
        item.clear();
        let mut state = self.state.lock();
        item.head().next.set(state.aside);
        state.aside = item.as_ptr();
    }

    /// Frees the items that were put aside, and that nobody else uses any more. Returns whether these
    /// were all.
    ///
    /// To be called under the subsystem's mutex, or when nobody else uses the subsystem.
    #[inline]
    pub(super) fn sweep(&self) -> bool {
        let mut next = mem::replace(&mut self.state.lock().aside, ptr::null_mut());
        let mut busy = ptr::null_mut();
        while let Some(item) = NonNull::new(next) {
            // INVARIANT: What was put aside is valid until it is freed here.
            let at = ItemRef(item, PhantomData);
            next = at.head().next.get();
            if at.is_idle() {
                // INVARIANT: It has been removed, so nobody else can come to have a reference.
                drop(Owned(item));
            } else {
                at.head().next.set(busy);
                busy = at.as_ptr();
            }
        }
        self.state.lock().aside = busy;
        busy.is_null()
    }
}

/// A subsystem that is not registered.
///
/// # Invariants
///
/// It is in a box of its own, and its mutex is initialised.
pub(super) struct OwnedRoot(NonNull<Root>);

impl OwnedRoot {
    #[inline]
    pub(super) fn new<T: ItemType>(name: &CStr, data: Arc<T>) -> Result<Self> {
        let state = State {
            closed: false,
            items: 0,
            aside: ptr::null_mut(),
        };
        let root = KBox::pin_init(
            try_pin_init!(&this in Root {
                state <- new_mutex!(state, "configfs items"),
                // SAFETY: This is one of the two structures.
                node <- unsafe { Node::new(name, data, this.as_ptr(), Place::Top) },
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: It stays where it is.
        let root = NonNull::from(KBox::leak(unsafe { Pin::into_inner_unchecked(root) }));
        // SAFETY: It is in a box. Nobody uses the mutex yet, and it stays where it is.
        unsafe {
            bindings::__mutex_init(
                &raw mut (*root.as_ref().subsystem()).su_mutex,
                c"configfs subsystem".as_char_ptr(),
                static_lock_class!().as_ptr(),
            )
        };
        // INVARIANT: As was just seen to. Should a default group fail, it is dropped with the others.
        let root = Self(root);
        root.get().item().populate::<T>()?;
        Ok(root)
    }

    #[inline]
    pub(super) fn get(&self) -> &Root {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for OwnedRoot {
    #[inline]
    fn drop(&mut self) {
        let root = self.get();
        let item = root.item();
        item.clear();
        // A symlink(2) on its way out may have a reference: see the module documentation.
        while !(root.sweep() && item.is_idle()) {
            fsleep(Delta::from_millis(1));
        }
        // SAFETY: Nobody else has a reference, or can get one, or uses the mutex. By the type invariants
        // it is in a box, and the mutex is initialised.
        unsafe {
            bindings::mutex_destroy(&raw mut (*root.subsystem()).su_mutex);
            item.release();
            drop(KBox::from_raw(self.0.as_ptr()));
        }
    }
}
