// SPDX-License-Identifier: GPL-2.0

//! Memory of the kernel that user space maps.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)
//!
//! An [`Area`] is some pages of memory. A file lets user space map one by
//! [`FileOperations::mmap`](crate::file::FileOperations::mmap), which says how by a [`Mapping`]: for reading
//! only or for writing as well; page by page, as each is touched, or all at once.
//!
//! It is built on `mmap_prepare`. The older `mmap`, which [`kernel::mm::virt::VmaNew`] is for, is
//! deprecated.
//!
//! Not supported:
//!
//! - Memory of devices, huge pages, and memory that is not cached.
//! - Taking memory back from who has mapped it.
//! - Telling a driver of mappings that come and go (`vm_ops->open`, `close`, `mapped`). None is needed to
//!   keep memory: see below.
//! - More than one area in one mapping.
//!
//! # Who owns the pages
//!
//! The area does. A mapping holds the file it is of, from mmap(2) until its last part is unmapped, in every
//! process that fork(2) gave it to. The file holds what `open` returned, of which the area is a part; and it
//! holds the module. So as long as there is a mapping, there are its pages, and the code that finds
//! them. Each page has a reference of its own for each place where it is mapped, and for each user that the
//! kernel itself lent it to, as vmsplice(2) does. That one may outlive even the area: the page is freed
//! when the last reference goes.
//!
//! # What becomes of a mapping
//!
//! | user space | a mapping of an area |
//! |---|---|
//! | unmaps a part, or changes its protection | is split: the parts know their offset |
//! | forks | is in both processes: shared memory is shared, private copies are copied when written to |
//! | mremap(2) to another place | works |
//! | mremap(2) to a smaller size | works |
//! | mremap(2) to a larger size, or `MREMAP_DONTUNMAP` | `EFAULT`, `EINVAL` (`VM_DONTEXPAND`) |
//! | maps it next to another | stays a mapping of its own, for the same reason |
//! | dumps core | is left out (`VM_DONTDUMP`) |
//! | `MADV_DONTNEED` | finds the pages again as it touches them, also where they were mapped at once |
//! | maps it for execution, or makes it so | `EACCES`: what another side may write is no code |

use crate::bindings;
use core::{
    alloc::Layout,
    ops::Deref,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};
use kernel::{
    alloc::{allocator::Vmalloc, Allocator, NumaNode},
    iov::IovIterDest,
    mm::virt::flags,
    page::PAGE_SIZE,
    prelude::*,
};

/// How many words of an [`Area`] are in a page.
pub const WORDS_PER_PAGE: usize = PAGE_SIZE / size_of::<u64>();

/// Pages that user space can map.
///
/// User space may change them at any moment, so they are words that are read and written atomically, and
/// nothing that is in them can be relied on to stay.
///
/// # Invariants
///
/// `memory` is our own, came from [`Vmalloc`] with this `layout`, and was zeroed. `pages` are the structures of
/// its pages, in that order, and not changed any more. Whoever else has access to the memory may change
/// it, but not free it.
pub struct Area {
    memory: NonNull<AtomicU64>,
    layout: Layout,
    pages: KVVec<*mut bindings::page>,
}

// SAFETY: It owns memory, which may be used and freed by any thread.
unsafe impl Send for Area {}
// SAFETY: Through a shared reference the memory is accessed as atomics only.
unsafe impl Sync for Area {}

impl Area {
    /// Zeroed memory of that many pages. It counts as memory of the caller's control group.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `pages` is 0.
    /// - `ENOMEM`.
    #[inline]
    pub fn new(pages: usize) -> Result<Self> {
        if pages == 0 {
            return Err(EINVAL);
        }
        let size = pages.checked_mul(PAGE_SIZE).ok_or(ENOMEM)?;
        let layout = Layout::from_size_align(size, PAGE_SIZE).map_err(|_| ENOMEM)?;
        // vmalloc() would write a trace into the log whenever it fails, and user space decides how often that
        // is: `ENOMEM` says enough.
        let flags = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN;
        let mut area = Self {
            pages: KVVec::with_capacity(pages, GFP_KERNEL)?,
            memory: Vmalloc::alloc(layout, flags, NumaNode::NO_NODE)?.cast(),
            layout,
        };
        let memory = area.memory.cast::<u8>().as_ptr();
        for offset in (0..size).step_by(PAGE_SIZE) {
            // SAFETY: The address is in memory from vmalloc().
            let page = unsafe { bindings::vmalloc_to_page(memory.wrapping_add(offset).cast()) };
            area.pages.push(page, GFP_KERNEL)?;
        }
        Ok(area)
    }

    /// How many bytes there are before the first that is zero; all, if none is.
    #[inline]
    pub fn text_len(&self) -> usize {
        for (index, word) in self.iter().enumerate() {
            let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
                return index * size_of::<u64>() + at;
            }
        }
        self.layout.size()
    }

    /// Reads from a device whose whole contents are the first `len` bytes of the area, from `pos` on, and
    /// advances `pos`. It is what [`read_from_buffer`](crate::file::read_from_buffer) does, without a buffer.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `pos` is negative.
    /// - `EFAULT`: there was something to copy, and not one byte of it could be.
    #[inline]
    pub fn read_to(&self, iov: &mut IovIterDest<'_>, pos: &mut i64, len: usize) -> Result<usize> {
        let start = usize::try_from(*pos).map_err(|_| EINVAL)?;
        let len = len.min(self.layout.size());
        if start >= len || iov.is_empty() {
            return Ok(0);
        }
        // SAFETY: The bytes from `start` to `len` are in the area. That user space may change them meanwhile
        // does not matter to C, which copies them as it would any.
        let count = unsafe {
            let from = self.memory.cast::<u8>().add(start);
            bindings::_copy_to_iter(from.as_ptr().cast(), len - start, iov.as_raw())
        };
        if count == 0 {
            return Err(EFAULT);
        }
        // CAST: Within the area, whose size is less than `isize::MAX`.
        *pos = (start + count) as i64;
        Ok(count)
    }

    /// A mapping of the area for reading and writing, page by page.
    ///
    /// It may reach beyond the area's end, as that of an ordinary file: what is beyond is `SIGBUS`.
    #[inline]
    pub fn map(&self) -> Mapping<'_> {
        Mapping {
            area: self,
            read_only: false,
            at_once: false,
        }
    }
}

