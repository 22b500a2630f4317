// SPDX-License-Identifier: GPL-2.0

//! Objects that are directories in sysfs, and their attributes, which are files there.
//!
//! C headers: [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)
//!
//! A type says by [`Object`] which attributes it has; a [`Directory`] owns a value of it, and shows it.
//! What the callbacks get is the value as a [`Kobject`], by which they can tell those who wait for a
//! change, and show and hide groups of attributes.
//!
//! The kernel must be built with `CONFIG_SYSFS`.
//!
//! Not supported:
//!
//! - A place other than `/sys/fs`, and directories within directories, but for those of named groups.
//! - Uevents, and ksets, which group and filter them: a kobject that belongs to a kset needs a type of
//!   its own, see below.
//! - Symbolic links, namespaces, and owners other than root.
//! - Binary attributes that can be mapped, or whose size changes or is not known.
//!
//! # Nothing here is released by a module
//!
//! A kobject is counted, and others than its maker may hold it; when its last reference goes, its type's
//! `release` is called. That can be long after the maker gave it up: `CONFIG_DEBUG_KOBJECT_RELEASE` puts
//! it off on purpose. Were `release` in a module, the module could be gone by then; and were it to wait
//! for the release, the last instructions of the function would still be running while its memory is
//! freed. So the kobject here is made by `kobject_create_and_add()`: it belongs to the kernel, and so
//! does its type. It has no pointer to anything of ours.
//!
//! What does point here are the files. A file that is open keeps neither the attribute nor the module.
//! While a callback runs, the file has an *active reference*; to remove a file is to wait until there
//! is none, and from then on to use it fails with `ENODEV`. When that is done nobody runs a callback,
//! and nobody will. Therefore all files are removed before anything that they use is dropped.
//!
//! It follows that a callback must not wait for its own end: see [`Directory`] and
//! [`Kobject::update_groups`].

use crate::{
    attribute::{self, Page},
    bindings,
    module::Hold,
};
use core::{
    ffi::CStr,
    ops::Deref,
    ptr::{self, NonNull},
    slice,
};
use kernel::{
    container_of,
    error::to_result,
    ffi::c_char,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{LockClassKey, Mutex},
    types::Opaque,
};

/// An attribute of a `T`, as text. It has at most 4095 bytes when it is read.
///
/// The kernel gives `store` what one write(2) brought, wherever the file position is, up to a page of it:
/// of a longer write only the first page is taken, and the count that write(2) returns says so.
pub type Attribute<T> = attribute::Attribute<Kobject<T>>;

/// What has attributes.
///
/// # Examples
///
/// `/sys/fs/fan` with the files `speed` and, while it turns, `limits/highest`:
///
/// ```
/// use callgate_kernel::sysfs::{Attribute, Directory, Group, Object};
/// use kernel::{
///     prelude::*,
///     sync::atomic::{ordering::Relaxed, Atomic},
/// };
///
/// struct Fan {
///     speed: Atomic<i32>,
/// }
///
/// const SPEED: Attribute<Fan> = Attribute::new(
///     c"speed",
///     |fan, page| writeln!(page, "{}", fan.speed.load(Relaxed)),
///     |fan, text| {
///         let old = fan.speed.xchg(text.parse()?, Relaxed);
///         fan.update_groups()
///             .inspect_err(|_| fan.speed.store(old, Relaxed))
///     },
/// );
///
/// const HIGHEST: Attribute<Fan> =
///     Attribute::read_only(c"highest", |_, page| writeln!(page, "3000"));
///
/// #[vtable]
/// impl Object for Fan {
///     const GROUPS: &'static [Group<Self>] = &[
///         Group::new(&[SPEED]),
///         Group::named(c"limits", &[HIGHEST]).visible_if(|fan| fan.speed.load(Relaxed) > 0),
///     ];
/// }
///
/// fn show() -> Result<Pin<KBox<Directory<Fan>>>> {
///     let fan = Fan {
///         speed: Atomic::new(0),
///     };
///     KBox::pin_init(Directory::in_fs(c"fan", fan), GFP_KERNEL)
/// }
/// ```
#[vtable]
pub trait Object: Send + Sync + Sized + 'static {
    /// The attributes.
    ///
    /// A name must not be empty, `.` or `..`, nor have a slash; nor may two things in a directory have
    /// the same. That is an error of the compiler's.
    const GROUPS: &'static [Group<Self>];
}

