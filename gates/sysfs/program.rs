// SPDX-License-Identifier: MIT OR Apache-2.0

//! sysfs from user space: first as the HOWTO has it, then what else a file can be.

// new: begin
use std::ffi::CStr;
use std::fmt::Display;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use callgate::attribute::Attribute;
use callgate::crossing;
use callgate::sysfs::Object;
use rustix::fs::OFlags;

use super::abi;

/// Nobody waits longer than this for a value that somebody is about to write.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    let myfs = Object::find(format!("fs/{}", name(abi::DIRECTORY)?))?;
    numbers(&myfs)?;
    // new: end
    choice(&myfs)?;
    bytes(&myfs)?;
    // new: begin
    wait(&myfs)
}

/// Two files hold a number each: cat(1) and echo(1) would do.
fn numbers(myfs: &Object) -> anyhow::Result<()> {
    for file in [abi::FIRST, abi::SECOND] {
        let number = myfs.attribute(name(file)?);
        println!("{}: {}", name(file)?, receive(&number)?);
        send(&number, 12345)?;
        println!("{}: {}", name(file)?, receive(&number)?);
    }
    Ok(())
}

/// A program can wait for a change.
fn wait(myfs: &Object) -> anyhow::Result<()> {
    let second = myfs.attribute(name(abi::SECOND)?);
    let open = second.open(OFlags::RDONLY)?;
    open.read()?;
    println!("a program waits for {} to change", name(abi::SECOND)?);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            thread::sleep(Duration::from_millis(100)); // so that the program really has to wait
            send(&second, 54321)
        });
        ensure!(open.wait_for_change(LIMIT)?, "nothing changed within {LIMIT:?}");
        println!("it is woken: {}", open.get::<i32>()?);
        writer.join().expect("the writer does not panic")
    })
}

// new: end
/// Files come and go.
fn choice(myfs: &Object) -> anyhow::Result<()> {
    let mode = myfs.attribute(name(abi::MODE)?);
    println!("directories: {:?}", myfs.objects()?);
    send(&mode, name(abi::EXPERT)?)?;
    println!("directories: {:?}", myfs.objects()?);
    send(&mode, abi::SIMPLE)
}

/// There are files that are no text.
fn bytes(myfs: &Object) -> anyhow::Result<()> {
    let blob = myfs.binary(name(abi::BLOB)?);
    println!("{}: {} bytes", name(abi::BLOB)?, blob.size()?);
    let (offset, bytes) = (4090, b"hello across two pages");
    let open = blob.open(OFlags::RDWR)?;
    crossing::to_kernel(&format!("pwrite(2) {} at {offset}", blob.path().display()), bytes);
    open.write_at(offset, bytes)?;
    let mut back = [0; 22];
    let len = open.read_at(offset, &mut back)?;
    crossing::from_kernel(&format!("pread(2) {} at {offset}", blob.path().display()), &back[..len]);
    ensure!(back[..len] == bytes[..], "the bytes have changed on the way");
    println!("{len} bytes came back as they were written");
    Ok(())
}

// new: begin
/// Writes a value, and says so in the trace.
fn send(attribute: &Attribute, value: impl Display) -> anyhow::Result<()> {
    let path = attribute.path().display();
    crossing::to_kernel(&format!("write(2) {path}"), value.to_string());
    attribute.set(value).with_context(|| format!("{path} does not take it"))
}

/// Reads a value, and says so in the trace.
fn receive(attribute: &Attribute) -> anyhow::Result<String> {
    let value = attribute.text()?;
    crossing::from_kernel(&format!("read(2) {}", attribute.path().display()), &value);
    Ok(value)
}

/// A name that both sides know, as this one has it.
fn name(name: &'static CStr) -> anyhow::Result<&'static str> {
    Ok(name.to_str()?)
}
// new: end