impl Drop for Area {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The memory came from this allocator, with this layout, by the type invariants. The
        // module uses it no more, and whoever else may has references of its own to the pages.
        unsafe { Vmalloc::free(self.memory.cast(), self.layout) };
    }
}

/// Its words: memory for [rings](crate::ring), too.
impl Deref for Area {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: The memory is valid and initialised for that many words, by the type invariants. All Rust code
        // accesses it as atomics. What else does is outside what Rust knows of: programs that have it mapped, by
        // accesses of any size, and the kernel's copying in `read_to`, in C and assembly. Both are to Rust as a
        // device is that changes memory. The CPU reads and writes an aligned word at once, so an atomic load
        // gives some value, whatever they do; and here any value is one.
        unsafe {
            slice::from_raw_parts(self.memory.as_ptr(), self.layout.size() / size_of::<u64>())
        }
    }
}

/// What mmap(2) maps, and how.
#[must_use = "nothing is mapped unless `FileOperations::mmap` returns it"]
pub struct Mapping<'a> {
    area: &'a Area,
    read_only: bool,
    at_once: bool,
}

impl Mapping<'_> {
    /// Memory that user space only reads. Who asks for more gets `EACCES`, from mmap(2) and later from
    /// mprotect(2).
    ///
    /// A private mapping may be written to nevertheless: then it has a copy of its own.
    #[inline]
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Maps all pages at once, so that touching one costs no fault. The mapping must lie within the
    /// area: mmap(2) fails with `ENXIO` otherwise.
    #[inline]
    pub fn at_once(self) -> Self {
        Self {
            at_once: true,
            ..self
        }
    }

    /// Fills in what the kernel asks for.
    ///
    /// # Safety
    ///
    /// `desc` must be valid and ours, as in `mmap_prepare`. The area must live as long as the file is open
    /// that is being mapped. `ops` must have [`fault`], and be in a module which that file holds.
    #[inline]
    pub(crate) unsafe fn describe(
        self,
        desc: *mut bindings::vm_area_desc,
        ops: &'static bindings::vm_operations_struct,
    ) -> Result {
        // SAFETY: The caller promises that it is valid and ours.
        let desc = unsafe { &mut *desc };
        let [mut vm_flags] = desc.vma_flags.__vma_flags;
        if vm_flags & flags::EXEC != 0 {
            return Err(EACCES);
        }
        vm_flags &= !flags::MAYEXEC;
        // A private mapping is one that is not even shared with others who may only read.
        if self.read_only && vm_flags & flags::MAYSHARE != 0 {
            if vm_flags & flags::WRITE != 0 {
                return Err(EACCES);
            }
            vm_flags &= !flags::MAYWRITE;
        }
        vm_flags |= flags::DONTEXPAND | flags::DONTDUMP;

        if self.at_once {
            let count = (desc.end - desc.start) / PAGE_SIZE;
            let end = desc.pgoff.checked_add(count).ok_or(ENXIO)?;
            let pages = self.area.pages.get(desc.pgoff..end).ok_or(ENXIO)?;
            // As `mmap_action_map_kernel_pages_full()`, which is inline, has it. The list of pages is read
            // when this has returned; it is part of the area. It is not written to.
            desc.action.type_ = bindings::mmap_action_type_MMAP_MAP_KERNEL_PAGES;
            desc.action.__bindgen_anon_1.map_kernel =
                bindings::mmap_action__bindgen_ty_1__bindgen_ty_3 {
                    start: desc.start,
                    pages: pages.as_ptr().cast_mut(),
                    nr_pages: count,
                    pgoff: desc.pgoff,
                };
        }
        desc.vma_flags.__vma_flags = [vm_flags];
        desc.vm_ops = ops;
        desc.private_data = core::ptr::from_ref(self.area).cast_mut().cast();
        Ok(())
    }
}

/// Finds the page that somebody touched.
///
/// # Safety
///
/// `vmf` must be valid, and of an area of memory that [`Mapping::describe`] described.
#[inline]
pub(crate) unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: The fault is valid.
    let request = unsafe { &(*vmf).__bindgen_anon_1 };
    // SAFETY: The VMA is valid during the fault. `describe()` left an area there, which lives as long as
    // the file is open; and the VMA holds the file.
    let area = unsafe { &*(*request.vma).vm_private_data.cast::<Area>() };
    let Some(&page) = area.pages.get(request.pgoff) else {
        return bindings::vm_fault_reason_VM_FAULT_SIGBUS;
    };
    // SAFETY: The page is valid: it is the area's.
    unsafe { bindings::callgate_get_page(page) };
    // SAFETY: The fault is valid. The kernel takes over the reference.
    unsafe { (*vmf).page = page };
    0
}
