// SPDX-License-Identifier: GPL-2.0

//! A netlink protocol of one's own: a number below 32, and a socket of the kernel's behind it in every
//! network namespace.
//!
//! C header: [`include/linux/netlink.h`](srctree/include/linux/netlink.h)
//!
//! There are 32 protocols for all of the kernel, and most are taken. So new code registers a family of
//! generic netlink, see [`genetlink`](crate::genetlink), which also does what a [`Protocol`] must do by
//! itself: tell commands apart, check attributes and privileges, and let users find it by a name.
//!
//! Not supported:
//!
//! - Dumps.
//! - Being told who joins or leaves a group, or closes a socket.
//! - Users who send to each other (`NL_CFG_F_NONROOT_SEND`), and the number that they do so by,
//!   `NETLINK_USERSOCK`.
//! - Notifications outside of a request.
//! - Messages without `NLM_F_REQUEST`: C acknowledges them if they ask for it, and that is all.
//! - `EINTR` as a refusal: C takes it to mean that no acknowledgement is due.
//!
//! # What lives how long
//!
//! Each socket of a user holds a reference to the module that had the number when it was opened, so this
//! stays until the last is closed. That need not be the module that has the number now. So there is a
//! second rule: requests are handled in the sender's own system call, and to drop a [`Registration`]
//! closes the kernel's sockets and waits for those who are in a request. To do so in a request is a
//! deadlock. Whoever sends later gets `ECONNREFUSED`.
//!
//! Users may open sockets before the module's `init` has succeeded, and nothing can keep them from it.
//! If `init` then fails, the [`Registration`] waits, by [`Settle`], until they close them: it should be
//! the last thing that `init` makes.
//!
//! # When a number changes hands
//!
//! What C does not take care of, and nobody else can:
//!
//! - Members of a group stay so, and hear what the next to have the number tells that group, even if
//!   that would not have let them join. But C tells a protocol of them only after somebody has joined or
//!   left once more: until then [`Request::notify`] finds nobody, nor do they hear anything.
//! - To close the sockets takes one namespace after the other, and whose the number is, is settled when the
//!   last is closed. A module in C that takes it in between, in the initial namespace alone, has users who
//!   hold references to this module in place of its own.

use crate::{
    bindings,
    file::Settle,
    net_namespace::{self, Id, Net, NewNet, PerNet},
    nlattr::{Attributes, Buffer, Message, Policy},
};
use core::{marker::PhantomData, ptr, ptr::NonNull};
use kernel::{
    error::to_result,
    ffi::c_int,
    module::this_module,
    prelude::*,
    sync::{
        atomic::{
            ordering::{Acquire, Relaxed, Release},
            Atomic,
        },
        Arc,
    },
    time::{delay::fsleep, Delta},
};

/// What a protocol does with requests.
///
/// # Examples
///
/// One that answers each message of type 16 by an attribute:
///
/// ```
/// use callgate_kernel::{
///     netlink::{Protocol, Request, Static},
///     nlattr::Attr,
/// };
/// use kernel::prelude::*;
///
/// const ANSWER: Attr<u32> = Attr::<u32>::any(1);
///
/// static ORACLE: Static<Oracle> = Static::new();
///
/// struct Oracle;
///
/// #[vtable]
/// impl Protocol for Oracle {
///     const GROUPS: u32 = 0;
///     const ANYBODY_MAY_LISTEN: bool = false;
///     const STATIC: &'static Static<Self> = &ORACLE;
///
///     fn request(&self, request: &Request<'_, Self>) -> Result {
///         match request.kind() {
///             16 => request.reply(16, |message| message.put(ANSWER, 42)),
///             _ => Err(EOPNOTSUPP),
///         }
///     }
/// }
/// ```
#[vtable]
pub trait Protocol: Sized + Send + Sync + 'static {
    /// The largest number of a multicast group, at most 1024. The smallest is 1, and C makes it 32 at
    /// least.
    const GROUPS: u32;

    /// Whether it takes no `CAP_NET_ADMIN` to join groups, any of them.
    const ANYBODY_MAY_LISTEN: bool;

    /// Where the kernel finds it. No other type has it, as it is a `Static<Self>`.
    const STATIC: &'static Static<Self>;

    /// Handles a request, and sends what replies there are. It may sleep. Several may come at once, from
    /// anybody.
    ///
    /// What it returns is the acknowledgement: an error is always sent, unless it is `EINTR`, and success
    /// if the user wants it. Messages of types below 16 are netlink's own, and do not come here.
    fn request(&self, request: &Request<'_, Self>) -> Result;
}

