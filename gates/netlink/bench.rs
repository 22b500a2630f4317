// SPDX-License-Identifier: MIT OR Apache-2.0

//! What messages of a protocol of netlink's cost: answered ones, those that nobody hears, and those that somebody
//! does.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, anyhow, ensure};
use callgate::netlink::{Attributes, LIMIT, Message, Socket};
use callgate::testing::namespace::Network;

use super::{Operation, Work};
use crate::netlink::abi::{self, MSG_MAX, kind};

/// The sizes of a message, its NUL included.
const SIZES: [usize; 3] = [1, 64, MSG_MAX as usize + 1];

/// Questions, and what is said to all: those in a network namespace that is there for nothing else.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let network = Arc::new(Network::new()?);
    let socket = Rc::new(RefCell::new(network.enter(connect)?));
    let ask = |kind, question: Attributes| {
        let socket = Rc::clone(&socket);
        move || -> anyhow::Result<Message> {
            let mut replies = socket.borrow_mut().request(kind, question.as_bytes())?;
            ensure!(replies.len() == 1, "{} replies", replies.len());
            replies.pop().context("no reply")
        }
    };
    let mut operations = vec![Operation::new(Work::Other, "open and close", 0, || {
        connect()?;
        Ok(())
    })];

    // It is answered by as many bytes.
    let bytes = abi::ANSWER.to_bytes_with_nul().len();
    let echo = ask(kind::ECHO, message(bytes));
    operations.push(Operation::new(Work::RoundTrip, "echo", bytes, move || {
        heard(&echo()?, bytes)
    }));
    let count = ask(kind::COUNT, Attributes::new());
    let bytes = size_of::<u32>();
    let name = "ask for a number";
    operations.push(Operation::new(Work::ToProgram, name, bytes, move || {
        Attributes::from_bytes(count()?.payload).get_number::<u32>(abi::COUNT)?;
        Ok(())
    }));

    let listener = Listener::default();
    for bytes in SIZES {
        let (say, listener) = (network.enter(|| say(bytes))?, listener.clone());
        let operation = Operation::new(Work::ToKernel, "say to nobody", bytes, say);
        operations.push(operation.first(move || listener.set(None)));
    }
    for bytes in SIZES {
        let (network, listener, told) = (Arc::clone(&network), listener.clone(), listener.clone());
        let (say, hear) = (network.enter(|| say(bytes))?, move || told.hear(bytes));
        let operation = Operation::notify("hear what is said", bytes, say, hear);
        operations.push(operation.first(move || {
            let socket = network.enter(connect)?;
            socket.join(abi::GROUP)?;
            listener.set(Some(socket))
        }));
    }
    Ok(operations)
}

fn connect() -> anyhow::Result<Socket> {
    Ok(Socket::new(i32::try_from(abi::PROTOCOL)?, 0)?)
}

/// One of so many bytes, its NUL included.
fn message(bytes: usize) -> Attributes {
    Attributes::new().string(abi::MSG, &"x".repeat(bytes - 1))
}

/// Looks whether a message of so many bytes came.
fn heard(message: &Message, bytes: usize) -> anyhow::Result<()> {
    let attributes = Attributes::from_bytes(&*message.payload);
    let len = attributes.get(abi::MSG).context("no text")?.len();
    ensure!(len == bytes, "a text of {len} bytes");
    Ok(())
}

/// Has the kernel send a message to all who listen.
fn say(bytes: usize) -> anyhow::Result<impl FnMut() -> anyhow::Result<()> + Send + 'static> {
    let (mut socket, message) = (connect()?, message(bytes));
    Ok(move || {
        let replies = socket.request(kind::SAY, message.as_bytes())?;
        ensure!(replies.is_empty(), "{} replies", replies.len());
        Ok(())
    })
}

/// Whoever listens, if anybody does.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Option<Socket>>>);

impl Listener {
    fn set(&self, socket: Option<Socket>) -> anyhow::Result<()> {
        *self.lock()? = socket;
        Ok(())
    }

    fn hear(&self, bytes: usize) -> anyhow::Result<()> {
        let mut socket = self.lock()?;
        let socket = socket.as_mut().context("nobody listens")?;
        let message = socket.receive_within(LIMIT)?;
        heard(&message.context("nothing was heard")?, bytes)
    }

    fn lock(&self) -> anyhow::Result<MutexGuard<'_, Option<Socket>>> {
        self.0
            .lock()
            .map_err(|_| anyhow!("who listened has failed"))
    }
}
