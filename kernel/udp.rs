// SPDX-License-Identifier: GPL-2.0

//! UDP sockets of the kernel's own.
//!
//! C headers: [`include/linux/net.h`](srctree/include/linux/net.h),
//! [`include/net/sock.h`](srctree/include/net/sock.h)
//!
//! A [`Socket`] is bound to an address in a network namespace, and sends. A [`Service`] is a socket with a
//! [`Receiver`], which is given what arrives, one datagram after the other.
//!
//! Not supported:
//!
//! - IPv4 through a socket of IPv6: there it takes two sockets.
//! - Connected sockets, joining a multicast group, sending to a broadcast address, and options.
//! - Waiting, be it for a datagram or for room to send one.
//! - A socket for each network namespace that there is, made as the namespace is: it would keep its own
//!   namespace from ever going.
//! - Receivers in softirq context, which is what `encap_rcv` is for.
//! - Errors that the network reports later, such as that nobody listens at a port.
//!
//! # How a datagram comes to the receiver
//!
//! The network stack puts it into the socket's queue and calls `sk->sk_data_ready`. That is in softirq
//! context, where one may neither sleep nor, says C, do much at all; so ours does nothing but queue a
//! work item. The work item takes the datagrams from the queue and calls the receiver, in process context.
//! A work item that is pending is not queued twice, and it looks again before it ends, so no datagram is
//! forgotten. After a number of them it ends in any case, and queues itself behind the others.
//!
//! The queue has a limit, `net.core.rmem_default`. What does not fit is dropped by the network stack, and
//! counted: `/proc/net/udp` and `/proc/net/udp6` show how often for each socket, those of the kernel too.
//!
//! # How it ends
//!
//! A [`Service`] that is dropped undoes this in the order of the datagram's way:
//!
//! 1. `sk_data_ready` and `sk_user_data` get their old values back.
//! 2. Somebody may have read the pointer before, and be in our callback. UDP calls it in an RCU read-side
//!    critical section, so that is over after a grace period. PROVE_RCU would complain if it were not so.
//! 3. From now on nobody queues the work item but itself. `cancel_work_sync()` keeps it from doing so, and
//!    returns when it is neither pending nor running.
//! 4. Then the socket is released, and after it the receiver.
//!
//! The work item is a part of what is freed in the end, and so holds no reference to it.
//!
//! # Whose network
//!
//! `sock_create_kern()` takes no reference to the network namespace, for the sake of those who are told
//! when one goes. A socket that does not know would be left in a namespace that is no more. So every
//! [`Socket`] has a reference: the namespace lives for as long as it does.

use crate::{bindings, module::Hold, net_namespace::Net};
use core::{
    mem::{size_of, zeroed, ManuallyDrop},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    ptr::{self, NonNull},
};
use kernel::{
    container_of,
    error::to_result,
    ffi::c_int,
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{rcu::synchronize_rcu, Arc, Mutex},
    types::Opaque,
};

/// How many datagrams a work item takes before it lets others have their turn.
const BATCH: usize = 64;

/// A UDP socket that is bound to an address.
///
/// # Invariants
///
/// `raw` is a UDP socket that `sock_create_kern()` made, and that nobody else releases. It has a reference
/// to its network namespace.
pub struct Socket {
    raw: NonNull<bindings::socket>,
}

// SAFETY: C lets any thread use a socket, also several at the same time.
unsafe impl Send for Socket {}
// SAFETY: As above.
unsafe impl Sync for Socket {}

