// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the configfs gate agree on.

// new: begin
use core::ffi::CStr;

// new: end
/// A subsystem that has attributes, and nothing can be made in it.
pub const CHILDLESS: &CStr = c"01-childless";

// new: begin
/// A subsystem in which mkdir(2) makes items.
pub const SIMPLE_CHILDREN: &CStr = c"02-simple-children";
// new: end

/// A subsystem in which mkdir(2) makes groups, and in these, items.
pub const GROUP_CHILDREN: &CStr = c"03-group-children";

/// A subsystem with groups of its own: images, and devices that are linked to an image.
pub const LINKED_CHILDREN: &CStr = c"04-linked-children";

/// The group of the fourth subsystem that has the images.
pub const IMAGES: &CStr = c"images";

/// The group of the fourth subsystem that has the devices.
pub const DEVICES: &CStr = c"devices";

/// The group that comes with each device.
pub const STATISTICS: &CStr = c"statistics";

/// How long the contents of an image may be, in bytes.
pub const IMAGE_SIZE: usize = 65536;
