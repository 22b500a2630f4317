// SPDX-License-Identifier: MIT OR Apache-2.0

//! Greets the kernel by a protocol of its own, and shows how few of those there are.

// new: begin
use anyhow::{Context as _, bail};
use callgate::Errno;
use callgate::crossing;
use callgate::netlink::{Attributes, LIMIT, Socket};

use super::abi::{self, kind};

/// What is said to the kernel.
const GREETING: &str = "hello from userspace";

/// Sends, receives, and listens.
pub fn main() -> anyhow::Result<()> {
    let protocol = i32::try_from(abi::PROTOCOL)?;
    let mut socket = Socket::new(protocol, 0)?;
    exchange(&mut socket)?;
    group(&mut socket, protocol)?;
    // new: end
    limit()?;
    // new: begin
    Ok(())
}

/// A message, and the answer to it.
fn exchange(socket: &mut Socket) -> anyhow::Result<()> {
    crossing::to_kernel("ECHO", GREETING);
    let message = Attributes::new().string(abi::MSG, GREETING);
    let replies = socket.request(kind::ECHO, message.as_bytes())?;
    let reply = replies.first().context("no reply came")?;
    let attributes = Attributes::from_bytes(&*reply.payload);
    let answer = attributes.get_string(abi::MSG)?;
    crossing::from_kernel("ECHO", answer);
    println!("message received: {answer}");
    Ok(())
}

/// A message to all who listen.
fn group(socket: &mut Socket, protocol: i32) -> anyhow::Result<()> {
    let mut listener = Socket::new(protocol, 0)?;
    listener.join(abi::GROUP)?;
    let message = Attributes::new().string(abi::MSG, "hello all");
    crossing::to_kernel("SAY", "hello all");
    socket.request(kind::SAY, message.as_bytes())?;
    let heard = listener.receive_within(LIMIT)?.context("no message came")?;
    let heard = Attributes::from_bytes(heard.payload);
    let text = heard.get_string(abi::MSG)?;
    crossing::from_kernel("group 1", text);
    println!("heard: {text}");
    Ok(())
}

// new: end
/// Which protocols there are, up to the first number that there cannot be.
fn limit() -> anyhow::Result<()> {
    let mut served = Vec::new();
    for protocol in 0..abi::PROTOCOLS {
        match Socket::new(i32::try_from(protocol)?, 0) {
            Ok(_) => served.push(protocol.to_string()),
            Err(error) if error.errno() == Some(Errno::PROTONOSUPPORT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    println!("{} of {} protocols are served here: {}", served.len(), abi::PROTOCOLS, served.join(" "));
    match Socket::new(i32::try_from(abi::PROTOCOLS)?, 0) {
        Ok(_) => bail!("there are more than {} protocols", abi::PROTOCOLS),
        Err(error) => println!("protocol {}: {error}", abi::PROTOCOLS),
    }
    Ok(())
}
