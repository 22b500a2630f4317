// SPDX-License-Identifier: MIT OR Apache-2.0

//! What calls on a device cost, by how many bytes they move.

use std::io::SeekFrom;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{bail, ensure};
use callgate::chardev::{self, Device};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::{Operation, Work};
use crate::chardev::abi::{self, MESSAGE_CAPACITY, PIPE_CAPACITY};

/// Nobody waits longer than this for what is on its way.
const LIMIT: Duration = Duration::from_secs(30);

/// The HOWTO's message, read and written for itself; and today's pipe, from which only what went in comes out.
///
/// There is one of each for all. One thread at a time may use the pipe, and threads must read and write messages
/// of as many bytes.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let node = howto()?;
    let mut operations = vec![open()];
    for bytes in [1, 64, MESSAGE_CAPACITY - 1] {
        operations.push(write(&node, bytes)?);
        operations.push(read(&node, bytes)?);
    }
    operations.push(seek(&node)?);
    for bytes in [1, 64, 1024, PIPE_CAPACITY] {
        operations.push(through_the_pipe(bytes)?);
    }
    operations.push(poll()?);
    operations.push(notification()?);
    Ok(operations)
}

/// A node for the HOWTO's device. Another gate has one of the same name, to which nobody can write.
fn howto() -> anyhow::Result<String> {
    for major in chardev::majors(abi::DRIVER)? {
        let node = format!("{}_{major}", abi::HOWTO_NODE);
        chardev::make_node(&node, major, abi::HOWTO_MINOR, 0o600)?;
        if Device::open(&node)?.write(b"x").is_ok() {
            return Ok(node);
        }
        chardev::remove_node(&node)?;
    }
    bail!("there is no device {}", abi::DRIVER)
}

fn open() -> Operation<'static> {
    Operation::new(Work::Other, "open and close", 0, || {
        Device::open(abi::PIPE_NODE)?;
        Ok(())
    })
}

fn write(node: &str, bytes: usize) -> anyhow::Result<Operation<'static>> {
    let device = Device::open(node)?;
    let message = vec![b'x'; bytes];
    Ok(Operation::new(Work::ToKernel, "write", bytes, move || {
        ensure!(device.write(&message)? == bytes, "it took less");
        Ok(())
    }))
}

/// Reads what [`write()`] of as many bytes has left.
fn read(node: &str, bytes: usize) -> anyhow::Result<Operation<'static>> {
    let device = Rc::new(Device::open(node)?);
    let mut message = vec![0; bytes];
    let written = Rc::clone(&device);
    Ok(Operation::new(Work::ToProgram, "read", bytes, move || {
        ensure!(device.pread(&mut message, 0)? == bytes, "it gave less");
        Ok(())
    })
    .first(move || {
        written.write(&vec![b'x'; bytes])?;
        Ok(())
    }))
}

fn seek(node: &str) -> anyhow::Result<Operation<'static>> {
    let device = Device::open(node)?;
    Ok(Operation::new(Work::Other, "seek", 0, move || {
        device.seek(SeekFrom::End(0))?;
        Ok(())
    }))
}

fn through_the_pipe(bytes: usize) -> anyhow::Result<Operation<'static>> {
    let device = Device::open(abi::PIPE_NODE)?;
    let mut message = vec![b'x'; bytes];
    Ok(Operation::new(
        Work::RoundTrip,
        "write, then read",
        bytes,
        move || {
            ensure!(device.write(&message)? == bytes, "it took less");
            ensure!(device.read(&mut message)? == bytes, "it gave less");
            Ok(())
        },
    ))
}

fn poll() -> anyhow::Result<Operation<'static>> {
    let device = Device::open(abi::PIPE_NODE)?;
    Ok(Operation::new(Work::Other, "poll", 0, move || {
        let mut fds = [PollFd::new(&device, PollFlags::OUT)];
        ensure!(
            rustix::event::poll(&mut fds, Some(&Timespec::default()))? == 1,
            "there is no room"
        );
        Ok(())
    }))
}

/// One who has the device open writes a byte, and another waits for it and reads it.
fn notification() -> anyhow::Result<Operation<'static>> {
    let (writing, reading) = (Device::open(abi::PIPE_NODE)?, Device::open(abi::PIPE_NODE)?);
    let tell = move || {
        ensure!(writing.write(b"x")? == 1, "it took nothing");
        Ok(())
    };
    let hear = move || {
        ensure!(reading.wait_readable(LIMIT)?, "nothing came");
        ensure!(reading.read(&mut [0])? == 1, "it gave nothing");
        Ok(())
    };
    Ok(Operation::notify("hear of a byte", 1, tell, hear))
}
