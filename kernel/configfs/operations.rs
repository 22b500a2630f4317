// SPDX-License-Identifier: GPL-2.0

//! What configfs calls: the tables that C wants of an [`ItemType`], and the functions in them.

use super::{
    is_name,
    node::{ItemRef, Owned, Place},
    Contents, Item, ItemType,
};
use crate::bindings;
use core::{
    ffi::CStr,
    marker::PhantomData,
    mem,
    ptr::{self, NonNull},
    slice,
};
use kernel::{
    ffi::{c_char, c_int, c_void},
    module::this_module,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::Arc,
};

/// The `config_item_type` of the items whose data is a `T`.
pub(super) struct Type<T>(PhantomData<T>);

/// How many attributes, and how many binary attributes, a type can have.
const MAX: usize = 32;
const MAX_BINARY: usize = 8;

/// How much text configfs lets an attribute have, as `fs/configfs/file.c` has it.
const SIMPLE_ATTR_SIZE: usize = 4096;

/// What a function gives for each of these numbers as its constant parameter.
macro_rules! each {
    ($function:ident: $($n:literal)*) => { [$(Self::$function::<$n>()),*] };
}

impl<T: ItemType> Type<T> {
    pub(super) const TYPE: &'static bindings::config_item_type = &bindings::config_item_type {
        ct_owner: this_module::<T::OwnerModule>().as_ptr(),
        ct_item_ops: if T::HAS_ALLOW_LINK {
            &raw const LINKING
        } else {
            &raw const PLAIN
        },
        ct_group_ops: if T::HAS_MAKE {
            Self::GROUP_OPERATIONS
        } else {
            ptr::null()
        },
        ct_attrs: Self::LIST.as_ptr().cast_mut(),
        ct_bin_attrs: Self::BINARY_LIST.as_ptr().cast_mut(),
    };

    /// Whether there can be directories in such an item.
    const IS_GROUP: bool = T::HAS_MAKE || T::HAS_DEFAULT_GROUPS;

    const GROUP_OPERATIONS: &'static bindings::configfs_group_operations =
        &bindings::configfs_group_operations {
            make_item: if Type::<T::Child>::IS_GROUP {
                None
            } else {
                Some(Self::make_item)
            },
            make_group: if Type::<T::Child>::IS_GROUP {
                Some(Self::make_group)
            } else {
                None
            },
            drop_item: Some(Self::drop_item),
            ..pin_init::zeroed()
        };

    /// configfs tells `show` and `store` the item, and not the attribute. So each attribute has a pair
    /// of functions of its own, which knows its number.
    const ATTRIBUTES: &'static [bindings::configfs_attribute; MAX] = &each!(attribute:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);

    const BINARY_ATTRIBUTES: &'static [bindings::configfs_bin_attribute; MAX_BINARY] =
        &each!(binary_attribute: 0 1 2 3 4 5 6 7);

    /// Pointers to those that there are, and a null.
    const LIST: &'static [*mut bindings::configfs_attribute; MAX + 1] = &{
        assert!(T::ATTRIBUTES.len() <= MAX, "too many attributes");
        let mut list = [ptr::null_mut(); MAX + 1];
        let mut n = 0;
        while n < T::ATTRIBUTES.len() {
            list[n] = (&raw const Self::ATTRIBUTES[n]).cast_mut();
            n += 1;
        }
        list
    };

    const BINARY_LIST: &'static [*mut bindings::configfs_bin_attribute; MAX_BINARY + 1] = &{
        assert!(
            T::BINARY_ATTRIBUTES.len() <= MAX_BINARY,
            "too many binary attributes"
        );
        let mut list = [ptr::null_mut(); MAX_BINARY + 1];
        let mut n = 0;
        while n < T::BINARY_ATTRIBUTES.len() {
            list[n] = (&raw const Self::BINARY_ATTRIBUTES[n]).cast_mut();
            n += 1;
        }
        list
    };

    /// The attribute `N`, or nothing if there are not so many.
    const fn attribute<const N: usize>() -> bindings::configfs_attribute {
        if N >= T::ATTRIBUTES.len() {
            return pin_init::zeroed();
        }
        let attribute = &T::ATTRIBUTES[N];
        assert!(is_name(attribute.name()), "no name for a file");
        bindings::configfs_attribute {
            ca_name: as_char_ptr_in_const_context(attribute.name()),
            // It must not hold the module: see the module documentation.
            ca_owner: ptr::null_mut(),
            ca_mode: attribute.mode(),
            show: if attribute.is_readable() {
                Some(Self::show::<N>)
            } else {
                None
            },
            store: if attribute.is_writable() {
                Some(Self::store::<N>)
            } else {
                None
            },
        }
    }

    /// The binary attribute `N`, or nothing if there are not so many.
    const fn binary_attribute<const N: usize>() -> bindings::configfs_bin_attribute {
        if N >= T::BINARY_ATTRIBUTES.len() {
            return pin_init::zeroed();
        }
        let attribute = &T::BINARY_ATTRIBUTES[N];
        assert!(is_name(attribute.name), "no name for a file");
        bindings::configfs_bin_attribute {
            cb_attr: bindings::configfs_attribute {
                ca_name: as_char_ptr_in_const_context(attribute.name),
                ca_mode: attribute.mode,
                ..pin_init::zeroed()
            },
            cb_max_size: attribute.max_size,
            read: if attribute.read.is_some() {
                Some(Self::read::<N>)
            } else {
                None
            },
            write: if attribute.write.is_some() {
                Some(Self::write::<N>)
            } else {
                None
            },
            ..pin_init::zeroed()
        }
    }

    /// # Safety
    ///
    /// `item` must be valid and have this type; `page` must be valid for writes of `SIMPLE_ATTR_SIZE`
    /// bytes.
    unsafe extern "C" fn show<const N: usize>(
        item: *mut bindings::config_item,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: This is a callback of one of its attributes.
        match unsafe { Item::<T>::new(item) } {
            // SAFETY: As the caller promises.
            Ok(item) => unsafe { T::ATTRIBUTES[N].call_show(&item, page, SIMPLE_ATTR_SIZE) },
            Err(err) => err.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// `item` must be valid and have this type; `page` must be valid for reads of `len` bytes and of a
    /// NUL after them.
    unsafe extern "C" fn store<const N: usize>(
        item: *mut bindings::config_item,
        page: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: This is a callback of one of its attributes.
        match unsafe { Item::<T>::new(item) } {
            // SAFETY: As the caller promises.
            Ok(item) => unsafe { T::ATTRIBUTES[N].call_store(&item, page, len) },
            Err(err) => err.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// `item` must be valid and have this type; `buffer` must be null, or valid for writes of `len`
    /// bytes.
    unsafe extern "C" fn read<const N: usize>(
        item: *mut bindings::config_item,
        buffer: *mut c_void,
        len: usize,
    ) -> isize {
        let read = || {
            let read = T::BINARY_ATTRIBUTES[N].read.ok_or(EIO)?;
            // SAFETY: This is a callback of one of its attributes.
            let item = unsafe { Item::<T>::new(item) }?;
            let mut contents = Contents {
                bytes: NonNull::new(buffer.cast()).map(|buffer| {
                    // SAFETY: As the caller promises. The bytes need not be initialised.
                    unsafe { NonNull::slice_from_raw_parts(buffer, len).as_mut() }
                }),
                len: 0,
            };
            read(&item, &mut contents)?;
            // The user gets all of the buffer, so all of it must have been written to.
            if contents.bytes.is_some() && contents.len != len {
                return Err(EAGAIN);
            }
            contents.len.try_into().map_err(|_| EFBIG)
        };
        read().unwrap_or_else(|err| err.to_errno() as isize)
    }

    /// # Safety
    ///
    /// `item` must be valid and have this type; `buffer` must be null, or valid for reads of `len`
    /// bytes.
    unsafe extern "C" fn write<const N: usize>(
        item: *mut bindings::config_item,
        buffer: *const c_void,
        len: usize,
    ) -> isize {
        // SAFETY: This is a callback of one of its attributes.
        let item = unsafe { Item::<T>::new(item) };
        // There is no buffer if every write(2) failed.
        if let (Some(write), Ok(item), false) =
            (T::BINARY_ATTRIBUTES[N].write, item, buffer.is_null())
        {
            // SAFETY: As the caller promises.
            write(&item, unsafe { slice::from_raw_parts(buffer.cast(), len) });
        }
        // configfs ignores it.
        0
    }

    /// # Safety
    ///
    /// `parent` must be valid and have this type; `name` must be a C string. The subsystem's mutex must
    /// be held.
    unsafe extern "C" fn make_item(
        parent: *mut bindings::config_group,
        name: *const c_char,
    ) -> *mut bindings::config_item {
        // SAFETY: As the caller promises.
        unsafe { Self::make(parent, name) }.map_or_else(Error::to_ptr, ItemRef::as_ptr)
    }

    /// # Safety
    ///
    /// As for [`make_item`](Self::make_item).
    unsafe extern "C" fn make_group(
        parent: *mut bindings::config_group,
        name: *const c_char,
    ) -> *mut bindings::config_group {
        // SAFETY: As the caller promises.
        unsafe { Self::make(parent, name) }.map_or_else(Error::to_ptr, ItemRef::as_group)
    }

    /// # Safety
    ///
    /// As for [`make_item`](Self::make_item).
    unsafe fn make<'a>(
        parent: *mut bindings::config_group,
        name: *const c_char,
    ) -> Result<ItemRef<'a>> {
        // SAFETY: It is valid, and what has this type is the item of a node.
        let parent = unsafe { ItemRef::from_raw(parent.cast()) };
        // SAFETY: As the caller promises.
        let name = unsafe { CStr::from_char_ptr(name) };
        let root = parent.root();
        root.sweep();
        let entered = root.enter::<T::OwnerModule>()?;
        let child = parent.data::<T>()?.make(name)?;
        let child = Owned::new(name, child, root, Place::Made)?;
        entered.dismiss();
        Ok(child.into_item())
    }

    /// # Safety
    ///
    /// `parent` must be valid and have this type; `item` must come from [`make`](Self::make), and must
    /// have been removed, or never have appeared. The subsystem's mutex must be held.
    unsafe extern "C" fn drop_item(
        parent: *mut bindings::config_group,
        item: *mut bindings::config_item,
    ) {
        // SAFETY: Both are valid, and are the items of nodes.
        let (parent, item) = unsafe { (ItemRef::from_raw(parent.cast()), ItemRef::from_raw(item)) };
        if T::HAS_DROP_ITEM {
            if let (Ok(parent), Ok(child)) = (parent.data::<T>(), item.data::<T::Child>()) {
                parent.drop_item(&child);
            }
        }
        let root = item.root();
        root.sweep();
        root.put_aside(item);
        root.leave();
    }
}

/// The operations of items that link to nothing. Their address tells our items from those of others; so
/// they must not be empty, or they might be made one with some that are.
static PLAIN: bindings::configfs_item_operations = bindings::configfs_item_operations {
    release: None,
    allow_link: None,
    drop_link: Some(drop_link),
};

/// The operations of items that may link to others.
static LINKING: bindings::configfs_item_operations = bindings::configfs_item_operations {
    release: None,
    allow_link: Some(allow_link),
    drop_link: Some(drop_link),
};

/// [`ItemType::allow_link`] and [`ItemType::drop_link`] of some type.
#[derive(Clone, Copy)]
pub(super) struct Links {
    allow: fn(ItemRef<'_>, ItemRef<'_>) -> Result,
    drop: unsafe fn(ItemRef<'_>, ItemRef<'_>),
}

impl Links {
    #[inline]
    pub(super) fn of<T: ItemType>() -> Self {
        Self {
            allow: Self::allow::<T>,
            drop: Self::drop::<T>,
        }
    }

    fn allow<T: ItemType>(source: ItemRef<'_>, target: ItemRef<'_>) -> Result {
        let (source, target) = (source.data::<T>()?, target.data::<T::Target>()?);
        source.allow_link(target.clone())?;
        // Kept for `drop()`, because the target may be removed before that: configfs may find only now
        // that it cannot make the link.
        mem::forget(target);
        Ok(())
    }

    /// # Safety
    ///
    /// [`allow`](Self::allow) must have succeeded with these items, once for each call.
    unsafe fn drop<T: ItemType>(source: ItemRef<'_>, target: ItemRef<'_>) {
        // SAFETY: `allow()` found that it is a `T::Target`, and left a reference to it.
        let target = unsafe { Arc::<T::Target>::from_raw(target.address().cast()) };
        if T::HAS_DROP_LINK {
            if let Ok(source) = source.data::<T>() {
                source.drop_link(&target);
            }
        }
    }
}

/// Whether `item` is one of ours, made in this module.
///
/// # Safety
///
/// There must be a reference to `item`.
unsafe fn is_ours(item: *mut bindings::config_item) -> bool {
    // SAFETY: An item is valid as long as there are references to it; and so is its type, on which
    // `config_item_put()` relies as well.
    let Some(item_type) = (unsafe { (*item).ci_type.as_ref() }) else {
        return false;
    };
    // Each module has these statics for itself. Only `Type::TYPE` has them, which only nodes have.
    [&raw const PLAIN, &raw const LINKING].contains(&item_type.ct_item_ops)
}

/// # Safety
///
/// There must be references to both items, and `source` must have a type with these operations.
unsafe extern "C" fn allow_link(
    source: *mut bindings::config_item,
    target: *mut bindings::config_item,
) -> c_int {
    // SAFETY: It has a type that only nodes have.
    let source = unsafe { ItemRef::from_raw(source) };
    let allow = || {
        let links = source.links().ok_or(EPERM)?;
        // What is as lasting as its subsystem does not hold the module, as an item with links must.
        if source.place() == Place::Top {
            return Err(EPERM);
        }
        // SAFETY: The caller has a reference.
        if !unsafe { is_ours(target) } {
            return Err(EINVAL);
        }
        // SAFETY: It is, as was just found.
        let target = unsafe { ItemRef::from_raw(target) };
        if target.place() == Place::Top {
            return Err(EINVAL);
        }
        (links.allow)(source, target)
    };
    allow().map_or_else(Error::to_errno, |()| 0)
}

/// # Safety
///
/// There must be references to both items, and [`allow_link()`] must have returned 0 for them, once for
/// each call.
unsafe extern "C" fn drop_link(
    source: *mut bindings::config_item,
    target: *mut bindings::config_item,
) {
    // SAFETY: Both are ours, as `allow_link()` found.
    let (source, target) = unsafe { (ItemRef::from_raw(source), ItemRef::from_raw(target)) };
    if let Some(links) = source.links() {
        // SAFETY: `allow_link()` returned 0, so `allow()` succeeded.
        unsafe { (links.drop)(source, target) };
    }
}
