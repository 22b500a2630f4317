// SPDX-License-Identifier: MIT OR Apache-2.0

//! Counting instructions, on a machine whose clock they are.

use super::results::{Cost, Results};
use crate::show::{self, BAD};
use anyhow::Result;
use guest::{Message, Plan, Turn};
use lab::command::{note, step};
use lab::kernel::Flavour;
use lab::lanes;
use lab::run::{Boot, Limits, Prepared};
use lab::verdict::Outcome;

/// Counts what the operations of these gates cost, and those of their twins.
///
/// Each gate has a machine of its own: what others leave in the kernel's caches would change its counts.
pub fn run(prepared: &Prepared, turns: Vec<Turn>, results: &mut Results) -> Result<Outcome> {
    let counting = step("counting instructions");
    let counted = lanes::share(lanes::of_this_host(), turns, |share| {
        share
            .into_iter()
            .map(|turn| gate(prepared, turn))
            .collect::<Result<Vec<_>>>()
    })?;
    drop(counting);
    let mut outcome = Outcome::Passed;
    for (costs, boot) in counted.into_iter().flatten() {
        results.costs.extend(costs);
        show::complaints(&boot);
        outcome = outcome.worse(boot.outcome);
    }
    Ok(outcome)
}

/// Counts what the operations of one gate cost, and those of its twin.
fn gate(prepared: &Prepared, turn: Turn) -> Result<(Vec<Cost>, Boot)> {
    let mut costs: Vec<Cost> = Vec::new();
    let plan = Plan::Count { turns: vec![turn] };
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
    Ok((costs, boot))
}