/// Attributes that come and go together.
pub struct Group<T: Object> {
    name: Option<&'static CStr>,
    attributes: &'static [Attribute<T>],
    binary: &'static [BinaryAttribute<T>],
    visible: Option<fn(&Kobject<T>) -> bool>,
}

impl<T: Object> Group<T> {
    /// Attributes in the object's own directory.
    pub const fn new(attributes: &'static [Attribute<T>]) -> Self {
        Self {
            name: None,
            attributes,
            binary: &[],
            visible: None,
        }
    }

    /// Attributes in a directory below, called `name`.
    pub const fn named(name: &'static CStr, attributes: &'static [Attribute<T>]) -> Self {
        Self {
            name: Some(name),
            ..Self::new(attributes)
        }
    }

    /// With binary attributes as well.
    #[must_use]
    pub const fn with_binary(mut self, binary: &'static [BinaryAttribute<T>]) -> Self {
        self.binary = binary;
        self
    }

    /// There only while `condition` holds, as far as [`Kobject::update_groups`] is told. What C's
    /// `is_visible` says for each attribute this says for a group, which may well have just one.
    ///
    /// The condition must not call `update_groups()`.
    #[must_use]
    pub const fn visible_if(mut self, condition: fn(&Kobject<T>) -> bool) -> Self {
        self.visible = Some(condition);
        self
    }

    /// How many files there are.
    const fn len(&self) -> usize {
        self.attributes.len() + self.binary.len()
    }

    /// The name of the `n`th of them.
    const fn file(&self, n: usize) -> &'static CStr {
        if n < self.attributes.len() {
            self.attributes[n].name()
        } else {
            self.binary[n - self.attributes.len()].name
        }
    }

    /// The group's name as C has it, null for none.
    fn name_ptr(&self) -> *const c_char {
        self.name.map_or(ptr::null(), |name| name.as_char_ptr())
    }
}

/// An attribute of a `T` that is no text: bytes by the thousand, at any offset, as many as `size` says.
///
/// The kernel hands them on as it gets them, a page at most at a time.
pub struct BinaryAttribute<T: Object> {
    name: &'static CStr,
    size: usize,
    read: Option<Read<T>>,
    write: Option<Write<T>>,
}

