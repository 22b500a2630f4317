// SPDX-License-Identifier: MIT OR Apache-2.0

//! Shared memory from user space: the HOWTO's page, then a channel through rings.

// new: begin
use std::time::Duration;

use anyhow::{Context, ensure};
use callgate::chardev::Device;
use callgate::crossing;
use callgate::debugfs::Debugfs;
use callgate::mmap::{self, Channel, Mapping, Rings};
use callgate::ring::{Layout, Words};

use super::abi;

/// Nobody waits longer than this for a message that is on its way.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the rings of the channel are.
pub const RINGS: Rings = Rings {
    len: abi::CHANNEL_PAGES * abi::PAGE_SIZE,
    to_kernel: layout(abi::TO_KERNEL),
    to_user: layout(abi::TO_USER),
};

const fn layout((control, data): (usize, usize)) -> Layout {
    Layout::new(control, data, abi::RING_WORDS, abi::MESSAGE_LIMIT)
}

/// Sends messages, and receives what comes back.
pub fn main() -> anyhow::Result<()> {
    // new: end
    howto()?;
    // new: begin
    channel()
}

// new: end
/// The program changes what the kernel wrote, in the same memory. Then the kernel is asked what it sees.
fn howto() -> anyhow::Result<()> {
    let file = Debugfs::find()?.root().join(abi::FILE);
    let file = Device::open(&file)?;
    let page = mmap::options().map(&file, abi::PAGE_SIZE)?;

    let message = text(&page);
    crossing::from_kernel(&format!("memory of {}", abi::FILE), &message);
    println!("initial message: {message}");

    // Bytes are in words: the one that is changed in part keeps the rest.
    let mut bytes = message.into_bytes();
    let answer = abi::ANSWER_OFFSET..abi::ANSWER_OFFSET + abi::ANSWER.len();
    bytes[answer].copy_from_slice(abi::ANSWER.as_bytes());
    crossing::to_kernel(&format!("memory of {}", abi::FILE), abi::ANSWER);
    page.copy_in(0, &bytes);
    println!("changed message: {}", text(&page));

    let mut seen = vec![0; abi::PAGE_SIZE];
    let len = file.pread(&mut seen, 0).context("cannot ask what the kernel sees")?;
    println!("the kernel sees: {}", String::from_utf8_lossy(&seen[..len]));
    ensure!(seen[..len] == bytes, "the kernel sees something else");
    Ok(())
}

/// The text in a page, up to a NUL.
fn text(page: &Mapping) -> String {
    let bytes = page.as_ref().bytes(0, abi::PAGE_SIZE);
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

// new: begin
/// What goes in by one ring comes back by the other. Only who sleeps is rung for.
fn channel() -> anyhow::Result<()> {
    let node = format!("/dev/{}", abi::CHANNEL);
    let mut channel = Channel::open(&node, RINGS)?;
    let mut buffer = [0; abi::MESSAGE_LIMIT];
    for message in ["hello ring", "here and back", "without a copy by the kernel's I/O path"] {
        crossing::to_kernel(&format!("ring of {node}"), message);
        channel.send(message.as_bytes(), LIMIT)?;
        let len = channel.receive(&mut buffer, LIMIT)?;
        crossing::from_kernel(&format!("ring of {node}"), &buffer[..len]);
        println!("message back: {}", String::from_utf8_lossy(&buffer[..len]));
    }
    Ok(())
}
// new: end
