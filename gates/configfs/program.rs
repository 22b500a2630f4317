// SPDX-License-Identifier: MIT OR Apache-2.0

//! configfs from user space: setting attributes, and making, linking and removing items.

// new: begin
use std::ffi::CStr;

use anyhow::{Context, ensure};
use callgate::Errno;
use callgate::attribute::Attribute;
use callgate::configfs::{Configfs, Item};
use callgate::crossing;

use super::abi;

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    let configfs = Configfs::find()?;
    let subsystem = |name: &CStr| anyhow::Ok(configfs.subsystem(name.to_str()?)?);
    // new: end
    childless(&subsystem(abi::CHILDLESS)?)?;
    // new: begin
    simple_children(&subsystem(abi::SIMPLE_CHILDREN)?)?;
    // new: end
    group_children(&subsystem(abi::GROUP_CHILDREN)?)?;
    linked_children(&subsystem(abi::LINKED_CHILDREN)?)?;
    // new: begin
    Ok(())
}

// new: end
/// There are attributes here, and nothing can be made.
fn childless(subsystem: &Item) -> anyhow::Result<()> {
    let description = subsystem.attribute("description").text()?;
    println!("{}", description.lines().next().context("the description is empty")?);
    for _ in 0..2 {
        println!("showme: {}", get(&subsystem.attribute("showme"))?);
    }
    set(&subsystem.attribute("storeme"), "5")?;
    println!("storeme: {}", get(&subsystem.attribute("storeme"))?);
    for junk in ["five", "55555555555"] {
        println!("{}", subsystem.attribute("storeme").set(junk).unwrap_err());
    }
    println!("{}", subsystem.make("child").unwrap_err());
    Ok(())
}

// new: begin
/// An item is there from when the user makes it until the user removes it.
fn simple_children(parent: &Item) -> anyhow::Result<()> {
    let child = make(parent, "child")?;
    set(&child.attribute("storeme"), "-7")?;
    println!("child's storeme: {}", get(&child.attribute("storeme"))?);
    remove(parent, "child")
}

// new: end
/// In a group, which is made the same way, items can be made.
fn group_children(parent: &Item) -> anyhow::Result<()> {
    let group = make(parent, "group")?;
    simple_children(&group)?;
    remove(parent, "group")
}

/// An item that another one needs, or the kernel, cannot be removed.
fn linked_children(subsystem: &Item) -> anyhow::Result<()> {
    let (images, devices) = (subsystem.item("images"), subsystem.item("devices"));
    let (logo, screen) = (make(&images, "logo")?, make(&devices, "screen")?);

    let contents = logo.binary_attribute("contents");
    crossing::to_kernel(&format!("write(2) {}", contents.path().display()), b"hello world");
    contents.write(b"hello world")?;
    println!("the logo has {} bytes", get(&logo.attribute("size"))?);

    crossing::to_kernel(
        &format!("symlink(2) {}", screen.path().join("image").display()),
        logo.path().as_os_str().as_encoded_bytes(),
    );
    screen.link("image", &logo)?;
    set(&screen.attribute("running"), "1")?;
    for busy in [&logo, &screen] {
        let refused = busy.remove().unwrap_err();
        ensure!(refused.errno() == Some(Errno::BUSY), "{refused}");
        println!("{refused}");
    }

    println!("without its image the screen stops");
    screen.unlink("image")?;
    println!("running: {}", get(&screen.attribute("running"))?);
    remove(&devices, "screen")?;
    remove(&images, "logo")
}

// new: begin
/// mkdir(2), which the trace shows too.
fn make(parent: &Item, name: &str) -> anyhow::Result<Item> {
    crossing::to_kernel(&format!("mkdir(2) {}", parent.path().display()), name);
    Ok(parent.make(name)?)
}

/// rmdir(2), which the trace shows too.
fn remove(parent: &Item, name: &str) -> anyhow::Result<()> {
    crossing::to_kernel(&format!("rmdir(2) {}", parent.path().display()), name);
    Ok(parent.item(name).remove()?)
}

/// Reads an attribute, which the trace shows too.
fn get(attribute: &Attribute) -> anyhow::Result<String> {
    let text = attribute.text()?;
    crossing::from_kernel(&format!("read(2) {}", attribute.path().display()), &text);
    Ok(text)
}

/// Writes an attribute, which the trace shows too.
fn set(attribute: &Attribute, value: &str) -> anyhow::Result<()> {
    crossing::to_kernel(&format!("write(2) {}", attribute.path().display()), value);
    Ok(attribute.set(value)?)
}
// new: end
