// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate demo`: what crossed the boundary, for a person to read.

use crate::show::{self, BAD, DIM, GOOD, TITLE};
use anyhow::Result;
use comfy_table::{Table, presets};
use guest::{Direction, Message, Plan};
use lab::gates::Gate;
use lab::kernel::Flavour;
use lab::run::{Limits, Prepared};
use lab::verdict::Outcome;
use serde_json::{Value, json};

/// One gate's turn, as it is being shown.
#[derive(Default)]
struct Turn {
    gate: String,
    /// Whether its kernel side is part of the kernel, and so never unloaded.
    built_in: bool,
    to_kernel: usize,
    from_kernel: usize,
    events: Vec<Value>,
    error: Option<String>,
    millis: u64,
}

impl Turn {
    /// A gate that only speaks in one direction has shown nothing of a boundary's two sides.
    fn crossed_both_ways(&self) -> bool {
        self.error.is_none() && self.to_kernel > 0 && self.from_kernel > 0
    }
}

/// Shows the gates at work.
pub fn run(prepared: &Prepared, gates: &[Gate], named: &[String], json: bool) -> Result<Outcome> {
    let headline = prepared.headline(Flavour::Release);
    if !json {
        anstream::println!("{headline}");
    }
    let plan = Plan::Demo {
        turns: prepared.turns(named),
    };
    let mut turns: Vec<Turn> = Vec::new();
    let boot = prepared.boot(Flavour::Release, &plan, Limits::default(), |message| {
        hear(&mut turns, message, gates, json);
    })?;
    let silent = turns
        .iter()
        .find(|turn| turn.error.is_none() && !turn.crossed_both_ways());
    let outcome = match (&boot.outcome, silent) {
        (Outcome::Passed, Some(turn)) => {
            Outcome::Failed(format!("{}: data did not cross both ways", turn.gate))
        }
        (outcome, _) => outcome.clone(),
    };
    if json {
        let gates: Vec<_> = turns
            .iter()
            .map(|turn| {
                json!({
                    "gate": turn.gate,
                    "crossed_both_ways": turn.crossed_both_ways(),
                    "error": turn.error,
                    "seconds": seconds(turn.millis),
                    "events": turn.events,
                })
            })
            .collect();
        let mut report = show::boot_json(&boot);
        report["machine"] = headline.into();
        report["gates"] = gates.into();
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        close(&turns, &boot);
    }
    show::complaints(&boot);
    Ok(outcome)
}

fn hear(turns: &mut Vec<Turn>, message: &Message, gates: &[Gate], json: bool) {
    if let Message::GateBegins { gate } = message {
        let found = gates.iter().find(|found| found.name == *gate);
        let title = found.map_or("", |gate| &gate.title);
        if !json {
            let place = found.map_or("", |gate| &gate.folder);
            let width = 98_usize.saturating_sub(gate.len() + 2 + title.chars().count());
            anstream::println!("\n{TITLE}{gate}{TITLE:#}: {title}{DIM}{place:>width$}{DIM:#}");
        }
        turns.push(Turn {
            gate: gate.clone(),
            built_in: found.is_some_and(|gate| gate.module.is_none()),
            ..Turn::default()
        });
        return;
    }
    let Some(turn) = turns.last_mut() else { return };
    let line = |arrow: &str, text: &str| {
        if !json {
            anstream::println!("  {arrow:<15} {text}");
        }
    };
    match message {
        Message::Crossing {
            direction,
            what,
            payload,
        } => {
            let arrow = match direction {
                Direction::ToKernel => {
                    turn.to_kernel += 1;
                    "user → kernel"
                }
                Direction::FromKernel => {
                    turn.from_kernel += 1;
                    "kernel → user"
                }
            };
            line(arrow, &format!("{what:<30} {payload}"));
        }
        // Said once per boot of any module that is not part of the kernel's own tree.
        Message::Kernel { line } if line.ends_with("taints kernel.") => return,
        Message::Kernel { line: text } => line("kernel log", text),
        Message::Program { line: text } => line("program", text),
        Message::GateEnds { error, millis, .. } => {
            turn.error.clone_from(error);
            turn.millis = *millis;
            if !json {
                let said = match error {
                    Some(error) => format!("{BAD}{error}{BAD:#}"),
                    None if turn.crossed_both_ways() => "crossed both ways".into(),
                    None => format!("{BAD}nothing crossed one of the two ways{BAD:#}"),
                };
                anstream::println!("  {} {said}", show::mark(turn.crossed_both_ways()));
            }
            return;
        }
        _ => return,
    }
    turn.events
        .push(serde_json::to_value(message).unwrap_or_default());
}

fn close(turns: &[Turn], boot: &lab::run::Boot) {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["gate", "user → kernel", "kernel → user", "unloaded", "time"]);
    for turn in turns {
        table.add_row([
            turn.gate.clone(),
            format!("{} ×", turn.to_kernel),
            format!("{} ×", turn.from_kernel),
            match (&turn.error, turn.built_in) {
                (Some(_), _) => "see above",
                (None, true) => "built in",
                (None, false) => "yes",
            }
            .into(),
            format!("{:.1} s", seconds(turn.millis)),
        ]);
    }
    anstream::println!("\n{table}");
    let good = turns.iter().filter(|turn| turn.crossed_both_ways()).count();
    let log = if boot.splats.is_empty() {
        format!("{GOOD}kernel log clean{GOOD:#}")
    } else {
        format!("{BAD}kernel log not clean{BAD:#}")
    };
    let booted = boot.booted_in.map_or(0.0, |time| time.as_secs_f32());
    anstream::println!(
        "{good} of {} gates · {log} · booted in {booted:.1} s · {:.1} s in all",
        turns.len(),
        crate::START.elapsed().as_secs_f32()
    );
}

#[expect(
    clippy::cast_precision_loss,
    reason = "durations are far below 2^52 ms"
)]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}
