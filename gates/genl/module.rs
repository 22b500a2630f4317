// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the generic netlink gate: the HOWTO's echo, and records that are added, listed and
//! told of.
//!
//! Each network namespace has its own records.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::{command, kind, record, NUMBER_MAX, RECORDS_MAX};
use callgate_kernel::{
    genetlink::{Call, Command, Dump, Family, Group, Registration, Static},
    net_namespace::{self, Id, Net, NewNet, PerNet},
    nlattr::{Attr, Flag, Message, Nested, Policy, Range, SignedRange},
    rate_limit::RateLimit,
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    str::CString,
    sync::{Arc, Mutex},
};

// new: end
module! {
    type: GenlModule,
    name: "callgate_genl",
    authors: ["callgate"],
    description: "generic netlink: typed commands, dumps and notifications",
    license: "GPL",
}

// new: begin
// Dropped in this order.
struct GenlModule {
    _family: Registration<Control>,
    _records: net_namespace::Registration<Records>,
}

impl kernel::Module for GenlModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let records = net_namespace::Registration::new()?;
        Ok(Self {
            _family: Registration::new(Arc::new(Control, GFP_KERNEL)?)?,
            _records: records,
        })
    }
}

// What a message may consist of.

// new: end
const MSG: Attr<CStr> = Attr::at_most(abi::MSG, abi::MSG_MAX);
// new: begin
const RECORD: Attr<Nested> = Attr::nested(abi::RECORD, &IN_RECORD);
const COUNT: Attr<u32> = Attr::<u32>::within(
    abi::COUNT,
    &Range {
        min: 1,
        max: RECORDS_MAX as u64,
    },
);
const REPLACE: Attr<Flag> = Attr::flag(abi::REPLACE);
const NUMBER: Attr<u32> = Attr::<u32>::any(abi::NUMBER);
const FROM: Attr<u32> = Attr::<u32>::any(abi::FROM);

// new: end
static TO_ECHO: Policy<2> = Policy::new(&[MSG.entry()]);
// new: begin
static TO_ADD: Policy<5> = Policy::new(&[RECORD.entry(), COUNT.entry(), REPLACE.entry()]);
static TO_NUMBER: Policy<6> = Policy::new(&[NUMBER.entry()]);
static TO_LIST: Policy<7> = Policy::new(&[FROM.entry()]);

/// In a nest, numbers are the nest's own.
static IN_RECORD: Policy<3> = Policy::new(&[RECORD_NUMBER.entry(), RECORD_TEXT.entry()]);
const RECORD_TEXT: Attr<CStr> = Attr::at_most(record::TEXT, abi::TEXT_MAX);
const RECORD_NUMBER: Attr<u32> = Attr::<u32>::within(
    record::NUMBER,
    &Range {
        min: 1,
        max: NUMBER_MAX as u64,
    },
);

// The family.

struct Control;

static CONTROL: Static<Control> = Static::new();

#[vtable]
impl Family for Control {
    const NAME: &'static CStr = abi::FAMILY;
    const VERSION: u8 = abi::VERSION;
    const COMMANDS: &'static [Command<Self>] = &[
        // new: end
        Command::call(command::ECHO, &TO_ECHO, Control::echo),
        // new: begin
        Command::call(command::ADD, &TO_ADD, Control::add).net_admin(),
        Command::call(command::REMOVE, &TO_NUMBER, Control::remove).net_admin(),
        Command::call(command::GET, &TO_NUMBER, Control::get),
        Command::dump(command::GET, &TO_LIST, Control::list),
        // new: end
        Command::call(command::KINDS, &TO_KINDS, Control::kinds),
        // new: begin
    ];
    const GROUPS: &'static [Group] = &[
        Group::new(abi::RECORDS.1),
        // new: end
        Group::new(abi::ECHOES.1).net_admin(),
        // new: begin
    ];
    const STATIC: &'static Static<Self> = &CONTROL;
}

// new: end
/// How many messages are logged a second at most: anybody can send one.
static LOGGED: RateLimit = RateLimit::new(10);

