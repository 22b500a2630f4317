// SPDX-License-Identifier: MIT OR Apache-2.0

//! Network devices: looking one up, setting it up, and a pair of them with a wire in between.
//!
//! Everything is about the network namespace of the thread that calls.
//!
//! # Not supported
//!
//! Everything else that ip(8) does.
//!
//! # References
//!  - [Devices](https://man7.org/linux/man-pages/man7/netdevice.7.html)
//!  - [rtnetlink](https://man7.org/linux/man-pages/man7/rtnetlink.7.html)
//!  - [veth](https://man7.org/linux/man-pages/man4/veth.4.html)

#![expect(unsafe_code, reason = "sockets, and ioctl(2) with struct ifreq")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::packet::Address;
use crate::testing::signal::last_errno;

/// Why something could not be done with a network device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {what} the network device {name}: {errno}; {}", hint(*.errno))]
pub struct Error {
    /// What was to be done.
    pub what: &'static str,
    /// The device.
    pub name: String,
    /// What the kernel answered.
    pub errno: Errno,
}

impl Error {
    /// What the kernel answered.
    pub const fn errno(&self) -> Errno {
        self.errno
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::NODEV => "there is none of that name in this network namespace",
        Errno::EXIST => "there is one already: remove it, or choose another name",
        Errno::PERM => "that takes CAP_NET_ADMIN in this network namespace",
        Errno::OPNOTSUPP => "the kernel is built without that kind of device: CONFIG_VETH",
        Errno::INVAL => "a name has 1 to 15 bytes, and no slash, colon or space",
        _ => "see netdevice(7)",
    }
}

/// What these calls return.
pub type Result<T> = std::result::Result<T, Error>;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    name: String,
    index: u32,
}