/// No registration; the initial state.
const FREE: i32 = 0;
/// There is a registration, which is being made or dropped.
const CHANGING: i32 = 1;
/// There is a registration.
const LIVE: i32 = 2;

/// More groups than anybody has use for. C computes the size of a set of groups with 32 bits.
const GROUPS_MAX: u32 = 1024;

/// Where the kernel finds a protocol: a static of the module, one for each type.
///
/// # Invariants
///
/// - Whoever changed `state` from `FREE` may alone change it, `number` and `value`, until it is `FREE`
///   again.
/// - While there is a [`Socket`] of `P`, or somebody in its `input`, `value` is one that came from
///   [`Arc::into_raw`], and owns that reference.
/// - `closed` is a list of the kernel's sockets that were closed while the state was `CHANGING`. It owns a
///   reference to each; the next is in `sk_user_data`.
pub struct Static<P: Protocol> {
    state: Atomic<i32>,
    number: Atomic<i32>,
    value: Atomic<*mut P>,
    closed: Atomic<*mut bindings::sock>,
    sockets: Id<Socket<P>>,
}

impl<P: Protocol> Static<P> {
    /// Not registered yet.
    #[expect(
        clippy::new_without_default,
        reason = "it only makes sense as a static"
    )]
    #[inline]
    pub const fn new() -> Self {
        assert!(P::GROUPS <= GROUPS_MAX, "too many groups");
        Self {
            state: Atomic::new(FREE),
            number: Atomic::new(0),
            value: Atomic::new(ptr::null_mut()),
            closed: Atomic::new(ptr::null_mut()),
            sockets: Id::new(),
        }
    }
}

/// The kernel's socket in one network namespace.
///
/// # Invariants
///
/// It came from `__netlink_kernel_create()`, with `input` of `P`, and is not released before this is
/// dropped.
#[doc(hidden)]
pub struct Socket<P: Protocol>(NonNull<bindings::sock>, PhantomData<fn(P) -> P>);

// SAFETY: Nothing but dropping it is done with it, which any thread may do.
unsafe impl<P: Protocol> Send for Socket<P> {}
// SAFETY: As above.
unsafe impl<P: Protocol> Sync for Socket<P> {}

impl<P: Protocol> PerNet for Socket<P> {
    type OwnerModule = P::OwnerModule;

    const ID: &'static Id<Self> = &P::STATIC.sockets;

    #[inline]
    fn new(net: &NewNet) -> Result<KBox<Self>> {
        let place = KBox::new_uninit(GFP_KERNEL)?;
        let mut config = bindings::netlink_kernel_cfg {
            groups: P::GROUPS,
            flags: if P::ANYBODY_MAY_LISTEN {
                bindings::NL_CFG_F_NONROOT_RECV
            } else {
                0
            },
            input: Some(input::<P>),
            ..pin_init::zeroed()
        };
        // SAFETY: The namespace is valid, and the socket is released before it is freed; C copies what it
        // needs of `config`. The module stays until the socket is released: a registration of `Self` has
        // a hold. It stays until nobody is in `input`: `Value` waits for that. C takes a reference to it
        // for each socket that a user opens from now on, and that is waited for when the module is
        // unloaded; or by `Settle`, when it is not live yet.
        let socket = unsafe {
            bindings::__netlink_kernel_create(
                net.as_ptr(),
                P::STATIC.number.load(Relaxed),
                this_module::<P::OwnerModule>().as_ptr(),
                &mut config,
            )
        };
        let socket = NonNull::new(socket).ok_or(ENOMEM)?;
        // INVARIANT: It was just made.
        Ok(KBox::write(place, Self(socket, PhantomData)))
    }
}

