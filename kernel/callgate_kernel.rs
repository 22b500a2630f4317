// SPDX-License-Identifier: GPL-2.0

//! The safe abstractions that callgate's gates need and the `kernel` crate lacks.
//!
//! One file for each C subsystem, under the names C uses:
//!
//! Files, by the file system they are in:
//!
//! - [`proc_fs`]: directories and files in `/proc`.
//! - [`sysctl`]: settings below `/proc/sys`, for all or for each network namespace.
//! - [`sysfs`]: directories in sysfs, and their attributes.
//! - [`bus`]: a bus in sysfs, with devices and drivers.
//! - [`module_param`]: values a module is loaded with, and that files of sysfs change.
//! - [`configfs`]: directories that user space makes and removes, and their files.
//! - [`debugfs`]: directories and files in debugfs.
//! - [`chardev`]: a range of character-device numbers, for which the user makes the node.
//! - [`misc`]: a misc device, whose node appears by itself.
//!
//! What is in a file, wherever it is:
//!
//! - [`attribute`]: a value as text.
//! - [`mod@file`]: `struct file_operations`, the calls a user makes on an open file.
//! - [`mod@seq_file`]: a list of the kernel's state, record by record.
//! - [`ioctl`]: typed access to the argument of an ioctl command.
//! - [`mod@mmap`]: memory that user space maps.
//! - [`ring`]: messages in such memory. The crate of the user side has the same file.
//!
//! Sockets:
//!
//! - [`udp`]: datagrams, from and to anybody.
//! - [`packet`]: protocols right above the link layer.
//! - [`netlink`]: a netlink protocol of one's own.
//! - [`genetlink`]: families of commands, with typed attributes.
//! - [`nlattr`]: the attributes in messages of netlink.
//!
//! What the kernel begins:
//!
//! - [`signal`]: signals with a value, to a thread.
//! - [`umh`]: programs that the kernel starts.
//!
//! And what they need:
//!
//! - [`module`]: what keeps a module's memory.
//! - [`net_namespace`]: network namespaces.
//! - [`pid`]: references to a thread or process that outlive it.
//! - [`rate_limit`]: a limit to how often something is done.
//! - [`worker`]: a function that the kernel's threads run, for as long as its owner lives.
//!
//! Each file opens with what it does not support. The kernel must be built with `CONFIG_MODULE_UNLOAD`,
//! which [`file::Settle`] relies on, and with `CONFIG_SYSFS`, as [`module::Hold`] does.
//!
//! # Linking
//!
//! The crate is compiled once and linked into every module that uses it. All its functions are
//! generic or `#[inline]`, so that a module imports only the symbols of the subsystems it uses.

// A name that is both in our bindings and in those of `kernel`: see `bindings.rs`.
#![deny(ambiguous_glob_imports)]

#[cfg(not(all(CONFIG_SYSFS, CONFIG_MODULE_UNLOAD)))]
compile_error!("a module is kept by its kobject, and waited for by its reference count");

/// What the messages of this crate begin with.
const __LOG_PREFIX: &[u8] = b"callgate_kernel\0";

pub mod attribute;
mod bindings;
pub mod bus;
pub mod chardev;
pub mod configfs;
pub mod debugfs;
pub mod file;
pub mod genetlink;
pub mod ioctl;
pub mod misc;
pub mod mmap;
pub mod module;
pub mod module_param;
pub mod net_namespace;
pub mod netlink;
pub mod nlattr;
pub mod packet;
pub mod pid;
pub mod proc_fs;
pub mod rate_limit;
#[path = "../user/src/ring.rs"]
pub mod ring;
pub mod seq_file;
pub mod signal;
pub mod sysctl;
pub mod sysfs;
pub mod udp;
pub mod umh;
pub mod worker;
