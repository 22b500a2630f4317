// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the netlink gate: a protocol of its own, with a count for each network namespace.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::kind;
use callgate_kernel::{
    net_namespace::{self, Id, NewNet, PerNet},
    netlink::{Protocol, Registration, Request, Static},
    nlattr::{Attr, Policy},
    rate_limit::RateLimit,
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Arc,
    },
};

// new: end
module! {
    type: NetlinkModule,
    name: "callgate_netlink",
    authors: ["callgate"],
    description: "netlink: a protocol of its own, in each network namespace",
    license: "GPL",
    params: {
        protocol: u32 {
            default: 31,
            description: "The number of the protocol, less than 32",
        },
    },
}

// new: begin
// Dropped in this order.
struct NetlinkModule {
    _protocol: Registration<Greeter>,
    _counts: net_namespace::Registration<Count>,
}

impl kernel::Module for NetlinkModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let counts = net_namespace::Registration::new()?;
        let number = module_parameters::protocol.value();
        Ok(Self {
            _protocol: Registration::new(number, Arc::new(Greeter, GFP_KERNEL)?)?,
            _counts: counts,
        })
    }
}

const MSG: Attr<CStr> = Attr::at_most(abi::MSG, abi::MSG_MAX);
const COUNT: Attr<u32> = Attr::<u32>::any(abi::COUNT);

static TEXT: Policy<2> = Policy::new(&[MSG.entry()]);
static NOTHING: Policy<1> = Policy::new(&[]);

struct Greeter;

/// How many messages are logged a second at most: anybody can send one.
static LOGGED: RateLimit = RateLimit::new(10);

static GREETER: Static<Greeter> = Static::new();

#[vtable]
impl Protocol for Greeter {
    const GROUPS: u32 = abi::GROUP;
    const ANYBODY_MAY_LISTEN: bool = false;
    const STATIC: &'static Static<Self> = &GREETER;

    fn request(&self, request: &Request<'_, Self>) -> Result {
        match request.kind() {
            kind::ECHO => {
                let msg = request.attributes(&TEXT)?.need(MSG)?;
                if LOGGED.allows() {
                    pr_info!("received: {msg}\n");
                }
                COUNTS.with(request.net(), |count| count.0.fetch_add(1, Relaxed));
                request.reply(kind::ECHO, |message| message.put(MSG, abi::ANSWER))
            }
            kind::SAY => {
                if !request.is_net_admin() {
                    return Err(EPERM);
                }
                let msg = request.attributes(&TEXT)?.need(MSG)?;
                request.notify::<{ abi::GROUP }>(kind::SAY, |message| message.put(MSG, msg));
                Ok(())
            }
            kind::COUNT => {
                request.attributes(&NOTHING)?;
                let count = COUNTS.with(request.net(), |count| count.0.load(Relaxed));
                request.reply(kind::COUNT, |message| {
                    message.put(COUNT, count.ok_or(ENODEV)?)
                })
            }
            _ => Err(EOPNOTSUPP),
        }
    }
}

/// How many messages a network namespace has sent.
struct Count(Atomic<u32>);

static COUNTS: Id<Count> = Id::new();

impl PerNet for Count {
    type OwnerModule = crate::LocalModule;

    const ID: &'static Id<Self> = &COUNTS;

    fn new(_net: &NewNet) -> Result<KBox<Self>> {
        Ok(KBox::new(Self(Atomic::new(0)), GFP_KERNEL)?)
    }
}
// new: end
