// SPDX-License-Identifier: MIT OR Apache-2.0

//! What `/proc` tells about this process' files and threads.

use std::fs;
use std::io::Result;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// A system call a thread can sleep in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// read(2)
    Read,
    /// readv(2)
    Readv,
    /// write(2)
    Write,
    /// writev(2)
    Writev,
    /// ioctl(2)
    Ioctl,
    /// poll(2) or ppoll(2)
    Poll,
    /// `epoll_wait(2)` and its kin
    EpollWait,
}

impl Call {
    fn numbers(self) -> &'static [i64] {
        match self {
            Self::Read => &[libc::SYS_read],
            Self::Readv => &[libc::SYS_readv],
            Self::Write => &[libc::SYS_write],
            Self::Writev => &[libc::SYS_writev],
            Self::Ioctl => &[libc::SYS_ioctl],
            Self::Poll => &[libc::SYS_poll, libc::SYS_ppoll],
            Self::EpollWait => &[
                libc::SYS_epoll_wait,
                libc::SYS_epoll_pwait,
                libc::SYS_epoll_pwait2,
            ],
        }
    }
}

/// The value of `field` in what the kernel and the driver tell about the open file `fd`, `None` if
/// they do not tell it.
///
/// # Errors
///
/// What reading `/proc/self/fdinfo` fails with.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man5/proc_pid_fdinfo.5.html)
pub fn fdinfo(fd: impl AsFd, field: &str) -> Result<Option<String>> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))?;
    Ok(value(&info, field).map(str::to_owned))
}

/// The value of `field` in lines of the form `field:\tvalue`.
fn value<'a>(info: &'a str, field: &str) -> Option<&'a str> {
    info.lines()
        .filter_map(|line| line.split_once(":\t"))
        .find(|(name, _)| *name == field)
        .map(|(_, value)| value)
}

/// Waits until `thread`, of this or another process, sleeps in `call`; `false` if it did not within
/// `limit`, or is gone.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man5/proc_pid_syscall.5.html)
pub fn wait_until_asleep_in(thread: Pid, call: Call, limit: Duration) -> bool {
    let path = format!("/proc/{}/syscall", thread.as_raw_nonzero());
    let end = Instant::now() + limit;
    loop {
        // "running", or the call's number first, or "-1" if asleep outside of any call.
        let Ok(state) = fs::read_to_string(&path) else {
            return false;
        };
        let number = state
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok());
        if number.is_some_and(|number| call.numbers().contains(&number)) {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info = "pos:\t7\nflags:\t0100002\ncallgate_read:\t12\n";
        assert_eq!(value(info, "pos"), Some("7"));
        assert_eq!(value(info, "callgate_read"), Some("12"));
        assert_eq!(value(info, "read"), None);
    }

    #[test]
    fn the_kernels_own_fields_are_there() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(fdinfo(&reader, "pos").unwrap().as_deref(), Some("0"));
        assert_eq!(fdinfo(&reader, "callgate_read").unwrap(), None);
    }

    #[test]
    fn a_thread_is_seen_asleep_in_its_call() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            reader.read(&mut [0]).unwrap()
        });
        let tid = told.recv().unwrap();
        assert!(wait_until_asleep_in(
            tid,
            Call::Read,
            Duration::from_secs(10)
        ));
        assert!(!wait_until_asleep_in(
            tid,
            Call::Write,
            Duration::from_millis(5)
        ));
        writer.write_all(b"x").unwrap();
        assert_eq!(thread.join().unwrap(), 1);
    }
}
