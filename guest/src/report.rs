// SPDX-License-Identifier: MIT OR Apache-2.0

//! The line to the host.

use crate::kmsg;
use anyhow::{Context, Result};
use guest::{Message, Turn};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The virtio-serial port that the host listens on. It can be read when the host has something to say.
pub struct Report(File);

impl Report {
    /// Finds the port by its name, as udev(7) would.
    pub fn open() -> Result<Self> {
        for entry in std::fs::read_dir("/sys/class/virtio-ports").context("no virtio-serial bus")? {
            let entry = entry?;
            let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim() == guest::PORT {
                let node = std::path::Path::new("/dev").join(entry.file_name());
                let port = OpenOptions::new().read(true).write(true).open(&node);
                return Ok(Self(
                    port.with_context(|| format!("opening {}", node.display()))?,
                ));
            }
        }
        anyhow::bail!("the host gave the VM no port called {}", guest::PORT)
    }

    /// Sends one message.
    pub fn send(&mut self, message: &Message) -> Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.send_raw(&line)
    }

    /// Tells of a gate's turn, from its beginning to its end. Returns what `work` does: whether all went well. It
    /// does not if there is an error, of which the host is told.
    pub fn turn(
        &mut self,
        turn: &Turn,
        work: impl FnOnce(&mut Self) -> Result<bool>,
    ) -> Result<bool> {
        let gate = &turn.name;
        self.send(&Message::GateBegins { gate: gate.clone() })?;
        kmsg::mark(gate);
        let start = Instant::now();
        let outcome = work(self);
        let passed = *outcome.as_ref().unwrap_or(&false);
        self.send(&Message::GateEnds {
            gate: gate.clone(),
            error: outcome.err().map(|error| format!("{error:#}")),
            millis: millis(start.elapsed()),
        })?;
        Ok(passed)
    }

    /// Sends bytes that need not be a message.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).context("reporting to the host")
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A duration in whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
