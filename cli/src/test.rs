// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate test`: what every test came to, on each kernel.

use crate::show::{self, BAD, DIM, TITLE};
use anyhow::Result;
use guest::{Message, Plan};
use lab::command::{note, step, verbose};
use lab::kernel::Flavour;
use lab::run::{Limits, Prepared};
use lab::verdict::Outcome;
use serde_json::{Value, json};

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    tests: Vec<Value>,
}

/// Runs the tests of the gates on the kernels of these flavours.
pub fn run(
    prepared: &Prepared,
    flavours: &[Flavour],
    named: &[String],
    filter: Option<String>,
    cycles: Option<u8>,
    json: bool,
) -> Result<Outcome> {
    let plan = Plan::Test {
        turns: prepared.turns(named),
        filter,
        cycles,
    };
    let mut outcome = Outcome::Passed;
    let mut total = Tally::default();
    let mut reports = Vec::new();
    for &flavour in flavours {
        let headline = prepared.headline(flavour);
        if !json {
            anstream::println!("{headline}");
        }
        let mut tally = Tally::default();
        let mut before = (0, 0);
        let running = step(&format!("testing on the {flavour} kernel"));
        let boot = prepared.boot(flavour, &plan, Limits::default(), |message| match message {
            Message::Test { gate, name, failure, millis } => {
                let passed = failure.is_none();
                *(if passed { &mut tally.passed } else { &mut tally.failed }) += 1;
                if !json && (verbose() || !passed) {
                    note(&format!("  {} {gate}::{name} {DIM}{millis} ms{DIM:#}", show::mark(passed)));
                    for line in failure.iter().flat_map(|text| text.lines()) {
                        note(&format!("    {DIM}│{DIM:#} {line}"));
                    }
                }
                tally.tests.push(json!({
                    "gate": gate, "test": name, "passed": passed, "output": failure, "millis": millis,
                }));
            }
            Message::GateEnds { gate, error, millis } if !json => {
                let (passed, failed) = (tally.passed - before.0, tally.failed - before.1);
                before = (tally.passed, tally.failed);
                let mark = match (error, passed, failed) {
                    (None, 0, 0) => "–".into(),
                    (error, _, failed) => show::mark(error.is_none() && failed == 0),
                };
                let error = error.as_ref().map_or(String::new(), |e| format!(" {BAD}{e}{BAD:#}"));
                let seconds = millis / 1000;
                anstream::println!(
                    "  {mark} {TITLE}{gate:10}{TITLE:#} {passed} passed, {failed} failed \
                     {DIM}in {seconds} s{DIM:#}{error}"
                );
            }
            Message::Busy { with } => note(&format!("  {DIM}… {with}{DIM:#}")),
            _ => {}
        })?;
        drop(running);
        show::complaints(&boot);
        if !json && boot.splats.is_empty() {
            anstream::println!("  kernel log clean");
        }
        let mut report = show::boot_json(&boot);
        report["machine"] = headline.into();
        report["kernel"] = flavour.to_string().into();
        report["tests"] = tally.tests.into();
        reports.push(report);
        outcome = outcome.worse(boot.outcome);
        total.passed += tally.passed;
        total.failed += tally.failed;
    }
    if total.passed + total.failed == 0 && outcome == Outcome::Passed {
        let why = match plan {
            Plan::Test {
                filter: Some(text), ..
            } => format!("no test's name contains `{text}`"),
            _ => "no test ran".into(),
        };
        anstream::eprintln!("{BAD}{why}{BAD:#}");
        outcome = Outcome::Failed(why);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        anstream::println!("{} passed, {} failed", total.passed, total.failed);
    }
    Ok(outcome)
}
