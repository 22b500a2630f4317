// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the UDP gate: a port that answers, and a kernel that speaks first.
//!
//! What comes to port 5555 goes back to whom it came from. An address that is written to
//! `callgate_udp/greet` in debugfs gets the HOWTO's ten `hallo from kernel space`.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::{GREETING, GREETINGS, LARGEST, LOGGED, LOWEST_PORT, PORT};
use callgate_kernel::{
    debugfs::{Dir, File, Files, Scope, ScopedDir},
    file::{self, FileOperations},
    net_namespace::Net,
    rate_limit::RateLimit,
    udp::{Datagram, Receiver, Service, Socket},
};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use kernel::{
    fs::{File as OpenFile, Kiocb},
    iov::IovIterSource,
    prelude::*,
    str::BStr,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Arc, ArcBorrow,
    },
};

// new: end
module! {
    type: UdpModule,
    name: "callgate_udp",
    authors: ["callgate"],
    description: "UDP: datagrams between the kernel and programs here or on other machines",
    license: "GPL",
}

// new: begin
struct UdpModule {
    _greet: File<GreetFile>,
    _datagrams: Scope<Echo>,
}

impl kernel::Module for UdpModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let echo = Arc::new(Echo::new(), GFP_KERNEL)?;
        // In the network namespace of whoever loads the module, and in no other.
        let sockets = Net::with_current(|net| Sockets::bind(net, &echo)).ok_or(ESRCH)??;
        let dir = Dir::root().subdir(abi::DIRECTORY);
        Ok(Self {
            _greet: File::new(&dir, abi::GREET, 0o200, sockets),
            _datagrams: Scope::new(&dir, abi::DATAGRAMS, echo),
        })
    }
}

/// Anybody on the network can cause a line in the log.
static LOG: RateLimit = RateLimit::new(10);

/// Answers, with what it was told.
struct Echo {
    answered: Atomic<u64>,
    unanswered: Atomic<u64>,
}

impl Echo {
    fn new() -> Self {
        Self {
            answered: Atomic::new(0),
            unanswered: Atomic::new(0),
        }
    }

    fn answer(socket: &Socket, datagram: &Datagram<'_>) -> Result {
        if datagram.is_truncated() {
            return Err(EMSGSIZE);
        }
        // The sender's address may be a lie. An answer to a service that answers too, be it another one
        // of these, would go back and forth for ever.
        let port = datagram.from().address().port();
        if port < LOWEST_PORT || port == PORT {
            return Err(EPERM);
        }
        socket.send(datagram.from(), datagram.bytes())
    }
}

#[vtable]
impl Receiver for Echo {
    const LARGEST: usize = LARGEST;

    fn receive(&self, socket: &Socket, datagram: &Datagram<'_>) {
        if LOG.allows() {
            let bytes = datagram.bytes();
            let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
            // Shown with escapes, so that nobody makes up lines of the log.
            let text = BStr::from_bytes(&text[..text.len().min(LOGGED)]);
            pr_info!("message len: {} message: {text}\n", datagram.len());
        }
        let count = match Self::answer(socket, datagram) {
            Ok(()) => &self.answered,
            Err(_) => &self.unanswered,
        };
        count.fetch_add(1, Relaxed);
    }
}

#[vtable]
impl Files for Echo {
    fn create<'a>(&'a self, dir: &ScopedDir<'a>) {
        dir.value(abi::ANSWERED, 0o444, &self.answered);
        dir.value(abi::UNANSWERED, 0o444, &self.unanswered);
    }
}

/// The port, in both families of addresses.
struct Sockets {
    v4: Service<Echo>,
    v6: Service<Echo>,
}

impl Sockets {
    fn bind(net: &Net, echo: &Arc<Echo>) -> Result<Arc<Self>> {
        let bind = |address| Service::bind(net, address, echo.clone());
        let sockets = Self {
            v4: bind((Ipv4Addr::UNSPECIFIED, PORT).into())?,
            v6: bind((Ipv6Addr::UNSPECIFIED, PORT).into())?,
        };
        Ok(Arc::new(sockets, GFP_KERNEL)?)
    }

    fn greet(&self, address: SocketAddr) -> Result {
        let service = match address {
            SocketAddr::V4(_) => &self.v4,
            SocketAddr::V6(_) => &self.v6,
        };
        for _ in 0..GREETINGS {
            service.socket().send(&address.into(), GREETING)?;
        }
        Ok(())
    }
}

struct GreetFile;

#[vtable]
impl FileOperations for GreetFile {
    type Shared = Sockets;
    type Ptr = Arc<Sockets>;

    fn open(sockets: ArcBorrow<'_, Sockets>, _file: &OpenFile) -> Result<Arc<Sockets>> {
        Ok(sockets.into())
    }

    fn write_iter(kiocb: Kiocb<'_, Arc<Sockets>>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let len = iov.len();
        if len == 0 {
            return Ok(0);
        }
        let mut text = [0; abi::GREET_LIMIT];
        let text = text.get_mut(..len).ok_or(EINVAL)?;
        file::copy_whole(iov, text)?;
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let address = core::str::from_utf8(line).map_err(|_| EINVAL)?;
        kiocb.file().greet(address.parse().map_err(|_| EINVAL)?)?;
        Ok(len)
    }
}
// new: end
