// SPDX-License-Identifier: MIT OR Apache-2.0

//! Attacks on gates, each with its module loaded.

use crate::report::Report;
use crate::{modules, process};
use anyhow::Result;
use guest::{Message, Turn};
use std::process::Command;
use std::time::Duration;

/// How much longer than it shall a program may take, on the slowest kernel: for what it does before and after,
/// and for a call that has to be interrupted.
const LATER: Duration = Duration::from_mins(2);

/// Attacks every gate for so many seconds; true if nothing was found, and every module came and went.
pub fn run(
    report: &mut Report,
    turns: &[Turn],
    parameters: &str,
    seconds: u64,
    seed: u64,
) -> Result<bool> {
    let mut passed = true;
    for turn in turns {
        passed &= report.turn(turn, |report| {
            let module = turn.module.as_deref();
            module.map_or(Ok(()), |module| modules::load(module, parameters))?;
            let outcome = attack(report, turn, parameters, seconds, seed);
            module.map_or(Ok(()), modules::unload)?;
            outcome.map(|()| true)
        })?;
    }
    Ok(passed)
}

fn attack(
    report: &mut Report,
    turn: &Turn,
    parameters: &str,
    seconds: u64,
    seed: u64,
) -> Result<()> {
    let mut program = Command::new(guest::program(&turn.program));
    program
        .args(["attack", &turn.gate])
        .args([turn.module.as_deref().unwrap_or_default(), parameters])
        .args([seconds, seed].map(|number| number.to_string()));
    let limit = Duration::from_secs(seconds) + LATER;
    process::hear(program, limit, |attacked| {
        report.send(&Message::Attacked(Box::new(attacked)))
    })
}