impl Socket {
    /// Makes a socket in `net`, and binds it to `address`: a port, of one of the namespace's addresses or
    /// of all of them if it is unspecified (`0.0.0.0` or `::`). Port 0 is any that is free.
    ///
    /// The namespace lives until it is dropped.
    ///
    /// # Errors
    ///
    /// - `EADDRINUSE`: somebody has the port.
    /// - `EADDRNOTAVAIL`: it is none of the namespace's addresses.
    /// - `EAFNOSUPPORT`: the kernel does not know this family of addresses, as IPv6 with `ipv6.disable=1`.
    /// - `EINVAL`: a link-local address without a scope.
    /// - `EACCES`: a port below `net.ipv4.ip_unprivileged_port_start`, and the current task may not.
    /// - `ENOMEM`, `ENFILE` for a lack of memory as well, and others.
    #[inline]
    pub fn bind(net: &Net, address: SocketAddr) -> Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => bindings::AF_INET,
            SocketAddr::V6(_) => bindings::AF_INET6,
        };
        let mut raw = ptr::null_mut();
        // SAFETY: The namespace is alive, and the pointer may be written to.
        to_result(unsafe {
            bindings::sock_create_kern(
                net.as_ptr(),
                family as c_int,
                bindings::sock_type_SOCK_DGRAM as c_int,
                bindings::IPPROTO_UDP as c_int,
                &mut raw,
            )
        })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // SAFETY: The socket is new, and the namespace still alive.
        unsafe { bindings::sk_net_refcnt_upgrade((*raw.as_ptr()).sk) };
        // INVARIANT: It was made so, and has the reference now.
        let socket = Self { raw };
        // The local address of each datagram: see `Peer`.
        match address {
            // SAFETY: The socket is valid, and one of IPv4.
            SocketAddr::V4(_) => unsafe { bindings::ip_sock_set_pktinfo(socket.sk()) },
            // SAFETY: The socket is valid, and one of IPv6.
            SocketAddr::V6(_) => unsafe {
                to_result(bindings::callgate_ip6_sock_set_v6only(socket.sk()))?;
                bindings::callgate_ip6_sock_set_recvpktinfo(socket.sk());
            },
        }
        let (mut name, len) = Name::new(address);
        // SAFETY: The socket is valid, and the name has this length.
        to_result(unsafe {
            bindings::kernel_bind(socket.raw.as_ptr(), (&raw mut name).cast(), len)
        })?;
        Ok(socket)
    }

    #[inline]
    fn sk(&self) -> *mut bindings::sock {
        // SAFETY: The socket is valid, and this does not change until it is released.
        unsafe { (*self.raw.as_ptr()).sk }
    }

    /// Sends a datagram. It does not wait, but may sleep.
    ///
    /// That it was sent does not mean that it arrives.
    ///
    /// # Errors
    ///
    /// - `EAGAIN`: there is no room for it in what is waiting to be sent.
    /// - `EMSGSIZE`: no datagram is as large.
    /// - `EINVAL`: the port is 0, or a link-local address has no scope.
    /// - `EAFNOSUPPORT`, `ENETUNREACH`: the peer is of the other family.
    /// - `ENETUNREACH` and others: there is no way to it.
    /// - `EACCES`: a broadcast address.
    /// - `ENOMEM`, `ENOBUFS`, and others.
    #[inline]
    pub fn send(&self, to: &Peer, bytes: &[u8]) -> Result {
        let (mut name, name_len) = Name::new(to.address);
        let (mut control, control_len) = Control::new(to.local);
        // SAFETY: It is plain data, for which zero stands for nothing.
        let mut message: bindings::msghdr = unsafe { zeroed() };
        message.msg_name = (&raw mut name).cast();
        message.msg_namelen = name_len;
        message.__bindgen_anon_1.msg_control = (&raw mut control).cast();
        message.msg_controllen = control_len;
        message.msg_flags = bindings::MSG_DONTWAIT;
        let mut vec = bindings::kvec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: The socket is valid, as is what the message refers to; and nobody writes through the
        // vector when something is sent.
        let sent = unsafe {
            bindings::kernel_sendmsg(self.raw.as_ptr(), &mut message, &mut vec, 1, bytes.len())
        };
        to_result(sent.min(0))
    }

    /// Takes the next datagram from the queue, as much of it as fits into `buffer`.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: there is none.
    #[inline]
    fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<Datagram<'a>> {
        let mut name = Name::EMPTY;
        let mut control = Control::EMPTY;
        // SAFETY: It is plain data, for which zero stands for nothing.
        let mut message: bindings::msghdr = unsafe { zeroed() };
        message.msg_name = (&raw mut name).cast();
        message.msg_namelen = size_of::<Name>() as c_int;
        message.__bindgen_anon_1.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>();
        let mut vec = bindings::kvec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: The socket is valid, as is what the message refers to, all of which may be written to.
        let len = unsafe {
            bindings::kernel_recvmsg(
                self.raw.as_ptr(),
                &mut message,
                &mut vec,
                1,
                buffer.len(),
                // The second: return the length that the datagram really has.
                (bindings::MSG_DONTWAIT | bindings::MSG_TRUNC) as c_int,
            )
        };
        let len = usize::try_from(len).map_err(|_| Error::from_errno(len))?;
        let address = name.address().ok_or(EAFNOSUPPORT)?;
        Ok(Datagram {
            from: Peer {
                address,
                local: control.local(),
            },
            bytes: &buffer[..len.min(buffer.len())],
            len,
        })
    }
}

