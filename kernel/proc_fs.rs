// SPDX-License-Identifier: GPL-2.0

//! Directories and files in `/proc`.
//!
//! C header: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h)
//!
//! What a [`File`] does is a [`FileOperations`], as for a device; what a [`Sequence`] lists is a
//! [`seq_file::Sequence`]. Both are gone from `/proc` when dropped, and a [`Dir`] when nothing that is
//! in it is left.
//!
//! Not supported:
//!
//! - Operations of [`FileOperations`] that a file in `/proc` cannot have, which do not compile: `ioctl`
//!   and `show_fdinfo`, and `poll`, because of the next paragraph.
//! - Symbolic links, owners other than root, files for each network namespace, and `mmap`.
//! - Being in a directory that somebody else made, such as `/proc/driver`.
//!
//! # When a file is removed
//!
//! An open file does not keep the module loaded, as an open device does. Instead `proc_remove()`
//! waits for all calls that are inside, and then releases the file for those who have it open: what
//! [`FileOperations::open`] returned is dropped. After that nothing of the file is called any more,
//! and the kernel answers in its place: read(2) and write(2) fail with `EIO`, lseek(2) with `EINVAL`,
//! open(2) with `ENOENT`.
//!
//! - Therefore files can be opened and used at once, even before the module's `init` has succeeded,
//!   and [`file::Settle`] is not needed.
//! - A callback must not wait for something that only whoever drops the file brings about, and must
//!   not drop the file itself: that is a deadlock. Nor should one wait for long: so long cannot the
//!   module be unloaded.
//! - Who sleeps in poll(2) is on a wait queue, but not inside a call. `proc_remove()` does not know
//!   about it, and the queue would be freed behind its back.
//!
//! # Names
//!
//! There is one name space for the whole of `/proc`. For a name that is taken the C functions return
//! null, as for lack of memory, after a `WARN`; so does a name with a `/` that leads nowhere, and some
//! others. Here these are errors. Whether a name is taken is looked up where the task that loads the
//! module has `/proc`; should that be something else, or two modules do this at the very same time,
//! the `WARN` comes after all, and the error is `ENOMEM`.

use crate::{
    bindings,
    file::{self, FileOperations, Registry},
    module::Hold,
    seq_file,
};
use core::{
    ffi::CStr,
    mem::MaybeUninit,
    ptr::{self, NonNull},
};
use kernel::{
    error::to_result,
    ffi::{c_char, c_int, c_void},
    prelude::*,
    str::CString,
    sync::{Arc, ArcBorrow},
    ModuleMetadata,
};

/// Something that is in `/proc`, and is no more when this is dropped.
struct Node {
    ptr: NonNull<bindings::proc_dir_entry>,
    /// Where it is, when `/proc` is where it should be.
    path: CString,
    /// What it is in; dropped after it has been removed from there.
    _parent: Dir,
}

// SAFETY: The C functions may be called from any thread.
unsafe impl Send for Node {}
// SAFETY: A shared reference gives away the pointer, as a directory to make something in, for which
// `/proc` has a lock.
unsafe impl Sync for Node {}

impl Node {
    /// Has `make` make an entry, from the parent's pointer and a name.
    #[inline]
    fn new(
        parent: &Dir,
        name: &str,
        make: impl FnOnce(*mut bindings::proc_dir_entry, *const c_char) -> *mut bindings::proc_dir_entry,
    ) -> Result<Self> {
        // A number in `/proc` itself is a process.
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        if matches!(name, "" | "." | "..") || name.contains('/') || parent.0.is_none() && is_number
        {
            return Err(EINVAL);
        }
        if name.len() > bindings::NAME_MAX as usize {
            return Err(ENAMETOOLONG);
        }
        let path = CString::try_from_fmt(fmt!("{}/{name}", parent.path()))?;
        if path.count_bytes() >= bindings::PATH_MAX as usize {
            return Err(ENAMETOOLONG);
        }
        if exists(&path) {
            return Err(EEXIST);
        }
        let at = path.count_bytes() - name.len();
        let ptr = make(parent.as_ptr(), path.as_char_ptr().wrapping_add(at));
        Ok(Self {
            ptr: NonNull::new(ptr).ok_or(ENOMEM)?,
            path,
            _parent: parent.clone(),
        })
    }
}

