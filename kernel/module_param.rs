// SPDX-License-Identifier: GPL-2.0

//! Module parameters: values that a module is loaded with, and that files of sysfs show and change.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)
//!
//! [`module!`](kernel::module) has parameters too: integers and `bool`, set once when the module is
//! loaded, and without a file. These can be strings, arrays and types of one's own, are read and
//! written below `/sys/module/MODULE/parameters` as their mode says, and have a [hook](Hook) that
//! refuses values and is told of those that are taken.
//!
//! Not supported:
//!
//! - Modules that are built into the kernel, and kernels without `CONFIG_SYSFS`.
//! - `module_param_unsafe()`, which taints the kernel, and `module_param_hw()`, which lockdown forbids.
//! - Values that the module itself changes.
//! - Types of one's own that need to be dropped. The last value of a parameter is dropped when nothing is
//!   left of the module but its memory, which is no time to run anybody's code.
//! - Text after a NUL. The kernel hands over a C string, so what is written behind a NUL is ignored.
//!
//! # When values change
//!
//! A parameter is a `static`. Each module has a lock for the values of its parameters, a mutex.
//! `struct kernel_param_ops` has three operations, and those who call them keep to this:
//!
//! - `set` is called under the lock: for values that the module is loaded with, before its `init` and even
//!   before it has a kobject; and for values that are written, from just before `init` until after the
//!   module has been dropped, as the files go last. So what it calls, parsing and hooks, has the module's
//!   statics and nothing else: a hook is an `fn`, which captures nothing, and a registration that is made
//!   while there is no kobject fails with `ENXIO`.
//! - `get` is called under the lock, while the files are there.
//! - `free` is called without the lock, once, when the module is unloaded or could not be loaded. The
//!   files have gone by then, and so has the kobject, which every registration of this crate that leads
//!   into the module holds.

use crate::{
    attribute::{check_mode, Input, Page, Text},
    bindings,
};
use core::{
    cell::UnsafeCell,
    ffi::CStr,
    marker::PhantomData,
    mem::{forget, needs_drop, ManuallyDrop},
    ops::Deref,
    ptr,
};
use kernel::{
    error::from_result,
    ffi::{c_char, c_int, c_void},
    module::this_module,
    page::PAGE_SIZE,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::atomic::{ordering::Relaxed, Atomic},
    types::NotThreadSafe,
    ModuleMetadata,
};

