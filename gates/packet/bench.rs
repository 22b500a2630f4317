// SPDX-License-Identifier: MIT OR Apache-2.0

//! What frames cost, over a wire that is only software.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use callgate::link::Veth;
use callgate::packet::{Address, Socket};
use callgate::testing::namespace::Network;

use super::{Operation, Work};
use crate::packet::abi::{ANSWER, COUNT, Counts, ECHO, ETHER_TYPE, Header};
use crate::packet::program::{message, parse, wait_until_running};

/// How long anything takes, at the most.
const LIMIT: Duration = Duration::from_secs(30);

/// How long an answer takes; after that, question or answer are lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many bytes a frame has at the most, after the header of the protocol: as many as there can be.
const LARGEST: usize = u16::MAX as usize - size_of::<Header>();

/// Frames that are answered, and such as nobody answers.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let wire = Arc::new(Wire::new()?);
    let mut operations = Vec::new();
    for bytes in [1, 64, 1024, 4096, LARGEST] {
        let (ask, hear) = (wire.ask(ECHO, bytes), wire.hear(ECHO, bytes));
        operations.push(Operation::new(Work::RoundTrip, "echo", bytes, move || {
            ask()?;
            hear()
        }));
    }
    // An answer is not answered.
    for bytes in [1, 4096, LARGEST] {
        let send = wire.ask(ECHO | ANSWER, bytes);
        operations.push(Operation::new(Work::ToKernel, "send", bytes, send));
    }
    let bytes = size_of::<Counts>();
    let (ask, hear) = (wire.ask(COUNT, 0), wire.hear(COUNT, bytes));
    let name = "ask for two numbers";
    operations.push(Operation::new(Work::ToProgram, name, bytes, move || {
        ask()?;
        hear()
    }));
    for bytes in [1, 4096] {
        let (tell, hear) = (wire.ask(ECHO, bytes), wire.hear(ECHO, bytes));
        operations.push(Operation::notify(
            "ask, and hear the answer",
            bytes,
            tell,
            hear,
        ));
    }
    Ok(operations)
}

/// A socket at one end of a wire, at whose other end the module listens.
struct Wire {
    socket: Socket,
    other: Address,
    /// The two ends are in it, and go with it, however this process ends.
    _network: Network,
}

impl Wire {
    fn new() -> anyhow::Result<Self> {
        let network = Network::new()?;
        let (socket, other) = network.enter(|| -> anyhow::Result<_> {
            let wire = Veth::new(["here", "there"])?;
            for end in wire.ends() {
                end.set_mtu(u16::MAX)?;
                end.up()?;
            }
            let [ours, theirs] = wire.ends();
            wait_until_running(ours)?;
            wait_until_running(theirs)?;
            let socket = Socket::datagrams(ours, ETHER_TYPE)?;
            let other = theirs.address()?;
            mem::forget(wire);
            Ok((socket, other))
        })?;
        let wire = Self {
            socket,
            other,
            _network: network,
        };
        wire.try_out()?;
        Ok(wire)
    }

    /// The very first frames may come too early for the other end.
    fn try_out(&self) -> anyhow::Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            self.socket.send(self.other, &message(ECHO, 0, b""))?;
            if self.socket.receive(PATIENCE)?.is_some() {
                while self.socket.receive(Duration::ZERO)?.is_some() {}
                return Ok(());
            }
            ensure!(Instant::now() < end, "nobody answers");
        }
    }

    /// Sends a message of this kind with so many bytes.
    fn ask(
        self: &Arc<Self>,
        kind: u8,
        bytes: usize,
    ) -> impl Fn() -> anyhow::Result<()> + Send + 'static {
        let (wire, question) = (Arc::clone(self), message(kind, 0, &vec![b'x'; bytes]));
        move || Ok(wire.socket.send(wire.other, &question)?)
    }

    /// Receives the answer, which has so many.
    fn hear(
        self: &Arc<Self>,
        kind: u8,
        bytes: usize,
    ) -> impl Fn() -> anyhow::Result<()> + Send + 'static {
        let wire = Arc::clone(self);
        move || {
            let frame = wire.socket.receive(LIMIT)?.context("no answer came")?;
            let (header, answer) = parse(&frame.bytes).context("what came is no message")?;
            ensure!(
                header.kind == kind | ANSWER && answer.len() == bytes,
                "another answer came"
            );
            Ok(())
        }
    }
}
