// SPDX-License-Identifier: MIT OR Apache-2.0

//! A port of the kernel from user space: the HOWTO's exchange, and what it leaves out.

// new: begin
use std::env;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use callgate::debugfs::Debugfs;
use callgate::testing::elsewhere::{Elsewhere, THERE};
use callgate::testing::namespace;
use callgate::{crossing, udp};

use super::abi;

// new: end
#[path = "elsewhere.rs"]
mod elsewhere;

// new: begin
/// A datagram that has not come by then is lost.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks the kernel, and is greeted by it.
// new: end
///
/// On another machine, with the address of the module's as its argument, what is done from there.
// new: begin
pub fn main() -> anyhow::Result<()> {
    // new: end
    if let Some(address) = env::args().nth(2) {
        return elsewhere::main(address.parse().context("an address is all it takes")?);
    }
    // new: begin
    // Whoever starts a machine does that, as a rule.
    namespace::bring_up("lo").context("cannot bring up the loopback interface")?;
    hello()?;
    other_addresses()?;
    // new: end
    if let Some(other) = Elsewhere::find()? {
        from_elsewhere(&other)?;
    }
    // new: begin
    Ok(())
}

/// The program says hello, and hears it again. Then the kernel speaks first.
fn hello() -> anyhow::Result<()> {
    let socket = bind((Ipv4Addr::LOCALHOST, abi::PROGRAM_PORT).into())?;
    send(&socket, (Ipv4Addr::LOCALHOST, abi::PORT).into(), abi::MESSAGE)?;
    println!("message received: {}", receive(&socket)?);

    greet(socket.local_addr()?)?;
    for _ in 0..abi::GREETINGS {
        println!("message received: {}", receive(&socket)?);
    }
    Ok(())
}

/// The same by IPv6; and at another address of this machine, from which the answer has to come as well,
/// as a connected socket takes none from anywhere else.
fn other_addresses() -> anyhow::Result<()> {
    let socket = bind((Ipv6Addr::LOCALHOST, 0).into())?;
    send(&socket, (Ipv6Addr::LOCALHOST, abi::PORT).into(), b"good morning")?;
    println!("message received: {}", receive(&socket)?);

    let socket = bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let kernel = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), abi::PORT));
    socket.connect(kernel)?;
    send(&socket, kernel, b"good night")?;
    println!("message received: {}", receive(&socket)?);
    Ok(())
}

// new: end
/// The HOWTO's exchange again, by a program on another machine. What that prints is printed here.
fn from_elsewhere(other: &Elsewhere) -> anyhow::Result<()> {
    println!("on another machine:");
    other.run("udp", |line| {
        println!("{line}");
        if line == elsewhere::WAITING {
            greet((THERE, abi::PROGRAM_PORT).into()).map_err(io::Error::other)?;
        }
        Ok(())
    })?;
    Ok(())
}

// new: begin
fn bind(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    UdpSocket::bind(address).with_context(|| format!("cannot bind a socket to {address}"))
}

/// Has the kernel greet whoever listens at `address`.
fn greet(address: SocketAddr) -> anyhow::Result<()> {
    let address = address.to_string();
    let file = Debugfs::find()?.file(format!("{}/{}", abi::DIRECTORY, abi::GREET));
    crossing::to_kernel(&format!("write(2) {}", file.path().display()), &address);
    Ok(file.write(address.as_bytes())?)
}

/// Sends a datagram, and says so in the trace.
fn send(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) -> anyhow::Result<()> {
    crossing::to_kernel(&format!("sendto(2) {to}"), bytes);
    let sent = socket.send_to(bytes, to).with_context(|| format!("cannot send to {to}"))?;
    ensure!(sent == bytes.len(), "{sent} of {} bytes were sent", bytes.len());
    Ok(())
}

/// Receives a datagram, and says so in the trace. What comes before a NUL is its text.
fn receive(socket: &UdpSocket) -> anyhow::Result<String> {
    let mut buffer = [0; abi::LARGEST];
    let received = udp::receive(socket, &mut buffer, LIMIT)?;
    let received = received.with_context(|| format!("nothing came within {LIMIT:?}"))?;
    let bytes = &buffer[..received.len.min(buffer.len())];
    crossing::from_kernel(&format!("recvfrom(2) {}", received.from), bytes);
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}
// new: end
