// SPDX-License-Identifier: GPL-2.0

//! A value that user space reads and writes as text, through a file of its own.
//!
//! C headers: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h),
//! [`include/linux/configfs.h`](srctree/include/linux/configfs.h),
//! [`include/linux/kstrtox.h`](srctree/include/linux/kstrtox.h)
//!
//! The files of sysfs, of a bus, of configfs, and of module parameters differ in where they are and in
//! who makes them. What is in them is the same idea: a name, a mode, a `show` that fills one page with
//! text, and a `store` that is given the text of one write(2). In C each subsystem has a structure of
//! its own for it. Here all of them take an [`Attribute`], which says what it is an attribute of, and
//! leaves where it appears to the subsystem.
//!
//! What a write brings is an [`Input`], what a read gets is put into a [`Page`], and [`Text`] is a type
//! that has a form as text, by the rules of C's `kstrto*()`.
//!
//! Not supported: text longer than a page; knowing the file position, which sysfs and configfs ignore
//! in a write; and binary contents, which have types of their own and share the [`Page`].

use crate::bindings;
use core::{ffi::CStr, fmt, mem::MaybeUninit, ptr, slice};
use kernel::{
    error::to_result,
    ffi::{c_char, c_uint},
    prelude::*,
    str::kstrtobool,
};

/// A value of a `T` that user space reads or writes as text.
///
/// It is plain data, and is best a constant:
///
/// ```
/// use callgate_kernel::attribute::Attribute;
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
///         fan.speed.store(text.parse()?, Relaxed);
///         Ok(())
///     },
/// );
/// ```
///
/// The callbacks sleep if they like. Different files, and different opens of one file, call them at the
/// same time.
pub struct Attribute<T: ?Sized> {
    name: &'static CStr,
    mode: u16,
    show: Option<Show<T>>,
    store: Option<Store<T>>,
}