impl Drop for Node {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The entry was made in `new()`, this is the only call that removes it, and its parent
        // is still there. Nothing of ours is left in it, as that would own a reference to it.
        unsafe { bindings::proc_remove(self.ptr.as_ptr()) };
    }
}

/// Whether `path` leads to something in a `/proc`.
#[inline]
fn exists(path: &CStr) -> bool {
    let mut found: bindings::path = pin_init::zeroed();
    // SAFETY: Both pointers are valid.
    if unsafe { bindings::kern_path(path.as_char_ptr(), 0, &mut found) } != 0 {
        return false;
    }
    // SAFETY: `kern_path()` succeeded, so the path is valid, and we own a reference to it.
    let magic = unsafe { (*(*found.dentry).d_sb).s_magic };
    // SAFETY: Gives that reference up.
    unsafe { bindings::path_put(&found) };
    magic == bindings::PROC_SUPER_MAGIC as usize
}

/// A directory in `/proc`.
///
/// It is removed when it has been dropped, and all that is in it as well. That sleeps, so it must not
/// be dropped in atomic context.
///
/// # Examples
///
/// ```
/// use callgate_kernel::proc_fs::Dir;
///
/// let example = Dir::root().subdir("example")?;
/// let inner = example.subdir("inner")?;
/// drop(example);
/// // Both are there: `/proc/example/inner` needs its parent.
/// drop(inner);
/// // Now none is.
/// # Ok::<(), kernel::error::Error>(())
/// ```
#[derive(Clone)]
pub struct Dir(
    // `/proc` itself if there is none.
    Option<Arc<Node>>,
);

impl Dir {
    /// `/proc` itself.
    #[inline]
    pub const fn root() -> Self {
        Self(None)
    }

    /// Makes a directory in this one, with mode 0555, owned by root.
    ///
    /// # Errors
    ///
    /// - `EEXIST`: there is something of that name.
    /// - `EINVAL`: the name is empty, `.`, `..`, or in `/proc` itself a number; or there is a `/` or a
    ///   NUL in it.
    /// - `ENAMETOOLONG`: it has more than 255 bytes, or its path 4096.
    /// - `ENOMEM`.
    #[inline]
    pub fn subdir(&self, name: &str) -> Result<Self> {
        let node = Node::new(self, name, |parent, name| {
            // SAFETY: The parent is null, which is `/proc`, or valid; the name is copied, and is one
            // for which there is no `WARN`.
            unsafe { bindings::proc_mkdir(name, parent) }
        })?;
        Ok(Self(Some(Arc::new(node, GFP_KERNEL)?)))
    }

    #[inline]
    fn path(&self) -> &CStr {
        self.0.as_ref().map_or(c"/proc", |node| &node.path)
    }

    #[inline]
    fn as_ptr(&self) -> *mut bindings::proc_dir_entry {
        self.0
            .as_ref()
            .map_or(ptr::null_mut(), |node| node.ptr.as_ptr())
    }
}

/// A file in `/proc`, and the state that its callbacks find in the inode.
struct Registered<S, M: ModuleMetadata> {
    // The fields are dropped in this order: when the node is, all callbacks are over.
    _node: Node,
    _shared: Arc<S>,
    _hold: Hold<M>,
}

