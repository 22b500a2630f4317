// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: families of commands that user space sends, each with typed attributes.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)
//!
//! [`kernel::net::netlink`] sends to multicast groups and receives nothing. Here a [`Family`] has
//! [`Command`]s: a call, which is answered by replies and an acknowledgement, or a dump, which lists
//! records for as long as the user reads on. Each command has a [`Policy`] of its own; a message that is
//! not as the policy demands is refused by the kernel, with the offending attribute named, and no handler
//! ever sees it. What messages consist of is in [`nlattr`](crate::nlattr).
//!
//! A family is there in every network namespace, and may handle several commands at once, also of one
//! sort: what handlers share is behind a lock.
//!
//! Not supported:
//!
//! - Families of the initial network namespace only, handlers that are called one at a time
//!   (`parallel_ops = false`), and commands that are checked less than strictly.
//! - A header of the family's own, a policy for all commands, `pre_doit` and `post_doit`.
//! - The names `NET_DM`, `VFS_DQUOT` and `pmcraid`, for which C has fixed numbers.
//! - Being told who joins or leaves a group, and memory for each socket.
//! - Commands and groups for privileged users of the initial user namespace only (`GENL_ADMIN_PERM`,
//!   `GENL_MCAST_CAP_SYS_ADMIN`).
//! - Notifications outside of a call, and copies of them for a sender who asks by `NLM_F_ECHO`.
//! - Cookies in acknowledgements, and texts in them that are not constants.
//! - `EINTR` as a refusal: C takes it to mean that no acknowledgement is due.
//! - Dumps on machines of 32 bits where a `u64` is aligned to 8 bytes, such as ARM; they do not compile.
//!
//! # What lives how long
//!
//! The kernel keeps pointers to the family, its commands, groups and policies. All of these are statics
//! or constants of the module. What a family keeps for its handlers, the value that implements
//! [`Family`], is shared:
//!
//! - A call is made under a lock that `genl_unregister_family()` takes for itself. So to drop a
//!   [`Registration`] waits for all calls, and to do so in a call is a deadlock.
//! - A dump goes on whenever its user reads. It holds a reference to the module, which is not unloaded
//!   meanwhile, and one to the family's value. It outlives a registration that is dropped while the
//!   module stays.
//! - The first part of a dump is made under that lock, too; and all parts, and the end, where the value may
//!   be dropped, under one of the user's socket, which others wait for under the first. So to drop a
//!   `Registration` in a dump, or in the `Drop` of a family, is a deadlock, or becomes one when a user
//!   wants it. That it is of another family does not help, nor does it in a call.
//!
//! When `init` fails after a family has been registered, the kernel frees the module without looking at
//! references to it. So a dump fails with `ENOENT` while the module is not yet live, as if the family
//! were not there yet; and a registration that is dropped then waits, by
//! [`Settle`], for those who are reading its policies, which the kernel lets them
//! do at any time. They need no privilege, and may stop in the middle: it should be the last thing that
//! `init` makes.
//!
//! # Examples
//!
//! A family that adds numbers:
//!
//! ```
//! use callgate_kernel::{
//!     genetlink::{Call, Command, Family, Group, Static},
//!     nlattr::{Attr, Policy},
//! };
//! use kernel::prelude::*;
//!
//! const A: Attr<u32> = Attr::<u32>::any(1);
//! const B: Attr<u32> = Attr::<u32>::any(2);
//! const SUM: Attr<u64> = Attr::<u64>::any(3);
//!
//! static NUMBERS: Policy<3> = Policy::new(&[A.entry(), B.entry()]);
//! static ADDER: Static<Adder> = Static::new();
//!
//! struct Adder;
//!
//! #[vtable]
//! impl Family for Adder {
//!     const NAME: &'static CStr = c"adder";
//!     const VERSION: u8 = 1;
//!     const COMMANDS: &'static [Command<Self>] = &[Command::call(1, &NUMBERS, Adder::add)];
//!     const GROUPS: &'static [Group] = &[];
//!     const STATIC: &'static Static<Self> = &ADDER;
//! }
//!
//! impl Adder {
//!     fn add(&self, call: &Call<'_, Self>) -> Result {
//!         let (a, b) = (call.attributes().need(A)?, call.attributes().need(B)?);
//!         call.reply(|message| message.put(SUM, u64::from(a) + u64::from(b)))
//!     }
//! }
//! ```

