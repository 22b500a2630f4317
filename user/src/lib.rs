// SPDX-License-Identifier: MIT OR Apache-2.0

//! Typed clients for the ways a Linux kernel module talks to user space, one file per mechanism.
//!
//! | module | what it speaks |
//! |---|---|
//! | [`attribute`] | values that the kernel shows and takes as text, a file each |
//! | [`mounts`] | where the kernel's own file systems are mounted |
//! | [`procfs`] | files in `/proc`: whole, record by record, and written |
//! | [`sysctl`] | settings below `/proc/sys`, by the names that sysctl(8) knows |
//! | [`sysfs`] | objects in sysfs: values, bytes, and waiting for a change |
//! | [`bus`] | buses, their devices and drivers, and who drives whom |
//! | [`parameter`] | what a module is loaded with, and what its parameters are set to later |
//! | [`configfs`] | items of the kernel that a user makes, links and removes |
//! | [`debugfs`] | debugfs: finding it, looking around, typed values |
//! | [`genl`] | families of generic netlink: their commands, dumps and notifications |
//! | [`netlink`] | netlink sockets: requests, acknowledgements, multicast groups |
//! | [`chardev`] | character devices: majors, nodes, reading, writing, waiting |
//! | [`ioctl`] | typed commands on an open file |
//! | [`compat`] | the same commands, sent as a 32-bit program would send them |
//! | [`packet`] | frames of one type, as they are on the wire |
//! | [`link`] | network devices, and a pair with a wire in between |
//! | [`syscall`] | system calls that a patch has added to the kernel |
//! | [`udp`] | UDP sockets: their true datagrams, and what they lose |
//! | [`signal`] | signals with a value: by handler, by waiting, and as a file |
//! | [`upcall`] | being a program that the kernel starts |
//! | [`mmap`] | memory that a file maps, and channels in it |
//! | [`ring`] | messages in shared memory: the kernel's modules compile the same file |
//! | [`module`] | loading and unloading kernel modules |
//! | [`kmsg`] | the kernel's log, from now on |
//! | [`crossing`] | a line in a trace for each message that crosses the boundary |
//! | [`testing`] | what the tests of a driver need: memory that ends, signals, sleeping threads |
//!
//! Everything here can be called without `unsafe`. Where a system call needs it, the module that
//! makes the call opens it for itself and says why it is sound.

#![deny(unsafe_code)]

pub mod attribute;
pub mod bus;
pub mod chardev;
#[cfg(target_arch = "x86_64")]
pub mod compat;
pub mod configfs;
pub mod crossing;
pub mod debugfs;
pub mod genl;
pub mod ioctl;
pub mod kmsg;
pub mod link;
pub mod mmap;
pub mod module;
pub mod mounts;
pub mod netlink;
pub mod packet;
pub mod parameter;
pub mod procfs;
pub mod ring;
pub mod signal;
pub mod syscall;
pub mod sysctl;
pub mod sysfs;
pub mod testing;
pub mod udp;
pub mod upcall;

pub use rustix::io::Errno;
