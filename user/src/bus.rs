// SPDX-License-Identifier: MIT OR Apache-2.0

//! Buses, the devices on them, and their drivers, as sysfs shows them.
//!
//! A bus is a directory in `/sys/bus`: `devices` has a symbolic link for each device, and `drivers` a
//! directory for each driver, with a link to each device it drives. As a rule the kernel brings a device
//! and a driver together by itself. By [`Driver::bind`] and [`Driver::unbind`] the user does, say to give
//! a device to another driver.
//!
//! ```no_run
//! use callgate::bus::Bus;
//!
//! for device in Bus::find("virtio")?.devices()? {
//!     println!("{}: {:?}", device.name(), device.driver()?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Not supported
//!
//! `driver_override`, and the identities that some buses let a user add to a driver (`new_id`): those are
//! attributes of the device or the driver, see [`Device::object`] and [`Driver::object`].

use std::path::Path;

use rustix::io::Errno;

use crate::attribute::{self, Attribute};
use crate::mounts::FileSystem;
use crate::sysfs::{self, Object};

/// Why a bus could not be used, or a device and a driver not be brought together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such bus.
    #[error("there is no bus {name}: load its module; these are there: {}", .there.join(", "))]
    NoBus {
        /// Its name.
        name: String,
        /// The buses that there are.
        there: Vec<String>,
    },
    /// The bus has no such device.
    #[error("bus {bus} has no device {name}: these are there: {}", .there.join(", "))]
    NoDevice {
        /// The bus.
        bus: String,
        /// The device.
        name: String,
        /// The devices that there are.
        there: Vec<String>,
    },
    /// The bus has no such driver.
    #[error("bus {bus} has no driver {name}: load its module; these are there: {}", .there.join(", "))]
    NoDriver {
        /// The bus.
        bus: String,
        /// The driver.
        name: String,
        /// The drivers that there are.
        there: Vec<String>,
    },
    /// The driver and the device were not brought together, or not parted.
    #[error("cannot {what} {device} and {driver}: {errno}; {}", hint(.what, *.errno))]
    Refused {
        /// What was tried: `bind` or `unbind`.
        what: &'static str,
        /// The device.
        device: String,
        /// The driver.
        driver: String,
        /// What the kernel or the driver answered.
        errno: Errno,
    },
    /// Something else about sysfs.
    #[error(transparent)]
    Sysfs(#[from] sysfs::Error),
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Sysfs(error) => error.errno(),
            Self::NoBus { .. } | Self::NoDevice { .. } | Self::NoDriver { .. } => None,
        }
    }
}

impl From<attribute::Error> for Error {
    fn from(error: attribute::Error) -> Self {
        Self::Sysfs(error.into())
    }
}

/// What to do next after an errno.
fn hint(what: &str, errno: Errno) -> &'static str {
    match (what, errno) {
        ("bind", Errno::NODEV) => {
            "the bus has no such device, or the driver does not want it: see which devices it is for"
        }
        ("bind", Errno::BUSY) => "the device has a driver already: unbind that first",
        ("bind", Errno::AGAIN) => "the driver waits for something else: try again later",
        ("unbind", Errno::NODEV) => "the device is not bound to this driver: see which one it has",
        (_, Errno::NOENT) => "the driver cannot be bound by hand, or it has gone",
        (_, Errno::ACCESS | Errno::PERM) => "only root may: run as root",
        (_, Errno::ROFS) => "sysfs is mounted read-only: remount it",
        _ => "this is the driver's own answer: see the kernel's log",
    }
}

/// A bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bus {
    object: Object,
}

impl Bus {
    /// The bus called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::NoBus`]; [`Error::Sysfs`].
    pub fn find(name: &str) -> Result<Self, Error> {
        let buses = buses()?;
        match child(&buses, name)? {
            Some(object) => Ok(Self { object }),
            None => Err(Error::NoBus {
                name: name.to_owned(),
                there: buses.objects()?,
            }),
        }
    }

    /// The names of all buses, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`].
    pub fn all() -> Result<Vec<String>, Error> {
        Ok(buses()?.objects()?)
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.object.name()
    }

    /// Its directory.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Its attribute called `name`. Whether there is one shows when it is used.
    pub fn attribute(&self, name: impl AsRef<Path>) -> Attribute {
        self.object.attribute(name)
    }

