// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's log, from now on.
//!
//! # Not supported
//!
//! Levels, sequence numbers, time stamps, and the dictionary that the kernel may add to a record; a
//! [`Record`] is its text and who wrote it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

/// Who wrote a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel.
    Kernel,
    /// User space, by writing to `/dev/kmsg`.
    User,
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who wrote it.
    pub origin: Origin,
    /// What it says, without its newline.
    pub text: String,
}

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

    /// The next record, `None` if none came within `limit`.
    ///
    /// Records that were overwritten before they could be read are passed over.
    ///
    /// # Errors
    ///
    /// What reading `/dev/kmsg` or waiting for it fails with.
    pub fn next(&mut self, limit: Duration) -> Result<Option<Record>, Errno> {
        let end = Instant::now() + limit;
        let mut record = [0; 8192];
        loop {
            match rustix::io::read(&self.fd, &mut record) {
                Ok(len) => return Ok(Some(parse(&String::from_utf8_lossy(&record[..len])))),
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
            if record.text.contains(text) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Takes a record apart: `PRIORITY,…;TEXT` and further lines that describe the device it is about.
///
/// The priority is `FACILITY << 3 | LEVEL`, as for syslog(3); facility 0 is the kernel.
fn parse(record: &str) -> Record {
    let (head, body) = record.split_once(';').unwrap_or(("", record));
    let priority = head.split(',').next().unwrap_or_default();
    let kernel = priority
        .parse()
        .is_ok_and(|priority: u32| priority >> 3 == 0);
    Record {
        origin: if kernel { Origin::Kernel } else { Origin::User },
        text: unescape(body.split('\n').next().unwrap_or(body)),
    }
}

/// Undoes the kernel's `\xNN` for bytes that are not printable ASCII.
fn unescape(line: &str) -> String {
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
    use super::{Origin, parse};

    fn text(record: &str) -> String {
        parse(record).text
    }

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
    #[test]
    fn a_record_tells_who_wrote_it() {
        assert_eq!(parse("6,1,0,-;a").origin, Origin::Kernel);
        assert_eq!(parse("14,1,0,-;a").origin, Origin::User);
        assert_eq!(parse("no header").origin, Origin::User);
    }
}
