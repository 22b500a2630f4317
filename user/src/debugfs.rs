// SPDX-License-Identifier: MIT OR Apache-2.0

//! debugfs: finding it, looking around in it, and reading and writing its files as typed values.
//!
//! debugfs has no rules for what is in a file. But most files are of the few kinds that the kernel makes
//! by one line of code, and those have a form that is always the same: [`Value`] is for these. Any other
//! file is text or bytes.
//!
//! The kernel does not check much in these files, and a typed client is the only one who could:
//!
//! - A number that is too large for the kernel's variable is cut to its width without an error.
//! - What is no bool is ignored without an error.
//!
//! # Not supported
//!
//! Files of other kinds of tracing and debugging that may be mounted within debugfs, such as tracefs.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::attribute::{self, Attribute};
use crate::mounts::{self, FileSystem};

/// Why debugfs could not be found, or something in it not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// debugfs was not found.
    #[error(transparent)]
    Mount(#[from] mounts::Error),
    /// The kernel refused.
    #[error("cannot {what} {}: {errno}; {}", .path.display(), hint(*.errno))]
    Refused {
        /// What was tried, such as `open`.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The kernel took only a part of the value.
    #[error("{} took {taken} of {len} bytes: that is all there is room for", .path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// How many bytes it took.
        taken: usize,
        /// How many there were.
        len: usize,
    },
    /// The file does not hold a value of this type.
    #[error("{} holds {contents:?}, which is no {expected}: read it as bytes", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What it holds.
        contents: String,
        /// The type asked for.
        expected: &'static str,
    },
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Mount(error) => error.errno(),
            Self::Refused { errno, .. } => Some(*errno),
            Self::Short { .. } | Self::Parse { .. } => None,
        }
    }

    fn refused(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Refused {
            what,
            path: path.to_owned(),
            errno,
        }
    }
}

impl From<attribute::Error> for Error {
    fn from(error: attribute::Error) -> Self {
        match error {
            attribute::Error::Refused { what, path, errno } => Self::Refused { what, path, errno },
            attribute::Error::Short { path, taken, len } => Self::Short { path, taken, len },
            attribute::Error::Parse {
                path,
                text,
                expected,
            } => Self::Parse {
                path,
                contents: text,
                expected,
            },
        }
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => "load the module that makes it",
        Errno::ACCESS => "run as root, or have root mount debugfs with uid= or gid= and mode=",
        Errno::PERM => {
            "if you are root the kernel is locked down: see /sys/kernel/security/lockdown"
        }
        Errno::NXIO => "its module is being loaded or unloaded: try again",
        Errno::IO => "it was removed while it was open: open it again",
        Errno::INVAL => "it does not take this value, or cannot be read or written at all",
        Errno::ROFS => "debugfs is mounted read-only: remount it",
        _ => "see what documents this file: as a rule, the source of its driver",
    }
}

/// A mounted debugfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debugfs {
    root: PathBuf,
}

impl Debugfs {
    /// Finds it where it is mounted, `/sys/kernel/debug` as a rule.
    ///
    /// # Errors
    ///
    /// [`Error::Mount`], which says how to mount it.
    ///
    /// # References
    ///  - [Linux](https://docs.kernel.org/filesystems/debugfs.html)
    pub fn find() -> Result<Self, Error> {
        Ok(Self {
            root: FileSystem::Debugfs.find()?,
        })
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file at `path`, from the root of debugfs. Nothing is opened until it is used.
    pub fn file(&self, path: impl AsRef<Path>) -> File {
        File {
            attribute: Attribute::at(self.root.join(path)),
        }
    }

    /// Whether there is something at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if debugfs may not be looked into.
    pub fn has(&self, path: impl AsRef<Path>) -> Result<bool, Error> {
        let path = self.root.join(path);
        match rustix::fs::lstat(&path) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(Error::refused("look up", &path)(errno)),
        }
    }

