// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs: bytes that say which calls to make, with what. Any bytes are a program.
//!
//! Whatever a call answers is compared with what it may answer: no error that programs do not know, no more bytes
//! than were asked for, none written beyond those, and no address of the kernel's among them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use arbitrary::{Result as Bytes, Unstructured};
use callgate::ioctl::{Buffer, Target};
use callgate::link::Link;
use callgate::mmap::{self, Mapping};
use callgate::packet;
use callgate::testing::memory::{Guarded, Hole, Shared, try_map_as};
use callgate::testing::namespace;
use callgate::testing::worker::as_nobody;
use callgate::{compat, netlink};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{Peer, Surface};

/// How many calls a program makes at most.
const LONGEST: usize = 24;

/// How many files are open at once at most, and how many mappings there are.
const FILES: usize = 4;
const MAPPINGS: usize = 2;

/// The largest errno that programs know. The kernel has others for itself.
const LAST_ERRNO: i32 = 133;

/// What is in a buffer before the kernel writes there.
const CANARY: u8 = 0xa5;

/// As many of them as there are in any buffer.
static CANARIES: [u8; Buffer::SIZE] = [CANARY; Buffer::SIZE];

/// How deep directories are.
const DEPTH: usize = 6;

/// The size of a page.
const PAGE: usize = 4096;

/// Numbers at which something changes.
const EDGES: [u64; 24] = [
    0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 63, 64, 65, 127, 128, 199, 200, 201, 255, 256, 4095, 4096,
    4097, 65536,
];

/// What kind a call is of.
#[derive(Clone, Copy)]
enum Kind {
    Open,
    Read,
    Write,
    Seek,
    Ioctl,
    Map,
    Store,
    Make,
    Name,
    Send,
    SystemCall,
    Other,
}

impl Kind {
    /// Those that a surface has something for, each as often as it shall be made beside the others.
    fn of(surface: &Surface) -> Vec<Self> {
        let files = |weight| unless_empty(&surface.paths, weight);
        let weights = [
            (Self::Open, files(2)),
            (Self::Read, files(2)),
            (Self::Write, files(3)),
            (Self::Seek, files(1)),
            (Self::Ioctl, files(1) + unless_empty(&surface.commands, 4)),
            (Self::Map, files(1)),
            (Self::Store, files(1)),
            (Self::Other, files(1)),
            (Self::Make, unless_empty(&surface.places, 2)),
            (Self::Name, unless_empty(&surface.places, 2)),
            (Self::Send, unless_empty(&surface.peers, 6)),
            (Self::SystemCall, unless_empty(&surface.calls, 6)),
        ];
        let repeated = weights.map(|(kind, weight)| std::iter::repeat_n(kind, weight));
        repeated.into_iter().flatten().collect()
    }
}

fn unless_empty<T>(things: &[T], weight: usize) -> usize {
    if things.is_empty() { 0 } else { weight }
}

/// Carries out programs.
pub struct Attacker {
    surface: Surface,
    /// The kinds of calls.
    kinds: Vec<Kind>,
    /// What there is below the surface's paths.
    files: Vec<PathBuf>,
    peers: Vec<Sender>,
    open: [Option<OwnedFd>; FILES],
    mappings: [Option<Mapping>; MAPPINGS],
    /// Memory that ends behind so many bytes.
    guarded: Vec<Guarded>,
    /// Memory that somebody else may change meanwhile.
    shared: Arc<Shared>,
    /// How many calls were made,
    pub calls: u64,
    /// and how many of them were refused.
    pub refused: u64,
    /// What should not have been, in the program that was carried out last.
    pub wrong: Vec<String>,
}

impl Drop for Attacker {
    /// What was made would keep the module.
    fn drop(&mut self) {
        // A link keeps what it points to, which may come first.
        let places = &self.surface.places;
        for place in places.iter().chain(places) {
            clear(place, DEPTH);
        }
    }
}

/// What messages are sent and received by.
enum Sender {
    Netlink(Box<netlink::Socket>),
    Udp(UdpSocket),
    Ethernet(packet::Socket, packet::Address),
}

