// SPDX-License-Identifier: MIT OR Apache-2.0

//! `seq_file` from user space: the numbers, from the start and from far inside, and a list that changes.

// new: begin
use std::io::SeekFrom;

use callgate::chardev::Device;
use callgate::crossing;
use callgate::procfs::{Entry, Proc};
use rustix::fs::OFlags;

use super::abi;

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    let proc = Proc::find()?;
    // new: end
    numbers(&proc.entry(abi::SEQUENCE))?;
    // new: begin
    list(&proc.entry(abi::LIST), &proc.entry(abi::CONTROL))
}

// new: end
/// As `head -n 5`; and then after a seek, for which the kernel counts all the way up to there.
fn numbers(sequence: &Entry) -> anyhow::Result<()> {
    let first = sequence.records::<u64>()?.take(5).collect::<Result<Vec<_>, _>>()?;
    println!("the first numbers: {first:?}");

    let file = sequence.open(OFlags::RDONLY)?;
    file.seek(SeekFrom::Start(5000))?;
    println!("from byte 5000 on: {:?}", receive(&file, sequence, 30)?);
    Ok(())
}

// new: begin
/// Adds records, in no order; reads them, in order; and changes the list in the middle of a read.
fn list(list: &Entry, control: &Entry) -> anyhow::Result<()> {
    send("add 30 thirty\nadd 10 ten\nadd 20 twenty\n", control)?;
    let file = list.open(OFlags::RDONLY)?;
    println!("the list: {:?}", receive(&file, list, 99)?);

    file.seek(SeekFrom::Start(0))?;
    println!("its first record: {:?}", receive(&file, list, "10\tten\n".len())?);
    send("remove 10\nremove 20\nadd 40 forty\n", control)?;
    println!("and the rest of it: {:?}", receive(&file, list, 99)?);
    send("remove 30\nremove 40\n", control)
}

/// Writes `lines`, each of which is a command.
fn send(lines: &str, control: &Entry) -> anyhow::Result<()> {
    crossing::to_kernel(&format!("write(2) {}", control.path().display()), lines);
    control.write(lines.as_bytes())?;
    Ok(())
}

/// Reads up to `len` bytes of `file`, which is `entry`, open.
fn receive(file: &Device, entry: &Entry, len: usize) -> anyhow::Result<String> {
    let mut bytes = vec![0; len];
    let len = file.read(&mut bytes)?;
    crossing::from_kernel(&format!("read(2) {}", entry.path().display()), &bytes[..len]);
    Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
}
// new: end
