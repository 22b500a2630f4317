// SPDX-License-Identifier: MIT OR Apache-2.0

//! Settings of the kernel below `/proc/sys`, by the names that sysctl(8) knows them by.
//!
//! Every setting is a file, and its name is its path below `/proc/sys`, written with dots instead of
//! slashes as a rule: `net.ipv4.ip_forward`. [`Name`] understands both, [`Setting`] reads and writes
//! the file as text, as a number, as yes or no, or as several values in a row. [`list`] and [`all`]
//! look for settings.
//!
//! Which values there are below `net` depends on the network namespace of the thread that asks; so does
//! who may write them.
//!
//! # Not supported
//!
//! Reading files like `/etc/sysctl.conf`: that is sysctl(8)'s work.

use std::any::type_name;
use std::fmt::{self, Display, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Access, AtFlags, CWD, OFlags};
use rustix::io::Errno;

use crate::attribute::{self, Attribute, Open};
use crate::mounts::{self, FileSystem};

/// Why a setting could not be found, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No setting can have this name.
    #[error("{0:?} names no setting: write it like net.ipv4.ip_forward or net/ipv4/ip_forward")]
    Name(String),
    /// There is no `/proc`.
    #[error(transparent)]
    Mounts(#[from] mounts::Error),
    /// There is no such setting.
    #[error("there is no setting {name}: load the module that has it, and look at `sysctl -aN`")]
    Missing {
        /// Its name.
        name: Name,
    },
    /// The setting cannot be written, by nobody.
    #[error("{name} is only to be read: not even root can write it")]
    ReadOnly {
        /// Its name.
        name: Name,
    },
    /// The kernel refused, or the value is not of the type asked for.
    #[error(transparent)]
    Value(#[from] attribute::Error),
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Name(_) => None,
            Self::Mounts(error) => error.errno(),
            Self::Missing { .. } => Some(Errno::NOENT),
            Self::ReadOnly { .. } => Some(Errno::ACCESS),
            Self::Value(error) => error.errno(),
        }
    }
}

/// The name of a setting, or of a directory of settings.
///
/// It is parsed as sysctl(8) does. The first separator, a dot or a slash, says which of the two
/// separates; the other one then stands for a dot in a name. So `net.ipv4.conf.eth0/1.forwarding` is
/// `net/ipv4/conf/eth0.1/forwarding`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(
    /// With slashes.
    String,
);

impl Name {
    /// The path below `/proc/sys`.
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// That of `entry` in this directory.
    fn join(&self, entry: &str) -> Self {
        Self(format!("{}/{entry}", self.0))
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let dotted = text
            .find(['.', '/'])
            .is_some_and(|at| text.as_bytes()[at] == b'.');
        let path: String = if dotted {
            text.chars().map(swap).collect()
        } else {
            text.to_owned()
        };
        let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
        if path.split('/').all(is_name) {
            Ok(Self(path))
        } else {
            Err(Error::Name(text.to_owned()))
        }
    }
}

/// With dots, as sysctl(8) shows it.
impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .map(swap)
            .try_for_each(|char| f.write_char(char))
    }
}

fn swap(char: char) -> char {
    match char {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

/// Where the settings are.
fn root() -> Result<PathBuf, Error> {
    Ok(FileSystem::Proc.find()?.join("sys"))
}

/// Who may do what with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The permissions of the file.
    pub mode: u32,
    /// Whose it is.
    pub owner: u32,
    /// Which group's it is.
    pub group: u32,
    /// Whether this thread may read it.
    pub readable: bool,
    /// Whether this thread may write it. The kernel has the last word, in each write: it may do more
    /// than look at the mode.
    pub writable: bool,
}

/// One setting. Nothing is opened until it is used, and the namespace of the thread that uses it
/// counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    name: Name,
    file: Attribute,
}

impl Setting {
    /// The setting called `name`, such as `net.ipv4.ip_forward`.
    ///
    /// Whether it exists shows when it is used.
    ///
    /// # Errors
    ///
    /// [`Error::Name`]; [`Error::Mounts`] without `/proc`.
    ///
    /// # References
    ///  - [sysctl(8)](https://man7.org/linux/man-pages/man8/sysctl.8.html)
    ///  - [proc_sys(5)](https://man7.org/linux/man-pages/man5/proc_sys.5.html)
    pub fn named(name: &str) -> Result<Self, Error> {
        Ok(Self::below(&root()?, name.parse()?))
    }