impl Sender {
    fn new(peer: Peer) -> Result<Self> {
        Ok(match peer {
            Peer::Netlink(protocol) => {
                Self::Netlink(Box::new(netlink::Socket::new(protocol.cast_signed(), 0)?))
            }
            Peer::Udp(port) => {
                namespace::bring_up("lo")?;
                let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
                socket.connect((Ipv4Addr::LOCALHOST, port))?;
                socket.set_nonblocking(true)?;
                Self::Udp(socket)
            }
            Peer::Ethernet(protocol) => {
                namespace::bring_up("lo")?;
                let link = Link::find("lo")?;
                Self::Ethernet(
                    packet::Socket::datagrams(&link, protocol)?,
                    packet::Address([0; 6]),
                )
            }
        })
    }
}

impl Attacker {
    pub fn new(surface: Surface) -> Result<Self> {
        let peers = surface.peers.iter().copied().map(Sender::new);
        let sizes = [0, 1, 4, 8, 16, 32, 200, 204, 255, 4096];
        let guarded = sizes
            .map(Guarded::new)
            .into_iter()
            .collect::<Result<_, _>>()?;
        let mut attacker = Self {
            peers: peers.collect::<Result<_>>()?,
            kinds: Kind::of(&surface),
            surface,
            files: Vec::new(),
            open: Default::default(),
            mappings: Default::default(),
            guarded,
            shared: Arc::new(Shared::new()?),
            calls: 0,
            refused: 0,
            wrong: Vec::new(),
        };
        attacker.look();
        Ok(attacker)
    }

    /// The memory that somebody else may change.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Looks what there is to open.
    pub fn look(&mut self) {
        self.files.clear();
        for path in &self.surface.paths {
            below(path, &mut self.files, DEPTH);
        }
    }

    /// Tries as nobody what is root's, by files that root has opened.
    pub fn be_nobody(&mut self) {
        for path in &self.files {
            let Ok(file) = rustix::fs::open(path, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty())
            else {
                continue;
            };
            for &number in &self.surface.roots {
                let mut buffer = Buffer::new(&[]);
                let done = as_nobody(|| file.issue(number, &mut buffer));
                if !matches!(done, Err(Errno::PERM | Errno::ACCESS)) {
                    self.wrong.push(format!(
                        "command {number:#x} is root's, and nobody gets {done:?}"
                    ));
                }
            }
        }
    }

    /// Carries out a program.
    pub fn carry_out(&mut self, program: &[u8]) {
        self.wrong.clear();
        let mut bytes = Unstructured::new(program);
        for _ in 0..LONGEST {
            if bytes.is_empty() || self.call(&mut bytes).is_err() {
                break;
            }
        }
        self.open = Default::default();
        self.mappings = Default::default();
    }

    /// Makes one call.
    fn call(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        match *bytes.choose(&self.kinds)? {
            Kind::Open => self.open(bytes),
            Kind::Read => self.read(bytes),
            Kind::Write => self.write(bytes),
            Kind::Seek => self.seek(bytes),
            Kind::Ioctl => self.ioctl(bytes),
            Kind::Map => self.map(bytes),
            Kind::Store => self.store(bytes),
            Kind::Make => self.make(bytes),
            Kind::Name => self.name(bytes),
            Kind::Send => self.send(bytes),
            Kind::SystemCall => self.system_call(bytes),
            Kind::Other => self.other(bytes),
        }
    }

    /// Sees whether it may be what a call answers.
    fn judge<T>(&mut self, what: &str, result: rustix::io::Result<T>) -> Option<T> {
        self.calls += 1;
        match result {
            Ok(value) => Some(value),
            Err(errno) => {
                self.refused += 1;
                let errno = errno.raw_os_error();
                if errno > self.surface.last_errno.unwrap_or(LAST_ERRNO) {
                    self.wrong.push(format!("{what} fails with errno {errno}"));
                }
                None
            }
        }
    }

    /// Sees whether so many bytes of these may have been written to.
    fn judge_bytes(&mut self, what: &str, bytes: &[u8], written: usize) {
        let Some((written, rest)) = bytes.split_at_checked(written) else {
            self.wrong
                .push(format!("{what} gives {written} bytes of {}", bytes.len()));
            return;
        };
        if *rest != CANARIES[..rest.len()] {
            self.wrong.push(format!("{what} writes more than it says"));
        }
        // To look for one byte is quick.
        if written.contains(&0xff) && written.windows(9).any(is_address) {
            self.wrong
                .push(format!("{what} gives an address of the kernel's"));
        }
    }

