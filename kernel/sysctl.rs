// SPDX-License-Identifier: GPL-2.0

//! Tables of settings below `/proc/sys`, for the whole kernel or for each network namespace.
//!
//! C headers: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h),
//! [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)
//!
//! The values of a table are the fields of a struct, of the types [`Int`], [`UInt`], [`ULong`], [`U8`],
//! [`Bool`] and [`Str`], and arrays of the first and the third. Kernel code reads them with `get()` at
//! any time; user space reads and writes them as text, through a file each. The type says what text is
//! understood, and what range a number is in. A value with a form of its own is an [`Attribute`]: two
//! functions that make and take the text.
//!
//! [`Table`] lists the fields and gives them names. A [`Registration`] puts them into a directory that
//! all see, a [`NetRegistration`] gives each network namespace values of its own.
//!
//! Not supported:
//!
//! - Files that poll(2) can wait for: `proc_sys_poll_notify()` is not exported.
//! - Times that are shown in another unit (`proc_dointvec_jiffies()` and its kin), bitmaps and static
//!   keys.
//! - Being told that a number, a bool or a string has changed: that takes an [`Attribute`].
//! - Directories to mount something on, and permissions other than those of the files.
//!
//! # Text
//!
//! All but attributes are left to the kernel's own functions, so their files are as users know them:
//!
//! - Numbers are decimal, hexadecimal after `0x` or octal after `0`, with spaces, tabs or newlines
//!   around; `-` for [`Int`] only, and no `+`. Anything else is `EINVAL`, and so is a number out of range.
//! - A write of more numbers than there are takes what fits, and returns a short count. One with an error
//!   in it leaves the numbers before the error changed.
//! - A write that does not begin at offset 0 is ignored, and reported as a success. Strings go on there.
//!   Both depend on the setting `kernel.sysctl_writes_strict`, whose default is meant here.
//! - A string too long for its [`Str`] is cut.
//! - An attribute is written by one write(2) at offset 0; at another, `EINVAL`.
//!
//! # Reading and writing at the same time
//!
//! C's functions access a number or bool by `READ_ONCE()` and `WRITE_ONCE()` of its type, without a lock.
//! In Rust it is an atomic of the same size, read and written relaxed, so both sides agree, and see a
//! whole value. Two numbers of an array are two values.
//!
//! `proc_dostring()` uses plain accesses, one for each byte. So a [`Str`] has a lock, which both sides
//! take.
//!
//! # What lives how long
//!
//! The kernel has pointers into the table, into the values and to the names. A registration owns the
//! table and shares the values; names and ranges are constants, in the module. To drop it waits until
//! nobody is in a read or write (`unregister_sysctl_table()`), and no one can begin one afterwards: a file
//! that is still open fails with `ENOENT`. An open file does not keep the module loaded. So nothing needs
//! to be done for a module whose `init` fails; and should a registration be leaked, a [`Hold`] keeps the
//! module.
//!
//! The wait includes copying from and to user space, which a user can draw out (by userfaultfd(2) or
//! FUSE). To drop a registration from within one of its own attributes is a deadlock.

use crate::{
    attribute::Attribute,
    bindings,
    module::Hold,
    net_namespace::{self, Id, Net, NewNet},
};
use core::{
    ffi::CStr,
    mem,
    ptr::{self, NonNull},
};
use kernel::{
    error::from_result,
    ffi::{c_int, c_uint, c_void},
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Arc, Mutex,
    },
};
use pin_init::init_array_from_fn;

/// A type that a field of a [`Table`] can have.
///
/// # Safety
///
/// `HANDLER` must be able to do its work with the `SIZE` bytes at the address of any `Self` as its
/// `data`, and with `RANGE` as `extra1` and `extra2`: from any thread, at any time while it is borrowed.
pub unsafe trait Kind: Sized + Sync {
    #[doc(hidden)]
    const HANDLER: bindings::proc_handler;
    #[doc(hidden)]
    const SIZE: usize = size_of::<Self>();
    #[doc(hidden)]
    const RANGE: [*const c_void; 2] = [ptr::null(); 2];
}

