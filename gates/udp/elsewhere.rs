// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the program does on another machine: the HOWTO's exchange.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{abi, bind, receive, send};

/// What is printed when nothing is missing but the greetings.
pub const WAITING: &str = "waiting to be greeted";

/// Talks to the module on the machine at `kernel`.
pub fn main(kernel: IpAddr) -> anyhow::Result<()> {
    let kernel = SocketAddr::new(kernel, abi::PORT);
    let socket = bind((Ipv4Addr::UNSPECIFIED, abi::PROGRAM_PORT).into())?;
    // From now on the socket takes what is from there, and nothing else.
    socket.connect(kernel)?;
    send(&socket, kernel, abi::MESSAGE)?;
    println!("message received: {}", receive(&socket)?);

    println!("{WAITING}");
    for _ in 0..abi::GREETINGS {
        println!("message received: {}", receive(&socket)?);
    }
    Ok(())
}