/// Declares the parameters of a module.
///
/// Each is a `static` of type [`Param`]. Its documentation is what modinfo(8) shows as its description.
///
/// # Examples
///
/// ```
/// use callgate_kernel::{
///     module_param::{self, Charp},
///     module_params,
/// };
/// use kernel::prelude::*;
///
/// module! {
///     type: Fan,
///     name: "fan",
///     license: "GPL",
/// }
///
/// struct Fan;
///
/// type Param<T> = module_param::Param<T, Fan>;
///
/// module_params! {
///     /// speed in percent
///     static SPEED: Param<u8> = Param::new(c"speed", 0o644, 50).with_hook(|speed, params| {
///         pr_info!("speed: {} becomes {speed}\n", SPEED.get(params));
///         if *speed > 100 { Err(ERANGE) } else { Ok(()) }
///     });
///     /// what to call it
///     static LABEL: Param<Charp> = Param::new(c"label", 0o444, Charp::new(c"fan"));
/// }
///
/// impl kernel::Module for Fan {
///     fn init(_module: &'static ThisModule) -> Result<Self> {
///         let params = module_param::lock::<Fan>();
///         pr_info!("{:?} turns at {} %\n", &**LABEL.get(&params), SPEED.load());
///         Ok(Fan)
///     }
/// }
/// ```
///
/// A name that is no C identifier, two parameters of one name in one `module_params!`, and a mode that C
/// would not have either, are errors of the compiler's.
#[macro_export]
macro_rules! module_params {
    ($(
        $(#[doc = $doc:literal])+
        $visibility:vis static $param:ident: $type:ty = $new:expr;
    )+) => {
        $(
            $(#[doc = $doc])+
            $visibility static $param: $type = $new;

            const _: () = {
                use $crate::module_param::{info_string, Info, KernelParam};

                const INFO: Info = <$type>::info($new);

                #[link_section = "__param"]
                #[used(compiler)]
                static PARAM: KernelParam = KernelParam::new(&$param, &INFO);

                const DESCRIPTION: &[&[u8]] =
                    &[b"parm=", INFO.name(), b":", info_string::doc(concat!($($doc),+))];
                #[link_section = ".modinfo"]
                #[used(compiler)]
                static PARM: [u8; info_string::len(DESCRIPTION)] = info_string::new(DESCRIPTION);

                const TYPE: &[&[u8]] =
                    &[b"parmtype=", INFO.name(), b":", INFO.prefix(), INFO.type_name()];
                #[link_section = ".modinfo"]
                #[used(compiler)]
                static PARMTYPE: [u8; info_string::len(TYPE)] = info_string::new(TYPE);
            };
        )+

        const _: () = $crate::module_param::check_distinct(&[$(<$type>::info($new)),+]);
    };
}

/// A parameter of the module `M`, which [`module_params!`] makes known to the kernel.
///
/// Whoever has [locked](lock) the parameters sees the value. A number or `bool` is also read by
/// [`load`](Self::load), without the lock and in any context.
// The kernel has a pointer to it, and reads and writes the value, as the module documentation says.
pub struct Param<T: Value, M: ModuleMetadata> {
    value: UnsafeCell<T>,
    info: Info,
    hook: Option<Hook<T, M>>,
}

// SAFETY: The value moves to whichever thread sets it, and is then shared; `T` is `Send` and `Sync`.
// It is accessed under the module's parameter lock alone, or atomically if it is a `Scalar`.
unsafe impl<T: Value, M: ModuleMetadata> Sync for Param<T, M> {}

/// Refuses a value by an error, which whoever set it gets, or takes notice of it.
///
/// The old value is there while it runs; once it has returned `Ok`, the new one takes its place, and
/// nothing can fail any more. It is called each time the parameter is set, also to what it was before,
/// and may sleep.
///
/// It runs while the parameters are [locked](lock), at any time from before the module's `init` until
/// after the module has been dropped.
pub type Hook<T, M> = fn(new: &T, params: &Locked<M>) -> Result;

impl<T: Value, M: ModuleMetadata> Param<T, M> {
    /// A parameter that has the value `initial` until it is given another one.
    ///
    /// Its file has the permissions `mode`. With 0 there is no file, and the value is what the module
    /// was loaded with. The rules are those of `VERIFY_OCTAL_PERMISSIONS()`. A mode that lets nobody
    /// read, or nobody write, is kept even if root changes that of the file: a read then fails with
    /// `EPERM`, a write with `EIO`.
    ///
    /// # Panics
    ///
    /// If `name` is no C identifier, or `mode` as [`Attribute::with_mode`] would not have it. In a
    /// `static`, this is an error of the compiler's.
    ///
    /// [`Attribute::with_mode`]: crate::attribute::Attribute::with_mode
    pub const fn new(name: &'static CStr, mode: u16, initial: T) -> Self {
        check_name(name.to_bytes());
        check_mode(mode);
        Self {
            value: UnsafeCell::new(initial),
            info: Info {
                name,
                mode,
                prefix: T::KIND.prefix,
                type_name: T::TYPE,
            },
            hook: None,
        }
    }

    /// With a hook.
    #[must_use]
    pub const fn with_hook(mut self, hook: Hook<T, M>) -> Self {
        self.hook = Some(hook);
        self
    }

    /// The value, for as long as the parameters are locked.
    #[inline]
    pub fn get<'a>(&'a self, _params: &'a Locked<M>) -> &'a T {
        // SAFETY: `set()` writes under the module's parameter lock, and has called the hook by then,
        // so whoever shows a `Locked<M>` keeps it from doing so. `free()` comes when no code of the
        // module's is left.
        unsafe { &*self.value.get() }
    }

    /// The value at this moment. In any context; a hook still gets the old one.
    #[inline]
    pub fn load(&self) -> T
    where
        T: Scalar,
    {
        // SAFETY: The value of a `Scalar` is only ever written atomically.
        unsafe { T::load(self.value.get()) }
    }

    /// What the kernel must know of it.
    #[doc(hidden)]
    pub const fn info(self) -> Info {
        let info = self.info;
        // Dropping it is nothing that a constant could do. There is nothing on the heap yet.
        forget(self);
        info
    }
}

/// The parameters of the module `M` do not change as long as this is there.
///
/// It comes from [`lock`]; a [`Hook`] is lent one.
///
/// # Invariants
///
/// The module's parameter lock is held, by this thread.
#[must_use = "the parameters are unlocked when it is dropped"]
pub struct Locked<M: ModuleMetadata>(PhantomData<fn() -> M>, NotThreadSafe);

/// Locks the parameters of the module `M`.
///
/// It sleeps, so it must not be called in atomic context. It waits for hooks, so a hook that called it
/// would wait for itself, for ever; nor may a hook take a lock under which somebody calls it.
#[inline]
pub fn lock<M: ModuleMetadata>() -> Locked<M> {
    // INVARIANT: It is held when this returns.
    //
    // SAFETY: The module is there, as its code runs, and the lock is initialised before any of it does.
    unsafe { bindings::kernel_param_lock(this_module::<M>().as_ptr()) };
    Locked(PhantomData, NotThreadSafe)
}

impl<M: ModuleMetadata> Drop for Locked<M> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is held, by this thread.
        unsafe { bindings::kernel_param_unlock(this_module::<M>().as_ptr()) };
    }
}

