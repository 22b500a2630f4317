// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: what a message consists of, and what it may consist of.
//!
//! C headers: [`include/net/netlink.h`](srctree/include/net/netlink.h),
//! [`include/linux/netlink.h`](srctree/include/linux/netlink.h)
//!
//! An attribute has a number and a value. An [`Attr`] says which number and what kind of value, once for
//! all who send or receive it. A [`Policy`] is a set of them: what a message may have. The kernel holds
//! each message against it before anybody sees the message. What is then found in it are [`Attributes`],
//! and what is written into a reply is a [`Message`].
//!
//! Not supported:
//!
//! - Messages that are checked less than strictly.
//! - `NLA_UINT` and `NLA_SINT`, `NLA_MSECS`, `NLA_BITFIELD32`, values in network byte order, arrays of
//!   nests, strings without a NUL, and validation by a function.
//! - Ranges of the lengths of strings. They have a maximum.
//! - An attribute that is there more than once: the last one counts, as in C.
//! - Alignment of 64-bit values (`nla_put_64bit()`). A reader must copy them.
//!
//! # Examples
//!
//! ```
//! use callgate_kernel::nlattr::{Attr, Attributes, Nested, Policy, Range};
//! use kernel::prelude::*;
//!
//! const NAME: Attr<CStr> = Attr::<CStr>::at_most(1, 15);
//! const MTU: Attr<u32> = Attr::<u32>::within(2, &Range { min: 68, max: 65_535 });
//! const LINK: Attr<Nested> = Attr::nested(1, &LINK_POLICY);
//!
//! static LINK_POLICY: Policy<3> = Policy::new(&[NAME.entry(), MTU.entry()]);
//! static POLICY: Policy<2> = Policy::new(&[LINK.entry()]);
//!
//! fn mtu(message: Attributes<'_>) -> Result<u32> {
//!     let link = message.need(LINK)?;
//!     let mtu = link.get(MTU).unwrap_or(1500);
//!     if mtu % 4 != 0 {
//!         return Err(link.refuse(MTU, EINVAL, c"not a multiple of four"));
//!     }
//!     Ok(mtu)
//! }
//! ```

use crate::bindings;
use core::{marker::PhantomData, ptr, ptr::NonNull};
use kernel::{ffi::c_int, prelude::*};

/// The size of `struct nlattr`, which is aligned already.
const HEADER: usize = size_of::<bindings::nlattr>();

/// The bits of an attribute's type that are its number.
const TYPE_MASK: u16 = !(bindings::NLA_F_NESTED | bindings::NLA_F_NET_BYTEORDER) as u16;

/// C's `NL_VALIDATE_STRICT`.
const STRICT: u32 = bindings::netlink_validation_NL_VALIDATE_TRAILING
    | bindings::netlink_validation_NL_VALIDATE_MAXTYPE
    | bindings::netlink_validation_NL_VALIDATE_UNSPEC
    | bindings::netlink_validation_NL_VALIDATE_STRICT_ATTRS
    | bindings::netlink_validation_NL_VALIDATE_NESTED;

/// C's `NLA_ALIGN()`, of a length that has 16 bits.
#[inline]
const fn align(length: usize) -> usize {
    const LOW: usize = bindings::NLA_ALIGNTO as usize - 1;
    (length + LOW) & !LOW
}

/// The largest value that fits into an attribute.
const MAX_VALUE: usize = u16::MAX as usize - HEADER;

/// As [`kernel::error::to_result`], of which each use is a call: a message is made of many attributes.
#[inline]
pub(crate) fn to_result(err: c_int) -> Result {
    if err < 0 {
        return Err(Error::from_errno(err));
    }
    Ok(())
}

/// A kind of attribute: its number, what its value is, and what that is checked for.
///
/// Numbers begin at 1. 0 is for padding.
pub struct Attr<T: ?Sized> {
    number: u16,
    policy: bindings::nla_policy,
    _value: PhantomData<fn() -> *const T>,
}

impl<T: ?Sized> Clone for Attr<T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Attr<T> {}

/// What the value of an attribute can be.
pub trait Value: private::Sealed {
    /// How it is handed out, from a message that lives as long as `'a`.
    type Ref<'a>;

