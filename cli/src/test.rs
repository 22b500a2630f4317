// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate test`: what every test came to, on each kernel.

use crate::show::{self, BAD, DIM, TITLE};
use anyhow::Result;
use guest::{Message, Plan};
use lab::command::{note, step, verbose};
use lab::kernel::Flavour;
use lab::lanes;
use lab::run::Prepared;
use lab::verdict::Outcome;
use serde_json::{Value, json};

/// How many of these tests passed, and how many failed.
fn count<'a>(tests: impl IntoIterator<Item = &'a Value>) -> (usize, usize) {
    let (passed, failed): (Vec<_>, Vec<_>) =
        tests.into_iter().partition(|test| test["passed"] == true);
    (passed.len(), failed.len())
}

/// How many machines to have at once. What a filter leaves to do is not worth several boots; nor can a
/// person read along (`-v`) what several consoles say.
pub fn lanes(filter: Option<&str>) -> usize {
    if filter.is_some() || verbose() {
        1
    } else {
        lanes::of_this_host()
    }
}

/// Runs the tests of the gates on the kernels of these flavours, in so many machines at once.
pub fn run(
    prepared: &Prepared,
    flavours: &[Flavour],
    named: &[String],
    lanes: usize,
    filter: Option<String>,
    cycles: Option<u8>,
    json: bool,
) -> Result<Outcome> {
    let turns = prepared.turns(named);
    let plan = |turns| Plan::Test {
        turns,
        filter: filter.clone(),
        cycles,
    };
    let mut outcome = Outcome::Passed;
    let mut total = (0, 0);
    let mut reports = Vec::new();
    for &flavour in flavours {
        let headline = prepared.headline(flavour);
        if !json {
            anstream::println!("{headline}");
        }
        let mut tests = Vec::new();
        let running = step(&format!("testing on the {flavour} kernel"));
        let boot = prepared.boots(flavour, lanes, turns.clone(), plan, |message| match message {
            Message::Test { gate, name, failure, millis } => {
                let passed = failure.is_none();
                if !json && (verbose() || !passed) {
                    note(&format!("  {} {gate}::{name} {DIM}{millis} ms{DIM:#}", show::mark(passed)));
                    for line in failure.iter().flat_map(|text| text.lines()) {
                        note(&format!("    {DIM}│{DIM:#} {line}"));
                    }
                }
                tests.push(json!({
                    "gate": gate, "test": name, "passed": passed, "output": failure, "millis": millis,
                }));
            }
            Message::GateEnds { gate, error, millis } if !json => {
                let (passed, failed) = count(tests.iter().filter(|test| test["gate"] == **gate));
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
        let (passed, failed) = count(&tests);
        total = (total.0 + passed, total.1 + failed);
        // They came as the machines got to them.
        tests.sort_by_key(|test| turns.iter().position(|turn| test["gate"] == *turn.name));
        report["tests"] = tests.into();
        reports.push(report);
        outcome = outcome.worse(boot.outcome);
    }
    let (passed, failed) = total;
    if passed + failed == 0 && outcome == Outcome::Passed {
        let why = match filter {
            Some(text) => format!("no test's name contains `{text}`"),
            None => "no test ran".into(),
        };
        anstream::eprintln!("{BAD}{why}{BAD:#}");
        outcome = Outcome::Failed(why);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        anstream::println!("{passed} passed, {failed} failed");
    }
    Ok(outcome)
}
