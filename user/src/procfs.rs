// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files in `/proc`: found where procfs is mounted, read whole or record by record, and written.
//!
//! Some of them hold one value, some a table with a line for each record, and a few have no end. What
//! they have in common with a file on a disk is less than it seems:
//!
//! - stat(2) says that they are empty. One learns how long a file is by reading it.
//! - What a write means is between the writer and whoever made the file. Often a write(2) is one
//!   command, and must not be cut in two; whether the position matters differs.
//! - They do not keep the module that made them. When it is unloaded, a file that is open stays so, and
//!   every read and write of it fails with [`Errno::IO`].
//!
//! An open file here is a [`Device`]: what one does with either is the same, one system call at a time.
//! The files below `/proc/sys` hold single values: for these see [`attribute`].
//!
//! # Not supported
//!
//! The directories of processes: what is in them is there already, in the crate `procfs` for one.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Mode, OFlags};
use rustix::io::{self, Errno};

pub use crate::attribute::Error;
use crate::attribute::{self, parse, text};
use crate::chardev::Device;
use crate::mounts::{self, FileSystem};

/// A mounted procfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proc {
    root: PathBuf,
}

impl Proc {
    /// The one in `/proc`, or where else procfs is mounted.
    ///
    /// # Errors
    ///
    /// [`mounts::Error`].
    pub fn find() -> Result<Self, mounts::Error> {
        FileSystem::Proc.find().map(Self::at)
    }

    /// The one that is mounted at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The file or directory `name`, such as `example/first`.
    pub fn entry(&self, name: impl AsRef<Path>) -> Entry {
        Entry {
            path: self.root.join(name),
        }
    }
}

/// A file or directory in a procfs, by its path. Nothing is opened until it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    path: PathBuf,
}

impl Entry {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in this directory, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn list(&self) -> Result<Vec<String>, Error> {
        attribute::list(&self.path)
    }

    /// All that this file holds. One that has no end must be read by [`records`](Self::records), or
    /// [opened](Self::open).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let file = self.open(OFlags::RDONLY)?;
        let mut value = Vec::new();
        let mut part = vec![0; 1 << 16];
        loop {
            match io::retry_on_intr(|| file.read(&mut part)) {
                Ok(0) => return Ok(value),
                Ok(len) => value.extend_from_slice(&part[..len]),
                Err(errno) => return Err(Error::refused("read", &self.path)(errno)),
            }
        }
    }

    /// All that this file holds, as text without the newline at its end. What is no UTF-8 is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn text(&self) -> Result<String, Error> {
        Ok(text(&self.read()?))
    }

    /// What this file holds as a `T`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Parse`] if it is no `T`.
    pub fn get<T: FromStr>(&self) -> Result<T, Error> {
        parse(&self.path, self.text()?)
    }

    /// The lines of this file one after the other, each as a `T`, read as they are asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn records<T: FromStr>(&self) -> Result<Records<T>, Error> {
        let file = File::from(OwnedFd::from(self.open(OFlags::RDONLY)?));
        Ok(Records {
            lines: BufReader::new(file),
            path: self.path.clone(),
            kind: PhantomData,
        })
    }

    /// Writes `bytes`, all of them by one write(2), in place of what the file held, if it holds
    /// anything (`O_TRUNC`, as a shell's `>` has it).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Short`].
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let file = self.open(OFlags::WRONLY | OFlags::TRUNC)?;
        match io::retry_on_intr(|| file.write(bytes)) {
            Ok(taken) if taken == bytes.len() => Ok(()),
            Ok(taken) => Err(Error::Short {
                path: self.path.clone(),
                taken,
                len: bytes.len(),
            }),
            Err(errno) => Err(Error::refused("write", &self.path)(errno)),
        }
    }

    /// Opens this file. The descriptor is not handed on to programs this one starts.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with [`Errno::NOENT`] also if the file goes in this very moment.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/open.2.html)
    pub fn open(&self, flags: OFlags) -> Result<Device, Error> {
        let open = || rustix::fs::open(&self.path, flags | OFlags::CLOEXEC, Mode::empty());
        match io::retry_on_intr(open) {
            Ok(fd) => Ok(Device::from(fd)),
            Err(errno) => Err(Error::refused("open", &self.path)(errno)),
        }
    }
}

/// The lines of a file, each as a `T`. After an error it can go on with the next line.
#[derive(Debug)]
pub struct Records<T> {
    lines: BufReader<File>,
    path: PathBuf,
    kind: PhantomData<fn() -> T>,
}

impl<T: FromStr> Iterator for Records<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.lines.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(parse(&self.path, text(&line))),
            Err(error) => {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                Some(Err(Error::refused("read", &self.path)(errno)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of `/proc/swaps`, `/proc/partitions` and the like, taken apart.
    #[derive(Debug, PartialEq)]
    struct Words(Vec<String>);

    impl FromStr for Words {
        type Err = std::convert::Infallible;

        fn from_str(line: &str) -> Result<Self, Self::Err> {
            Ok(Self(line.split_whitespace().map(str::to_owned).collect()))
        }
    }

    #[test]
    fn a_file_of_the_kernels_own_is_read_whole_and_as_a_value() {
        let proc = Proc::find().unwrap();
        assert_eq!(proc, Proc::at("/proc"));
        let version = proc.entry("version");
        assert!(version.text().unwrap().starts_with("Linux version "));
        assert_eq!(
            version.read().unwrap(),
            format!("{}\n", version.text().unwrap()).as_bytes()
        );
        assert!(proc.entry("sys/kernel/pid_max").get::<u32>().unwrap() > 300);
    }

    #[test]
    fn the_records_of_a_table_come_one_by_one() {
        let proc = Proc::find().unwrap();
        let table = proc.entry("swaps");
        let head: Words = table.records().unwrap().next().unwrap().unwrap();
        assert_eq!(
            head,
            Words(
                ["Filename", "Type", "Size", "Used", "Priority"]
                    .map(str::to_owned)
                    .into()
            )
        );
        let lines = table.records::<String>().unwrap().count();
        assert_eq!(lines, table.text().unwrap().lines().count());
    }

    #[test]
    fn a_record_that_is_something_else_does_not_end_the_table() {
        let proc = Proc::find().unwrap();
        let results: Vec<_> = proc.entry("filesystems").records::<u8>().unwrap().collect();
        assert!(results.len() > 1);
        assert!(
            results
                .iter()
                .all(|result| matches!(result, Err(Error::Parse { .. })))
        );
    }

    #[test]
    fn a_directory_is_listed_and_what_is_missing_is_told() {
        let proc = Proc::find().unwrap();
        let names = proc.entry("sys").list().unwrap();
        assert!(names.contains(&"kernel".to_owned()));
        let missing = proc.entry("callgate/no/such");
        assert_eq!(missing.path(), Path::new("/proc/callgate/no/such"));
        for error in [
            missing.list().unwrap_err(),
            missing.read().unwrap_err(),
            missing.write(b"x").unwrap_err(),
            missing.records::<u8>().unwrap_err(),
        ] {
            assert_eq!(error.errno(), Some(Errno::NOENT));
            assert!(error.to_string().contains("load the module"), "{error}");
        }
    }
}
