// SPDX-License-Identifier: GPL-2.0

//! Network namespaces, and what a module keeps for each of them.
//!
//! C headers: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h),
//! [`include/net/netns/generic.h`](srctree/include/net/netns/generic.h)
//!
//! A module that has something for each network namespace implements [`PerNet`] for it. While a
//! [`Registration`] lives, there is one in every namespace: those that exist get theirs when it is
//! made, a new one before anybody can be in it; and it is dropped with the namespace, or with the
//! registration.
//!
//! Where the kernel has no namespaces (`CONFIG_NET_NS=n`), there is one for ever.
//!
//! Not supported:
//!
//! - References to a namespace, hence finding one by descriptor or id.
//! - What refers to its namespace in each of them, such as a [UDP socket](crate::udp::Socket): see
//!   [`NewNet`]. Kernel sockets that hold no reference would be for that.
//! - Operations in the order of devices (`register_pernet_device()`). So [`PerNet::new`] comes before
//!   the namespace has a loopback device.
//! - Batched exit. Namespaces are destroyed many at a time, and values that wait when they are dropped
//!   wait one after the other.

use crate::{bindings, module::Hold};
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    ffi::c_int,
    prelude::*,
    sync::{
        atomic::{
            ordering::{Acquire, Relaxed, Release},
            Atomic,
        },
        rcu,
    },
    task::Task,
    types::Opaque,
    ModuleMetadata,
};

/// A network namespace that is in use.
///
/// # Invariants
///
/// Somebody holds a reference to it.
#[repr(transparent)]
pub struct Net(Opaque<bindings::net>);

// SAFETY: A shared reference gives access to nothing but the address, and to what C lets anybody read
// at any time.
unsafe impl Sync for Net {}

impl Net {
    /// Calls `f` with the network namespace of the current task; `None` if the task has none any more,
    /// because it is exiting.
    #[inline]
    pub fn with_current<R>(f: impl FnOnce(&Net) -> R) -> Option<R> {
        // SAFETY: The current task is valid. A task's namespaces are changed by nobody but itself, so
        // they are not while it is here, even if this is an interrupt.
        let nsproxy = unsafe { (*Task::current_raw()).nsproxy };
        if nsproxy.is_null() {
            return None;
        }
        // SAFETY: The task holds a reference to its `nsproxy`, and that to the namespace, until the
        // task changes it; that is not before `f` has returned, which cannot keep the `Net`.
        Some(f(unsafe { Self::from_raw((*nsproxy).net_ns) }))
    }

    /// # Safety
    ///
    /// `net` must be valid, and somebody hold a reference to it, during `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(net: *mut bindings::net) -> &'a Self {
        // INVARIANT: As the caller promises.
        //
        // SAFETY: As the caller promises; the layouts are the same.
        unsafe { &*net.cast() }
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::net {
        self.0.get()
    }
}

/// A network namespace for which something is made.
///
/// Nobody need be in it. It may be a new one, which is freed at once if something else cannot be made
/// for it; or one that its last user has left just now, and that is about to be destroyed. Neither can be
/// kept by a reference. So this is no [`Net`], and nothing that takes one can be had for it.
///
/// # Invariants
///
/// It is valid: it is not freed before what is made for it has been dropped, or could not be made.
#[repr(transparent)]
pub struct NewNet(Opaque<bindings::net>);

impl NewNet {
    /// # Safety
    ///
    /// To be called in the `init` of operations, for `'a` within that, with its namespace.
    #[inline]
    unsafe fn from_raw<'a>(net: *mut bindings::net) -> &'a Self {
        // INVARIANT: C frees a namespace after the `exit` of all operations whose `init` succeeded.
        //
        // SAFETY: As the caller promises it is valid; the layouts are the same.
        unsafe { &*net.cast() }
    }

    /// What this leads to must have been given up when the value that is made has been dropped. It must
    /// not be a reference to the namespace.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::net {
        self.0.get()
    }
}

/// What a module has for each network namespace.
pub trait PerNet: Send + Sync + Sized + 'static {
    /// The module, which a leaked registration keeps.
    type OwnerModule: ModuleMetadata;

    /// Where it is found. No other type has it, as it is an `Id<Self>`.
    const ID: &'static Id<Self>;

    /// Makes that of `net`.
    ///
    /// If this fails while a namespace is being made, the namespace is not made. To make or drop a
    /// [`Registration`] in it is a deadlock.
    fn new(net: &NewNet) -> Result<KBox<Self>>;
}

/// What a namespace has of ours, in memory that C allocates and zeroes.
type Slot<T> = Atomic<*mut T>;

/// No registration; the initial state.
const FREE: i32 = 0;
/// There is a registration, which is being made or dropped.
const CHANGING: i32 = 1;
/// There is a registration.
const LIVE: i32 = 2;

/// Where a [`PerNet`] is found: a static of the module, one for each type.
///
/// # Invariants
///
/// - Whoever changed `state` from `FREE` may alone change it, `operations` and `id`, until it is
///   `FREE` again; C may do so too in between, while `operations` are registered.
/// - While it is `LIVE`, the operations are registered. They are not unregistered before an RCU grace
///   period has passed since it ceased to be `LIVE`.
pub struct Id<T> {
    state: Atomic<i32>,
    operations: Opaque<bindings::pernet_operations>,
    id: Opaque<u32>,
    // Invariant in `T`: it is not the `Id` of a subtype or a supertype as well.
    _value: PhantomData<fn(T) -> T>,
}

// SAFETY: All access to the two opaque fields is in the order that the type invariants demand.
unsafe impl<T> Sync for Id<T> {}

