// SPDX-License-Identifier: GPL-2.0

//! Files that list records: the kernel's state, one record after the other, under the caller's lock.
//!
//! C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)
//!
//! [`kernel::seq_file`] prints into a file of this kind. This is the other half: a [`Sequence`] is the
//! state that is listed, and knows how to go from record to record. Where the file is, is not its
//! concern: in `/proc` it is a [`proc_fs::Sequence`](crate::proc_fs::Sequence).
//!
//! Not supported:
//!
//! - `SEQ_SKIP`: a record for which nothing is printed is passed over just as well.
//! - Sequences that fail to start or to go on. What fails is [`show`](Sequence::show).
//! - State of one's own for each open file.
//! - Writing, and waiting by poll(2).
//!
//! # What happens in a read
//!
//! ```text
//! lock, start, show, next, show, next, …, show, unlock; copy to the user
//! ```
//!
//! What is shown goes into a buffer, a page at first. It is copied to the user when the lock has been
//! given back, so nobody can keep the lock by giving an address that faults slowly. A record that does
//! not fit is taken back and shown again: in the next read, or in a larger buffer, if it is the first.
//!
//! The C code calls `start`, `next`, `show` and `stop`, and has its own rules when. Here `stop` has
//! no code at all: [`Guard`](Sequence::Guard) is dropped, exactly once for each
//! [`lock`](Sequence::lock), whatever has failed in between.
//!
//! # Positions
//!
//! A reader comes back with the position of the record that is next, and may find the records changed.
//! If the position is an index, it then skips or repeats records. If it is a key by which records are
//! ordered, a reader sees each record that was there all the time just once, and to come back takes no
//! longer than to find a key. So a position should be a key.
//!
//! A file position counts bytes instead. To seek, the kernel shows everything from the first record
//! to there, and throws it away; when records change, so does what is at a file position.

use crate::bindings;
use core::{marker::PhantomData, ptr};
use kernel::{
    error::to_result,
    ffi::{c_int, c_void},
    fmt,
    prelude::*,
    seq_file::SeqFile,
    str::BStr,
    sync::Arc,
};

/// Bytes as text, with escapes for those that are not printable ASCII: what [`BStr`] prints.
///
/// That prints byte by byte, of which each takes more than 70 instructions. Here what needs no escapes is printed
/// at once, which makes a difference where a record is long.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        loop {
            let plain = rest.iter().take_while(|byte| matches!(byte, b' '..=b'~'));
            let (plain, others) = rest.split_at(plain.count());
            f.write_str(core::str::from_utf8(plain).map_err(|_| fmt::Error)?)?;
            let Some((other, after)) = others.split_first() else {
                return Ok(());
            };
            fmt::Display::fmt(BStr::from_bytes(core::slice::from_ref(other)), f)?;
            rest = after;
        }
    }
}

