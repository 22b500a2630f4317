// SPDX-License-Identifier: MIT OR Apache-2.0

//! A value that the kernel shows and takes as text, through a file of its own.
//!
//! The files of sysfs, configfs, debugfs and `/proc/sys`, and those of module parameters, are all of
//! this kind, whoever made them. They have rules in common that ordinary files do not have:
//!
//! - A read from the start is answered with the whole value, of this moment.
//! - A write(2) is the whole value too, wherever the file position is. A second write does not go on
//!   where the first one ended; so a value is written by one call, or not at all.
//! - They have no size to speak of: stat(2) shows a page, or nothing.
//!
//! # Not supported
//!
//! Values longer than what the kernel takes in one write, most often a page.

use std::any::type_name;
use std::fmt::Display;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::{self, Errno};

/// Why a value could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused.
    #[error("cannot {what} {}: {errno}; {}", .path.display(), hint(.what, *.errno))]
    Refused {
        /// What was tried: `open`, `read`, `write`, `wait for` or `list`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The kernel took only a part of the value, which is not what was meant.
    #[error("{} took {taken} of {len} bytes: write less, or look at what it holds now", .path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// How many bytes it took.
        taken: usize,
        /// How many there were.
        len: usize,
    },
    /// The text is not of the type asked for.
    #[error("{} holds {text:?}, which is no {expected}: read it as text", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// The type asked for.
        expected: &'static str,
    },
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Short { .. } | Self::Parse { .. } => None,
        }
    }

    pub(crate) fn refused(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Refused {
            what,
            path: path.to_owned(),
            errno,
        }
    }
}

fn hint(what: &str, errno: Errno) -> &'static str {
    match (what, errno) {
        (_, Errno::NOENT) => "load the module, and see whether the file system is mounted",
        (_, Errno::ACCESS | Errno::PERM) => {
            "its permissions keep you out: run as its owner or root"
        }
        (_, Errno::ROFS) => "the file system is mounted read-only: remount it",
        (_, Errno::NODEV) => "what it belonged to is gone: open it again",
        ("read" | "write", Errno::IO) => "it cannot do that, or what it belonged to is gone",
        ("write", Errno::INVAL) => "the kernel does not take this value: see what the file holds",
        ("write", Errno::RANGE) => "the number is out of range",
        _ => "see what documents this file",
    }
}

/// A file of this kind, by its path. Nothing is opened until it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    path: PathBuf,
}

impl Attribute {
    /// The attribute at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole value, as bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        // By read(2): not every such file has positions to read at.
        let file = self.open(OFlags::RDONLY)?;
        file.read_all(|part, _| io::read(&file.fd, part))
    }

    /// The whole value, as text without the newline at its end. What is no UTF-8 is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn text(&self) -> Result<String, Error> {
        Ok(text(&self.read()?))
    }

    /// The value as a `T`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Parse`] if it is no `T`.
    pub fn get<T: FromStr>(&self) -> Result<T, Error> {
        parse(&self.path, self.text()?)
    }

    /// Writes `value`, all of it by one write(2).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Short`].
    pub fn write(&self, value: &[u8]) -> Result<(), Error> {
        let file = self.open(OFlags::WRONLY)?;
        file.write_all(value, |value| io::write(&file.fd, value))
    }

    /// Writes `value` as text, with a newline at its end, as echo(1) does.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn set(&self, value: impl Display) -> Result<(), Error> {
        self.write(format!("{value}\n").as_bytes())
    }

    /// Opens it: to read more than once, or to wait.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/open.2.html)
    pub fn open(&self, flags: OFlags) -> Result<Open, Error> {
        let fd = rustix::fs::open(&self.path, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::refused("open", &self.path))?;
        Ok(Open {
            fd,
            path: self.path.clone(),
        })
    }
}

/// An open attribute.
#[derive(Debug)]
pub struct Open {
    fd: OwnedFd,
    path: PathBuf,
}

