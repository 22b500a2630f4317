// SPDX-License-Identifier: MIT OR Apache-2.0

//! What calls on files in debugfs cost: those made by one line, and those that have operations of their own.

use std::path::PathBuf;

use anyhow::ensure;
use callgate::debugfs::Debugfs;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io;

use super::file::Kept;
use super::{Operation, Work};
use crate::debugfs::abi::{self, MESSAGE_LIMIT};

/// A number, and messages up to the longest that there are.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let tree = Debugfs::find()?.root().join(abi::TREE_PATH);
    let number = tree.join(abi::VALUES).join("size_t");
    let mut operations = vec![open(tree.join(abi::MESSAGE)), exchange(number)];
    for bytes in [1, 64, MESSAGE_LIMIT] {
        let message = Kept::of(tree.join(abi::MESSAGE), bytes);
        operations.push(message.write("write a message")?);
        operations.push(message.read("read a message")?);
        operations.push(message.exchange("write a message, then read it")?);
    }
    Ok(operations)
}

fn open(message: PathBuf) -> Operation<'static> {
    let run = move || {
        opened(&message)?;
        Ok(())
    };
    Operation::new(Work::Other, "open and close", 0, run)
}

/// Writes a number and reads it again, which takes an open file each time: it is read once for each.
fn exchange(number: PathBuf) -> Operation<'static> {
    let value = b"1234567\n";
    let name = "open, write a number, read it, close";
    Operation::new(Work::RoundTrip, name, value.len(), move || {
        let file = opened(&number)?;
        ensure!(io::write(&file, value)? == value.len(), "it took less");
        let mut buffer = [0; 32];
        let len = io::read(&file, &mut buffer)?;
        ensure!(buffer[..len] == *value, "it holds something else");
        Ok(())
    })
}

fn opened(path: &PathBuf) -> io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}
