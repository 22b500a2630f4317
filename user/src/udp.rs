// SPDX-License-Identifier: MIT OR Apache-2.0

//! UDP sockets: what [`std::net::UdpSocket`] does not tell of what it receives, and loses.
//!
//! - [`receive`] waits no longer than it is told, and says how long the datagram really was.
//! - [`sockets`] lists the UDP sockets of the network namespace, those of the kernel too, each with the
//!   number of datagrams that it had no room for; [`dropped`] looks one up.
//! - [`set_receive_buffer`] gives a socket more room.
//!
//! # Not supported
//!
//! Options and control messages: for those see [`rustix::net`].

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};

/// A datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes it had. What did not fit into the buffer is lost.
    pub len: usize,
    /// The address it says it is from.
    pub from: SocketAddr,
}

/// Receives a datagram into `buffer`; `None` if none came within `limit`.
///
/// # Errors
///
/// What the kernel answered, such as [`Errno::CONNREFUSED`] on a connected socket, if nobody listened to
/// what was sent before.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/recvfrom.2.html)
pub fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    limit: Duration,
) -> Result<Option<Received>, Errno> {
    let end = Instant::now() + limit;
    loop {
        match rustix::net::recvfrom(socket, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Ok((_, len, from)) => {
                let from = from.ok_or(Errno::AFNOSUPPORT)?.try_into()?;
                return Ok(Some(Received { len, from }));
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Gives the socket room for `bytes` bytes of what has arrived, with all that the kernel needs beside the
/// data; returns what it has now. Without privilege, `net.core.rmem_max` is the most that it gets.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man7/socket.7.html)
pub fn set_receive_buffer(socket: &UdpSocket, bytes: usize) -> Result<usize, Errno> {
    // Not even a program with CAP_NET_ADMIN is given more than a quarter of what can be counted.
    match sockopt::set_socket_recv_buffer_size_force(socket, bytes) {
        Err(Errno::PERM) => sockopt::set_socket_recv_buffer_size(socket, bytes)?,
        result => result?,
    }
    sockopt::socket_recv_buffer_size(socket)
}

/// A UDP socket, as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is bound to.
    pub local: SocketAddr,
    /// What it is connected to; unspecified if it is not.
    pub remote: SocketAddr,
    /// The memory of what waits to be received, in bytes.
    pub queued: u64,
    /// Whose it is.
    pub user: u32,
    /// What fstat(2) shows of it. Nobody has a socket of the kernel open, but it has an inode as well.
    pub inode: u64,
    /// How many datagrams it had no room for.
    pub dropped: u64,
}

/// Why the sockets could not be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no list.
    #[error("cannot read {path}: is proc mounted on /proc, and has the kernel INET=y?")]
    Read {
        /// The list.
        path: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A line that is not understood.
    #[error("{path} has the line {line:?}, which is of no form known: report it")]
    Line {
        /// The list.
        path: &'static str,
        /// The line.
        line: String,
    },
}

/// The UDP sockets in the network namespace of this thread. Those without an address are not listed.
///
/// # Errors
///
/// [`Error::Read`]; a kernel without IPv6 just has none of that.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man5/proc_pid_net.5.html)
pub fn sockets() -> Result<Vec<Entry>, Error> {
    // `/proc/net` would be that of the process' first thread.
    let mut all = list("/proc/thread-self/net/udp")?;
    match list("/proc/thread-self/net/udp6") {
        Ok(more) => all.extend(more),
        Err(Error::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(all)
}

/// How many datagrams `socket` had no room for; `None` if it is not listed, as it has no address.
pub fn dropped(socket: impl AsFd) -> Result<Option<u64>, Error> {
    let path = "/proc/thread-self/net/udp";
    let inode = rustix::fs::fstat(socket)
        .map_err(|errno| Error::Read {
            path,
            source: errno.into(),
        })?
        .st_ino;
    let entry = sockets()?.into_iter().find(|entry| entry.inode == inode);
    Ok(entry.map(|entry| entry.dropped))
}

fn list(path: &'static str) -> Result<Vec<Entry>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path, source })?;
    text.lines()
        .skip(1)
        .map(|line| {
            parse(line).ok_or_else(|| Error::Line {
                path,
                line: line.to_owned(),
            })
        })
        .collect()
}

fn parse(line: &str) -> Option<Entry> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [
        _,
        local,
        remote,
        _,
        memory,
        _,
        _,
        user,
        _,
        inode,
        _,
        _,
        dropped,
    ] = fields[..]
    else {
        return None;
    };
    let (_, queued) = memory.split_once(':')?;
    Some(Entry {
        local: address(local)?,
        remote: address(remote)?,
        queued: u64::from_str_radix(queued, 16).ok()?,
        user: user.parse().ok()?,
        inode: inode.parse().ok()?,
        dropped: dropped.parse().ok()?,
    })
}

/// An address as the kernel prints it: words of 32 bits, as this machine reads them, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let mut bytes = [0; 16];
    let (words, rest) = ip.as_bytes().as_chunks::<8>();
    for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(4)) {
        let word = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?;
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    let ip: IpAddr = match (words.len(), rest.is_empty()) {
        (1, true) => <[u8; 4]>::try_from(&bytes[..4]).ok()?.into(),
        (4, true) => bytes.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_socket_finds_itself() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = socket.local_addr().unwrap();
        let entry = sockets()
            .unwrap()
            .into_iter()
            .find(|entry| entry.local == own)
            .unwrap();
        assert_eq!(entry.inode, rustix::fs::fstat(&socket).unwrap().st_ino);
        assert_eq!(entry.user, rustix::process::getuid().as_raw());
        assert_eq!(entry.remote, "0.0.0.0:0".parse().unwrap());
        assert_eq!(dropped(&socket).unwrap(), Some(0));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_lines_of_both_families_are_understood() {
        let entry = parse(
            "  300: 0100007F:15B3 00000000:0000 07 00000000:00000300 00:00000000 00000000  \
             1000        0 4711 2 00000000ab12cd34 17",
        );
        let entry = entry.unwrap();
        assert_eq!(entry.local, "127.0.0.1:5555".parse().unwrap());
        let Entry {
            queued,
            user,
            inode,
            dropped,
            ..
        } = entry;
        assert_eq!((queued, user, inode, dropped), (0x300, 1000, 4711, 17));
        assert_eq!(
            address("B80D01200000000000000000010000FF:0035"),
            Some("[2001:db8::ff00:1]:53".parse().unwrap())
        );
        for no in [
            "",
            ":",
            "0100007F",
            "0100007F:",
            "0100007:15B3",
            "0100007F0:1",
            "zz00007F:1",
        ] {
            assert_eq!(address(no), None, "{no:?}");
        }
        assert_eq!(parse("0: 0100007F:15B3 00000000:0000"), None);
    }

    #[test]
    fn a_datagram_has_its_true_length_and_a_wait_its_end() {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = other.local_addr().unwrap();
        let from = one.local_addr().unwrap();
        let mut buffer = [0; 4];
        assert_eq!(receive(&other, &mut buffer, Duration::ZERO), Ok(None));
        assert_eq!(
            receive(&other, &mut buffer, Duration::from_millis(5)),
            Ok(None)
        );
        for (sent, len) in [(&b"hello"[..], 5), (b"", 0), (b"abcd", 4)] {
            one.send_to(sent, to).unwrap();
            assert_eq!(
                receive(&other, &mut buffer, LIMIT),
                Ok(Some(Received { len, from }))
            );
        }
        assert_eq!(&buffer, b"abcd");
    }

    #[test]
    fn a_buffer_is_as_large_as_is_said() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let room = set_receive_buffer(&socket, 4096).unwrap();
        assert_eq!(room, sockopt::socket_recv_buffer_size(&socket).unwrap());
        assert!(room >= 4096, "{room}");
    }
}
