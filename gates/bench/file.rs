// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be done with a file that holds what was written to it last: most gates have one.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::ensure;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io;

use super::{Operation, Work};

/// Such a file, and a value for it.
///
/// It is the same for all who open it, so who reads it while others write something longer or shorter fails.
#[derive(Clone)]
pub struct Kept {
    path: PathBuf,
    value: Rc<[u8]>,
}

impl Kept {
    /// The file at `path`, with this value.
    pub fn new(path: impl Into<PathBuf>, value: &[u8]) -> Self {
        Self {
            path: path.into(),
            value: value.into(),
        }
    }

    /// With so many bytes as its value, whatever they are.
    pub fn of(path: impl Into<PathBuf>, bytes: usize) -> Self {
        Self::new(path, &vec![b'x'; bytes])
    }

    /// With a line of so many bytes as its value, the newline among them.
    pub fn line(path: impl Into<PathBuf>, bytes: usize) -> Self {
        let mut line = vec![b'x'; bytes];
        line[bytes - 1] = b'\n';
        Self::new(path, &line)
    }

    /// Writes the value.
    pub fn write(&self, name: &'static str) -> anyhow::Result<Operation<'static>> {
        let (file, value) = (self.open(OFlags::empty())?, Rc::clone(&self.value));
        let write = move || put(&file, &value);
        Ok(self.operation(Work::ToKernel, name, write))
    }

    /// Reads the value.
    pub fn read(&self, name: &'static str) -> anyhow::Result<Operation<'static>> {
        let file = self.open(OFlags::empty())?;
        let mut buffer = vec![0; self.value.len()];
        let read = move || get(&file, &mut buffer);
        Ok(self.operation(Work::ToProgram, name, read))
    }

    /// Writes the value and reads it again.
    pub fn exchange(&self, name: &'static str) -> anyhow::Result<Operation<'static>> {
        let (file, value) = (self.open(OFlags::empty())?, Rc::clone(&self.value));
        let mut buffer = vec![0; value.len()];
        let exchange = move || {
            put(&file, &value)?;
            get(&file, &mut buffer)
        };
        Ok(self.operation(Work::RoundTrip, name, exchange))
    }

    fn operation(
        &self,
        work: Work,
        name: &'static str,
        run: impl FnMut() -> anyhow::Result<()> + 'static,
    ) -> Operation<'static> {
        let kept = self.clone();
        Operation::new(work, name, self.value.len(), run).first(move || kept.keep())
    }

    /// Puts the value there, in place of a longer one too, and looks whether all of it is.
    fn keep(&self) -> anyhow::Result<()> {
        let file = self.open(OFlags::TRUNC)?;
        put(&file, &self.value)?;
        let mut buffer = vec![0; self.value.len()];
        get(&file, &mut buffer)?;
        ensure!(*buffer == *self.value, "it holds something else");
        Ok(())
    }

    fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | flags;
        rustix::fs::open(&self.path, flags, Mode::empty())
    }
}

fn put(file: &OwnedFd, value: &[u8]) -> anyhow::Result<()> {
    ensure!(io::pwrite(file, value, 0)? == value.len(), "it took less");
    Ok(())
}

fn get(file: &OwnedFd, buffer: &mut [u8]) -> anyhow::Result<()> {
    let bytes = buffer.len();
    ensure!(io::pread(file, buffer, 0)? == bytes, "it gave less");
    Ok(())
}
