// SPDX-License-Identifier: GPL-2.0

//! Directories and files in debugfs.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)
//!
//! There are three kinds of file, and each is gone from debugfs when it is dropped:
//!
//! - Files of one value, for which C has a function of one line for each type ([`OneLine`]): a
//!   [`Value`] is one such file with its value, a [`Scope`] is a directory full of them.
//! - A [`File`] does what its [`FileOperations`] say, as a device does.
//! - A [`Sequence`] lists the records of a [`seq_file::Sequence`].
//!
//! Creating a file does not fail. Whatever keeps it from appearing, such as a name that is taken, is
//! no reason for a driver not to work, and is ignored; the kernel logs a name that is taken. What is
//! made in a directory that could not be made is not there either.
//!
//! Not supported:
//!
//! - A kernel without `CONFIG_DEBUG_FS`, for which this does not compile.
//! - Symbolic links, renaming, automounts, registers (`debugfs_create_regset32()`), and files of a
//!   device (`debugfs_create_devm_seqfile()`).
//! - `show_fdinfo` and `ioctl` of [`FileOperations`], which do not compile: debugfs knows nothing like the
//!   first, and a file with the second cannot be opened when the kernel is locked down. Nor can one with
//!   `mmap`, which compiles.
//! - Cancelling a callback that waits (`debugfs_enter_cancellation()`).
//! - Strings that user space writes: see [`Str`].
//!
//! # Why not `kernel::debugfs`
//!
//! [`kernel::debugfs`] has directories, and in them files that print and parse by Rust traits. It has
//! none of C's one-line files, no files in the root, and no choice of mode. What is here cannot be built
//! on it, as it hands out no `struct dentry`; and a module cannot use it safely. Its
//! `struct file_operations` are in the module and do not say so by `owner`, so an open file does not
//! keep the module loaded; and when it is closed after that, `full_proxy_release()` looks for a
//! `release` in memory that is no more.
//!
//! # When a file is removed
//!
//! `debugfs_remove()` waits until all callbacks are over, `open` included. Who has the file open gets
//! `EIO` from then on, and from poll(2) `EPOLLHUP`; who sleeps in poll(2) is not woken by it. So what a
//! callback uses must live as long as the file has not been dropped, and what one may wait on as long as
//! it is open; the types here see to that. What they cannot see to are deadlocks:
//!
//! - A callback must not drop its own file, nor wait for something that only whoever drops it brings
//!   about.
//! - While `debugfs_remove()` waits for a file, it holds the lock of the directory that the file is in.
//!   So a callback must neither make nor drop anything in that same directory.
//!
//! A mapping stays, as `debugfs_remove()` knows nothing of it: who has mapped a file goes on, in memory that
//! belongs to the open file and not to debugfs; a page that is touched for the first time is still
//! found. Only new mappings are refused, with `EIO`. A driver that must take memory back cannot offer it here.
//!
//! What is still called later is `release`. It is code of the module, and so are the operations that
//! lead to it, hence every open file keeps the module loaded. Files of one value do not: all that
//! they need is the kernel's own.
//!
//! # How an open file keeps the module
//!
//! C's way is to name the module as `owner` of the operations. Whoever opens the file just when the
//! module begins to be unloaded then gets a `WARN` from debugfs: between the two steps of
//! `try_stop_module()`, the module cannot be got any more, and does not look as if it were going
//! either. So the operations that debugfs is given have no owner. Their `open`, which
//! `debugfs_remove()` waits for, takes the reference, and gives the file the real operations, as
//! `chrdev_open()` does. Those have an owner, by which the VFS gives the reference back after
//! `release`, or if `open` failed.
//!
//! # Values that both sides change
//!
//! A file of one value reads and writes it from C by plain accesses, while Rust uses atomics. C does it
//! in functions of its own (`debugfs_u8_get()`, `debugfs_u8_set()`) that do nothing else and are
//! called by pointer, one access of at most an aligned machine word in each. Such a write counts as
//! atomic, says [`kernel::sync::atomic`], by the assumption that is also
//! `CONFIG_KCSAN_ASSUME_PLAIN_WRITES_ATOMIC`. Such a read, if it races with a write of ours, gets the
//! value before or after; it is C's own, and all that becomes of it is that it is printed.

use crate::{
    bindings,
    file::{self, FileOperations, Registry, Settle},
    module::{self, Hold},
    seq_file,
};
use core::{marker::PhantomData, mem, ops::Deref, ptr, ptr::NonNull};
use kernel::{
    error::{from_err_ptr, to_result},
    ffi::{c_char, c_int, c_ulong, c_void},
    module::this_module,
    prelude::*,
    str::CString,
    sync::{
        atomic::{Atomic, AtomicType},
        Arc, ArcBorrow,
    },
    ModuleMetadata,
};

