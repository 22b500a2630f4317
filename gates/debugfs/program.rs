// SPDX-License-Identifier: MIT OR Apache-2.0

//! debugfs from user space: the HOWTO's two files, then whatever else the module shows.

// new: begin
use anyhow::ensure;
use callgate::crossing;
use callgate::debugfs::{Debugfs, File, Kind};

use super::abi;

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    let debugfs = Debugfs::find()?;
    // new: end
    howto(&debugfs)?;
    // new: begin
    number(&debugfs.file(format!("{}/{}/size_t", abi::TREE_PATH, abi::VALUES)))?;
    message(&debugfs.file(format!("{}/{}", abi::TREE_PATH, abi::MESSAGE)))?;
    everything(&debugfs)
}

// new: end
/// The HOWTO's two files.
fn howto(debugfs: &Debugfs) -> anyhow::Result<()> {
    number(&debugfs.file(abi::FILE))?;
    message(&debugfs.file(format!("{}/{}", abi::DIRECTORY, abi::FILE)))
}

// new: begin
/// A number is set and read back.
fn number(file: &File) -> anyhow::Result<()> {
    send(file, b"42\n")?;
    receive(file)?;
    let number: usize = file.get()?;
    println!("{}: {number}", file.path().display());
    Ok(())
}

/// A message is left and picked up.
fn message(file: &File) -> anyhow::Result<()> {
    send(file, b"hello world")?;
    let text = receive(file)?;
    println!("{}: {}", file.path().display(), String::from_utf8_lossy(&text));
    Ok(())
}

/// A developer who does not know what a driver shows looks around, as with find(1) and cat(1).
fn everything(debugfs: &Debugfs) -> anyhow::Result<()> {
    let entries = debugfs.tree(abi::GATE)?;
    let readable = |mode| mode & 0o444 != 0;
    for entry in entries.iter().filter(|entry| entry.kind == Kind::File && readable(entry.mode)) {
        let contents = debugfs.file(&entry.path).read()?;
        println!("{}: {:?}", entry.path.display(), String::from_utf8_lossy(&contents));
    }
    ensure!(!entries.is_empty(), "there is nothing in {}", abi::GATE);
    Ok(())
}

/// Writes to a file, and says so in the trace.
fn send(file: &File, bytes: &[u8]) -> anyhow::Result<()> {
    crossing::to_kernel(&format!("write(2) {}", file.path().display()), bytes);
    Ok(file.write(bytes)?)
}

/// Reads a file, and says so in the trace.
fn receive(file: &File) -> anyhow::Result<Vec<u8>> {
    let bytes = file.read()?;
    crossing::from_kernel(&format!("read(2) {}", file.path().display()), &bytes);
    Ok(bytes)
}
// new: end
