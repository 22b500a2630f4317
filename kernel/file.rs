// SPDX-License-Identifier: GPL-2.0

//! The calls a user makes on an open device.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! A driver implements [`FileOperations`] and hands it to [`chardev::Registration`] or
//! [`misc::Registration`]; whoever has a file in `/proc` or in debugfs, to [`proc_fs::File`] or
//! [`debugfs::File`]. The trait is a sibling of [`kernel::miscdevice::MiscDevice`], which has no `poll`
//! and no `llseek`, knows only misc devices, and cannot give their node a mode.
//!
//! Not supported:
//!
//! - `fsync`, `flush`, `fasync`, splice and leases.
//! - `RWF_NOWAIT` of preadv2(2), which fails with `EOPNOTSUPP`: callbacks take sleeping locks.
//! - Asynchronous completion: `read_iter` and `write_iter` finish before they return.
//! - ioctl commands whose argument has another layout for 32-bit callers.
//! - A return value other than 0 from a successful ioctl.
//!
//! # Opening while a module comes and goes
//!
//! A device can be opened from the moment it is registered, which is before the module's `init` has
//! succeeded. When `init` fails after all, the kernel frees the module without looking at its
//! reference count (`do_init_module()`), so nobody may be left inside it, and no file may be left
//! open. Two things together see to this:
//!
//! - While the module is not yet live, every open fails with `ENXIO`. So it is short, and leaves no
//!   file behind.
//! - A registration that is dropped while the module is not yet live waits, by [`Settle`], until
//!   such opens have left. Each of them holds a reference to the module from before it enters the
//!   module until after it has left it, as `fops->owner` says. So does whoever is in another
//!   registration of the same module by then, and is waited for as well: what users can stay in before
//!   the module is live, such as a [`netlink`](crate::netlink) protocol, should be made last.
//!
//! A module that is live is kept by the same references: it is not unloaded before the last file is
//! closed.
//!
//! [`chardev::Registration`]: crate::chardev::Registration
//! [`debugfs::File`]: crate::debugfs::File
//! [`misc::Registration`]: crate::misc::Registration
//! [`proc_fs::File`]: crate::proc_fs::File

use crate::{
    bindings,
    ioctl::Call,
    mmap::{self, Mapping},
    module,
};
use core::{marker::PhantomData, mem::MaybeUninit, slice};
use kernel::{
    alloc::{Allocator, Vec},
    error::VTABLE_DEFAULT_ERROR,
    ffi::{c_int, c_long, c_uint, c_ulong},
    fs::{File, Kiocb, LocalFile},
    iov::{IovIterDest, IovIterSource},
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    sync::{poll::PollTable, Arc, ArcBorrow},
    time::{delay::fsleep, Delta},
    types::ForeignOwnable,
    ModuleMetadata,
};

/// There is something to read. To be returned by [`FileOperations::poll`], like the others.
pub const EPOLLIN: u32 = bindings::EPOLLIN;
/// There is ordinary data to read; a device that returns this returns [`EPOLLIN`] as well.
pub const EPOLLRDNORM: u32 = bindings::EPOLLRDNORM;
/// The file is of no use any more. Reported also to who did not ask for it.
pub const EPOLLERR: u32 = bindings::EPOLLERR;
/// A write would not block.
pub const EPOLLOUT: u32 = bindings::EPOLLOUT;
/// A write of ordinary data would not block; goes with [`EPOLLOUT`].
pub const EPOLLWRNORM: u32 = bindings::EPOLLWRNORM;