// new: begin
impl Control {
    // new: end
    /// The HOWTO's command.
    fn echo(&self, call: &Call<'_, Self>) -> Result {
        let msg = call.attributes().need(MSG)?;
        if LOGGED.allows() {
            pr_info!("received: {msg}\n");
        }
        call.notify::<{ abi::ECHOES.0 }>(command::HEARD, |message| message.put(MSG, msg));
        call.reply(|message| message.put(MSG, abi::ANSWER))
    }

    // new: begin
    fn add(&self, call: &Call<'_, Self>) -> Result {
        let attributes = call.attributes();
        let record = attributes.need(RECORD)?;
        let (first, text) = (record.need(RECORD_NUMBER)?, record.need(RECORD_TEXT)?);
        let count = attributes.get(COUNT).unwrap_or(1);
        let last = first + (count - 1);
        if last > NUMBER_MAX {
            return Err(attributes.refuse(COUNT, ERANGE, c"the last number would be too large"));
        }
        let mut new = nodes(first, last, text)?;
        let records = Records::of(call.net())?;
        let mut records = records.lock();
        let there = records.between(first, last);
        if there > 0 && !attributes.has(REPLACE) {
            return Err(record.refuse(RECORD_NUMBER, EEXIST, c"there is such a record already"));
        }
        if records.len - there + count > RECORDS_MAX {
            return Err(attributes.refuse(COUNT, ENOSPC, c"there would be too many records"));
        }
        while let Some(first) = new.cursor_front_mut() {
            records.tree.insert(first.remove_current().1);
        }
        records.len += count - there;
        records.change();
        // Under the lock, so that changes are told of in the order in which they are made.
        call.notify::<{ abi::RECORDS.0 }>(command::ADDED, |message| {
            put_record(message, first, text)?;
            message.put(COUNT, count)
        });
        Ok(())
    }

    fn remove(&self, call: &Call<'_, Self>) -> Result {
        let number = call.attributes().need(NUMBER)?;
        let records = Records::of(call.net())?;
        let mut records = records.lock();
        if records.tree.remove(&number).is_none() {
            return Err(call
                .attributes()
                .refuse(NUMBER, ENOENT, c"there is no such record"));
        }
        records.len -= 1;
        records.change();
        call.notify::<{ abi::RECORDS.0 }>(command::REMOVED, |message| message.put(NUMBER, number));
        Ok(())
    }

    fn get(&self, call: &Call<'_, Self>) -> Result {
        let number = call.attributes().need(NUMBER)?;
        let records = Records::of(call.net())?;
        let text = records.lock().tree.get(&number).cloned();
        match text {
            Some(text) => call.reply(|message| put_record(message, number, &text)),
            None => Err(call
                .attributes()
                .refuse(NUMBER, ENOENT, c"there is no such record")),
        }
    }

    /// As many records as fit, from where the last call left off.
    fn list(&self, dump: &mut Dump<'_, Self>) -> Result {
        let from = dump.attributes().get(FROM).unwrap_or(0).into();
        let records = Records::of(dump.net())?;
        let mut records = records.lock();
        dump.set_generation(records.generation);
        let from = u64::max(from, dump.position()) as u32;
        let mut next = records.tree.cursor_lower_bound_mut(&from);
        while let Some(cursor) = next {
            let (number, text) = cursor.current();
            let put = |message: &mut Message<'_>| put_record(message, *number, text);
            if !dump.put(u64::from(*number) + 1, put)? {
                break;
            }
            next = cursor.move_next();
        }
        Ok(())
    }
}

fn put_record(message: &mut Message<'_>, number: u32, text: &CStr) -> Result {
    message.nest(RECORD, |record| {
        record.put(RECORD_NUMBER, number)?;
        record.put(RECORD_TEXT, text)
    })
}

// The records.

struct Records(Arc<Mutex<State>>);

static RECORDS: Id<Records> = Id::new();

impl PerNet for Records {
    type OwnerModule = crate::LocalModule;

