// SPDX-License-Identifier: MIT OR Apache-2.0

//! debugfs from user space: the HOWTO's two files, then whatever else the module shows.

use anyhow::ensure;
use callgate::crossing;
use callgate::debugfs::{Debugfs, File, Kind};

use super::abi;

/// Runs both halves.
pub fn main() -> anyhow::Result<()> {
    let debugfs = Debugfs::find()?;
    howto(&debugfs)?;
    everything(&debugfs)
}

/// A number is set and read back, a message is left and picked up: each by the name of a file.
fn howto(debugfs: &Debugfs) -> anyhow::Result<()> {
    let number = debugfs.file(abi::FILE);
    send(&number, b"42\n")?;
    receive(&number)?;
    let number: u8 = number.get()?;
    println!("{}: {number}", abi::FILE);

    let message = debugfs.file(format!("{}/{}", abi::DIRECTORY, abi::FILE));
    send(&message, b"hello world")?;
    let text = receive(&message)?;
    println!("{}/{}: {}", abi::DIRECTORY, abi::FILE, String::from_utf8_lossy(&text));
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
