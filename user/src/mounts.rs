// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the kernel's own file systems are mounted.
//!
//! They have customary places, `/proc`, `/sys`, `/sys/kernel/debug`, `/sys/kernel/config`, but nothing
//! keeps an administrator from another, or from none: debugfs and configfs are often not mounted.
//!
//! # Not supported
//!
//! Bind mounts of a part of such a file system.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What this process has mounted.
const LIST: &str = "/proc/self/mountinfo";

/// A file system whose files are made up by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileSystem {
    /// `proc`: processes, and what else has found its way there
    Proc,
    /// `sysfs`: devices, drivers and the rest of the kernel's objects
    Sysfs,
    /// `configfs`: objects that the user makes
    Configfs,
    /// `debugfs`: whatever a developer wants to see
    Debugfs,
}

impl FileSystem {
    /// The name that mount(8) and `/proc/filesystems` know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Sysfs => "sysfs",
            Self::Configfs => "configfs",
            Self::Debugfs => "debugfs",
        }
    }

    /// Where it is mounted as a rule.
    pub fn customary(self) -> &'static Path {
        Path::new(match self {
            Self::Proc => "/proc",
            Self::Sysfs => "/sys",
            Self::Configfs => "/sys/kernel/config",
            Self::Debugfs => "/sys/kernel/debug",
        })
    }

    /// Where it is mounted: in its customary place if it is there too.
    ///
    /// # Errors
    ///
    /// [`Error::NotMounted`]; [`Error::List`] without `/proc`.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html)
    pub fn find(self) -> Result<PathBuf, Error> {
        let list = fs::read(LIST).map_err(Error::List)?;
        self.find_in(&list).ok_or(Error::NotMounted(self))
    }

    fn find_in(self, list: &[u8]) -> Option<PathBuf> {
        let mut found = list
            .split(|byte| *byte == b'\n')
            .filter_map(|line| self.mounted_by(line));
        let first = found.next()?;
        if first == self.customary() || found.any(|place| place == self.customary()) {
            return Some(self.customary().to_owned());
        }
        Some(first)
    }

    /// The place that a line of the list has this file system at, whole.
    fn mounted_by(self, line: &[u8]) -> Option<PathBuf> {
        let mut fields = line.split(|byte| *byte == b' ');
        let root = fields.nth(3)?;
        let place = fields.next()?;
        // Any number of optional fields ends with this.
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (root == b"/" && kind == self.name().as_bytes())
            .then(|| OsString::from_vec(unescape(place)).into())
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Undoes the list's escapes: a space is `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] = rest {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = &rest[4..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// Why a file system was not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not mounted, or not where this process can see it.
    #[error("{0} is not mounted: mount -t {0} {0} {place}, as root", place = .0.customary().display())]
    NotMounted(FileSystem),
    /// The list of mounts could not be read.
    #[error("cannot read {LIST}: is proc mounted on /proc?")]
    List(#[source] std::io::Error),
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::NotMounted(_) => None,
            Self::List(error) => Errno::from_io_error(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"\
21 1 0:20 / /proc rw,relatime shared:12 - proc proc rw
22 1 0:21 / /mnt/a\\040b\\134c rw - sysfs sysfs rw
23 1 0:21 / /sys rw shared:7 master:1 - sysfs sysfs rw
24 1 0:21 /fs /mnt/part rw - configfs configfs rw
25 1 0:22 / /mnt/x\\040y\\134z rw - debugfs none rw
";

    #[test]
    fn the_customary_place_is_preferred() {
        let find = |kind: FileSystem| kind.find_in(MOUNTS);
        assert_eq!(find(FileSystem::Proc), Some("/proc".into()));
        assert_eq!(find(FileSystem::Sysfs), Some("/sys".into()));
    }

    #[test]
    fn another_place_has_its_escapes_undone() {
        let found = FileSystem::Debugfs.find_in(MOUNTS);
        assert_eq!(found, Some("/mnt/x y\\z".into()));
    }

    #[test]
    fn a_part_is_not_the_whole() {
        assert_eq!(FileSystem::Configfs.find_in(MOUNTS), None);
    }

    #[test]
    fn this_machine_has_a_proc() {
        assert_eq!(FileSystem::Proc.find().unwrap(), Path::new("/proc"));
    }
}