/// Something in debugfs that was made here. Dropping it removes it, with all that is in it.
struct Entry {
    dentry: NonNull<bindings::dentry>,
    // Removed after this, if this was the last in it.
    _parent: Dir,
}

// SAFETY: debugfs' functions may be called from any thread.
unsafe impl Send for Entry {}
// SAFETY: As above.
unsafe impl Sync for Entry {}

impl Entry {
    /// Has `make` make something in `parent`, of which it returns the dentry, or an error.
    ///
    /// # Safety
    ///
    /// If `make` succeeds, it must return the dentry of something that it made in debugfs, and nobody
    /// else may remove that.
    #[inline]
    unsafe fn new(
        parent: &Dir,
        name: &str,
        make: impl FnOnce(*mut bindings::dentry, *const c_char) -> Result<*mut bindings::dentry>,
    ) -> Result<Self> {
        let name = CString::try_from_fmt(fmt!("{name}"))?;
        let dentry = make(parent.as_ptr()?, name.as_char_ptr())?;
        Ok(Self {
            dentry: NonNull::new(dentry).ok_or(ENOENT)?,
            _parent: parent.clone(),
        })
    }
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The dentry is that of something that was made in `new()`. It is still there: this is
        // the only call that removes it, and its parent, with which it would go too, is dropped later.
        unsafe { bindings::debugfs_remove(self.dentry.as_ptr()) };
    }
}

/// A directory in debugfs.
///
/// It is removed when it has been dropped, and all that is in it as well. That sleeps, so it must not
/// be dropped in atomic context.
///
/// # Examples
///
/// ```
/// use callgate_kernel::debugfs::Dir;
///
/// let example = Dir::root().subdir("example");
/// let inner = example.subdir("inner");
/// drop(example);
/// // Both are there: `example/inner` needs its parent.
/// drop(inner);
/// // Now none is.
/// ```
#[must_use = "it is removed from debugfs when this is dropped"]
#[derive(Clone)]
pub struct Dir(
    // The root of debugfs if there is no entry; an error if the directory could not be made.
    Result<Option<Arc<Entry>>>,
);

impl Dir {
    /// The root of debugfs: `/sys/kernel/debug`, as a rule.
    #[inline]
    pub const fn root() -> Self {
        Self(Ok(None))
    }

    /// Makes a directory in this one, with mode 0755, owned by root.
    #[inline]
    pub fn subdir(&self, name: &str) -> Self {
        let arc = || -> Result<_> { Ok(Some(Arc::new(self.make_dir(name)?, GFP_KERNEL)?)) };
        Self(arc())
    }

    #[inline]
    fn make_dir(&self, name: &str) -> Result<Entry> {
        // SAFETY: Nobody else has the directory's dentry.
        unsafe {
            Entry::new(self, name, |parent, name| {
                // The parent is null, which is the root, or valid; the name is copied.
                from_err_ptr(bindings::debugfs_create_dir(name, parent))
            })
        }
    }

    #[inline]
    fn as_ptr(&self) -> Result<*mut bindings::dentry> {
        match self {
            Self(Ok(None)) => Ok(ptr::null_mut()),
            Self(Ok(Some(entry))) => Ok(entry.dentry.as_ptr()),
            Self(Err(err)) => Err(*err),
        }
    }
}

// Files of one value.

/// A `u8`, which [`Atomic`] does not know in Linux 7.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct U8(pub u8);

/// A `u16`, which [`Atomic`] does not know in Linux 7.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct U16(pub u16);

/// An `unsigned long`; a `usize` is a `size_t`. Both are printed in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ULong(pub c_ulong);

/// A number that is printed in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Hex<T>(pub T);

macro_rules! atomic {
    ($($type:ty as $repr:ty,)*) => {$(
        // SAFETY: It is an integer of the same width, in which any bit pattern is valid. It is `Send`.
        unsafe impl AtomicType for $type {
            type Repr = $repr;
        }
    )*};
}

atomic! {
    U8 as i8,
    U16 as i16,
    ULong as <usize as AtomicType>::Repr,
    Hex<u8> as i8,
    Hex<u16> as i16,
    Hex<u32> as i32,
    Hex<u64> as i64,
    Hex<c_ulong> as <usize as AtomicType>::Repr,
}