/// A type of parameters.
///
/// # Examples
///
/// A type of one's own has a form as text, and a name for modinfo(8):
///
/// ```
/// use callgate_kernel::{
///     attribute::{Input, Page, Text},
///     module_param::Value,
/// };
/// use kernel::prelude::*;
///
/// enum Speed {
///     Slow,
///     Fast,
/// }
///
/// impl Text for Speed {
///     fn parse(input: Input<'_>) -> Result<Self> {
///         match input.line() {
///             b"slow" => Ok(Speed::Slow),
///             b"fast" => Ok(Speed::Fast),
///             _ => Err(EINVAL),
///         }
///     }
///
///     fn show(&self, page: &mut Page<'_>) -> Result {
///         page.push(match self {
///             Speed::Slow => b"slow",
///             Speed::Fast => b"fast",
///         })
///     }
/// }
///
/// impl Value for Speed {
///     const TYPE: &'static str = "slow or fast";
/// }
/// ```
pub trait Value: Text + Send + Sync + 'static {
    /// What modinfo(8) shows as its type.
    const TYPE: &'static str;

    /// The value of a parameter whose name is given alone, without `=` and a value, when the module is
    /// loaded. If there is none, loading fails with `EINVAL`.
    const WITHOUT_VALUE: Option<fn() -> Self> = None;

    #[doc(hidden)]
    const KIND: Kind<Self> = Kind::PLAIN;
}

/// How values of a type are kept.
///
/// # Invariants
///
/// A value can be dropped when no code may run any more but that of this crate.
#[doc(hidden)]
pub struct Kind<T> {
    /// Puts a value in the place of one that is valid, and that nobody has a reference to.
    store: unsafe fn(*mut T, T),
    /// Goes before the name of the type.
    prefix: &'static str,
}

impl<T> Kind<T> {
    const PLAIN: Self = {
        assert!(
            !needs_drop::<T>(),
            "a type that must be dropped is not supported"
        );
        // INVARIANT: Dropping it does nothing.
        Self::replaced()
    };

