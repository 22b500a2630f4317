// SPDX-License-Identifier: MIT OR Apache-2.0

//! What signals of the kernel's cost, by how they are received.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use callgate::attribute::{Attribute, Open};
use callgate::debugfs::Debugfs;
use callgate::signal::{Blocked, Error, Fd, Handled, Received, Signal};
use rustix::fs::OFlags;
use rustix::thread::gettid;

use super::{Operation, Work};
use crate::signal::abi;

/// How long a signal may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What comes with it: an `int`, and which.
const BYTES: usize = size_of::<i32>();
const VALUE: i32 = 7;

/// The signals, one for each way to receive them, as a thread goes on blocking the first two. The last one is seen
/// by whoever steps through this process, to whom the real-time signals are not known.
const AWAITED: i32 = abi::SIGNAL;
const FROM_FILE: i32 = abi::SIGNAL + 1;
const HANDLED: i32 = 10;

/// A signal to a thread that waits for it, to one that reads it from a file, and to one that is interrupted.
///
/// A process has one handler for a signal, so only one thread has an operation with that.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let line = Arc::new(Line::new(AWAITED)?);
    let (told, heard, first) = (Arc::clone(&line), Arc::clone(&line), line);
    let (tell, hear) = (move || told.tell(), move || heard.hear());
    let wait = Operation::notify("wait for a signal", BYTES, tell, hear);
    let mut operations = vec![wait.first(move || first.is_for_this_thread()), from_file()?];
    match Handled::new(signal(HANDLED)?) {
        Ok(handled) => operations.push(interrupted(handled)?),
        Err(Error::Taken(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(operations)
}

/// This thread has itself sent a signal, and reads it from a file.
fn from_file() -> anyhow::Result<Operation<'static>> {
    let line = Line::new(FROM_FILE)?;
    // For good, so that the file can go on for as long.
    let blocked = Box::leak(Box::new(Blocked::new(&[signal(FROM_FILE)?])?));
    let fd = Fd::new(blocked)?;
    let run = move || {
        line.tell()?;
        came(fd.wait(LIMIT)?)
    };
    Ok(Operation::new(
        Work::Other,
        "read a signal from a file",
        BYTES,
        run,
    ))
}

/// The same, and is interrupted by it, for the handler to write down.
fn interrupted(handled: Handled) -> anyhow::Result<Operation<'static>> {
    let line = Line::new(HANDLED)?;
    let run = move || {
        line.tell()?;
        came(handled.wait(LIMIT)?)
    };
    Ok(Operation::new(
        Work::Other,
        "be interrupted by a signal",
        BYTES,
        run,
    ))
}

fn signal(number: i32) -> anyhow::Result<Signal> {
    Signal::new(number).context("there are 64 signals")
}

fn came(received: Option<Received>) -> anyhow::Result<()> {
    let value = received.context("no signal came")?.value;
    ensure!(value == VALUE, "it came with {value}");
    Ok(())
}

/// A file that has a thread signalled.
struct Line {
    file: Open,
    send: String,
    state: Mutex<State>,
}

/// Which thread, and whether it has been.
struct State {
    thread: ThreadId,
    told: bool,
}

thread_local! {
    /// The signal of those who wait, in this thread.
    static BLOCKED: OnceCell<Blocked> = const { OnceCell::new() };
}

impl Line {
    /// To this thread.
    fn new(signal: i32) -> anyhow::Result<Self> {
        let path = Debugfs::find()?.root().join(abi::GATE).join(abi::RECEIVER);
        let line = Self {
            file: Attribute::at(path).open(OFlags::RDWR)?,
            send: format!("{} {signal} {VALUE} 1", abi::SEND),
            state: Mutex::new(State {
                thread: thread::current().id(),
                told: false,
            }),
        };
        line.register()?;
        Ok(line)
    }

    /// Has the signals come to this thread.
    fn register(&self) -> anyhow::Result<()> {
        let command = format!("{} {}", abi::REGISTER, gettid());
        Ok(self.file.write(command.as_bytes())?)
    }

    /// Before anything: this thread is the one that waits, until another does.
    fn is_for_this_thread(&self) -> anyhow::Result<()> {
        let mut state = self.state()?;
        with_blocked(|blocked| {
            while blocked.wait(Duration::ZERO)?.is_some() {}
            Ok(())
        })?;
        self.register()?;
        *state = State {
            thread: thread::current().id(),
            told: false,
        };
        Ok(())
    }

    fn tell(&self) -> anyhow::Result<()> {
        let mut state = self.state()?;
        self.file.write(self.send.as_bytes())?;
        state.told = true;
        Ok(())
    }

    fn hear(&self) -> anyhow::Result<()> {
        let mut state = self.state()?;
        let this = thread::current().id();
        if state.thread != this {
            with_blocked(|_| Ok(()))?;
            self.register()?;
            state.thread = this;
            if state.told {
                // Another thread was, this very moment. It will not be again.
                state.told = false;
                return Ok(());
            }
        }
        drop(state);
        with_blocked(|blocked| came(blocked.wait(LIMIT)?))?;
        self.state()?.told = false;
        Ok(())
    }

    fn state(&self) -> anyhow::Result<MutexGuard<'_, State>> {
        self.state
            .lock()
            .map_err(|_| anyhow!("whom it concerned has failed"))
    }
}

/// Does something while the signal is blocked in this thread, as it stays from then on.
fn with_blocked<T>(run: impl FnOnce(&Blocked) -> anyhow::Result<T>) -> anyhow::Result<T> {
    BLOCKED.with(|cell| {
        if let Some(blocked) = cell.get() {
            return run(blocked);
        }
        let blocked = Blocked::new(&[signal(AWAITED)?])?;
        run(cell.get_or_init(|| blocked))
    })
}