impl<T: PerNet> Id<T> {
    /// Nothing is registered yet.
    #[expect(clippy::new_without_default)]
    #[inline]
    pub const fn new() -> Self {
        Self {
            state: Atomic::new(FREE),
            operations: Opaque::uninit(),
            id: Opaque::uninit(),
            _value: PhantomData,
        }
    }

    /// Calls `f` with the value that `net` has; `None` if it has none, as there is no registration.
    ///
    /// It may be called in any context. `f` must not sleep: where the kernel is not preemptible, that ends
    /// the critical section.
    #[inline]
    pub fn with<R>(&'static self, net: &Net, f: impl FnOnce(&T) -> R) -> Option<R> {
        let _rcu = rcu::read_lock();
        if self.state.load(Acquire) != LIVE {
            return None;
        }
        // SAFETY: It was `LIVE` in this read-side critical section. So the operations are registered
        // to its end, by the type invariants, and were before it. The namespace is valid, as somebody
        // holds a reference to it.
        let slot = unsafe { self.slot(net.as_ptr()) }?;
        let value = slot.load(Acquire);
        // SAFETY: A pointer in a slot is valid until `exit`. That comes when nobody holds a reference
        // to the namespace any more, and somebody does; or when the operations are unregistered, after
        // this critical section. It lasts until `f` has returned, if that does not sleep; nothing but
        // its documentation keeps it from that, as with all of `rcu`.
        //
        // It points to a `T`: this `Id` has a registration, which is one of `T`, as both are invariant.
        unsafe { value.as_ref() }.map(f)
    }

    /// Gives `None` only for a namespace that is being set up, and has not come to these operations.
    ///
    /// # Safety
    ///
    /// The operations must be registered during `'a`, and somebody hold a reference to the namespace; or
    /// it be in their `init` or `exit`.
    #[inline]
    unsafe fn slot<'a>(&'static self, net: *mut bindings::net) -> Option<&'a Slot<T>> {
        // SAFETY: C wrote the id before it called any of the operations, and before `Registration::new`
        // made the state `LIVE`; it does not change while they are registered.
        let id = unsafe { *self.id.get() };
        // SAFETY: The namespace is valid.
        let slot = unsafe { bindings::callgate_net_generic(net, id) };
        // SAFETY: If it is not null, C allocated as much as `operations.size` says, zeroed it, and frees
        // it after `exit`. Nobody accesses it but through this.
        unsafe { slot.cast::<Slot<T>>().as_ref() }
    }

    /// # Safety
    ///
    /// To be called as `pernet_operations.init` of these operations.
    unsafe extern "C" fn init(net: *mut bindings::net) -> c_int {
        // SAFETY: This is the `init` of the operations. C has just made the slot.
        let Some(slot) = (unsafe { T::ID.slot(net) }) else {
            return ENOMEM.to_errno();
        };
        // SAFETY: This is the `init` of the operations, with its namespace.
        match T::new(unsafe { NewNet::from_raw(net) }) {
            Ok(value) => {
                slot.store(KBox::into_raw(value), Release);
                0
            }
            Err(err) => err.to_errno(),
        }
    }

    /// # Safety
    ///
    /// To be called as `pernet_operations.exit` of these operations, once after a successful `init`.
    unsafe extern "C" fn exit(net: *mut bindings::net) {
        // SAFETY: This is the `exit` of the operations.
        let Some(slot) = (unsafe { T::ID.slot(net) }) else {
            return;
        };
        let value = slot.load(Relaxed);
        // SAFETY: It came from `into_raw()` in `init`. Nobody is left in `with()`, see there.
        drop(unsafe { KBox::from_raw(value) });
    }
}

/// While this lives, every network namespace has a `T`.
///
/// To make or to drop it sleeps, and calls into the namespaces that there are. It waits for those that
/// are being made or destroyed.
pub struct Registration<T: PerNet> {
    // Invariant in `T`: its `Id` is the one that was registered.
    _value: PhantomData<fn(T) -> T>,
    _hold: Hold<T::OwnerModule>,
}

impl<T: PerNet> Registration<T> {
    /// # Errors
    ///
    /// - `EBUSY`: this type is registered already.
    /// - `ENOMEM`, and what [`PerNet::new`] fails with.
    #[inline]
    pub fn new() -> Result<Self> {
        let hold = Hold::new()?;
        let id = T::ID;
        id.state
            .cmpxchg(FREE, CHANGING, Acquire)
            .map_err(|_| EBUSY)?;
        let operations = bindings::pernet_operations {
            init: Some(Id::<T>::init),
            exit: Some(Id::<T>::exit),
            id: id.id.get(),
            size: size_of::<Slot<T>>(),
            ..pin_init::zeroed()
        };
        // SAFETY: It was `FREE`, so this is ours.
        unsafe { id.operations.get().write(operations) };
        // SAFETY: The operations are initialised, and stay where they are. The module stays until they
        // are unregistered: it does so as usual if this is dropped, and has the hold if not.
        let registered =
            to_result(unsafe { bindings::register_pernet_subsys(id.operations.get()) });
        // INVARIANT: If they are not registered, nobody uses the fields.
        id.state
            .store(if registered.is_ok() { LIVE } else { FREE }, Release);
        registered.map(|()| Self {
            _value: PhantomData,
            _hold: hold,
        })
    }
}

impl<T: PerNet> Drop for Registration<T> {
    #[inline]
    fn drop(&mut self) {
        let id = T::ID;
        id.state.store(CHANGING, Relaxed);
        // C promises a `synchronize_rcu()` between the `pre_exit()` and the `exit()` of any operations
        // (`struct pernet_operations`): the grace period of the type invariants.
        //
        // SAFETY: The operations are registered, and this is the only call that unregisters them.
        unsafe { bindings::unregister_pernet_subsys(id.operations.get()) };
        // INVARIANT: Nobody uses the fields any more.
        id.state.store(FREE, Release);
    }
}