use crate::{
    bindings,
    file::Settle,
    module::{self, Hold},
    net_namespace::Net,
    nlattr::{to_result, Attributes, Buffer, Message, Policy},
};
use core::{marker::PhantomData, ptr, ptr::NonNull};
use kernel::{
    ffi::c_int,
    module::this_module,
    prelude::*,
    sync::{
        atomic::{
            ordering::{Acquire, Relaxed, Release},
            Atomic,
        },
        Arc, ArcBorrow,
    },
    types::Opaque,
};

/// A family: its name, what it is asked by, and what it sends unasked.
///
/// The value of the type is what its handlers share.
#[vtable]
pub trait Family: Sized + Send + Sync + 'static {
    /// By which users find it: at most 15 bytes. Some names are C's own, see the [module
    /// documentation](self).
    const NAME: &'static CStr;

    /// In every message that it sends. Nobody checks it.
    const VERSION: u8;

    /// In the order of their numbers. A number may be there twice: as a call first, then as a dump, with
    /// the same privilege.
    const COMMANDS: &'static [Command<Self>];

    /// The multicast groups. [`Call::notify`] takes the index.
    const GROUPS: &'static [Group];

    /// Where the kernel finds it. No other type has it, as it is a `Static<Self>`.
    const STATIC: &'static Static<Self>;
}

/// A command of the family `F`, and of no subtype or supertype of that, as it is invariant.
#[repr(transparent)]
pub struct Command<F>(bindings::genl_split_ops, PhantomData<fn(F) -> F>);

// SAFETY: It is never written. What its pointers point to are functions, and policies, which are `Sync`.
unsafe impl<F> Sync for Command<F> {}