/// What a device does when its files are opened and used.
///
/// An operation that is not implemented fails as the VFS has it: `EINVAL` for read(2) and write(2),
/// `ESPIPE` for lseek(2), `ENOTTY` for ioctl(2), `ENODEV` for mmap(2); poll(2) finds the file always
/// ready, and epoll_ctl(2) refuses it with `EPERM`.
///
/// Where each instruction counts, mark an operation with `#[inline]`: it then becomes one function with the
/// one that the kernel calls.
///
/// # Examples
///
/// A device that reads as `hello`, once for each open:
///
/// ```
/// use callgate_kernel::file::{self, FileOperations};
/// use kernel::{
///     fs::{File, Kiocb, LocalFile},
///     iov::IovIterDest,
///     prelude::*,
///     sync::{Arc, ArcBorrow},
/// };
///
/// struct Hello;
///
/// #[vtable]
/// impl FileOperations for Hello {
///     type Shared = &'static [u8];
///     type Ptr = Arc<&'static [u8]>;
///
///     fn open(shared: ArcBorrow<'_, Self::Shared>, _file: &File) -> Result<Self::Ptr> {
///         Ok(shared.into())
///     }
///
///     fn read_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
///         let text = kiocb.file();
///         file::read_from_buffer(iov, kiocb.ki_pos_mut(), &text)
///     }
///
///     fn llseek(
///         text: ArcBorrow<'_, Self::Shared>,
///         file: &LocalFile,
///         offset: i64,
///         whence: i32,
///     ) -> Result<i64> {
///         file::fixed_size_llseek(file, offset, whence, text.len() as i64)
///     }
/// }
/// ```
#[vtable]
pub trait FileOperations: Sized {
    /// The device: what all its open files share. It lives as long as the registration or anybody
    /// who took a reference in [`open`](Self::open).
    type Shared: Send + Sync + 'static;

    /// What one open file owns. It is dropped when the file is released.
    type Ptr: ForeignOwnable + Send + Sync;

