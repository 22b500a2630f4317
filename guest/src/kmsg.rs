// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel log, as `/dev/kmsg` gives it: read record by record, and written to, so that what
//! user space does stands in the log in the order in which it happened.
//!
//! The record format is in the kernel's `Documentation/ABI/testing/dev-kmsg`.

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::{Errno, read, write};
use std::os::fd::OwnedFd;

/// The file.
pub const PATH: &str = "/dev/kmsg";

/// Says `line` in the kernel log.
pub fn say(line: &str) {
    // There is nobody to tell if even this fails.
    let _ = open(PATH, OFlags::WRONLY, Mode::empty())
        .and_then(|log| write(log, format!("<14>{line}").as_bytes()));
}

/// Says what happens next, for the host to attribute complaints to.
pub fn mark(what: &str) {
    say(&format!("{}{what}", guest::MARK));
}

/// Who wrote a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel.
    Kernel,
    /// User space, through `/dev/kmsg`.
    User,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who wrote it.
    pub origin: Origin,
    /// Its text, with the log's `\xNN` escapes undone.
    pub text: String,
}

/// Reads the records written from its making on.
pub struct Reader(OwnedFd);

impl Reader {
    /// Starts behind the newest record.
    pub fn from_now() -> Result<Self> {
        let log = open(PATH, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
            .with_context(|| format!("opening {PATH}"))?;
        seek(&log, SeekFrom::End(0)).with_context(|| format!("seeking in {PATH}"))?;
        Ok(Self(log))
    }

    /// Every record there is by now.
    pub fn drain(&mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            match read(&self.0, &mut buffer) {
                Ok(length) => records.extend(parse(&String::from_utf8_lossy(&buffer[..length]))),
                Err(Errno::AGAIN) => return Ok(records),
                // Records were overwritten before they were read; the next read goes on behind.
                Err(Errno::PIPE | Errno::INTR) => {}
                Err(error) => return Err(error).with_context(|| format!("reading {PATH}")),
            }
        }
    }
}

fn parse(record: &str) -> Option<Record> {
    let (head, body) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    let origin = if priority >> 3 == 0 {
        Origin::Kernel
    } else {
        Origin::User
    };
    // Continuation lines (" KEY=value") describe the device the record is about.
    let text = unescape(body.lines().next().unwrap_or_default());
    Some(Record { origin, text })
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        match rest
            .get(at + 2..at + 4)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
        {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[at + 4..];
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = &rest[at + 2..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
