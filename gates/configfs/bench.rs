// SPDX-License-Identifier: MIT OR Apache-2.0

//! What it costs to make items, to link them, and to use their attributes.

use std::path::PathBuf;
use std::process;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::ensure;
use callgate::configfs::{Configfs, Item};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io;

use super::{Operation, Work};
use crate::configfs::abi::{self, IMAGE_SIZE};

/// Items of its own, with a number and with contents.
///
/// A value is read and written by an open file of its own each time: one that stays open goes on showing what
/// it showed first, and contents are the module's once the file is closed.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let configfs = Configfs::find()?;
    let children = configfs.subsystem(abi::SIMPLE_CHILDREN.to_str()?)?;
    let linked = configfs.subsystem(abi::LINKED_CHILDREN.to_str()?)?;
    let images = linked.item(abi::IMAGES.to_str()?);
    let devices = linked.item(abi::DEVICES.to_str()?);

    let child = Rc::new(Made::new(&children)?);
    let image = Rc::new(Made::new(&images)?);
    let device = Made::new(&devices)?;
    let mut operations = vec![make(children), link(device, Rc::clone(&image))];
    operations.push(number(&child).write("write a number"));
    operations.push(number(&child).read("read a number"));
    operations.push(number(&child).exchange("write a number, then read it"));
    for bytes in [1, 1024, 4096, IMAGE_SIZE] {
        operations.push(contents(&image, bytes).exchange("write bytes, then read them"));
    }
    let longest = contents(&image, IMAGE_SIZE);
    operations.push(longest.write("write bytes"));
    operations.push(longest.read("read bytes"));
    Ok(operations)
}

/// An item that is removed in the end.
struct Made(Item);

impl Made {
    fn new(parent: &Item) -> anyhow::Result<Self> {
        Ok(Self(parent.make(&name())?))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Its parent may be gone with the module.
        let _ = self.0.remove();
    }
}

/// A name that nothing else has.
fn name() -> String {
    static NAMED: AtomicU32 = AtomicU32::new(0);
    let number = NAMED.fetch_add(1, Ordering::Relaxed);
    format!("bench-{}-{number}", process::id())
}

fn make(children: Item) -> Operation<'static> {
    let name = name();
    Operation::new(Work::Other, "make an item and remove it", 0, move || {
        Ok(children.make(&name)?.remove()?)
    })
}

fn link(device: Made, image: Rc<Made>) -> Operation<'static> {
    let run = move || {
        device.0.link("image", &image.0)?;
        Ok(device.0.unlink("image")?)
    };
    Operation::new(Work::Other, "link two items and part them", 0, run)
}

fn number(child: &Rc<Made>) -> Value {
    Value::new(child, "storeme", b"1234567\n".to_vec())
}

fn contents(image: &Rc<Made>, bytes: usize) -> Value {
    Value::new(image, "contents", vec![b'x'; bytes])
}

/// An attribute of an item's, and a value for it.
#[derive(Clone)]
struct Value {
    path: PathBuf,
    bytes: Rc<[u8]>,
    _item: Rc<Made>,
}

impl Value {
    fn new(item: &Rc<Made>, attribute: &str, value: Vec<u8>) -> Self {
        Self {
            path: item.0.path().join(attribute),
            bytes: value.into(),
            _item: Rc::clone(item),
        }
    }

    fn write(&self, name: &'static str) -> Operation<'static> {
        let this = self.clone();
        let write = move || this.put();
        self.operation(Work::ToKernel, name, write)
    }

    fn read(&self, name: &'static str) -> Operation<'static> {
        let (this, mut buffer) = (self.clone(), vec![0; self.bytes.len()]);
        let read = move || this.get(&mut buffer);
        self.operation(Work::ToProgram, name, read)
    }

    fn exchange(&self, name: &'static str) -> Operation<'static> {
        let (this, mut buffer) = (self.clone(), vec![0; self.bytes.len()]);
        let exchange = move || {
            this.put()?;
            this.get(&mut buffer)
        };
        self.operation(Work::RoundTrip, name, exchange)
    }

    fn operation(
        &self,
        work: Work,
        name: &'static str,
        run: impl FnMut() -> anyhow::Result<()> + 'static,
    ) -> Operation<'static> {
        let this = self.clone();
        Operation::new(work, name, self.bytes.len(), run).first(move || {
            this.put()?;
            let mut buffer = vec![0; this.bytes.len()];
            this.get(&mut buffer)?;
            ensure!(*buffer == *this.bytes, "it holds something else");
            Ok(())
        })
    }

    fn put(&self) -> anyhow::Result<()> {
        let taken = io::write(self.open(OFlags::WRONLY)?, &self.bytes)?;
        ensure!(taken == self.bytes.len(), "it took less");
        Ok(())
    }

    fn get(&self, buffer: &mut [u8]) -> anyhow::Result<()> {
        let bytes = buffer.len();
        let given = io::read(self.open(OFlags::RDONLY)?, buffer)?;
        ensure!(given == bytes, "it gave less");
        Ok(())
    }

    fn open(&self, access: OFlags) -> io::Result<OwnedFd> {
        rustix::fs::open(&self.path, access | OFlags::CLOEXEC, Mode::empty())
    }
}