/// Fills the page's [room](attribute::Page::room) with what is at that offset. Both are within the
/// attribute's size. What is left of the room, the reader does not get.
pub type Read<T> = fn(&Kobject<T>, usize, &mut Page<'_>) -> Result;

/// Takes the bytes for that offset, all or none. Both are within the attribute's size.
pub type Write<T> = fn(&Kobject<T>, usize, &[u8]) -> Result;

impl<T: Object> BinaryAttribute<T> {
    /// One that anybody reads, and root writes: mode 0644.
    pub const fn new(name: &'static CStr, size: usize, read: Read<T>, write: Write<T>) -> Self {
        Self {
            name,
            size,
            read: Some(read),
            write: Some(write),
        }
    }

    /// One that anybody reads, and nobody writes: mode 0444.
    pub const fn read_only(name: &'static CStr, size: usize, read: Read<T>) -> Self {
        Self {
            name,
            size,
            read: Some(read),
            write: None,
        }
    }

    const fn mode(&self) -> u16 {
        if self.write.is_some() {
            0o644
        } else {
            0o444
        }
    }

    /// Where `count` bytes from `offset` begin, and how many of them there are; `None` if they are all
    /// beyond the end.
    #[inline]
    fn clip(&self, offset: i64, count: usize) -> Option<(usize, usize)> {
        let offset = usize::try_from(offset).ok()?;
        let left = self.size.checked_sub(offset).filter(|left| *left > 0)?;
        Some((offset, count.min(left)))
    }
}

/// Checks at compile time what [`Object::GROUPS`] asks for.
const fn check_groups<T: Object>() {
    let mut a = 0;
    while a < T::GROUPS.len() {
        let group = &T::GROUPS[a];
        if let Some(name) = group.name {
            assert!(is_file_name(name), "a group cannot have this name");
        }
        let mut i = 0;
        while i < group.len() {
            assert!(is_file_name(group.file(i)), "a file cannot have this name");
            let mut j = i + 1;
            while j < group.len() {
                let same = is_same(group.file(i), group.file(j));
                assert!(!same, "two attributes of a group have the same name");
                j += 1;
            }
            i += 1;
        }
        let mut i = 0;
        while i < group.binary.len() {
            assert!(group.binary[i].size > 0, "a binary attribute has no size");
            i += 1;
        }
        let mut b = a + 1;
        while b < T::GROUPS.len() {
            check_two_groups(group, &T::GROUPS[b]);
            b += 1;
        }
        a += 1;
    }
}

const fn check_two_groups<T: Object>(a: &Group<T>, b: &Group<T>) {
    match (a.name, b.name) {
        (Some(a), Some(b)) => assert!(!is_same(a, b), "two groups have the same name"),
        (Some(name), None) => check_no_file(b, name),
        (None, Some(name)) => check_no_file(a, name),
        (None, None) => {
            let mut i = 0;
            while i < a.len() {
                check_no_file(b, a.file(i));
                i += 1;
            }
        }
    }
}

const fn check_no_file<T: Object>(group: &Group<T>, name: &CStr) {
    let mut i = 0;
    while i < group.len() {
        let same = is_same(group.file(i), name);
        assert!(!same, "two things in a directory have the same name");
        i += 1;
    }
}

/// Whether a file can have this name.
pub(crate) const fn is_file_name(name: &CStr) -> bool {
    let name = name.to_bytes();
    let mut i = 0;
    while i < name.len() {
        if name[i] == b'/' {
            return false;
        }
        i += 1;
    }
    !matches!(name, b"" | b"." | b"..")
}

/// Whether two names are the same.
pub(crate) const fn is_same(a: &CStr, b: &CStr) -> bool {
    let (a, b) = (a.to_bytes(), b.to_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Sets what all kinds of C attributes have. The lock class is that of the active references.
#[inline]
pub(crate) fn set_attribute(
    raw: &mut bindings::attribute,
    name: &'static CStr,
    mode: u16,
    key: &LockClassKey,
) {
    raw.name = name.as_char_ptr();
    raw.mode = mode;
    // lockdep wants a key that is static or registered. One in the attribute would be neither.
    #[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
    {
        raw.key = key.as_ptr();
    }
    #[cfg(not(CONFIG_DEBUG_LOCK_ALLOC))]
    let _ = key;
}

/// Something in a directory of sysfs, with a reference to it.
pub(crate) struct Node(NonNull<bindings::kernfs_node>);

impl Node {
    /// Finds what is called `name`, if anything is.
    ///
    /// # Safety
    ///
    /// `directory` must be null or valid.
    #[inline]
    pub(crate) unsafe fn find(
        directory: *mut bindings::kernfs_node,
        name: *const c_char,
    ) -> Option<Self> {
        if directory.is_null() {
            return None;
        }
        // SAFETY: The caller promises the directory; names are valid C strings. It takes a reference.
        NonNull::new(unsafe { bindings::kernfs_find_and_get_ns(directory, name, ptr::null()) })
            .map(Self)
    }

    #[inline]
    fn as_ptr(&self) -> *mut bindings::kernfs_node {
        self.0.as_ptr()
    }

    /// Wakes who waits for a change of this file.
    #[inline]
    fn notify(&self) {
        // SAFETY: We have a reference.
        unsafe { bindings::kernfs_notify(self.as_ptr()) };
    }
}

impl Drop for Node {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Gives up our reference.
        unsafe { bindings::kernfs_put(self.as_ptr()) };
    }
}

/// What the files of text point to. C calls it an attribute.
struct TextFile<T: Object> {
    raw: Opaque<bindings::kobj_attribute>,
    attribute: &'static Attribute<T>,
    kobject: NonNull<Kobject<T>>,
}

impl<T: Object> TextFile<T> {
    #[inline]
    fn new(
        attribute: &'static Attribute<T>,
        kobject: NonNull<Kobject<T>>,
        key: &LockClassKey,
    ) -> Self {
        let mut raw = bindings::kobj_attribute::default();
        set_attribute(&mut raw.attr, attribute.name(), attribute.mode(), key);
        if attribute.is_readable() {
            raw.__bindgen_anon_1.show = Some(Self::show);
        }
        if attribute.is_writable() {
            raw.__bindgen_anon_2.store = Some(Self::store);
        }
        Self {
            raw: Opaque::new(raw),
            attribute,
            kobject,
        }
    }

    /// The file that an attribute is in.
    ///
    /// # Safety
    ///
    /// `attr` must be that of a `TextFile<T>` which has an active reference throughout `'a`.
    #[inline]
    unsafe fn from_raw<'a>(attr: *mut bindings::kobj_attribute) -> (&'a Self, &'a Kobject<T>) {
        // SAFETY: By the caller's promise. While there is an active reference, `Files::hide()` waits; so
        // the file is there, and the object it points to.
        unsafe {
            let file = &*container_of!(Opaque::cast_from(attr), Self, raw);
            (file, file.kobject.as_ref())
        }
    }

    /// # Safety
    ///
    /// To be called by sysfs only, for the files of a `Files<T>`.
    unsafe extern "C" fn show(
        _: *mut bindings::kobject,
        attr: *mut bindings::kobj_attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: sysfs holds an active reference meanwhile.
        let (file, kobject) = unsafe { Self::from_raw(attr) };
        // The last byte is not for us: `sysfs_kf_seq_show()` warns of a page that is full.
        //
        // SAFETY: sysfs gives us a page.
        unsafe { file.attribute.call_show(kobject, buf, PAGE_SIZE - 1) }
    }

    /// # Safety
    ///
    /// To be called by sysfs only, for the files of a `Files<T>`.
    unsafe extern "C" fn store(
        _: *mut bindings::kobject,
        attr: *mut bindings::kobj_attribute,
        buf: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: sysfs holds an active reference meanwhile.
        let (file, kobject) = unsafe { Self::from_raw(attr) };
        // SAFETY: `kernfs_fop_write_iter()` puts a NUL behind what was written.
        unsafe { file.attribute.call_store(kobject, buf, len) }
    }
}

/// What the binary files point to.
struct BinaryFile<T: Object> {
    raw: Opaque<bindings::bin_attribute>,
    attribute: &'static BinaryAttribute<T>,
    kobject: NonNull<Kobject<T>>,
}

impl<T: Object> BinaryFile<T> {
    #[inline]
    fn new(
        attribute: &'static BinaryAttribute<T>,
        kobject: NonNull<Kobject<T>>,
        key: &LockClassKey,
    ) -> Self {
        let mut raw = bindings::bin_attribute {
            size: attribute.size,
            ..Default::default()
        };
        set_attribute(&mut raw.attr, attribute.name, attribute.mode(), key);
        if attribute.read.is_some() {
            raw.read = Some(Self::read);
        }
        if attribute.write.is_some() {
            raw.write = Some(Self::write);
        }
        Self {
            raw: Opaque::new(raw),
            attribute,
            kobject,
        }
    }

    /// The file that an attribute is in.
    ///
    /// # Safety
    ///
    /// `attr` must be that of a `BinaryFile<T>` which has an active reference throughout `'a`.
    #[inline]
    unsafe fn from_raw<'a>(attr: *const bindings::bin_attribute) -> (&'a Self, &'a Kobject<T>) {
        // SAFETY: As for `TextFile::from_raw()`.
        unsafe {
            let file = &*container_of!(Opaque::cast_from(attr), Self, raw);
            (file, file.kobject.as_ref())
        }
    }

    /// # Safety
    ///
    /// To be called by sysfs only, for the files of a `Files<T>`.
    unsafe extern "C" fn read(
        _: *mut bindings::file,
        _: *mut bindings::kobject,
        attr: *const bindings::bin_attribute,
        buf: *mut c_char,
        offset: bindings::loff_t,
        count: usize,
    ) -> isize {
        // SAFETY: sysfs holds an active reference meanwhile.
        let (file, kobject) = unsafe { Self::from_raw(attr) };
        let Some(read) = file.attribute.read else {
            return EIO.to_errno() as isize;
        };
        let Some((offset, count)) = file.attribute.clip(offset, count) else {
            return 0;
        };
        // SAFETY: sysfs gives us a buffer of at least this size, and to nobody else during the call.
        let mut page = unsafe { Page::from_raw(buf, count) };
        match read(kobject, offset, &mut page) {
            // CAST: No more than a page.
            Ok(()) => page.len() as isize,
            Err(err) => err.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// To be called by sysfs only, for the files of a `Files<T>`.
    unsafe extern "C" fn write(
        _: *mut bindings::file,
        _: *mut bindings::kobject,
        attr: *const bindings::bin_attribute,
        buf: *mut c_char,
        offset: bindings::loff_t,
        count: usize,
    ) -> isize {
        // SAFETY: sysfs holds an active reference meanwhile.
        let (file, kobject) = unsafe { Self::from_raw(attr) };
        let Some(write) = file.attribute.write else {
            return EIO.to_errno() as isize;
        };
        let Some((offset, count)) = file.attribute.clip(offset, count) else {
            return EFBIG.to_errno() as isize;
        };
        // SAFETY: sysfs gives us at least as many bytes, a copy of the user's, which nobody changes
        // during the call.
        let bytes = unsafe { slice::from_raw_parts(buf.cast::<u8>(), count) };
        match write(kobject, offset, bytes) {
            // CAST: No more than a page.
            Ok(()) => count as isize,
            Err(err) => err.to_errno() as isize,
        }
    }
}

/// The files of a group.
///
/// # Invariants
///
/// `text_list` and `binary_list` have the addresses of all that is in `text` and `binary`, and then null.
struct Files<T: Object> {
    group: &'static Group<T>,
    text: KVec<TextFile<T>>,
    binary: KVec<BinaryFile<T>>,
    text_list: KVec<*mut bindings::attribute>,
    binary_list: KVec<*const bindings::bin_attribute>,
    // Shared by the files of a group, as they come and go together. Another group, or another object,
    // has another one, so that lockdep does not take "the callback of one hides the other" for a
    // deadlock.
    _key: Pin<KBox<LockClassKey>>,
}

impl<T: Object> Files<T> {
    fn new(group: &'static Group<T>, kobject: NonNull<Kobject<T>>) -> Result<Self> {
        let key = KBox::pin_init(LockClassKey::new_dynamic(), GFP_KERNEL)?;
        let mut text = KVec::with_capacity(group.attributes.len(), GFP_KERNEL)?;
        for attribute in group.attributes {
            text.push(TextFile::new(attribute, kobject, &key), GFP_KERNEL)?;
        }
        let mut binary = KVec::with_capacity(group.binary.len(), GFP_KERNEL)?;
        for attribute in group.binary {
            binary.push(BinaryFile::new(attribute, kobject, &key), GFP_KERNEL)?;
        }

        // INVARIANT: Nothing is added to either any more, so the addresses do not change.
        let mut text_list = KVec::with_capacity(text.len() + 1, GFP_KERNEL)?;
        for file in &text {
            // SAFETY: The attribute is there; only an address is computed.
            text_list.push(unsafe { &raw mut (*file.raw.get()).attr }, GFP_KERNEL)?;
        }
        text_list.push(ptr::null_mut(), GFP_KERNEL)?;
        let mut binary_list = KVec::with_capacity(binary.len() + 1, GFP_KERNEL)?;
        for file in &binary {
            binary_list.push(file.raw.get().cast_const(), GFP_KERNEL)?;
        }
        binary_list.push(ptr::null(), GFP_KERNEL)?;
        Ok(Self {
            group,
            text,
            binary,
            text_list,
            binary_list,
            _key: key,
        })
    }

    /// The group as C has it. sysfs does not keep it.
    fn raw(&self) -> bindings::attribute_group {
        let mut raw = bindings::attribute_group {
            name: self.group.name_ptr(),
            bin_attrs: self.binary_list.as_ptr(),
            ..Default::default()
        };
        raw.__bindgen_anon_2.attrs = self.text_list.as_ptr().cast_mut();
        raw
    }

    /// Makes the files, all or none.
    ///
    /// # Safety
    ///
    /// `dir` must be valid and in sysfs. Before anything of these files or the object they belong to
    /// goes, [`hide`](Self::hide) must be called.
    unsafe fn show(&self, dir: *mut bindings::kobject) -> Result {
        // SAFETY: The caller promises the directory, and that the attributes outlive the files. The
        // lists end in null, by the type invariants.
        to_result(unsafe { bindings::sysfs_create_group(dir, &self.raw()) })
    }

    /// Removes the files. Then no callback runs.
    ///
    /// # Safety
    ///
    /// `dir` must be the directory they are in, and nobody else may hide or show them meanwhile.
    unsafe fn hide(&self, dir: *mut bindings::kobject) {
        let group = self.group.name_ptr();
        // SAFETY: The caller promises the directory.
        let mut node = unsafe { (*dir).sd };
        let mut named = None;
        if !group.is_null() {
            // SAFETY: As above, so its node is valid too.
            named = unsafe { Node::find(node, group) };
            node = named.as_ref().map_or(ptr::null_mut(), Node::as_ptr);
        }
        let text = self.text.iter().map(|file| {
            // SAFETY: The attribute is there; only an address is computed.
            unsafe { &raw const (*file.raw.get()).attr }
        });
        let binary = self.binary.iter().map(|file| {
            // SAFETY: As above.
            unsafe { &raw const (*file.raw.get()).attr }
        });
        for attr in Iterator::chain(text, binary) {
            // SAFETY: The node is valid, as above, and so is the attribute.
            let file = unsafe { Node::find(node, (*attr).name) };
            // SAFETY: The caller promises the directory.
            unsafe { bindings::sysfs_remove_file_from_group(dir, attr, group) };
            // sysfs leaves those in peace who wait in poll(2). Now that the file has gone they see that
            // it has, if they are woken.
            if let Some(file) = file {
                file.notify();
            }
        }
        if named.is_some() {
            // SAFETY: The caller promises the directory. What is left is an empty one.
            unsafe { bindings::sysfs_remove_group(dir, &self.raw()) };
        }
    }
}

/// Which groups can be seen.
struct Shown {
    groups: KVec<bool>,
    /// Whether that must stay so: not all is there yet, or it is being removed.
    fixed: bool,
}

/// A kobject that belongs to the kernel, with its directory.
struct Dir(NonNull<bindings::kobject>);

impl Dir {
    /// The directory `/sys/fs/NAME`.
    #[inline]
    fn in_fs(name: &CStr) -> Result<Self> {
        // C makes a `!` of a slash.
        if !is_file_name(name) {
            return Err(EINVAL);
        }
        // SAFETY: Set while the kernel boots, and never again.
        let fs = unsafe { bindings::fs_kobj };
        // What is found twice is told by C with a stack trace, and as if memory were short.
        //
        // SAFETY: The kobject of `/sys/fs` and its directory stay.
        if unsafe { Node::find((*fs).sd, name.as_char_ptr()) }.is_some() {
            return Err(EEXIST);
        }
        // SAFETY: Both pointers are valid; the name is copied.
        NonNull::new(unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), fs) })
            .map(Self)
            .ok_or(ENOMEM)
    }
}

