// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the bus gate: `my_pseudo_bus`, two devices on it, and a driver for one of them.
//!
//! The HOWTO's bus has an attribute, `busval`. What makes a bus of it are devices and drivers: the kernel
//! brings them together, shows by links who drives whom, and lets the user part them.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use callgate_kernel::{
    attribute::Attribute,
    bus::{Bus, DeviceRegistration, Driver, DriverRegistration, Registration},
};
use kernel::{
    device::{Core, Device},
    error::Error,
    prelude::*,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Arc,
    },
};

// new: end
module! {
    type: BusModule,
    name: "callgate_bus",
    authors: ["callgate"],
    description: "bus: a bus, devices and a driver in /sys/bus/my_pseudo_bus",
    license: "GPL",
}

// new: begin
struct BusModule {
    _driver: Pin<KBox<DriverRegistration<PseudoBus, PseudoDriver>>>,
    _device: DeviceRegistration<PseudoBus>,
    // new: end
    _stranger: DeviceRegistration<PseudoBus>,
    // new: begin
}

impl kernel::Module for BusModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let bus = Arc::pin_init(Registration::new(abi::BUS, PseudoBus::new()), GFP_KERNEL)?;
        let driver = PseudoDriver { bus: bus.clone() };
        let driver = DriverRegistration::new(bus.clone(), abi::DRIVER, driver);
        Ok(Self {
            _driver: KBox::pin_init(driver, GFP_KERNEL)?,
            // new: end
            _stranger: DeviceRegistration::new(bus.clone(), abi::STRANGER)?,
            // new: begin
            _device: DeviceRegistration::new(bus, abi::DEVICE)?,
        })
    }
}

// The bus.

struct PseudoBus {
    busval: Atomic<i32>,
    bound: Atomic<i32>,
    refuse: Atomic<i32>,
}

impl PseudoBus {
    fn new() -> Self {
        Self {
            busval: Atomic::new(1),
            bound: Atomic::new(0),
            refuse: Atomic::new(0),
        }
    }
}

#[vtable]
impl Bus for PseudoBus {
    const ATTRIBUTES: &'static [Attribute<Self>] = &[BUSVAL, BOUND, REFUSE];
}

const BUSVAL: Attribute<PseudoBus> = Attribute::new(
    abi::BUSVAL,
    |bus, page| writeln!(page, "{}", bus.busval.load(Relaxed)),
    |bus, text| {
        bus.busval.store(text.parse()?, Relaxed);
        Ok(())
    },
);

const BOUND: Attribute<PseudoBus> = Attribute::read_only(abi::BOUND, |bus, page| {
    writeln!(page, "{}", bus.bound.load(Relaxed))
});

const REFUSE: Attribute<PseudoBus> = Attribute::new(
    abi::REFUSE,
    |bus, page| writeln!(page, "{}", bus.refuse.load(Relaxed)),
    |bus, text| {
        let errno = text.parse::<u16>()?;
        if errno > abi::LAST_ERRNO {
            return Err(ERANGE);
        }
        bus.refuse.store(errno.into(), Relaxed);
        Ok(())
    },
);

// The driver.

struct PseudoDriver {
    bus: Arc<Registration<PseudoBus>>,
}

#[vtable]
impl Driver for PseudoDriver {
    type Data = Bound;

    fn matches(&self, device: &Device) -> bool {
        device.name() == abi::DEVICE
    }

    fn probe(&self, device: &Device<Core<'_>>) -> Result<Bound> {
        match self.bus.refuse.load(Relaxed) {
            0 => {
                dev_info!(device, "taken over\n");
                Ok(Bound::new(self.bus.clone()))
            }
            errno => Err(Error::from_errno(-errno)),
        }
    }
}

/// Exists while the driver has a device.
struct Bound {
    bus: Arc<Registration<PseudoBus>>,
}

impl Bound {
    fn new(bus: Arc<Registration<PseudoBus>>) -> Self {
        bus.bound.fetch_add(1, Relaxed);
        Self { bus }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.bus.bound.fetch_sub(1, Relaxed);
        pr_info!("device given back\n");
    }
}
// new: end