impl<P: Protocol> Drop for Socket<P> {
    #[inline]
    fn drop(&mut self) {
        let (place, socket) = (P::STATIC, self.0.as_ptr());
        // Otherwise its namespace goes, or has not come yet: then no user has a socket in it, so nobody
        // is in `input`.
        let is_used = place.state.load(Relaxed) == CHANGING;
        if is_used {
            // SAFETY: By the type invariants it has not been released yet.
            unsafe { bindings::callgate_sock_hold(socket) };
        }
        // SAFETY: As above.
        unsafe { bindings::netlink_kernel_release(socket) };
        if is_used {
            // INVARIANT: The reference is given to the list.
            let mut next = place.closed.load(Relaxed);
            loop {
                // SAFETY: There is a reference to it, and nobody else uses its `sk_user_data`: C leaves that
                // to the owner of the socket.
                unsafe { bindings::callgate_sock_set_next(socket, next) };
                match place.closed.cmpxchg(next, socket, Release) {
                    Ok(_) => break,
                    Err(now) => next = now,
                }
            }
        }
    }
}

/// A protocol that is there, in all network namespaces.
///
/// Dropping it closes the kernel's sockets, and waits for the requests that are being handled.
pub struct Registration<P: Protocol> {
    // In this order.
    _sockets: net_namespace::Registration<Socket<P>>,
    _value: Value<P>,
    _settle: Settle<P::OwnerModule>,
}

impl<P: Protocol> Registration<P> {
    /// Makes `number` the protocol's. Requests may come before this returns.
    ///
    /// # Errors
    ///
    /// - `EPROTONOSUPPORT`: there are 32 protocols, from 0 to 31.
    /// - `EBUSY`: this type is registered already; or the number is that by which users send to each
    ///   other, 2.
    /// - `ENOMEM`: somebody else has the number, or there is no memory. C does not say which.
    #[inline]
    pub fn new(number: u32, value: Arc<P>) -> Result<Self> {
        if number >= bindings::MAX_LINKS {
            return Err(EPROTONOSUPPORT);
        }
        // C does not refuse it, as it has no socket of the kernel's. But whose it is does not change then:
        // users would have no references to the module.
        if number == bindings::NETLINK_USERSOCK {
            return Err(EBUSY);
        }
        let settle = Settle::new();
        let place = P::STATIC;
        place
            .state
            .cmpxchg(FREE, CHANGING, Acquire)
            .map_err(|_| EBUSY)?;
        // CAST: Less than 32.
        place.number.store(number as i32, Relaxed);
        // INVARIANT: There is no `Socket` of `P` yet.
        place.value.store(Arc::into_raw(value).cast_mut(), Release);
        let value = Value(PhantomData);
        let sockets = net_namespace::Registration::new()?;
        place.state.store(LIVE, Relaxed);
        Ok(Self {
            _sockets: sockets,
            _value: value,
            _settle: settle,
        })
    }
}

impl<P: Protocol> Drop for Registration<P> {
    #[inline]
    fn drop(&mut self) {
        // The sockets that are closed next are kept, see `Socket::drop`.
        P::STATIC.state.store(CHANGING, Relaxed);
    }
}

/// Gives the value and the place back when it is dropped, once nobody is in `input` any more.
///
/// # Invariants
///
/// - Its owner changed the state from `FREE`, then set the value.
/// - While it is dropped, the state is `CHANGING`, and there is no [`Socket`] of `P`.
struct Value<P: Protocol>(PhantomData<fn(P) -> P>);

