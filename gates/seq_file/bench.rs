// SPDX-License-Identifier: MIT OR Apache-2.0

//! What it costs to read what a `seq_file` makes up, and to change the list that it shows.

use std::rc::Rc;

use anyhow::{Context, ensure};
use callgate::chardev::Device;
use callgate::procfs::{Entry, Proc};
use rustix::fs::OFlags;

use super::{Operation, Work};
use crate::seq_file::abi::{self, CONTROL_LIMIT};

/// What is written before the text of the record that there is, and what the list has before it.
const ADD: &str = "remove 1\nadd 1 ";
const NUMBER: &str = "1\t";

/// How long the line of a record is, at the most: it comes by one write with the command that removes the other.
const LONGEST: usize = CONTROL_LIMIT - ADD.len() + NUMBER.len();

/// How many records the list has when all of it is read.
const RECORDS: usize = 100;

/// The numbers, whose text is made for each call; and a list, of which the records are changed.
///
/// There is one list for all, so one thread at a time may use that.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let mut operations = vec![open()?];
    // The kernel makes a page of them at most, and passes on no part of a number.
    for bytes in [1, 64, 1024] {
        operations.push(numbers(bytes)?);
    }
    let list = Rc::new(List::open()?);
    for bytes in [4, 64, 1024, 4096, LONGEST] {
        operations.push(Rc::clone(&list).exchange(bytes));
    }
    operations.push(Rc::clone(&list).replace(LONGEST));
    operations.push(Rc::clone(&list).read(LONGEST));
    operations.push(list.all());
    Ok(operations)
}

fn open() -> anyhow::Result<Operation<'static>> {
    let sequence = Proc::find()?.entry(abi::SEQUENCE);
    Ok(Operation::new(
        Work::Other,
        "open and close",
        0,
        move || {
            sequence.open(OFlags::RDONLY)?;
            Ok(())
        },
    ))
}

/// As many of the digits and newlines as fit.
fn numbers(bytes: usize) -> anyhow::Result<Operation<'static>> {
    let sequence = Proc::find()?.entry(abi::SEQUENCE).open(OFlags::RDONLY)?;
    let mut text = vec![0; bytes];
    Ok(Operation::new(
        Work::ToProgram,
        "read numbers",
        bytes,
        move || {
            ensure!(sequence.pread(&mut text, 0)? == bytes, "it gave less");
            Ok(())
        },
    ))
}

/// The list, which is empty in the end.
struct List {
    entry: Entry,
    reading: Device,
    control: Device,
}

impl List {
    fn open() -> anyhow::Result<Self> {
        let proc = Proc::find()?;
        let entry = proc.entry(abi::LIST);
        let reading = entry.open(OFlags::RDONLY)?;
        let control = proc.entry(abi::CONTROL).open(OFlags::WRONLY)?;
        Ok(Self {
            entry,
            reading,
            control,
        })
    }

    /// Has lines carried out.
    fn tell(&self, lines: &[u8]) -> anyhow::Result<()> {
        ensure!(
            self.control.write(lines)? == lines.len(),
            "not all was done"
        );
        Ok(())
    }

    /// Reads as much as there is room for.
    fn get(&self, text: &mut [u8]) -> anyhow::Result<()> {
        let bytes = text.len();
        ensure!(self.reading.pread(text, 0)? == bytes, "it gave less");
        Ok(())
    }

    /// Removes all records, then has these lines carried out.
    fn set_to(&self, records: &str) -> anyhow::Result<()> {
        let mut lines = String::new();
        for record in self.entry.text()?.lines() {
            let (number, _) = record.split_once('\t').context("a record without a tab")?;
            lines += &["remove ", number, "\n"].concat();
        }
        self.tell((lines + records).as_bytes())
    }

    /// Puts a record in place of another and reads the list.
    fn exchange(self: Rc<Self>, bytes: usize) -> Operation<'static> {
        let list = Rc::clone(&self);
        let (lines, mut text) = (replace(bytes), vec![0; bytes]);
        let run = move || {
            self.tell(&lines)?;
            self.get(&mut text)
        };
        list.operation(
            Work::RoundTrip,
            "replace a record, then read it",
            bytes,
            run,
        )
    }

    /// Puts a record in place of another.
    fn replace(self: Rc<Self>, bytes: usize) -> Operation<'static> {
        let (list, lines) = (Rc::clone(&self), replace(bytes));
        let run = move || self.tell(&lines);
        list.operation(Work::ToKernel, "replace a record", bytes, run)
    }

    /// Reads the list, which has one record.
    fn read(self: Rc<Self>, bytes: usize) -> Operation<'static> {
        let list = Rc::clone(&self);
        let mut text = vec![0; bytes];
        let run = move || self.get(&mut text);
        list.operation(Work::ToProgram, "read a record", bytes, run)
    }

    fn operation(
        self: Rc<Self>,
        work: Work,
        name: &'static str,
        bytes: usize,
        run: impl FnMut() -> anyhow::Result<()> + 'static,
    ) -> Operation<'static> {
        Operation::new(work, name, bytes, run).first(move || {
            self.set_to("add 1 \n")?;
            self.tell(&replace(bytes))?;
            let mut text = vec![0; bytes];
            self.get(&mut text)?;
            ensure!(text.starts_with(NUMBER.as_bytes()), "it has another record");
            Ok(())
        })
    }

    /// Opens the list, reads all of it, and closes it.
    fn all(self: Rc<Self>) -> Operation<'static> {
        let list = Rc::clone(&self);
        let run = move || {
            let records = self.entry.text()?.lines().count();
            ensure!(records == RECORDS, "it has {records} records");
            Ok(())
        };
        Operation::new(Work::Other, "list 100 records", 0, run).first(move || {
            let records = (0..RECORDS).map(|number| format!("add {number} one of many\n"));
            list.set_to(&records.collect::<Vec<_>>().concat())
        })
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // If the module is gone, so is the list.
        let _ = self.set_to("");
    }
}

/// What puts a record in place of another, so that its line has so many bytes when it is read.
fn replace(bytes: usize) -> Vec<u8> {
    let text = "x".repeat(bytes - NUMBER.len() - 1);
    format!("{ADD}{text}\n").into_bytes()
}
