// SPDX-License-Identifier: MIT OR Apache-2.0

//! Loading and unloading kernel modules, as insmod(8) and rmmod(8) do.
//!
//! # Not supported
//!
//! Dependencies between modules, and compressed modules: that is modprobe(8)'s work.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Why a module could not be loaded, unloaded or looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module's file could not be opened.
    #[error("cannot open {}: build the module first, or correct the path", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused to load the module, or the module's own initialisation failed.
    #[error("cannot load {}: {errno}; {}", .path.display(), load_hint(*.errno))]
    Load {
        /// The file.
        path: PathBuf,
        /// What the kernel or the module answered.
        errno: Errno,
    },
    /// The kernel refused to unload the module.
    #[error("cannot unload {name}: {errno}; {}", unload_hint(*.errno))]
    Unload {
        /// The module.
        name: String,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A name or parameters that no C string can hold.
    #[error("{0:?} contains a NUL byte: remove it")]
    Nul(String),
    /// The list of modules could not be read.
    #[error("cannot read /proc/modules: is proc mounted on /proc, and has the kernel MODULES=y?")]
    List(#[source] std::io::Error),
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Load { errno, .. } | Self::Unload { errno, .. } => Some(*errno),
            Self::File { source, .. } | Self::List(source) => Errno::from_io_error(source),
            Self::Nul(_) => None,
        }
    }
}

fn load_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EXIST => "a module of this name is already loaded: unload it first",
        Errno::PERM => "this needs CAP_SYS_MODULE: run as root",
        Errno::NOEXEC => "it was built for another kernel: build it against the one that runs",
        Errno::NOENT => "it needs something no loaded module offers: see the kernel's log",
        Errno::KEYREJECTED => {
            "this kernel loads only signed modules: sign it with a key that the kernel knows"
        }
        _ => "the kernel's log says why",
    }
}

fn unload_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::AGAIN => "it is in use: close what holds it open, then try again",
        Errno::NOENT => "no module of this name is loaded: /proc/modules lists those that are",
        Errno::PERM => "this needs CAP_SYS_MODULE: run as root",
        Errno::BUSY => "it is being loaded or unloaded, or cannot be unloaded at all",
        _ => "the kernel's log says why",
    }
}

/// Loads the module in the file `path`, with parameters as on insmod(8)'s command line:
/// `"value=3 name=x"`, or `""` for none.
///
/// # Errors
///
/// [`Error::Load`], with [`Errno::EXIST`] if it is already loaded; [`Error::File`] if there is no
/// such file.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/finit_module.2.html)
pub fn load(path: impl AsRef<Path>, parameters: &str) -> Result<(), Error> {
    let path = path.as_ref();
    let parameters = c_string(parameters)?;
    let file = File::open(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    rustix::system::finit_module(&file, &parameters, 0).map_err(|errno| Error::Load {
        path: path.to_owned(),
        errno,
    })
}

/// Unloads the module `name`. Does not wait for those who use it.
///
/// # Errors
///
/// [`Error::Unload`], with [`Errno::AGAIN`] (which is `EWOULDBLOCK`) while it is in use and
/// [`Errno::NOENT`] if it is not loaded.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/delete_module.2.html)
pub fn unload(name: &str) -> Result<(), Error> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    rustix::system::delete_module(&c_string(name)?, flags).map_err(|errno| Error::Unload {
        name: name.to_owned(),
        errno,
    })
}

/// Whether the module `name` is loaded and alive. `-` and `_` are the same in a module's name.
///
/// # Errors
///
/// [`Error::List`] without `/proc/modules`.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man5/proc_modules.5.html)
pub fn is_loaded(name: &str) -> Result<bool, Error> {
    let list = fs::read_to_string("/proc/modules").map_err(Error::List)?;
    Ok(lists(&list, name))
}

/// Whether the kernel refuses modules without a valid signature, with [`Errno::KEYREJECTED`]. What locks the
/// kernel down, as Secure Boot does, does so without saying it here.
///
/// # References
///  - [Linux](https://docs.kernel.org/admin-guide/module-signing.html)
#[must_use]
pub fn must_be_signed() -> bool {
    let enforced = fs::read("/sys/module/module/parameters/sig_enforce");
    // There is no such file where the kernel checks no signatures.
    enforced.is_ok_and(|value| value.starts_with(b"Y"))
}

/// Whether a text like that of `/proc/modules` has `name` as a live module.
fn lists(list: &str, name: &str) -> bool {
    let name = name.replace('-', "_");
    list.lines().any(|line| {
        let mut fields = line.split(' ');
        fields.next() == Some(name.as_str()) && fields.nth(3) == Some("Live")
    })
}

fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::Nul(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "callgate_ioctl 16384 1 - Live 0xffffffffc0000000 (O)\n\
                        veth 45056 0 - Live 0x0000000000000000\n\
                        leaving 45056 0 - Unloading 0x0000000000000000\n";

    #[test]
    fn a_live_module_is_listed_under_its_whole_name() {
        assert!(lists(LIST, "callgate_ioctl"));
        assert!(lists(LIST, "callgate-ioctl"));
        assert!(lists(LIST, "veth"));
        for name in ["callgate", "ioctl", "", "leaving", "45056"] {
            assert!(!lists(LIST, name), "{name:?}");
        }
    }

    #[test]
    fn a_missing_file_and_a_nul_are_told_apart() {
        let error = load("/callgate/no/such.ko", "").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert!(matches!(error, Error::File { .. }));
        assert!(matches!(load("/", "a\0b"), Err(Error::Nul(_))));
    }
}
