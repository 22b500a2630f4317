// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the genl gate.

use anyhow::Result;
use callgate::genl::Client;

use super::{Peer, Surface};
use crate::genl::abi::{self, command, kind};

/// The protocol of generic netlink.
const GENERIC: u32 = 16;

/// Everything.
pub fn surface() -> Result<Surface> {
    let name = abi::FAMILY.to_str()?;
    let family = Client::new()?.family(name)?;
    let commands = [
        command::ECHO,
        command::ADD,
        command::REMOVE,
        command::GET,
        command::KINDS,
    ];
    let headers = commands.map(|command| [command, abi::VERSION, 0, 0]);
    Ok(Surface::default()
        .peer(Peer::Netlink(GENERIC))
        .kinds(&[family.id])
        .headers(headers)
        .attributes(1..=kind::NEST)
        .words([b"a text\0"]))
}