impl Drop for Dir {
    #[inline]
    fn drop(&mut self) {
        // Deleted first: the release may come late, but the name is to be free at once.
        //
        // SAFETY: It was added, and this is the only call that deletes it. Gives up our reference.
        unsafe {
            bindings::kobject_del(self.0.as_ptr());
            bindings::kobject_put(self.0.as_ptr());
        }
    }
}

/// A `T` that has a directory in sysfs: what the callbacks get. It dereferences to the `T`.
#[pin_data]
pub struct Kobject<T: Object> {
    // Dropped before the files, which it can no longer have, and before the data.
    dir: Dir,
    files: KVec<Files<T>>,
    #[pin]
    shown: Mutex<Shown>,
    #[pin]
    data: T,
}

// SAFETY: `T` is `Send` and `Sync`, by the bounds of `Object`; the C functions may be called from any
// thread; and the pointers in `files` are used by C only, or lead back here.
unsafe impl<T: Object> Send for Kobject<T> {}
// SAFETY: As above; what changes is behind a lock.
unsafe impl<T: Object> Sync for Kobject<T> {}

impl<T: Object> Kobject<T> {
    /// Wakes those who wait in poll(2) for a change of `attribute`. If more than one group has an attribute
    /// of that name, it is all of them.
    ///
    /// C's `sysfs_notify()`. It takes locks that sleep, so it must not be called in atomic context.
    pub fn notify(&self, attribute: &Attribute<T>) {
        let name = attribute.name();
        for group in T::GROUPS {
            if group.attributes.iter().any(|other| other.name() == name) {
                // SAFETY: The kobject is there as long as `self`. It is in sysfs until nobody but its
                // owner has `self`, as its files are removed first.
                unsafe {
                    bindings::sysfs_notify(
                        self.dir.0.as_ptr(),
                        group.name_ptr(),
                        name.as_char_ptr(),
                    )
                };
            }
        }
    }