    /// The setting called `name` where the settings are in `root`, which is `/proc/sys` as a rule.
    pub fn below(root: &Path, name: Name) -> Self {
        let file = Attribute::at(root.join(name.path()));
        Self { name, file }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The value as text, without the newline at its end. What is no UTF-8 is replaced.
    ///
    /// It is read by one read(2), as a second one would go on in what the value is by then.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::Value`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/pread.2.html)
    pub fn text(&self) -> Result<String, Error> {
        let file = self.open(OFlags::RDONLY)?;
        let mut value = vec![0; 4096];
        loop {
            let len = rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut value, 0))
                .map_err(|errno| {
                    self.explain(attribute::Error::refused("read", self.path())(errno))
                })?;
            if len < value.len() {
                let value = &value[..len];
                let value = value.strip_suffix(b"\n").unwrap_or(value);
                return Ok(String::from_utf8_lossy(value).into_owned());
            }
            value.resize(2 * len, 0);
        }
    }

    /// The value as a `T`, such as a number. For yes or no, see [`flag`](Self::flag).
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::Value`].
    pub fn get<T: FromStr>(&self) -> Result<T, Error> {
        self.parse(|text| text.parse().ok())
    }

    /// The values, of which there may be any number: the kernel puts tabs between them, or spaces.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::Value`].
    pub fn values<T: FromStr>(&self) -> Result<Vec<T>, Error> {
        self.parse(|text| {
            text.split_whitespace()
                .map(|value| value.parse().ok())
                .collect()
        })
    }

    fn parse<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
        let text = self.text()?;
        parse(&text).ok_or_else(|| {
            Error::Value(attribute::Error::Parse {
                path: self.path().to_owned(),
                text,
                expected: type_name::<T>(),
            })
        })
    }

    /// Whether the value is yes, which is any number but 0.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::Value`].
    pub fn flag(&self) -> Result<bool, Error> {
        Ok(self.get::<i64>()? != 0)
    }

    /// Writes `value`, by one write(2), which the kernel takes as a whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::ReadOnly`]; [`Error::Value`], with [`Errno::INVAL`] if the value is
    /// not of the kind or out of range.
    pub fn set(&self, value: impl Display) -> Result<(), Error> {
        self.file.set(value).map_err(|error| self.explain(error))
    }

    /// Writes `values`, as many as there are, by one write(2).
    ///
    /// If there are fewer than the setting has, the others stay. If the kernel refuses one, those before
    /// it are changed all the same.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set); [`attribute::Error::Short`] if there are more than the setting has.
    pub fn set_values<T: Display>(&self, values: &[T]) -> Result<(), Error> {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        self.set(values.join("\t"))
    }

    /// Writes yes or no.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn set_flag(&self, value: bool) -> Result<(), Error> {
        self.set(u8::from(value))
    }

    /// Opens its file. The namespace it was opened in counts then.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::ReadOnly`]; [`Error::Value`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/open.2.html)
    pub fn open(&self, flags: OFlags) -> Result<Open, Error> {
        self.file.open(flags).map_err(|error| self.explain(error))
    }

    /// Who may do what with it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::Value`].
    ///
    /// # References
    ///  - [stat(2)](https://man7.org/linux/man-pages/man2/stat.2.html)
    ///  - [access(2)](https://man7.org/linux/man-pages/man2/access.2.html)
    pub fn permissions(&self) -> Result<Permissions, Error> {
        let path = self.path();
        let stat = rustix::fs::stat(path)
            .map_err(|errno| self.explain(attribute::Error::refused("look up", path)(errno)))?;
        let may = |access| rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS).is_ok();
        Ok(Permissions {
            mode: stat.st_mode & 0o7777,
            owner: stat.st_uid,
            group: stat.st_gid,
            readable: may(Access::READ_OK),
            writable: may(Access::WRITE_OK),
        })
    }

    /// Says more than the errno does, where there is more to say.
    fn explain(&self, error: attribute::Error) -> Error {
        let name = self.name.clone();
        match error.errno() {
            Some(Errno::NOENT) => Error::Missing { name },
            Some(Errno::ACCESS) if self.is_read_only() => Error::ReadOnly { name },
            _ => Error::Value(error),
        }
    }

    fn is_read_only(&self) -> bool {
        let may = |permissions: Permissions| permissions.mode & 0o222 == 0 && permissions.readable;
        self.permissions().is_ok_and(may)
    }
}

