// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packet sockets: frames as they are on the wire.
//!
//! A [`Socket`] gets the frames of one type that a device receives, and sends some. As
//! [`datagrams`](Socket::datagrams) they are payloads, and the kernel makes the header of the link; as
//! [`frames`](Socket::frames) they begin with that header, which the program then writes itself.
//!
//! Frames may be lost, and are counted if it was the socket that had no room ([`Socket::lost`]).
//!
//! To open one takes `CAP_NET_RAW` in the network namespace.
//!
//! # Not supported
//!
//! Frames of all types at once (`ETH_P_ALL`), rings (`PACKET_MMAP`), fanout, filters.
//!
//! # References
//!  - [Linux](https://man7.org/linux/man-pages/man7/packet.7.html)

#![expect(unsafe_code, reason = "sockets with struct sockaddr_ll")]

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::link::{Link, socket};
use crate::testing::signal::last_errno;

/// Why a socket could not be opened or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no socket.
    #[error("cannot open a packet socket on {link}: {errno}; {}", open_hint(*.errno))]
    Open {
        /// The device.
        link: String,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A frame could not be sent.
    #[error("cannot send a frame of {len} bytes: {errno}; {}", send_hint(*.errno))]
    Send {
        /// Its length.
        len: usize,
        /// What the kernel answered.
        errno: Errno,
    },
    /// No frame could be received.
    #[error("cannot receive a frame: {errno}; is the device still there, and switched on?")]
    Receive {
        /// What the kernel answered.
        errno: Errno,
    },
}

impl Error {
    /// What the kernel answered.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Open { errno, .. } | Self::Send { errno, .. } | Self::Receive { errno } => *errno,
        }
    }
}

fn open_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM => "that takes CAP_NET_RAW in this network namespace: be root",
        Errno::AFNOSUPPORT => "the kernel is built without CONFIG_PACKET",
        _ => "see packet(7)",
    }
}

fn send_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::MSGSIZE => "the device takes no more than its MTU",
        Errno::NETDOWN => "switch the device on",
        Errno::NXIO | Errno::NODEV => "the device is gone",
        Errno::NOBUFS => "it was lost on its way out: send it again, later",
        Errno::INVAL => "a frame has at least the header of its link",
        _ => "see packet(7)",
    }
}

/// What these calls return.
pub type Result<T> = std::result::Result<T, Error>;

/// An address on a link such as Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub [u8; 6]);

impl Address {
    /// All on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The first six bytes of a longer one.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut address = [0; 6];
        address.copy_from_slice(&bytes[..6]);
        Self(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// The header that Ethernet puts before a payload of this type.
pub fn ethernet_header(to: Address, from: Address, ether_type: u16) -> [u8; 14] {
    let mut header = [0; 14];
    header[..6].copy_from_slice(&to.0);
    header[6..12].copy_from_slice(&from.0);
    header[12..].copy_from_slice(&ether_type.to_be_bytes());
    header
}

/// A frame that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its payload; from a socket of [`Socket::frames`], with the link's header before it.
    pub bytes: Vec<u8>,
    /// Who says to have sent it.
    pub from: Address,
    /// To whom.
    pub to: To,
    /// Number of the device that received it.
    pub link: u32,
}

/// To whom a frame is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The device that received it.
    Us,
    /// All on the link.
    All,
    /// A group of them.
    Group,
    /// Somebody else.
    Others,
}

/// The longest frame that is received whole.
const LONGEST: usize = 1 << 16;

/// A packet socket, bound to a device and a type of frames.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    link: u32,
    ether_type: u16,
}

impl Socket {
    /// A socket for payloads.
    ///
    /// # Errors
    ///
    /// [`Errno::PERM`] without `CAP_NET_RAW`.
    pub fn datagrams(link: &Link, ether_type: u16) -> Result<Self> {
        Self::open(link, ether_type, libc::SOCK_DGRAM)
    }

    /// A socket for frames with the link's header.
    ///
    /// # Errors
    ///
    /// As [`datagrams`](Self::datagrams).
    pub fn frames(link: &Link, ether_type: u16) -> Result<Self> {
        Self::open(link, ether_type, libc::SOCK_RAW)
    }

    fn open(link: &Link, ether_type: u16, kind: i32) -> Result<Self> {
        let opened = || {
            // Of no type, it gets nothing until it is bound; else it would get every device's frames.
            let socket = Self {
                fd: socket(libc::AF_PACKET, kind, 0)?,
                link: link.index(),
                ether_type,
            };
            let (address, len) = socket.address(None);
            let fd = socket.fd.as_raw_fd();
            // SAFETY: the address is one, of this length.
            match unsafe { libc::bind(fd, (&raw const address).cast(), len) } {
                0 => Ok(socket),
                _ => Err(last_errno()),
            }
        };
        opened().map_err(|errno| Error::Open {
            link: link.name().to_owned(),
            errno,
        })
    }