    /// Shows the groups whose condition has come to hold, and hides those whose condition holds no
    /// longer. Files of such a group that are open are gone: using them fails with `ENODEV`.
    ///
    /// To hide a group is to wait until none of its callbacks runs. So a callback in a group that has a
    /// condition must not call this: it might wait for itself. Others may. While [`Directory::in_fs`] makes
    /// the groups without a condition, nothing happens: it looks at the others afterwards.
    ///
    /// The conditions are asked under a lock. So the caller must not hold one that they take, nor may a
    /// condition call this; and as lockdep takes these locks of all objects for the same, what is called
    /// under one must not come to another object's.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: the groups that come after the one that failed, in the order of [`Object::GROUPS`],
    /// have been left alone.
    pub fn update_groups(&self) -> Result {
        let dir = self.dir.0.as_ptr();
        let mut shown = self.shown.lock();
        if shown.fixed {
            return Ok(());
        }
        for (files, shown) in self.files.iter().zip(&mut shown.groups) {
            let visible = files.group.visible.is_none_or(|condition| condition(self));
            if visible == *shown {
                continue;
            }
            if visible {
                // SAFETY: The kobject is in sysfs. `close()` hides what is shown.
                unsafe { files.show(dir) }?;
            } else {
                // SAFETY: They are in this directory, and we have the lock.
                unsafe { files.hide(dir) };
            }
            *shown = visible;
        }
        Ok(())
    }

