// SPDX-License-Identifier: MIT OR Apache-2.0

//! configfs: making, linking and removing a kernel module's items, and setting their attributes.
//!
//! A [`Configfs`] is the mounted file system, an [`Item`] a directory in it: a module's subsystem at the
//! top, and below it what a user made. An item's text attributes are [`Attribute`]s, its binary ones
//! [`BinaryAttribute`]s.
//!
//! ```no_run
//! use callgate::configfs::Configfs;
//!
//! let gadgets = Configfs::find()?.subsystem("usb_gadget")?;
//! let gadget = gadgets.make("g1")?;
//! gadget.attribute("idVendor").set("0x1d6b")?;
//! gadget.remove()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # References
//!  - [Linux](https://docs.kernel.org/filesystems/configfs.html)
//!
//! # Not supported
//!
//! Telling a text attribute from a binary one: that is in the module's documentation.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::{self, Errno};

use crate::attribute::Attribute;
use crate::mounts::{self, FileSystem};

/// Why something could not be done in configfs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// configfs was not found.
    #[error(transparent)]
    Mount(#[from] mounts::Error),
    /// The kernel refused.
    #[error("cannot {what} {}: {errno}; {}", .path.display(), hint(.what, *.errno))]
    Refused {
        /// What was tried: `find`, `make`, `remove`, `list`, `link`, `unlink`, `follow`, `read` or
        /// `write`.
        what: &'static str,
        /// The item, link or attribute.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Mount(error) => error.errno(),
            Self::Refused { errno, .. } => Some(*errno),
        }
    }
}

fn refused(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::Refused {
        what,
        path: path.to_owned(),
        errno,
    }
}

/// What to do next.
fn hint(what: &str, errno: Errno) -> &'static str {
    match (what, errno) {
        (_, Errno::ACCESS) => "its permissions keep you out: run as root",
        (_, Errno::ROFS) => "configfs is mounted read-only: remount it",
        ("find", Errno::NOENT) => "load the module that it belongs to",
        (_, Errno::NOENT) => "it is gone, or was never made: list what there is",
        ("make" | "link", Errno::EXIST) => "something has that name: remove it, or take another",
        ("make", Errno::PERM) => "nothing can be made here: see which of its groups takes items",
        ("make", Errno::NXIO) => "the module is not ready yet: try again",
        ("make", Errno::INVAL) => "the module is being unloaded, or does not take this name",
        ("make" | "link", Errno::NAMETOOLONG) => "a name has at most 255 bytes",
        ("remove", Errno::NOTEMPTY) => "remove the items and links in it first",
        ("remove", Errno::BUSY) => {
            "a link leads to it, or the kernel uses it: remove the link, or stop that use"
        }
        ("remove", Errno::PERM) => "it came with its parent, and goes with it",
        ("link", Errno::PERM) => "this item takes no links, or the target is not in configfs",
        ("link", Errno::INVAL) => "this item takes no links to such a target",
        ("link", Errno::NOTDIR) => "only an item can be linked to",
        ("unlink", Errno::PERM) => "only a link can be unlinked: an item is removed",
        ("follow", Errno::INVAL) => "it is no link",
        ("read" | "write", Errno::FBIG) => "it is longer than the module allows",
        ("read", Errno::AGAIN) => "it changed meanwhile: try again",
        _ => "see the module's documentation, and the kernel's log",
    }
}

/// A mounted configfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configfs {
    place: PathBuf,
}

impl Configfs {
    /// The one that is mounted, in its customary place if there too.
    ///
    /// # Errors
    ///
    /// [`Error::Mount`].
    pub fn find() -> Result<Self, Error> {
        Ok(Self::at(FileSystem::Configfs.find()?))
    }

    /// The one that is mounted at `place`.
    pub fn at(place: impl Into<PathBuf>) -> Self {
        Self {
            place: place.into(),
        }
    }