    /// Opens the device. `file` still has the flags that open(2) drops later, such as `O_EXCL`.
    ///
    /// For a [`misc`](crate::misc) device this runs under the lock of all misc devices: while it
    /// waits, none can be opened; and to register or drop one here is a deadlock.
    ///
    /// For a device it is not called, and open(2) fails with `ENXIO`, while the module is not yet live or
    /// once the registration is being dropped.
    fn open(shared: ArcBorrow<'_, Self::Shared>, file: &File) -> Result<Self::Ptr>;

    /// Copies to the user, and returns how many bytes. `Ok(0)` is the end of the file. A count of more
    /// bytes than were copied becomes `EIO`.
    ///
    /// A user's bad pointer shows as a short count of [`IovIterDest::copy_to_iter`]; a read that
    /// could copy nothing must fail with `EFAULT`, or it would look like the end of the file.
    /// [`read_from_buffer`] does so.
    fn read_iter(_kiocb: Kiocb<'_, Self::Ptr>, _iov: &mut IovIterDest<'_>) -> Result<usize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Copies from the user.
    ///
    /// A user's bad pointer shows as a short count of [`IovIterSource::copy_from_iter`];
    /// [`copy_whole`] turns it into `EFAULT`.
    fn write_iter(_kiocb: Kiocb<'_, Self::Ptr>, _iov: &mut IovIterSource<'_>) -> Result<usize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Moves the file position and returns the new one.
    ///
    /// A device without it is a stream: lseek(2), pread(2) and pwrite(2) fail with `ESPIPE`. On a
    /// device with it, those who share an open file take turns in lseek(2), read(2) and write(2), as
    /// on a regular file: so a read that waits keeps others from seeking.
    fn llseek(
        _ptr: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _file: &LocalFile,
        _offset: i64,
        _whence: i32,
    ) -> Result<i64> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Registers the caller with the wait queues whose wake-up may change the answer, and returns
    /// what the file is ready for: [`EPOLLIN`] and the like.
    ///
    /// A condvar that is registered must outlive the open file, so keep it in what
    /// [`Ptr`](Self::Ptr) holds. [`PollTable::register_wait`] does not ask for that, although it is a
    /// safe function: upstream's gap. If the condvar is dropped while somebody sleeps in poll(2) or
    /// select(2), that task takes itself off a wait queue which is no more.
    fn poll(
        _ptr: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _file: &File,
        _table: PollTable<'_>,
    ) -> u32 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Carries out an ioctl command; a number it does not know must fail with `ENOTTY`.
    ///
    /// 32-bit callers come here too, with their pointer widened by `compat_ptr_ioctl()`.
    fn ioctl(_ptr: <Self::Ptr as ForeignOwnable>::Borrowed<'_>, _call: Call) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Says which memory mmap(2) maps, and how.
    ///
    /// What is mapped is borrowed from what the open file owns; and every mapping holds the file, also
    /// when its descriptor has been closed. So memory, file and module stay until the last mapping is gone.
    ///
    /// This runs with the lock of the caller's address space, so it must neither copy from or to user
    /// memory nor take a lock under which others do.
    fn mmap<'a>(
        _ptr: <Self::Ptr as ForeignOwnable>::Borrowed<'a>,
        _file: &'a File,
    ) -> Result<Mapping<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Adds lines to `/proc/PID/fdinfo/FD`.
    fn show_fdinfo(_ptr: <Self::Ptr as ForeignOwnable>::Borrowed<'_>, _m: &SeqFile) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// Reads from a device whose whole contents are `contents`, from `pos` on, and advances `pos`.
///
/// As [`IovIterDest::simple_read_from_buffer`], but a bad user pointer does not look like the end.
///
/// # Errors
///
/// - `EINVAL`: `pos` is negative.
/// - `EFAULT`: there was something to copy, and not one byte of it could be.
#[inline]
pub fn read_from_buffer(
    iov: &mut IovIterDest<'_>,
    pos: &mut i64,
    contents: &[u8],
) -> Result<usize> {
    let start = *pos;
    let count = iov.simple_read_from_buffer(pos, contents)?;
    if count == 0 && !iov.is_empty() {
        // Nothing was copied. At the end there was nothing to copy.
        let available = usize::try_from(start).is_ok_and(|start| start < contents.len());
        if available {
            return Err(EFAULT);
        }
    }
    Ok(count)
}

/// Fills `out` from the user as far as it goes, and returns the part that was filled. A user's bad pointer shows
/// as a shorter one.
///
/// As [`IovIterSource::copy_from_iter_raw`], whose result borrows the iterator and not `out`: upstream's gap, by
/// which the bytes can be used when `out` is gone.
#[inline]
pub fn copy_to<'a>(iov: &mut IovIterSource<'_>, out: &'a mut [MaybeUninit<u8>]) -> &'a mut [u8] {
    let filled = iov.copy_from_iter_raw(out).len();
    // SAFETY: So many bytes at the beginning of `out` were just initialised.
    unsafe { slice::from_raw_parts_mut(out.as_mut_ptr().cast(), filled) }
}

/// Fills `out` from the user.
///
/// # Errors
///
/// `EFAULT`: not all of `out` could be copied. `out` may be partly overwritten.
#[inline]
pub fn copy_whole(iov: &mut IovIterSource<'_>, out: &mut [u8]) -> Result {
    if iov.copy_from_iter(out) != out.len() {
        return Err(EFAULT);
    }
    Ok(())
}

/// Takes all that the user wrote. Who is to limit it looks at [`IovIterSource::len`] first.
///
/// # Errors
///
/// - `EFAULT`: not all of it could be copied.
/// - `ENOMEM`.
#[inline]
pub fn copy_to_vec<A: Allocator>(iov: &mut IovIterSource<'_>) -> Result<Vec<u8, A>> {
    let wanted = iov.len();
    let mut bytes = Vec::new();
    if iov.copy_from_iter_vec(&mut bytes, GFP_KERNEL)? != wanted {
        return Err(EFAULT);
    }
    Ok(bytes)
}

/// Implements [`FileOperations::llseek`] for a device of `size` bytes: any position from 0 to `size`
/// by `SEEK_SET`, `SEEK_CUR` and `SEEK_END`.
///
/// # Errors
///
/// `EINVAL`: another position, or another `whence`.
#[inline]
pub fn fixed_size_llseek(file: &LocalFile, offset: i64, whence: i32, size: i64) -> Result<i64> {
    // SAFETY: `file` is a valid file; the function takes what locks it needs.
    let pos = unsafe { bindings::fixed_size_llseek(file.as_ptr(), offset, whence, size) };
    if pos < 0 {
        // CAST: A negative result is an error number, which fits.
        return Err(Error::from_errno(pos as i32));
    }
    Ok(pos)
}

/// Implements [`FileOperations::llseek`] for a file that holds `size` bytes and may grow to `limit`: any
/// position from 0 to `limit`. `SEEK_END` counts from `size`; for `SEEK_DATA` and `SEEK_HOLE`, all of
/// the file is data.
///
/// # Errors
///
/// - `EINVAL`: another position, or another `whence`.
/// - `ENXIO`: `SEEK_DATA` or `SEEK_HOLE` at `size` or behind.
#[inline]
pub fn growing_llseek(
    file: &LocalFile,
    offset: i64,
    whence: i32,
    size: i64,
    limit: i64,
) -> Result<i64> {
    // SAFETY: `file` is a valid file; the function takes what locks it needs.
    let pos =
        unsafe { bindings::generic_file_llseek_size(file.as_ptr(), offset, whence, limit, size) };
    if pos < 0 {
        // CAST: A negative result is an error number, which fits.
        return Err(Error::from_errno(pos as i32));
    }
    Ok(pos)
}

/// Whether a write must go to the end, wherever the file position is: because the file is `O_APPEND`,
/// or pwritev2(2) was told `RWF_APPEND`.
#[inline]
pub fn is_appending<T: ForeignOwnable>(kiocb: &Kiocb<'_, T>) -> bool {
    // SAFETY: `kiocb` is valid, by the type invariants of `Kiocb`.
    let flags = unsafe { (*kiocb.as_raw()).ki_flags };
    flags & bindings::IOCB_APPEND != 0
}

/// Whether a read or write must fail with `EAGAIN` where it would otherwise wait: because the file is
/// `O_NONBLOCK`, or because io_uring(7) tries first whether it can do without a thread
/// (`IOCB_NOWAIT`).
#[inline]
pub fn is_nonblocking<T: ForeignOwnable>(kiocb: &Kiocb<'_, T>) -> bool {
    let kiocb = kiocb.as_raw();
    // SAFETY: `kiocb` is valid, by the type invariants of `Kiocb`.
    let (flags, file) = unsafe { ((*kiocb).ki_flags, (*kiocb).ki_filp) };
    // SAFETY: The file of a valid kiocb is valid. fcntl(2) may change the flags at any time, hence
    // the volatile read.
    let file_flags = unsafe { (&raw const (*file).f_flags).read_volatile() };
    flags & bindings::IOCB_NOWAIT != 0 || file_flags & bindings::O_NONBLOCK != 0
}

/// Waits, when dropped, until nobody is left in a module that has not finished initialising.
///
/// A registration has it behind what it registered, so that it is dropped when no further open can begin.
/// The [module documentation](self) has the reason.
///
/// It waits for the module's reference count to fall to the one reference that initialising holds.
/// So a module that takes a lasting reference to itself during `init` must not fail afterwards; and
/// users who never stop trying to open its devices can prolong the wait.
pub struct Settle<M: ModuleMetadata>(PhantomData<fn() -> M>);

impl<M: ModuleMetadata> Settle<M> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M: ModuleMetadata> Drop for Settle<M> {
    #[inline]
    fn drop(&mut self) {
        if module::state::<M>() != Some(bindings::module_state_MODULE_STATE_COMING) {
            return;
        }
        // SAFETY: The module is there: it is initialising.
        while unsafe { bindings::module_refcount(this_module::<M>().as_ptr()) } > 1 {
            fsleep(Delta::from_millis(1));
        }
    }
}

/// What a read that moved an iterator from `before` to `after` bytes left returns to the VFS.
///
/// Whoever calls it relies on no more being reported than was copied: splice(2) on a file in `/proc`, for
/// one, hands on as many pages as the count says, with what happens to be in them. So a larger count is an
/// error, `EIO`. What [`IovIterDest::advance`] passes over counts as moved; it is for what was written by
/// other means.
#[inline]
fn moved(result: Result<usize>, before: usize, after: usize) -> isize {
    match result {
        // CAST: No more than the iterator's length, which the VFS limits to `MAX_RW_COUNT`.
        Ok(count) if count <= before.saturating_sub(after) => count as isize,
        Ok(_) => EIO.to_errno() as isize,
        Err(err) => err.to_errno() as isize,
    }
}

/// How a kind of registration finds the shared state of the device that is being opened.
///
/// # Safety
///
/// If [`shared`](Self::shared) returns a state, it must be that of the registration through which
/// the file is being opened.
pub(crate) unsafe trait Registry<T: FileOperations> {
    /// Returns the state, or `None` if the registration is being dropped.
    ///
    /// # Safety
    ///
    /// `inode` and `file` must be those of an open in progress, with the operations that
    /// [`VTable::<T, Self>`](VTable) made.
    unsafe fn shared(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> Option<Arc<T::Shared>>;
}

/// The `struct file_operations` of devices of type `T` registered by `R`.
///
/// A file that has these operations has the `T::Ptr` that `T::open` returned as its private data,
/// from the end of `open` to `release`.
pub(crate) struct VTable<T, R>(PhantomData<(T, R)>);

impl<T: FileOperations, R: Registry<T>> VTable<T, R> {
    /// # Safety
    ///
    /// `inode` and `file` must be those of an open in progress, with the operations of this table.
    pub(crate) unsafe extern "C" fn open(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        if module::state::<T::OwnerModule>()
            .is_some_and(|state| state != bindings::module_state_MODULE_STATE_LIVE)
        {
            return ENXIO.to_errno();
        }
        // SAFETY: The caller's promise is the one asked for.
        unsafe { Self::open_at_any_time(inode, file) }
    }

    /// As `open`, but not only while the module is live: for a file whose removal waits for all who
    /// are inside, and releases it if it is open.
    ///
    /// # Safety
    ///
    /// `inode` and `file` must be those of an open in progress, with the operations of this table.
    pub(crate) unsafe extern "C" fn open_at_any_time(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: The caller's promise is the one asked for.
        let Some(shared) = (unsafe { R::shared(inode, file) }) else {
            return ENXIO.to_errno();
        };
        if T::HAS_LLSEEK {
            // The VFS does this for regular files and directories only. Without it `fdget_pos()`
            // never locks the position.
            //
            // SAFETY: The file is valid, and nobody else uses it yet.
            unsafe { (*file).f_mode |= bindings::FMODE_ATOMIC_POS };
        } else {
            // SAFETY: Both pointers are valid, and nobody else uses the file yet. It always
            // returns 0.
            unsafe { bindings::stream_open(inode, file) };
        }

        let ptr = {
            // SAFETY: The file is valid during this call. It is in no descriptor table yet, so
            // nobody has called `fdget_pos()` on it.
            let file = unsafe { File::from_raw_file(file) };
            match T::open(shared.as_arc_borrow(), file) {
                Ok(ptr) => ptr,
                Err(err) => return err.to_errno(),
            }
        };
        // SAFETY: The file is valid, and its private data is ours to set while it is being opened.
        unsafe { (*file).private_data = ptr.into_foreign() };
        0
    }

    const VTABLE: bindings::file_operations = bindings::file_operations {
        owner: this_module::<T::OwnerModule>().as_ptr(),
        open: Some(Self::open),
        release: Some(Calls::<T>::release),
        read_iter: if T::HAS_READ_ITER {
            Some(Calls::<T>::read_iter)
        } else {
            None
        },
        write_iter: if T::HAS_WRITE_ITER {
            Some(Calls::<T>::write_iter)
        } else {
            None
        },
        llseek: if T::HAS_LLSEEK {
            Some(Calls::<T>::llseek)
        } else {
            None
        },
        poll: if T::HAS_POLL {
            Some(Calls::<T>::poll)
        } else {
            None
        },
        unlocked_ioctl: if T::HAS_IOCTL {
            Some(Calls::<T>::ioctl)
        } else {
            None
        },
        compat_ioctl: if T::HAS_IOCTL {
            bindings::compat_ptr_ioctl
        } else {
            None
        },
        mmap_prepare: if T::HAS_MMAP {
            Some(Calls::<T>::mmap_prepare)
        } else {
            None
        },
        show_fdinfo: if T::HAS_SHOW_FDINFO {
            Some(Calls::<T>::show_fdinfo)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    pub(crate) const fn build() -> &'static bindings::file_operations {
        &Self::VTABLE
    }
}

/// What the kernel calls on a file that has been opened, however that was done. So there is one of each for a `T`
/// that several kinds of registration have, and the compiler can inline what it does.
pub(crate) struct Calls<T>(PhantomData<T>);

impl<T: FileOperations> Calls<T> {
    /// # Safety
    ///
    /// `file` must be a file that has the operations of a [`VTable`] for `T` and is being released.
    pub(crate) unsafe extern "C" fn release(
        _: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: `open` put the pointer there. This is the last call on the file, and the only one
        // in progress, so nothing borrows it any more.
        drop(unsafe { T::Ptr::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// `kiocb` and `iter` must be valid for a read, and the file have the operations of a [`VTable`] for `T`.
    pub(crate) unsafe extern "C" fn read_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The kiocb is valid during this call, and the private data of its file is a
        // `T::Ptr`.
        let kiocb = unsafe { Kiocb::from_raw(kiocb) };
        // SAFETY: The iterator is valid, a destination, and ours alone during this call.
        let iov = unsafe { IovIterDest::from_raw(iter) };

        let before = iov.len();
        let result = T::read_iter(kiocb, iov);
        moved(result, before, iov.len())
    }

    /// # Safety
    ///
    /// `kiocb` and `iter` must be valid for a write, and the file have the operations of a [`VTable`] for `T`.
    pub(crate) unsafe extern "C" fn write_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The kiocb is valid during this call, and the private data of its file is a
        // `T::Ptr`.
        let kiocb = unsafe { Kiocb::from_raw(kiocb) };
        // SAFETY: The iterator is valid, a source, and ours alone during this call.
        let iov = unsafe { IovIterSource::from_raw(iter) };

        match T::write_iter(kiocb, iov) {
            // CAST: No more than the iterator's length, which the VFS limits to `MAX_RW_COUNT`.
            Ok(count) => count as isize,
            Err(err) => err.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// `file` must be a valid file with the operations of a [`VTable`] for `T`.
    pub(crate) unsafe extern "C" fn llseek(
        file: *mut bindings::file,
        offset: i64,
        whence: c_int,
    ) -> i64 {
        // SAFETY: `open` put a `T::Ptr` there; it stays until `release`, which comes after this.
        let ptr = unsafe { T::Ptr::borrow((*file).private_data) };
        // SAFETY: The file is valid during this call. `open` set `FMODE_ATOMIC_POS`, so a
        // `fdget_pos()` that did not lock found that the caller alone had the file: it was this
        // thread's.
        //
        // Somebody else can have got hold of the file since, by pidfd_getfd(2). C puts up with that
        // for all but directories, and so do we: what is raced for is the position, which no Rust
        // code touches.
        let file = unsafe { LocalFile::from_raw_file(file) };

        T::llseek(ptr, file, offset, whence).unwrap_or_else(|err| err.to_errno().into())
    }

    /// # Safety
    ///
    /// `file` must be a valid file with the operations of a [`VTable`] for `T`; `table` must be null or valid.
    pub(crate) unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: `open` put a `T::Ptr` there; it stays until `release`, which comes after this.
        let ptr = unsafe { T::Ptr::borrow((*file).private_data) };
        // SAFETY: The file is valid during this call.
        //
        // That nobody is in a `fdget_pos()` without the lock cannot be promised: on a stream it never
        // locks, and epoll polls a file that another process believes to have alone. What the lock
        // guards is the position. A stream has none (`file_ppos()`), and a `File` gives no access to
        // that of another file; so nothing here depends on the lock.
        let file = unsafe { File::from_raw_file(file) };
        // SAFETY: `table` is null or valid during this call.
        let table = unsafe { PollTable::from_raw(table) };

        T::poll(ptr, file, table)
    }

    /// # Safety
    ///
    /// `file` must be a valid file with the operations of a [`VTable`] for `T`.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: `open` put a `T::Ptr` there; it stays until `release`, which comes after this.
        let ptr = unsafe { T::Ptr::borrow((*file).private_data) };

        match T::ioctl(ptr, Call::new(cmd, arg)) {
            Ok(()) => 0,
            Err(err) => err.to_errno() as c_long,
        }
    }

    /// # Safety
    ///
    /// `desc` must be valid and ours, and its file have the operations of a [`VTable`] for `T`.
    pub(crate) unsafe extern "C" fn mmap_prepare(desc: *mut bindings::vm_area_desc) -> c_int {
        // SAFETY: The caller promises that it is valid.
        let file = unsafe { (*desc).file };
        // The lifetime is that of the open file. `T::mmap()` works for any, hence for this one.
        //
        // SAFETY: `open` put a `T::Ptr` there; it stays until `release`, which comes when the last
        // mapping is gone.
        let ptr = unsafe { T::Ptr::borrow((*file).private_data) };
        // SAFETY: The file is valid until the last mapping is gone. As to `fdget_pos()`, see `poll`.
        let file = unsafe { File::from_raw_file(file) };
        let result = T::mmap(ptr, file).and_then(|mapping| {
            // SAFETY: As the caller promises; and the mapping's memory lives as long as the file is open.
            unsafe { mapping.describe(desc, &Self::VM_OPS) }
        });
        match result {
            Ok(()) => 0,
            Err(err) => err.to_errno(),
        }
    }

    /// What the kernel calls for an area that `mmap_prepare` described.
    const VM_OPS: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(mmap::fault),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `file` must be a valid file with the operations of a [`VTable`] for `T`; `m` must be valid and ours.
    unsafe extern "C" fn show_fdinfo(m: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: `open` put a `T::Ptr` there; it stays until `release`, which comes after this.
        let ptr = unsafe { T::Ptr::borrow((*file).private_data) };
        // SAFETY: `m` is valid, and used by this thread alone, during this call.
        let m = unsafe { SeqFile::from_raw(m) };

        T::show_fdinfo(ptr, m);
    }
}
