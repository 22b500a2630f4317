// SPDX-License-Identifier: GPL-2.0

//! Protocols right above the link layer: who gets the frames of an EtherType, and frames in answer.
//!
//! C headers: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h) (`dev_add_pack()`),
//! [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)
//!
//! A [`Protocol`] is called with every frame of its EtherType that a device of a network namespace
//! receives, and may answer it. While a [`Registration`] lives, each namespace has one protocol of its own.
//!
//! Not supported:
//!
//! - All frames, whatever their type (`ETH_P_ALL`), as a sniffer wants them; and frames with a length in
//!   place of a type.
//! - The frames of one device alone; to send without having received; to change or keep a frame. Who
//!   needs that copies what is in it.
//! - Links without addresses of six bytes: their frames have no [`source`](Frame::source), and cannot be
//!   answered.
//! - Checksums, segmentation, and whatever else network cards do for known protocols.
//! - The priority, mark and VLAN of a question: its answer has none of them.
//! - Many network namespaces: a registration that ends waits for the CPUs once for each of them.
//!
//! # What a frame is
//!
//! Bytes that somebody sent, and all that is certain about them is how many there are. They need not lie
//! in one piece of memory (the `sk_buff` may be *non-linear*), nor be this protocol's alone (it may be
//! *shared* or *cloned*, with a program that watches the device). So a [`Frame`] gives out copies, each
//! checked against its end, and can be changed by nobody.
//!
//! Ethernet has no frames with less than 46 bytes of payload: behind a shorter one the sender puts
//! padding. A protocol must know from its own header where its payload ends.
//!
//! # When a registration ends
//!
//! `dev_remove_pack()` takes the protocol off the list and waits until no CPU is in it any more. Frames
//! that it sent are on their way without it: nothing in them leads back to the module.

use crate::{
    bindings,
    net_namespace::{self, Id, NewNet},
};
use core::{marker::PhantomData, ptr::NonNull, slice};
use kernel::{
    error::to_result,
    ffi::{c_int, c_void},
    prelude::*,
    types::Opaque,
    ModuleMetadata,
};
use zerocopy::{FromBytes, IntoBytes};

/// What a frame is said to carry: a number in its header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EtherType(u16);

impl EtherType {
    /// The type of that number. 0x88b5 and 0x88b6 are for experiments, by IEEE 802; others are given out by
    /// the IEEE.
    ///
    /// # Panics
    ///
    /// If `number` is less than 0x600: that is the length of a frame without a type. In a constant that is an
    /// error when compiling.
    #[inline]
    pub const fn new(number: u16) -> Self {
        assert!(number >= 0x600, "that is a length, not a type");
        Self(number)
    }
}

/// The address of a device on a link such as Ethernet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address([u8; 6]);

impl Address {
    /// Whether it stands for several devices, as that for all of them does. No frame comes from such a one.
    #[inline]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

/// To whom a frame is addressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// To the device that received it.
    Us,
    /// To all on the link.
    All,
    /// To a group of them.
    Group,
    /// To somebody else: the device listens to everything, or the frame is for a VLAN that nobody here is in.
    Others,
}

/// What became of a frame, for those who count lost ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was used.
    Used,
    /// It was of no use.
    Dropped,
}

/// A frame that was received.
///
/// # Invariants
///
/// It is valid during `'a`, and within a read-side critical section of RCU, in which its device is valid,
/// too. Its `data` is the payload.
pub struct Frame<'a>(
    NonNull<bindings::sk_buff>,
    PhantomData<&'a bindings::sk_buff>,
);

impl<'a> Frame<'a> {
    #[inline]
    fn as_ptr(&self) -> *mut bindings::sk_buff {
        self.0.as_ptr()
    }

    #[inline]
    fn device(&self) -> *mut bindings::net_device {
        // SAFETY: It is valid.
        unsafe { bindings::callgate_frame_device(self.as_ptr()) }
    }