    /// The devices on it, sorted by name.
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`].
    pub fn devices(&self) -> Result<Vec<Device>, Error> {
        devices(&self.directory("devices")?, &[])
    }

    /// The device called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::NoDevice`]; [`Error::Sysfs`].
    pub fn device(&self, name: &str) -> Result<Device, Error> {
        let devices = self.directory("devices")?;
        match child(&devices, name)? {
            Some(object) => Ok(Device { object }),
            None => Err(Error::NoDevice {
                bus: self.name(),
                name: name.to_owned(),
                there: devices.links()?,
            }),
        }
    }

    /// Its drivers, sorted by name.
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`].
    pub fn drivers(&self) -> Result<Vec<Driver>, Error> {
        let drivers = self.directory("drivers")?;
        let mut found = Vec::new();
        for name in drivers.objects()? {
            // Unless it has gone meanwhile.
            if let Some(object) = drivers.get(name)? {
                found.push(Driver { object });
            }
        }
        Ok(found)
    }

    /// The driver called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::NoDriver`]; [`Error::Sysfs`].
    pub fn driver(&self, name: &str) -> Result<Driver, Error> {
        let drivers = self.directory("drivers")?;
        match child(&drivers, name)? {
            Some(object) => Ok(Driver { object }),
            None => Err(Error::NoDriver {
                bus: self.name(),
                name: name.to_owned(),
                there: drivers.objects()?,
            }),
        }
    }

    /// Whether the kernel brings devices and drivers together by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`].
    pub fn autoprobe(&self) -> Result<bool, Error> {
        Ok(self.attribute("drivers_autoprobe").get::<u8>()? != 0)
    }

    /// Sets whether the kernel brings devices and drivers together by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`].
    pub fn set_autoprobe(&self, on: bool) -> Result<(), Error> {
        Ok(self.attribute("drivers_autoprobe").set(u8::from(on))?)
    }

    /// Has the kernel look for a driver for the device called `device`, unless it has one. That it found
    /// none is no error, nor that the driver it found refused: see [`Device::driver`].
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`]: with [`Errno::NODEV`] if there is no such device; with [`Errno::INVAL`] if it is
    /// just being added, and not ready to be looked at.
    pub fn probe(&self, device: &str) -> Result<(), Error> {
        Ok(self.attribute("drivers_probe").set(device)?)
    }

    fn directory(&self, name: &str) -> Result<Object, Error> {
        Ok(Object::at(self.object.path().join(name))?)
    }
}

/// A device on a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    object: Object,
}

impl Device {
    /// Its name.
    pub fn name(&self) -> String {
        self.object.name()
    }

    /// Its directory, where it really is: below `/sys/devices`.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The name of its bus, or of its class if it is on none.
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`].
    pub fn subsystem(&self) -> Result<Option<String>, Error> {
        Ok(self.object.link("subsystem")?)
    }

    /// The name of its driver, `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`].
    pub fn driver(&self) -> Result<Option<String>, Error> {
        Ok(self.object.link("driver")?)
    }
}

/// A driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    object: Object,
}

impl Driver {
    /// Its name.
    pub fn name(&self) -> String {
        self.object.name()
    }

    /// Its directory.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The name of its module, be it built into the kernel; `None` if it does not say.
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`].
    pub fn module(&self) -> Result<Option<String>, Error> {
        Ok(self.object.link("module")?)
    }

    /// The devices that it drives, sorted by name.
    ///
    /// # Errors
    ///
    /// [`Error::Sysfs`].
    pub fn devices(&self) -> Result<Vec<Device>, Error> {
        devices(&self.object, &["module"])
    }

    /// Gives it the device called `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with [`Errno::NODEV`] if there is no such device or the driver is not for it,
    /// [`Errno::BUSY`] if the device has a driver, [`Errno::AGAIN`] if the driver wants to be asked
    /// later, and else with what the driver answered.
    pub fn bind(&self, device: &str) -> Result<(), Error> {
        self.write("bind", device)
    }

    /// Takes the device called `device` from it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with [`Errno::NODEV`] if the device is not bound to it.
    pub fn unbind(&self, device: &str) -> Result<(), Error> {
        self.write("unbind", device)
    }

    fn write(&self, what: &'static str, device: &str) -> Result<(), Error> {
        self.object
            .attribute(what)
            .set(device)
            .map_err(|error| match error.errno() {
                Some(errno) => Error::Refused {
                    what,
                    device: device.to_owned(),
                    driver: self.name(),
                    errno,
                },
                None => error.into(),
            })
    }
}

fn buses() -> Result<Object, Error> {
    let path = FileSystem::Sysfs.find().map_err(sysfs::Error::from)?;
    Ok(Object::at(path.join("bus"))?)
}

/// What is called `name` in the directory of `object`. A name with a slash could lead anywhere.
fn child(object: &Object, name: &str) -> Result<Option<Object>, Error> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Ok(None);
    }
    Ok(object.get(name)?)
}

/// The devices that the links in the directory of `object` lead to, but for some.
fn devices(object: &Object, others: &[&str]) -> Result<Vec<Device>, Error> {
    let mut found = Vec::new();
    for name in object.links()? {
        if others.contains(&name.as_str()) {
            continue;
        }
        // Unless it has gone meanwhile.
        if let Some(object) = object.get(name)? {
            found.push(Device { object });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_bus_of_the_running_kernel_is_found() {
        let bus = Bus::find("platform").unwrap();
        assert_eq!(bus.name(), "platform");
        assert!(Bus::all().unwrap().contains(&"platform".to_owned()));
        for device in bus.devices().unwrap() {
            assert_eq!(device.subsystem().unwrap().as_deref(), Some("platform"));
            assert_eq!(bus.device(&device.name()).unwrap(), device);
        }
        for driver in bus.drivers().unwrap() {
            for device in driver.devices().unwrap() {
                assert_eq!(device.driver().unwrap(), Some(driver.name()));
            }
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let error = Bus::find("no_such_bus").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("there is no bus no_such_bus: "), "{text}");
        assert!(text.contains("platform"), "{text}");
        assert_eq!(error.errno(), None);
        let bus = Bus::find("platform").unwrap();
        assert!(matches!(
            bus.device("../drivers"),
            Err(Error::NoDevice { .. })
        ));
        assert!(matches!(bus.driver(""), Err(Error::NoDriver { .. })));
    }
}