impl<F: Family> Command<F> {
    /// A command that `handler` carries out, which may sleep.
    ///
    /// The handler sends what replies there are. What it returns is the acknowledgement: an error is
    /// always sent, success if the user wants it (`NLM_F_ACK`).
    ///
    /// `handler` is a function or a closure that captures nothing.
    #[inline]
    pub const fn call<H, const N: usize>(
        number: u8,
        policy: &'static Policy<N>,
        _handler: H,
    ) -> Self
    where
        H: Fn(&F, &Call<'_, F>) -> Result + Copy + Send + Sync + 'static,
    {
        let callbacks = bindings::genl_split_ops__bindgen_ty_1 {
            __bindgen_anon_1: bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_1 {
                pre_doit: None,
                doit: Some(doit::<F, H>),
                post_doit: None,
            },
        };
        Self::new(number, bindings::GENL_CMD_CAP_DO, policy, callbacks)
    }

    /// A command that lists records: `handler` is called again and again, see [`Dump`].
    ///
    /// `handler` is a function or a closure that captures nothing.
    #[inline]
    pub const fn dump<H, const N: usize>(
        number: u8,
        policy: &'static Policy<N>,
        _handler: H,
    ) -> Self
    where
        H: Fn(&F, &mut Dump<'_, F>) -> Result + Copy + Send + Sync + 'static,
    {
        let callbacks = bindings::genl_split_ops__bindgen_ty_1 {
            __bindgen_anon_2: bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_2 {
                start: Some(start::<F>),
                dumpit: Some(dumpit::<F, H>),
                done: Some(done::<F>),
            },
        };
        Self::new(number, bindings::GENL_CMD_CAP_DUMP, policy, callbacks)
    }

    #[inline]
    const fn new<const N: usize>(
        number: u8,
        kind: u32,
        policy: &'static Policy<N>,
        callbacks: bindings::genl_split_ops__bindgen_ty_1,
    ) -> Self {
        Self(
            bindings::genl_split_ops {
                __bindgen_anon_1: callbacks,
                policy: policy.as_ptr(),
                maxattr: Policy::<N>::MAX,
                cmd: number,
                internal_flags: 0,
                // CAST: A single low bit.
                flags: kind as u8,
                validate: 0,
            },
            PhantomData,
        )
    }

    /// Only for those with `CAP_NET_ADMIN` in the user namespace that owns their network namespace.
    /// Others get `EPERM`.
    #[inline]
    pub const fn net_admin(mut self) -> Self {
        self.0.flags |= bindings::GENL_UNS_ADMIN_PERM as u8;
        self
    }
}

/// A multicast group of a family.
#[repr(transparent)]
pub struct Group(bindings::genl_multicast_group);

impl Group {
    /// One that anybody may join. Its name has at most 15 bytes.
    #[inline]
    pub const fn new(name: &CStr) -> Self {
        Self(bindings::genl_multicast_group {
            name: copy_name(name),
            flags: 0,
        })
    }

    /// Only for those with `CAP_NET_ADMIN` in the user namespace that owns their network namespace.
    /// Others get `EPERM` when they join.
    #[inline]
    pub const fn net_admin(mut self) -> Self {
        self.0.flags |= bindings::GENL_MCAST_CAP_NET_ADMIN;
        self
    }
}

/// As C keeps a name. Fails to compile if it does not fit, or is empty.
#[inline]
const fn copy_name(name: &CStr) -> [kernel::ffi::c_char; bindings::GENL_NAMSIZ as usize] {
    let mut copy = [0; bindings::GENL_NAMSIZ as usize];
    let name = name.to_bytes();
    assert!(!name.is_empty() && name.len() < copy.len());
    let mut i = 0;
    while i < name.len() {
        copy[i] = name[i];
        i += 1;
    }
    copy
}

/// C's `struct genl_family` of the family `F`: a static of the module.
///
/// # Invariants
///
/// - Whoever set `taken` has registered the family, or is about to, or unregistered it; nobody else does.
/// - While the family is registered, `value` is one that came from [`Arc::into_raw`], and owns that
///   reference.
pub struct Static<F: Family> {
    family: Opaque<bindings::genl_family>,
    taken: Atomic<bool>,
    value: Atomic<*mut F>,
}

// SAFETY: What is not atomic is only accessed by C. What changes of it, `genl_register_family()` writes,
// under a lock; and it is read under that lock, or in a call, while the family is registered. A dump, which
// may outlive that, reads only what never changes.
unsafe impl<F: Family> Sync for Static<F> {}

impl<F: Family> Static<F> {
    /// Not registered yet.
    #[expect(
        clippy::new_without_default,
        reason = "it only makes sense as a static"
    )]
    #[inline]
    pub const fn new() -> Self {
        check(F::COMMANDS);
        assert!(F::GROUPS.len() <= u8::MAX as usize);
        assert!(!is_reserved(F::NAME), "C has a fixed number for this name");
        Self {
            family: Opaque::new(bindings::genl_family {
                name: copy_name(F::NAME),
                version: F::VERSION as u32,
                // `netnsok` and `parallel_ops`.
                _bitfield_1: bindings::__BindgenBitfieldUnit::new([
                    if cfg!(target_endian = "big") {
                        0b1100_0000
                    } else {
                        0b11
                    },
                ]),
                // CAST: `Command` and `Group` are transparent. There are few enough.
                split_ops: F::COMMANDS.as_ptr().cast(),
                n_split_ops: F::COMMANDS.len() as u8,
                mcgrps: F::GROUPS.as_ptr().cast(),
                n_mcgrps: F::GROUPS.len() as u8,
                module: this_module::<F::OwnerModule>().as_ptr(),
                ..pin_init::zeroed()
            }),
            taken: Atomic::new(false),
            value: Atomic::new(ptr::null_mut()),
        }
    }
}

/// Whether C has a fixed number for families of this name, or their group. It has a `BUG_ON()` for those
/// that have groups, and not exactly one.
#[inline]
const fn is_reserved(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"NET_DM" | b"VFS_DQUOT" | b"pmcraid")
}