    /// How many bytes of payload there are, with what may be padding.
    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: It is valid.
        unsafe { (*self.as_ptr()).len as usize }
    }

    /// Whether there is no payload.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `offset` of the payload on.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE`: it ends before `to` is full, or what is missing is in a network card's own memory. Then
    /// what `to` has is unspecified.
    #[inline]
    pub fn copy(&self, offset: usize, to: &mut [u8]) -> Result {
        let end = offset.checked_add(to.len()).ok_or(EMSGSIZE)?;
        if end > self.len() {
            return Err(EMSGSIZE);
        }
        // The casts lose nothing: a frame's length is an `int` to C as well.
        //
        // SAFETY: The frame is valid, and `to` has room for so many bytes.
        to_result(unsafe {
            bindings::skb_copy_bits(
                self.as_ptr(),
                offset as c_int,
                to.as_mut_ptr().cast::<c_void>(),
                to.len() as c_int,
            )
        })
        .map_err(|_| EMSGSIZE)
    }

    /// A copy of the `T` at `offset` of the payload.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE`: it ends before the `T` does.
    #[inline]
    pub fn read<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let mut value = T::new_zeroed();
        self.copy(offset, value.as_mut_bytes())?;
        Ok(value)
    }

    /// To whom it is addressed.
    #[inline]
    pub fn to(&self) -> To {
        // SAFETY: It is valid.
        match u32::from(unsafe { bindings::callgate_frame_type(self.as_ptr()) }) {
            bindings::PACKET_HOST => To::Us,
            bindings::PACKET_BROADCAST => To::All,
            bindings::PACKET_MULTICAST => To::Group,
            _ => To::Others,
        }
    }

    /// From whom it says it is. `None` on a link without addresses of six bytes.
    #[inline]
    pub fn source(&self) -> Option<Address> {
        let mut source = [0; 6];
        // SAFETY: It is valid, and so is its device. `source` has six bytes, which is `ETH_ALEN`.
        unsafe { bindings::callgate_frame_source(self.as_ptr(), source.as_mut_ptr()) }
            .then_some(Address(source))
    }

    /// A frame of the same type, to be sent from the device that received this one.
    ///
    /// Its payload is `len` zeroes.
    ///
    /// # Errors
    ///
    /// - `EMSGSIZE`: that is more than the device takes.
    /// - `ENOMEM`.
    #[inline]
    pub fn answer(&self, len: usize) -> Result<Answer<'a>> {
        let device = self.device();
        // SAFETY: The device is valid.
        let mtu = unsafe { bindings::callgate_frame_mtu(device) };
        let len = u32::try_from(len).map_err(|_| EMSGSIZE)?;
        if len > mtu {
            return Err(EMSGSIZE);
        }
        // SAFETY: The frame and the device are valid.
        let skb = unsafe { bindings::callgate_frame_new(device, self.as_ptr(), len) };
        let skb = NonNull::new(skb).ok_or(ENOMEM)?;
        // INVARIANT: The frame is new, has `len` bytes of payload, and its device is valid during `'a`.
        Ok(Answer {
            skb,
            len: len as usize,
            _device: PhantomData,
        })
    }
}

/// A frame that has not been sent yet.
///
/// # Invariants
///
/// It is valid, nobody else's, and linear with `len` bytes of payload. Its device is valid during `'a`.
pub struct Answer<'a> {
    skb: NonNull<bindings::sk_buff>,
    len: usize,
    _device: PhantomData<&'a bindings::net_device>,
}

impl Answer<'_> {
    /// Its payload.
    #[inline]
    pub fn payload(&mut self) -> &mut [u8] {
        // SAFETY: It is valid.
        let payload = unsafe { bindings::callgate_frame_payload(self.skb.as_ptr()) };
        // SAFETY: By the type invariants, so many bytes are there, and nobody else's; they are initialised.
        unsafe { slice::from_raw_parts_mut(payload.cast(), self.len) }
    }

    /// Sends it from the device's own address to `to`.
    ///
    /// That it was sent does not mean that it arrives.
    ///
    /// # Errors
    ///
    /// - `EAFNOSUPPORT`: the device's link has no addresses of six bytes.
    /// - `ENOBUFS`, `ENETDOWN` and others: the device does not take it.
    #[inline]
    pub fn send(self, to: Address) -> Result {
        let skb = self.skb;
        core::mem::forget(self);
        // SAFETY: It is valid, and given away. The device is valid. `to` has six bytes, which is `ETH_ALEN`.
        to_result(unsafe { bindings::callgate_frame_send(skb.as_ptr(), to.0.as_ptr()) })
    }
}

impl Drop for Answer<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: It is valid, and nobody else's.
        unsafe { bindings::callgate_frame_done(self.skb.as_ptr(), false) };
    }
}

/// Gets the frames of an EtherType, one for each network namespace.
///
/// # Examples
///
/// ```
/// use callgate_kernel::{
///     net_namespace::NewNet,
///     packet::{EtherType, Frame, PerNet, Protocol, Registration, To, Verdict},
/// };
/// use kernel::prelude::*;
///
/// struct Echo;
///
/// static ECHO: PerNet<Echo> = PerNet::new();
///
/// impl Protocol for Echo {
///     type OwnerModule = crate::LocalModule;
///     const TYPE: EtherType = EtherType::new(0x88b6);
///     const PER_NET: &'static PerNet<Self> = &ECHO;
///
///     fn new(_net: &NewNet) -> impl PinInit<Self, Error> {
///         Ok(Echo)
///     }
///
///     fn receive(&self, frame: &Frame<'_>) -> Verdict {
///         let answer = || -> Result {
///             let sender = frame.source().ok_or(ENXIO)?;
///             let mut answer = frame.answer(frame.len())?;
///             frame.copy(0, answer.payload())?;
///             answer.send(sender)
///         };
///         if frame.to() == To::Us && answer().is_ok() {
///             Verdict::Used
///         } else {
///             Verdict::Dropped
///         }
///     }
/// }
///
/// fn register() -> Result<Registration<Echo>> {
///     Registration::new()
/// }
/// ```
pub trait Protocol: Send + Sync + Sized + 'static {
    /// The module, which a leaked registration keeps.
    type OwnerModule: ModuleMetadata;

    /// The frames that it gets.
    const TYPE: EtherType;

    /// Where to find that of a namespace: a static of the module.
    const PER_NET: &'static PerNet<Self>;

    /// That of `net`. If this fails, so does the making of the namespace.
    fn new(net: &NewNet) -> impl PinInit<Self, Error>;

    /// Called with each frame, on any CPU, and on several at once; as a rule in a softirq, so it must not
    /// sleep. To drop the registration in it is impossible.
    ///
    /// The frame may be addressed to others: look at [`Frame::to`]. To answer what may itself be an answer
    /// makes two of a kind send for ever.
    fn receive(&self, frame: &Frame<'_>) -> Verdict;
}