/// Puts the value into the page, as a rule with a newline at its end.
pub type Show<T> = fn(&T, &mut Page<'_>) -> Result;

/// Takes a new value. On an error the old one must stay.
pub type Store<T> = fn(&T, Input<'_>) -> Result;

impl<T: ?Sized> Attribute<T> {
    /// One that anybody reads, and root writes: mode 0644.
    pub const fn new(name: &'static CStr, show: Show<T>, store: Store<T>) -> Self {
        Self {
            name,
            mode: 0o644,
            show: Some(show),
            store: Some(store),
        }
    }

    /// One that anybody reads, and nobody writes: mode 0444.
    pub const fn read_only(name: &'static CStr, show: Show<T>) -> Self {
        Self {
            name,
            mode: 0o444,
            show: Some(show),
            store: None,
        }
    }

    /// One that root writes, and nobody reads: mode 0200.
    pub const fn write_only(name: &'static CStr, store: Store<T>) -> Self {
        Self {
            name,
            mode: 0o200,
            show: None,
            store: Some(store),
        }
    }

    /// With these permissions instead, of which the rules are those of `VERIFY_OCTAL_PERMISSIONS()`.
    ///
    /// # Panics
    ///
    /// If there are bits other than the nine permissions; if everybody may write, or a group may do
    /// what the owner may not, or others may read what the group may not; if the mode allows what the
    /// attribute cannot do. In a constant, this is an error of the compiler's.
    #[must_use]
    pub const fn with_mode(mut self, mode: u16) -> Self {
        check_mode(mode);
        assert!(self.show.is_some() || mode & 0o444 == 0, "it has no show");
        assert!(self.store.is_some() || mode & 0o222 == 0, "it has no store");
        self.mode = mode;
        self
    }

    /// The name of its file.
    pub const fn name(&self) -> &'static CStr {
        self.name
    }

    /// The permissions of its file.
    pub const fn mode(&self) -> u16 {
        self.mode
    }

    /// Whether it can be read.
    pub const fn is_readable(&self) -> bool {
        self.show.is_some()
    }

    /// Whether it can be written.
    pub const fn is_writable(&self) -> bool {
        self.store.is_some()
    }

    /// What a C `show` callback does: fills `buf`, and returns how many bytes it has, or an error.
    ///
    /// # Safety
    ///
    /// `buf` must be valid for writes of `capacity` bytes, and ours alone during the call.
    #[inline]
    pub(crate) unsafe fn call_show(&self, of: &T, buf: *mut c_char, capacity: usize) -> isize {
        let Some(show) = self.show else {
            return EIO.to_errno() as isize;
        };
        // SAFETY: As the caller promises.
        let mut page = unsafe { Page::from_raw(buf, capacity) };
        match show(of, &mut page) {
            // CAST: No more than a page.
            Ok(()) => page.len() as isize,
            Err(err) => err.to_errno() as isize,
        }
    }

    /// What a C `store` callback does: takes all `len` bytes, or fails.
    ///
    /// # Safety
    ///
    /// As for [`Input::from_raw`].
    #[inline]
    pub(crate) unsafe fn call_store(&self, of: &T, buf: *const c_char, len: usize) -> isize {
        let Some(store) = self.store else {
            return EIO.to_errno() as isize;
        };
        // SAFETY: As the caller promises.
        match store(of, unsafe { Input::from_raw(buf, len) }) {
            // CAST: No more than can be allocated in one piece.
            Ok(()) => len as isize,
            Err(err) => err.to_errno() as isize,
        }
    }
}

/// Panics unless these permissions are such as `VERIFY_OCTAL_PERMISSIONS()` allows, and no others.
#[inline]
pub(crate) const fn check_mode(mode: u16) {
    let [owner, group, others] = [mode >> 6 & 7, mode >> 3 & 7, mode & 7];
    assert!(mode & !0o666 == 0, "read and write permissions only");
    assert!(others & 2 == 0, "not everybody may write");
    assert!(owner & 4 >= group & 4 && group & 4 >= others & 4);
    assert!(owner & 2 >= group & 2);
}

/// The text that a `show` puts together, or the bytes of a binary attribute.
///
/// `write!` and `writeln!` work on it, and fail with `EOVERFLOW` once it is full: the reader gets the
/// error instead of half a text.
pub struct Page<'a> {
    bytes: &'a mut [MaybeUninit<u8>],
    len: usize,
}

impl<'a> Page<'a> {
    /// # Safety
    ///
    /// `buf` must be valid for writes of `capacity` bytes, and for nobody else, during `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw(buf: *mut c_char, capacity: usize) -> Self {
        Self {
            // SAFETY: As the caller promises. They need not be initialised.
            bytes: unsafe { slice::from_raw_parts_mut(buf.cast(), capacity) },
            len: 0,
        }
    }

    /// How many bytes it has.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// For how many more there is room.
    #[inline]
    pub const fn room(&self) -> usize {
        self.bytes.len() - self.len
    }

    /// Appends these bytes, all or none.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW`: there is no room for them.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> Result {
        let room = &mut self.bytes[self.len..];
        let Some(room) = room.get_mut(..bytes.len()) else {
            return Err(EOVERFLOW);
        };
        // SAFETY: Both have this length, and what is borrowed mutably overlaps with nothing.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr().cast(), bytes.len()) };
        self.len += bytes.len();
        Ok(())
    }

    /// What `write!` and `writeln!` call.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW`: there is no room for it; what fitted is there. Also if a `Display` fails.
    #[inline]
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> Result {
        fmt::write(self, text).map_err(|_| EOVERFLOW)
    }
}