    /// Shows all that is to be seen at first.
    fn open(&self) -> Result {
        // The callbacks of these groups may call `update_groups()` while the group is still being made.
        // Should that fail, what there is of it is removed, which waits for them: so they must not wait
        // for us.
        for (n, files) in self.files.iter().enumerate() {
            if files.group.visible.is_none() {
                // SAFETY: The kobject is in sysfs. `close()` hides what is shown.
                unsafe { files.show(self.dir.0.as_ptr()) }?;
                self.shown.lock().groups[n] = true;
            }
        }
        self.shown.lock().fixed = false;
        self.update_groups()
    }

    /// Removes all files, for good. Then no callback runs.
    fn close(&self) {
        // From here on nobody else changes what is shown. The lock must not be held while waiting: a
        // callback may be about to take it.
        self.shown.lock().fixed = true;
        for (n, files) in self.files.iter().enumerate() {
            let shown = self.shown.lock().groups[n];
            if shown {
                // SAFETY: They are in this directory. `update_groups()` touches nothing any more.
                unsafe { files.hide(self.dir.0.as_ptr()) };
            }
        }
    }
}

impl<T: Object> Deref for Kobject<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

/// A directory in sysfs that shows a `T`. It dereferences to the [`Kobject`].
///
/// Dropping it removes the directory, and waits for callbacks in flight; so it must not happen in one of
/// them, nor while anything is held that they wait for. Whoever sleeps in poll(2) on one of its files is
/// woken, and finds that it has gone.
#[pin_data(PinnedDrop)]
pub struct Directory<T: Object> {
    #[pin]
    kobject: Kobject<T>,
    _hold: Hold<T::OwnerModule>,
}

