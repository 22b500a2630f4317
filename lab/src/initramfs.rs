// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's whole disk: a newc archive of a few files.

use anyhow::{Context, Result};
use cpio::newc::{Builder, trailer};
use rustix::fs::{MemfdFlags, memfd_create};
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
const CONSOLE: u32 = 0o020_600;
const LINK: u32 = 0o120_777;

/// What goes into the archive.
#[derive(Clone, Debug, Default)]
pub struct Initramfs {
    directories: Vec<String>,
    files: Vec<(String, u32, Contents)>,
}

#[derive(Clone, Debug)]
enum Contents {
    Of(PathBuf),
    Bytes(Vec<u8>),
}

impl Initramfs {
    /// Adds a directory; its parent must be there.
    #[must_use]
    pub fn directory(mut self, path: &str) -> Self {
        self.directories.push(path.into());
        self
    }

    /// Adds a program.
    #[must_use]
    pub fn executable(mut self, path: &str, from: &Path) -> Self {
        self.files
            .push((path.into(), EXECUTABLE, Contents::Of(from.into())));
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: &str, from: &Path) -> Self {
        self.files
            .push((path.into(), PLAIN, Contents::Of(from.into())));
        self
    }

    /// Adds a file with these contents.
    #[must_use]
    pub fn bytes(mut self, path: &str, bytes: Vec<u8>) -> Self {
        self.files
            .push((path.into(), PLAIN, Contents::Bytes(bytes)));
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(mut self, path: &str, to: &Path) -> Self {
        let to = to.as_os_str().as_encoded_bytes().to_vec();
        self.files.push((path.into(), LINK, Contents::Bytes(to)));
        self
    }

    /// The archive, in memory that a file descriptor stands for.
    pub fn to_memfd(&self) -> Result<OwnedFd> {
        let memfd = memfd_create("initramfs", MemfdFlags::CLOEXEC).context("memfd_create")?;
        let mut file = std::fs::File::from(memfd);
        self.write(&mut file).context("writing the initramfs")?;
        file.rewind()?;
        Ok(file.into())
    }

    fn write(&self, out: &mut impl Write) -> Result<()> {
        let mut inode = 0;
        let mut entry = |path: &str, mode: u32| {
            inode += 1;
            Builder::new(path.trim_start_matches('/'))
                .ino(inode)
                .mode(mode)
        };
        for directory in &self.directories {
            entry(directory, DIRECTORY).write(&mut *out, 0).finish()?;
        }
        // Before PID 1 has mounted anything, the kernel opens this for its standard streams.
        entry("dev", DIRECTORY).write(&mut *out, 0).finish()?;
        entry("dev/console", CONSOLE)
            .rdev_major(5)
            .rdev_minor(1)
            .write(&mut *out, 0)
            .finish()?;
        for (path, mode, contents) in &self.files {
            let bytes = match contents {
                Contents::Bytes(bytes) => bytes.clone(),
                Contents::Of(from) => {
                    let mut bytes = Vec::new();
                    std::fs::File::open(from)
                        .and_then(|mut file| file.read_to_end(&mut bytes))
                        .with_context(|| format!("reading {}", from.display()))?;
                    bytes
                }
            };
            let length = u32::try_from(bytes.len()).context("a file over 4 GiB")?;
            let mut writer = entry(path, *mode).write(&mut *out, length);
            writer.write_all(&bytes)?;
            writer.finish()?;
        }
        trailer(&mut *out)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_what_was_put_in() {
        let mut archive = Vec::new();
        Initramfs::default()
            .directory("/modules")
            .bytes("/modules/a", b"abc".to_vec())
            .write(&mut archive)
            .unwrap();
        let mut found = Vec::new();
        let mut rest = archive.as_slice();
        loop {
            let reader = cpio::newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            found.push((reader.entry().name().to_owned(), reader.entry().mode()));
            rest = reader.finish().unwrap();
        }
        assert_eq!(
            found,
            [
                ("modules".into(), DIRECTORY),
                ("dev".into(), DIRECTORY),
                ("dev/console".into(), CONSOLE),
                ("modules/a".into(), PLAIN),
            ]
        );
    }
}