impl fmt::Write for Page<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// What one write(2) brought.
///
/// It is a copy: what the user does with the buffer meanwhile does not change it.
///
/// # Invariants
///
/// The last byte is NUL; it is not part of what was written.
#[derive(Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// # Safety
    ///
    /// `buf` must be valid for reads of `len + 1` bytes during `'a`, nobody may write to them, and the
    /// last one must be NUL.
    #[inline]
    pub(crate) unsafe fn from_raw(buf: *const c_char, len: usize) -> Self {
        // INVARIANT: The caller promises the NUL.
        //
        // SAFETY: As the caller promises.
        Self(unsafe { slice::from_raw_parts(buf.cast(), len + 1) })
    }

    /// The text in front of a NUL at the end. Panics if there is none.
    #[inline]
    pub(crate) fn from_bytes_with_nul(bytes: &'a [u8]) -> Self {
        assert!(bytes.ends_with(&[0]));
        // INVARIANT: As was just checked.
        Self(bytes)
    }

    /// All that was written.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        &self.0[..self.0.len() - 1]
    }

    /// What was written without one newline at its end, which echo(1) puts there.
    #[inline]
    pub fn line(&self) -> &'a [u8] {
        let bytes = self.as_bytes();
        bytes.strip_suffix(b"\n").unwrap_or(bytes)
    }

    /// What was written, as a C string.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is a NUL in it. C code would ignore what comes after.
    #[inline]
    pub fn to_c_str(&self) -> Result<&'a CStr> {
        CStr::from_bytes_with_nul(self.0).map_err(|_| EINVAL)
    }

    /// The value that was written.
    ///
    /// # Errors
    ///
    /// Those of [`Text::parse`].
    #[inline]
    pub fn parse<V: Text>(&self) -> Result<V> {
        V::parse(*self)
    }
}

/// A type that has a form as text.
pub trait Text: Sized {
    /// Understands what was written.
    ///
    /// # Errors
    ///
    /// For integers and `bool`:
    ///
    /// - `EINVAL`: not of this form, or there is a NUL in it.
    /// - `ERANGE`: a number that the type does not have.
    fn parse(input: Input<'_>) -> Result<Self>;

    /// Puts the value into the page, without a newline.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW`: there is no room.
    fn show(&self, page: &mut Page<'_>) -> Result;
}

/// A number that is written in decimal only: `0x10` is none, and `010` is ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal<T>(pub T);

/// As `kstrtoint()` and its kin have it with base 0: decimal, `0x` for hexadecimal, `0` for octal; for
/// the signed also a `-`; a `+`; one newline at the end; and nothing else, least of all spaces.
///
/// [`Decimal`] is the same with base 10.
macro_rules! number {
    ($kstrto:ident as $wide:ty: $($type:ty)*) => {
        #[inline]
        fn $kstrto(input: Input<'_>, base: c_uint) -> Result<$wide> {
            let text = input.to_c_str()?;
            let mut wide = 0;
            // SAFETY: Both pointers are valid, and the text ends in NUL.
            to_result(unsafe { bindings::$kstrto(text.as_char_ptr(), base, &mut wide) })?;
            Ok(wide)
        }

        $(
            impl Text for $type {
                #[inline]
                fn parse(input: Input<'_>) -> Result<Self> {
                    $kstrto(input, 0)?.try_into().map_err(|_| ERANGE)
                }

                #[inline]
                fn show(&self, page: &mut Page<'_>) -> Result {
                    write!(page, "{self}")
                }
            }

            impl Text for Decimal<$type> {
                #[inline]
                fn parse(input: Input<'_>) -> Result<Self> {
                    $kstrto(input, 10)?.try_into().map(Self).map_err(|_| ERANGE)
                }

                #[inline]
                fn show(&self, page: &mut Page<'_>) -> Result {
                    self.0.show(page)
                }
            }
        )*
    };
}

number!(kstrtoll as i64: i8 i16 i32 i64 isize);
number!(kstrtoull as u64: u8 u16 u32 u64 usize);

/// As `kstrtobool()` has it: whatever begins with one of `EeYyTt1` or with `on`, and with one of
/// `DdNnFf0` or with `of`, in either case. Shown as `Y` and `N`.
impl Text for bool {
    #[inline]
    fn parse(input: Input<'_>) -> Result<Self> {
        kstrtobool(input.to_c_str()?)
    }

    #[inline]
    fn show(&self, page: &mut Page<'_>) -> Result {
        page.push(if *self { b"Y" } else { b"N" })
    }
}