/// A type for which C makes a file by one line.
///
/// | type | C function | reads as |
/// |---|---|---|
/// | `Atomic<`[`U8`]`>`, `Atomic<`[`U16`]`>`, `Atomic<u32>`, `Atomic<u64>` | `debugfs_create_u8()` … `u64()` | `255` |
/// | `Atomic<`[`Hex`]`<u8>>` … `Atomic<Hex<u64>>` | `debugfs_create_x8()` … `x64()` | `0xff`, with all digits |
/// | `Atomic<usize>`, `Atomic<`[`ULong`]`>` | `debugfs_create_size_t()`, `ulong()` | `255` |
/// | `Atomic<Hex<c_ulong>>` | `debugfs_create_xul()` | `0x00000000000000ff` |
/// | `Atomic<i32>` | `debugfs_create_atomic_t()` | `-1` |
/// | `Atomic<bool>` | `debugfs_create_bool()` | `Y` or `N` |
/// | [`Str`] | `debugfs_create_str()` | the string |
/// | [`Blob`] | `debugfs_create_blob()` | the bytes |
/// | [`U32Array`] | `debugfs_create_u32_array()` | `1 2 3` |
///
/// All but the blob end in a newline. The kernel's code has some corners:
///
/// - A number that the type does not have is cut to its width: 256 written to a `u8` makes 0.
/// - Of what is written to a number the first 23 bytes count; to a bool, the first two.
/// - What is no bool, or is at a bad address, is ignored, and the write succeeds.
/// - The mode is only what keeps others out: root may open any file for writing.
///
/// # Safety
///
/// - [`data`](Self::data) must be an address within `self`.
/// - [`create`](Self::create) must make a file that uses nothing but `self` and what it owns, and does
///   so in a way that is sound while others have a reference; or make none.
pub unsafe trait OneLine: Send + Sync + 'static {
    /// The address that the C function is given.
    fn data(&self) -> *mut c_void;

    /// Calls the C function.
    ///
    /// # Safety
    ///
    /// `parent` must be null or a valid directory of debugfs, and `name` a valid C string. `self` must
    /// stay where it is, and be there until the file has been removed. `mode` must be permissions only.
    unsafe fn create(
        &self,
        name: *const c_char,
        mode: bindings::umode_t,
        parent: *mut bindings::dentry,
    );
}

