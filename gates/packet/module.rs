// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the packet gate: a protocol of its own, right above Ethernet.
//!
//! Each network namespace has one, which answers the frames that reach it, and counts them.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::{Counts, Header, ANSWER, COUNT, ECHO, GREETING, HELLO, TEXT_CAPACITY, VERSION};
use callgate_kernel::{
    net_namespace::NewNet,
    packet::{EtherType, Frame, PerNet, Protocol, Registration, To, Verdict},
    rate_limit::RateLimit,
};
use kernel::{
    prelude::*,
    sync::atomic::{ordering::Relaxed, Atomic},
};
use zerocopy::IntoBytes;

// new: end
module! {
    type: PacketModule,
    name: "callgate_packet",
    authors: ["callgate"],
    description: "packet: a protocol right above Ethernet",
    license: "GPL",
}

// new: begin
struct PacketModule {
    _protocol: Registration<Responder>,
}

impl kernel::Module for PacketModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _protocol: Registration::new()?,
        })
    }
}

/// What a network namespace has.
struct Responder {
    answered: Atomic<u64>,
    ignored: Atomic<u64>,
}

static RESPONDER: PerNet<Responder> = PerNet::new();

/// How many texts are logged a second at most: anybody on the network can send one.
static LOGGED: RateLimit = RateLimit::new(10);

impl Protocol for Responder {
    type OwnerModule = crate::LocalModule;

    const TYPE: EtherType = EtherType::new(abi::ETHER_TYPE);
    const PER_NET: &'static PerNet<Self> = &RESPONDER;

    fn new(_net: &NewNet) -> impl PinInit<Self, Error> {
        Ok(Self {
            answered: Atomic::new(0),
            ignored: Atomic::new(0),
        })
    }

    fn receive(&self, frame: &Frame<'_>) -> Verdict {
        if !matches!(frame.to(), To::Us | To::All) {
            return Verdict::Dropped;
        }
        match self.answer(frame) {
            Ok(true) => {
                self.answered.fetch_add(1, Relaxed);
                Verdict::Used
            }
            Ok(false) => Verdict::Dropped,
            Err(_) => {
                self.ignored.fetch_add(1, Relaxed);
                Verdict::Dropped
            }
        }
    }
}

impl Responder {
    /// Answers a question. Whether it was one: an answer is to be answered by nobody.
    fn answer(&self, frame: &Frame<'_>) -> Result<bool> {
        // A copy, for the bytes may lie in several places and be others' as well.
        let header: Header = frame.read(0)?;
        let len = usize::from(header.len.get());
        if header.version != VERSION || frame.len() - size_of::<Header>() < len {
            return Err(EPROTO);
        }
        match header.kind {
            HELLO => {
                let mut text = [0; TEXT_CAPACITY];
                let text = text.get_mut(..len).ok_or(EMSGSIZE)?;
                frame.copy(size_of::<Header>(), text)?;
                send(frame, header, GREETING.len(), |payload| {
                    payload.copy_from_slice(GREETING);
                    Ok(())
                })?;
                if LOGGED.allows() {
                    pr_info!("received: {}\n", format_args!("{}", text.escape_ascii()));
                }
            }
            ECHO => send(frame, header, len, |payload| {
                frame.copy(size_of::<Header>(), payload)
            })?,
            COUNT if len == 0 => send(frame, header, size_of::<Counts>(), |payload| {
                let counts = Counts {
                    answered: self.answered.load(Relaxed).into(),
                    ignored: self.ignored.load(Relaxed).into(),
                };
                payload.copy_from_slice(counts.as_bytes());
                Ok(())
            })?,
            kind if kind & ANSWER != 0 => return Ok(false),
            _ => return Err(EINVAL),
        }
        Ok(true)
    }
}

/// Sends the sender of `frame` an answer of `len` bytes, which `fill` writes.
fn send(
    frame: &Frame<'_>,
    question: Header,
    len: usize,
    fill: impl FnOnce(&mut [u8]) -> Result,
) -> Result {
    let sender = frame.source().ok_or(EADDRNOTAVAIL)?;
    if sender.is_group() {
        return Err(EADDRNOTAVAIL);
    }
    let header = Header {
        kind: question.kind | ANSWER,
        len: u16::try_from(len)?.into(),
        ..question
    };
    let mut answer = frame.answer(size_of::<Header>() + len)?;
    let (start, payload) = answer.payload().split_at_mut(size_of::<Header>());
    start.copy_from_slice(header.as_bytes());
    fill(payload)?;
    answer.send(sender)
}
// new: end
