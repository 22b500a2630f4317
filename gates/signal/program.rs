// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signals from user space: the HOWTO's exchange, then what becomes of many signals at once.

// new: begin
use std::time::Duration;

use anyhow::Context as _;
use callgate::crossing;
use callgate::debugfs::{Debugfs, File};
use callgate::signal::{Blocked, Fd, Handled, Received, Signal};
use rustix::thread::gettid;

use super::abi;

// new: end
/// How long a signal may take.
const LIMIT: Duration = Duration::from_secs(10);

// new: begin
/// Has itself signalled.
pub fn main() -> anyhow::Result<()> {
    let debugfs = Debugfs::find()?;
    // new: end
    howto(&debugfs)?;
    // new: begin
    many(&debugfs)
}

// new: end
/// The program says its number, and the kernel signals it: three times, to receive it in three ways.
fn howto(debugfs: &Debugfs) -> anyhow::Result<()> {
    let signal = Signal::new(abi::SIGNAL).context("there are 64 signals")?;
    let file = debugfs.file(abi::FILE);
    let handled = Handled::new(signal)?;
    ask(&file)?;
    print(handled.wait(LIMIT)?)?;
    drop(handled);

    let blocked = Blocked::new(&[signal])?;
    ask(&file)?;
    print(blocked.wait(LIMIT)?)?;

    let fd = Fd::new(&blocked)?;
    ask(&file)?;
    print(fd.wait(LIMIT)?)
}

// new: begin
/// Of a normal signal one is pending at most; real-time signals are queued.
fn many(debugfs: &Debugfs) -> anyhow::Result<()> {
    let receiver = Receiver::new(debugfs)?;
    receiver.tell(&format!("{} {}", abi::REGISTER, gettid()))?;
    for (kind, number) in [("normal", 10), ("real-time", abi::SIGNAL)] {
        let blocked = Blocked::new(&[Signal::new(number).context("there are 64 signals")?])?;
        receiver.tell(&format!("{} {number} 0 100", abi::SEND))?;
        let mut came = 0;
        while blocked.wait(Duration::ZERO)?.is_some() {
            came += 1;
        }
        crossing::from_kernel(&format!("signal {number}"), format!("{came} times"));
        println!("{kind} signal: 100 sent, {came} received");
    }
    Ok(())
}

// new: end
/// Writes the number of this thread, as the HOWTO's program does that of its process.
fn ask(file: &File) -> anyhow::Result<()> {
    let number = gettid().to_string();
    crossing::to_kernel(&format!("write(2) {}", file.path().display()), &number);
    Ok(file.write(number.as_bytes())?)
}

fn print(received: Option<Received>) -> anyhow::Result<()> {
    let received = received.context("no signal came")?;
    let value = received.value.to_string();
    crossing::from_kernel(&format!("signal {}", received.signal.number()), &value);
    println!("received value {value}");
    Ok(())
}

// new: begin
/// The file that remembers whom to signal, while it is open.
struct Receiver(callgate::attribute::Open);

impl Receiver {
    fn new(debugfs: &Debugfs) -> anyhow::Result<Self> {
        let path = debugfs.root().join(abi::GATE).join(abi::RECEIVER);
        let attribute = callgate::attribute::Attribute::at(path);
        Ok(Self(attribute.open(rustix::fs::OFlags::RDWR)?))
    }

    fn tell(&self, command: &str) -> anyhow::Result<()> {
        crossing::to_kernel(&format!("write(2) {}", abi::RECEIVER), command);
        Ok(self.0.write(command.as_bytes())?)
    }
}
// new: end