    /// `T` must be such that the invariants hold.
    const fn replaced() -> Self {
        Self {
            // SAFETY: The old value is valid, and nobody has a reference to it.
            store: |slot, new| drop(unsafe { slot.replace(new) }),
            prefix: "",
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A number or `bool`, which can be read at any time.
pub trait Scalar: Value + Copy + sealed::Sealed {
    /// # Safety
    ///
    /// `slot` must be valid, and nobody may write to it meanwhile but atomically.
    #[doc(hidden)]
    unsafe fn load(slot: *const Self) -> Self;
}

/// Under the names that C has for the types, where it has one.
macro_rules! scalar {
    ($($name:literal: $type:ty as $atomic:ty $(, without a value $without:literal)?;)*) => {$(
        impl Value for $type {
            const TYPE: &'static str = $name;
            $(const WITHOUT_VALUE: Option<fn() -> Self> = Some(|| $without);)?
            // INVARIANT: There is nothing to drop.
            const KIND: Kind<Self> = Kind {
                store: |slot, new| {
                    // SAFETY: The slot is valid, and has the size and alignment of the atomic type.
                    // There is no access meanwhile that is not atomic: nobody has a reference.
                    let slot = unsafe { Atomic::from_ptr(slot.cast::<$atomic>()) };
                    slot.store(new as $atomic, Relaxed)
                },
                prefix: "",
            };
        }

        impl sealed::Sealed for $type {}

        impl Scalar for $type {
            #[inline]
            unsafe fn load(slot: *const Self) -> Self {
                // SAFETY: The slot is valid, and has the size and alignment of the atomic type. The
                // caller promises that all accesses meanwhile are atomic, or reads.
                let slot = unsafe { Atomic::from_ptr(slot.cast_mut().cast::<$atomic>()) };
                slot.load(Relaxed) as $type
            }
        }
    )*};
}

scalar! {
    "s8": i8 as i8;
    "byte": u8 as i8;
    "short": i16 as i16;
    "ushort": u16 as i16;
    "int": i32 as i32;
    "uint": u32 as u32;
    "llong": i64 as i64;
    "ullong": u64 as u64;
    "long": isize as isize;
    "ulong": usize as usize;
    "bool": bool as bool, without a value true;
}

/// A string, of bytes other than NUL. C's `charp`, but without the newline that echo(1) puts at its end.
///
/// # Invariants
///
/// It ends in the only NUL that is in it.
pub struct Charp(Owned<u8>);

/// What a parameter has from the beginning, or was given.
enum Owned<T: 'static> {
    Initial(&'static [T]),
    Given(KVec<T>),
}

impl<T> Deref for Owned<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Initial(items) => items,
            Self::Given(items) => items,
        }
    }
}

impl Charp {
    /// The longest string, as in C.
    pub const MAX_LEN: usize = 1024;

    /// A string to begin with.
    #[inline]
    pub const fn new(text: &'static CStr) -> Self {
        // INVARIANT: A C string is just that.
        Self(Owned::Initial(text.to_bytes_with_nul()))
    }
}

impl Deref for Charp {
    type Target = CStr;

    #[inline]
    fn deref(&self) -> &CStr {
        // SAFETY: By the type invariants.
        unsafe { CStr::from_bytes_with_nul_unchecked(&self.0) }
    }
}

impl Text for Charp {
    /// # Errors
    ///
    /// - `ENOSPC`: longer than [`MAX_LEN`](Self::MAX_LEN).
    /// - `EINVAL`: there is a NUL in it.
    /// - `ENOMEM`.
    #[inline]
    fn parse(input: Input<'_>) -> Result<Self> {
        let text = input.line();
        if text.len() > Self::MAX_LEN {
            return Err(ENOSPC);
        }
        if text.contains(&0) {
            return Err(EINVAL);
        }
        let mut given = KVec::with_capacity(text.len() + 1, GFP_KERNEL)?;
        given.extend_from_slice(text, GFP_KERNEL)?;
        given.push(0, GFP_KERNEL)?;
        // INVARIANT: There is no other NUL.
        Ok(Self(Owned::Given(given)))
    }

    #[inline]
    fn show(&self, page: &mut Page<'_>) -> Result {
        page.push(self.to_bytes())
    }
}

impl Value for Charp {
    const TYPE: &'static str = "charp";
    // INVARIANT: Memory is freed, and that is all.
    const KIND: Kind<Self> = Kind::replaced();
}

/// Up to `MAX` values, with commas in between.
///
/// If one of them is refused, all the old ones stay. C's `module_param_array()` would keep those of the
/// new ones that come before.
pub struct Array<T: 'static, const MAX: usize>(Owned<T>);

impl<T, const MAX: usize> Array<T, MAX> {
    /// Values to begin with.
    ///
    /// # Panics
    ///
    /// If there are more than `MAX`.
    pub const fn new(values: &'static [T]) -> Self {
        assert!(values.len() <= MAX);
        Self(Owned::Initial(values))
    }
}