/// What `genl_validate_ops()` would complain of, when the module is compiled.
#[inline]
const fn check<F>(commands: &[Command<F>]) {
    assert!(commands.len() <= u8::MAX as usize);
    let mut i = 1;
    while i < commands.len() {
        let (a, b) = (&commands[i - 1].0, &commands[i].0);
        assert!(a.cmd <= b.cmd, "not in the order of numbers");
        if a.cmd == b.cmd {
            let kinds = (bindings::GENL_CMD_CAP_DO | bindings::GENL_CMD_CAP_DUMP) as u8;
            assert!(
                a.flags & kinds == bindings::GENL_CMD_CAP_DO as u8,
                "there twice"
            );
            assert!(
                b.flags & kinds == bindings::GENL_CMD_CAP_DUMP as u8,
                "there twice"
            );
            assert!(a.flags & !kinds == b.flags & !kinds, "privileges differ");
        }
        i += 1;
    }
}

/// A call of a command of the family `F`.
///
/// # Invariants
///
/// `info` is what C called a handler of the family with, during that call.
pub struct Call<'a, F> {
    info: NonNull<bindings::genl_info>,
    // Invariant in `F`, as it stands for its family.
    _family: PhantomData<&'a fn(F) -> F>,
}

impl<'a, F: Family> Call<'a, F> {
    #[inline]
    fn info(&self) -> &bindings::genl_info {
        // SAFETY: By the type invariants it is valid. C does not change it while the handler runs.
        unsafe { self.info.as_ref() }
    }

    /// What came with the command.
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        // SAFETY: By the type invariants.
        unsafe { attributes(self.info()) }
    }

    /// The network namespace that it came from.
    #[inline]
    pub fn net(&self) -> &'a Net {
        // SAFETY: By the type invariants. The socket of the sender keeps the namespace.
        unsafe { Net::from_raw(bindings::callgate_genl_info_net(self.info.as_ptr())) }
    }

    /// Sends a reply, with what `fill` puts into it. There may be several.
    ///
    /// # Errors
    ///
    /// - `EMSGSIZE`: more than about a page.
    /// - `EAGAIN`: the sender has not read so much that there is no room for more.
    /// - `ECONNREFUSED`: the sender is gone.
    /// - `ENOMEM`, and what `fill` fails with.
    #[inline]
    pub fn reply(&self, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        let info = self.info();
        // SAFETY: C set it to the header of the message that is handled.
        let command = unsafe { (*info.genlhdr).cmd };
        let reply = message::<F>(info.snd_portid, info.snd_seq, command, fill)?;
        // SAFETY: The request is valid, and its namespace alive, as in `net()`; the reply is given away.
        to_result(unsafe { bindings::callgate_genlmsg_reply(reply.into_raw(), self.info.as_ptr()) })
    }

    /// Sends a notification to the members of the group `F::GROUPS[GROUP]` in the network namespace of
    /// the caller, with what `fill` puts into it. If there are none, `fill` is not called.
    ///
    /// Whoever has no room for it misses it, and is told so: recvmsg(2) fails with `ENOBUFS` once. If it
    /// cannot be made, because `fill` fails or there is no memory, all members are told the same.
    #[inline]
    pub fn notify<const GROUP: usize>(
        &self,
        command: u8,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) {
        const { assert!(GROUP < F::GROUPS.len(), "there is no such group") };
        // CAST: Less than 256.
        let group = GROUP as u32;
        let (family, net) = (F::STATIC.family.get(), self.net().as_ptr());
        // SAFETY: The family is registered while it is called, and has this group; the namespace is alive.
        if unsafe { bindings::genl_has_listeners(family, net, group) } == 0 {
            return;
        }
        // SAFETY: As above; a message is given away. What fails is told to those whom it concerns.
        unsafe {
            match message::<F>(0, 0, command, fill) {
                Ok(message) => bindings::callgate_genlmsg_multicast_netns(
                    family,
                    net,
                    message.into_raw(),
                    0,
                    group,
                    bindings::GFP_KERNEL,
                ),
                Err(_) => {
                    bindings::callgate_genl_set_err(family, net, 0, group, ENOBUFS.to_errno())
                }
            };
        }
    }
}