impl Open {
    /// The whole value, of this moment, wherever the file position is.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with [`Errno::NODEV`] or the like if the attribute has gone, and with
    /// [`Errno::SPIPE`] if it can only be read once for each open, as the numbers of debugfs.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/pread.2.html)
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        self.read_all(|part, offset| io::pread(&self.fd, part, offset))
    }

    fn read_all(
        &self,
        mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    ) -> Result<Vec<u8>, Error> {
        let mut value = Vec::new();
        let mut part = [0; 4096];
        loop {
            let len = io::retry_on_intr(|| read(&mut part, value.len() as u64))
                .map_err(Error::refused("read", &self.path))?;
            if len == 0 {
                return Ok(value);
            }
            value.extend_from_slice(&part[..len]);
        }
    }

    /// The value as a `T`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Parse`] if it is no `T`.
    pub fn get<T: FromStr>(&self) -> Result<T, Error> {
        parse(&self.path, text(&self.read()?))
    }

    /// Writes `value`, all of it by one write(2).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Short`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/pwrite.2.html)
    pub fn write(&self, value: &[u8]) -> Result<(), Error> {
        self.write_all(value, |value| io::pwrite(&self.fd, value, 0))
    }

    fn write_all(
        &self,
        value: &[u8],
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Result<(), Error> {
        // Not again on EINTR: it may be the driver's own answer, and would be so for ever.
        let taken = write(value).map_err(Error::refused("write", &self.path))?;
        if taken != value.len() {
            return Err(Error::Short {
                path: self.path.clone(),
                taken,
                len: value.len(),
            });
        }
        Ok(())
    }

    /// Waits until the kernel says that the value has changed since it was last read on this open
    /// file; `false` if it did not within `limit`. To miss nothing: open, [`read`](Self::read), wait,
    /// read again, and so on.
    ///
    /// Only some attributes say so, those for which the kernel calls `sysfs_notify()` or its like. One
    /// that cannot be waited for is always changed, or never.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/poll.2.html)
    pub fn wait_for_change(&self, limit: Duration) -> Result<bool, Error> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Fails for limits beyond the end of time, which is as good as none.
            let left = Timespec::try_from(left).ok();
            let mut fds = [PollFd::new(&self.fd, PollFlags::PRI)];
            match rustix::event::poll(&mut fds, left.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::refused("wait for", &self.path)(errno)),
            }
        }
    }
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The names in the directory `path`, sorted.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn list(path: impl AsRef<Path>) -> Result<Vec<String>, Error> {
    let path = path.as_ref();
    let names = || -> std::io::Result<Vec<String>> {
        let mut names = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    names().map_err(|error| {
        Error::refused("list", path)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })
}

pub(crate) fn text(value: &[u8]) -> String {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    String::from_utf8_lossy(value).into_owned()
}

pub(crate) fn parse<T: FromStr>(path: &Path, text: String) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Parse {
        path: path.to_owned(),
        text,
        expected: type_name::<T>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_running_kernel_is_read_and_parsed() {
        let highest = Attribute::at("/proc/sys/kernel/pid_max");
        let value: u32 = highest.get().unwrap();
        assert_eq!(highest.text().unwrap(), value.to_string());
        assert_eq!(highest.read().unwrap(), format!("{value}\n").as_bytes());
        let open = highest.open(OFlags::RDONLY).unwrap();
        assert_eq!(open.get::<u32>().unwrap(), value);
        assert_eq!(open.get::<u32>().unwrap(), value);
    }

    #[test]
    fn errors_keep_the_errno_and_say_what_to_do() {
        let error = Attribute::at("/proc/sys/kernel/no_such")
            .read()
            .unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert_eq!(
            error.to_string(),
            "cannot open /proc/sys/kernel/no_such: No such file or directory (os error 2); load the \
             module, and see whether the file system is mounted"
        );
        let error = Attribute::at("/proc/sys/kernel/ostype")
            .get::<u8>()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc/sys/kernel/ostype holds \"Linux\", which is no u8: read it as text"
        );
        assert_eq!(
            list("/proc/no_such").unwrap_err().errno(),
            Some(Errno::NOENT)
        );
    }

    #[test]
    fn a_directory_is_listed_in_order() {
        let names = list("/proc/sys").unwrap();
        assert!(names.is_sorted());
        assert!(names.iter().any(|name| name == "kernel"));
    }
}