impl Drop for Socket {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is valid, and this is the only call that releases it.
        unsafe { bindings::sock_release(self.raw.as_ptr()) };
    }
}

/// Whom a datagram is from or for: an address, and the one of ours by which it was reached.
///
/// A machine can have several addresses. Who sent a datagram to one of them expects the answer from the
/// same one, and if its socket is connected gets no other. So an answer goes to the [`Peer`] of what it
/// answers. For a datagram that answers nothing, a peer is made of its address; the kernel then decides
/// which of ours it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    local: Local,
}

impl Peer {
    /// Its own address.
    #[inline]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl From<SocketAddr> for Peer {
    #[inline]
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            local: Local::Any,
        }
    }
}

/// The address on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    Any,
    V4(Ipv4Addr),
    /// With the interface, if it is link-local.
    V6(Ipv6Addr, u32),
}

/// A datagram that was received.
pub struct Datagram<'a> {
    from: Peer,
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Datagram<'a> {
    /// Whom it is from, and where an answer goes. The sender says so; it can be anybody.
    #[inline]
    pub const fn from(&self) -> &Peer {
        &self.from
    }

    /// What is in it, up to [`Receiver::LARGEST`] bytes.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes were in it.
    #[expect(clippy::len_without_is_empty)]
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether some of them are lost, as it was larger than [`Receiver::LARGEST`].
    #[inline]
    pub const fn is_truncated(&self) -> bool {
        self.len > self.bytes.len()
    }
}

/// What is given the datagrams that arrive.
///
/// # Examples
///
/// A port at which everybody is told the time of day by the same clock:
///
/// ```
/// use callgate_kernel::{
///     net_namespace::Net,
///     udp::{Datagram, Receiver, Service, Socket},
/// };
/// use core::net::{Ipv4Addr, SocketAddr};
/// use kernel::{
///     prelude::*,
///     sync::Arc,
///     time::{Instant, Monotonic},
/// };
///
/// struct Clock(Instant<Monotonic>);
///
/// #[vtable]
/// impl Receiver for Clock {
///     const LARGEST: usize = 0;
///
///     fn receive(&self, socket: &Socket, question: &Datagram<'_>) {
///         let now = self.0.elapsed().as_nanos();
///         let _ = socket.send(question.from(), &now.to_be_bytes());
///     }
/// }
///
/// fn serve() -> Result<Service<Clock>> {
///     let clock = Arc::new(Clock(Instant::now()), GFP_KERNEL)?;
///     let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 3700));
///     Net::with_current(|net| Service::bind(net, address, clock)).ok_or(ESRCH)?
/// }
/// ```
#[vtable]
pub trait Receiver: Send + Sync + Sized + 'static {
    /// How many bytes of a datagram are received. The rest of a larger one is lost.
    const LARGEST: usize;

    /// Takes a datagram, which came to `socket`.
    ///
    /// It may sleep. While it runs, it gets no other from the same socket; one receiver of several sockets
    /// gets theirs at the same time.
    ///
    /// It must not drop the [`Service`] that calls it, nor wait for something that only whoever drops it
    /// brings about: that is a deadlock.
    fn receive(&self, socket: &Socket, datagram: &Datagram<'_>);
}

