// SPDX-License-Identifier: MIT OR Apache-2.0

//! Netlink: messages to and from a part of the kernel, each with attributes.
//!
//! A [`Socket`] sends requests and collects what comes back: replies, then an acknowledgement, which may
//! be a [`Refusal`] that says which attribute is to blame. It may also join multicast groups, and
//! receives what the kernel sends to them. Every wait has a limit.
//!
//! [`genl`](crate::genl) speaks to families of generic netlink; what is here serves any protocol.
//!
//! Frames are made and read by `netlink-packet-core`, and `netlink-sys` sets the options of sockets.
//!
//! # References
//!  - [Linux](https://man7.org/linux/man-pages/man7/netlink.7.html)
//!  - [Introduction to Netlink](https://docs.kernel.org/userspace-api/netlink/intro.html)

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{
    DoneBuffer, Emitable as _, ErrorBuffer, NLA_F_NESTED, NLA_HEADER_SIZE, NLA_TYPE_MASK,
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer, NetlinkHeader, NlaBuffer, NlasIterator,
};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

/// How long a [`Socket`] waits for the next message unless [`Socket::set_limit`] says otherwise. The
/// kernel answers within the call that asks; more is needed on an emulated machine only.
pub const LIMIT: Duration = Duration::from_secs(30);

/// As much as the kernel ever puts into one buffer of a dump.
const BUFFER: usize = 32 << 10;

/// `NLMSG_HDRLEN`.
const HEADER: usize = 16;

/// `NLMSGERR_ATTR_*`: what an extended acknowledgement consists of.
mod ack {
    pub const MESSAGE: u16 = 1;
    pub const OFFSET: u16 = 2;
    pub const MISSING_TYPE: u16 = 5;
    pub const MISSING_NEST: u16 = 6;
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call on the socket failed.
    #[error("{call} failed on a netlink socket: {errno}; {}", call_hint(call, *.errno))]
    Socket {
        /// The system call, or the option.
        call: &'static str,
        /// Why.
        errno: Errno,
    },
    /// The kernel refused the request.
    #[error("the kernel refused the request: {0}")]
    Refused(Refusal),
    /// Messages were lost, because they came faster than they were received.
    #[error(
        "messages were lost, as they came faster than they were received: ask for the whole state \
         again, or make the receive buffer larger"
    )]
    Lost,
    /// Nothing came.
    #[error("no message within {0:?}: is whoever should answer still there?")]
    Timeout(Duration),
    /// What came is no netlink message, or not what it should be.
    #[error("received what is no proper answer: {0}; kernel and program disagree")]
    Malformed(String),
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Socket { errno, .. } => Some(*errno),
            Self::Refused(refusal) => Some(refusal.errno),
            Self::Lost => Some(Errno::NOBUFS),
            Self::Timeout(_) | Self::Malformed(_) => None,
        }
    }
}

fn call_hint(call: &str, errno: Errno) -> &'static str {
    match (call, errno) {
        (_, Errno::PROTONOSUPPORT) => {
            "nobody serves this protocol: load the module that does, or use a kernel that has it"
        }
        (_, Errno::PERM) => "this takes CAP_NET_ADMIN in the network namespace",
        ("NETLINK_ADD_MEMBERSHIP", Errno::INVAL | Errno::NOENT) => "there is no such group",
        (_, Errno::CONNREFUSED) => "whoever should receive it is gone",
        _ => "see netlink(7)",
    }
}

/// What the kernel says of a request that it refuses: a negative acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub errno: Errno,
    /// The same in words, if the kernel has any.
    pub message: Option<String>,
    /// The attribute to blame: the numbers of the nests that it is in, and its own number. Empty if no
    /// attribute is.
    pub attribute: Vec<u16>,
    /// The number of an attribute that is missing.
    pub missing: Option<u16>,
    /// The nest that it is missing from, as in `attribute`. Empty for the message itself.
    pub missing_from: Vec<u16>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.errno)?;
        if let Some(message) = &self.message {
            write!(f, " ({message})")?;
        }
        if !self.attribute.is_empty() {
            write!(f, "; the attribute at fault is {}", Path(&self.attribute))?;
        }
        if let Some(missing) = self.missing {
            let path: Vec<_> = self.missing_from.iter().copied().chain([missing]).collect();
            write!(f, "; add attribute {}", Path(&path))?;
        }
        Ok(())
    }
}