    /// Reads it; `None` if `value` is none.
    #[doc(hidden)]
    fn read<'a>(value: Found<'a>) -> Option<Self::Ref<'a>>;
}

/// What can be put into a message as one value.
pub trait Put: Value {
    /// Puts it.
    #[doc(hidden)]
    fn put(message: &mut Message<'_>, number: u16, value: Self::Ref<'_>) -> Result;
}

mod private {
    pub trait Sealed {}
}

/// An attribute that was found in a message.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// With its header.
    whole: &'a [u8],
    extack: *mut bindings::netlink_ext_ack,
}

impl<'a> Found<'a> {
    #[inline]
    fn value(self) -> &'a [u8] {
        self.whole.get(HEADER..).unwrap_or_default()
    }
}

impl<T: ?Sized> Attr<T> {
    #[inline]
    const fn new(number: u16, kind: u32) -> Self {
        assert!(number > 0 && number <= TYPE_MASK);
        Self {
            number,
            policy: bindings::nla_policy {
                // CAST: All kinds are less than `__NLA_TYPE_MAX`.
                type_: kind as u8,
                ..pin_init::zeroed()
            },
            _value: PhantomData,
        }
    }

    /// It, for a [`Policy`] that has it.
    #[inline]
    pub const fn entry(&self) -> Entry {
        Entry {
            number: self.number,
            policy: self.policy,
        }
    }
}

/// The least and the largest value of an attribute.
#[repr(C)]
pub struct Range {
    /// The least.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

const _: () = assert!(size_of::<Range>() == size_of::<bindings::netlink_range_validation>());

/// The least and the largest value of an attribute with a sign.
#[repr(C)]
pub struct SignedRange {
    /// The least.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

const _: () =
    assert!(size_of::<SignedRange>() == size_of::<bindings::netlink_range_validation_signed>());

macro_rules! integers {
    ($($int:ident $kind:ident $range:ident $field:ident $c_range:ident;)*) => {
        $(
            impl private::Sealed for $int {}

            impl Value for $int {
                type Ref<'a> = $int;

                #[inline]
                fn read(found: Found<'_>) -> Option<$int> {
                    found.value().try_into().ok().map($int::from_ne_bytes)
                }
            }

            impl Put for $int {
                #[inline]
                fn put(message: &mut Message<'_>, number: u16, value: $int) -> Result {
                    message.put_bytes(number, &value.to_ne_bytes())
                }
            }

            impl Attr<$int> {
                /// Any value.
                #[inline]
                pub const fn any(number: u16) -> Self {
                    Self::new(number, bindings::$kind)
                }

                /// A value in this range; `ERANGE` for another.
                #[inline]
                pub const fn within(number: u16, range: &'static $range) -> Self {
                    let mut attr = Self::any(number);
                    attr.policy.validation_type =
                        bindings::nla_policy_validation_NLA_VALIDATE_RANGE_PTR as u8;
                    attr.policy.__bindgen_anon_1.$field =
                        ptr::from_ref(range).cast::<bindings::$c_range>();
                    attr
                }
            }
        )*
    };
}

integers! {
    u8 NLA_U8 Range range netlink_range_validation;
    u16 NLA_U16 Range range netlink_range_validation;
    u32 NLA_U32 Range range netlink_range_validation;
    u64 NLA_U64 Range range netlink_range_validation;
    i8 NLA_S8 SignedRange range_signed netlink_range_validation_signed;
    i16 NLA_S16 SignedRange range_signed netlink_range_validation_signed;
    i32 NLA_S32 SignedRange range_signed netlink_range_validation_signed;
    i64 NLA_S64 SignedRange range_signed netlink_range_validation_signed;
}

impl private::Sealed for CStr {}

impl Value for CStr {
    type Ref<'a> = &'a CStr;

    #[inline]
    fn read<'a>(found: Found<'a>) -> Option<&'a CStr> {
        CStr::from_bytes_until_nul(found.value()).ok()
    }
}

impl Put for CStr {
    #[inline]
    fn put(message: &mut Message<'_>, number: u16, value: &CStr) -> Result {
        message.put_bytes(number, value.to_bytes_with_nul())
    }
}