impl<T, const MAX: usize> Deref for Array<T, MAX> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Value, const MAX: usize> Text for Array<T, MAX> {
    /// # Errors
    ///
    /// - `EINVAL`: more than `MAX`.
    /// - `ENOMEM`.
    /// - Those of the values. As in C, no text at all is one empty value.
    fn parse(input: Input<'_>) -> Result<Self> {
        let mut values = KVec::new();
        let mut text = KVec::new();
        for value in input.as_bytes().split(|byte| *byte == b',') {
            if values.len() == MAX {
                return Err(EINVAL);
            }
            text.clear();
            text.extend_from_slice(value, GFP_KERNEL)?;
            text.push(0, GFP_KERNEL)?;
            values.push(Input::from_bytes_with_nul(&text).parse()?, GFP_KERNEL)?;
        }
        Ok(Self(Owned::Given(values)))
    }

    /// # Errors
    ///
    /// `EOVERFLOW`: they do not fit into a page. C would write past its end.
    fn show(&self, page: &mut Page<'_>) -> Result {
        for (index, value) in self.iter().enumerate() {
            if index > 0 {
                page.push(b",")?;
            }
            value.show(page)?;
        }
        Ok(())
    }
}

impl<T: Value, const MAX: usize> Value for Array<T, MAX> {
    const TYPE: &'static str = T::TYPE;
    const KIND: Kind<Self> = {
        // INVARIANT: Memory is freed, and values are dropped, which have a `Kind` as well: it is needed
        // here.
        assert!(
            T::KIND.prefix.is_empty(),
            "arrays of arrays have no form as text"
        );
        Kind {
            prefix: "array of ",
            ..Kind::replaced()
        }
    };
}

// What `module_params!` makes of it.

/// What the kernel must know of a parameter beside its value.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Info {
    name: &'static CStr,
    mode: u16,
    prefix: &'static str,
    type_name: &'static str,
}

impl Info {
    #[inline]
    pub const fn name(&self) -> &'static [u8] {
        self.name.to_bytes()
    }

    #[inline]
    pub const fn prefix(&self) -> &'static [u8] {
        self.prefix.as_bytes()
    }

    #[inline]
    pub const fn type_name(&self) -> &'static [u8] {
        self.type_name.as_bytes()
    }
}

/// Panics unless `name` is a C identifier. With anything else, there would be names that the kernel does
/// not tell apart.
#[inline]
const fn check_name(name: &[u8]) {
    assert!(
        !name.is_empty() && !name[0].is_ascii_digit(),
        "no C identifier"
    );
    let mut i = 0;
    while i < name.len() {
        assert!(
            name[i].is_ascii_alphanumeric() || name[i] == b'_',
            "no C identifier"
        );
        i += 1;
    }
}

/// Panics if two parameters have the same name.
#[doc(hidden)]
#[inline]
pub const fn check_distinct(params: &[Info]) {
    let mut i = 0;
    while i < params.len() {
        let mut j = 0;
        while j < i {
            assert!(
                !same(params[i].name(), params[j].name()),
                "two parameters of one name"
            );
            j += 1;
        }
        i += 1;
    }
}

#[inline]
const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// What is put into the section `__param`, where the kernel finds the parameters of a module.
#[doc(hidden)]
#[repr(transparent)]
pub struct KernelParam(bindings::kernel_param);

// SAFETY: It does not change, and what it points to may be used by any thread.
unsafe impl Sync for KernelParam {}

impl KernelParam {
    pub const fn new<T: Value, M: ModuleMetadata>(
        param: &'static Param<T, M>,
        info: &Info,
    ) -> Self {
        Self(bindings::kernel_param {
            name: as_char_ptr_in_const_context(info.name),
            mod_: this_module::<M>().as_ptr(),
            ops: if info.mode & 0o444 != 0 {
                &Operations::<T, M>::READABLE
            } else {
                &Operations::<T, M>::HIDDEN
            },
            perm: info.mode,
            // Not one of those that are set at a certain stage of booting.
            level: -1,
            flags: 0,
            __bindgen_anon_1: bindings::kernel_param__bindgen_ty_1 {
                arg: ptr::from_ref(param).cast_mut().cast(),
            },
        })
    }
}

/// The operations on parameters of type `Param<T, M>`.
struct Operations<T, M>(PhantomData<(T, M)>);

impl<T: Value, M: ModuleMetadata> Operations<T, M> {
    const READABLE: bindings::kernel_param_ops = bindings::kernel_param_ops {
        get: Some(Self::get),
        ..Self::HIDDEN
    };