    /// Sends `payload` to `to`. For a socket of [`datagrams`](Self::datagrams).
    ///
    /// # Errors
    ///
    /// [`Errno::MSGSIZE`] if it is more than the device takes; [`Errno::NETDOWN`] if that is switched
    /// off.
    pub fn send(&self, to: Address, payload: &[u8]) -> Result<()> {
        let (address, len) = self.address(Some(to));
        // SAFETY: payload and address are valid, with their lengths.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                payload.as_ptr().cast(),
                payload.len(),
                0,
                (&raw const address).cast(),
                len,
            )
        };
        usize::try_from(sent).map(drop).map_err(|_| Error::Send {
            len: payload.len(),
            errno: last_errno(),
        })
    }

    /// Sends `frame`, which begins with the link's header. For a socket of [`frames`](Self::frames).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); and [`Errno::INVAL`] if not even the header is there.
    pub fn send_frame(&self, frame: &[u8]) -> Result<()> {
        let sent = rustix::io::write(&self.fd, frame).map(drop);
        sent.map_err(|errno| Error::Send {
            len: frame.len(),
            errno,
        })
    }

    /// Waits for a frame; `None` if there is none within `limit`.
    ///
    /// # Errors
    ///
    /// [`Errno::NETDOWN`], once, if the device was switched off or removed.
    pub fn receive(&self, limit: Duration) -> Result<Option<Frame>> {
        let error = |errno| Error::Receive { errno };
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(|_| error(Errno::INVAL))?;
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(error(errno)),
            }
            match self.receive_now() {
                // Whoever shares the socket was faster.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other.map(Some).map_err(error),
            }
        }
    }

    fn receive_now(&self) -> rustix::io::Result<Frame> {
        let mut bytes = Vec::<u8>::with_capacity(LONGEST);
        let mut address = MaybeUninit::<libc::sockaddr_ll>::zeroed();
        let mut len = length_of::<libc::sockaddr_ll>();
        // SAFETY: buffer and address are valid, and have room as their lengths say.
        let received = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                bytes.as_mut_ptr().cast(),
                LONGEST,
                libc::MSG_DONTWAIT,
                address.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let received = usize::try_from(received).map_err(|_| last_errno())?;
        // SAFETY: it was zeroed, which is a valid address, and the kernel wrote one.
        let address = unsafe { address.assume_init() };
        // SAFETY: there is room for that many, and the kernel wrote them.
        unsafe { bytes.set_len(received) };
        Ok(Frame {
            bytes,
            from: Address::of(&address.sll_addr),
            to: match address.sll_pkttype {
                libc::PACKET_HOST => To::Us,
                libc::PACKET_BROADCAST => To::All,
                libc::PACKET_MULTICAST => To::Group,
                _ => To::Others,
            },
            link: address.sll_ifindex.cast_unsigned(),
        })
    }

    /// How many frames the socket had no room for, since it was last asked.
    ///
    /// # Errors
    ///
    /// What getsockopt(2) fails with.
    pub fn lost(&self) -> Result<u32> {
        let mut statistics = MaybeUninit::<libc::tpacket_stats>::zeroed();
        let mut len = length_of::<libc::tpacket_stats>();
        // SAFETY: the structure has room as its length says.
        let answer = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                statistics.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if answer != 0 {
            return Err(Error::Receive {
                errno: last_errno(),
            });
        }
        // SAFETY: zeroes are valid, and the kernel wrote the rest.
        Ok(unsafe { statistics.assume_init() }.tp_drops)
    }

    /// The device and the type, and whom to send to, as the kernel wants it; and how long that is.
    fn address(&self, to: Option<Address>) -> (libc::sockaddr_ll, libc::socklen_t) {
        // SAFETY: all zeroes are a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET.try_into().unwrap_or_default();
        address.sll_protocol = self.ether_type.to_be();
        address.sll_ifindex = self.link.cast_signed();
        if let Some(Address(bytes)) = to {
            address.sll_halen = 6;
            address.sll_addr[..6].copy_from_slice(&bytes);
        }
        (address, length_of::<libc::sockaddr_ll>())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The size of `T` as C's socket calls want it.
fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("a structure of some bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_as_ethernet_wants_it() {
        let header = ethernet_header(Address::BROADCAST, Address([2, 0, 0, 0, 0, 1]), 0x88b5);
        assert_eq!(
            header,
            [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]
        );
        assert_eq!(
            Address([2, 0, 0xab, 0, 0, 1]).to_string(),
            "02:00:ab:00:00:01"
        );
    }
}
