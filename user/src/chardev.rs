// SPDX-License-Identifier: MIT OR Apache-2.0

//! Character devices: finding a driver's major number, making its node, and using the node.
//!
//! A driver that is not a misc device and has no class gets no node by itself: the kernel gives it
//! a major number, shows that number in `/proc/devices`, and leaves the rest to mknod(1). Here that
//! is [`major`] and [`make_node`]; [`Device`] is the open node.
//!
//! Finding, making and opening can go wrong in ways a person can do something about, and fail with
//! [`Error`]. What happens on an open device is between caller and driver, so those calls hand on
//! the driver's own [`Errno`].
//!
//! # Not supported
//!
//! Vectored reads and writes, and mapping: a [`Device`] lends its descriptor through [`AsFd`], and
//! `rustix::io` and `rustix::mm` take it from there.

use std::fs;
use std::io::SeekFrom;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::{self, Errno};

/// Where the kernel lists drivers and their major numbers.
const DEVICES: &str = "/proc/devices";

/// Why a driver could not be found, or its node not be made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No character driver has this name.
    #[error("no character driver is called {0}: load its module, then look in {DEVICES}")]
    NoDriver(String),
    /// The list of drivers could not be read.
    #[error("cannot read {DEVICES}: is proc mounted on /proc?")]
    Devices(#[source] std::io::Error),
    /// Something that is not a character device already has the node's name.
    #[error("{} exists and is not a character device: choose another name or remove it", .0.display())]
    NotANode(PathBuf),
    /// A node could not be looked up, made or removed.
    #[error("cannot {what} {}: {errno}; {}", .path.display(), .errno.node_hint())]
    Node {
        /// What was tried: `look up`, `make` or `remove`.
        what: &'static str,
        /// The node.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A node could not be opened.
    #[error("cannot open {}: {errno}; {}", .path.display(), .errno.open_hint())]
    Open {
        /// The node.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Node { errno, .. } | Self::Open { errno, .. } => Some(*errno),
            Self::Devices(error) => Errno::from_io_error(error),
            Self::NoDriver(_) | Self::NotANode(_) => None,
        }
    }
}

/// What to do next after an errno.
trait Hint {
    fn node_hint(self) -> &'static str;
    fn open_hint(self) -> &'static str;
}

impl Hint for Errno {
    fn node_hint(self) -> &'static str {
        match self {
            Errno::PERM | Errno::ACCESS => "making a node needs CAP_MKNOD: run as root",
            Errno::NOENT => "make the directory it should stand in",
            _ => "see mknod(2)",
        }
    }

    fn open_hint(self) -> &'static str {
        match self {
            Errno::NOENT => "load the module, or make the node with mknod(1)",
            Errno::NXIO => {
                "no driver answers to this node's major and minor: compare them with \
                            /proc/devices and make the node again"
            }
            Errno::ACCESS | Errno::PERM => "its permissions keep you out: run as its owner or root",
            Errno::BUSY => "somebody holds it exclusively: wait until it is closed",
            _ => "see open(2) and the driver's documentation",
        }
    }
}

/// The major number of the character driver called `driver`, from `/proc/devices`.
///
/// A name is not unique there; the first driver that has it counts.
///
/// # Errors
///
/// [`Error::NoDriver`] if no loaded driver has that name; [`Error::Devices`] without `/proc`.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man5/proc_devices.5.html)
pub fn major(driver: &str) -> Result<u32, Error> {
    let first = majors(driver)?.first().copied();
    first.ok_or_else(|| Error::NoDriver(driver.to_owned()))
}

/// The major numbers of all character drivers called `driver`, which may be none.
///
/// # Errors
///
/// [`Error::Devices`] without `/proc`.
pub fn majors(driver: &str) -> Result<Vec<u32>, Error> {
    let list = fs::read_to_string(DEVICES).map_err(Error::Devices)?;
    Ok(parse_majors(&list, driver).collect())
}

/// Finds `driver` among the character devices of a text like that of `/proc/devices`.
fn parse_majors(list: &str, driver: &str) -> impl Iterator<Item = u32> {
    list.lines()
        .skip_while(|line| *line != "Character devices:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.trim_start().split_once(' '))
        .filter(move |(_, name)| *name == driver)
        .filter_map(|(major, _)| major.parse().ok())
}

/// Makes the character device node `path` for `major` and `minor`, with exactly the permissions
/// `mode`, whatever the umask.
///
/// Does nothing but set the permissions if that very node is already there. A node of the same name
/// with other numbers is replaced: a driver with a dynamic major gets another one each time it is
/// loaded, and a node left over from last time leads nowhere, or to a stranger.
///
/// # Errors
///
/// [`Error::NotANode`] if something else has that name; [`Error::Node`] if the kernel refuses.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/mknod.2.html)
pub fn make_node(path: impl AsRef<Path>, major: u32, minor: u32, mode: u32) -> Result<(), Error> {
    let path = path.as_ref();
    let number = rustix::fs::makedev(major, minor);
    let mode = Mode::from_raw_mode(mode);
    let failed = |errno| Error::Node {
        what: "make",
        path: path.to_owned(),
        errno,
    };
    match node_number(path)? {
        Some(old) if old == number => {}
        old => {
            if old.is_some() {
                remove_node(path)?;
            }
            rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, number)
                .map_err(failed)?;
        }
    }
    rustix::fs::chmod(path, mode).map_err(failed)
}

