// SPDX-License-Identifier: MIT OR Apache-2.0

//! Objects in sysfs: directories whose files are attributes.
//!
//! Every directory below `/sys` is an object of the kernel's: a device, a driver, a module, whatever
//! wants to be seen. Its files are [`Attribute`]s, which hold one value each, as text; a few are
//! [`Binary`] instead. Symbolic links say how objects belong together, such as from a device to its
//! driver.
//!
//! ```no_run
//! use callgate::sysfs::Object;
//!
//! let cpus = Object::find("devices/system/cpu")?;
//! println!("{}", cpus.attribute("online").text()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Not supported
//!
//! Binary attributes that can be mapped: an open one lends its descriptor through [`AsFd`].

use std::fs::{self, FileType};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::{self, Errno};

use crate::attribute::{self, Attribute};
use crate::mounts::{self, FileSystem};

/// Why an object or a binary attribute could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no sysfs.
    #[error(transparent)]
    Mounts(#[from] mounts::Error),
    /// Something about a file or a directory.
    #[error(transparent)]
    Attribute(#[from] attribute::Error),
    /// There is no such object.
    #[error("there is no object {}: load the module or plug in the device that has it", .0.display())]
    NoObject(PathBuf),
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Mounts(error) => error.errno(),
            Self::Attribute(error) => error.errno(),
            Self::NoObject(_) => None,
        }
    }

    fn refused(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        let refused = attribute::Error::refused(what, path);
        move |errno| refused(errno).into()
    }
}

/// An object: a directory in sysfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    path: PathBuf,
}

impl Object {
    /// The object at `path` below the place where sysfs is mounted, such as `fs/myfs`.
    ///
    /// What is found is where the object really is, however many symbolic links lead there.
    ///
    /// # Errors
    ///
    /// [`Error::NoObject`]; [`Error::Mounts`] without sysfs.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man5/sysfs.5.html)
    pub fn find(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::at(FileSystem::Sysfs.find()?.join(path))
    }

    /// The object at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::NoObject`].
    pub fn at(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        match fs::canonicalize(path) {
            Ok(real) if real.is_dir() => Ok(Self { path: real }),
            _ => Err(Error::NoObject(path.to_owned())),
        }
    }

    /// Where it really is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The object that has this one in its directory; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let path = self.path.parent()?.to_owned();
        Some(Self { path })
    }

    /// The attribute called `name`. Whether there is one shows when it is used.
    pub fn attribute(&self, name: impl AsRef<Path>) -> Attribute {
        Attribute::at(self.path.join(name))
    }

    /// The binary attribute called `name`. Whether there is one shows when it is used.
    pub fn binary(&self, name: impl AsRef<Path>) -> Binary {
        let path = self.path.join(name);
        Binary { path }
    }

    /// The object called `name` in this one's directory, or the one that the symbolic link of that name
    /// leads to; `None` if there is neither.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`].
    pub fn get(&self, name: impl AsRef<Path>) -> Result<Option<Self>, Error> {
        let path = self.path.join(name);
        match fs::canonicalize(&path) {
            Ok(real) => Ok(real.is_dir().then_some(Self { path: real })),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => Ok(None),
                errno => Err(Error::refused("look up", &path)(errno.unwrap_or(Errno::IO))),
            },
        }
    }

    /// The name of the object that the symbolic link `name` in this one's directory leads to; `None` if there is
    /// no such link. It takes one call, wherever that object is.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/readlink.2.html)
    pub fn link(&self, name: impl AsRef<Path>) -> Result<Option<String>, Error> {
        let path = self.path.join(name);
        match fs::read_link(&path) {
            Ok(to) => Ok(to
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::INVAL) => Ok(None),
                errno => Err(Error::refused("look up", &path)(errno.unwrap_or(Errno::IO))),
            },
        }
    }

    /// The names of its attributes, binary ones too, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`].
    pub fn attributes(&self) -> Result<Vec<String>, Error> {
        self.list(FileType::is_file)
    }

    /// The names of the objects in its directory, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`].
    pub fn objects(&self) -> Result<Vec<String>, Error> {
        self.list(FileType::is_dir)
    }

    /// The names of the symbolic links in its directory, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`].
    pub fn links(&self) -> Result<Vec<String>, Error> {
        self.list(FileType::is_symlink)
    }

    /// The names in the directory that are of this kind. What goes meanwhile is not there.
    fn list(&self, is: impl Fn(&FileType) -> bool) -> Result<Vec<String>, Error> {
        let mut names = attribute::list(&self.path)?;
        names.retain(|name| {
            fs::symlink_metadata(self.path.join(name))
                .is_ok_and(|metadata| is(&metadata.file_type()))
        });
        Ok(names)
    }
}