struct Path<'a>(&'a [u16]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// Attributes: what a message consists of, to be sent, or as received.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those that are encoded in these bytes.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// How they are encoded.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// One more, with these bytes as its value. `number` may have `NLA_F_*` bits.
    ///
    /// # Panics
    ///
    /// If the value has more than 65 531 bytes.
    #[must_use]
    pub fn bytes(mut self, number: u16, value: &[u8]) -> Self {
        let length = u16::try_from(NLA_HEADER_SIZE + value.len()).expect("a length has 16 bits");
        let start = self.0.len();
        self.0.resize(start + NLA_HEADER_SIZE, 0);
        let mut buffer = NlaBuffer::new(&mut self.0[start..]);
        buffer.set_length(length);
        buffer.set_kind(number);
        if number & NLA_F_NESTED != 0 {
            buffer.set_nested_flag();
        }
        if number & !(NLA_F_NESTED | NLA_TYPE_MASK) != 0 {
            buffer.set_network_byte_order_flag();
        }
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// One more, a string, with a NUL after it.
    #[must_use]
    pub fn string(self, number: u16, value: &str) -> Self {
        self.bytes(number, &[value.as_bytes(), b"\0"].concat())
    }

    /// One more, a number, in the order of bytes of this machine.
    #[must_use]
    pub fn number(self, number: u16, value: impl Number) -> Self {
        self.bytes(number, value.to_bytes().as_ref())
    }

    /// One more, a flag.
    #[must_use]
    pub fn flag(self, number: u16) -> Self {
        self.bytes(number, &[])
    }

    /// One more, a nest with these in it.
    #[must_use]
    pub fn nest(self, number: u16, inner: &Self) -> Self {
        self.bytes(number | NLA_F_NESTED, &inner.0)
    }

    /// Number and value of each, up to the first that is malformed.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let whole = NlasIterator::new(&self.0).map_while(Result::ok);
        whole.map(|one| {
            let (kind, length) = (one.kind(), usize::from(one.length()));
            (kind, &one.into_inner()[NLA_HEADER_SIZE..length])
        })
    }

    /// The bytes of the last attribute with this number.
    pub fn get(&self, number: u16) -> Option<&[u8]> {
        self.iter()
            .filter(|one| one.0 == number)
            .last()
            .map(|one| one.1)
    }

    /// Whether there is an attribute with this number.
    pub fn has(&self, number: u16) -> bool {
        self.get(number).is_some()
    }

    /// A number of just this size.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if it is not there, or of another size.
    pub fn get_number<N: Number>(&self, number: u16) -> Result<N, Error> {
        let value = self.need(number)?;
        N::from_bytes(value).ok_or_else(|| {
            Error::Malformed(format!("attribute {number} has {} bytes", value.len()))
        })
    }

    /// A string, without its NUL.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if it is not there, has no NUL, or is not UTF-8.
    pub fn get_string(&self, number: u16) -> Result<&str, Error> {
        let value = self.need(number)?;
        std::ffi::CStr::from_bytes_until_nul(value)
            .ok()
            .and_then(|text| text.to_str().ok())
            .ok_or_else(|| Error::Malformed(format!("attribute {number} is no string: {value:?}")))
    }

    /// What is in a nest.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if it is not there.
    pub fn get_nest(&self, number: u16) -> Result<Self, Error> {
        self.need(number).map(Self::from_bytes)
    }

    fn need(&self, number: u16) -> Result<&[u8], Error> {
        self.get(number)
            .ok_or_else(|| Error::Malformed(format!("attribute {number} is missing")))
    }

    /// The numbers of the attribute whose header is at `offset`, and before it those of the nests around.
    fn path_to(bytes: &[u8], offset: usize) -> Option<Vec<u16>> {
        let mut start = 0;
        for one in NlasIterator::new(bytes).map_while(Result::ok) {
            let length = usize::from(one.length());
            if start == offset {
                return Some(vec![one.kind()]);
            }
            if offset < start + length && offset >= start + NLA_HEADER_SIZE {
                let inner = &bytes[start + NLA_HEADER_SIZE..start + length];
                let mut path = vec![one.kind()];
                path.extend(Self::path_to(inner, offset - start - NLA_HEADER_SIZE)?);
                return Some(path);
            }
            start += length.next_multiple_of(4);
        }
        None
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A number that an attribute can have.
pub trait Number: Sized {
    /// Its bytes, in the order of this machine.
    fn to_bytes(self) -> impl AsRef<[u8]>;
    /// The other way; `None` if there are more or less of them.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ident)*) => {
        $(impl Number for $number {
            fn to_bytes(self) -> impl AsRef<[u8]> {
                self.to_ne_bytes()
            }

            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_ne_bytes)
            }
        })*
    };
}

