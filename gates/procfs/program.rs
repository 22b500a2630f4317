// SPDX-License-Identifier: MIT OR Apache-2.0

//! procfs from user space: what one would do with cat(1) and echo(1).

// new: begin
use callgate::crossing;
use callgate::procfs::{Entry, Proc};

use super::abi;

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    let proc = Proc::find()?;
    let directory = proc.entry(abi::DIRECTORY);
    println!("{}: {}", directory.path().display(), directory.list()?.join(" "));

    // new: end
    let first = proc.entry(format!("{}/{}", abi::DIRECTORY, abi::FIRST));
    cat(&first)?;
    echo("hello kernel", &first)?;
    cat(&first)?;

    // new: begin
    let second = proc.entry(format!("{}/{}", abi::DIRECTORY, abi::SECOND));
    echo("good morning", &second)?;
    cat(&second)
}

/// Shows what `file` holds.
fn cat(file: &Entry) -> anyhow::Result<()> {
    let text = file.read()?;
    crossing::from_kernel(&format!("read(2) {}", file.path().display()), &text);
    print!("{}: {}", file.path().display(), String::from_utf8_lossy(&text));
    Ok(())
}

/// Writes a line to `file`.
fn echo(line: &str, file: &Entry) -> anyhow::Result<()> {
    let line = format!("{line}\n");
    crossing::to_kernel(&format!("write(2) {}", file.path().display()), &line);
    file.write(line.as_bytes())?;
    Ok(())
}
// new: end