impl Attr<CStr> {
    /// A string with a NUL, of at most `length` bytes before it.
    #[inline]
    pub const fn at_most(number: u16, length: u16) -> Self {
        assert!(length > 0, "C takes 0 for no limit");
        let mut attr = Self::new(number, bindings::NLA_NUL_STRING);
        attr.policy.len = length;
        attr
    }
}

impl private::Sealed for [u8] {}

impl Value for [u8] {
    type Ref<'a> = &'a [u8];

    #[inline]
    fn read<'a>(found: Found<'a>) -> Option<&'a [u8]> {
        Some(found.value())
    }
}

impl Put for [u8] {
    #[inline]
    fn put(message: &mut Message<'_>, number: u16, value: &[u8]) -> Result {
        message.put_bytes(number, value)
    }
}

impl Attr<[u8]> {
    /// From `min` to `max` bytes; `ERANGE` for less or more.
    #[inline]
    pub const fn bytes(number: u16, min: u16, max: u16) -> Self {
        assert!(min <= max && max <= i16::MAX as u16);
        let mut attr = Self::new(number, bindings::NLA_BINARY);
        attr.policy.validation_type = bindings::nla_policy_validation_NLA_VALIDATE_RANGE as u8;
        attr.policy.__bindgen_anon_1.__bindgen_anon_1 =
            bindings::nla_policy__bindgen_ty_1__bindgen_ty_1 {
                min: min as i16,
                max: max as i16,
            };
        attr
    }
}

/// An attribute that has no value: it is there, or not.
pub struct Flag;

impl private::Sealed for Flag {}

impl Value for Flag {
    type Ref<'a> = ();

    #[inline]
    fn read(found: Found<'_>) -> Option<()> {
        found.value().is_empty().then_some(())
    }
}

impl Put for Flag {
    #[inline]
    fn put(message: &mut Message<'_>, number: u16, (): ()) -> Result {
        message.put_bytes(number, &[])
    }
}

impl Attr<Flag> {
    /// A flag.
    #[inline]
    pub const fn flag(number: u16) -> Self {
        Self::new(number, bindings::NLA_FLAG)
    }
}

/// An attribute that has attributes for its value.
pub struct Nested;

impl private::Sealed for Nested {}

impl Value for Nested {
    type Ref<'a> = Attributes<'a>;

    #[inline]
    fn read<'a>(found: Found<'a>) -> Option<Attributes<'a>> {
        Some(Attributes {
            bytes: found.value(),
            nest: found.whole.as_ptr().cast(),
            extack: found.extack,
        })
    }
}

impl Attr<Nested> {
    /// What `policy` lets through.
    #[inline]
    pub const fn nested<const N: usize>(number: u16, policy: &'static Policy<N>) -> Self {
        let mut attr = Self::new(number, bindings::NLA_NESTED);
        attr.policy.len = Policy::<N>::MAX as u16;
        attr.policy.__bindgen_anon_1.nested_policy = policy.as_ptr();
        attr
    }
}

/// One attribute of a [`Policy`].
#[derive(Clone, Copy)]
pub struct Entry {
    number: u16,
    policy: bindings::nla_policy,
}

/// What attributes a message may have: `N` is one more than their largest number.
///
/// Any other attribute is refused with `EINVAL`, and so is one whose value has not the length that its
/// kind demands, or that lacks `NLA_F_NESTED` or has it without being a nest. Anybody may ask the kernel
/// for the policies of a family.
#[repr(transparent)]
pub struct Policy<const N: usize>([bindings::nla_policy; N]);

// SAFETY: It is never written; what its pointers point to is another policy or a range, neither of which is
// ever written.
unsafe impl<const N: usize> Sync for Policy<N> {}

impl<const N: usize> Policy<N> {
    /// The largest number.
    pub(crate) const MAX: u32 = {
        assert!(N > 0 && N <= TYPE_MASK as usize);
        N as u32 - 1
    };