numbers! { u8 u16 u32 u64 i8 i16 i32 i64 }

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What kind of message it is. The protocol says what there are.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// That of the request that it answers, or 0.
    pub sequence: u32,
    /// The socket that it answers, or 0.
    pub port: u32,
    /// What is behind the header.
    pub payload: Vec<u8>,
}

/// What a dump brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump<T> {
    /// All that came.
    pub records: Vec<T>,
    /// Whether the records did not change meanwhile, as far as the kernel looks at that. If they did,
    /// some may be missing, or there twice: ask again if that matters.
    pub consistent: bool,
}

/// A netlink socket, bound to a number that the kernel chose.
///
/// It asks for extended acknowledgements, and for short ones: those without the request in them.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    header: usize,
    port: u32,
    sequence: u32,
    limit: Duration,
    /// What came in one buffer and has not been handed out.
    pending: std::collections::VecDeque<Message>,
    /// The buffer.
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket of this protocol, one of `NETLINK_*`, in the network namespace of this thread. Its
    /// messages have `header` bytes of the protocol's own before their attributes.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`], with [`Errno::PROTONOSUPPORT`] if nobody serves the protocol.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man7/netlink.7.html)
    pub fn new(protocol: i32, header: usize) -> Result<Self, Error> {
        let protocol = isize::try_from(protocol).unwrap_or(-1);
        let mut socket = netlink_sys::Socket::new(protocol).map_err(failed("socket(2)"))?;
        socket
            .set_ext_ack(true)
            .map_err(failed("NETLINK_EXT_ACK"))?;
        socket
            .set_cap_ack(true)
            .map_err(failed("NETLINK_CAP_ACK"))?;
        let port = socket.bind_auto().map_err(failed("bind(2)"))?.port_number();
        let kernel = netlink_sys::SocketAddr::new(0, 0);
        socket.connect(&kernel).map_err(failed("connect(2)"))?;
        Ok(Self {
            inner: socket,
            header,
            port,
            sequence: 0,
            limit: LIMIT,
            pending: std::collections::VecDeque::new(),
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// The number that the kernel sends to.
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// How long to wait for each message.
    pub const fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// How many bytes may wait to be received. The kernel doubles it, and has its limits.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`].
    pub fn set_receive_buffer(&self, bytes: usize) -> Result<(), Error> {
        sockopt::set_socket_recv_buffer_size(&self.inner, bytes).map_err(at("SO_RCVBUF"))
    }

    /// Joins a multicast group: from now on the socket receives what is sent to that.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`], with [`Errno::PERM`] if the group is for others, and [`Errno::INVAL`] if there
    /// can be no such group.
    pub fn join(&self, group: u32) -> Result<(), Error> {
        let joined = self.inner.add_membership(group);
        joined.map_err(failed("NETLINK_ADD_MEMBERSHIP"))
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`].
    pub fn leave(&self, group: u32) -> Result<(), Error> {
        let left = self.inner.drop_membership(group);
        left.map_err(failed("NETLINK_DROP_MEMBERSHIP"))
    }

    /// Sends bytes as they are, right or wrong, as one datagram.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`].
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        send(&self.inner, bytes, SendFlags::empty())
            .map(drop)
            .map_err(at("send(2)"))
    }

    /// Sends a request, and returns its sequence number.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`].
    pub fn send(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Result<u32, Error> {
        let bytes = self.frame(kind, flags, payload);
        self.send_bytes(&bytes)?;
        Ok(self.sequence)
    }

    /// A request as it would be sent, with the next sequence number.
    ///
    /// # Panics
    ///
    /// If the payload has 4 GiB.
    pub fn frame(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(HEADER + payload.len()).expect("less than 4 GiB");
        header.message_type = kind;
        header.flags = flags;
        header.sequence_number = self.sequence;
        header.port_number = self.port;
        let mut bytes = vec![0; HEADER];
        header.emit(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Asks for something to be done, and returns the replies, of which there may be none.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the kernel refuses; the others if something is wrong with the socket.
    pub fn request(&mut self, kind: u16, payload: &[u8]) -> Result<Vec<Message>, Error> {
        let sequence = self.send(kind, NLM_F_REQUEST | NLM_F_ACK, payload)?;
        self.replies(sequence, payload).map(|dump| dump.records)
    }

    /// Asks for a list, and returns all of it.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn dump(&mut self, kind: u16, payload: &[u8]) -> Result<Dump<Message>, Error> {
        let sequence = self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, payload)?;
        self.replies(sequence, payload)
    }

    /// All that answers the request with this number, up to its end: an acknowledgement, or the end of a
    /// dump. `payload` is what the request had, to find in it what a refusal is about.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn replies(&mut self, sequence: u32, payload: &[u8]) -> Result<Dump<Message>, Error> {
        let (mut records, mut consistent) = (Vec::new(), true);
        loop {
            let message = self.receive()?;
            if message.sequence != sequence || message.port != self.port {
                // To a group that this socket joined, or to a request that was given up.
                continue;
            }
            consistent &= message.flags & NLM_F_DUMP_INTR == 0;
            match message.kind {
                NLMSG_NOOP => {}
                NLMSG_ERROR | NLMSG_DONE => {
                    end(
                        &message,
                        payload.get(self.header..).unwrap_or_default(),
                        self.header,
                    )?;
                    return Ok(Dump {
                        records,
                        consistent,
                    });
                }
                _ => records.push(message),
            }
        }
    }

    /// The next message, whatever it is.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if none comes within the limit. [`Error::Lost`], once, if messages were lost;
    /// what comes after that may be received as ever.
    pub fn receive(&mut self) -> Result<Message, Error> {
        let message = self.receive_within(self.limit)?;
        message.ok_or(Error::Timeout(self.limit))
    }

    /// The next message; `None` if there is none within `limit`.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub fn receive_within(&mut self, limit: Duration) -> Result<Option<Message>, Error> {
        let mut end = None;
        loop {
            if let Some(message) = self.pending.pop_front() {
                return Ok(Some(message));
            }
            // What is there takes one system call, and no look at the clock.
            if self.fill()? {
                continue;
            }
            let now = Instant::now();
            let left = end
                .get_or_insert(now + limit)
                .saturating_duration_since(now);
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = Timespec::try_from(left).ok();
            match poll(
                &mut [PollFd::new(&self.inner, PollFlags::IN)],
                timeout.as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(at("poll(2)")(errno)),
            }
        }
    }

    /// Receives one datagram, or is to be asked again; false if there is none.
    fn fill(&mut self) -> Result<bool, Error> {
        self.buffer.clear();
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let length = match recv(&self.inner, spare_capacity(&mut self.buffer), flags) {
            Ok((_, length)) => length,
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => return Ok(true),
            Err(Errno::NOBUFS) => return Err(Error::Lost),
            Err(errno) => return Err(at("recv(2)")(errno)),
        };
        let mut rest = self.buffer.get(..length).ok_or_else(|| {
            Error::Malformed(format!("a datagram has {length} bytes, more than {BUFFER}"))
        })?;
        while !rest.is_empty() {
            let one = NetlinkBuffer::new_checked(rest)
                .map_err(|error| Error::Malformed(error.to_string()))?;
            self.pending.push_back(Message {
                kind: one.message_type(),
                flags: one.flags(),
                sequence: one.sequence_number(),
                port: one.port_number(),
                payload: one.payload().to_vec(),
            });
            let length = usize::try_from(one.length()).unwrap_or(usize::MAX);
            rest = rest
                .get(length.saturating_add(3) & !3..)
                .unwrap_or_default();
        }
        Ok(true)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

fn at(call: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Socket { call, errno }
}

fn failed(call: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Socket {
        call,
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    }
}

/// What the end of an exchange says: success, or why not.
///
/// `request` is the attributes that it had, behind a header of `skip` bytes.
fn end(message: &Message, request: &[u8], skip: usize) -> Result<(), Error> {
    let short = |error: netlink_packet_core::DecodeError| Error::Malformed(error.to_string());
    let bytes = message.payload.as_slice();
    let (code, rest) = if message.kind == NLMSG_DONE {
        let done = DoneBuffer::new_checked(bytes).map_err(short)?;
        (done.code(), done.extended_ack())
    } else {
        let error = ErrorBuffer::new_checked(bytes).map_err(short)?;
        let code = error.code().map_or(0, i32::from);
        // The header of the request, then the rest of it unless it is left out.
        let header = NetlinkBuffer::new(error.payload());
        let request = match message.flags & NLM_F_CAPPED {
            0 if error.payload().len() >= HEADER => {
                usize::try_from(header.length()).unwrap_or(usize::MAX)
            }
            _ => HEADER,
        };
        let rest = error.payload().get(request.saturating_add(3) & !3..);
        (code, rest.unwrap_or_default())
    };
    if code >= 0 {
        return Ok(());
    }
    let says = match message.flags & NLM_F_ACK_TLVS {
        0 => Attributes::new(),
        _ => Attributes::from_bytes(rest),
    };
    let path = |number| {
        let offset = usize::try_from(says.get_number::<u32>(number).ok()?).ok()?;
        Attributes::path_to(request, offset.checked_sub(HEADER + skip)?)
    };
    Err(Error::Refused(Refusal {
        errno: Errno::from_raw_os_error(-code),
        message: says.get_string(ack::MESSAGE).ok().map(str::to_owned),
        attribute: path(ack::OFFSET).unwrap_or_default(),
        missing: says
            .get_number::<u32>(ack::MISSING_TYPE)
            .ok()
            .and_then(|number| u16::try_from(number).ok()),
        missing_from: path(ack::MISSING_NEST).unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let inner = Attributes::new().number(1, 7_u32).string(2, "text");
        let all = Attributes::new()
            .number(1, -1_i8)
            .string(2, "")
            .bytes(3, &[1, 2, 3, 4, 5])
            .flag(4)
            .nest(5, &inner);
        assert_eq!(all.as_bytes().len(), 8 + 8 + 12 + 4 + 4 + 8 + 12);
        assert_eq!(all.get_number::<i8>(1).unwrap(), -1);
        assert_eq!(all.get_string(2).unwrap(), "");
        assert_eq!(all.get(3), Some(&[1, 2, 3, 4, 5][..]));
        assert!(all.has(4) && !all.has(6));
        assert_eq!(all.get_nest(5).unwrap(), inner);
        assert!(matches!(all.get_number::<u32>(1), Err(Error::Malformed(_))));
        assert!(matches!(all.get_string(3), Err(Error::Malformed(_))));
        assert!(matches!(all.get_nest(6), Err(Error::Malformed(_))));
    }

    #[test]
    fn the_last_of_several_counts_and_a_torn_end_does_not() {
        let twice = Attributes::new().number(1, 1_u32).number(1, 2_u32);
        assert_eq!(twice.get_number::<u32>(1).unwrap(), 2);
        for cut in 1..8 {
            let torn = Attributes::from_bytes(&twice.as_bytes()[..16 - cut]);
            assert_eq!(torn.get_number::<u32>(1).unwrap(), 1, "{cut}");
        }
        for length in 0..4 {
            assert!(!Attributes::from_bytes([length, 0, 1, 0]).has(1));
        }
    }

    fn refusal(flags: u16, payload: &[u8], request: &Attributes) -> Refusal {
        let message = Message {
            kind: NLMSG_ERROR,
            flags,
            sequence: 1,
            port: 1,
            payload: payload.to_vec(),
        };
        match end(&message, request.as_bytes(), 4) {
            Err(Error::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_names_the_attribute_and_the_nest() {
        let inner = Attributes::new().number(1, 7_u32).string(2, "text");
        let request = Attributes::new().flag(4).nest(5, &inner);
        // Behind the header, the 4 bytes, the flag, the nest's header and the first in it.
        let says = Attributes::new()
            .string(ack::MESSAGE, "no")
            .number(ack::OFFSET, 16 + 4 + 4 + 4 + 8_u32)
            .number(ack::MISSING_TYPE, 3_u32)
            .number(ack::MISSING_NEST, 16 + 4 + 4_u32);
        let code = (-libc::EINVAL).to_ne_bytes();
        let mut header = [0; HEADER];
        header[0] = 16 + 8;
        let capped = [&code, &header[..], says.as_bytes()].concat();
        let whole = [&code, &header[..], &[0; 8], says.as_bytes()].concat();
        let (flags, capped_flags) = (NLM_F_ACK_TLVS, NLM_F_ACK_TLVS | NLM_F_CAPPED);
        for (flags, payload) in [(flags, whole), (capped_flags, capped)] {
            let refusal = refusal(flags, &payload, &request);
            assert_eq!(refusal.errno, Errno::INVAL);
            assert_eq!(refusal.message.as_deref(), Some("no"));
            assert_eq!(refusal.attribute, [5, 2]);
            assert_eq!((refusal.missing, refusal.missing_from), (Some(3), vec![5]));
        }
    }

    #[test]
    fn a_refusal_without_more_is_just_an_errno() {
        let code = (-libc::EPERM).to_ne_bytes();
        let refusal = refusal(0, &[&code, &[0; HEADER][..]].concat(), &Attributes::new());
        assert_eq!(refusal.errno, Errno::PERM);
        assert_eq!(refusal.to_string(), Errno::PERM.to_string());
    }
}