/// Removes the character device node `path`. It is no error if there is nothing of that name.
///
/// # Errors
///
/// [`Error::NotANode`] if `path` is something else, which stays; [`Error::Node`] if the kernel
/// refuses.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/unlink.2.html)
pub fn remove_node(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    if node_number(path)?.is_none() {
        return Ok(());
    }
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::Node {
            what: "remove",
            path: path.to_owned(),
            errno,
        }),
    }
}

/// The number of the character device node `path`, `None` if nothing has that name.
fn node_number(path: &Path) -> Result<Option<rustix::fs::Dev>, Error> {
    match rustix::fs::lstat(path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_char_device() => {
            Ok(Some(stat.st_rdev))
        }
        Ok(_) => Err(Error::NotANode(path.to_owned())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::Node {
            what: "look up",
            path: path.to_owned(),
            errno,
        }),
    }
}

/// How to open a [`Device`]: begin with [`Device::options`], end with [`Options::open`].
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is open until `open` is called"]
pub struct Options {
    read: bool,
    write: bool,
    flags: OFlags,
}

impl Options {
    /// Whether to open for reading; off unless told.
    pub const fn read(mut self, read: bool) -> Self {
        self.read = read;
        self
    }

    /// Whether to open for writing; off unless told.
    pub const fn write(mut self, write: bool) -> Self {
        self.write = write;
        self
    }

    /// Fail with [`Errno::AGAIN`] where a call would have to wait.
    pub fn nonblocking(self) -> Self {
        self.with(OFlags::NONBLOCK)
    }

    /// Hand `O_EXCL` to the driver. Most drivers ignore it; those that know it refuse with
    /// [`Errno::BUSY`] when they cannot give the caller the device to itself.
    pub fn exclusive(self) -> Self {
        self.with(OFlags::EXCL)
    }

    /// Any further flags of open(2).
    pub fn with(mut self, flags: OFlags) -> Self {
        self.flags |= flags;
        self
    }

    /// Opens the node. The descriptor is not handed on to programs this one starts.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] with what the kernel or the driver's `open` answered.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/open.2.html)
    pub fn open(self, path: impl AsRef<Path>) -> Result<Device, Error> {
        let path = path.as_ref();
        let access = match (self.read, self.write) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            (_, false) => OFlags::RDONLY,
        };
        let flags = access | self.flags | OFlags::CLOEXEC;
        match io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())) {
            Ok(fd) => Ok(Device { fd }),
            Err(errno) => Err(Error::Open {
                path: path.to_owned(),
                errno,
            }),
        }
    }
}

/// An open character device.
///
/// Every call takes `&self`, so that threads can share one device. Nothing is retried or buffered
/// here: one call is one system call, and what the driver answers is what the caller gets, short
/// counts and [`Errno::INTR`] included.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
}

impl Device {
    /// How to open a device; neither readable nor writable unless told.
    pub const fn options() -> Options {
        Options {
            read: false,
            write: false,
            flags: OFlags::empty(),
        }
    }