impl<S, M: ModuleMetadata> Registered<S, M> {
    /// # Safety
    ///
    /// `ops` must be made for files whose state is an `S` that an `Arc` has. Its callbacks must be
    /// sound for as long as `proc_remove()` has not returned.
    #[inline]
    unsafe fn new(
        dir: &Dir,
        name: &str,
        mode: u16,
        ops: &'static bindings::proc_ops,
        shared: Arc<S>,
    ) -> Result<Self> {
        // C would warn about other bits, and take 0 for 0444.
        if mode == 0 || mode & !0o777 != 0 {
            return Err(EINVAL);
        }
        let hold = Hold::new()?;
        let data = Arc::as_ptr(&shared).cast_mut().cast::<c_void>();
        let node = Node::new(dir, name, |parent, name| {
            // SAFETY: The parent is null, which is `/proc`, or valid; the name is copied, and is one
            // for which there is no `WARN`. `data` and `ops` are valid until the node is dropped, and
            // `proc_remove()` returned: `shared` is dropped after that, and until then `hold` keeps
            // the module, which `ops` is in.
            unsafe { bindings::proc_create_data(name, mode, parent, ops, data) }
        })?;
        Ok(Self {
            _node: node,
            _shared: shared,
            _hold: hold,
        })
    }
}

/// The state that the file was made with.
///
/// # Safety
///
/// `inode` must be that of a file in `/proc`, made with an `S` that an `Arc` has, and while one of its
/// callbacks runs.
#[inline]
unsafe fn shared<S>(inode: *mut bindings::inode) -> Arc<S> {
    // SAFETY: The inode is valid. `proc_get_inode()` put there what `proc_create_data()` was given: a
    // pointer from an `Arc`, which is there while callbacks run.
    unsafe { ArcBorrow::from_raw((*inode).i_private.cast::<S>().cast_const()) }.into()
}

/// A file in `/proc` that does what `T` says.
///
/// Dropping it waits for all calls that are inside and releases the file for those who have it open; so
/// it sleeps, and must not be dropped by a callback of its own. The [module documentation](self) has
/// more.
///
/// For an operation that `T` does not implement, the calls fail as `/proc` has it: read(2) and write(2)
/// with `EIO`, lseek(2) with `ESPIPE`. To write, `/proc` has no `write_iter` but a `write` of one buffer:
/// `T::write_iter` is called once for each buffer of a writev(2).
///
/// # Examples
///
/// With the `Hello` of [`FileOperations`], `/proc/greetings/hello`:
///
/// ```
/// use callgate_kernel::proc_fs::{Dir, File};
/// use kernel::{prelude::*, sync::Arc};
///
/// let greetings = Dir::root().subdir("greetings")?;
/// let text = Arc::new(b"hello\n".as_slice(), GFP_KERNEL)?;
/// let hello = File::<Hello>::new(&greetings, "hello", 0o444, text)?;
/// # Ok::<(), Error>(())
/// ```
pub struct File<T: FileOperations>(
    #[expect(dead_code, reason = "to be dropped")] Registered<T::Shared, T::OwnerModule>,
);

impl<T: FileOperations> File<T> {
    /// Makes a file in `dir` with the permissions `mode`, owned by root.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `mode` is 0 or has more than permissions (0o777).
    /// - Those of [`Dir::subdir`].
    #[inline]
    pub fn new(dir: &Dir, name: &str, mode: u16, shared: Arc<T::Shared>) -> Result<Self> {
        // SAFETY: The operations are made for `T`, which has such a state; and until a file has been
        // released, nothing that its callbacks need is dropped.
        let registered = unsafe { Registered::new(dir, name, mode, &Self::OPS, shared) };
        Ok(Self(registered?))
    }

