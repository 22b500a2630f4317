// SPDX-License-Identifier: MIT OR Apache-2.0

//! Attacking a gate: a search for programs that reach what none has reached before, by calls with anything in
//! them.
//!
//! A program (`calls`) is some bytes that say which calls to make, with what. The search (`search`) keeps those that
//! reach something new in the gate's module (`places`), changes them, and tries what comes of it. What the kernel does
//! wrong, the lab sees in its log; what a call answers that it must not, the program itself.
//!
//! A gate says in its `attack.rs` what there is to attack: its [`Surface`].

mod calls;
mod places;
mod search;
mod weak;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use callgate::chardev as chardev_library;
use callgate::syscall::Number;

pub use search::replay;

/// What there is to attack.
#[derive(Default)]
pub struct Surface {
    /// Files, and directories with all that is in them.
    paths: Vec<PathBuf>,
    /// Directories in which something can be made.
    places: Vec<PathBuf>,
    /// Names for what is made there, and of what is in it.
    names: Vec<String>,
    /// The numbers of ioctl commands.
    commands: Vec<u32>,
    /// Those that are root's, by whomever the file was opened.
    roots: Vec<u32>,
    /// The kinds of netlink messages,
    kinds: Vec<u16>,
    /// what stands before their attributes,
    headers: Vec<Vec<u8>>,
    /// and the numbers of those.
    attributes: Vec<u16>,
    /// The largest errno that it answers with, where it can be told what to answer with.
    last_errno: Option<i32>,
    /// How far one may seek. In a file without end, to seek takes the longer the farther it is.
    farthest: Option<u64>,
    /// System calls whose arguments are an address and two numbers.
    calls: Vec<Number>,
    /// Where messages go to.
    peers: Vec<Peer>,
    /// Bytes that mean something.
    words: Vec<Vec<u8>>,
}

/// Something that takes messages.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// A netlink protocol.
    Netlink(u32),
    /// A UDP port of this machine.
    Udp(u16),
    /// A protocol of Ethernet, on the loopback link.
    Ethernet(u16),
}

impl Surface {
    fn path(mut self, path: impl AsRef<Path>) -> Self {
        self.paths.push(path.as_ref().into());
        self
    }

    fn place(mut self, path: impl AsRef<Path>) -> Self {
        self.places.push(path.as_ref().into());
        self
    }

    fn names(mut self, names: &[&str]) -> Self {
        self.names.extend(names.iter().copied().map(String::from));
        self
    }

    fn commands(mut self, numbers: &[u32]) -> Self {
        self.commands.extend(numbers);
        self
    }

    fn roots(mut self, numbers: &[u32]) -> Self {
        self.roots.extend(numbers);
        self
    }

    fn kinds(mut self, kinds: &[u16]) -> Self {
        self.kinds.extend(kinds);
        self
    }

    fn headers<H: AsRef<[u8]>>(mut self, headers: impl IntoIterator<Item = H>) -> Self {
        let headers = headers.into_iter().map(|header| header.as_ref().to_vec());
        self.headers.extend(headers);
        self
    }

    fn attributes(mut self, numbers: impl IntoIterator<Item = u16>) -> Self {
        self.attributes.extend(numbers);
        self
    }

    fn last_errno(mut self, errno: u16) -> Self {
        self.last_errno = Some(errno.into());
        self
    }

    fn farthest(mut self, offset: u64) -> Self {
        self.farthest = Some(offset);
        self
    }

    fn calls(mut self, numbers: &[u32]) -> Self {
        self.calls.extend(numbers.iter().copied().map(Number::new));
        self
    }

    fn peer(mut self, peer: Peer) -> Self {
        self.peers.push(peer);
        self
    }

    fn words<W: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_vec());
        self.words.extend(words);
        self
    }
}

#[path = "bus/attack.rs"]
mod bus;
#[path = "chardev/attack.rs"]
mod chardev;
#[path = "configfs/attack.rs"]
mod configfs;
#[path = "debugfs/attack.rs"]
mod debugfs;
#[path = "genl/attack.rs"]
mod genl;
#[path = "ioctl/attack.rs"]
mod ioctl;
#[path = "mmap/attack.rs"]
mod mmap;
#[path = "netlink/attack.rs"]
mod netlink;
#[path = "packet/attack.rs"]
mod packet;
#[path = "parameter/attack.rs"]
mod parameter;
#[path = "procfs/attack.rs"]
mod procfs;
#[path = "seq_file/attack.rs"]
mod seq_file;
#[path = "signal/attack.rs"]
mod signal;
#[path = "syscall/attack.rs"]
mod syscall;
#[path = "sysctl/attack.rs"]
mod sysctl;
#[path = "sysfs/attack.rs"]
mod sysfs;
#[path = "udp/attack.rs"]
mod udp;
#[path = "upcall/attack.rs"]
mod upcall;

/// Makes the node of one of the HOWTO's devices, as its user does.
fn node(driver: &str, path: &str, minor: u32) -> Result<()> {
    if Path::new(path).exists() {
        chardev_library::remove_node(path)?;
    }
    Ok(chardev_library::make_node(
        path,
        chardev_library::major(driver)?,
        minor,
        0o600,
    )?)
}

/// What there is to attack of a gate.
fn surface(gate: &str) -> Result<Surface> {
    Ok(match gate {
        "bus" => bus::surface(),
        "chardev" => chardev::surface()?,
        "configfs" => configfs::surface(),
        "debugfs" => debugfs::surface(),
        "genl" => genl::surface()?,
        "ioctl" => ioctl::surface()?,
        "mmap" => mmap::surface(),
        "netlink" => netlink::surface(),
        "packet" => packet::surface(),
        "parameter" => parameter::surface(),
        "procfs" => procfs::surface(),
        "seq_file" => seq_file::surface(),
        "signal" => signal::surface(),
        "syscall" => syscall::surface(),
        "sysctl" => sysctl::surface(),
        "sysfs" => sysfs::surface(),
        "udp" => udp::surface(),
        "upcall" => upcall::surface(),
        "weak" => weak::surface(),
        _ => bail!("there is nothing to attack of {gate}"),
    })
}

/// Attacks a gate, whose module is loaded with these parameters, for so many seconds, beginning with this seed. Prints
/// what comes of it.
pub fn run(gate: &str, module: &str, parameters: &str, seconds: &str, seed: &str) -> Result<()> {
    let seconds = seconds.parse().context("how many seconds?")?;
    let seed = seed.parse().context("which seed?")?;
    search::run(
        gate,
        (module, parameters),
        Duration::from_secs(seconds),
        seed,
    )
}
