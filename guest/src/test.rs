// SPDX-License-Identifier: MIT OR Apache-2.0

//! The behaviour tests: each in a process of its own, with its gate's module loaded.

use crate::leaks::Leaks;
use crate::report::{Report, millis};
use crate::{kmsg, modules, process};
use anyhow::Result;
use callgate::testing::{elsewhere, tools, unload};
use guest::{Message, Turn};
use std::process::Command;
use std::time::Duration;

/// How long one test may take, on the slowest kernel, while other machines keep the host busy.
const LIMIT: Duration = Duration::from_mins(3);

/// Runs the tests of every gate; true if all passed, every module came and went, and no memory was
/// lost.
pub fn run(
    report: &mut Report,
    turns: &[Turn],
    filter: Option<&str>,
    cycles: Option<u8>,
) -> Result<bool> {
    let mut passed = true;
    let mut leaks = Leaks::watch();
    for turn in turns {
        let names: Vec<String> = list(turn)?
            .into_iter()
            .filter(|name| filter.is_none_or(|part| name.contains(part)))
            .collect();
        passed &= report.turn(turn, |report| {
            let module = turn.module.as_deref();
            module.map_or(Ok(()), |module| modules::load(module, ""))?;
            let mut passed = true;
            for name in &names {
                passed &= run_one(report, turn, name, cycles, &mut leaks)?;
            }
            kmsg::mark(&turn.name);
            module.map_or(Ok(()), modules::unload)?;
            Ok(passed)
        })?;
    }
    passed &= leaks.none_found(report)?;
    Ok(passed)
}

fn run_one(
    report: &mut Report,
    turn: &Turn,
    name: &str,
    cycles: Option<u8>,
    leaks: &mut Leaks,
) -> Result<bool> {
    let gate = &turn.name;
    let short = name.strip_prefix(&prefix(turn)).unwrap_or(name);
    kmsg::mark(&format!("{gate}::{short}"));
    let mut test = Command::new(guest::tests(&turn.program));
    test.args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(tools::PERMISSION, "")
        .env(elsewhere::PERMISSION, "")
        .envs(cycles.map(|cycles| (unload::CYCLES, cycles.to_string())));
    let ended = process::run(test, None, LIMIT)?;
    leaks.allocated_by(ended.pid, &format!("{gate}::{short}"));
    let mut failure = ended.failure();
    // A test that is filtered away makes libtest succeed without having run anything.
    if failure.is_none() && !ended.output.contains("test result: ok. 1 passed") {
        failure = Some(format!("did not run: {}", ended.output));
    }
    let failure = failure.map(|text| without_libtest(&text, name));
    let passed = failure.is_none();
    report.send(&Message::Test {
        gate: gate.clone(),
        name: short.into(),
        failure,
        millis: millis(ended.took),
    })?;
    Ok(passed)
}

/// What a failed test printed, without what the test harness says around it.
fn without_libtest(output: &str, name: &str) -> String {
    let begins = format!("test {name} ... ");
    let said = output.lines().filter_map(|line| {
        let line = line.strip_prefix(&begins).unwrap_or(line);
        let harness = ["running 1 test", "FAILED", "failures:", ""].contains(&line)
            || line.trim_start() == name
            || line.starts_with("test result: ")
            || line.starts_with("note: run with `RUST_BACKTRACE");
        (!harness).then_some(line)
    });
    said.collect::<Vec<_>>().join("\n")
}

/// How the names of a gate's tests begin.
fn prefix(turn: &Turn) -> String {
    format!("{}::tests::", turn.gate)
}

/// The names of a gate's tests.
fn list(turn: &Turn) -> Result<Vec<String>> {
    let mut command = Command::new(guest::tests(&turn.program));
    command.args([&prefix(turn), "--list", "--format=terse"]);
    let ended = process::run(command, None, LIMIT)?;
    if let Some(failure) = ended.failure() {
        anyhow::bail!("listing the tests of {}: {failure}", turn.name);
    }
    let names = ended
        .output
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}