macro_rules! one_line {
    ($($(#[$attr:meta])* $value:ty: $function:ident,)*) => {$(
        $(#[$attr])*
        // SAFETY: The file uses the number by accesses of its width; the module documentation has why
        // that is sound.
        unsafe impl OneLine for Atomic<$value> {
            #[inline]
            fn data(&self) -> *mut c_void {
                self.as_ptr().cast()
            }

            #[inline]
            unsafe fn create(
                &self,
                name: *const c_char,
                mode: bindings::umode_t,
                parent: *mut bindings::dentry,
            ) {
                // SAFETY: As the caller promises.
                unsafe { bindings::$function(name, mode, parent, self.data().cast()) };
            }
        }
    )*};
}

one_line! {
    U8: debugfs_create_u8,
    U16: debugfs_create_u16,
    u32: debugfs_create_u32,
    #[cfg(CONFIG_64BIT)]
    u64: debugfs_create_u64,
    usize: debugfs_create_size_t,
    ULong: debugfs_create_ulong,
    Hex<u8>: debugfs_create_x8,
    Hex<u16>: debugfs_create_x16,
    Hex<u32>: debugfs_create_x32,
    #[cfg(CONFIG_64BIT)]
    Hex<u64>: debugfs_create_x64,
    // As `debugfs_create_xul()`, which is inline, has it.
    #[cfg(CONFIG_64BIT)]
    Hex<c_ulong>: debugfs_create_x64,
    #[cfg(not(CONFIG_64BIT))]
    Hex<c_ulong>: debugfs_create_x32,
    i32: debugfs_create_atomic_t,
    bool: debugfs_create_bool,
}

/// A string that user space reads.
///
/// It stays as it is. C has a way for user space to write it, which frees the old string behind the back
/// of whoever reads it at the same time, and frees it twice if two write.
pub struct Str {
    text: *const c_char,
    // What `text` points to.
    _owner: CString,
}

// SAFETY: It owns what the pointer points to, which nobody changes.
unsafe impl Send for Str {}
// SAFETY: As above.
unsafe impl Sync for Str {}

impl Str {
    /// Fails with `ENOMEM`, and with `EINVAL` if there is a NUL in it.
    #[inline]
    pub fn new(text: &str) -> Result<Self> {
        let owner = CString::try_from_fmt(fmt!("{text}"))?;
        Ok(Self {
            text: owner.as_char_ptr(),
            _owner: owner,
        })
    }
}

// SAFETY: Without a bit for writing in the mode the file's operations have no `write`; and reading does
// not change the string.
unsafe impl OneLine for Str {
    #[inline]
    fn data(&self) -> *mut c_void {
        (&raw const self.text).cast_mut().cast()
    }

    #[inline]
    unsafe fn create(
        &self,
        name: *const c_char,
        mode: bindings::umode_t,
        parent: *mut bindings::dentry,
    ) {
        // SAFETY: As the caller promises. Neither pointer is null.
        unsafe { bindings::debugfs_create_str(name, mode & 0o444, parent, self.data().cast()) };
    }
}

/// Bytes that user space reads, and writes if it may, at any offset. Their number stays.
///
/// C copies them while others change them, so they are atomic one by one, but no more. Of a write from
/// memory that is not all there, the rest becomes zero, as `copy_from_user()` has it.
///
/// The mode does not keep root from writing.
pub struct Blob {
    wrapper: bindings::debugfs_blob_wrapper,
    bytes: KVec<Atomic<U8>>,
}

// SAFETY: It owns what the wrapper points to.
unsafe impl Send for Blob {}
// SAFETY: What the wrapper points to is changed as atomics only.
unsafe impl Sync for Blob {}

impl Blob {
    /// Fails with `ENOMEM`.
    #[inline]
    pub fn new(contents: &[u8]) -> Result<Self> {
        let mut bytes = KVec::with_capacity(contents.len(), GFP_KERNEL)?;
        for byte in contents {
            bytes.push(Atomic::new(U8(*byte)), GFP_KERNEL)?;
        }
        Ok(Self {
            wrapper: bindings::debugfs_blob_wrapper {
                data: bytes.as_mut_ptr().cast(),
                size: bytes.len(),
            },
            bytes,
        })
    }
}

impl Deref for Blob {
    type Target = [Atomic<U8>];

    fn deref(&self) -> &[Atomic<U8>] {
        &self.bytes
    }
}

// SAFETY: The file copies the bytes from and to user space. The processor does that, by instructions
// that no compiler knows of, and never in units of less than a byte.
unsafe impl OneLine for Blob {
    #[inline]
    fn data(&self) -> *mut c_void {
        (&raw const self.wrapper).cast_mut().cast()
    }

    #[inline]
    unsafe fn create(
        &self,
        name: *const c_char,
        mode: bindings::umode_t,
        parent: *mut bindings::dentry,
    ) {
        // SAFETY: As the caller promises. The wrapper is not written to.
        unsafe { bindings::debugfs_create_blob(name, mode, parent, self.data().cast()) };
    }
}

/// Numbers that user space reads, as they were when it opened the file. How many there are stays.
///
/// If all of them have ten digits, the C code has no room for the newline, and the file ends without.
pub struct U32Array {
    wrapper: bindings::debugfs_u32_array,
    numbers: KVec<Atomic<u32>>,
}

// SAFETY: It owns what the wrapper points to.
unsafe impl Send for U32Array {}
// SAFETY: What the wrapper points to is changed as atomics only.
unsafe impl Sync for U32Array {}

impl U32Array {
    /// How many numbers there can be: for each, open(2) allocates 11 bytes, in one piece. The kernel
    /// does not find larger pieces than eight pages as a matter of course.
    pub const MAX: usize =
        ((kernel::page::PAGE_SIZE << bindings::PAGE_ALLOC_COSTLY_ORDER) - 1) / 11;

    /// Fails with `EINVAL` if there are more than [`MAX`](Self::MAX), and with `ENOMEM`.
    #[inline]
    pub fn new(contents: &[u32]) -> Result<Self> {
        if contents.len() > Self::MAX {
            return Err(EINVAL);
        }
        let mut numbers = KVec::with_capacity(contents.len(), GFP_KERNEL)?;
        for number in contents {
            numbers.push(Atomic::new(*number), GFP_KERNEL)?;
        }
        Ok(Self {
            wrapper: bindings::debugfs_u32_array {
                array: numbers.as_mut_ptr().cast(),
                // CAST: No more than `MAX`.
                n_elements: numbers.len() as u32,
            },
            numbers,
        })
    }
}

impl Deref for U32Array {
    type Target = [Atomic<u32>];

    fn deref(&self) -> &[Atomic<u32>] {
        &self.numbers
    }
}

// SAFETY: The file reads the numbers by accesses of their width; the module documentation has why that
// is sound. It does not write them.
unsafe impl OneLine for U32Array {
    #[inline]
    fn data(&self) -> *mut c_void {
        (&raw const self.wrapper).cast_mut().cast()
    }

    #[inline]
    unsafe fn create(
        &self,
        name: *const c_char,
        mode: bindings::umode_t,
        parent: *mut bindings::dentry,
    ) {
        // SAFETY: As the caller promises. The wrapper is not written to.
        unsafe { bindings::debugfs_create_u32_array(name, mode, parent, self.data().cast()) };
    }
}

/// The permissions in `mode`. C takes the rest for the type of the file, and does not survive a wrong
/// one.
#[inline]
const fn permissions(mode: u16) -> bindings::umode_t {
    mode & 0o7777
}

/// A file of one value, and the value.
///
/// # Examples
///
/// ```
/// use callgate_kernel::debugfs::{Dir, Value, U8};
/// use kernel::sync::atomic::{ordering::Relaxed, Atomic};
///
/// let file = Value::new(&Dir::root(), "level", 0o644, Atomic::new(U8(3)))?;
/// // cat /sys/kernel/debug/level: 3
/// file.store(U8(4), Relaxed);
/// // cat /sys/kernel/debug/level: 4
/// # Ok::<(), kernel::error::Error>(())
/// ```
#[must_use = "it is removed from debugfs when this is dropped"]
pub struct Value<T: OneLine> {
    // The entry is dropped first; after that, nobody uses the value.
    _entry: Result<Entry>,
    value: KBox<T>,
}

impl<T: OneLine> Value<T> {
    /// Makes a file in `dir` with the permissions `mode`, owned by root.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory for the value. Nothing about the file is an error.
    #[inline]
    pub fn new(dir: &Dir, name: &str, mode: u16, value: T) -> Result<Self> {
        let value = KBox::new(value, GFP_KERNEL)?;
        // SAFETY: What `create_value()` returns is the file over this value, which it alone has.
        let entry = unsafe {
            Entry::new(dir, name, |parent, name| {
                // The parent is null or valid, and the name a C string. The value stays in its box
                // until the entry has been dropped, or for ever.
                create_value(&*value, name, permissions(mode), parent)
            })
        };
        Ok(Self {
            _entry: entry,
            value,
        })
    }
}

/// Makes a file over `value`, and returns its dentry.
///
/// # Safety
///
/// As for [`OneLine::create`]; and there must be no other file over `value`, nor may one be made
/// meanwhile.
#[inline]
unsafe fn create_value<T: OneLine>(
    value: &T,
    name: *const c_char,
    mode: bindings::umode_t,
    parent: *mut bindings::dentry,
) -> Result<*mut bindings::dentry> {
    // C does not say whether there is a file now, nor which. So it is looked up, and is the right one if
    // it leads to the value.
    //
    // SAFETY: As the caller promises. A parent that is null stands for the root of debugfs, which is
    // mounted for all to look into as long as there is anything in it; "bdi", for one, is from the start
    // of the kernel to its end.
    let dentry = unsafe {
        value.create(name, mode, parent);
        bindings::debugfs_lookup(name, parent)
    };
    if dentry.is_null() {
        return Err(ENOENT);
    }
    // SAFETY: We own a reference to the dentry, and it is not negative.
    let data = unsafe { (*(*dentry).d_inode).i_private };
    // SAFETY: Gives up that reference. If it is our file, it is there until we remove it.
    unsafe { bindings::dput(dentry) };
    if data == value.data() {
        Ok(dentry)
    } else {
        Err(EEXIST)
    }
}

impl<T: OneLine> Deref for Value<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// State of which parts are in files.
///
/// # Examples
///
/// ```
/// use callgate_kernel::debugfs::{Files, ScopedDir};
/// use kernel::{prelude::*, sync::atomic::Atomic};
///
/// struct Statistics {
///     sent: Atomic<u64>,
///     received: Atomic<u64>,
/// }
///
/// #[vtable]
/// impl Files for Statistics {
///     fn create<'a>(&'a self, dir: &ScopedDir<'a>) {
///         dir.value("sent", 0o444, &self.sent);
///         dir.value("received", 0o444, &self.received);
///     }
/// }
/// ```
#[vtable]
pub trait Files: Sized + Send + Sync + 'static {
    /// Makes the files.
    fn create<'a>(&'a self, dir: &ScopedDir<'a>);
}

/// A directory that goes with what is in it, and what its files are about.
///
/// Dropping it removes all of it, so it sleeps.
#[must_use = "it is removed from debugfs when this is dropped"]
pub struct Scope<T: Files> {
    // The entry is dropped first; after that, nobody uses the state.
    _entry: Result<Entry>,
    state: Arc<T>,
    // The files may also be over a static. Without this there are none.
    _hold: Result<Hold<T::OwnerModule>>,
}

impl<T: Files> Scope<T> {
    /// Makes a directory in `dir`, and in that the files of `state`.
    #[inline]
    pub fn new(dir: &Dir, name: &str, state: Arc<T>) -> Self {
        let hold = Hold::new();
        let entry = hold
            .as_ref()
            .map_err(|err| *err)
            .and_then(|_| dir.make_dir(name));
        if let Ok(entry) = &entry {
            T::create(
                &state,
                &ScopedDir {
                    dentry: entry.dentry.as_ptr(),
                    _lifetime: PhantomData,
                },
            );
        }
        Self {
            _entry: entry,
            state,
            _hold: hold,
        }
    }
}

impl<T: Files> Deref for Scope<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.state
    }
}

