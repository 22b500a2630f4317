// SPDX-License-Identifier: MIT OR Apache-2.0

//! Upcalls from user space: what the kernel starts, and who looks at what came of it.

// new: begin
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use callgate::attribute::Attribute;
use callgate::crossing;
use callgate::debugfs::Debugfs;
use callgate::upcall::{self, Circumstances};
use rustix::fs::OFlags;

use super::abi;

// new: end
/// How long it may take until what was started has left its evidence.
const LIMIT: Duration = Duration::from_secs(30);

/// Looks at what the module started when it was loaded.
fn loaded() -> anyhow::Result<()> {
    let found = evidence()?;
    let line = found.arguments.join(" ");
    crossing::from_kernel(&format!("upcall {}", abi::PROGRAM.to_string_lossy()), &line);
    println!("the kernel called: {line}");
    println!("with {}", found.environment.join(" "));
    println!("in {}, as user {}", found.directory.display(), found.users);
    Ok(())
}

// new: begin
/// Has the module start programs, waiting for them in each of the three ways.
pub fn main() -> anyhow::Result<()> {
    // new: end
    loaded()?;
    // new: begin
    for (mode, name) in [
        (abi::NO_WAIT, "beep"),
        (abi::WAIT_EXEC, "beep"),
        // new: end
        (abi::WAIT_EXEC, "missing"),
        // new: begin
        (abi::WAIT_PROC, "exit"),
        (abi::WAIT_PROC, "crash"),
        (abi::WAIT_PROC, "hang"),
    ] {
        let command = format!("{mode} {name}");
        match call(&command) {
            Ok(outcome) => println!("{command}: {outcome}"),
            Err(error) => match error.errno() {
                Some(errno) => println!("{command}: {errno}"),
                None => return Err(error.into()),
            },
        }
    }
    Ok(())
}

/// Has the module call what `command` names, and returns what came of it.
fn call(command: &str) -> Result<String, callgate::debugfs::Error> {
    let path = Debugfs::find()?.root().join(abi::GATE).join(abi::CALL);
    let file = Attribute::at(path).open(OFlags::RDWR)?;
    crossing::to_kernel(&format!("write(2) {}/{}", abi::GATE, abi::CALL), command);
    file.write(command.as_bytes())?;
    let outcome = file.read()?;
    crossing::from_kernel(&format!("read(2) {}/{}", abi::GATE, abi::CALL), &outcome);
    Ok(String::from_utf8_lossy(&outcome).trim_end().to_owned())
}

// new: end
/// What the first program that was started has left behind.
fn evidence() -> anyhow::Result<Circumstances> {
    let end = Instant::now() + LIMIT;
    loop {
        let files = fs::read_dir(abi::EVIDENCE).into_iter().flatten();
        let numbers = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse::<u32>().ok());
        if let Some(first) = numbers.min() {
            let file = Path::new(abi::EVIDENCE).join(first.to_string());
            let text = fs::read_to_string(file)?;
            return Circumstances::parse(&text).context("the evidence cannot be understood");
        }
        if Instant::now() >= end {
            bail!("what the module started left nothing in {}", abi::EVIDENCE);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

// new: begin
/// What the program is that the module starts: this one, called by another name. `None` if it is called
/// by none of these names, so by somebody else.
pub fn called(arguments: &[String]) -> Option<ExitCode> {
    let is = |name: &std::ffi::CStr| arguments.first().map(String::as_bytes) == Some(name.to_bytes());
    let number = arguments.get(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    if is(abi::BEEP) {
        let done = leave_evidence().and_then(|()| upcall::ring(number));
        Some(done.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
    } else if is(abi::EXIT) {
        Some(ExitCode::from(number))
    } else if is(abi::CRASH) {
        std::process::abort()
    } else if is(abi::HANG) {
        let _ = leave_evidence();
        loop {
            thread::park();
        }
    } else {
        None
    }
}

fn leave_evidence() -> std::io::Result<()> {
    Circumstances::own()?.leave_in(abi::EVIDENCE)
}
// new: end
