// SPDX-License-Identifier: MIT OR Apache-2.0

//! procfs from user space: what one would do with cat(1) and echo(1).

use callgate::crossing;
use callgate::procfs::{Entry, Proc};

use super::abi;

/// Reads and writes both files.
pub fn main() -> anyhow::Result<()> {
    let proc = Proc::find()?;
    let example = proc.entry(abi::DIRECTORY);
    println!("{}: {}", example.path().display(), example.list()?.join(" "));

    let first = proc.entry(format!("{}/{}", abi::DIRECTORY, abi::FIRST));
    cat(&first)?;
    echo("hello kernel", &first)?;
    cat(&first)?;

    let second = proc.entry(format!("{}/{}", abi::DIRECTORY, abi::SECOND));
    echo("hello again", &second)?;
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