    /// # Safety
    ///
    /// `file` must be a valid file with the operations of this table, and `pos` be valid, or null as it
    /// is for a stream; `buf` may be any user pointer.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        buf: *const c_char,
        len: usize,
        pos: *mut i64,
    ) -> isize {
        // As `new_sync_write()` has it.
        let mut iter = MaybeUninit::uninit();
        // SAFETY: `iter` may be written to. Any user pointer may be given, and is only read from.
        let ready = to_result(unsafe {
            bindings::import_ubuf(
                bindings::ITER_SOURCE as c_int,
                buf.cast_mut().cast(),
                len,
                iter.as_mut_ptr(),
            )
        });
        if let Err(err) = ready {
            return err.to_errno() as isize;
        }
        // SAFETY: The position is null or valid, and nobody else uses it.
        let pos = unsafe { pos.as_mut() };
        let mut kiocb = bindings::kiocb {
            ki_filp: file,
            ki_pos: pos.as_ref().map_or(0, |pos| **pos),
            // CAST: As C does.
            //
            // SAFETY: The file is valid.
            ki_flags: unsafe { (*file).f_iocb_flags } as c_int,
            ..pin_init::zeroed()
        };
        // SAFETY: Both are valid for a write, and the private data of the file is from the same table.
        let written = unsafe { file::Calls::<T>::write_iter(&mut kiocb, iter.as_mut_ptr()) };
        if let Some(pos) = pos.filter(|_| written > 0) {
            *pos = kiocb.ki_pos;
        }
        written
    }

    const OPS: bindings::proc_ops = {
        assert!(!T::HAS_POLL, "a file in /proc cannot be waited for");
        assert!(!T::HAS_IOCTL, "proc_fs has no ioctl");
        assert!(!T::HAS_MMAP, "a file in /proc cannot be mapped");
        assert!(!T::HAS_SHOW_FDINFO, "a file in /proc has no show_fdinfo");
        bindings::proc_ops {
            proc_open: Some(file::VTable::<T, Self>::open_at_any_time),
            proc_release: Some(file::Calls::<T>::release),
            proc_read_iter: if T::HAS_READ_ITER {
                Some(file::Calls::<T>::read_iter)
            } else {
                None
            },
            proc_write: if T::HAS_WRITE_ITER {
                Some(Self::write)
            } else {
                None
            },
            proc_lseek: if T::HAS_LLSEEK {
                Some(file::Calls::<T>::llseek)
            } else {
                None
            },
            ..pin_init::zeroed()
        }
    };
}

// SAFETY: The state is the one that the file was made with.
unsafe impl<T: FileOperations> Registry<T> for File<T> {
    unsafe fn shared(
        inode: *mut bindings::inode,
        _file: *mut bindings::file,
    ) -> Option<Arc<T::Shared>> {
        // SAFETY: `File::new()` alone makes files with these operations, and their state is a
        // `T::Shared`. This is one of their callbacks.
        Some(unsafe { shared(inode) })
    }
}

/// A file in `/proc` that lists the records of `T`.
///
/// Dropping it waits and releases as that of a [`File`] does.
pub struct Sequence<T: seq_file::Sequence>(
    #[expect(dead_code, reason = "to be dropped")] Registered<T, T::OwnerModule>,
);

impl<T: seq_file::Sequence> Sequence<T> {
    /// Makes a file in `dir` with the permissions `mode`, owned by root.
    ///
    /// # Errors
    ///
    /// Those of [`File::new`].
    #[inline]
    pub fn new(dir: &Dir, name: &str, mode: u16, sequence: Arc<T>) -> Result<Self> {
        // SAFETY: The operations are made for a `T`; and until a file has been released, nothing that
        // its callbacks need is dropped.
        let registered = unsafe { Registered::new(dir, name, mode, &Self::OPS, sequence) };
        Ok(Self(registered?))
    }

    /// # Safety
    ///
    /// `inode` and `file` must be those of an open in progress, with the operations of this table.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `Sequence::new()` alone makes files with these operations, and their state is a
        // `T`. This is one of their callbacks.
        let sequence = unsafe { shared::<T>(inode) };
        // SAFETY: The file is being opened; `/proc` does not use its private data. This table has the
        // right release.
        match unsafe { seq_file::VTable::open(file, sequence) } {
            Ok(()) => 0,
            Err(err) => err.to_errno(),
        }
    }

    const OPS: bindings::proc_ops = bindings::proc_ops {
        proc_open: Some(Self::open),
        proc_read_iter: Some(bindings::seq_read_iter),
        proc_lseek: Some(bindings::seq_lseek),
        proc_release: Some(seq_file::VTable::<T>::release),
        ..pin_init::zeroed()
    };
}
