// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's log, from now on.
//!
//! # Not supported
//!
//! Continuation lines and the dictionary that the kernel may add to a record; a record here is its
//! text.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

/// The log of the kernel, read through `/dev/kmsg`.
#[derive(Debug)]
pub struct Log {
    fd: OwnedFd,
}

impl Log {
    /// The log from the next record on.
    ///
    /// # Errors
    ///
    /// [`Errno::NOENT`] without `/dev/kmsg`; [`Errno::PERM`] without `CAP_SYSLOG` where
    /// `kernel.dmesg_restrict` is set.
    ///
    /// # References
    ///  - [Linux](https://www.kernel.org/doc/Documentation/ABI/testing/dev-kmsg)
    pub fn from_now() -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/kmsg", flags, Mode::empty())?;
        rustix::fs::seek(&fd, SeekFrom::End(0))?;
        Ok(Self { fd })
    }

    /// The text of the next record, `None` if none came within `limit`.
    ///
    /// Records that were overwritten before they could be read are passed over.
    ///
    /// # Errors
    ///
    /// What reading `/dev/kmsg` or waiting for it fails with.
    pub fn next(&mut self, limit: Duration) -> Result<Option<String>, Errno> {
        let end = Instant::now() + limit;
        let mut record = [0; 8192];
        loop {
            match rustix::io::read(&self.fd, &mut record) {
                Ok(len) => return Ok(Some(text(&String::from_utf8_lossy(&record[..len])))),
                Err(Errno::PIPE | Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(errno) => return Err(errno),
            }
            let left = end.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match rustix::event::poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) => return Ok(None),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Reads on until a record contains `text`; `false` if none came within `limit`.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<bool, Errno> {
        let end = Instant::now() + limit;
        while let Some(record) = self.next(end.saturating_duration_since(Instant::now()))? {
            if record.contains(text) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The text of a record: what stands between the first `;` and the end of the line, with the
/// kernel's `\xNN` for bytes that are not printable ASCII undone.
fn text(record: &str) -> String {
    let line = record.split_once(';').map_or(record, |(_, rest)| rest);
    let line = line.split('\n').next().unwrap_or(line);
    let mut parts = line.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(b"\\x"),
        }
        let rest = if byte.is_some() { &part[2..] } else { part };
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_record_is_reduced_to_its_text() {
        assert_eq!(text("6,339,5140900,-;NET: a; b\n"), "NET: a; b");
        assert_eq!(
            text("4,1,0,-;usb 1-1: new\n SUBSYSTEM=usb\n DEVICE=c189:1\n"),
            "usb 1-1: new"
        );
        assert_eq!(text("no header"), "no header");
        assert_eq!(
            text(r"4,1,0,-;tab\x09gru\xc3\x9f\x5cend"),
            "tab\tgru\u{df}\\end"
        );
        assert_eq!(text(r"4,1,0,-;not \xyz \x1"), r"not \xyz \x1");
    }
}