/// Kernel state that is listed in a file, record by record.
///
/// # Examples
///
/// The names in a tree, in the order of their numbers:
///
/// ```
/// use callgate_kernel::seq_file::Sequence;
/// use kernel::{
///     prelude::*,
///     rbtree::{CursorMut, RBTree},
///     seq_file::{seq_print, SeqFile},
///     sync::{lock::mutex::MutexBackend, lock::Guard, Mutex},
/// };
///
/// type Tree = RBTree<u64, &'static str>;
///
/// #[pin_data]
/// struct Names {
///     #[pin]
///     tree: Mutex<Tree>,
/// }
///
/// #[vtable]
/// impl Sequence for Names {
///     type Guard<'a> = Guard<'a, Tree, MutexBackend>;
///     type Cursor<'g> = CursorMut<'g, u64, &'static str>;
///
///     fn lock(&self) -> Self::Guard<'_> {
///         self.tree.lock()
///     }
///
///     fn start<'g>(tree: &'g mut Self::Guard<'_>, pos: u64) -> Option<Self::Cursor<'g>> {
///         tree.cursor_lower_bound_mut(&pos)
///     }
///
///     fn next(cursor: Self::Cursor<'_>) -> Option<Self::Cursor<'_>> {
///         cursor.move_next()
///     }
///
///     fn pos(cursor: &Self::Cursor<'_>) -> u64 {
///         *cursor.current().0
///     }
///
///     fn show(cursor: &Self::Cursor<'_>, m: &SeqFile) -> Result {
///         let (number, name) = cursor.current();
///         seq_print!(m, "{number}\t{name}\n");
///         Ok(())
///     }
/// }
/// ```
#[vtable]
pub trait Sequence: Sized + Send + Sync + 'static {
    /// What is held while records are shown, as a rule the guard of a lock. To drop it is C's `stop`.
    ///
    /// With the guard of a spinlock, or of RCU, no other method may sleep while it is there. As
    /// everywhere in the `kernel` crate, the compiler does not see to that; [`seq_print!`] does not
    /// sleep.
    ///
    /// [`seq_print!`]: kernel::seq_file::seq_print
    type Guard<'a>;

    /// A place at one record, valid while the guard is held.
    type Cursor<'g>;

    /// Takes what is to be held, or waits for it.
    fn lock(&self) -> Self::Guard<'_>;

    /// Finds the first record at `pos` or after. 0 is before all records.
    fn start<'g>(guard: &'g mut Self::Guard<'_>, pos: u64) -> Option<Self::Cursor<'g>>;

    /// Moves to the record that follows.
    fn next(cursor: Self::Cursor<'_>) -> Option<Self::Cursor<'_>>;

    /// The position of the record. It must be larger than that of all records before, or a reader may
    /// never come to the end; and it must be less than [`u64::MAX`], which stands for the end.
    fn pos(cursor: &Self::Cursor<'_>) -> u64;

    /// Prints the record. What does not fit is no error here, and is printed again; so this must do
    /// nothing else.
    ///
    /// On an error the reader gets the records before this one, and the error when it comes back.
    fn show(cursor: &Self::Cursor<'_>, m: &SeqFile) -> Result;
}

/// The position after all records that there can be.
const END: u64 = u64::MAX;

/// What belongs to one open file: the private data of its `struct seq_file`.
///
/// # Invariants
///
/// `guard` is there just from `start` to `stop`, in which the C code holds the lock of the
/// `struct seq_file`, and stays in the same thread. `cursor` is there only while `guard` is, and
/// borrows it mutably; so nothing else touches `guard` before `cursor` is gone.
struct Reader<T: Sequence> {
    // The lifetimes are not true: the cursor borrows the guard, and the guard borrows what `sequence`
    // points to. No code of `T` is led to rely on them, as its methods are generic over them.
    cursor: Option<T::Cursor<'static>>,
    guard: Option<T::Guard<'static>>,
    sequence: Arc<T>,
}

/// The `struct seq_operations` of sequences of type `T`, and what opens and releases their files.
///
/// What a `struct file_operations` or its like needs beside these is `seq_read_iter()` and
/// `seq_lseek()`.
pub(crate) struct VTable<T>(PhantomData<T>);

impl<T: Sequence> VTable<T> {
    /// Makes `file`, which is being opened, one that lists `sequence`.
    ///
    /// # Safety
    ///
    /// `file` must be that of an open in progress, and its private data be null and nobody else's to
    /// use. If this succeeds, [`release`](Self::release) must be called when the file is released.
    pub(crate) unsafe fn open(file: *mut bindings::file, sequence: Arc<T>) -> Result {
        let reader = KBox::new(
            Reader {
                cursor: None,
                guard: None,
                sequence,
            },
            GFP_KERNEL_ACCOUNT,
        )?;
        // SAFETY: The file is valid, nobody else uses it yet, and its private data is null.
        to_result(unsafe { bindings::seq_open(file, &Self::OPS) })?;
        // SAFETY: `seq_open()` put a valid `struct seq_file` there, of which this field is ours.
        unsafe {
            let m = (*file).private_data.cast::<bindings::seq_file>();
            (*m).private = KBox::into_raw(reader).cast();
        }
        Ok(())
    }

    /// # Safety
    ///
    /// `file` must be one that [`open`](Self::open) succeeded with, and this the last call on it.
    pub(crate) unsafe extern "C" fn release(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: `seq_open()` put a valid `struct seq_file` there, and `open` a reader into that.
        // Nobody uses it any more: reading and seeking, which do, end before a release.
        drop(unsafe {
            let m = (*file).private_data.cast::<bindings::seq_file>();
            KBox::from_raw((*m).private.cast::<Reader<T>>())
        });
        // SAFETY: `seq_open()` succeeded with this file.
        unsafe { bindings::seq_release(inode, file) }
    }

    /// # Safety
    ///
    /// `m` must be valid, have the operations of this table, and be locked; `pos` must be valid. This
    /// must be the first call, or the last one have been `stop`.
    unsafe extern "C" fn start(m: *mut bindings::seq_file, pos: *mut i64) -> *mut c_void {
        // SAFETY: `m` is valid, and `open` put the reader there.
        let reader = unsafe { (*m).private.cast::<Reader<T>>() };
        // SAFETY: The reader owns a reference to the sequence, so that is valid for as long as
        // the guard, which `stop` drops before the reader.
        let sequence: &'static T = unsafe { &*ptr::from_ref(&*(*reader).sequence) };
        // SAFETY: By the type invariants there is no guard, hence no cursor, and we may set both.
        // INVARIANT: This is `start`. The cursor borrows the guard, which stays where it is.
        unsafe {
            (*reader).guard = Some(T::lock(sequence));
            // CAST: `next` put it there, or it is 0. It is passed through C unchanged.
            let pos = *pos as u64;
            if pos != END {
                (*reader).cursor = (*reader)
                    .guard
                    .as_mut()
                    .and_then(|guard| T::start(guard, pos));
            }
        }
        // SAFETY: The reader is valid, and nobody else uses it.
        unsafe { Self::token(reader) }
    }

    /// # Safety
    ///
    /// `m` and `pos` must be as for `start`; the last call must have been `start`, `next` or `show`,
    /// and the last of the first two not have returned null.
    unsafe extern "C" fn next(
        m: *mut bindings::seq_file,
        _: *mut c_void,
        pos: *mut i64,
    ) -> *mut c_void {
        // SAFETY: `m` is valid, and `open` put the reader there.
        let reader = unsafe { (*m).private.cast::<Reader<T>>() };
        // SAFETY: The reader is valid, and between `start` and `stop` it is this thread's.
        let cursor = unsafe { &mut (*reader).cursor };
        let after = cursor
            .as_ref()
            .map_or(END, |here| T::pos(here).saturating_add(1));
        *cursor = cursor.take().and_then(T::next);
        // At the end it is the place of a record that may come there later.
        let next = cursor.as_ref().map_or(after, T::pos);
        // CAST: `start` casts it back.
        //
        // SAFETY: `pos` is valid.
        unsafe { *pos = next as i64 };
        // SAFETY: As above.
        unsafe { Self::token(reader) }
    }

    /// # Safety
    ///
    /// As for `next`.
    unsafe extern "C" fn show(m: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // Somebody may seek far in a sequence without end. Such a task must at least not outlive its
        // being killed.
        if is_killed() {
            return EINTR.to_errno();
        }
        // SAFETY: `m` is valid, and `open` put the reader there; it is this thread's between `start`
        // and `stop`.
        let cursor = unsafe { &(*(*m).private.cast::<Reader<T>>()).cursor };
        let Some(cursor) = cursor else {
            return 0;
        };
        // SAFETY: `m` is valid, and used by this thread alone, during this call.
        let m = unsafe { SeqFile::from_raw(m) };
        match T::show(cursor, m) {
            Ok(()) => 0,
            Err(err) => err.to_errno(),
        }
    }

    /// # Safety
    ///
    /// `m` must be as for `start`, and `start` have been called since the last `stop`.
    unsafe extern "C" fn stop(m: *mut bindings::seq_file, _: *mut c_void) {
        // SAFETY: `m` is valid, and `open` put the reader there; it is this thread's between `start`
        // and `stop`. The cursor goes before the guard that it borrows.
        unsafe {
            let reader = (*m).private.cast::<Reader<T>>();
            (*reader).cursor = None;
            (*reader).guard = None;
        }
    }

    /// What `start` and `next` return: null at the end, else anything that is neither null nor an
    /// error number.
    ///
    /// # Safety
    ///
    /// `reader` must be valid and this thread's.
    unsafe fn token(reader: *mut Reader<T>) -> *mut c_void {
        // SAFETY: As the caller promises.
        if unsafe { (*reader).cursor.is_some() } {
            reader.cast()
        } else {
            ptr::null_mut()
        }
    }

    const OPS: bindings::seq_operations = bindings::seq_operations {
        start: Some(Self::start),
        next: Some(Self::next),
        show: Some(Self::show),
        stop: Some(Self::stop),
    };
}

/// Whether the current task has been killed: C's `fatal_signal_pending()`.
#[inline]
fn is_killed() -> bool {
    let task = current!().as_ptr();
    // SAFETY: The current task is valid. A signal may come at any time, hence the volatile read.
    let pending = unsafe { (&raw const (*task).pending.signal.sig[0]).read_volatile() };
    pending & 1 << (bindings::SIGKILL - 1) != 0
}
