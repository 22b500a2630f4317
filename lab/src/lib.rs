// SPDX-License-Identifier: MIT OR Apache-2.0

//! The lab: from a bare machine to a judged run in a VM. It knows nothing of any one gate.
//!
//! Top down: [`run`] does what a command asks for with a [`project`], with a [`kernel`], the [`modules`] and
//! the [`userspace`] built for it, in a [`vm`] whose console [`splat`] reads and whose end [`verdict`]
//! judges. [`kdir`] builds the modules for a kernel of the user's own. The [`book`] is made of the checkout
//! alone. [`doctor`], [`fetch`] and [`toolchain`] see to it
//! that all of that can be built.

#![forbid(unsafe_code)]

pub mod accel;
pub mod book;
pub mod cache;
pub mod command;
pub mod doctor;
pub mod editor;
pub mod fetch;
pub mod gates;
pub mod initramfs;
pub mod kdir;
pub mod kernel;
pub mod lanes;
pub mod modules;
pub mod patches;
pub mod project;
pub mod run;
pub mod scaffold;
pub mod splat;
pub mod toolchain;
pub mod userspace;
pub mod verdict;
pub mod vm;

use accel::Accel;
use cache::Cache;
use std::path::PathBuf;

/// What every step needs to know.
#[derive(Debug)]
pub struct Lab {
    /// Where everything is kept that is made once.
    pub cache: Cache,
    /// callgate's own source: what kernels and PID 1 are made of.
    pub source: PathBuf,
    /// Where what is built from it goes.
    pub output: PathBuf,
    /// A kernel tree of the user's, instead of a fetched one.
    pub kernel_source: Option<PathBuf>,
    /// How the VM's CPUs are run, instead of by what a probe boot finds.
    pub accel: Option<Accel>,
}
