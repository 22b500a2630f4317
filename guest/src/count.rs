// SPDX-License-Identifier: MIT OR Apache-2.0

//! What each gate's operations cost, in instructions: with its module, and with its twin.

use crate::report::Report;
use crate::{modules, process};
use anyhow::{Context, Result, bail};
use guest::{Message, Turn};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long the operations of one gate may take. They are stepped through one by one.
const LIMIT: Duration = Duration::from_mins(5);

/// Counts the operations of every gate; true if all could be counted.
pub fn run(report: &mut Report, turns: &[Turn]) -> Result<bool> {
    let mut passed = true;
    for turn in turns {
        passed &= report.turn(turn, |report| count(report, turn).map(|()| true))?;
    }
    Ok(passed)
}

fn count(report: &mut Report, turn: &Turn) -> Result<()> {
    let Some(module) = &turn.module else {
        return operations(report, turn, false);
    };
    for (directory, twin) in [(guest::MODULES, false), (guest::TWINS, true)] {
        if Path::new(directory).join(format!("{module}.ko")).exists() {
            modules::load_from(directory, module, "")?;
            let outcome = operations(report, turn, twin);
            modules::unload(module)?;
            outcome?;
        }
    }
    Ok(())
}

fn operations(report: &mut Report, turn: &Turn, twin: bool) -> Result<()> {
    let mut program = Command::new(guest::program(&turn.program));
    program.args(["bench", &turn.gate]);
    let ended = process::run(program, None, LIMIT)?;
    if let Some(failure) = ended.failure() {
        bail!("{failure}");
    }
    for line in ended.output.lines() {
        let (numbers, work, operation) =
            cost(line).with_context(|| format!("the program says `{line}`"))?;
        let [instructions, program, calls, bytes] = numbers;
        report.send(&Message::Cost {
            gate: turn.name.clone(),
            twin,
            work: work.into(),
            operation: operation.into(),
            bytes,
            instructions,
            program,
            calls,
        })?;
    }
    Ok(())
}

/// What a line of the program's says: four numbers, what the operation is for and its name.
fn cost(line: &str) -> Option<([u64; 4], &str, &str)> {
    let mut words = line.splitn(6, ' ');
    let mut numbers = [0; 4];
    for number in &mut numbers {
        *number = words.next()?.parse().ok()?;
    }
    Some((numbers, words.next()?, words.next()?))
}
