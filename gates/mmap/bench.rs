// SPDX-License-Identifier: MIT OR Apache-2.0

//! What messages in rings cost, with a bell and without; and the HOWTO's page.

use std::time::Duration;

use anyhow::{anyhow, ensure};
use callgate::chardev::Device;
use callgate::debugfs::Debugfs;
use callgate::mmap::{self, Channel, Mapping};
use callgate::ring::{self, Consumer, Producer};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::{Operation, Work};
use crate::mmap::abi;
use crate::mmap::program::RINGS;

/// Nobody waits longer than this for a message that is on its way.
const LIMIT: Duration = Duration::from_secs(30);

/// Messages of several sizes, first in the program alone. Each operation has a channel of its own.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let node = format!("/dev/{}", abi::CHANNEL);
    let mut operations = Vec::new();
    for bytes in [16, 256] {
        let ends = Ends::new(&node, bytes)?;
        operations.push(Operation::new(
            Work::Other,
            "produce",
            bytes,
            ends.producing(),
        ));
        let ends = Ends::new(&node, bytes)?;
        operations.push(Operation::new(
            Work::Other,
            "consume",
            bytes,
            ends.consuming(),
        ));
    }
    for bytes in [1, 64, 1024, abi::MESSAGE_LIMIT] {
        let mut channel = Channel::open(&node, RINGS)?;
        let message = vec![7; bytes];
        let mut buffer = vec![0; abi::MESSAGE_LIMIT];
        operations.push(Operation::new(Work::RoundTrip, "echo", bytes, move || {
            channel.send(&message, LIMIT)?;
            let len = channel.receive(&mut buffer, LIMIT)?;
            ensure!(len == bytes, "{len} bytes came back");
            Ok(())
        }));
    }

    let (mut sender, mut receiver) = Channel::open(&node, RINGS)?.split();
    let (message, mut buffer) = ([7; 16], [0; 16]);
    let bytes = message.len();
    let tell = move || Ok(sender.send(&message, LIMIT)?);
    let hear = move || {
        let len = receiver.receive(&mut buffer, LIMIT)?;
        ensure!(len == bytes, "{len} bytes came back");
        Ok(())
    };
    operations.push(Operation::notify(
        "send, and hear the echo",
        bytes,
        tell,
        hear,
    ));

    let channel = Device::open(&node)?;
    operations.push(Operation::new(Work::Other, "poll", 0, move || {
        let mut fds = [PollFd::new(&channel, PollFlags::IN | PollFlags::OUT)];
        rustix::event::poll(&mut fds, Some(&Timespec::default()))?;
        let ready = fds[0].revents();
        ensure!(ready == PollFlags::OUT, "the channel is {ready:?}");
        Ok(())
    }));

    let page = Device::open(Debugfs::find()?.root().join(abi::FILE))?;
    let mut buffer = vec![0; abi::PAGE_SIZE];
    let bytes = abi::GREETING.len();
    operations.push(Operation::new(
        Work::ToProgram,
        "read the page",
        bytes,
        move || {
            let len = page.pread(&mut buffer, 0)?;
            ensure!(len == bytes, "{len} bytes");
            Ok(())
        },
    ));
    Ok(operations)
}

/// Both ends of a ring of which the kernel is told nothing.
struct Ends {
    producer: Producer<Mapping>,
    consumer: Consumer<Mapping>,
    message: Vec<u8>,
    buffer: Vec<u8>,
}

impl Ends {
    /// A full ring, so that its memory has been touched.
    fn new(node: &str, bytes: usize) -> anyhow::Result<Self> {
        let file = Device::open(node)?;
        let memory = || mmap::options().map(&file, RINGS.len);
        let mut ends = Self {
            producer: Producer::new(memory()?, RINGS.to_kernel),
            consumer: Consumer::new(memory()?, RINGS.to_kernel),
            message: vec![7; bytes],
            buffer: vec![0; abi::MESSAGE_LIMIT],
        };
        // It says that it sleeps. It may go on sleeping.
        let _ = ends.producer.must_ring();
        ends.fill()?;
        Ok(ends)
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        until(ring::Error::Full, || self.producer.push(&self.message))
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        until(ring::Error::Empty, || {
            self.consumer.pop(&mut self.buffer).map(drop)
        })
    }

    /// Puts in a message. The few times that there is no room, it makes room first.
    fn producing(mut self) -> impl FnMut() -> anyhow::Result<()> {
        move || {
            while let Err(error) = self.producer.push(&self.message) {
                ensure!(error == ring::Error::Full, "{error:?}");
                self.drain()?;
            }
            ensure!(!self.producer.must_ring(), "nobody sleeps");
            Ok(())
        }
    }

    /// Takes one out. The few times that there is none, it puts in some first.
    fn consuming(mut self) -> impl FnMut() -> anyhow::Result<()> {
        move || {
            while let Err(error) = self.consumer.pop(&mut self.buffer) {
                ensure!(error == ring::Error::Empty, "{error:?}");
                self.fill()?;
            }
            ensure!(!self.consumer.must_ring(), "nobody sleeps");
            Ok(())
        }
    }
}

/// Does something until it fails with this error.
fn until(
    end: ring::Error,
    mut step: impl FnMut() -> Result<(), ring::Error>,
) -> anyhow::Result<()> {
    loop {
        match step() {
            Ok(()) => {}
            Err(error) if error == end => return Ok(()),
            Err(error) => return Err(anyhow!("{error:?}")),
        }
    }
}