/// The directory of a [`Scope`], while its files are made.
///
/// # Invariants
///
/// `dentry` is a directory that is removed, and with it all that is in it, before `'a` ends.
pub struct ScopedDir<'a> {
    dentry: *mut bindings::dentry,
    // Neither shorter nor longer.
    _lifetime: PhantomData<fn(&'a ()) -> &'a ()>,
}

impl<'a> ScopedDir<'a> {
    /// Makes a file of one value with the permissions `mode`, owned by root.
    #[inline]
    pub fn value<T: OneLine>(&self, name: &str, mode: u16, value: &'a T) {
        if let Ok(name) = CString::try_from_fmt(fmt!("{name}")) {
            // SAFETY: The directory and the name are valid; the value is borrowed for as long as the
            // directory is there.
            unsafe { value.create(name.as_char_ptr(), permissions(mode), self.dentry) };
        }
    }
}

// Files with operations of their own.

/// A file, and the state that its callbacks find in the inode.
struct Registered<S, M: ModuleMetadata> {
    // The fields are dropped in this order: when the entry is, all callbacks but `release` are over.
    _entry: Result<Entry>,
    _shared: Arc<S>,
    _settle: Settle<M>,
    // Without this there is no file.
    _hold: Result<Hold<M>>,
}

impl<S, M: ModuleMetadata> Registered<S, M> {
    /// # Safety
    ///
    /// `ops` must be made for files whose state is an `S` that an `Arc` has. Its callbacks, `open`
    /// included, must be sound for as long as `debugfs_remove()` has not returned; beyond that, for as
    /// long as there are references that `open` took to the module.
    #[inline]
    unsafe fn new(
        dir: &Dir,
        name: &str,
        mode: u16,
        ops: &'static bindings::file_operations,
        shared: Arc<S>,
    ) -> Self {
        let (hold, settle) = (Hold::new(), Settle::new());
        let data = Arc::as_ptr(&shared).cast_mut().cast::<c_void>();
        let entry = hold.as_ref().map_err(|err| *err).and_then(|_| {
            // SAFETY: Nobody else has the file's dentry.
            unsafe {
                Entry::new(dir, name, |parent, name| {
                    // The parent is null, which is the root, or valid; the name is copied. `data` and
                    // `ops` are valid until the entry is dropped: `shared` is dropped after that, and
                    // until then `hold` keeps the module, which `ops` is in.
                    let mode = permissions(mode);
                    let file = bindings::debugfs_create_file_unsafe(name, mode, parent, data, ops);
                    from_err_ptr(file)
                })
            }
        });
        Self {
            _entry: entry,
            _shared: shared,
            _settle: settle,
            _hold: hold,
        }
    }
}