    /// Where it is mounted.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The names of all subsystems, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn subsystems(&self) -> Result<Vec<String>, Error> {
        Ok(Item::at(&self.place).list()?.items)
    }

    /// The subsystem `name`, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with [`Errno::NOENT`] if its module is not loaded.
    pub fn subsystem(&self, name: &str) -> Result<Item, Error> {
        let item = Item::at(self.place.join(name));
        match rustix::fs::stat(item.path()) {
            Ok(_) => Ok(item),
            Err(errno) => Err(refused("find", item.path())(errno)),
        }
    }
}

/// A directory of configfs, by its path: a subsystem, a group, or an item that nothing can be made in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    path: PathBuf,
}

/// What there is in an item, each kind sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files.
    pub attributes: Vec<String>,
    /// Directories: made by a user, or come with this one.
    pub items: Vec<String>,
    /// Symbolic links to other items.
    pub links: Vec<String>,
}

impl Item {
    /// The item at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The item `name` in this one. It need not be there.
    #[must_use]
    pub fn item(&self, name: &str) -> Self {
        Self::at(self.path.join(name))
    }

    /// The attribute `name`. It need not be there.
    pub fn attribute(&self, name: &str) -> Attribute {
        Attribute::at(self.path.join(name))
    }

    /// The binary attribute `name`. It need not be there.
    pub fn binary_attribute(&self, name: &str) -> BinaryAttribute {
        BinaryAttribute {
            path: self.path.join(name),
        }
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        rustix::fs::stat(&self.path).is_ok()
    }

    /// What there is in it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn list(&self) -> Result<Contents, Error> {
        let read = || -> std::io::Result<Contents> {
            let mut contents = Contents::default();
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                let names = if kind.is_dir() {
                    &mut contents.items
                } else if kind.is_symlink() {
                    &mut contents.links
                } else {
                    &mut contents.attributes
                };
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
            contents.attributes.sort();
            contents.items.sort();
            contents.links.sort();
            Ok(contents)
        };
        read().map_err(|error| {
            refused("list", &self.path)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
    }

    /// Has the kernel make the item `name` in this one.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: with [`Errno::PERM`] if nothing can be made here, [`Errno::EXIST`] if something
    /// has that name, or what the module answers.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/mkdir.2.html)
    pub fn make(&self, name: &str) -> Result<Self, Error> {
        let item = self.item(name);
        // configfs pays no attention to the mode.
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdir(&item.path, mode).map_err(refused("make", &item.path))?;
        Ok(item)
    }

    /// Has the kernel remove it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: with [`Errno::NOTEMPTY`] if there are items or links in it, [`Errno::BUSY`] if
    /// a link leads to it or the kernel uses it, [`Errno::PERM`] if it came with its parent.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/rmdir.2.html)
    pub fn remove(&self) -> Result<(), Error> {
        rustix::fs::rmdir(&self.path).map_err(refused("remove", &self.path))
    }

    /// Makes a link `name` in this item that leads to `target`, which cannot be removed as long as the
    /// link is there.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: with [`Errno::PERM`] if this item takes no links, or what the module answers.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/symlink.2.html)
    pub fn link(&self, name: &str, target: &Self) -> Result<(), Error> {
        let path = self.path.join(name);
        rustix::fs::symlink(&target.path, &path).map_err(refused("link", &path))
    }

    /// Removes the link `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: with [`Errno::PERM`] or [`Errno::ISDIR`] if it is no link.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/unlink.2.html)
    pub fn unlink(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        rustix::fs::unlink(&path).map_err(refused("unlink", &path))
    }

    /// The item that the link `name` leads to.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with [`Errno::INVAL`] if it is no link.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man3/realpath.3.html)
    pub fn follow(&self, name: &str) -> Result<Self, Error> {
        let path = self.path.join(name);
        let follow = || {
            let kind = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
            if !FileType::from_raw_mode(kind).is_symlink() {
                return Err(Errno::INVAL);
            }
            fs::canonicalize(&path)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        follow().map(Self::at).map_err(refused("follow", &path))
    }
}

/// A binary attribute, by its path.
///
/// The kernel collects what is written until the file is closed, and only then gives it to the module.
/// The module's opinion of it gets lost: close(2) succeeds whatever that is. So what matters is best read
/// back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryAttribute {
    path: PathBuf,
}

impl BinaryAttribute {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All that it holds.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: with [`Errno::FBIG`] if it is longer than the module said it could be.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let read = || {
            let file = self.open(OFlags::RDONLY)?;
            let mut contents = Vec::new();
            let mut part = vec![0; 65536];
            loop {
                match io::retry_on_intr(|| io::read(&file, &mut part))? {
                    0 => return Ok(contents),
                    len => contents.extend_from_slice(&part[..len]),
                }
            }
        };
        read().map_err(refused("read", &self.path))
    }