    const HIDDEN: bindings::kernel_param_ops = bindings::kernel_param_ops {
        flags: if T::WITHOUT_VALUE.is_some() {
            bindings::KERNEL_PARAM_OPS_FL_NOARG
        } else {
            0
        },
        set: Some(Self::set),
        get: None,
        free: if needs_drop::<T>() {
            Some(Self::free)
        } else {
            None
        },
    };

    /// # Safety
    ///
    /// - `text` must be null or a valid C string.
    /// - `param` must be one that [`KernelParam::new`] made of a `Param<T, M>`.
    /// - The caller must hold the parameter lock of `M`.
    unsafe extern "C" fn set(text: *const c_char, param: *const bindings::kernel_param) -> c_int {
        from_result(|| {
            // SAFETY: As the caller promises, and it is a static.
            let param = unsafe { &*(*param).__bindgen_anon_1.arg.cast::<Param<T, M>>() };
            let new = if text.is_null() {
                T::WITHOUT_VALUE.ok_or(EINVAL)?()
            } else {
                // SAFETY: As the caller promises.
                let len = unsafe { CStr::from_char_ptr(text) }.count_bytes();
                // SAFETY: It is `len` bytes long, and then comes the NUL. They stay as they are during
                // the call, as they are a copy that the kernel made.
                T::parse(unsafe { Input::from_raw(text, len) })?
            };
            if let Some(hook) = param.hook {
                // INVARIANT: The caller holds it, and also releases it.
                hook(&new, &ManuallyDrop::new(Locked(PhantomData, NotThreadSafe)))?;
            }
            // SAFETY: It is valid. We have the lock, and the hook has given back what it was lent, so
            // nobody has a reference that `Param::get()` gave out.
            unsafe { (T::KIND.store)(param.value.get(), new) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// As for [`set`](Self::set), but `page` must be valid for writes of a page, and ours alone.
    unsafe extern "C" fn get(page: *mut c_char, param: *const bindings::kernel_param) -> c_int {
        from_result(|| {
            // SAFETY: As the caller promises, and it is a static.
            let param = unsafe { &*(*param).__bindgen_anon_1.arg.cast::<Param<T, M>>() };
            // INVARIANT: The caller holds it, and also releases it.
            let params = ManuallyDrop::new(Locked(PhantomData, NotThreadSafe));
            // A whole page would make sysfs warn of what was written past its end.
            //
            // SAFETY: As the caller promises.
            let mut page = unsafe { Page::from_raw(page, PAGE_SIZE - 1) };
            param.get(&params).show(&mut page)?;
            page.push(b"\n")?;
            // CAST: Less than a page.
            Ok(page.len() as c_int)
        })
    }

    /// # Safety
    ///
    /// `param` must be a `Param<T, M>`, and nobody may use it any more.
    unsafe extern "C" fn free(param: *mut c_void) {
        // SAFETY: As the caller promises. The value is valid, and by the invariants of `T::KIND` it may be
        // dropped now.
        unsafe { ptr::drop_in_place((*param.cast::<Param<T, M>>()).value.get()) };
    }
}

/// What is put into the section `.modinfo`: strings that modinfo(8) shows.
#[doc(hidden)]
pub mod info_string {
    #[inline]
    pub const fn len(parts: &[&[u8]]) -> usize {
        let mut len = 1;
        let mut i = 0;
        while i < parts.len() {
            len += parts[i].len();
            i += 1;
        }
        len
    }

    /// The parts, and a NUL.
    pub const fn new<const LEN: usize>(parts: &[&[u8]]) -> [u8; LEN] {
        let mut string = [0; LEN];
        let mut len = 0;
        let mut i = 0;
        while i < parts.len() {
            let mut j = 0;
            while j < parts[i].len() {
                assert!(parts[i][j] != 0, "there is a NUL in it");
                string[len] = parts[i][j];
                len += 1;
                j += 1;
            }
            i += 1;
        }
        string
    }

    /// Takes away the space that begins a documentation comment.
    #[inline]
    pub const fn doc(doc: &'static str) -> &'static [u8] {
        match doc.as_bytes() {
            [b' ', doc @ ..] => doc,
            doc => doc,
        }
    }
}
