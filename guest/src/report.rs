// SPDX-License-Identifier: MIT OR Apache-2.0

//! The line to the host.

use anyhow::{Context, Result};
use guest::Message;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

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
