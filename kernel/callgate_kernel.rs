// SPDX-License-Identifier: GPL-2.0

//! The safe abstractions that callgate's gates need and the `kernel` crate lacks.
//!
//! One file for each C subsystem, under the names C uses:
//!
//! - [`attribute`]: a value as text in a file, which sysfs, configfs and parameters have in common.
//! - [`mod@file`]: `struct file_operations`, the calls a user makes on an open device.
//! - [`chardev`]: a range of character-device numbers, for which the user makes the node.
//! - [`misc`]: a misc device, whose node appears by itself.
//! - [`module`]: what keeps a module's memory.
//! - [`ioctl`]: typed access to the argument of an ioctl command.
//!
//! Each file opens with what it does not support. The kernel must be built with
//! `CONFIG_MODULE_UNLOAD`, which [`file::Settle`] relies on.
//!
//! # Linking
//!
//! The crate is compiled once and linked into every module that uses it. All its functions are
//! generic or `#[inline]`, so that a module imports only the symbols of the subsystems it uses.

// A name that is both in our bindings and in those of `kernel`: see `bindings.rs`.
#![deny(ambiguous_glob_imports)]

pub mod attribute;
mod bindings;
pub mod chardev;
pub mod file;
pub mod ioctl;
pub mod misc;
pub mod module;
