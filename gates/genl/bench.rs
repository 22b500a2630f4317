// SPDX-License-Identifier: MIT OR Apache-2.0

//! What calls, dumps and notifications of generic netlink cost.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, anyhow, ensure};
use callgate::genl::{Client, Family, Listener};
use callgate::netlink::{Attributes, LIMIT};
use callgate::testing::namespace::Network;

use super::{Operation, Work};
use crate::genl::abi::{self, MSG_MAX, TEXT_MAX, command, record};

/// How many records a dump lists.
const RECORDS: u32 = 100;

/// How long their texts are, the NUL included: as long as they can be.
const TEXT: usize = TEXT_MAX as usize + 1;

/// A client for all operations: how long the kernel looks for a socket depends on how many there are.
struct Control {
    client: RefCell<Client>,
    family: Family,
}

impl Control {
    /// One in this thread's network namespace.
    fn new() -> anyhow::Result<Self> {
        let mut client = Client::new()?;
        let family = client.family(abi::FAMILY.to_str()?)?;
        let client = RefCell::new(client);
        Ok(Self { client, family })
    }

    /// Calls a command that is answered by this many messages.
    fn call(&self, command: u8, attributes: &Attributes, answers: usize) -> anyhow::Result<()> {
        let replies = self
            .client
            .borrow_mut()
            .call(&self.family, command, attributes)?;
        ensure!(replies.len() == answers, "{} replies", replies.len());
        Ok(())
    }

    fn list(&self) -> anyhow::Result<()> {
        let all = Attributes::new();
        let dump = self
            .client
            .borrow_mut()
            .dump(&self.family, command::GET, &all)?;
        ensure!(
            dump.records.len() == RECORDS as usize,
            "{} records",
            dump.records.len()
        );
        Ok(())
    }

    /// Replaces a record.
    fn change(&self) -> anyhow::Result<()> {
        self.call(command::ADD, &record(RECORDS / 2).flag(abi::REPLACE), 0)
    }
}

fn record(number: u32) -> Attributes {
    let record = Attributes::new().number(record::NUMBER, number);
    let text = "x".repeat(TEXT - 1);
    Attributes::new().nest(abi::RECORD, &record.string(record::TEXT, &text))
}

/// The HOWTO's call, which always gets the same answer; one that finds a record, one that changes it, one that
/// lists all; and what a listener hears.
///
/// The records are those of a network namespace that is there for nothing else.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let network = Arc::new(Network::new()?);
    let control = Rc::new(network.enter(Control::new)?);
    control.call(command::ADD, &record(1).number(abi::COUNT, RECORDS), 0)?;

    let mut operations = Vec::new();
    for bytes in [1, 64, usize::from(MSG_MAX) + 1] {
        let msg = Attributes::new().string(abi::MSG, &"x".repeat(bytes - 1));
        let control = Rc::clone(&control);
        operations.push(Operation::new(Work::RoundTrip, "echo", bytes, move || {
            control.call(command::ECHO, &msg, 1)
        }));
    }
    let this = Rc::clone(&control);
    let number = Attributes::new().number(abi::NUMBER, RECORDS / 2);
    let name = "get a record";
    operations.push(Operation::new(Work::ToProgram, name, TEXT, move || {
        this.call(command::GET, &number, 1)
    }));
    let this = Rc::clone(&control);
    let name = "list 100 records";
    operations.push(Operation::new(Work::Other, name, 0, move || this.list()));

    let listener = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&listener);
    let name = "replace a record";
    let replace = Operation::new(Work::ToKernel, name, TEXT, move || control.change());
    operations.push(replace.first(move || {
        // Nobody hears of it.
        *lock(&heard)? = None;
        Ok(())
    }));

    let control = network.enter(Control::new)?;
    let (heard, family) = (Arc::clone(&listener), control.family.clone());
    let hear = move || {
        let mut listener = lock(&heard)?;
        let listener = listener.as_mut().context("nobody listens")?;
        listener.next(LIMIT)?.context("there was no event")?;
        Ok(())
    };
    let name = "hear of a record";
    let notification = Operation::notify(name, TEXT, move || control.change(), hear);
    operations.push(notification.first(move || {
        let group = abi::RECORDS.1.to_str()?;
        let new = network.enter(|| Listener::new(&family, &[group]))?;
        *lock(&listener)? = Some(new);
        Ok(())
    }));
    Ok(operations)
}

/// Whoever listens, if anybody does.
fn lock(listener: &Mutex<Option<Listener>>) -> anyhow::Result<MutexGuard<'_, Option<Listener>>> {
    let listener = listener.lock();
    listener.map_err(|_| anyhow!("who listened has failed"))
}