/// Where to find the protocol that a network namespace has.
pub struct PerNet<T: Protocol>(Id<InNet<T>>);

impl<T: Protocol> PerNet<T> {
    /// To be the value of a static, to which [`Protocol::PER_NET`] refers.
    #[expect(clippy::new_without_default)]
    #[inline]
    pub const fn new() -> Self {
        Self(Id::new())
    }
}

/// A protocol, and what C has of it.
#[pin_data]
struct Handler<T> {
    packet_type: Opaque<bindings::packet_type>,
    #[pin]
    protocol: T,
}

// SAFETY: `packet_type` is C's alone while it is registered, and nobody's otherwise.
unsafe impl<T: Send> Send for Handler<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for Handler<T> {}

impl<T: Protocol> Handler<T> {
    /// # Safety
    ///
    /// To be called as `packet_type.func` of the `packet_type` in a `Handler<T>`.
    unsafe extern "C" fn receive(
        skb: *mut bindings::sk_buff,
        _device: *mut bindings::net_device,
        packet_type: *mut bindings::packet_type,
        _original_device: *mut bindings::net_device,
    ) -> c_int {
        // SAFETY: It is the one in a `Handler<T>`, which is valid while it is registered, and
        // `dev_remove_pack()` waits for this call.
        let handler =
            unsafe { &*kernel::container_of!(Opaque::cast_from(packet_type), Self, packet_type) };
        // INVARIANT: C calls this in a read-side critical section with a frame whose device is valid, and from
        // which the link layer's header has been taken; one of its references is ours, until the end of this.
        //
        // SAFETY: C passes a frame.
        let frame = Frame(unsafe { NonNull::new_unchecked(skb) }, PhantomData);
        let used = handler.protocol.receive(&frame) == Verdict::Used;
        // SAFETY: It is valid, and the reference is given up. `frame` is not used any more.
        unsafe { bindings::callgate_frame_done(skb, used) };
        if used {
            bindings::NET_RX_SUCCESS
        } else {
            bindings::NET_RX_DROP
        }
    }
}

/// The protocol of one namespace, registered.
///
/// # Invariants
///
/// It is registered.
struct InNet<T: Protocol>(Pin<KBox<Handler<T>>>);

impl<T: Protocol> net_namespace::PerNet for InNet<T> {
    type OwnerModule = T::OwnerModule;

    const ID: &'static Id<Self> = &T::PER_NET.0;

    fn new(net: &NewNet) -> Result<KBox<Self>> {
        let packet_type = bindings::packet_type {
            type_: T::TYPE.0.to_be(),
            func: Some(Handler::<T>::receive),
            // Puts it on the namespace's own list; nothing more comes of it, nor is it a reference.
            af_packet_net: net.as_ptr(),
            ..pin_init::zeroed()
        };
        let handler = KBox::try_pin_init(
            try_pin_init!(Handler {
                packet_type: Opaque::new(packet_type),
                protocol <- T::new(net),
            }? Error),
            GFP_KERNEL,
        )?;
        let slot = KBox::new_uninit(GFP_KERNEL)?;
        // SAFETY: It is initialised, stays where it is, and is valid until `drop` has unregistered it; so is the
        // namespace, as this is dropped before that goes. The module stays, for a registration of `Self` has
        // a hold.
        unsafe { bindings::dev_add_pack(handler.packet_type.get()) };
        // INVARIANT: It has just been registered.
        Ok(KBox::write(slot, Self(handler)))
    }
}

impl<T: Protocol> Drop for InNet<T> {
    fn drop(&mut self) {
        // SAFETY: It is registered, by the type invariants.
        unsafe { bindings::dev_remove_pack(self.0.packet_type.get()) };
    }
}

/// While this lives, every network namespace has a protocol that gets its frames.
///
/// To make or drop it sleeps. When it has been dropped, no CPU is in [`Protocol::receive`] any more.
pub struct Registration<T: Protocol>(net_namespace::Registration<InNet<T>>);

impl<T: Protocol> Registration<T> {
    /// Has the protocol in all network namespaces, and in those to come.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: this type is registered already.
    /// - `ENOMEM`, and what [`Protocol::new`] fails with.
    #[inline]
    pub fn new() -> Result<Self> {
        Ok(Self(net_namespace::Registration::new()?))
    }
}