    /// What is in the directory `path`, and in its subdirectories, sorted by path; `""` for all of
    /// debugfs.
    ///
    /// What is removed meanwhile is left out. Other file systems that are mounted there are not entered,
    /// nor is tracefs made to be mounted, which to open its directory does.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/statx.2.html)
    pub fn tree(&self, path: impl AsRef<Path>) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let path = path.as_ref();
        for name in attribute::list(self.root.join(path))? {
            self.collect(path.join(name), &mut entries)?;
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn collect(&self, path: PathBuf, entries: &mut Vec<Entry>) -> Result<(), Error> {
        let whole = self.root.join(&path);
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let wanted = StatxFlags::TYPE | StatxFlags::MODE;
        let stat = match rustix::fs::statx(CWD, &whole, flags, wanted) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Error::refused("look up", &whole)(errno)),
        };
        let mode = u32::from(stat.stx_mode);
        let elsewhere = StatxAttributes::AUTOMOUNT | StatxAttributes::MOUNT_ROOT;
        let kind = match FileType::from_raw_mode(mode) {
            FileType::Directory if stat.stx_attributes.intersects(elsewhere) => Kind::Mount,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::File,
        };
        let names = match kind {
            Kind::Directory => match attribute::list(&whole) {
                Ok(names) => names,
                Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
            _ => Vec::new(),
        };
        for name in names {
            self.collect(path.join(name), entries)?;
        }
        entries.push(Entry {
            path,
            kind,
            mode: mode & 0o7777,
        });
        Ok(())
    }
}

/// Something in debugfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, from the root of debugfs.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its permissions.
    pub mode: u32,
}

/// What something in debugfs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A directory where another file system is mounted, or will be as soon as somebody goes there.
    Mount,
}

/// A file in debugfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    attribute: Attribute,
}

impl File {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.attribute.path()
    }

    /// All that is in it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        Ok(self.attribute.read()?)
    }

    /// Writes `bytes` by one write(2).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Short`].
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.attribute.write(bytes)?)
    }

    /// The value in it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Parse`] if it holds no `T`.
    pub fn get<T: Value>(&self) -> Result<T, Error> {
        let contents = self.read()?;
        T::parse(&contents).ok_or_else(|| Error::Parse {
            path: self.path().to_owned(),
            contents: String::from_utf8_lossy(&contents).into_owned(),
            expected: std::any::type_name::<T>(),
        })
    }

    /// Puts a value into it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Short`].
    pub fn set<T: Value>(&self, value: &T) -> Result<(), Error> {
        self.write(&value.print())
    }
}

/// A type that files made by the kernel's `debugfs_create_*()` hold.
///
/// | type | made by |
/// |---|---|
/// | `u8` … `u64`, `usize` | `debugfs_create_u8()` … `u64()`, `size_t()`, `ulong()` |
/// | [`Hex`]`<u8>` … `Hex<u64>` | `debugfs_create_x8()` … `x64()`, `xul()` |
/// | `i32` | `debugfs_create_atomic_t()` |
/// | `bool` | `debugfs_create_bool()` |
/// | `String` | `debugfs_create_str()` |
/// | `Vec<u32>` | `debugfs_create_u32_array()` |
///
/// A blob is bytes: [`File::read`] and [`File::write`].
pub trait Value: Sized {
    /// Understands the contents of a file; `None` if they are not of this type.
    fn parse(contents: &[u8]) -> Option<Self>;

    /// What is to be written.
    fn print(&self) -> Vec<u8>;
}

/// The text without the newline at its end, which must be there.
fn line(contents: &[u8]) -> Option<&str> {
    std::str::from_utf8(contents).ok()?.strip_suffix('\n')
}

/// A number that the file shows in hexadecimal, as `0x002a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<T>(pub T);

impl<T: fmt::LowerHex> fmt::Display for Hex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#0width$x}", self.0, width = 2 + 2 * size_of::<T>())
    }
}

macro_rules! decimal {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn parse(contents: &[u8]) -> Option<Self> {
                line(contents)?.parse().ok()
            }

            fn print(&self) -> Vec<u8> {
                format!("{self}\n").into_bytes()
            }
        }
    )*};
}

decimal!(u8 u16 u32 u64 usize i32);

macro_rules! hexadecimal {
    ($($type:ty)*) => {$(
        impl Value for Hex<$type> {
            fn parse(contents: &[u8]) -> Option<Self> {
                let digits = line(contents)?.strip_prefix("0x")?;
                <$type>::from_str_radix(digits, 16).ok().map(Self)
            }

            fn print(&self) -> Vec<u8> {
                format!("{self}\n").into_bytes()
            }
        }
    )*};
}