    /// What has these attributes. Fails to compile if a number is there twice, or is not less than `N`.
    #[inline]
    pub const fn new(entries: &[Entry]) -> Self {
        let mut policy = [const { pin_init::zeroed::<bindings::nla_policy>() }; N];
        let mut i = 0;
        while i < entries.len() {
            let entry = &entries[i];
            assert!((entry.number as usize) < N, "N must be larger");
            let place = &mut policy[entry.number as usize];
            assert!(place.type_ == bindings::NLA_UNSPEC as u8, "there twice");
            *place = entry.policy;
            i += 1;
        }
        Self(policy)
    }

    #[inline]
    pub(crate) const fn as_ptr(&'static self) -> *const bindings::nla_policy {
        self.0.as_ptr()
    }
}

/// The attributes of a message, or of a nest in it, and who is to be told of a bad one.
///
/// # Invariants
///
/// - `bytes` are in a message whose bytes nobody changes during `'a`.
/// - `nest` is null, or points to the header of an attribute in that message.
/// - `extack` is null, or the extended ACK of that message: valid during `'a`, and this thread's alone.
#[derive(Clone, Copy)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    nest: *const bindings::nlattr,
    extack: *mut bindings::netlink_ext_ack,
}

impl<'a> Attributes<'a> {
    /// The attributes behind the netlink header and `skip` more bytes of a message.
    ///
    /// # Safety
    ///
    /// `message` must be valid for reads of as many bytes as its length says, none of which anybody
    /// changes during `'a`; `extack` be as the type invariants have it.
    #[inline]
    pub(crate) unsafe fn of_message(
        message: *const bindings::nlmsghdr,
        skip: usize,
        extack: *mut bindings::netlink_ext_ack,
    ) -> Self {
        // SAFETY: As the caller promises.
        let whole: &[u8] =
            unsafe { core::slice::from_raw_parts(message.cast(), (*message).nlmsg_len as usize) };
        let start = size_of::<bindings::nlmsghdr>() + skip;
        // INVARIANT: As the caller promises.
        Self {
            bytes: whole.get(start..).unwrap_or_default(),
            nest: ptr::null(),
            extack,
        }
    }

    /// Holds the attributes against a policy, as generic netlink does before it calls a command.
    ///
    /// # Errors
    ///
    /// As [`Policy`] has it; and the sender learns which attribute is to blame.
    #[inline]
    pub(crate) fn check<const N: usize>(&self, policy: &'static Policy<N>) -> Result {
        // CAST: A message is shorter than `i32::MAX`, and numbers have 14 bits.
        //
        // SAFETY: The bytes are readable, by the type invariants, and `extack` is null or ours.
        to_result(unsafe {
            bindings::__nla_validate(
                self.bytes.as_ptr().cast(),
                self.bytes.len() as c_int,
                Policy::<N>::MAX as c_int,
                policy.as_ptr(),
                STRICT,
                self.extack,
            )
        })
    }

    /// The last attribute with this number.
    #[inline]
    fn find(&self, number: u16) -> Option<Found<'a>> {
        let (mut rest, mut found) = (self.bytes, None);
        while let Some(&[l0, l1, t0, t1]) = rest.first_chunk() {
            let length = usize::from(u16::from_ne_bytes([l0, l1]));
            let Some(whole) = rest.get(..length).filter(|whole| whole.len() >= HEADER) else {
                break;
            };
            if u16::from_ne_bytes([t0, t1]) & TYPE_MASK == number {
                found = Some(Found {
                    whole,
                    extack: self.extack,
                });
            }
            rest = rest.get(align(length)..).unwrap_or_default();
        }
        found
    }

    /// The value of an attribute; `None` if it is not there, or has no such value, which the policy of the
    /// command lets happen only if that has the number for something else.
    #[inline]
    pub fn get<T: Value + ?Sized>(&self, attr: Attr<T>) -> Option<T::Ref<'a>> {
        T::read(self.find(attr.number)?)
    }

    /// Whether a flag is there.
    #[inline]
    pub fn has(&self, flag: Attr<Flag>) -> bool {
        self.get(flag).is_some()
    }

    /// The value of an attribute that must be there.
    ///
    /// # Errors
    ///
    /// `EINVAL`, and the sender learns the number that is missing, and from which nest.
    #[inline]
    pub fn need<T: Value + ?Sized>(&self, attr: Attr<T>) -> Result<T::Ref<'a>> {
        self.get(attr).ok_or_else(|| {
            // SAFETY: By the type invariants it is null, or valid and ours.
            if let Some(extack) = unsafe { self.extack.as_mut() } {
                extack.miss_type = attr.number;
                extack.miss_nest = self.nest;
            }
            EINVAL
        })
    }

    /// Tells the sender that this attribute is to blame for `error`, and why. Returns the error, for the
    /// handler to return in turn.
    #[inline]
    pub fn refuse<T: ?Sized>(&self, attr: Attr<T>, error: Error, why: &'static CStr) -> Error {
        // SAFETY: By the type invariants it is null, or valid and ours.
        if let Some(extack) = unsafe { self.extack.as_mut() } {
            // SAFETY: `why` is a C string.
            unsafe { bindings::do_trace_netlink_extack(why.as_char_ptr()) };
            extack._msg = why.as_char_ptr();
            extack.bad_attr = self
                .find(attr.number)
                .map_or(self.nest, |found| found.whole.as_ptr().cast());
        }
        error
    }
}

