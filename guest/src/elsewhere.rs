// SPDX-License-Identifier: MIT OR Apache-2.0

//! The other machine: it runs the programs of gates when the first one asks for it, by the wire.

use crate::report::Report;
use crate::{kmsg, process};
use anyhow::Result;
use callgate::crossing;
use callgate::testing::elsewhere::{answer, listen};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, copy};
use std::net::{IpAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How long a program may take; whoever asked for it does not wait longer.
const LIMIT: Duration = Duration::from_secs(45);

/// Does what it is asked to until the host says that it is over. True: how a program ended is known where
/// it was asked for.
pub fn run(report: &Report, program: &str) -> Result<bool> {
    let listener = listen()?;
    loop {
        let mut fds = [
            PollFd::new(report, PollFlags::IN),
            PollFd::new(&listener, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(true);
        }
        let (stream, _) = listener.accept()?;
        if let Err(error) = answer(stream, |gate, asking, output| {
            run_for(program, gate, asking, output)
        }) {
            kmsg::say(&format!("callgate: whoever asked is gone: {error}"));
        }
    }
}

/// Runs a gate's program for the machine at `asking`. Its account of what it sent and received goes where
/// its output goes; why it failed is returned.
fn run_for(program: &str, gate: &str, asking: IpAddr, output: &TcpStream) -> Option<String> {
    kmsg::mark(gate);
    let run = || -> Result<Option<String>> {
        let (mut from, to) = io::pipe()?;
        let mut output = output.try_clone()?;
        let sender = thread::spawn(move || copy(&mut from, &mut output));
        let mut program = Command::new(guest::program(program));
        program
            .args([gate, &asking.to_string()])
            .env(crossing::VARIABLE, "/proc/self/fd/1");
        let ended = process::run(program, Some(File::from(OwnedFd::from(to))), LIMIT)?;
        // With the program, whoever could write into the pipe is gone.
        let _ = sender.join();
        Ok(ended.failure())
    };
    run().unwrap_or_else(|error| Some(format!("{error:#}")))
}