impl<P: Protocol> Drop for Value<P> {
    #[inline]
    fn drop(&mut self) {
        let place = P::STATIC;
        // INVARIANT: The list is empty then, and what was in it is ours.
        let mut next = place.closed.xchg(ptr::null_mut(), Acquire);
        while !next.is_null() {
            let socket = next;
            // Who sends to a socket of the kernel's has a reference to it while in `input`, and gives that
            // up when back in C. C gives up its own after an RCU grace period.
            //
            // SAFETY: There is a reference to it, which is ours.
            while !unsafe { bindings::callgate_sock_is_ours(socket) } {
                fsleep(Delta::from_millis(1));
            }
            // SAFETY: As above. `Socket::drop` wrote what is next.
            next = unsafe { bindings::callgate_sock_next(socket) };
            // SAFETY: The reference is not used any more.
            unsafe { bindings::callgate_sock_put(socket) };
        }
        let value = place.value.load(Relaxed);
        place.value.store(ptr::null_mut(), Relaxed);
        // SAFETY: It came from `into_raw()`, and there is nobody any more who could use it.
        drop(unsafe { Arc::from_raw(value) });
        place.state.store(FREE, Release);
    }
}

/// A request, while it is handled.
///
/// # Invariants
///
/// All pointers are what C gave a callback of `netlink_rcv_skb()`, during that call, in the `input` of a
/// socket of `P`.
pub struct Request<'a, P> {
    skb: NonNull<bindings::sk_buff>,
    header: NonNull<bindings::nlmsghdr>,
    extack: *mut bindings::netlink_ext_ack,
    // Invariant in `P`, as it stands for its socket.
    _protocol: PhantomData<&'a fn(P) -> P>,
}

impl<'a, P: Protocol> Request<'a, P> {
    #[inline]
    fn header(&self) -> &bindings::nlmsghdr {
        // SAFETY: By the type invariants it is valid, and nobody changes it.
        unsafe { self.header.as_ref() }
    }

    /// The kernel's socket that it came to.
    #[inline]
    fn socket(&self) -> *mut bindings::sock {
        // SAFETY: By the type invariants the buffer is valid, and its owner is the socket, to which the
        // sender holds a reference meanwhile.
        unsafe { (*self.skb.as_ptr()).sk }
    }

    /// What kind of request it is: 16 or more.
    #[inline]
    pub fn kind(&self) -> u16 {
        self.header().nlmsg_type
    }

    /// What came with it, if `policy` lets that through.
    ///
    /// # Errors
    ///
    /// As [`Policy`] has it; and the sender learns which attribute is to blame.
    #[inline]
    pub fn attributes<const N: usize>(&self, policy: &'static Policy<N>) -> Result<Attributes<'a>> {
        // SAFETY: By the type invariants the whole message is there, and nobody changes it.
        let attributes = unsafe { Attributes::of_message(self.header.as_ptr(), 0, self.extack) };
        attributes.check(policy)?;
        Ok(attributes)
    }

    /// The network namespace that it came from.
    #[inline]
    pub fn net(&self) -> &'a Net {
        // SAFETY: The socket is valid, and the sender's keeps the namespace.
        unsafe { Net::from_raw(bindings::callgate_sock_net(self.socket())) }
    }

    /// Whether the sender has `CAP_NET_ADMIN` in the user namespace that owns the network namespace. If
    /// its socket is connected, whoever opened that must have it too.
    #[inline]
    pub fn is_net_admin(&self) -> bool {
        // CAST: A small number.
        //
        // SAFETY: The buffer is one that came from a user, and has a socket.
        unsafe {
            bindings::netlink_net_capable(self.skb.as_ptr(), bindings::CAP_NET_ADMIN as c_int)
        }
    }

