// SPDX-License-Identifier: MIT OR Apache-2.0

//! A bus from user space: its attribute, and who drives its devices.

// new: begin
use callgate::attribute::Attribute;
use callgate::bus::{Bus, Device};
use callgate::crossing;

use super::abi;

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    let bus = Bus::find(abi::BUS.to_str()?)?;
    println!("{}: {}", bus.object().path().display(), bus.object().attributes()?.join(" "));

    number(&bus)?;
    binding(&bus)
}

/// The bus has a number to read and to write.
fn number(bus: &Bus) -> anyhow::Result<()> {
    let busval = bus.attribute(abi::BUSVAL.to_str()?);
    cat(&busval)?;
    echo("5", &busval)?;
    cat(&busval)
}

/// A driver gives a device back, and takes it again: by hand, and by what the kernel finds.
fn binding(bus: &Bus) -> anyhow::Result<()> {
    let driver = bus.driver(abi::DRIVER.to_str()?)?;
    let device = bus.device(abi::DEVICE.to_str()?)?;
    show(&device)?;
    // new: end
    let stranger = bus.device(abi::STRANGER.to_str()?)?;
    show(&stranger)?;
    // new: begin

    let (name, directory) = (device.name(), driver.object());
    crossing::to_kernel(
        &format!("write(2) {}", directory.attribute("unbind").path().display()),
        &name,
    );
    driver.unbind(&name)?;
    show(&device)?;
    cat(&bus.attribute(abi::BOUND.to_str()?))?;

    crossing::to_kernel(
        &format!("write(2) {}", directory.attribute("bind").path().display()),
        &name,
    );
    driver.bind(&name)?;
    show(&device)?;
    cat(&bus.attribute(abi::BOUND.to_str()?))?;

    // new: end
    if let Err(error) = driver.bind(&stranger.name()) {
        println!("{error}");
    }
    // new: begin
    Ok(())
}

/// Says who drives the device.
fn show(device: &Device) -> anyhow::Result<()> {
    match device.driver()? {
        Some(driver) => println!("{}: driven by {driver}", device.name()),
        None => println!("{}: no driver", device.name()),
    }
    Ok(())
}

/// Shows what `file` holds.
fn cat(file: &Attribute) -> anyhow::Result<()> {
    let value = file.read()?;
    crossing::from_kernel(&format!("read(2) {}", file.path().display()), &value);
    print!("{}: {}", file.path().display(), String::from_utf8_lossy(&value));
    Ok(())
}

/// Writes a line to `file`.
fn echo(line: &str, file: &Attribute) -> anyhow::Result<()> {
    crossing::to_kernel(&format!("write(2) {}", file.path().display()), format!("{line}\n"));
    file.set(line)?;
    Ok(())
}
// new: end