/// A message that is being written.
///
/// # Invariants
///
/// It is valid, and nobody else's, during `'a`.
pub struct Message<'a> {
    skb: NonNull<bindings::sk_buff>,
    _buffer: PhantomData<&'a mut ()>,
}

impl Message<'_> {
    /// # Safety
    ///
    /// `skb` must be as the type invariants have it.
    #[inline]
    pub(crate) unsafe fn new(skb: NonNull<bindings::sk_buff>) -> Self {
        Self {
            skb,
            _buffer: PhantomData,
        }
    }

    /// Puts an attribute at the end.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE`: there is no room for it.
    #[inline]
    pub fn put<T: Put + ?Sized>(&mut self, attr: Attr<T>, value: T::Ref<'_>) -> Result {
        T::put(self, attr.number, value)
    }

    /// Puts a nest at the end, with what `fill` puts into it. If that fails, there is no nest.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE`: there is no room for it; and what `fill` fails with.
    #[inline]
    pub fn nest(&mut self, attr: Attr<Nested>, fill: impl FnOnce(&mut Self) -> Result) -> Result {
        let skb = self.skb.as_ptr();
        // SAFETY: The buffer is valid and ours, by the type invariants.
        let start = unsafe { bindings::callgate_nla_nest_start(skb, attr.number.into()) };
        if start.is_null() {
            return Err(EMSGSIZE);
        }
        let filled = fill(self);
        // SAFETY: As above; `start` is the nest that was begun last, as `fill` ended all it began.
        filled
            .and_then(|()| to_result(unsafe { bindings::callgate_nla_nest_end(skb, start) }))
            .inspect_err(|_| {
                // SAFETY: As above.
                unsafe { bindings::callgate_nla_nest_cancel(skb, start) }
            })
    }

    #[inline]
    fn put_bytes(&mut self, number: u16, value: &[u8]) -> Result {
        if value.len() > MAX_VALUE {
            return Err(EMSGSIZE);
        }
        // CAST: No more than `MAX_VALUE`.
        //
        // SAFETY: The buffer is valid and ours, by the type invariants; the value is as long as that.
        to_result(unsafe {
            bindings::nla_put(
                self.skb.as_ptr(),
                number.into(),
                value.len() as c_int,
                value.as_ptr().cast(),
            )
        })
    }
}

/// A buffer of the usual size for one message, about a page.
///
/// # Invariants
///
/// It is valid, and ours.
pub(crate) struct Buffer(NonNull<bindings::sk_buff>);

impl Buffer {
    #[inline]
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Any size will do.
        let skb = unsafe {
            bindings::genlmsg_new(
                kernel::net::netlink::GENLMSG_DEFAULT_SIZE,
                bindings::GFP_KERNEL,
            )
        };
        // INVARIANT: `genlmsg_new()` gave it to us.
        NonNull::new(skb).map(Self).ok_or(ENOMEM)
    }

    #[inline]
    pub(crate) fn as_nonnull(&self) -> NonNull<bindings::sk_buff> {
        self.0
    }

    /// Gives it away.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut bindings::sk_buff {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: It is ours, by the type invariants.
        unsafe { bindings::nlmsg_free(self.0.as_ptr()) }
    }
}