    /// Replaces what it holds.
    ///
    /// If this fails once a part has been written, the module gets that part: there is no way to take it
    /// back.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: with [`Errno::FBIG`] if it is longer than the module allows.
    pub fn write(&self, mut contents: &[u8]) -> Result<(), Error> {
        let mut write = || {
            let file = self.open(OFlags::WRONLY)?;
            while !contents.is_empty() {
                let len = io::retry_on_intr(|| io::write(&file, contents))?;
                contents = &contents[len..];
            }
            Ok(())
        };
        write().map_err(refused("write", &self.path))
    }

    /// Opens it: to read or write piece by piece.
    ///
    /// # Errors
    ///
    /// What open(2) fails with.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/open.2.html)
    pub fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        rustix::fs::open(&self.path, flags | OFlags::CLOEXEC, Mode::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ordinary directory behaves much like configfs.
    fn directory(name: &str) -> Item {
        let path = std::env::temp_dir().join(format!("callgate-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Item::at(path)
    }

    #[test]
    fn items_are_made_linked_listed_and_removed() {
        let top = directory("configfs-items");
        let (one, two) = (top.make("one").unwrap(), top.make("two").unwrap());
        one.link("other", &two).unwrap();
        fs::write(one.attribute("number").path(), "5\n").unwrap();
        assert_eq!(one.attribute("number").get::<u8>().unwrap(), 5);
        let contents = Contents {
            attributes: vec!["number".into()],
            items: vec![],
            links: vec!["other".into()],
        };
        assert_eq!(one.list().unwrap(), contents);
        assert_eq!(
            one.follow("other").unwrap().path(),
            fs::canonicalize(two.path()).unwrap()
        );
        assert_eq!(
            one.follow("number").unwrap_err().errno(),
            Some(Errno::INVAL)
        );
        assert_eq!(one.remove().unwrap_err().errno(), Some(Errno::NOTEMPTY));
        one.unlink("other").unwrap();
        one.unlink("number").unwrap();
        one.remove().unwrap();
        two.remove().unwrap();
        assert!(!one.exists() && top.exists());
        assert_eq!(
            Configfs::at(top.path()).subsystems().unwrap(),
            Vec::<String>::new()
        );
        top.remove().unwrap();
    }

    #[test]
    fn binary_contents_are_read_and_written_whole() {
        let top = directory("configfs-binary");
        let contents: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let binary = top.binary_attribute("contents");
        fs::write(binary.path(), "").unwrap();
        binary.write(&contents).unwrap();
        assert_eq!(binary.read().unwrap(), contents);
        fs::remove_file(binary.path()).unwrap();
        top.remove().unwrap();
    }

    #[test]
    fn errors_keep_the_errno_and_say_what_to_do() {
        let top = directory("configfs-errors");
        let error = Configfs::at(top.path()).subsystem("no_such").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert!(
            error
                .to_string()
                .ends_with("load the module that it belongs to"),
            "{error}"
        );
        let error = top.item("no").make("item").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        let item = top.make("item").unwrap();
        let error = top.make("item").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EXIST));
        assert!(error.to_string().starts_with("cannot make /"), "{error}");
        item.remove().unwrap();
        top.remove().unwrap();
    }
}