/// The names in the directory called `name`, sorted: settings and further directories.
///
/// # Errors
///
/// [`Error::Name`]; [`Error::Mounts`]; [`Error::Value`] if there is no such directory.
pub fn list(name: &str) -> Result<Vec<Name>, Error> {
    let directory: Name = name.parse()?;
    let entries = attribute::list(root()?.join(directory.path()))?;
    Ok(entries.iter().map(|entry| directory.join(entry)).collect())
}

/// The names of all settings, as `sysctl -aN` prints them.
///
/// What disappears meanwhile is left out.
///
/// # Errors
///
/// [`Error::Mounts`]; [`Error::Value`] if a directory cannot be read.
pub fn all() -> Result<Vec<Name>, Error> {
    let root = root()?;
    let mut names = Vec::new();
    let mut left: Vec<Name> = attribute::list(&root)?.into_iter().map(Name).collect();
    while let Some(name) = left.pop() {
        let path = root.join(name.path());
        if !path.is_dir() {
            names.push(name);
            continue;
        }
        match attribute::list(path) {
            Ok(entries) => left.extend(entries.iter().map(|entry| name.join(entry))),
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<String> {
        text.parse::<Name>().ok().map(|name| name.0)
    }

    #[test]
    fn the_first_separator_says_which_one_separates() {
        for (text, path) in [
            ("kernel", "kernel"),
            ("kernel.ostype", "kernel/ostype"),
            ("kernel/ostype", "kernel/ostype"),
            (
                "net.ipv4.conf.eth0/1.forwarding",
                "net/ipv4/conf/eth0.1/forwarding",
            ),
            (
                "net/ipv4/conf/eth0.1/forwarding",
                "net/ipv4/conf/eth0.1/forwarding",
            ),
        ] {
            assert_eq!(name(text).as_deref(), Some(path), "{text}");
        }
    }

    #[test]
    fn a_name_is_shown_with_dots_and_can_be_parsed_again() {
        for text in ["kernel", "kernel.ostype", "net.ipv4.conf.eth0/1.forwarding"] {
            let name: Name = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
        }
    }

    #[test]
    fn what_would_lead_elsewhere_is_no_name() {
        for text in [
            "",
            ".",
            "/",
            "..",
            "a.",
            "a/",
            ".a",
            "/a",
            "/proc/sys/kernel/ostype",
            "a..b",
            "a//b",
            "a/../b",
            "a/./b",
            "a./.b",
            "a.//.b",
            "a\0b",
        ] {
            assert!(
                matches!(text.parse::<Name>(), Err(Error::Name(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn settings_of_the_running_kernel_are_found_and_read() {
        assert_eq!(
            Setting::named("kernel.ostype").unwrap().text().unwrap(),
            "Linux"
        );
        let levels: Vec<i32> = Setting::named("kernel/printk").unwrap().values().unwrap();
        assert_eq!(levels.len(), 4);
        let highest = Setting::named("kernel.pid_max").unwrap();
        assert!(highest.get::<u32>().unwrap() > 300);
        assert!(highest.flag().unwrap());
        assert_eq!(highest.permissions().unwrap().mode, 0o644);
        let names = list("kernel").unwrap();
        assert!(names.contains(&"kernel.ostype".parse().unwrap()));
        assert!(names.is_sorted());
    }

    #[test]
    fn errors_say_what_to_do() {
        let missing = Setting::named("kernel.no_such")
            .unwrap()
            .text()
            .unwrap_err();
        assert_eq!(missing.errno(), Some(Errno::NOENT));
        assert_eq!(
            missing.to_string(),
            "there is no setting kernel.no_such: load the module that has it, and look at `sysctl -aN`"
        );
        let text = Setting::named("kernel.ostype").unwrap();
        assert!(matches!(
            text.values::<u8>(),
            Err(Error::Value(attribute::Error::Parse { .. }))
        ));
    }
}
