// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long the operations of gates take, with the modules of all of them loaded: they take turns.

use crate::report::Report;
use crate::{kmsg, modules, process};
use anyhow::{Context, Result};
use guest::measured::Machine;
use guest::{Message, Turn};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How long the program may take. It limits each of its parts, and says how long they take together.
const LIMIT: Duration = Duration::from_mins(15);

/// Takes the times of all gates; true if nothing failed.
pub fn run(report: &mut Report, turns: &[Turn]) -> Result<bool> {
    report.send(&Message::Machine(machine()?))?;
    // The other CPUs are the program's.
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first).context("keeping to the first CPU")?;

    let mut passed = true;
    let (mut ready, mut loaded) = (Vec::new(), Vec::new());
    // The last one first: a driver of the HOWTO's that has its name from another gate is the one to be found by
    // it for the gate that comes first.
    for turn in turns.iter().rev() {
        kmsg::mark(&turn.name);
        let outcome = turn.module.as_ref().map_or(Ok(()), |module| {
            modules::load(module, "").map(|()| loaded.push(module))
        });
        match outcome {
            Ok(()) => ready.push(turn),
            Err(error) => passed &= failed(report, &turn.name, &error)?,
        }
    }
    kmsg::mark("taking times");
    ready.reverse();
    if let Err(error) = measure(report, &ready) {
        passed &= failed(report, "taking times", &error)?;
    }
    for module in loaded.into_iter().rev() {
        if let Err(error) = modules::unload(module) {
            passed &= failed(report, module, &error)?;
        }
    }
    Ok(passed)
}

/// Tells of it. False: not all went well.
fn failed(report: &mut Report, what: &str, error: &anyhow::Error) -> Result<bool> {
    report.send(&Message::GateEnds {
        gate: what.into(),
        error: Some(format!("{error:#}")),
        millis: 0,
    })?;
    Ok(false)
}

/// Has the program measure, and hands on what it says, as it says it.
fn measure(report: &mut Report, turns: &[&Turn]) -> Result<()> {
    let first = turns.first().context("there is no gate")?;
    let mut program = Command::new(guest::program(&first.program));
    program.arg("time");
    program.args(turns.iter().map(|turn| &turn.gate));
    process::hear(program, LIMIT, |measured| {
        report.send(&Message::Measured(Box::new(measured)))
    })
}

fn machine() -> Result<Machine> {
    let cpus = read("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| {
        let (name, model) = line.split_once(':')?;
        (name.trim() == "model name").then(|| model.trim().to_owned())
    });
    let mut mitigations = BTreeMap::new();
    for entry in fs::read_dir("/sys/devices/system/cpu/vulnerabilities")
        .into_iter()
        .flatten()
    {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        mitigations.insert(name, read(entry.path())?.trim().to_owned());
    }
    Ok(Machine {
        cpu: model.context("the CPU has no name")?,
        cpus: thread::available_parallelism()?.get(),
        clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource")?
            .trim()
            .to_owned(),
        mitigations,
    })
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
