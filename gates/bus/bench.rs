// SPDX-License-Identifier: MIT OR Apache-2.0

//! What it costs to use an attribute of a bus, and to part a device and its driver.

use std::rc::Rc;

use anyhow::ensure;
use callgate::bus::{Bus, Device, Driver};
use rustix::fs::OFlags;

use super::file::Kept;
use super::{Operation, Work};
use crate::bus::abi;

/// The number, and the device.
///
/// One thread at a time may part the device and its driver.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let bus = Bus::find(abi::BUS.to_str()?)?;
    let busval = Kept::new(bus.attribute(abi::BUSVAL.to_str()?).path(), b"1234567\n");
    Ok(vec![
        busval.write("write a number")?,
        busval.read("read a number")?,
        busval.exchange("write a number, then read it")?,
        driven(bus.device(abi::DEVICE.to_str()?)?),
        rebind(&bus)?,
    ])
}

/// Asks who drives the device, by the link in its directory.
fn driven(device: Device) -> Operation<'static> {
    Operation::new(Work::Other, "find a device's driver", 0, move || {
        let driver = device.driver()?;
        ensure!(
            driver.is_some_and(|name| name.as_bytes() == abi::DRIVER.to_bytes()),
            "another drives it"
        );
        Ok(())
    })
}

/// Takes the device from its driver and gives it back, which the module has a line each for in the log.
fn rebind(bus: &Bus) -> anyhow::Result<Operation<'static>> {
    let driver = Rc::new(bus.driver(abi::DRIVER.to_str()?)?);
    let name = abi::DEVICE.to_str()?;
    let rebind = |driver: &Driver| -> anyhow::Result<()> {
        driver.unbind(name)?;
        Ok(driver.bind(name)?)
    };
    let bound = bus.attribute(abi::BOUND.to_str()?).open(OFlags::RDONLY)?;
    let before = Rc::clone(&driver);
    let check = move || {
        rebind(&before)?;
        ensure!(bound.get::<u32>()? == 1, "the driver does not have it");
        Ok(())
    };
    let run = move || rebind(&driver);
    Ok(Operation::new(Work::Other, "unbind, then bind", 0, run).first(check))
}