    fn open(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let slot = bytes.int_in_range(0..=FILES - 1)?;
        let flags = [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, OFlags::RDWR]
            [bytes.int_in_range(0..=3)?];
        let more = [
            OFlags::empty(),
            OFlags::empty(),
            OFlags::TRUNC,
            OFlags::APPEND,
            OFlags::EXCL,
            OFlags::PATH,
            OFlags::DIRECT,
            OFlags::CREATE,
        ][bytes.int_in_range(0..=7)?];
        self.open[slot] = None;
        if self.files.is_empty() {
            return Ok(());
        }
        let path = &self.files[bytes.choose_index(self.files.len())?];
        // Nobody may be kept waiting.
        let flags = flags | more | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600));
        self.open[slot] = self.judge("open", opened);
        Ok(())
    }

    /// One of the open files. What is not open is standard input: nothing, which has no such calls.
    fn file(&self, bytes: &mut Unstructured<'_>) -> Bytes<Option<OwnedFd>> {
        let slot = bytes.int_in_range(0..=FILES - 1)?;
        let file = self.open[slot]
            .as_ref()
            .or(self.open.iter().flatten().next());
        Ok(file.and_then(|file| file.try_clone().ok()))
    }

    fn read(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let Some(file) = self.file(bytes)? else {
            return Ok(());
        };
        let len = usize::try_from(number_at_an_edge(bytes)?)
            .unwrap_or(0)
            .min(2 * PAGE);
        match bytes.int_in_range(0..=3)? {
            0 => {
                let mut buffer = vec![CANARY; len];
                let read = rustix::io::read(&file, &mut buffer);
                if let Some(count) = self.judge("read", read) {
                    self.judge_bytes("read", &buffer, count);
                }
            }
            1 => {
                let mut buffer = vec![CANARY; len];
                let read = rustix::io::pread(&file, &mut buffer, self.offset(bytes)?);
                if let Some(count) = self.judge("pread", read) {
                    self.judge_bytes("pread", &buffer, count);
                }
            }
            2 => {
                let index = bytes.choose_index(self.guarded.len())?;
                let guarded = &mut self.guarded[index];
                guarded.bytes_mut().fill(CANARY);
                let (room, len) = (guarded.bytes().len(), len.min(guarded.bytes().len() + PAGE));
                let read = guarded.read(&file, len);
                let buffer = guarded.bytes().to_vec();
                if let Some(count) = self.judge("read to the end of memory", read) {
                    self.judge_bytes("read to the end of memory", &buffer, count.min(room));
                }
            }
            _ => {
                let hole = *bytes.choose(&Hole::ALL)?;
                let read = hole.read(&file, len.min(PAGE));
                self.judge("read to a hole", read);
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let Some(file) = self.file(bytes)? else {
            return Ok(());
        };
        let how = bytes.int_in_range(0..=7)?;
        let payload = self.payload(bytes)?;
        let (what, written) = match how {
            0..=3 => ("write", rustix::io::write(&file, &payload)),
            4 => (
                "pwrite",
                rustix::io::pwrite(&file, &payload, self.offset(bytes)?),
            ),
            5 => {
                let index = bytes.choose_index(self.guarded.len())?;
                let guarded = &mut self.guarded[index];
                let len = payload.len().min(guarded.bytes().len());
                guarded.bytes_mut()[..len].copy_from_slice(&payload[..len]);
                (
                    "write from the end of memory",
                    guarded.write(&file, payload.len()),
                )
            }
            6 => {
                let hole = *bytes.choose(&Hole::ALL)?;
                (
                    "write from a hole",
                    hole.write(&file, payload.len().min(PAGE)),
                )
            }
            _ => {
                let parts = [&payload[..payload.len() / 2], &payload[payload.len() / 2..]];
                let parts = parts.map(rustix::io::IoSlice::new);
                ("writev", rustix::io::writev(&file, &parts))
            }
        };
        if let Some(count) = self.judge(what, written)
            && count > payload.len()
        {
            self.wrong
                .push(format!("{what} takes {count} bytes of {}", payload.len()));
        }
        Ok(())
    }

    /// Where in a file.
    fn offset(&self, bytes: &mut Unstructured<'_>) -> Bytes<u64> {
        let offset = number_at_an_edge(bytes)?;
        Ok(self
            .surface
            .farthest
            .map_or(offset, |farthest| offset % farthest))
    }

    fn seek(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let Some(file) = self.file(bytes)? else {
            return Ok(());
        };
        let offset = self.offset(bytes)?;
        let to = match bytes.int_in_range(0..=4)? {
            0 => SeekFrom::Start(offset),
            1 => SeekFrom::Current(offset.cast_signed()),
            2 => SeekFrom::End(offset.cast_signed()),
            3 => SeekFrom::Data(offset),
            _ => SeekFrom::Hole(offset),
        };
        let sought = rustix::fs::seek(&file, to);
        self.judge("lseek", sought);
        Ok(())
    }

    fn ioctl(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let Some(file) = self.file(bytes)? else {
            return Ok(());
        };
        let known = !self.surface.commands.is_empty() && bytes.int_in_range(0..=7)? > 0;
        let number = if known {
            let number = *bytes.choose(&self.surface.commands)?;
            match bytes.int_in_range(0..=7)? {
                // Another size,
                0 => number & !(0x3fff << 16) | u32::from(bytes.arbitrary::<u16>()? & 0x3fff) << 16,
                // or something near.
                1 => number ^ 1 << bytes.int_in_range(0..=31)?,
                _ => number,
            }
        } else {
            bytes.arbitrary()?
        };
        let how = bytes.int_in_range(0..=7)?;
        let payload = self.payload(bytes)?;
        match how {
            0..=2 => {
                let mut buffer = Buffer::new(&CANARIES);
                buffer.bytes_mut()[..payload.len()].copy_from_slice(&payload);
                let done = if how == 0 && compat::is_available() {
                    compat::As32Bit(&file).issue(number, &mut buffer)
                } else {
                    file.issue(number, &mut buffer)
                };
                if self.judge("ioctl", done).is_some() {
                    let size = (number >> 16 & 0x3fff) as usize;
                    let size = size.max(payload.len()).max(256);
                    self.judge_bytes("ioctl", buffer.bytes(), size);
                }
            }
            3 | 4 => {
                let index = bytes.choose_index(self.guarded.len())?;
                let guarded = &mut self.guarded[index];
                let len = payload.len().min(guarded.bytes().len());
                guarded.bytes_mut()[..len].copy_from_slice(&payload[..len]);
                let done = guarded.ioctl(&file, number, 0);
                self.judge("ioctl at the end of memory", done);
            }
            5 => {
                let hole = *bytes.choose(&Hole::ALL)?;
                let done = hole.ioctl(&file, number);
                self.judge("ioctl with a hole", done);
            }
            _ => {
                self.shared.store(&payload[..payload.len().min(PAGE)]);
                let done = self.shared.ioctl(&file, number);
                self.judge("ioctl with memory that changes", done);
            }
        }
        Ok(())
    }

    fn map(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let slot = bytes.int_in_range(0..=MAPPINGS - 1)?;
        self.mappings[slot] = None;
        let Some(file) = self.file(bytes)? else {
            return Ok(());
        };
        let pages = usize::try_from(number_at_an_edge(bytes)?).unwrap_or(1) % 64;
        let offset = number_at_an_edge(bytes)? % 64 * PAGE as u64;
        if bytes.int_in_range(0..=3)? == 0 {
            // MAP_SHARED or MAP_PRIVATE, and any protection.
            let (protection, flags) = (bytes.int_in_range(0..=7)?, bytes.int_in_range(1..=2)?);
            let mapped = try_map_as(&file, pages * PAGE, protection, flags, offset.cast_signed());
            self.judge("mmap", mapped);
            return Ok(());
        }
        let mapped = mmap::options().offset(offset).map(&file, pages * PAGE);
        let mapped = mapped.map_err(|error| error.errno().unwrap_or(Errno::IO));
        self.mappings[slot] = self.judge("mmap", mapped);
        Ok(())
    }

    /// Changes a word of mapped memory, whatever that means to who else has it.
    fn store(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let slot = bytes.int_in_range(0..=MAPPINGS - 1)?;
        let Some(mapping) = self.mappings[slot]
            .as_ref()
            .or(self.mappings.iter().flatten().next())
        else {
            return Ok(());
        };
        let words = mapping.words();
        if words.is_empty() {
            return Ok(());
        }
        // Positions and flags are at the beginning.
        let at = match bytes.int_in_range(0..=2)? {
            0 => bytes.choose_index(words.len())?,
            1 => bytes.int_in_range(0..=3)?,
            _ => (bytes.int_in_range(0..=63)? * 512) % words.len(),
        };
        // A page that is not there would be SIGBUS.
        if mapping.is_there(at * 8).unwrap_or(false) {
            let old = words[at].load(std::sync::atomic::Ordering::Relaxed);
            let new = match bytes.int_in_range(0..=2)? {
                0 => number_at_an_edge(bytes)?,
                1 => old.wrapping_add(number_at_an_edge(bytes)?),
                _ => old ^ 1 << bytes.int_in_range(0..=63)?,
            };
            words[at].store(new, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes or removes something in a directory.
    fn make(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let Some(path) = self.made(bytes)? else {
            return Ok(());
        };
        let how = bytes.int_in_range(0..=4)?;
        let other = self.made(bytes)?.unwrap_or_default();
        let done = match how {
            0 | 1 => rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)),
            2 => rustix::fs::rmdir(&path),
            3 => rustix::fs::symlink(&other, &path),
            _ => rustix::fs::unlink(&path),
        };
        self.judge("making or removing", done);
        Ok(())
    }

    /// Opens what may have been made.
    fn name(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let Some(mut path) = self.made(bytes)? else {
            return Ok(());
        };
        path.push(bytes.choose(&self.surface.names)?);
        let slot = bytes.int_in_range(0..=FILES - 1)?;
        let flags = *bytes.choose(&[OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR])?;
        let opened = rustix::fs::open(
            &path,
            flags | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        );
        self.open[slot] = self.judge("open", opened);
        Ok(())
    }

    /// A path of something that can be made.
    fn made(&self, bytes: &mut Unstructured<'_>) -> Bytes<Option<PathBuf>> {
        if self.surface.places.is_empty() || self.surface.names.is_empty() {
            return Ok(None);
        }
        let mut path = bytes.choose(&self.surface.places)?.clone();
        for _ in 0..bytes.int_in_range(1..=2)? {
            path.push(bytes.choose(&self.surface.names)?);
        }
        Ok(Some(path))
    }

    fn send(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        if self.peers.is_empty() {
            return Ok(());
        }
        let index = bytes.choose_index(self.peers.len())?;
        let message = self.message(index, bytes)?;
        let mut buffer = [CANARY; 2 * PAGE];
        let (sent, received) = match &self.peers[index] {
            Sender::Netlink(socket) => {
                let sent = socket.send_bytes(&message);
                let sent = sent.map_err(|error| error.errno().unwrap_or(Errno::IO));
                let received = rustix::net::recv(socket.as_fd(), &mut buffer, RecvFlags::DONTWAIT);
                (sent, received.map(|(count, _)| count))
            }
            Sender::Udp(socket) => {
                let errno =
                    |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
                (
                    socket.send(&message).map(drop).map_err(errno),
                    socket.recv(&mut buffer).map_err(errno),
                )
            }
            Sender::Ethernet(socket, to) => {
                let sent = socket.send(*to, &message).map_err(|error| error.errno());
                let received = rustix::net::recv(socket.as_fd(), &mut buffer, RecvFlags::DONTWAIT);
                (sent, received.map(|(count, _)| count))
            }
        };
        self.judge("send", sent);
        if let Some(count) = self.judge("receive", received) {
            self.judge_bytes("receive", &buffer, count.min(buffer.len()));
        }
        Ok(())
    }

    /// A message for a peer. A netlink message is mostly what its headers say.
    fn message(&self, index: usize, bytes: &mut Unstructured<'_>) -> Bytes<Vec<u8>> {
        let Sender::Netlink(_) = self.peers[index] else {
            return self.payload(bytes);
        };
        let mut payload = Vec::new();
        if !self.surface.headers.is_empty() {
            payload.extend(bytes.choose(&self.surface.headers)?);
        }
        if bytes.int_in_range(0..=7)? == 0 {
            payload.extend(self.payload(bytes)?);
        } else {
            payload.extend(self.attributes(bytes, 2)?);
        }
        let len = u32::try_from(16 + payload.len()).unwrap_or(u32::MAX);
        let len = if bytes.int_in_range(0..=15)? == 0 {
            bytes.arbitrary()?
        } else {
            len
        };
        let kind = if self.surface.kinds.is_empty() || bytes.int_in_range(0..=15)? == 0 {
            bytes.arbitrary::<u16>()?
        } else {
            *bytes.choose(&self.surface.kinds)?
        };
        // NLM_F_REQUEST, without which it goes nowhere, and mostly NLM_F_ACK or NLM_F_DUMP.
        let flags = [1, 5, 0x301, bytes.arbitrary::<u16>()? | 1];
        let flags = *bytes.choose(&flags)?;
        let mut message = Vec::with_capacity(16 + payload.len());
        message.extend(len.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(payload);
        Ok(message)
    }

    /// Some attributes, the inner ones nested so deep at most.
    fn attributes(&self, bytes: &mut Unstructured<'_>, depth: u32) -> Bytes<Vec<u8>> {
        /// The bit of a number that says so.
        const NESTED: u16 = 1 << 15;

        let mut all = Vec::new();
        for _ in 0..bytes.int_in_range(0..=3)? {
            let known = !self.surface.attributes.is_empty() && bytes.int_in_range(0..=7)? > 0;
            let mut number = if known {
                *bytes.choose(&self.surface.attributes)?
            } else {
                bytes.arbitrary()?
            };
            let value = match bytes.int_in_range(0..=7)? {
                0 | 1 if depth > 0 => {
                    number |= NESTED;
                    self.attributes(bytes, depth - 1)?
                }
                2 | 3 => {
                    let (value, len) = (
                        number_at_an_edge(bytes)?.to_ne_bytes(),
                        bytes.int_in_range(0..=3)?,
                    );
                    value[..1 << len].to_vec()
                }
                _ => self.payload(bytes)?,
            };
            let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
            let len = if bytes.int_in_range(0..=15)? == 0 {
                bytes.arbitrary()?
            } else {
                len
            };
            all.extend(len.to_ne_bytes());
            all.extend(number.to_ne_bytes());
            all.extend(value);
            all.resize(all.len().next_multiple_of(4), 0);
        }
        Ok(all)
    }

    fn system_call(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        if self.surface.calls.is_empty() {
            return Ok(());
        }
        let call = *bytes.choose(&self.surface.calls)?;
        let (b, c) = (number_at_an_edge(bytes)?, number_at_an_edge(bytes)?);
        let how = bytes.int_in_range(0..=3)?;
        let mut payload = self.payload(bytes)?;
        payload.truncate(PAGE);
        let (what, done) = match how {
            0 => {
                let hole = *bytes.choose(&Hole::ALL)?;
                ("system call with a hole", hole.syscall(call, b, c))
            }
            1 => {
                let index = bytes.choose_index(self.guarded.len())?;
                let guarded = &mut self.guarded[index];
                let len = payload.len().min(guarded.bytes().len());
                guarded.bytes_mut()[..len].copy_from_slice(&payload[..len]);
                (
                    "system call at the end of memory",
                    guarded.syscall(call, 0, b, c),
                )
            }
            _ => {
                // Addresses in a struct are those of this page, or nowhere.
                let own = self.shared.address();
                for chunk in payload.as_chunks_mut::<8>().0 {
                    let word = u64::from_ne_bytes(*chunk);
                    if word > u64::from(u32::MAX) {
                        *chunk = (own + word % PAGE as u64).to_ne_bytes();
                    }
                }
                self.shared.store(&payload);
                (
                    "system call with memory that changes",
                    self.shared.syscall(call, b, c),
                )
            }
        };
        self.judge(what, done);
        Ok(())
    }

    /// What else can be done with a file.
    fn other(&mut self, bytes: &mut Unstructured<'_>) -> Bytes<()> {
        let Some(file) = self.file(bytes)? else {
            return Ok(());
        };
        match bytes.int_in_range(0..=5)? {
            0 => {
                let mut fds = [PollFd::new(
                    &file,
                    PollFlags::from_bits_retain(bytes.arbitrary()?),
                )];
                let polled = poll(&mut fds, Some(&Timespec::default()));
                self.judge("poll", polled);
            }
            1 => {
                let done = rustix::fs::fstat(&file);
                self.judge("fstat", done);
            }
            2 => {
                let done = rustix::fs::ftruncate(&file, number_at_an_edge(bytes)?);
                self.judge("ftruncate", done);
            }
            3 => {
                let mut room = [std::mem::MaybeUninit::uninit(); 512];
                let mut entries = RawDir::new(&file, &mut room);
                let entry = entries.next().transpose().map(|entry| entry.is_some());
                self.judge("getdents", entry);
            }
            4 => {
                let done = rustix::fs::statat(&file, c"..", AtFlags::empty());
                self.judge("fstatat", done);
            }
            _ => {
                let slot = bytes.int_in_range(0..=FILES - 1)?;
                self.open[slot] = None;
            }
        }
        Ok(())
    }

    /// Bytes for a call: those of the program, or something that means something.
    fn payload(&self, bytes: &mut Unstructured<'_>) -> Bytes<Vec<u8>> {
        let mut payload = Vec::new();
        for _ in 0..bytes.int_in_range(0..=4)? {
            match bytes.int_in_range(0..=7)? {
                0..=3 if !self.surface.words.is_empty() => {
                    payload.extend(bytes.choose(&self.surface.words)?);
                }
                4 => payload.extend(number_at_an_edge(bytes)?.to_ne_bytes()),
                5 => payload.extend(number_at_an_edge(bytes)?.to_string().bytes()),
                6 => {
                    let len = usize::try_from(number_at_an_edge(bytes)?)
                        .unwrap_or(0)
                        .min(PAGE);
                    let byte = bytes.arbitrary()?;
                    payload.resize(payload.len() + len, byte);
                }
                _ => {
                    let len = bytes.int_in_range(0..=32)?.min(bytes.len());
                    payload.extend(bytes.bytes(len)?);
                }
            }
        }
        payload.truncate(2 * PAGE);
        Ok(payload)
    }
}

/// A number at which something may change.
fn number_at_an_edge(bytes: &mut Unstructured<'_>) -> Bytes<u64> {
    let edge = |bytes: &mut Unstructured<'_>| bytes.choose(&EDGES).copied();
    Ok(match bytes.int_in_range(0..=7)? {
        0..=3 => edge(bytes)?,
        4 => u64::from(bytes.arbitrary::<u16>()?),
        5 => edge(bytes)?.wrapping_neg(),
        6 => 1_u64
            .rotate_left(bytes.int_in_range(0..=63)?)
            .wrapping_add(edge(bytes)? % 3)
            .wrapping_sub(1),
        _ => bytes.arbitrary()?,
    })
}

/// Where a kernel that is not at random places has its memory, what it maps, its pages' descriptions, its code and
/// that of modules: of each as much as there can be in the lab's machine.
const KERNELS: [Range<u64>; 5] = [
    0xffff_8880_0000_0000..0xffff_8880_8000_0000,
    0xffff_c900_0000_0000..0xffff_c901_0000_0000,
    0xffff_ea00_0000_0000..0xffff_ea00_0200_0000,
    0xffff_ffff_8100_0000..0xffff_ffff_8600_0000,
    0xffff_ffff_a000_0000..0xffff_ffff_a100_0000,
];

/// Whether nine bytes begin with an address of the kernel's. If what follows is 255, they are from the middle of a
/// negative number.
fn is_address(bytes: &[u8]) -> bool {
    let Some((address, [next])) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    let address = u64::from_le_bytes(*address);
    *next != 0xff && KERNELS.iter().any(|kernels| kernels.contains(&address))
}

/// Removes all that was made in a directory and can be removed. What the kernel made itself goes with it.
fn clear(directory: &Path, depth: usize) {
    for path in std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
    {
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if metadata.is_symlink() {
            let _ = rustix::fs::unlink(&path);
        } else if metadata.is_dir() {
            if depth > 0 {
                clear(&path, depth - 1);
            }
            let _ = rustix::fs::rmdir(&path);
        }
    }
}

/// All files at a path, and the directories on the way.
fn below(path: &Path, files: &mut Vec<PathBuf>, depth: usize) {
    let Ok(metadata) = path.symlink_metadata() else {
        return;
    };
    files.push(path.into());
    if !metadata.is_dir() || depth == 0 {
        return;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten();
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        below(&path, files, depth - 1);
    }
}