/// A message of a family that is registered, ready to be sent.
#[inline]
fn message<F: Family>(
    portid: u32,
    seq: u32,
    command: u8,
    fill: impl FnOnce(&mut Message<'_>) -> Result,
) -> Result<Buffer> {
    let buffer = Buffer::new()?;
    let skb = buffer.as_nonnull();
    // SAFETY: The buffer is valid and ours, the family a static.
    let header = unsafe {
        let family = F::STATIC.family.get();
        bindings::genlmsg_put(skb.as_ptr(), portid, seq, family, 0, command)
    };
    if header.is_null() {
        return Err(EMSGSIZE);
    }
    // SAFETY: As above.
    fill(&mut unsafe { Message::new(skb) })?;
    // SAFETY: As above; `header` is that of the last message in it.
    unsafe { bindings::genlmsg_end(skb.as_ptr(), header) };
    Ok(buffer)
}

/// # Safety
///
/// `info` must be what C calls a handler with, which runs during `'a`.
#[inline]
unsafe fn attributes<'a>(info: &bindings::genl_info) -> Attributes<'a> {
    // SAFETY: The message is valid as long as the handler runs, and longer; nobody changes it. C sets
    // `extack` to that of this call, or of this part of the dump.
    unsafe { Attributes::of_message(info.nlhdr, size_of::<bindings::genlmsghdr>(), info.extack) }
}

/// A dump in progress: the records that go into one buffer of the user's.
///
/// The handler is called until it has put all records that there are, each time with a new buffer, which
/// it fills from [`position`](Self::position) on:
///
/// ```
/// # use callgate_kernel::{genetlink::{Dump, Family}, nlattr::Attr};
/// # use kernel::prelude::*;
/// # const NUMBER: Attr<u32> = Attr::<u32>::any(1);
/// fn list<F: Family>(records: &[u32], generation: u32, dump: &mut Dump<'_, F>) -> Result {
///     dump.set_generation(generation);
///     for (index, record) in (0..).zip(records).skip(dump.position() as usize) {
///         if !dump.put(index + 1, |message| message.put(NUMBER, *record))? {
///             break;
///         }
///     }
///     Ok(())
/// }
/// ```
///
/// Between two calls the records may change. If a position is a key by which they are ordered, as it is
/// in [`seq_file`](crate::seq_file), a reader misses none that was there all the time, and sees none
/// twice; if it is an index, as above, it may. A reader who wants all records as they were at one time
/// is told, by `NLM_F_DUMP_INTR`, when it did not get that, and can ask again.
pub struct Dump<'a, F> {
    skb: NonNull<bindings::sk_buff>,
    cb: NonNull<bindings::netlink_callback>,
    full: bool,
    // As that of `Call`.
    _family: PhantomData<&'a fn(F) -> F>,
}

/// What a dump keeps from one part to the next, in `struct netlink_callback`.
#[repr(C)]
struct Progress<F> {
    family: *const F,
    position: u64,
}

impl<'a, F: Family> Dump<'a, F> {
    #[inline]
    fn info(&self) -> &bindings::genl_info {
        // SAFETY: C keeps a `struct genl_dumpit_info` there during a dump, and does not change it while
        // the handler runs.
        unsafe {
            &(*(*self.cb.as_ptr())
                .data
                .cast::<bindings::genl_dumpit_info>())
            .info
        }
    }

    #[inline]
    fn progress(&mut self) -> &mut Progress<F> {
        // SAFETY: `start` put it there, and it is this thread's while the handler runs.
        unsafe { &mut *progress(self.cb.as_ptr()) }
    }