    const ID: &'static Id<Self> = &RECORDS;

    fn new(_net: &NewNet) -> Result<KBox<Self>> {
        let state = State {
            tree: RBTree::new(),
            len: 0,
            generation: 1,
        };
        let records = Arc::pin_init(new_mutex!(state), GFP_KERNEL)?;
        Ok(KBox::new(Self(records), GFP_KERNEL)?)
    }
}

impl Records {
    fn of(net: &Net) -> Result<Arc<Mutex<State>>> {
        RECORDS.with(net, |records| records.0.clone()).ok_or(ENODEV)
    }
}

struct State {
    tree: RBTree<u32, Arc<CString>>,
    len: u32,
    /// Another one after each change.
    generation: u32,
}

impl State {
    fn change(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// How many records there are with these numbers.
    fn between(&mut self, first: u32, last: u32) -> u32 {
        let mut count = 0;
        let mut next = self.tree.cursor_lower_bound_mut(&first);
        while let Some(cursor) = next.filter(|cursor| *cursor.current().0 <= last) {
            count += 1;
            next = cursor.move_next();
        }
        count
    }
}

/// Everything that adding these records could fail for. They wait in a tree of their own, as that takes no
/// more memory than they do.
fn nodes(first: u32, last: u32, text: &CStr) -> Result<RBTree<u32, Arc<CString>>> {
    let text = Arc::new(CString::try_from(text)?, GFP_KERNEL_ACCOUNT)?;
    let mut nodes = RBTree::new();
    for number in first..=last {
        nodes.insert(RBTreeNode::new(number, text.clone(), GFP_KERNEL_ACCOUNT)?);
    }
    Ok(nodes)
}

// new: end
// One attribute of each kind.

const U8: Attr<u8> = Attr::<u8>::any(kind::U8);
const U16: Attr<u16> = Attr::<u16>::within(kind::U16, &Range { min: 1, max: 1000 });
const U32: Attr<u32> = Attr::<u32>::within(
    kind::U32,
    &Range {
        min: 1,
        max: 100_000,
    },
);
const U64: Attr<u64> = Attr::<u64>::within(
    kind::U64,
    &Range {
        min: 1,
        max: 1 << 40,
    },
);
const S8: Attr<i8> = Attr::<i8>::any(kind::S8);
const S16: Attr<i16> = Attr::<i16>::within(kind::S16, &signed(1000));
const S32: Attr<i32> = Attr::<i32>::within(kind::S32, &signed(100_000));
const S64: Attr<i64> = Attr::<i64>::within(kind::S64, &signed(1 << 40));
const BYTES: Attr<[u8]> = Attr::bytes(kind::BYTES, 4, 8);
const FLAG: Attr<Flag> = Attr::flag(kind::FLAG);
const NEST: Attr<Nested> = Attr::nested(kind::NEST, &IN_RECORD);

static TO_KINDS: Policy<12> = Policy::new(&[
    U8.entry(),
    U16.entry(),
    U32.entry(),
    U64.entry(),
    S8.entry(),
    S16.entry(),
    S32.entry(),
    S64.entry(),
    BYTES.entry(),
    FLAG.entry(),
    NEST.entry(),
]);

const fn signed(max: i64) -> SignedRange {
    SignedRange { min: -max, max }
}

impl Control {
    /// Sends back what came.
    fn kinds(&self, call: &Call<'_, Self>) -> Result {
        let got = call.attributes();
        call.reply(|message| {
            macro_rules! send_back {
                ($($attr:ident)*) => {
                    $(if let Some(value) = got.get($attr) {
                        message.put($attr, value)?;
                    })*
                };
            }
            send_back!(U8 U16 U32 U64 S8 S16 S32 S64 BYTES FLAG);
            let Some(nest) = got.get(NEST) else {
                return Ok(());
            };
            message.nest(NEST, |message| {
                message.put(RECORD_NUMBER, nest.need(RECORD_NUMBER)?)?;
                message.put(RECORD_TEXT, nest.need(RECORD_TEXT)?)
            })
        })
    }
}
