// SPDX-License-Identifier: MIT OR Apache-2.0

//! What datagrams cost on this machine.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};
use callgate::debugfs::Debugfs;
use callgate::testing::namespace;
use callgate::udp;

use super::{Operation, Work};
use crate::udp::abi::{self, GREETING, GREETINGS, LARGEST};

/// A datagram that has not come by then is lost.
const LIMIT: Duration = Duration::from_secs(30);

/// Datagrams that are answered, and the HOWTO's greetings. One that the program sends is at its goal when the
/// answer says so, so there is none without.
///
/// Ten a second are logged.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    namespace::bring_up("lo").context("bringing up the loopback interface")?;
    let mut operations = Vec::new();
    for bytes in [1, 64, 1024, LARGEST] {
        let (socket, question) = (socket()?, vec![b'x'; bytes]);
        operations.push(Operation::new(Work::RoundTrip, "echo", bytes, move || {
            ask(&socket, &question)?;
            receive(&socket, bytes)
        }));
    }
    operations.push(greetings()?);

    for bytes in [1, LARGEST] {
        let (socket, question) = (socket()?, vec![b'x'; bytes]);
        let asking = socket.try_clone()?;
        let tell = move || ask(&asking, &question);
        let hear = move || receive(&socket, bytes);
        operations.push(Operation::notify(
            "ask, and hear the answer",
            bytes,
            tell,
            hear,
        ));
    }
    Ok(operations)
}

/// One that sends to the kernel, and takes what comes from there.
fn socket() -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, abi::PORT))?;
    Ok(socket)
}

fn ask(socket: &UdpSocket, question: &[u8]) -> anyhow::Result<()> {
    ensure!(socket.send(question)? == question.len(), "less was sent");
    Ok(())
}

fn receive(socket: &UdpSocket, bytes: usize) -> anyhow::Result<()> {
    let mut buffer = [0; LARGEST];
    let received = udp::receive(socket, &mut buffer, LIMIT)?;
    let len = received.context("no datagram came")?.len;
    ensure!(len == bytes, "{len} bytes came");
    Ok(())
}

/// The kernel speaks first, to whom it is told, ten times.
fn greetings() -> anyhow::Result<Operation<'static>> {
    let socket = socket()?;
    let greet = Debugfs::find()?.file(format!("{}/{}", abi::DIRECTORY, abi::GREET));
    let us = socket.local_addr()?.to_string();
    let bytes = GREETINGS * GREETING.len();
    let run = move || {
        greet.write(us.as_bytes())?;
        (0..GREETINGS).try_for_each(|_| receive(&socket, GREETING.len()))
    };
    Ok(Operation::new(Work::ToProgram, "10 greetings", bytes, run))
}
