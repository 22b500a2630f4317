// SPDX-License-Identifier: MIT OR Apache-2.0

//! The file systems that programs and tests expect to find.

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount, mount_bind_recursive};
use std::path::Path;

/// Mounts `kind` at `target`, which is made if need be.
pub fn mount_at(kind: &str, target: &str, options: Option<&std::ffi::CStr>) -> Result<()> {
    std::fs::create_dir_all(target).with_context(|| format!("making {target}"))?;
    mount(kind, target, kind, MountFlags::empty(), options)
        .with_context(|| format!("mounting {kind} at {target}"))
}

/// The kernel's own file systems, and a place for temporary files.
pub fn essential() -> Result<()> {
    mount_at("devtmpfs", "/dev", None)?;
    mount_at("proc", "/proc", None)?;
    mount_at("sysfs", "/sys", None)?;
    mount_at("debugfs", "/sys/kernel/debug", None)?;
    mount_at("configfs", "/sys/kernel/config", None)?;
    mount_at("tmpfs", "/tmp", Some(c"mode=1777"))?;
    mount_at("tmpfs", "/dev/shm", Some(c"mode=1777"))
}

/// The host's root, which the device model that carries it lets nobody write to, under a writable
/// layer that is forgotten with the VM. Gives the place where both can be seen as one.
pub fn host_root() -> Result<&'static Path> {
    mount_at("devpts", "/dev/pts", None)?;
    let (lower, layer, root) = ("/host", "/layer", "/root-of-host");
    for directory in [lower, layer, root] {
        std::fs::create_dir_all(directory)?;
    }
    mount(
        "host",
        lower,
        "9p",
        MountFlags::RDONLY,
        Some(c"trans=virtio,version=9p2000.L,msize=262144,cache=loose"),
    )
    .context("mounting the host's root")?;
    mount_at("tmpfs", layer, None)?;
    for directory in ["/layer/upper", "/layer/work"] {
        std::fs::create_dir(directory)?;
    }
    mount(
        "overlay",
        root,
        "overlay",
        MountFlags::empty(),
        Some(c"lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work"),
    )
    .context("laying a writable layer over the host's root")?;
    for directory in ["dev", "proc", "sys", "tmp"] {
        let target = format!("{root}/{directory}");
        std::fs::create_dir_all(&target)?;
        mount_bind_recursive(format!("/{directory}"), &target)
            .with_context(|| format!("bringing /{directory} along"))?;
    }
    Ok(Path::new(root))
}
