// SPDX-License-Identifier: MIT OR Apache-2.0

//! Counting instructions, on a machine whose clock they are.

use super::results::{Cost, Results};
use crate::show::{self, BAD};
use anyhow::Result;
use guest::{Message, Plan, Turn};
use lab::command::{note, step};
use lab::kernel::Flavour;
use lab::run::{Limits, Prepared};
use lab::verdict::Outcome;

/// Counts what the operations of these gates cost, and those of their twins.
pub fn run(prepared: &Prepared, turns: Vec<Turn>, results: &mut Results) -> Result<Outcome> {
    let counting = step("counting instructions");
    let plan = Plan::Count { turns };
    let boot = prepared.boot(
        Flavour::Release,
        &plan,
        Limits::default(),
        |message| match message {
            Message::Cost {
                gate,
                twin,
                work,
                operation,
                bytes,
                instructions,
                program,
                calls,
            } => {
                let cost = Cost {
                    gate: gate.clone(),
                    work: work.clone(),
                    operation: operation.clone(),
                    bytes: *bytes,
                    calls: *calls,
                    program: *program,
                    kernel: instructions.saturating_sub(*program),
                    twin: None,
                };
                let costs = &mut results.costs;
                match costs.iter_mut().find(|other| other.is_of(&cost)) {
                    Some(ours) if *twin => ours.twin = Some(cost.kernel),
                    _ => costs.push(cost),
                }
            }
            Message::GateEnds {
                gate,
                error: Some(error),
                ..
            } => {
                note(&format!("{BAD}{gate}: {error}{BAD:#}"));
            }
            _ => {}
        },
    )?;
    drop(counting);
    show::complaints(&boot);
    Ok(boot.outcome)
}