    /// Sends a reply of this kind, with what `fill` puts into it.
    ///
    /// # Errors
    ///
    /// - `EMSGSIZE`: more than about a page.
    /// - `EAGAIN`: the sender has not read so much that there is no room for more.
    /// - `ECONNREFUSED`: the sender is gone.
    /// - `ENOMEM`, and what `fill` fails with.
    #[inline]
    pub fn reply(&self, kind: u16, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        // SAFETY: The buffer is one that came from a user.
        let portid = unsafe { bindings::callgate_netlink_portid(self.skb.as_ptr()) };
        let reply = message(portid, self.header().nlmsg_seq, kind, fill)?;
        // SAFETY: The socket is valid; the reply is given away.
        to_result(unsafe {
            bindings::callgate_nlmsg_unicast(self.socket(), reply.into_raw(), portid)
        })
    }

    /// Sends a notification to the members of a group in the network namespace of the sender, with what
    /// `fill` puts into it. If there are none, `fill` is not called.
    ///
    /// Whoever has no room for it misses it, and is told so: recvmsg(2) fails with `ENOBUFS` once. If it
    /// cannot be made, because `fill` fails or there is no memory, all members are told the same.
    #[inline]
    pub fn notify<const GROUP: u32>(
        &self,
        kind: u16,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) {
        const { assert!(0 < GROUP && GROUP <= P::GROUPS, "there is no such group") };
        let socket = self.socket();
        // SAFETY: The socket is valid, and one of the kernel's.
        if unsafe { bindings::netlink_has_listeners(socket, GROUP) } == 0 {
            return;
        }
        // SAFETY: As above; a message is given away. What fails is told to those whom it concerns.
        unsafe {
            match message(0, 0, kind, fill) {
                Ok(message) => bindings::callgate_nlmsg_multicast(
                    socket,
                    message.into_raw(),
                    0,
                    GROUP,
                    bindings::GFP_KERNEL,
                ),
                Err(_) => bindings::netlink_set_err(socket, 0, GROUP, ENOBUFS.to_errno()),
            };
        }
    }
}

/// A message, ready to be sent.
#[inline]
fn message(
    portid: u32,
    seq: u32,
    kind: u16,
    fill: impl FnOnce(&mut Message<'_>) -> Result,
) -> Result<Buffer> {
    let buffer = Buffer::new()?;
    let skb = buffer.as_nonnull();
    // SAFETY: The buffer is valid, ours and empty, so it has room for a header.
    let header = unsafe { bindings::__nlmsg_put(skb.as_ptr(), portid, seq, kind.into(), 0, 0) };
    // SAFETY: As above.
    fill(&mut unsafe { Message::new(skb) })?;
    // SAFETY: As above; `header` is that of the only message in it.
    unsafe { bindings::callgate_nlmsg_end(skb.as_ptr(), header) };
    Ok(buffer)
}

/// # Safety
///
/// To be called as `netlink_kernel_cfg.input` of a socket of `P`.
unsafe extern "C" fn input<P: Protocol>(skb: *mut bindings::sk_buff) {
    // SAFETY: The buffer is valid, and the callback is called during this call only.
    unsafe { bindings::netlink_rcv_skb(skb, Some(receive::<P>)) };
}

/// # Safety
///
/// To be called by `netlink_rcv_skb()` in the `input` of a socket of `P`.
unsafe extern "C" fn receive<P: Protocol>(
    skb: *mut bindings::sk_buff,
    header: *mut bindings::nlmsghdr,
    extack: *mut bindings::netlink_ext_ack,
) -> c_int {
    // SAFETY: By the type invariants of `Static`, as this is called in the `input` of a socket of `P`. The
    // reference is not used after that.
    let value = unsafe { &*P::STATIC.value.load(Acquire) };
    // INVARIANT: As the caller promises.
    let request = Request {
        // SAFETY: C gives both, which are not null.
        skb: unsafe { NonNull::new_unchecked(skb) },
        // SAFETY: As above.
        header: unsafe { NonNull::new_unchecked(header) },
        extack,
        _protocol: PhantomData,
    };
    match value.request(&request) {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}