/// An attribute that is no text, by its path. Nothing is opened until it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    path: PathBuf,
}

impl Binary {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes it has; 0 if the kernel does not know.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/stat.2.html)
    pub fn size(&self) -> Result<u64, Error> {
        let stat = rustix::fs::stat(&self.path).map_err(Error::refused("look up", &self.path))?;
        Ok(stat.st_size.cast_unsigned())
    }

    /// All its bytes. They are read a page at a time, and may change in between.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let open = self.open(OFlags::RDONLY)?;
        let mut bytes = Vec::new();
        let mut page = [0; 4096];
        loop {
            match open.read_at(bytes.len() as u64, &mut page)? {
                0 => return Ok(bytes),
                len => bytes.extend_from_slice(&page[..len]),
            }
        }
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/open.2.html)
    pub fn open(&self, flags: OFlags) -> Result<OpenBinary, Error> {
        let fd = rustix::fs::open(&self.path, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::refused("open", &self.path))?;
        Ok(OpenBinary {
            fd,
            path: self.path.clone(),
        })
    }
}

/// An open binary attribute.
#[derive(Debug)]
pub struct OpenBinary {
    fd: OwnedFd,
    path: PathBuf,
}

impl OpenBinary {
    /// Reads from `offset` on, and returns how many bytes there were: a page at most, and 0 beyond the
    /// end.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/pread.2.html)
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        io::retry_on_intr(|| io::pread(&self.fd, &mut *buffer, offset))
            .map_err(Error::refused("read", &self.path))
    }

    /// Writes all of `bytes` from `offset` on. The kernel takes a page at a time, so it is not one change
    /// but several.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`], with [`Errno::FBIG`] once the end is reached; what came before it has been
    /// written.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/pwrite.2.html)
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let taken = io::retry_on_intr(|| io::pwrite(&self.fd, &bytes[done..], at))
                .map_err(Error::refused("write", &self.path))?;
            if taken == 0 {
                return Err(Error::refused("write", &self.path)(Errno::IO));
            }
            done += taken;
        }
        Ok(())
    }
}

impl AsFd for OpenBinary {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_the_running_kernel_is_found_and_listed() {
        let cpus = Object::find("devices/system/cpu").unwrap();
        assert_eq!(cpus.name(), "cpu");
        assert_eq!(cpus.parent().unwrap().name(), "system");
        let attributes = cpus.attributes().unwrap();
        assert!(attributes.contains(&"online".to_owned()), "{attributes:?}");
        assert!(attributes.is_sorted());
        assert!(cpus.objects().unwrap().contains(&"cpu0".to_owned()));
        let first = cpus.get("cpu0").unwrap().unwrap();
        assert_eq!(first.link("subsystem").unwrap().as_deref(), Some("cpu"));
        assert_eq!(first.link("online").unwrap(), None, "a file is no link");
        assert_eq!(first.link("no_such").unwrap(), None);
        assert!(first.links().unwrap().contains(&"subsystem".to_owned()));
        assert_eq!(first.get("subsystem").unwrap().unwrap().name(), "cpu");
        assert_eq!(first.get("no_such").unwrap(), None);
        assert_eq!(cpus.get("online").unwrap(), None, "a file is no object");
        assert!(cpus.attribute("online").text().unwrap().starts_with('0'));
    }

    #[test]
    fn what_is_not_there_is_told() {
        let error = Object::find("no/such").unwrap_err();
        assert!(matches!(error, Error::NoObject(_)));
        assert_eq!(error.errno(), None);
        assert_eq!(
            error.to_string(),
            "there is no object /sys/no/such: load the module or plug in the device that has it"
        );
        let kernel = Object::find("kernel").unwrap();
        let error = kernel.binary("no_such").size().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        let error = Object::at(kernel.path().join("uevent_seqnum")).unwrap_err();
        assert!(matches!(error, Error::NoObject(_)), "a file is no object");
    }

    #[test]
    fn a_binary_attribute_of_the_running_kernel_is_read() {
        // The notes of the kernel's ELF file: names padded with NUL, so no text.
        let notes = Object::find("kernel").unwrap().binary("notes");
        let bytes = notes.read().unwrap();
        assert_eq!(notes.size().unwrap(), bytes.len() as u64);
        let open = notes.open(OFlags::RDONLY).unwrap();
        let mut part = [0; 8];
        assert_eq!(open.read_at(4, &mut part).unwrap(), 8);
        assert_eq!(part, bytes[4..12]);
        assert_eq!(open.read_at(bytes.len() as u64, &mut part).unwrap(), 0);
    }
}
