// SPDX-License-Identifier: MIT OR Apache-2.0

//! The demo: each gate's program at work, and what crossed the boundary meanwhile.

use crate::kmsg;
use crate::report::Report;
use crate::{modules, process};
use anyhow::{Context, Result};
use callgate::kmsg::{Log, Origin, Record};
use callgate::testing::elsewhere;
use guest::{Direction, Message, Turn};
use std::fs::File;
use std::process::Command;
use std::time::Duration;

/// How long a program may take.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs the demo of every gate; true if all went well.
pub fn run(report: &mut Report, turns: &[Turn]) -> Result<bool> {
    let mut passed = true;
    for turn in turns {
        passed &= report.turn(turn, |report| {
            let mut log = Log::from_now()?;
            let outcome = show(turn);
            while let Some(record) = log.next(Duration::ZERO)? {
                if let Some(message) = tell(record) {
                    report.send(&message)?;
                }
            }
            outcome.map(|()| true)
        })?;
    }
    Ok(passed)
}

/// Everything that one gate's turn consists of. The program prints into the kernel log, and so does
/// its account of what it sent and received: there, all of it is in order with what the module says.
fn show(turn: &Turn) -> Result<()> {
    if let Some(module) = &turn.module {
        modules::load(module, "")?;
    }
    let mut program = Command::new(guest::program(&turn.program));
    program
        .arg(&turn.gate)
        .env("CALLGATE_TRACE", kmsg::PATH)
        .env(elsewhere::PERMISSION, "");
    let log = File::options()
        .write(true)
        .open(kmsg::PATH)
        .context("opening the kernel log")?;
    let ended = process::run(program, Some(log), LIMIT);
    if let Some(module) = &turn.module {
        modules::unload(module)?;
    }
    match ended?.failure() {
        None => Ok(()),
        Some(failure) => anyhow::bail!("its program failed: {failure}"),
    }
}

/// What the host shall hear of a record in the log.
fn tell(Record { origin, text }: Record) -> Option<Message> {
    if origin == Origin::Kernel {
        return Some(Message::Kernel { line: text });
    }
    if text.starts_with(guest::MARK) {
        return None;
    }
    let Some(crossing) = text.strip_prefix("crossing: ") else {
        return Some(Message::Program { line: text });
    };
    let mut fields = crossing.splitn(3, '\t');
    let direction = match fields.next()? {
        "to-kernel" => Direction::ToKernel,
        _ => Direction::FromKernel,
    };
    Some(Message::Crossing {
        direction,
        what: fields.next()?.into(),
        payload: fields.next()?.into(),
    })
}
