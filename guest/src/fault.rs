// SPDX-License-Identifier: MIT OR Apache-2.0

//! Things done wrong on purpose, to prove that the host notices each.

use crate::leaks::Leaks;
use crate::report::Report;
use crate::{kmsg, modules};
use anyhow::{Context, Result};
use guest::{Fault, Message};

/// The module with the faults of the kernel.
const MODULE: &str = "callgate_faults";

/// Does `fault`. Except where that is the fault, the verdict says that all is well: what the guest
/// says must not be what saves the day.
pub fn run(report: &mut Report, fault: Fault) -> Result<()> {
    kmsg::mark("faults::planted");
    let verdict = Message::Verdict { passed: true };
    match fault {
        Fault::InitDies => std::process::exit(1),
        Fault::NoVerdict => return Ok(()),
        Fault::Wait => loop {
            std::thread::park();
        },
        Fault::CutVerdict => {
            let line = serde_json::to_string(&verdict)?;
            return report.send_raw(&line.as_bytes()[..line.len() / 2]);
        }
        Fault::TwoVerdicts => report.send(&verdict)?,
        Fault::UnloadRefused => {
            modules::load(MODULE, "kind=0")?;
            let _busy = std::fs::File::open("/dev/callgate_faults").context("no fault device")?;
            return end(report, modules::unload(MODULE));
        }
        Fault::LoadRefused => return end(report, plant(fault)),
        Fault::Leak => {
            let leaks = Leaks::watch();
            plant(fault)?;
            let passed = leaks.none_found(report)?;
            return report.send(&Message::Verdict { passed });
        }
        // The kernel may kill the process that loads the module; then it has its splat.
        _ => drop(plant(fault)),
    }
    report.send(&verdict)
}

/// Has the kernel do its part, if it has one.
fn plant(fault: Fault) -> Result<()> {
    if let Some(kind) = fault.kind() {
        modules::load(MODULE, &format!("kind={kind}"))?;
        modules::unload(MODULE)?;
    }
    Ok(())
}

/// Reports a turn that ended so, as that of any gate, and the verdict on it.
fn end(report: &mut Report, outcome: Result<()>) -> Result<()> {
    let passed = outcome.is_ok();
    let error = outcome.err().map(|error| format!("{error:#}"));
    report.send(&Message::GateEnds {
        gate: "faults".into(),
        error,
        millis: 0,
    })?;
    report.send(&Message::Verdict { passed })
}
