// SPDX-License-Identifier: MIT OR Apache-2.0

//! What calls on an attribute cost, by its kind and by how many bytes they move; and what it costs to hear that
//! one has changed.

use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use callgate::attribute::Attribute;
use callgate::sysfs::Object;
use rustix::fs::OFlags;
use rustix::io;

use super::Operation;
use super::file::Kept;
use crate::sysfs::abi::{self, NOTE_LIMIT};

/// Nobody waits longer than this for a change.
const LIMIT: Duration = Duration::from_secs(30);

/// A number, bytes, and a text as long as there can be one, which are the same for all: threads must read and
/// write as many bytes, and one at a time may wait for a change.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let number = Kept::new(path(abi::FIRST)?, b"1234567\n");
    let text = Kept::line(path(abi::NOTE)?, NOTE_LIMIT);
    let bytes = |bytes| anyhow::Ok(Kept::of(path(abi::BLOB)?, bytes));
    Ok(vec![
        number.write("write a number")?,
        number.read("read a number")?,
        number.exchange("write a number, then read it")?,
        text.write("write a text")?,
        text.read("read a text")?,
        text.exchange("write a text, then read it")?,
        bytes(4096)?.write("write bytes")?,
        bytes(4096)?.read("read bytes")?,
        bytes(1)?.exchange("write bytes, then read them")?,
        bytes(64)?.exchange("write bytes, then read them")?,
        bytes(1024)?.exchange("write bytes, then read them")?,
        bytes(4096)?.exchange("write bytes, then read them")?,
        change()?,
    ])
}

fn path(file: &CStr) -> anyhow::Result<PathBuf> {
    let myfs = Object::find(format!("fs/{}", abi::DIRECTORY.to_str()?))?;
    Ok(myfs.path().join(file.to_str()?))
}

/// A number is written by one who has the file open, and another hears of it and reads the number.
fn change() -> anyhow::Result<Operation<'static>> {
    const NUMBER: &[u8] = b"1234567\n";
    let number = Attribute::at(path(abi::SECOND)?);
    let writing = number.open(OFlags::WRONLY)?;
    let reading = Arc::new(number.open(OFlags::RDONLY)?);
    let first = Arc::clone(&reading);
    let tell = move || Ok(writing.write(NUMBER)?);
    let hear = move || {
        ensure!(reading.wait_for_change(LIMIT)?, "there was no change");
        let mut number = [0; 16];
        let len = io::pread(&reading, &mut number, 0)?;
        ensure!(number[..len] == *NUMBER, "it is another number");
        Ok(())
    };
    let operation = Operation::notify("hear of a change", NUMBER.len(), tell, hear);
    // What was read last is what has not changed since.
    Ok(operation.first(move || {
        first.read()?;
        Ok(())
    }))
}