hexadecimal!(u8 u16 u32 u64 usize);

impl Value for bool {
    fn parse(contents: &[u8]) -> Option<Self> {
        match contents {
            b"Y\n" => Some(true),
            b"N\n" => Some(false),
            _ => None,
        }
    }

    fn print(&self) -> Vec<u8> {
        if *self { b"Y\n" } else { b"N\n" }.to_vec()
    }
}

/// Without the newline that the kernel puts after it. The kernel drops white space at its end when it
/// is written.
impl Value for String {
    fn parse(contents: &[u8]) -> Option<Self> {
        line(contents).map(str::to_owned)
    }

    fn print(&self) -> Vec<u8> {
        self.clone().into_bytes()
    }
}

/// The kernel cannot be told new numbers in this way; to print is for other drivers' files of this form.
impl Value for Vec<u32> {
    fn parse(contents: &[u8]) -> Option<Self> {
        // The newline may be missing: see the module's chapter.
        let text = std::str::from_utf8(contents).ok()?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        if text.is_empty() {
            return Some(Self::new());
        }
        text.split(' ').map(|number| number.parse().ok()).collect()
    }

    fn print(&self) -> Vec<u8> {
        let numbers: Vec<String> = self.iter().map(ToString::to_string).collect();
        format!("{}\n", numbers.join(" ")).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_the_kernel_prints_them() {
        assert_eq!(u8::parse(b"255\n"), Some(255));
        assert_eq!(Hex::<u8>::parse(b"0x0a\n"), Some(Hex(10)));
        assert_eq!(
            Hex::<u64>::parse(b"0xffffffffffffffff\n"),
            Some(Hex(u64::MAX))
        );
        assert_eq!(i32::parse(b"-2147483648\n"), Some(i32::MIN));
        assert_eq!(bool::parse(b"Y\n"), Some(true));
        assert_eq!(bool::parse(b"N\n"), Some(false));
        assert_eq!(String::parse(b"a b\n"), Some("a b".to_owned()));
        assert_eq!(Vec::<u32>::parse(b"1 2 3\n"), Some(vec![1, 2, 3]));
        assert_eq!(Vec::<u32>::parse(b"4294967295"), Some(vec![u32::MAX]));
        assert_eq!(Vec::<u32>::parse(b""), Some(vec![]));
    }

    #[test]
    fn what_is_of_another_form_is_refused() {
        for contents in [
            &b""[..],
            b"1",
            b"256\n",
            b"-1\n",
            b"0x01\n",
            b" 1\n",
            b"1\n\n",
            b"\xff\n",
        ] {
            assert_eq!(u8::parse(contents), None, "{contents:?}");
        }
        for contents in [&b"0a\n"[..], b"0x\n", b"0x100\n", b"0x0g\n"] {
            assert_eq!(Hex::<u8>::parse(contents), None, "{contents:?}");
        }
        for contents in [&b"Y"[..], b"y\n", b"1\n", b""] {
            assert_eq!(bool::parse(contents), None, "{contents:?}");
        }
        assert_eq!(Vec::<u32>::parse(b"1  2\n"), None);
        assert_eq!(Vec::<u32>::parse(b"1 4294967296\n"), None);
    }

    #[test]
    fn values_are_printed_as_the_kernel_would() {
        assert_eq!(7u16.print(), b"7\n");
        assert_eq!((-7i32).print(), b"-7\n");
        assert_eq!(Hex(10u8).print(), b"0x0a\n");
        assert_eq!(Hex(10u64).to_string(), "0x000000000000000a");
        assert_eq!(true.print(), b"Y\n");
        assert_eq!("x".to_owned().print(), b"x");
        assert_eq!(vec![1, 2].print(), b"1 2\n");
    }

    #[test]
    fn an_error_says_what_to_do() {
        let path = PathBuf::from("/sys/kernel/debug/x");
        let error = Error::refused("read", &path)(Errno::IO);
        assert_eq!(error.errno(), Some(Errno::IO));
        assert_eq!(
            error.to_string(),
            "cannot read /sys/kernel/debug/x: Input/output error (os error 5); it was removed while \
             it was open: open it again"
        );
    }
}