/// A [`Kind`] of which C's function takes several in a row.
///
/// # Safety
///
/// As for [`Kind`], also for arrays of `Self`.
pub unsafe trait Element: Kind {}

// SAFETY: As `Element` says.
unsafe impl<K: Element, const N: usize> Kind for [K; N] {
    const HANDLER: bindings::proc_handler = K::HANDLER;
    const RANGE: [*const c_void; 2] = K::RANGE;
}

macro_rules! number {
    (
        $(#[$doc:meta])*
        $name:ident: $type:ty, in a $cell:ty, with bounds of $bound:ty, $handler:ident
    ) => {
        $(#[$doc])*
        ///
        /// # Invariants
        ///
        /// It is from `MIN` to `MAX`.
        #[repr(transparent)]
        pub struct $name<const MIN: $type = { <$type>::MIN }, const MAX: $type = { <$type>::MAX }>(
            Atomic<$cell>,
        );

        impl<const MIN: $type, const MAX: $type> $name<MIN, MAX> {
            const BOUNDS: &'static [$bound; 2] = &[MIN as $bound, MAX as $bound];

            /// One with this value. It is an error of the build if the value cannot be seen to be in
            /// range, as that of a constant can.
            #[inline(always)]
            pub const fn new(value: $type) -> Self {
                const_assert!(MIN <= MAX);
                build_assert!(MIN <= value && value <= MAX);
                Self(Atomic::new(value as $cell))
            }

            /// The value of this moment.
            #[inline]
            pub fn get(&self) -> $type {
                self.0.load(Relaxed) as $type
            }

            /// Changes the value.
            ///
            /// # Errors
            ///
            /// `EINVAL`: it is out of range. The old one stays.
            #[inline]
            pub fn set(&self, value: $type) -> Result {
                if value < MIN || value > MAX {
                    return Err(EINVAL);
                }
                self.0.store(value as $cell, Relaxed);
                Ok(())
            }
        }

        // SAFETY: C's function takes a number of this size and sign, accesses it by `READ_ONCE()` and
        // `WRITE_ONCE()`, and stores what is within the bounds, whose type is the one it expects there.
        unsafe impl<const MIN: $type, const MAX: $type> Kind for $name<MIN, MAX> {
            const HANDLER: bindings::proc_handler = Some(bindings::$handler);
            const RANGE: [*const c_void; 2] = [
                ptr::from_ref(&Self::BOUNDS[0]).cast(),
                ptr::from_ref(&Self::BOUNDS[1]).cast(),
            ];
        }
    };
}

number! {
    /// A number from `MIN` to `MAX`: an `int` in C.
    Int: i32, in a i32, with bounds of c_int, proc_dointvec_minmax
}

number! {
    /// A number from `MIN` to `MAX`: an `unsigned int` in C.
    UInt: u32, in a u32, with bounds of c_uint, proc_douintvec_minmax
}

number! {
    /// A number from `MIN` to `MAX`: an `unsigned long` in C.
    ULong: usize, in a usize, with bounds of usize, proc_doulongvec_minmax
}

number! {
    /// A number from `MIN` to `MAX`: a `u8` in C.
    ///
    /// C's function reads the old value first, and stores it again if the write was empty or not at
    /// offset 0. So such a write, which should do nothing, can undo a `set()` of the same moment.
    U8: u8, in a i8, with bounds of c_uint, proc_dou8vec_minmax
}

// SAFETY: `do_proc_vec()` takes as many `int`s as there is room for in `maxlen`.
unsafe impl<const MIN: i32, const MAX: i32> Element for Int<MIN, MAX> {}
// SAFETY: As above, with `unsigned long`. The two others refuse arrays.
unsafe impl<const MIN: usize, const MAX: usize> Element for ULong<MIN, MAX> {}

/// Yes or no: 1 or 0. Any other number that an `int` has is taken for yes.
///
/// A write that should do nothing can undo a `set()`, as with [`U8`].
#[repr(transparent)]
pub struct Bool(Atomic<bool>);

impl Bool {
    /// One with this value.
    #[inline]
    pub const fn new(value: bool) -> Self {
        Self(Atomic::new(value))
    }

    /// The value of this moment.
    #[inline]
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Changes the value.
    #[inline]
    pub fn set(&self, value: bool) {
        self.0.store(value, Relaxed);
    }
}

// SAFETY: C's function takes a `bool`, accesses it by `READ_ONCE()` and `WRITE_ONCE()`, and stores 0 or 1
// as the conversion to `bool` makes it.
unsafe impl Kind for Bool {
    const HANDLER: bindings::proc_handler = Some(bindings::proc_dobool);
}

/// A string of less than `SIZE` bytes, without a newline or NUL in it.
///
/// # Invariants
///
/// The last byte is NUL.
#[pin_data]
pub struct Str<const SIZE: usize> {
    #[pin]
    bytes: Mutex<[u8; SIZE]>,
}

impl<const SIZE: usize> Str<SIZE> {
    /// One that holds `text`, of which nothing is taken after a newline or beyond what fits.
    #[inline]
    pub fn new(text: &'static CStr) -> impl PinInit<Self> {
        const_assert!(SIZE > 0);
        let text = text.to_bytes();
        let end = text.iter().position(|byte| *byte == b'\n');
        let len = end.unwrap_or(text.len()).min(SIZE - 1);
        // INVARIANT: The last byte is not part of what is taken.
        let bytes = init_array_from_fn(move |i| if i < len { text[i] } else { 0 });
        pin_init!(Self {
            bytes <- new_mutex!(bytes),
        })
    }

    /// Calls `f` with the string of this moment, which does not change meanwhile. It sleeps. To look at
    /// another `Str` in `f` is a complaint of lockdep's, which does not tell them apart.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&CStr) -> R) -> R {
        // The last byte is NUL, by the type invariants.
        f(CStr::from_bytes_until_nul(&*self.bytes.lock()).unwrap_or_default())
    }

    /// # Safety
    ///
    /// To be called as `proc_handler` of a table whose `data` is a `Self`.
    unsafe extern "C" fn handler(
        table: *const bindings::ctl_table,
        dir: c_int,
        buffer: *mut c_void,
        lenp: *mut usize,
        ppos: *mut bindings::loff_t,
    ) -> c_int {
        // SAFETY: The table is valid, and so is its data, during this call.
        let (table, this) = unsafe { (*table, &*(*table).data.cast::<Self>()) };
        let mut bytes = this.bytes.lock();
        let table = bindings::ctl_table {
            data: bytes.as_mut_ptr().cast(),
            // CAST: `Entry` has seen that all of `Self` fits.
            maxlen: SIZE as c_int,
            ..table
        };
        // INVARIANT: C writes a NUL at the end of what it stores, and nothing but that to the last byte.
        //
        // SAFETY: The data is `maxlen` bytes, of which the last one is NUL, and ours alone while we have
        // the lock. The rest is as C gave it to us.
        unsafe { bindings::proc_dostring(&table, dir, buffer, lenp, ppos) }
    }
}

// SAFETY: The handler wants a `Self`, and takes its lock.
unsafe impl<const SIZE: usize> Kind for Str<SIZE> {
    const HANDLER: bindings::proc_handler = Some(Self::handler);
}

/// A file of a table: its name, its permissions and the field behind it.
///
/// It is plain data, to be a constant in [`Table::ENTRIES`]. What is wrong with it is then an error of
/// the compiler's.
pub struct Entry<T> {
    name: &'static CStr,
    mode: u16,
    form: Form<T>,
}

enum Form<T> {
    Field {
        /// A `fn(&T) -> &K`.
        field: *const (),
        /// `row::<K>`, for that `K`.
        row: unsafe fn(*const (), &T) -> bindings::ctl_table,
    },
    Attribute(Attribute<T>),
}

impl<T> Entry<T> {
    /// A field that anybody reads, and root writes: mode 0644. `field` is best a closure such as
    /// `|values| &values.limit`.
    pub const fn new<K: Kind>(name: &'static CStr, field: fn(&T) -> &K) -> Self {
        Self::with_mode(name, 0o644, field)
    }

    /// A field that anybody reads, and nobody writes, not even root: mode 0444.
    pub const fn read_only<K: Kind>(name: &'static CStr, field: fn(&T) -> &K) -> Self {
        Self::with_mode(name, 0o444, field)
    }

    /// A field with these permissions.
    ///
    /// # Panics
    ///
    /// If there is anything but permission to read and write, or everybody may write.
    pub const fn with_mode<K: Kind>(name: &'static CStr, mode: u16, field: fn(&T) -> &K) -> Self {
        const_assert!(0 < K::SIZE && K::SIZE <= c_int::MAX as usize);
        assert!(mode & !0o666 == 0, "read and write permissions only");
        assert!(mode & 0o002 == 0, "not everybody may write");
        Self {
            name,
            mode,
            form: Form::Field {
                field: field as *const (),
                row: Self::row::<K>,
            },
        }
    }

    /// A value with a form of its own, under its own name and mode.
    pub const fn attribute(attribute: Attribute<T>) -> Self {
        Self {
            name: attribute.name(),
            mode: attribute.mode(),
            form: Form::Attribute(attribute),
        }
    }

    /// # Safety
    ///
    /// `field` must be a `fn(&T) -> &K`.
    unsafe fn row<K: Kind>(field: *const (), values: &T) -> bindings::ctl_table {
        // SAFETY: As the caller promises.
        let field = unsafe { mem::transmute::<*const (), fn(&T) -> &K>(field) };
        let [extra1, extra2] = K::RANGE;
        bindings::ctl_table {
            data: ptr::from_ref(field(values)).cast_mut().cast(),
            // CAST: `new()` has seen that it fits.
            maxlen: K::SIZE as c_int,
            proc_handler: K::HANDLER,
            extra1: extra1.cast_mut(),
            extra2: extra2.cast_mut(),
            ..pin_init::zeroed()
        }
    }

    /// What C needs to know about this entry of `values`. It is good for as long as they are borrowed.
    #[inline]
    fn to_row(&'static self, values: &T) -> bindings::ctl_table {
        bindings::ctl_table {
            procname: self.name.as_char_ptr(),
            mode: self.mode,
            ..match &self.form {
                // SAFETY: The two are for the same `K`, as `new()` put them there.
                Form::Field { field, row } => unsafe { row(*field, values) },
                Form::Attribute(attribute) => bindings::ctl_table {
                    data: ptr::from_ref(values).cast_mut().cast(),
                    extra1: ptr::from_ref(attribute).cast_mut().cast(),
                    proc_handler: Some(handle_attribute::<T>),
                    ..pin_init::zeroed()
                },
            }
        }
    }
}

/// # Safety
///
/// To be called as `proc_handler` of a table whose `data` is a `T`, and `extra1` an `Attribute<T>`.
unsafe extern "C" fn handle_attribute<T>(
    table: *const bindings::ctl_table,
    dir: c_int,
    buffer: *mut c_void,
    lenp: *mut usize,
    ppos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: The table, its data and the attribute are valid during this call.
    let (values, attribute) = unsafe {
        (
            &*(*table).data.cast::<T>(),
            &*(*table).extra1.cast::<Attribute<T>>(),
        )
    };
    // SAFETY: These two are valid, and ours alone, during this call.
    let (len, pos) = unsafe { (&mut *lenp, &mut *ppos) };
    from_result(|| {
        let taken = if dir == 0 {
            let mut page = KVec::<u8>::with_capacity(PAGE_SIZE, GFP_KERNEL)?;
            // SAFETY: There is room for as many bytes.
            let shown = unsafe { attribute.call_show(values, page.as_mut_ptr().cast(), PAGE_SIZE) };
            let shown = count(shown)?;
            let start = usize::try_from(*pos).map_err(|_| EINVAL)?.min(shown);
            let taken = (shown - start).min(*len);
            // SAFETY: `call_show()` wrote this part of the page. C's buffer has room for `*lenp` bytes,
            // and is another piece of memory.
            unsafe {
                ptr::copy_nonoverlapping(page.as_ptr().add(start), buffer.cast::<u8>(), taken);
            }
            taken
        } else if *len == 0 {
            0
        } else if *pos != 0 {
            return Err(EINVAL);
        } else {
            // SAFETY: C's buffer has `*lenp` bytes and a NUL behind them, and nobody writes to it.
            count(unsafe { attribute.call_store(values, buffer.cast(), *len) })?
        };
        *len = taken;
        // CAST: A position has room for what one call moves.
        *pos += taken as bindings::loff_t;
        Ok(0)
    })
}

/// The count that a C callback returned, or its error.
#[inline]
fn count(result: isize) -> Result<usize> {
    // CAST: What is negative is an error number.
    usize::try_from(result).map_err(|_| Error::from_errno(result as i32))
}

/// Values that user space reads and writes below `/proc/sys`.
///
/// # Examples
///
/// ```
/// use callgate_kernel::sysctl::{Bool, Entry, Int, Registration, Table};
/// use kernel::{prelude::*, sync::Arc};
///
/// struct Settings {
///     level: Int<0, 7>,
///     verbose: Bool,
/// }
///
/// #[vtable]
/// impl Table for Settings {
///     const ENTRIES: &'static [Entry<Self>] = &[
///         Entry::new(c"level", |settings| &settings.level),
///         Entry::new(c"verbose", |settings| &settings.verbose),
///     ];
/// }
///
/// struct Driver {
///     settings: Arc<Settings>,
///     _table: Registration<Settings>,
/// }
///
/// impl Driver {
///     fn new() -> Result<Self> {
///         let settings = Settings {
///             level: Int::new(3),
///             verbose: Bool::new(false),
///         };
///         let settings = Arc::new(settings, GFP_KERNEL)?;
///         Ok(Self {
///             _table: Registration::new(c"driver", settings.clone())?,
///             settings,
///         })
///     }
///
///     fn work(&self) {
///         if self.settings.verbose.get() {
///             pr_info!("working at level {}\n", self.settings.level.get());
///         }
///     }
/// }
/// ```
#[vtable]
pub trait Table: Send + Sync + Sized + 'static {
    /// The files. That their names are such and no two the same is checked when this is compiled.
    const ENTRIES: &'static [Entry<Self>];
}

