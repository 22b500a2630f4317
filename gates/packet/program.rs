// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two talks with the kernel right above Ethernet, over a wire that this program makes: once the kernel
//! writes the Ethernet header, once the program does.

// new: begin
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use callgate::crossing::{from_kernel, to_kernel};
use callgate::link::{Link, Veth};
use callgate::packet::{Address, Socket, ethernet_header};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::abi::{ANSWER, COUNT, Counts, ECHO, ETHER_TYPE, HELLO, Header, VERSION};

/// How long a wire takes to carry something, at the most.
const LIMIT: Duration = Duration::from_secs(30);

/// How long an answer takes; after that, question or answer are lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes the wire, and has both talks over it.
pub fn main() -> anyhow::Result<()> {
    let wire = Veth::up(["here0", "there0"])?;
    let [ours, theirs] = wire.ends();
    wait_until_running(ours)?;
    wait_until_running(theirs)?;
    println!("a wire from {} to {}", ours.address()?, theirs.address()?);
    datagrams(ours, theirs.address()?)?;
    frames(ours)
}

/// The kernel makes the Ethernet header.
fn datagrams(ours: &Link, theirs: Address) -> anyhow::Result<()> {
    let socket = Socket::datagrams(ours, ETHER_TYPE)?;
    let ask = |kind, sequence, payload: &[u8]| {
        let question = message(kind, sequence, payload);
        talk(&socket, sequence, 0, || socket.send(theirs, &question))
    };

    to_kernel("HELLO", "hello from user space");
    let answer = ask(HELLO, 1, b"hello from user space")?;
    from_kernel("HELLO", &answer);
    println!("message received: {}", String::from_utf8_lossy(&answer));

    let answer = ask(COUNT, 2, b"")?;
    let counts = Counts::read_from_bytes(&answer).ok().context("counts of another size")?;
    println!("answered {}, ignored {}", counts.answered, counts.ignored);
    Ok(())
}

/// The program writes the Ethernet header itself, and reads that of the answer.
fn frames(ours: &Link) -> anyhow::Result<()> {
    let socket = Socket::frames(ours, ETHER_TYPE)?;
    let header = ethernet_header(Address::BROADCAST, ours.address()?, ETHER_TYPE);
    let question = [&header[..], &message(ECHO, 3, b"is anybody there?")].concat();

    to_kernel("ECHO to all", "is anybody there?");
    let answer = talk(&socket, 3, header.len(), || socket.send_frame(&question))?;
    from_kernel("ECHO", &answer);
    println!("echo received: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Asks until there is an answer with this sequence number, and returns what follows its header, which
/// begins at byte `at`.
fn talk(
    socket: &Socket,
    sequence: u32,
    at: usize,
    ask: impl Fn() -> callgate::packet::Result<()>,
) -> anyhow::Result<Vec<u8>> {
    for _ in 0..LIMIT.as_secs() {
        ask()?;
        while let Some(frame) = socket.receive(PATIENCE)? {
            let payload = frame.bytes.get(at..).unwrap_or_default();
            if let Some((header, rest)) = parse(payload)
                && header.kind & ANSWER != 0
                && header.sequence == sequence
            {
                return Ok(rest.to_vec());
            }
        }
    }
    anyhow::bail!("nobody answers: is the module loaded?")
}

/// A question as it is on the wire.
pub fn message(kind: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("no frame is as long as that").into();
    let header = Header { version: VERSION, kind, len, sequence: sequence.into() };
    [header.as_bytes(), payload].concat()
}

/// The header of a message and as much of the rest as it says; `None` if that is not there.
pub fn parse(message: &[u8]) -> Option<(Header, &[u8])> {
    let (header, rest) = Header::read_from_prefix(message).ok()?;
    Some((header, rest.get(..header.len.get().into())?))
}

/// The kernel takes a moment to notice that both ends of a wire are switched on.
pub fn wait_until_running(link: &Link) -> anyhow::Result<()> {
    let end = Instant::now() + LIMIT;
    while !link.is_running()? {
        ensure!(Instant::now() < end, "{} does not come up", link.name());
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
// new: end