/// A [`Socket`] with a [`Receiver`].
///
/// When it has been dropped, the receiver is not called any more, and the address is free again. Dropping
/// it waits for the receiver, so it sleeps.
///
/// # Invariants
///
/// `sk_data_ready` of the socket is [`Inner::data_ready`], and its `sk_user_data` the work item, which is
/// initialised.
pub struct Service<T: Receiver> {
    inner: Pin<KBox<Inner<T>>>,
    /// What the socket's callback was before.
    data_ready: DataReady,
}

type DataReady = Option<unsafe extern "C" fn(*mut bindings::sock)>;

impl<T: Receiver> Service<T> {
    /// Binds a socket as [`Socket::bind`] does, and has `receiver` called for what arrives, from now on and
    /// even if the module's `init` has not finished.
    ///
    /// # Errors
    ///
    /// Those of [`Socket::bind`]; `ENXIO`, while the parameters that the module is loaded with are set;
    /// `EBUSY`, if somebody else has got hold of the socket at once, as a program of BPF's can.
    #[inline]
    pub fn bind(net: &Net, address: SocketAddr, receiver: Arc<T>) -> Result<Self> {
        let hold = Hold::new()?;
        let socket = Socket::bind(net, address)?;
        let inner = KBox::pin_init(Inner::new(socket, receiver, hold), GFP_KERNEL)?;
        let work = inner.work.get();
        let mut data_ready = None;
        // SAFETY: The socket is valid, and the work item initialised. It is there until this is undone; so
        // is the module, as the hold is kept with it.
        to_result(unsafe {
            bindings::callgate_sk_set_data_ready(
                inner.socket.sk(),
                Some(Inner::<T>::data_ready),
                work.cast(),
                &mut data_ready,
            )
        })?;
        // INVARIANT: That was it.
        let service = Self { inner, data_ready };
        // What came between `bind()` and now told nobody.
        //
        // SAFETY: The work item is initialised, and cancelled when the service is dropped.
        unsafe { queue(work) };
        Ok(service)
    }

    /// The socket, by which one sends.
    #[inline]
    pub fn socket(&self) -> &Socket {
        &self.inner.socket
    }
}

impl<T: Receiver> Drop for Service<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The socket is valid, and by the type invariants we set what is undone here. This is what
        // it had.
        unsafe {
            bindings::callgate_sk_reset_data_ready(self.inner.socket.sk(), self.data_ready);
        }
        synchronize_rcu();
        // SAFETY: The work item is initialised. Nobody is left who could queue it but itself.
        unsafe { bindings::cancel_work_sync(self.inner.work.get()) };
        // And nobody is left who has a reference to `inner`, which is dropped next.
    }
}

#[pin_data]
struct Inner<T: Receiver> {
    // The fields are dropped in this order, when nobody calls us any more.
    socket: Socket,
    receiver: Arc<T>,
    #[pin]
    buffer: Mutex<KVec<u8>>,
    #[pin]
    work: Opaque<bindings::work_struct>,
    _hold: Hold<T::OwnerModule>,
}

// SAFETY: The work item may be queued and cancelled by any thread. All else is `Send`.
unsafe impl<T: Receiver> Send for Inner<T> {}
// SAFETY: As above; a shared reference gives access to the socket only, which is `Sync`, and the receiver
// is as well.
unsafe impl<T: Receiver> Sync for Inner<T> {}