/// The state that the file was made with.
///
/// # Safety
///
/// `inode` must be that of a file whose state is an `S` that an `Arc` has, and while it is opened.
#[inline]
unsafe fn shared<S>(inode: *mut bindings::inode) -> Arc<S> {
    // SAFETY: The inode is valid. debugfs put there what it was given: a pointer from an `Arc`, which is
    // there while the file is opened.
    unsafe { ArcBorrow::from_raw((*inode).i_private.cast::<S>().cast_const()) }.into()
}

/// Gives `file` the operations `ops`, and with them a reference to the module `M`, which owns them.
///
/// # Errors
///
/// `ENXIO`: the module is not yet live, or no longer.
///
/// # Safety
///
/// `file` must be that of an open in progress; its operations must have no owner. The caller must return
/// the error as the result of the open, if there is one.
#[inline]
unsafe fn adopt<M: ModuleMetadata>(
    file: *mut bindings::file,
    ops: &'static bindings::file_operations,
) -> Result {
    // SAFETY: The module's code runs, which `debugfs_remove()` waits for; so it is there.
    if !unsafe { bindings::try_module_get(this_module::<M>().as_ptr()) } {
        // The VFS is about to look for an owner, when the module may be gone.
        //
        // SAFETY: The file is valid, and its operations are ours to set while it is being opened.
        unsafe { (*file).f_op = ptr::null() };
        return Err(ENXIO);
    }
    // SAFETY: As above. The VFS gives back the reference, whatever becomes of the open.
    unsafe { (*file).f_op = ops };
    match module::state::<M>() {
        None | Some(bindings::module_state_MODULE_STATE_LIVE) => Ok(()),
        Some(_) => Err(ENXIO),
    }
}

/// Makes a call on an open file, unless that has been removed, which waits for the call.
///
/// # Errors
///
/// `EIO`: the file has been removed.
///
/// # Safety
///
/// `file` must be a valid file of debugfs that is open.
#[inline]
unsafe fn guarded<R>(file: *mut bindings::file, call: impl FnOnce() -> R) -> Result<R> {
    // SAFETY: The file is valid, and so is its path, which never changes. bindgen numbers C's anonymous
    // unions; in another one there would be no such field.
    let dentry = unsafe { (*file).__bindgen_anon_1.f_path.dentry };
    // SAFETY: The dentry is that of a file of debugfs which was opened.
    to_result(unsafe { bindings::debugfs_file_get(dentry) })?;
    let result = call();
    // SAFETY: `debugfs_file_get()` succeeded.
    unsafe { bindings::debugfs_file_put(dentry) };
    Ok(result)
}