impl<T: Object> Directory<T> {
    /// Makes `/sys/fs/NAME`.
    ///
    /// Its files can be used at once, before the module's `init` has succeeded.
    ///
    /// # Errors
    ///
    /// - `EEXIST`: there is something of this name. (Should two look at the same moment, one of them gets
    ///   `ENOMEM`, and the kernel logs a stack trace.)
    /// - `EINVAL`: no file can have this name.
    /// - `ENOMEM`, and what initialising `data` fails with.
    pub fn in_fs<'a, E: 'a>(
        name: &'a CStr,
        data: impl PinInit<T, E> + 'a,
    ) -> impl PinInit<Self, Error> + 'a
    where
        Error: From<E>,
    {
        const { check_groups::<T>() };
        try_pin_init!(&this in Self {
            _hold: Hold::new()?,
            kobject <- {
                // SAFETY: Only an address is computed, of memory that there is.
                let kobject = unsafe { NonNull::new_unchecked(&raw mut (*this.as_ptr()).kobject) };
                try_pin_init!(Kobject {
                    data <- data,
                    files: {
                        let mut files = KVec::with_capacity(T::GROUPS.len(), GFP_KERNEL)?;
                        for group in T::GROUPS {
                            files.push(Files::new(group, kobject)?, GFP_KERNEL)?;
                        }
                        files
                    },
                    shown <- new_mutex!(Shown {
                        groups: KVec::from_elem(false, T::GROUPS.len(), GFP_KERNEL)?,
                        fixed: true,
                    }),
                    dir: Dir::in_fs(name)?,
                })
            },
            _: {
                // SAFETY: It is initialised, and pinned. From here on callbacks may run; they share it.
                let kobject = unsafe { &(*this.as_ptr()).kobject };
                if let Err(err) = kobject.open() {
                    kobject.close();
                    Err(err)?
                }
            },
        })
    }
}

#[pinned_drop]
impl<T: Object> PinnedDrop for Directory<T> {
    fn drop(self: Pin<&mut Self>) {
        self.kobject.close();
    }
}

impl<T: Object> Deref for Directory<T> {
    type Target = Kobject<T>;

    #[inline]
    fn deref(&self) -> &Kobject<T> {
        &self.kobject
    }
}