impl<T: Receiver> Inner<T> {
    fn new(
        socket: Socket,
        receiver: Arc<T>,
        hold: Hold<T::OwnerModule>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            socket,
            receiver,
            buffer <- new_mutex!(KVec::from_elem(0, T::LARGEST, GFP_KERNEL)?),
            work <- Opaque::ffi_init(|work: *mut bindings::work_struct| {
                // SAFETY: The slot may be written to, and stays where it is until it has been cancelled.
                unsafe {
                    bindings::init_work_with_key(
                        work,
                        Some(Self::run),
                        false,
                        c"callgate_udp".as_char_ptr(),
                        static_lock_class!().as_ptr(),
                    );
                }
            }),
            _hold: hold,
        })
    }

    /// # Safety
    ///
    /// To be called as `sk_data_ready` of the socket of a `Service`, by UDP.
    unsafe extern "C" fn data_ready(sk: *mut bindings::sock) {
        // SAFETY: The socket is valid, and this is an RCU read-side critical section.
        let work = unsafe { bindings::callgate_sk_user_data(sk) };
        if !work.is_null() {
            // SAFETY: It is the work item, by the type invariants of `Service`, which waits for the end of
            // this critical section before it cancels it.
            unsafe { queue(work.cast()) };
        }
    }

    /// # Safety
    ///
    /// To be called as the function of the work item of an `Inner`.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: It is that field of an `Inner<T>`, all of which was initialised before the work was
        // first queued. Nobody makes a mutable reference to it, nor frees it, before the work is cancelled.
        let inner = unsafe { &*container_of!(Opaque::cast_from(work), Self, work) };
        let mut buffer = inner.buffer.lock();
        let mut received = false;
        for _ in 0..BATCH {
            match inner.socket.receive(&mut buffer) {
                Ok(datagram) => {
                    received = true;
                    inner.receiver.receive(&inner.socket, &datagram);
                }
                Err(EAGAIN) => return,
                // Something became of an earlier one, or the socket was shut down by an administrator.
                Err(_) => {}
            }
        }
        // If there are only errors, as from a security module that lets nothing through, it does not go
        // round and round: the next datagram queues it again.
        if !received {
            return;
        }
        // SAFETY: The work item is valid, and cancelled before it is freed.
        unsafe { queue(work) };
    }
}

/// Queues a work item; or does not, if it is pending or being cancelled.
///
/// # Safety
///
/// It must be initialised, and be cancelled before it is freed.
#[inline]
unsafe fn queue(work: *mut bindings::work_struct) {
    // On any CPU: it may have much to do, and keeps nobody else from doing theirs.
    //
    // SAFETY: The queue is always there, and the caller promises the rest.
    unsafe {
        bindings::queue_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
            bindings::system_dfl_wq,
            work,
        );
    }
}

// The forms that C has for this.

/// `struct sockaddr_in` or `struct sockaddr_in6`.
#[repr(C)]
union Name {
    family: bindings::sa_family_t,
    v4: bindings::sockaddr_in,
    v6: bindings::sockaddr_in6,
}

impl Name {
    // SAFETY: It is plain data.
    const EMPTY: Self = unsafe { zeroed() };

    /// With its length.
    #[inline]
    fn new(address: SocketAddr) -> (Self, c_int) {
        let mut name = Self::EMPTY;
        match address {
            SocketAddr::V4(address) => {
                name.v4 = bindings::sockaddr_in {
                    sin_family: bindings::AF_INET as bindings::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: in_addr(*address.ip()),
                    __pad: [0; 8],
                };
                (name, size_of::<bindings::sockaddr_in>() as c_int)
            }
            SocketAddr::V6(address) => {
                name.v6 = bindings::sockaddr_in6 {
                    sin6_family: bindings::AF_INET6 as bindings::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo().to_be(),
                    sin6_addr: in6_addr(*address.ip()),
                    sin6_scope_id: address.scope_id(),
                };
                (name, size_of::<bindings::sockaddr_in6>() as c_int)
            }
        }
    }