impl Link {
    /// The device called `name`.
    ///
    /// # Errors
    ///
    /// [`Errno::NODEV`] if there is none.
    pub fn find(name: &str) -> Result<Self> {
        let request = request(name, libc::SIOCGIFINDEX, "find", |_| {})?;
        // SAFETY: the kernel has filled this field in, and any bits are an integer.
        let index = unsafe { request.ifr_ifru.ifru_ifindex };
        Ok(Self {
            name: name.to_owned(),
            index: index.cast_unsigned(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number, which tells it from all others in its network namespace.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Its address on the link.
    ///
    /// # Errors
    ///
    /// What the kernel answers.
    pub fn address(&self) -> Result<Address> {
        let request = request(
            &self.name,
            libc::SIOCGIFHWADDR,
            "ask for the address of",
            |_| {},
        )?;
        // SAFETY: the kernel has filled this field in, and any bits are bytes.
        let bytes = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
        Ok(Address::of(&bytes.map(i8::cast_unsigned)))
    }

    /// Switches it on.
    ///
    /// # Errors
    ///
    /// What the kernel answers.
    pub fn up(&self) -> Result<()> {
        let flags = self.flags()? | libc::IFF_UP;
        request(&self.name, libc::SIOCSIFFLAGS, "switch on", |request| {
            request.ifr_ifru.ifru_flags = flags.try_into().unwrap_or_default();
        })?;
        Ok(())
    }

    /// Whether it is switched on, and somebody is at the other end.
    ///
    /// # Errors
    ///
    /// What the kernel answers.
    pub fn is_running(&self) -> Result<bool> {
        Ok(self.flags()? & libc::IFF_RUNNING != 0)
    }

    fn flags(&self) -> Result<i32> {
        let request = request(
            &self.name,
            libc::SIOCGIFFLAGS,
            "ask for the state of",
            |_| {},
        )?;
        // SAFETY: the kernel has filled this field in, and any bits are an integer.
        Ok(unsafe { request.ifr_ifru.ifru_flags }.into())
    }

    /// Sets how many bytes of payload a frame may have.
    ///
    /// # Errors
    ///
    /// What the kernel answers.
    pub fn set_mtu(&self, mtu: u16) -> Result<()> {
        request(&self.name, libc::SIOCSIFMTU, "set the MTU of", |request| {
            request.ifr_ifru.ifru_mtu = mtu.into();
        })?;
        Ok(())
    }
}

/// Two devices with a wire in between: what is sent from one, the other receives. Dropping this removes them.
#[derive(Debug)]
pub struct Veth {
    ends: [Link; 2],
}

impl Veth {
    /// Makes a pair with these names, both switched off.
    ///
    /// # Errors
    ///
    /// [`Errno::EXIST`] if a name is taken; [`Errno::PERM`] without `CAP_NET_ADMIN`.
    pub fn new(names: [&str; 2]) -> Result<Self> {
        let error = |errno| Error {
            what: "make",
            name: names.join(" and "),
            errno,
        };
        // To an empty name the kernel would prefer one of its own.
        if !names.into_iter().all(is_name) {
            return Err(error(Errno::INVAL));
        }
        let mut peer = interface();
        attribute(&mut peer, IFLA_IFNAME, names[1].as_bytes());
        let mut data = Vec::new();
        attribute(&mut data, VETH_INFO_PEER, &peer);
        let mut info = Vec::new();
        attribute(&mut info, IFLA_INFO_KIND, b"veth");
        attribute(&mut info, IFLA_INFO_DATA, &data);
        let mut message = interface();
        attribute(&mut message, IFLA_IFNAME, names[0].as_bytes());
        attribute(&mut message, IFLA_LINKINFO, &info);
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        change(libc::RTM_NEWLINK, flags, &message).map_err(error)?;
        let [one, other] = names.map(Link::find);
        Ok(Self {
            ends: [one?, other?],
        })
    }

    /// Makes a pair with these names, and switches both on.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn up(names: [&str; 2]) -> Result<Self> {
        let pair = Self::new(names)?;
        for end in pair.ends() {
            end.up()?;
        }
        Ok(pair)
    }

    /// Its two ends.
    pub const fn ends(&self) -> &[Link; 2] {
        &self.ends
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let mut message = interface();
        attribute(&mut message, IFLA_IFNAME, self.ends[0].name.as_bytes());
        // If it is gone already, so be it.
        let _ = change(libc::RTM_DELLINK, 0, &message);
    }
}

/// The longest name of a device, without its NUL.
const LONGEST_NAME: usize = libc::IFNAMSIZ - 1;

/// Whether the kernel would read all of this name, and nothing but it.
fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.contains('\0')
}

const IFLA_IFNAME: u16 = libc::IFLA_IFNAME;
const IFLA_LINKINFO: u16 = libc::IFLA_LINKINFO;
const IFLA_INFO_KIND: u16 = libc::IFLA_INFO_KIND;
const IFLA_INFO_DATA: u16 = libc::IFLA_INFO_DATA;
/// From `linux/veth.h`.
const VETH_INFO_PEER: u16 = 1;

/// A `struct ifinfomsg` of zeroes.
fn interface() -> Vec<u8> {
    vec![0; size_of::<libc::ifinfomsg>()]
}

/// Appends an attribute: its length, its number, its value, and zeroes up to a multiple of four.
fn attribute(message: &mut Vec<u8>, number: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).expect("names are short");
    message.extend(len.to_ne_bytes());
    message.extend(number.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Sends a request to rtnetlink, and gives its answer.
fn change(kind: u16, flags: i32, payload: &[u8]) -> rustix::io::Result<()> {
    let mut socket = File::from(socket(
        libc::AF_NETLINK,
        libc::SOCK_RAW,
        libc::NETLINK_ROUTE,
    )?);
    let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
    let mut message = Vec::new();
    let len = u32::try_from(16 + payload.len()).map_err(|_| Errno::MSGSIZE)?;
    message.extend(len.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(
        u16::try_from(flags)
            .map_err(|_| Errno::INVAL)?
            .to_ne_bytes(),
    );
    // Sequence number and sender: there is but one request on this socket, and the kernel knows whose.
    message.extend([0; 8]);
    message.extend(payload);
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    socket.write_all(&message).map_err(io)?;
    // The answer's header, the error, and then the request.
    let mut answer = vec![0; 4096];
    let len = socket.read(&mut answer).map_err(io)?;
    let error = answer[..len]
        .get(16..20)
        .and_then(|error| error.try_into().ok());
    match error.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(Errno::from_raw_os_error(-error)),
        None => Err(Errno::PROTO),
    }
}

/// ioctl(2) with a `struct ifreq` that names a device.
fn request(
    name: &str,
    number: libc::Ioctl,
    what: &'static str,
    fill: impl FnOnce(&mut libc::ifreq),
) -> Result<libc::ifreq> {
    let error = |errno| Error {
        what,
        name: name.to_owned(),
        errno,
    };
    // SAFETY: all zeroes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if !is_name(name) {
        return Err(error(Errno::INVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    fill(&mut request);
    let socket = socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0).map_err(error)?;
    // SAFETY: the commands used here take and fill in a `struct ifreq`.
    match unsafe { libc::ioctl(socket.as_raw_fd(), number, &raw mut request) } {
        0 => Ok(request),
        _ => Err(error(last_errno())),
    }
}

/// A socket.
pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> rustix::io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: it was just opened, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_found() {
        let lo = Link::find("lo").unwrap();
        assert_eq!((lo.name(), lo.index()), ("lo", 1));
        assert_eq!(lo.address(), Ok(Address([0; 6])));
        lo.is_running().unwrap();
    }

    #[test]
    fn what_is_not_there_is_said_so() {
        let error = Link::find("no-such-link").unwrap_err();
        assert_eq!(error.errno(), Errno::NODEV);
        assert!(
            error
                .to_string()
                .starts_with("cannot find the network device no-such-link")
        );
        for name in ["", "a-name-of-16-xxx", "lo\0"] {
            assert_eq!(Link::find(name).unwrap_err().errno(), Errno::INVAL);
        }
    }

    #[test]
    fn attributes_are_padded() {
        let mut message = Vec::new();
        attribute(&mut message, 3, b"ab");
        attribute(&mut message, 4, b"");
        assert_eq!(message, [6, 0, 3, 0, b'a', b'b', 0, 0, 4, 0, 4, 0]);
    }
}