    /// What came with the command.
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        // SAFETY: The dump owns a reference to the message; the handler runs during `'a`.
        unsafe { attributes(self.info()) }
    }

    /// The network namespace that it came from.
    #[inline]
    pub fn net(&self) -> &'a Net {
        // SAFETY: The socket of the sender, whose dump this is, keeps the namespace.
        unsafe { Net::from_raw(bindings::callgate_genl_info_net(self.info())) }
    }

    /// Where to go on: 0 at first, then what was given with the last record that fitted.
    #[inline]
    pub fn position(&mut self) -> u64 {
        self.progress().position
    }

    /// Says which state of the records it is that is listed. It must be another one after each change.
    ///
    /// If it is not the same throughout a dump, the user is told that the dump is not consistent.
    #[inline]
    pub fn set_generation(&mut self, generation: u32) {
        // C takes 0 for none.
        let generation = if generation == 0 {
            u32::MAX
        } else {
            generation
        };
        // SAFETY: It is valid, and this thread's while the handler runs.
        unsafe { (*self.cb.as_ptr()).seq = generation };
    }

    /// Puts one more record, a message with what `fill` puts into it, after which to go on at `next`.
    ///
    /// Returns whether it fitted. If not, the handler must return, and will be called with another buffer.
    ///
    /// # Errors
    ///
    /// What `fill` fails with. The user gets the records before this one, and then the error.
    #[inline]
    pub fn put(
        &mut self,
        next: u64,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result<bool> {
        let (skb, cb) = (self.skb.as_ptr(), self.cb.as_ptr());
        // SAFETY: The buffer is ours while the handler runs; `info` is valid, and so is the request that it
        // has. The family is a static. It need not be registered any more.
        let header = unsafe { bindings::callgate_genl_dump_put(skb, self.info()) };
        if header.is_null() {
            self.full = true;
            return Ok(false);
        }
        // SAFETY: As above.
        let filled = fill(&mut unsafe { Message::new(self.skb) });
        if let Err(err) = filled {
            // SAFETY: As above; `header` is that of the last message in it.
            unsafe { bindings::genlmsg_cancel(skb, header) };
            if err != EMSGSIZE {
                return Err(err);
            }
            self.full = true;
            return Ok(false);
        }
        // SAFETY: As above.
        unsafe {
            bindings::callgate_genl_dump_check_consistent(cb, header);
            bindings::genlmsg_end(skb, header);
        }
        self.progress().position = next;
        Ok(true)
    }
}

/// A family that is there. Dropping it takes the family away, and waits for all calls in progress.
///
/// Who has joined a group is no member of anything then, and may join again when the family has come
/// back; it then has another number, and so have its groups.
pub struct Registration<F: Family> {
    // Invariant in `F`, as it is this that was registered.
    _family: PhantomData<fn(F) -> F>,
    // In this order: see the module's documentation.
    _settle: Settle<F::OwnerModule>,
    _hold: Hold<F::OwnerModule>,
}

impl<F: Family> Registration<F> {
    /// Makes the family known. Its commands may be called before this returns.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: it is registered already.
    /// - `EEXIST`: there is another one with this name.
    /// - `ENOMEM`, and `ENOSPC` if there are a thousand families.
    #[inline]
    pub fn new(value: Arc<F>) -> Result<Self> {
        let (hold, settle) = (Hold::new()?, Settle::new());
        let place = F::STATIC;
        place
            .taken
            .cmpxchg(false, true, Acquire)
            .map_err(|_| EBUSY)?;
        let value = Arc::into_raw(value).cast_mut();
        place.value.store(value, Release);
        // SAFETY: It is a static, as are the commands, groups and policies that it has pointers to. The
        // module stays until it is unregistered: it does so as usual if this is dropped, and has the hold
        // if not.
        let registered = to_result(unsafe { bindings::genl_register_family(place.family.get()) });
        if let Err(err) = registered {
            // SAFETY: We set both, and the family is not registered.
            unsafe { place.release() };
            return Err(err);
        }
        Ok(Self {
            _family: PhantomData,
            _settle: settle,
            _hold: hold,
        })
    }
}

impl<F: Family> Static<F> {
    /// Gives up the value.
    ///
    /// # Safety
    ///
    /// The caller must have set `taken` and the value, and the family not be registered, or not any more.
    #[inline]
    unsafe fn release(&self) {
        let value = self.value.load(Relaxed);
        self.value.store(ptr::null_mut(), Relaxed);
        // SAFETY: It came from `into_raw()`. No call is in progress any more, so nobody has borrowed this
        // reference.
        drop(unsafe { Arc::from_raw(value) });
        self.taken.store(false, Release);
    }
}

impl<F: Family> Drop for Registration<F> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The family is registered, and this is the only call that unregisters it.
        unsafe { bindings::genl_unregister_family(F::STATIC.family.get()) };
        // SAFETY: `new` set both, and the family is not registered any more.
        unsafe { F::STATIC.release() };
    }
}

/// The one value that the type of a handler has.
///
/// # Safety
///
/// There must be one.
#[inline]
unsafe fn handler<H: Copy + Send + Sync + 'static>() -> &'static H {
    const { assert!(size_of::<H>() == 0, "a handler must not capture anything") };
    // SAFETY: A value of no size is anywhere, if there is one, as the caller promises.
    unsafe { NonNull::<H>::dangling().as_ref() }
}

