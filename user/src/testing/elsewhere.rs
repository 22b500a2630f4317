// SPDX-License-Identifier: MIT OR Apache-2.0

//! Another machine, which runs the program of a gate when it is asked to.
//!
//! The lab boots one beside the machine that the modules are in, with a wire between the two, if a gate
//! is to be reached from there. This file has what both ends of the wire agree on. [`Elsewhere`] is the
//! end at the modules: tests and programs ask. [`listen`] and [`answer`] are the other, and for PID 1.
//!
//! The request is a TCP connection and in it one line, the gate's name. The answer is what its program
//! prints, while it does, and then an end that says how that went.

use std::env;
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Result, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::namespace;

/// The variable of the environment that says that [`WIRE`] is one. PID 1 of the lab's VM gives it: on any
/// other machine, an interface of that name is what somebody needs.
pub const PERMISSION: &str = "CALLGATE_MAY_USE_THE_WIRE";

/// The interface that the wire ends at, on both machines.
pub const WIRE: &str = "eth0";

/// The address of the machine with the modules. Both are of a network that is for examples: RFC 5737.
pub const HERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The address of the other machine.
pub const THERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// Where the other machine listens.
const PORT: u16 = 1;

/// How the end of an answer begins. What follows is why the program failed; nothing if it did not.
const END: char = '\u{4}';

/// How long the other machine may take to boot, and between two lines of an answer. It is less than a
/// test or the demo of a gate may take.
const LIMIT: Duration = Duration::from_secs(50);

/// How long to wait before a connection is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// The wire to the other machine, up until this is dropped.
#[derive(Debug)]
pub struct Elsewhere(());

impl Elsewhere {
    /// `None` if there is no wire, as nobody asked the lab for another machine; and without
    /// [`PERMISSION`].
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_NET_ADMIN`.
    pub fn find() -> Result<Option<Self>> {
        let exists = Path::new("/sys/class/net").join(WIRE).exists();
        if !exists || env::var_os(PERMISSION).is_none() {
            return Ok(None);
        }
        let wire = Self(());
        connect_wire(HERE)?;
        Ok(Some(wire))
    }

    /// Has the program of `gate` run there, with [`HERE`] as its argument, and `heard` called for each line
    /// that it prints.
    ///
    /// # Errors
    ///
    /// If the other machine does not answer in time; if the program fails, with all that it said; and what
    /// `heard` fails with.
    pub fn run(&self, gate: &str, heard: impl FnMut(&str) -> Result<()>) -> Result<()> {
        ask(connect((THERE, PORT).into())?, gate, heard)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // It can only fail when nothing was brought up.
        let _ = namespace::take_down(WIRE);
    }
}

/// Waits until somebody listens at `address`.
fn connect(address: SocketAddr) -> Result<TcpStream> {
    let end = Instant::now() + LIMIT;
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(PAUSE);
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > end => {
                let what = format!("nobody answers at {address}: {error}");
                return Err(Error::new(error.kind(), what));
            }
            // It boots still: it has no address yet, or does not listen.
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// One request, and its answer.
fn ask(mut stream: TcpStream, gate: &str, mut heard: impl FnMut(&str) -> Result<()>) -> Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    writeln!(stream, "{gate}")?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    while answer.read_line(&mut line)? > 0 {
        if let Some(why) = line.strip_prefix(END) {
            let mut why = why.to_owned();
            answer.read_to_string(&mut why)?;
            return match why.trim_end() {
                "" => Ok(()),
                why => Err(Error::other(format!("on the other machine: {why}"))),
            };
        }
        heard(line.trim_end_matches('\n'))?;
        line.clear();
    }
    let what = "the other machine broke off in the middle of its answer";
    Err(Error::new(ErrorKind::UnexpectedEof, what))
}

fn connect_wire(address: Ipv4Addr) -> Result<()> {
    namespace::set_address(WIRE, address)?;
    namespace::bring_up(WIRE)
}

/// On the other machine: brings up its end of the wire, and listens to what is asked.
///
/// # Errors
///
/// `ENODEV` if there is no wire, and others.
pub fn listen() -> Result<TcpListener> {
    connect_wire(THERE)?;
    TcpListener::bind((THERE, PORT))
}

/// On the other machine: deals with one connection. `run` is given the name of a gate, the address of
/// whoever asks, and where the program's output goes; it returns why the program failed, if it did.
///
/// # Errors
///
/// If whoever asked is gone.
pub fn answer(
    mut stream: TcpStream,
    run: impl FnOnce(&str, IpAddr, &TcpStream) -> Option<String>,
) -> Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut gate = String::new();
    BufReader::new(&stream).read_line(&mut gate)?;
    let failure = run(gate.trim_end(), stream.peer_addr()?.ip(), &stream);
    write!(stream, "{END}{}", failure.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are heard of an answer, and what is made of its end.
    fn heard(answering: impl FnOnce(TcpStream) + Send) -> (Vec<String>, Result<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| answering(listener.accept().unwrap().0));
            let mut lines = Vec::new();
            let end = ask(connect(address).unwrap(), "door", |line| {
                lines.push(line.to_owned());
                Ok(())
            });
            (lines, end)
        })
    }

    #[test]
    fn what_a_program_prints_is_heard_and_how_it_ends() {
        let answering = |failure: Option<&'static str>| {
            move |stream| {
                answer(stream, |gate, asking, mut output| {
                    assert_eq!((gate, asking), ("door", Ipv4Addr::LOCALHOST.into()));
                    output.write_all(b"one\n\ntwo\n").unwrap();
                    failure.map(str::to_owned)
                })
                .unwrap();
            }
        };
        let (lines, end) = heard(answering(None));
        assert_eq!(lines, ["one", "", "two"]);
        end.unwrap();
        let (lines, end) = heard(answering(Some("exit status: 1\nit is closed\n")));
        assert_eq!(lines.len(), 3);
        let said = end.unwrap_err().to_string();
        assert_eq!(said, "on the other machine: exit status: 1\nit is closed");
    }

    #[test]
    fn an_answer_without_an_end_is_none() {
        for said in [&b""[..], b"one\n", b"one"] {
            let (_, end) = heard(move |mut stream| {
                BufReader::new(&stream)
                    .read_line(&mut String::new())
                    .unwrap();
                stream.write_all(said).unwrap();
            });
            assert_eq!(
                end.unwrap_err().kind(),
                ErrorKind::UnexpectedEof,
                "{said:?}"
            );
        }
    }
}