/// Fails, when compiled, if the entries cannot be a directory.
const fn check<T>(entries: &[Entry<T>]) {
    let mut i = 0;
    while i < entries.len() {
        let name = entries[i].name.to_bytes();
        assert!(
            is_name(name),
            "a name must not be empty, `.`, `..`, or have a `/` in it"
        );
        let mut j = 0;
        while j < i {
            assert!(
                !is_same(name, entries[j].name.to_bytes()),
                "two entries have the same name"
            );
            j += 1;
        }
        i += 1;
    }
}

#[inline]
const fn is_name(name: &[u8]) -> bool {
    is_path(name) && name.len() == first_name(name).len()
}

/// Whether it is names with a `/` in between.
#[inline]
const fn is_path(mut path: &[u8]) -> bool {
    loop {
        let name = first_name(path);
        if matches!(name, b"" | b"." | b"..") {
            return false;
        }
        if name.len() == path.len() {
            return true;
        }
        path = path.split_at(name.len() + 1).1;
    }
}

/// What comes before the first `/`.
#[inline]
const fn first_name(path: &[u8]) -> &[u8] {
    let mut len = 0;
    while len < path.len() && path[len] != b'/' {
        len += 1;
    }
    path.split_at(len).0
}

#[inline]
const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut i = 0;
    while i < one.len() {
        if one[i] != other[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// A table that C has.
///
/// # Invariants
///
/// `header` is that of a registration of `rows`, which lead into `values`.
struct Registered<T: Table> {
    header: NonNull<bindings::ctl_table_header>,
    _rows: KVec<bindings::ctl_table>,
    values: Arc<T>,
}

// SAFETY: It shares the values, which are `Send` and `Sync`; C takes any thread to unregister, and
// changes nothing in the rows.
unsafe impl<T: Table> Send for Registered<T> {}
// SAFETY: A shared reference gives access to the values only.
unsafe impl<T: Table> Sync for Registered<T> {}

impl<T: Table> Registered<T> {
    /// # Safety
    ///
    /// Should `register` not return null, it must have registered the table at this address, of this
    /// length, so that it can be unregistered until `Self` has been dropped. The module must stay as
    /// long, which includes that `Self` is leaked.
    unsafe fn new(
        values: Arc<T>,
        register: impl FnOnce(*const bindings::ctl_table, usize) -> *mut bindings::ctl_table_header,
    ) -> Result<Self> {
        const { check(T::ENTRIES) };
        let start = ptr::from_ref(&*values).addr();
        let memory = start..start + size_of::<T>();
        let mut rows = KVec::with_capacity(T::ENTRIES.len(), GFP_KERNEL)?;
        for entry in T::ENTRIES {
            let row = entry.to_row(&values);
            // C does not let a namespace write what belongs to all, and warns. It knows it by its address,
            // which is in the module then. An attribute is given the values as a whole.
            if row.data.addr() != start && !memory.contains(&row.data.addr()) {
                return Err(EINVAL);
            }
            rows.push(row, GFP_KERNEL)?;
        }
        // The rows are good while the values are borrowed, which they are in effect for as long as the
        // `Arc` is there: it does not let go of them, nor let anybody change them.
        let header = register(rows.as_ptr(), rows.len());
        // INVARIANT: It was registered, if it was.
        Ok(Self {
            header: NonNull::new(header).ok_or(EEXIST)?,
            _rows: rows,
            values,
        })
    }
}

impl<T: Table> Drop for Registered<T> {
    #[inline]
    fn drop(&mut self) {
        // `unregister_net_sysctl_table()` is the same.
        //
        // SAFETY: It is registered, by the type invariants, and this is the only call that unregisters
        // it. When it returns, C uses neither rows nor values any more.
        unsafe { bindings::unregister_sysctl_table(self.header.as_ptr()) };
    }
}

/// A registered table of values, which all namespaces see.
///
/// Dropping it takes the files away, see the [module documentation](self) for what it waits for.
pub struct Registration<T: Table> {
    _registered: Registered<T>,
    _hold: Hold<T::OwnerModule>,
}

impl<T: Table> Registration<T> {
    /// Makes the files of `values` in the directory `path`, such as `c"kernel/example"`, which is made if
    /// there is none. They can be used at once, even if the module's `init` has not finished.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: an empty name, `.` or `..` is in the path; or the field of an entry is not a part of
    ///   the struct itself, but say of another to which it refers.
    /// - `EEXIST`: C refused, and does not say why. Most likely a file of one of these names, or one where
    ///   a directory should be, is there already; the kernel's log tells. It could also be out of memory.
    /// - `ENOMEM`.
    ///
    /// To take a name that is taken is worse than an error: `insert_header()`, when it cleans up after
    /// itself, loses all other files of the directory out of its tree. They come back when their modules
    /// are loaded again.
    pub fn new(path: &CStr, values: Arc<T>) -> Result<Self> {
        if !is_path(path.to_bytes()) {
            return Err(EINVAL);
        }
        let hold = Hold::new()?;
        let register = |rows, len| {
            // SAFETY: The path is a C string, of which C keeps a copy. The rows are valid, as is what they
            // lead to, until they are unregistered.
            unsafe { bindings::register_sysctl_sz(path.as_char_ptr(), rows, len) }
        };
        // SAFETY: The table is registered as promised, and the hold keeps the module.
        let registered = unsafe { Registered::new(values, register) };
        Ok(Self {
            _registered: registered?,
            _hold: hold,
        })
    }
}

/// A [`Table`] that each network namespace has one of.
///
/// A file of it in `/proc/sys` shows the value of the namespace of who looks up its name. In a namespace
/// that belongs to a user namespace, whoever has `CAP_NET_ADMIN` there may do what the mode allows the
/// owner, so bounds and attributes have to stand up to users that are not root.
///
/// # Examples
///
/// ```
/// use callgate_kernel::{
///     net_namespace::{Net, NewNet},
///     sysctl::{Entry, Int, NetRegistration, NetTable, PerNet, Table},
/// };
/// use kernel::prelude::*;
///
/// struct Limits {
///     burst: Int<1, 100>,
/// }
///
/// static LIMITS: PerNet<Limits> = PerNet::new();
///
/// #[vtable]
/// impl Table for Limits {
///     const ENTRIES: &'static [Entry<Self>] = &[Entry::new(c"burst", |limits| &limits.burst)];
/// }
///
/// impl NetTable for Limits {
///     const PATH: &'static CStr = c"net/example";
///     const PER_NET: &'static PerNet<Self> = &LIMITS;
///
///     fn new(_net: &NewNet) -> impl PinInit<Self, Error> {
///         Ok(Self { burst: Int::new(8) })
///     }
/// }
///
/// fn burst(net: &Net) -> i32 {
///     LIMITS.get(net).map_or(8, |limits| limits.burst.get())
/// }
///
/// fn register() -> Result<NetRegistration<Limits>> {
///     NetRegistration::new()
/// }
/// ```
pub trait NetTable: Table {
    /// The directory, such as `c"net/example"`. Its names are checked when this is compiled.
    const PATH: &'static CStr;

    /// Where to find the values of a namespace: a static of the module.
    const PER_NET: &'static PerNet<Self>;

    /// The values a namespace begins with. If this fails, so does the making of the namespace.
    fn new(net: &NewNet) -> impl PinInit<Self, Error>;
}

/// Where to find the values that a network namespace has.
pub struct PerNet<T: NetTable>(Id<InNet<T>>);

impl<T: NetTable> PerNet<T> {
    /// To be the value of a static, to which [`NetTable::PER_NET`] refers.
    #[expect(clippy::new_without_default)]
    #[inline]
    pub const fn new() -> Self {
        Self(Id::new())
    }

    /// The values of `net`; `None` if there is no [`NetRegistration`].
    ///
    /// It may be called in any context, though to drop the last reference may not be possible in any.
    #[inline]
    pub fn get(&'static self, net: &Net) -> Option<Arc<T>> {
        self.0.with(net, |in_net| in_net.0.values.clone())
    }
}

/// The table of one namespace.
struct InNet<T: NetTable>(Registered<T>);

impl<T: NetTable> net_namespace::PerNet for InNet<T> {
    type OwnerModule = T::OwnerModule;

    const ID: &'static Id<Self> = &T::PER_NET.0;

    fn new(net: &NewNet) -> Result<KBox<Self>> {
        const_assert!(is_path(T::PATH.to_bytes()));
        let values = Arc::pin_init(T::new(net), GFP_KERNEL)?;
        let register = |rows, len| {
            // SAFETY: The namespace is valid, the path a C string, of which C keeps a copy. The rows are
            // valid, as is what they lead to, until they are unregistered.
            unsafe {
                bindings::register_net_sysctl_sz(net.as_ptr(), T::PATH.as_char_ptr(), rows, len)
            }
        };
        // SAFETY: The table is registered as promised: `Self` is dropped before the namespace is gone. The
        // module stays, for a registration of `Self` has a hold.
        let registered = unsafe { Registered::new(values, register) };
        Ok(KBox::new(Self(registered?), GFP_KERNEL)?)
    }
}

/// A registered table of values, of which each network namespace has its own.
///
/// Dropping it takes the files away, in all of them; see the [module documentation](self) for what it
/// waits for. Until it is done, no network namespace can be made or destroyed: a write that stalls in one
/// of them, whose owner need not be privileged outside, holds that up as well.
pub struct NetRegistration<T: NetTable>(net_namespace::Registration<InNet<T>>);

impl<T: NetTable> NetRegistration<T> {
    /// Makes the files, in all network namespaces and in those to come.
    ///
    /// To do so, or to drop it, within [`NetTable::new`] is a deadlock.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: this type is registered already.
    /// - Those of [`Registration::new`], and of [`NetTable::new`].
    #[inline]
    pub fn new() -> Result<Self> {
        Ok(Self(net_namespace::Registration::new()?))
    }
}
