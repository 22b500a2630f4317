// SPDX-License-Identifier: MIT OR Apache-2.0

//! The file systems that programs and tests expect to find.

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount, mount_bind, mount_move};
use rustix::process::{chdir, chroot};
use rustix::system::uname;
use std::os::unix::fs::symlink;
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

/// Makes the host's root the root of this process, and so of everything that it starts from now on.
///
/// Over it, which the device model that carries it lets nobody write to, lies a writable layer that
/// is forgotten with the VM. The kernel's file systems, `/tmp`, the modules and the binaries move
/// along. This is what `switch_root(8)` does, and not a mere chroot(2): in one of those nobody may
/// make a user namespace, and whoever enters a mount namespace leaves it.
pub fn enter_host_root() -> Result<()> {
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

    for directory in [guest::MODULES, guest::PROGRAMS] {
        mount_bind(directory, directory)?;
    }
    for directory in [
        "/dev",
        "/proc",
        "/sys",
        "/tmp",
        guest::MODULES,
        guest::PROGRAMS,
    ] {
        let target = format!("{root}{directory}");
        std::fs::create_dir_all(&target)?;
        mount_move(directory, &target).with_context(|| format!("bringing {directory} along"))?;
    }
    chdir(root)?;
    mount_move(".", "/").context("making the host's root our own")?;
    chroot(".")?;
    chdir("/")?;

    mount_at("devpts", "/dev/pts", None)?;
    // As udev(7) would: the shell's redirections know these names.
    symlink("/proc/self/fd", "/dev/fd")?;
    for (number, name) in ["stdin", "stdout", "stderr"].iter().enumerate() {
        symlink(format!("/proc/self/fd/{number}"), format!("/dev/{name}"))?;
    }
    // Where modprobe(8) looks; what the host has there is for other kernels.
    mount_at("tmpfs", "/lib/modules", None)?;
    let release = uname().release().to_string_lossy().into_owned();
    let modules = Path::new("/lib/modules").join(release);
    std::fs::create_dir(&modules)?;
    mount_bind(guest::MODULES, &modules).context("bringing the modules to where modprobe looks")
}
