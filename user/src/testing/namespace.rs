// SPDX-License-Identifier: MIT OR Apache-2.0

//! Another network namespace, for a closure to look around in; and the interfaces in it.

#![expect(
    unsafe_code,
    reason = "unshare(2) can share more or less than Rust knows of; ioctl(2) takes a pointer"
)]

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The network namespace of the thread that asks.
const OWN: &str = "/proc/thread-self/ns/net";

#[expect(clippy::cast_possible_truncation, reason = "it is the first bit")]
const UP: libc::c_short = libc::IFF_UP as libc::c_short;

#[expect(clippy::cast_possible_truncation, reason = "it is 2")]
const INET: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;

/// A network namespace. It lives until this is dropped and nobody is in it any more; then the kernel
/// takes it down, in its own time.
#[derive(Debug)]
pub struct Network(File);

impl Network {
    /// A new one.
    ///
    /// # Errors
    ///
    /// What unshare(2) fails with, or what the kernel's modules answer that have something for each
    /// network namespace.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man7/network_namespaces.7.html)
    pub fn new() -> Result<Self> {
        in_thread(|| {
            // SAFETY: this thread alone gets another network namespace; memory, files and all else
            // stay shared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET)? };
            Ok(Self(File::open(OWN)?))
        })
    }

    /// Runs `inside`, in a thread of its own, in this namespace.
    ///
    /// # Panics
    ///
    /// If the namespace cannot be entered, or `inside` panics.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        in_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root can enter a network namespace");
            inside()
        })
    }
}

impl AsFd for Network {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Brings up an interface, such as `lo`, in the network namespace of this thread. In a new one, and in
/// the first one until somebody has done so, all are down, and not even 127.0.0.1 can be reached.
///
/// # Errors
///
/// `EPERM` without `CAP_NET_ADMIN`, if it is down; `ENODEV` if there is no such interface.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man7/netdevice.7.html)
pub fn bring_up(interface: &str) -> Result<()> {
    let mut request = Request::new(interface)?;
    request.send(libc::SIOCGIFFLAGS)?;
    // SAFETY: that call fills this field.
    let flags = unsafe { request.about.ifr_ifru.ifru_flags };
    if flags & UP == 0 {
        request.about.ifr_ifru.ifru_flags = flags | UP;
        request.send(libc::SIOCSIFFLAGS)?;
    }
    Ok(())
}

/// Takes an interface down, in the network namespace of this thread. Its addresses of IPv4 stay.
///
/// # Errors
///
/// `EPERM` without `CAP_NET_ADMIN`; `ENODEV` if there is no such interface.
pub fn take_down(interface: &str) -> Result<()> {
    let mut request = Request::new(interface)?;
    request.about.ifr_ifru.ifru_flags = 0;
    request.send(libc::SIOCSIFFLAGS)
}

/// Gives an interface an address, in the network namespace of this thread. Its network is as large as
/// the address says by its class: 256 addresses for one that begins with 192 to 223.
///
/// # Errors
///
/// `EPERM` without `CAP_NET_ADMIN`; `ENODEV` if there is no such interface.
pub fn set_address(interface: &str, address: Ipv4Addr) -> Result<()> {
    let mut request = Request::new(interface)?;
    let mut data = [0; 14];
    for (to, from) in data[2..].iter_mut().zip(address.octets()) {
        *to = from.cast_signed();
    }
    request.about.ifr_ifru.ifru_addr = libc::sockaddr {
        sa_family: INET,
        sa_data: data,
    };
    request.send(libc::SIOCSIFADDR)
}

/// What is asked about an interface, or of it.
struct Request {
    socket: OwnedFd,
    about: libc::ifreq,
}

impl Request {
    fn new(interface: &str) -> Result<Self> {
        // SAFETY: it is plain data, for which zero stands for nothing.
        let mut about: libc::ifreq = unsafe { zeroed() };
        if interface.len() >= about.ifr_name.len() || interface.contains('\0') {
            return Err(ErrorKind::InvalidInput.into());
        }
        for (to, from) in about.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from.cast_signed();
        }
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Self { socket, about })
    }

    /// Sends it by the ioctl of this number, which must be one that takes a `struct ifreq`.
    fn send(&mut self, number: libc::Ioctl) -> Result<()> {
        // SAFETY: all three of `SIOCGIFFLAGS`, `SIOCSIFFLAGS` and `SIOCSIFADDR` take a `struct ifreq`, and
        // write into nothing but that.
        match unsafe { libc::ioctl(self.socket.as_raw_fd(), number, &raw mut self.about) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }
}

fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
