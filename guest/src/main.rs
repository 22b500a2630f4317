// SPDX-License-Identifier: MIT OR Apache-2.0

//! PID 1 inside the VM: carries out the host's plan, reports, and turns the machine off.

#![forbid(unsafe_code)]

mod attack;
mod count;
mod demo;
mod elsewhere;
mod fault;
mod kmsg;
mod leaks;
mod modules;
mod mounts;
mod process;
mod report;
mod shell;
mod test;
mod time;

use anyhow::{Context, Result};
use guest::{Message, Plan};
use report::Report;
use rustix::system::{RebootCommand, reboot};

fn main() {
    if std::process::id() != 1 {
        return help();
    }
    let outcome = carry_out();
    if let Err(error) = &outcome {
        // Nobody may be listening on the port, so this goes to the console: the host reads that.
        kmsg::say(&format!("{}{error:#}", guest::GIVES_UP));
    }
    rustix::fs::sync();
    // With no other machine to fall back to, all that is left on error is to exit, and so to panic.
    let error = reboot(RebootCommand::PowerOff).unwrap_err();
    kmsg::say(&format!("callgate: cannot turn the machine off: {error}"));
}

fn carry_out() -> Result<()> {
    mounts::essential()?;
    let plan = std::fs::read(guest::PLAN).context("reading the plan")?;
    let plan: Plan = serde_json::from_slice(&plan).context("understanding the plan")?;

    let mut report = Report::open()?;
    report.send(&Message::Hello {
        release: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        cpus: std::thread::available_parallelism()?.get(),
    })?;

    if plan.needs_host_root() {
        mounts::enter_host_root().context("the host's tools cannot be had")?;
    }
    let passed = match plan {
        Plan::Probe => true,
        Plan::Demo { turns } => demo::run(&mut report, &turns)?,
        Plan::Test {
            turns,
            filter,
            cycles,
        } => test::run(&mut report, &turns, filter.as_deref(), cycles)?,
        Plan::Count { turns } => count::run(&mut report, &turns)?,
        Plan::Time { turns } => time::run(&mut report, &turns)?,
        Plan::Attack {
            turns,
            parameters,
            seconds,
            seed,
        } => attack::run(&mut report, &turns, &parameters, seconds, seed)?,
        Plan::Elsewhere { program } => elsewhere::run(&report, &program)?,
        Plan::Shell { programs, window } => shell::run(&programs, window)?,
        Plan::Fault(fault) => return fault::run(&mut report, fault),
    };
    report.send(&Message::Verdict { passed })
}

/// This binary, wherever the root directory is by now: how PID 1 starts it again.
const SELF: &str = "/proc/self/exe";

/// What this binary does when PID 1 starts it again.
fn help() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match modules::carry_out(&arguments) {
        Some(outcome) => outcome,
        None => shell::become_shell().map(|never| match never {}),
    };
    if let Err(error) = outcome {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}
