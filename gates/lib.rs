// SPDX-License-Identifier: MIT OR Apache-2.0

//! The user side of every gate: its program, and the tests that prove both sides.
//!
//! A gate is a folder; the list at the end of this file is the one place that names them all, in the
//! order in which the HOWTO has them.
//!
//! The tests load modules and run as root, so they are only there with the feature `vm`, with which the lab
//! builds them for its machine.

#![deny(unsafe_code)]

pub mod attack;
pub mod bench;

/// Makes one module of each gate's folder, and the table that finds a program by its gate's name.
macro_rules! gates {
    ($($gate:ident)*) => {
        $(
            pub mod $gate {
                #![doc = concat!("User side of the gate in `gates/", stringify!($gate), "`.")]

                #[path = "abi.rs"]
                pub mod abi;
                #[path = "program.rs"]
                pub mod program;
                #[cfg(all(test, feature = "vm"))]
                #[path = "tests.rs"]
                mod tests;
            }
        )*

        /// Runs the program of the gate called `name`; `None` if there is no such gate.
        pub fn run(name: &str) -> Option<anyhow::Result<()>> {
            match name {
                $(stringify!($gate) => Some($gate::program::main()),)*
                _ => None,
            }
        }
    };
}

gates! {
    procfs
    seq_file
    parameter
    sysfs
    bus
    configfs
    debugfs
    sysctl
    chardev
    udp
    packet
    netlink
    genl
    ioctl
    syscall
    signal
    upcall
    mmap
}
