// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the bus gate agree on.

// new: begin
use core::ffi::CStr;

/// The bus.
pub const BUS: &CStr = c"my_pseudo_bus";

/// An attribute of the bus: an `int`, 1 at first.
pub const BUSVAL: &CStr = c"busval";

/// An attribute of the bus: how many devices are bound to the driver.
pub const BOUND: &CStr = c"bound";

/// An attribute of the bus: the errno with which the driver refuses the next device it is asked to take
/// over, or 0, at first, to take it.
pub const REFUSE: &CStr = c"refuse";

/// The highest number that [`REFUSE`] takes; a higher one fails with `ERANGE`.
pub const LAST_ERRNO: u16 = 4095;

/// The driver.
pub const DRIVER: &CStr = c"my_pseudo_driver";

/// A device that the driver is for.
pub const DEVICE: &CStr = c"my_pseudo_device";
// new: end

/// A device that no driver is for.
pub const STRANGER: &CStr = c"my_strange_device";
