// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate attack`: what came of attacking each gate.

use crate::show::{self, BAD, DIM, TITLE, grouped};
use anyhow::{Context as _, Result};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use guest::attacked::{Attack, Attacked, Finding, Share};
use guest::{Message, Plan, Turn};
use lab::command::{note, step};
use lab::kernel::Flavour;
use lab::lanes;
use lab::run::Prepared;
use lab::verdict::Outcome;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What to attack, and for how long.
#[derive(Args)]
pub struct Arguments {
    /// The gates; all of them if none is named.
    pub gates: Vec<String>,
    /// How long all of it may take, without what has to be built before.
    #[arg(long, value_name = "N", default_value = "10", value_parser = minutes)]
    minutes: Minutes,
    /// What chance begins with: the same finds the same, more or less.
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Print JSON instead.
    #[arg(long)]
    json: bool,
    /// Attack the module that is weak on purpose, in this way.
    #[arg(long, value_name = "N", hide = true, conflicts_with = "gates")]
    weakness: Option<u32>,
}

/// Attacks gates, and prints what came of it. It is also left below `output`.
pub fn run(
    prepared: &Prepared,
    flavour: Flavour,
    arguments: &Arguments,
    output: &Path,
) -> Result<Outcome> {
    let turns = match arguments.weakness {
        Some(_) => vec![weak(prepared)?],
        None => prepared.turns(&arguments.gates),
    };
    let kind = |kind: u32| format!("kind={kind}");
    let parameters = arguments.weakness.map_or(String::new(), kind);
    let lanes = lanes::of_this_host().min(turns.len());
    let seconds = seconds_each(arguments.minutes, lanes, turns.len());
    let headline = prepared.headline(flavour);
    note(&format!(
        "{headline}\n{} gates, {seconds} s each, {lanes} at a time",
        turns.len()
    ));
    let mut attacks: BTreeMap<String, Attack> = BTreeMap::new();
    let attacking = step("attacking");
    let plan = |turns: Vec<Turn>| Plan::Attack {
        turns,
        parameters: parameters.clone(),
        seconds,
        seed: arguments.seed,
    };
    let all = seconds * turns.len() as u64;
    let boot = prepared.boots(
        flavour,
        lanes,
        turns.clone(),
        plan,
        |message| match message {
            Message::Attacked(attacked) => {
                let (Attacked::At(attack) | Attacked::Done(attack)) = &**attacked;
                attacks.insert(attack.gate.clone(), attack.clone());
                let done: f64 = attacks.values().map(|attack| attack.seconds).sum();
                attacking.at(Duration::from_secs_f64(done).as_secs(), all);
            }
            Message::GateEnds {
                gate,
                error: Some(error),
                ..
            } => note(&format!("{BAD}{gate}: {error}{BAD:#}")),
            _ => {}
        },
    )?;
    drop(attacking);
    show::complaints(&boot);

    let attacks: Vec<Attack> = turns
        .iter()
        .filter_map(|turn| attacks.remove(&turn.gate))
        .collect();
    let mut report = show::boot_json(&boot);
    report["machine"] = headline.into();
    report["kernel"] = flavour.to_string().into();
    report["seed"] = arguments.seed.into();
    report["attacks"] = json!(attacks);
    let text = serde_json::to_string_pretty(&report)?;
    let path = output.join("attack.json");
    std::fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
    if arguments.json {
        println!("{text}");
    } else {
        println!("{}", table(&attacks));
        missed(&attacks);
    }
    let found = findings(&attacks);
    note(&format!("{DIM}all of it is in {}{DIM:#}", path.display()));
    Ok(match found {
        0 => boot.outcome,
        found => boot
            .outcome
            .worse(Outcome::Failed(format!("{found} finding(s)"))),
    })
}

/// The turn of the module that is weak on purpose.
fn weak(prepared: &Prepared) -> Result<Turn> {
    let program = prepared.programs().into_iter().next();
    Ok(Turn {
        name: "weak".into(),
        gate: "weak".into(),
        module: Some("callgate_weak".into()),
        program: program.context("there is no program")?,
    })
}

/// A time, to be had as a number of minutes.
type Minutes = Duration;

fn minutes(text: &str) -> Result<Minutes, String> {
    let minutes: f64 = text.parse().map_err(|_| "it must be a number")?;
    if (0.1..=1440.0).contains(&minutes) {
        Ok(Duration::from_secs_f64(minutes * 60.0))
    } else {
        Err("it must be from 0.1 to 1440".into())
    }
}

/// How long each of so many gates is attacked.
fn seconds_each(time: Duration, lanes: usize, gates: usize) -> u64 {
    let seconds = time.as_secs() * lanes.max(1) as u64;
    (seconds / gates.max(1) as u64).max(1)
}

fn table(attacks: &[Attack]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "gate",
        "programs",
        "calls",
        "refused",
        "kept",
        "gate reached",
        "library reached",
        "findings",
    ]);
    for attack in attacks {
        let reached = attack.reached.as_ref();
        let share = |share: Option<Share>| share.map_or("–".into(), in_words);
        table.add_row([
            attack.gate.clone(),
            grouped(attack.programs),
            grouped(attack.calls),
            grouped(attack.refused),
            grouped(attack.kept),
            share(reached.map(|reached| reached.gate)),
            share(reached.map(|reached| reached.library)),
            attack.findings.len().to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn in_words(Share { reached, of }: Share) -> String {
    match of {
        0 => "–".into(),
        of => format!("{reached}/{of} = {} %", 100 * reached / of),
    }
}

/// Tells of the functions that were not reached.
fn missed(attacks: &[Attack]) {
    for attack in attacks {
        let missed = attack.reached.iter().flat_map(|reached| &reached.missed);
        for function in missed {
            anstream::println!("{DIM}not reached: {}: {function}{DIM:#}", attack.gate);
        }
    }
}

/// Tells of what should not be, and says how much of it there is.
fn findings(attacks: &[Attack]) -> usize {
    let mut count = 0;
    for attack in attacks {
        for Finding { what, program } in &attack.findings {
            count += 1;
            let gate = &attack.gate;
            anstream::eprintln!("{TITLE}{gate}{TITLE:#}: {BAD}{what}{BAD:#} by program {program}");
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_gates_share_the_time() {
        let each = |time, lanes, gates| seconds_each(minutes(time).unwrap(), lanes, gates);
        assert_eq!(each("10", 2, 18), 66);
        assert_eq!(each("0.5", 1, 1), 30);
        assert_eq!(each("1", 1, 100), 1);
        for wrong in ["", "many", "0", "-1", "1441", "nan", "inf"] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }
}