    #[inline]
    fn address(&self) -> Option<SocketAddr> {
        // SAFETY: All of it is initialised, and any bits are valid for each field.
        let (family, v4, v6) = unsafe { (self.family, &self.v4, &self.v6) };
        match u32::from(family) {
            bindings::AF_INET => {
                let ip = ipv4(v4.sin_addr);
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            bindings::AF_INET6 => {
                let (ip, port) = (ipv6(v6.sin6_addr), u16::from_be(v6.sin6_port));
                let flow = u32::from_be(v6.sin6_flowinfo);
                Some(SocketAddrV6::new(ip, port, flow, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// One control message, with the local address of a datagram.
#[repr(C)]
struct Control {
    header: bindings::cmsghdr,
    info: Info,
}

#[repr(C)]
union Info {
    v4: bindings::in_pktinfo,
    // Plain data too, but its binding does not say so.
    v6: ManuallyDrop<bindings::in6_pktinfo>,
}

impl Control {
    // SAFETY: It is plain data.
    const EMPTY: Self = unsafe { zeroed() };

    /// With its length.
    #[inline]
    fn new(local: Local) -> (Self, usize) {
        let (level, kind, info, len) = match local {
            Local::Any => return (Self::EMPTY, 0),
            Local::V4(ip) => {
                let v4 = bindings::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr(ip),
                    ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
                };
                let (level, kind) = (bindings::SOL_IP, bindings::IP_PKTINFO);
                (level, kind, Info { v4 }, size_of::<bindings::in_pktinfo>())
            }
            Local::V6(ip, interface) => {
                let v6 = ManuallyDrop::new(bindings::in6_pktinfo {
                    ipi6_addr: in6_addr(ip),
                    // CAST: C has both kinds.
                    ipi6_ifindex: interface as c_int,
                });
                let (level, kind) = (bindings::SOL_IPV6, bindings::IPV6_PKTINFO);
                (level, kind, Info { v6 }, size_of::<bindings::in6_pktinfo>())
            }
        };
        let len = size_of::<bindings::cmsghdr>() + len;
        let header = bindings::cmsghdr {
            cmsg_len: len,
            cmsg_level: level as c_int,
            cmsg_type: kind as c_int,
        };
        (Self { header, info }, len)
    }

    /// What is in it; nothing if it was not filled.
    #[inline]
    fn local(&self) -> Local {
        // SAFETY: All of it is initialised, and any bits are valid for each field.
        let (v4, v6) = unsafe { (&self.info.v4, &self.info.v6) };
        match (self.header.cmsg_level as u32, self.header.cmsg_type as u32) {
            // Not the address in the datagram, which may be one that many have.
            (bindings::SOL_IP, bindings::IP_PKTINFO) => Local::V4(ipv4(v4.ipi_spec_dst)),
            (bindings::SOL_IPV6, bindings::IPV6_PKTINFO) => {
                let ip = ipv6(v6.ipi6_addr);
                if ip.is_multicast() {
                    Local::Any
                } else if ip.is_unicast_link_local() {
                    // CAST: C has both kinds.
                    Local::V6(ip, v6.ipi6_ifindex as u32)
                } else {
                    Local::V6(ip, 0)
                }
            }
            _ => Local::Any,
        }
    }
}

#[inline]
fn in_addr(ip: Ipv4Addr) -> bindings::in_addr {
    bindings::in_addr {
        s_addr: u32::from_ne_bytes(ip.octets()),
    }
}

#[inline]
fn ipv4(ip: bindings::in_addr) -> Ipv4Addr {
    ip.s_addr.to_ne_bytes().into()
}

#[inline]
fn in6_addr(ip: Ipv6Addr) -> bindings::in6_addr {
    bindings::in6_addr {
        in6_u: bindings::in6_addr__bindgen_ty_1 {
            u6_addr8: ip.octets(),
        },
    }
}

#[inline]
fn ipv6(ip: bindings::in6_addr) -> Ipv6Addr {
    // SAFETY: Any bits are valid for this field.
    unsafe { ip.in6_u.u6_addr8 }.into()
}
