// SPDX-License-Identifier: MIT OR Apache-2.0

//! What calls on a file in `/proc` cost, by how many bytes they move.

use anyhow::ensure;
use callgate::procfs::{Entry, Proc};
use rustix::fs::OFlags;

use super::file::Kept;
use super::{Operation, Work};
use crate::procfs::abi::{self, SECOND_LIMIT};

/// The greeting, and the value that is kept, which is one for all: threads must read and write as many bytes.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let mut operations = vec![open()?, greeting()?];
    let second = file(abi::SECOND)?;
    for bytes in [1, 4096, SECOND_LIMIT] {
        let second = Kept::of(second.path(), bytes);
        operations.push(second.write("write")?);
        operations.push(second.read("read")?);
    }
    for bytes in [1, 64, 1024, 4096, SECOND_LIMIT] {
        operations.push(Kept::of(second.path(), bytes).exchange("write, then read")?);
    }
    Ok(operations)
}

fn file(name: &str) -> anyhow::Result<Entry> {
    Ok(Proc::find()?.entry(format!("{}/{name}", abi::DIRECTORY)))
}

fn open() -> anyhow::Result<Operation<'static>> {
    let second = file(abi::SECOND)?;
    Ok(Operation::new(
        Work::Other,
        "open and close",
        0,
        move || {
            second.open(OFlags::RDONLY)?;
            Ok(())
        },
    ))
}

fn greeting() -> anyhow::Result<Operation<'static>> {
    let first = file(abi::FIRST)?.open(OFlags::RDONLY)?;
    let mut text = [0; 99];
    let len = first.pread(&mut text, 0)?;
    Ok(Operation::new(
        Work::ToProgram,
        "read the greeting",
        len,
        move || {
            ensure!(first.pread(&mut text, 0)? == len, "it gave less");
            Ok(())
        },
    ))
}