    /// Opens `path` for reading and writing.
    ///
    /// # Errors
    ///
    /// [`Error::Open`], as [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().read(true).write(true).open(path)
    }

    /// Reads at the file position, as much as the driver gives; 0 is the end.
    ///
    /// # Errors
    ///
    /// The driver's errno; [`Errno::BADF`] if not open for reading.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/read.2.html)
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        rustix::io::read(&self.fd, buffer)
    }

    /// Writes at the file position and returns how many bytes the driver took.
    ///
    /// # Errors
    ///
    /// The driver's errno; [`Errno::BADF`] if not open for writing.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/write.2.html)
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        rustix::io::write(&self.fd, bytes)
    }

    /// Moves the file position and returns where it is now.
    ///
    /// # Errors
    ///
    /// The driver's errno; [`Errno::SPIPE`] if it has no positions.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/lseek.2.html)
    pub fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        rustix::fs::seek(
            &self.fd,
            match to {
                SeekFrom::Start(offset) => rustix::fs::SeekFrom::Start(offset),
                SeekFrom::Current(offset) => rustix::fs::SeekFrom::Current(offset),
                SeekFrom::End(offset) => rustix::fs::SeekFrom::End(offset),
            },
        )
    }

    /// Reads at `offset` and leaves the file position alone.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read) and [`seek`](Self::seek).
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/pread.2.html)
    pub fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        rustix::io::pread(&self.fd, buffer, offset)
    }

    /// Writes at `offset` and leaves the file position alone.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write) and [`seek`](Self::seek).
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/pwrite.2.html)
    pub fn pwrite(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        rustix::io::pwrite(&self.fd, bytes, offset)
    }

    /// Waits until a read would not have to wait; `false` if `limit` ran out first.
    ///
    /// # Errors
    ///
    /// What poll(2) fails with. A signal does not end the wait.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/poll.2.html)
    pub fn wait_readable(&self, limit: Duration) -> io::Result<bool> {
        self.wait(PollFlags::IN, limit)
    }

    /// Waits until a write would not have to wait; `false` if `limit` ran out first.
    ///
    /// # Errors
    ///
    /// What poll(2) fails with. A signal does not end the wait.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/poll.2.html)
    pub fn wait_writable(&self, limit: Duration) -> io::Result<bool> {
        self.wait(PollFlags::OUT, limit)
    }

    /// Another descriptor for the same open file: they share position, flags and counters.
    ///
    /// # Errors
    ///
    /// [`Errno::MFILE`] if the process has too many descriptors.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/dup.2.html)
    pub fn try_clone(&self) -> io::Result<Self> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)?;
        Ok(Self { fd })
    }

    fn wait(&self, events: PollFlags, limit: Duration) -> io::Result<bool> {
        // A limit too large to add up is no limit at all.
        let end = Instant::now().checked_add(limit);
        loop {
            let left = match end {
                Some(end) => end.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            let mut fds = [PollFd::new(&self.fd, events)];
            match rustix::event::poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Ok(_) => return Ok(fds[0].revents().intersects(events)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Device {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Device> for OwnedFd {
    fn from(device: Device) -> Self {
        device.fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Character devices:\n  1 mem\n  4 /dev/vc/0\n 10 misc\n236 my_device\n\
                        237 two words\n238 my_device\n\nBlock devices:\n  8 sd\n259 blkext\n";

    #[test]
    fn a_major_is_found_by_its_drivers_name() {
        assert_eq!(parse_majors(LIST, "mem").next(), Some(1));
        assert_eq!(parse_majors(LIST, "/dev/vc/0").next(), Some(4));
        let both: Vec<_> = parse_majors(LIST, "my_device").collect();
        assert_eq!(both, [236, 238]);
        assert_eq!(parse_majors(LIST, "two words").next(), Some(237));
    }

    #[test]
    fn part_of_a_name_and_block_devices_do_not_count() {
        for name in [
            "",
            "my",
            "my_device2",
            "words",
            "sd",
            "blkext",
            "Character",
            "236",
        ] {
            assert_eq!(parse_majors(LIST, name).next(), None, "{name:?}");
        }
        assert_eq!(parse_majors("", "mem").next(), None);
        assert_eq!(parse_majors("Block devices:\n  8 sd\n", "sd").next(), None);
    }

    #[test]
    fn a_missing_driver_says_what_to_do() {
        let error = major("callgate_no_such_driver").unwrap_err();
        assert!(error.to_string().contains("load its module"), "{error}");
        assert_eq!(error.errno(), None);
    }

    #[test]
    fn opening_tells_the_errno_and_the_way_on() {
        let error = Device::open("/dev/callgate_no_such_node").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert!(error.to_string().contains("mknod"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_node_is_left_alone() {
        let path = std::env::temp_dir().join(format!("callgate-node-{}", std::process::id()));
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            make_node(&path, 1, 3, 0o600),
            Err(Error::NotANode(_))
        ));
        assert!(matches!(remove_node(&path), Err(Error::NotANode(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        remove_node(&path).unwrap();
    }

    #[test]
    fn an_ordinary_device_reads_writes_and_waits() {
        let zero = Device::open("/dev/zero").unwrap();
        let mut bytes = [1; 4];
        assert_eq!(zero.read(&mut bytes), Ok(4));
        assert_eq!(bytes, [0; 4]);
        assert_eq!(zero.write(b"gone"), Ok(4));
        assert_eq!(zero.wait_readable(Duration::MAX), Ok(true));
        let reading = Device::options().read(true).open("/dev/zero").unwrap();
        assert_eq!(reading.write(b"x"), Err(Errno::BADF));
    }

    #[test]
    fn waiting_ends_at_its_limit() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let device = Device::from(OwnedFd::from(reader));
        assert_eq!(device.wait_readable(Duration::from_millis(5)), Ok(false));
    }
}