/// # Safety
///
/// To be called as `genl_split_ops.doit` of a command of `F` that [`Command::call`] made with an `H`.
unsafe extern "C" fn doit<F, H>(
    _skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int
where
    F: Family,
    H: Fn(&F, &Call<'_, F>) -> Result + Copy + Send + Sync + 'static,
{
    // SAFETY: Somebody had an `H`.
    let handler = unsafe { handler::<H>() };
    // SAFETY: C calls commands of a registered family only, and the family stays so during the call. It is
    // `F`, as no other has a `Command<F>`. So the value is one.
    let family = unsafe { &*F::STATIC.value.load(Acquire) };
    // INVARIANT: This is a call of one of its commands.
    let call = Call {
        // SAFETY: C gives the request, which is not null.
        info: unsafe { NonNull::new_unchecked(info) },
        _family: PhantomData,
    };
    match handler(family, &call) {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}

/// # Safety
///
/// `cb` must be valid, and be that of a dump of `F`.
#[inline]
unsafe fn progress<F>(cb: *mut bindings::netlink_callback) -> *mut Progress<F> {
    const {
        assert!(size_of::<Progress<F>>() <= size_of::<bindings::netlink_callback__bindgen_ty_1>());
        assert!(
            align_of::<Progress<F>>() <= align_of::<bindings::netlink_callback__bindgen_ty_1>()
        );
    }
    // SAFETY: `cb` is valid; only an address is computed.
    unsafe { (&raw mut (*cb).__bindgen_anon_1).cast() }
}

/// # Safety
///
/// To be called as `genl_split_ops.start` of a command of `F`.
unsafe extern "C" fn start<F: Family>(cb: *mut bindings::netlink_callback) -> c_int {
    if module::state::<F::OwnerModule>()
        .is_some_and(|state| state != bindings::module_state_MODULE_STATE_LIVE)
    {
        return ENOENT.to_errno();
    }
    // SAFETY: As in `doit`: C starts a dump while it handles a message. The borrow ends here.
    let family = unsafe { ArcBorrow::from_raw(F::STATIC.value.load(Acquire)) };
    let family = Arc::into_raw(Arc::from(family));
    // SAFETY: The memory is for us to use, from now on to `done`.
    unsafe {
        progress::<F>(cb).write(Progress {
            family,
            position: 0,
        });
    }
    0
}

/// # Safety
///
/// To be called as `genl_split_ops.dumpit` of a command of `F` that [`Command::dump`] made with an `H`,
/// after `start` and before `done`.
unsafe extern "C" fn dumpit<F, H>(
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
) -> c_int
where
    F: Family,
    H: Fn(&F, &mut Dump<'_, F>) -> Result + Copy + Send + Sync + 'static,
{
    // SAFETY: Somebody had an `H`.
    let handler = unsafe { handler::<H>() };
    // SAFETY: `start` put it there, with a reference of its own.
    let family = unsafe { &*(*progress::<F>(cb)).family };
    // SAFETY: C gives both, which are not null.
    let (skb, cb) = unsafe { (NonNull::new_unchecked(skb), NonNull::new_unchecked(cb)) };
    let mut dump = Dump {
        skb,
        cb,
        full: false,
        _family: PhantomData,
    };
    let result = handler(family, &mut dump);
    // SAFETY: The buffer is ours until we return.
    let length = unsafe { (*skb.as_ptr()).len };
    match result {
        Err(err) => err.to_errno(),
        Ok(()) if !dump.full => 0,
        // A record that does not fit into an empty buffer never will.
        Ok(()) if length == 0 => EMSGSIZE.to_errno(),
        // CAST: No more than 32 KiB, or a page.
        Ok(()) => length as c_int,
    }
}

/// # Safety
///
/// To be called as `genl_split_ops.done` of a command of `F`, once after a successful `start`.
unsafe extern "C" fn done<F: Family>(cb: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: `start` put it there, with a reference of its own, which nobody uses any more.
    drop(unsafe { Arc::from_raw((*progress::<F>(cb)).family) });
    0
}