/// A file that does what `T` says.
///
/// Dropping it removes it as the [module documentation](self) has it, and sleeps.
///
/// # Examples
///
/// ```
/// use callgate_kernel::{debugfs::{Dir, File}, file::FileOperations};
/// use kernel::{prelude::*, sync::Arc};
///
/// fn hello<T: FileOperations<Shared = &'static [u8]>>(dir: &Dir) -> Result<File<T>> {
///     let text = Arc::new(b"hello\n".as_slice(), GFP_KERNEL)?;
///     Ok(File::new(dir, "hello", 0o444, text))
/// }
/// ```
#[must_use = "it is removed from debugfs when this is dropped"]
pub struct File<T: FileOperations>(
    #[expect(dead_code, reason = "to be dropped")] Registered<T::Shared, T::OwnerModule>,
);

impl<T: FileOperations> File<T> {
    /// Makes a file in `dir` with the permissions `mode`, owned by root.
    ///
    /// It can be opened once the module's `init` has succeeded; before, open(2) fails with `ENXIO`.
    #[inline]
    pub fn new(dir: &Dir, name: &str, mode: u16, shared: Arc<T::Shared>) -> Self {
        // SAFETY: The operations are made for `T`, which has such a state. `open` takes a reference to
        // the state and to the module.
        Self(unsafe { Registered::new(dir, name, mode, &Self::CLOSED, shared) })
    }

    /// # Safety
    ///
    /// `inode` and `file` must be those of an open in progress, with the operations `CLOSED`.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The file is being opened, by operations without owner.
        if let Err(err) = unsafe { adopt::<T::OwnerModule>(file, &Self::OPEN) } {
            return err.to_errno();
        }
        // SAFETY: The file is being opened, and its operations are from that table.
        let result = unsafe { file::VTable::<T, Self>::open(inode, file) };
        if result == 0 {
            // Who sleeps in poll(2) is in no callback, and on a wait queue that may be in the state. So
            // every open file has a reference to it, which `release` gives up.
            //
            // SAFETY: The state is a `T::Shared`, and the file is being opened.
            mem::forget(unsafe { shared::<T::Shared>(inode) });
        }
        result
    }

    /// # Safety
    ///
    /// As for [`file::Calls::release`]; `inode` must be that of the file.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: As the caller promises.
        let result = unsafe { file::Calls::<T>::release(inode, file) };
        // SAFETY: The inode is valid, and debugfs leaves in it what it was given, a pointer from an `Arc`.
        // `open` succeeded with this file, so this is the reference that it left.
        drop(unsafe { Arc::from_raw((*inode).i_private.cast::<T::Shared>().cast_const()) });
        result
    }

    /// # Safety
    ///
    /// As for [`file::Calls::read_iter`].
    unsafe extern "C" fn read_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: As the caller promises.
        let read = || unsafe { file::Calls::<T>::read_iter(kiocb, iter) };
        // SAFETY: The file of a valid kiocb is valid, and it is open.
        unsafe { guarded((*kiocb).ki_filp, read) }.unwrap_or_else(|err| err.to_errno() as isize)
    }

    /// # Safety
    ///
    /// As for [`file::Calls::write_iter`].
    unsafe extern "C" fn write_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: As the caller promises.
        let write = || unsafe { file::Calls::<T>::write_iter(kiocb, iter) };
        // SAFETY: The file of a valid kiocb is valid, and it is open.
        unsafe { guarded((*kiocb).ki_filp, write) }.unwrap_or_else(|err| err.to_errno() as isize)
    }

    /// # Safety
    ///
    /// As for [`file::Calls::llseek`].
    unsafe extern "C" fn llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        // SAFETY: As the caller promises.
        let seek = || unsafe { file::Calls::<T>::llseek(file, offset, whence) };
        // SAFETY: The file is valid, and it is open.
        unsafe { guarded(file, seek) }.unwrap_or_else(|err| err.to_errno().into())
    }

    /// # Safety
    ///
    /// As for [`file::Calls::poll`].
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: As the caller promises.
        let poll = || unsafe { file::Calls::<T>::poll(file, table) };
        // SAFETY: The file is valid, and it is open.
        unsafe { guarded(file, poll) }.unwrap_or(bindings::EPOLLHUP)
    }

    /// # Safety
    ///
    /// As for [`file::Calls::mmap_prepare`].
    unsafe extern "C" fn mmap_prepare(desc: *mut bindings::vm_area_desc) -> c_int {
        // SAFETY: As the caller promises.
        let prepare = || unsafe { file::Calls::<T>::mmap_prepare(desc) };
        // SAFETY: The file that is being mapped is valid, and it is open.
        unsafe { guarded((*desc).file, prepare) }.unwrap_or_else(|err| err.to_errno())
    }

    /// The operations of open files.
    const OPEN: bindings::file_operations = {
        assert!(!T::HAS_IOCTL, "a file in debugfs has no ioctl here");
        assert!(!T::HAS_SHOW_FDINFO, "a file in debugfs has no show_fdinfo");
        let ops = file::VTable::<T, Self>::build();
        bindings::file_operations {
            release: Some(Self::release),
            read_iter: if T::HAS_READ_ITER {
                Some(Self::read_iter)
            } else {
                None
            },
            write_iter: if T::HAS_WRITE_ITER {
                Some(Self::write_iter)
            } else {
                None
            },
            llseek: if T::HAS_LLSEEK {
                Some(Self::llseek)
            } else {
                None
            },
            poll: if T::HAS_POLL { Some(Self::poll) } else { None },
            mmap_prepare: if T::HAS_MMAP {
                Some(Self::mmap_prepare)
            } else {
                None
            },
            ..*ops
        }
    };

    /// The operations that debugfs is given.
    const CLOSED: bindings::file_operations = bindings::file_operations {
        owner: ptr::null_mut(),
        open: Some(Self::open),
        ..Self::OPEN
    };
}

