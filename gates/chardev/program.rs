// SPDX-License-Identifier: MIT OR Apache-2.0

//! A character device from user space: first as the HOWTO has it, then as it is done today.

// new: begin
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use callgate::chardev::{self, Device};
use callgate::crossing;

use super::abi;

/// Nobody waits longer than this for a byte that has been written already.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    // new: end
    howto()?;
    // new: begin
    pipe()
}

// new: end
/// The HOWTO's driver has a number but no node. Who wants to talk to it looks the number up, makes
/// the node, and from there on it is a file: write a message, read it back.
fn howto() -> anyhow::Result<()> {
    let major = chardev::major(abi::DRIVER)?;
    chardev::make_node(abi::HOWTO_NODE, major, abi::HOWTO_MINOR, 0o600)?;

    let device = Device::open(abi::HOWTO_NODE)?;
    send(&device, abi::HOWTO_NODE, b"hello world")?;
    let message = receive(&device, abi::HOWTO_NODE)?;
    println!("message: {}", String::from_utf8_lossy(&message));

    drop(device);
    chardev::remove_node(abi::HOWTO_NODE)?;
    Ok(())
}

// new: begin
/// The pipe brings its own node, and lets a program wait: for a byte to read, or, while it does
/// something else, for the news that there is one.
fn pipe() -> anyhow::Result<()> {
    let node = abi::PIPE_NODE;
    let device = Device::open(node)?;
    let ready = device.wait_readable(Duration::ZERO)?;
    println!("poll: {}", if ready { "something to read" } else { "nothing to read yet" });

    println!("a reader waits, a writer writes");
    let message = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            thread::sleep(Duration::from_millis(100)); // so that the reader really has to wait
            send(&device, node, b"good morning")
        });
        let message = receive(&device, node)?;
        writer.join().expect("the writer does not panic")?;
        anyhow::Ok(message)
    })?;
    println!("the reader woke up: {}", String::from_utf8_lossy(&message));

    send(&device, node, b"and good night")?;
    ensure!(device.wait_readable(LIMIT)?, "nothing came within {LIMIT:?}");
    println!("poll: something to read");
    let message = receive(&device, node)?;
    println!("read without waiting: {}", String::from_utf8_lossy(&message));
    Ok(())
}

/// Writes `message`, and says so in the trace.
fn send(device: &Device, node: &str, message: &[u8]) -> anyhow::Result<()> {
    crossing::to_kernel(&format!("write(2) {node}"), message);
    let written = device.write(message).with_context(|| format!("cannot write to {node}"))?;
    ensure!(written == message.len(), "{node} took {written} of {} bytes", message.len());
    Ok(())
}

/// Reads what is there, and says so in the trace.
fn receive(device: &Device, node: &str) -> anyhow::Result<Vec<u8>> {
    let mut message = vec![0; abi::PIPE_CAPACITY];
    let len = device.read(&mut message).with_context(|| format!("cannot read from {node}"))?;
    message.truncate(len);
    crossing::from_kernel(&format!("read(2) {node}"), &message);
    Ok(message)
}
// new: end