// SAFETY: The state is the one that the file was made with.
unsafe impl<T: FileOperations> Registry<T> for File<T> {
    unsafe fn shared(
        inode: *mut bindings::inode,
        _file: *mut bindings::file,
    ) -> Option<Arc<T::Shared>> {
        // SAFETY: `File::new()` alone makes files with these operations, and their state is a
        // `T::Shared`. This one is being opened.
        Some(unsafe { shared(inode) })
    }
}

/// A file that lists the records of `T`.
///
/// Dropping it removes it as the [module documentation](self) has it, and sleeps.
#[must_use = "it is removed from debugfs when this is dropped"]
pub struct Sequence<T: seq_file::Sequence>(
    #[expect(dead_code, reason = "to be dropped")] Registered<T, T::OwnerModule>,
);

impl<T: seq_file::Sequence> Sequence<T> {
    /// Makes a file in `dir` with the permissions `mode`, owned by root.
    ///
    /// It can be opened once the module's `init` has succeeded; before, open(2) fails with `ENXIO`.
    #[inline]
    pub fn new(dir: &Dir, name: &str, mode: u16, sequence: Arc<T>) -> Self {
        // SAFETY: The operations are made for a `T`. `open` takes a reference to it and to the module.
        Self(unsafe { Registered::new(dir, name, mode, &Self::CLOSED, sequence) })
    }

    /// # Safety
    ///
    /// `inode` and `file` must be those of an open in progress, with the operations `CLOSED`.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The file is being opened, by operations without owner.
        let opened = unsafe { adopt::<T::OwnerModule>(file, &Self::OPEN) }.and_then(|()| {
            // SAFETY: `Sequence::new()` alone makes files with these operations, and their state is a
            // `T`. The file is being opened, and has the right release. debugfs does not use its private
            // data.
            unsafe { seq_file::VTable::open(file, shared::<T>(inode)) }
        });
        match opened {
            Ok(()) => 0,
            Err(err) => err.to_errno(),
        }
    }

    /// # Safety
    ///
    /// `kiocb` and `iter` must be valid for a read, and the file have the operations `OPEN`.
    unsafe extern "C" fn read_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: As the caller promises. `open` made it a `struct seq_file`.
        let read = || unsafe { bindings::seq_read_iter(kiocb, iter) };
        // SAFETY: The file of a valid kiocb is valid, and it is open.
        unsafe { guarded((*kiocb).ki_filp, read) }.unwrap_or_else(|err| err.to_errno() as isize)
    }

    /// # Safety
    ///
    /// `file` must be a valid file with the operations `OPEN`.
    unsafe extern "C" fn llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        // SAFETY: As the caller promises. `open` made it a `struct seq_file`.
        let seek = || unsafe { bindings::seq_lseek(file, offset, whence) };
        // SAFETY: The file is valid, and it is open.
        unsafe { guarded(file, seek) }.unwrap_or_else(|err| err.to_errno().into())
    }

    const OPEN: bindings::file_operations = bindings::file_operations {
        owner: this_module::<T::OwnerModule>().as_ptr(),
        read_iter: Some(Self::read_iter),
        llseek: Some(Self::llseek),
        release: Some(seq_file::VTable::<T>::release),
        ..pin_init::zeroed()
    };

    const CLOSED: bindings::file_operations = bindings::file_operations {
        owner: ptr::null_mut(),
        open: Some(Self::open),
        ..Self::OPEN
    };
}
