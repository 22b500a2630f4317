// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a message costs through a gate, by what was measured.

use super::Wishes;
use crate::bench::results::{Cost, Results};
use crate::facts::{Direction, Facts};
use anyhow::{Context as _, Result};
use lab::command::note;
use serde::Serialize;
use std::io::ErrorKind;
use std::path::Path;

/// How many instructions a core carries out in a second: of the kernel's, about so many.
pub const CORE: f64 = 2e9;

/// How long a message is if nobody says so.
pub const SIZE: u64 = 64;

/// What the operations of gates cost, and where that was counted.
pub struct Costs {
    /// What callgate comes with.
    pub reference: Vec<Cost>,
    /// What was counted here.
    pub here: Vec<Cost>,
    /// When and where, in words.
    pub about: Vec<String>,
}

/// What a message costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Price {
    /// The operations that it takes.
    pub operations: Vec<String>,
    /// Its instructions, the program's and the kernel's.
    pub instructions: f64,
    /// How many system calls the program makes.
    pub calls: u64,
    /// How near the sizes are that were measured.
    pub basis: Basis,
    /// Whether that was on this machine.
    pub here: bool,
}

/// How near the sizes are that were measured, the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// This one was.
    Measured,
    /// It is between two that were.
    Between,
    /// It is smaller than all: the smallest one's costs.
    Below,
    /// It is larger than all: the line through the two largest ones goes on.
    Beyond,
    /// Only another one was, and its costs are these.
    Another,
}

impl Costs {
    /// Reads what callgate's source comes with, and what the last run on this machine left below `output`.
    pub fn read(source: &Path, output: &Path) -> Result<Self> {
        let path = source.join("gates/bench/reference.json");
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        let reference: Results =
            serde_json::from_str(&text).context("understanding gates/bench/reference.json")?;
        let mut about = vec![said("callgate's own count", &reference)];
        let here = here(&output.join("bench/results.json"));
        about.extend(here.as_ref().map(|here| said("this machine's", here)));
        let here = here.map(|here| here.costs).unwrap_or_default();
        Ok(Self::of(reference.costs, here, about))
    }

    /// Those of callgate's source, and those of this machine.
    pub fn of(mut reference: Vec<Cost>, mut here: Vec<Cost>, about: Vec<String>) -> Self {
        let events = by_ring(&reference);
        if here.iter().any(|cost| cost.gate == MMAP) {
            let own = by_ring(&here);
            here.extend(if own.is_empty() { events.clone() } else { own });
        }
        reference.extend(events);
        Self {
            reference,
            here,
            about,
        }
    }

    /// What such a message costs through a gate; `None` if nothing like it was measured.
    pub fn price(&self, gate: &str, facts: &Facts, wishes: &Wishes) -> Option<Price> {
        let counted = |cost: &&Cost| {
            cost.gate == gate
                && (facts.operations.is_empty() || facts.operations.contains(&cost.operation))
        };
        let here: Vec<&Cost> = self.here.iter().filter(counted).collect();
        if here.is_empty() {
            let reference: Vec<&Cost> = self.reference.iter().filter(counted).collect();
            price(&reference, facts, wishes)
        } else {
            let price = price(&here, facts, wishes)?;
            Some(Price {
                here: true,
                ..price
            })
        }
    }
}

/// The gate whose rings move events.
const MMAP: &str = "mmap";

/// What an event costs that the kernel puts into a mapped ring, with a look whether the program sleeps, and that the
/// program takes out: as many of them were measured. To be woken costs more, and who has many events seldom is.
fn by_ring(costs: &[Cost]) -> Vec<Cost> {
    const EVENTS: u64 = 100;

    let find = |operation: &str, bytes| {
        let is_it = |cost: &&Cost| cost.operation == operation && cost.bytes == bytes;
        costs.iter().find(is_it)
    };
    let of_size = |none: &Cost| {
        let each = |what: &str, of: fn(&Cost) -> u64| {
            let [none, all] = [0, EVENTS].map(|count| find(&format!("{what} {count}"), none.bytes));
            Some(of(all?).saturating_sub(of(none?)).div_ceil(EVENTS))
        };
        let (kernel, program) = (|cost: &Cost| cost.kernel, |cost: &Cost| cost.program);
        Some(Cost {
            gate: MMAP.into(),
            work: String::new(),
            operation: "an event by the ring, one of many".into(),
            bytes: none.bytes,
            calls: 0,
            program: each("ring: consume", program)?,
            kernel: each("ring, one by one: produce", kernel)?,
            twin: None,
        })
    };
    let sizes = costs
        .iter()
        .filter(|cost| cost.operation == "ring: consume 0");
    let works = |event: Cost| {
        ["notify", "to-program"].map(|work| Cost {
            work: work.into(),
            ..event.clone()
        })
    };
    sizes.filter_map(of_size).flat_map(works).collect()
}

/// What the last run on this machine left, if anything that can be understood.
fn here(path: &Path) -> Option<Results> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        read => read.map_err(anyhow::Error::from),
    };
    let results = text.and_then(|text| Results::parse(&text).map_err(anyhow::Error::msg));
    let useless = |error: &anyhow::Error| {
        note(&format!("{}: of no use: {error}", path.display()));
    };
    let results = results.inspect_err(useless).ok();
    // A run that took times only has none.
    results.filter(|results| !results.costs.is_empty())
}

fn said(whose: &str, results: &Results) -> String {
    let about = &results.about;
    let compilers = about.compilers.join(", ");
    format!(
        "{whose}, {}: callgate {}, {compilers}",
        about.date, about.callgate
    )
}

/// What it costs to carry out the first of these that there is: operations for just this; all that a message is
/// made of; operations for more than this, or for less.
fn price(costs: &[&Cost], facts: &Facts, wishes: &Wishes) -> Option<Price> {
    const ROUND_TRIP: &[&str] = &["round-trip"];
    const TO_KERNEL: &[&str] = &["to-kernel"];
    const TO_PROGRAM: &[&str] = &["to-program"];
    const EACH_WAY: &[&str] = &["to-kernel", "to-program"];
    const NOTIFY: &[&str] = &["notify"];
    let (just_this, near_it): (&[&[&str]], &[&[&str]]) = match wishes.way() {
        Some(Direction::ToKernel) => (&[TO_KERNEL], &[ROUND_TRIP]),
        Some(Direction::FromKernel) | None if wishes.notify => {
            (&[NOTIFY, TO_PROGRAM], &[ROUND_TRIP])
        }
        Some(Direction::FromKernel) => (&[TO_PROGRAM, NOTIFY], &[ROUND_TRIP]),
        Some(Direction::Both) | None => (&[ROUND_TRIP, EACH_WAY], &[TO_PROGRAM, TO_KERNEL, NOTIFY]),
    };
    let size = wishes.size.unwrap_or(SIZE);
    let of_works = |works: &&[&str]| {
        let prices = works.iter().map(|work| cheapest(costs, work, size));
        prices.collect::<Option<Vec<_>>>().map(sum)
    };
    let of_parts = || {
        let parts = facts.operations.iter();
        let prices: Vec<_> = parts
            .filter_map(|name| at(costs, "other", name, size))
            .collect();
        (!prices.is_empty()).then(|| sum(prices))
    };
    just_this
        .iter()
        .find_map(of_works)
        .or_else(of_parts)
        .or_else(|| near_it.iter().find_map(of_works))
}

/// Of the operations for a work, the one measured nearest, and of several the cheapest. If each of them was
/// measured with another size only, together they are as one that was measured with several.
fn cheapest(costs: &[&Cost], work: &str, size: u64) -> Option<Price> {
    let of_work: Vec<&Cost> = costs
        .iter()
        .filter(|cost| cost.work == work)
        .copied()
        .collect();
    let names = of_work.iter().map(|cost| &*cost.operation);
    let prices = names.filter_map(|name| at(&of_work, work, name, size));
    let best = prices.min_by(|one, other| {
        let by_cost = one.instructions.total_cmp(&other.instructions);
        one.basis.cmp(&other.basis).then(by_cost)
    })?;
    if best.basis == Basis::Another {
        on_a_line(of_work, size)
    } else {
        Some(best)
    }
}

/// What an operation costs at a size.
fn at(costs: &[&Cost], work: &str, operation: &str, size: u64) -> Option<Price> {
    let is_it = |cost: &&&Cost| cost.work == work && cost.operation == operation;
    on_a_line(costs.iter().filter(is_it).copied().collect(), size)
}

/// What lies on the lines between these costs.
#[expect(clippy::cast_precision_loss, reason = "counts and sizes are small")]
fn on_a_line(mut points: Vec<&Cost>, size: u64) -> Option<Price> {
    points.sort_by_key(|cost| (cost.bytes, cost.program + cost.kernel));
    points.dedup_by_key(|cost| cost.bytes);
    let all = |cost: &Cost| (cost.program + cost.kernel) as f64;
    let line = |from: &Cost, to: &Cost| {
        let slope = (all(to) - all(from)) / (to.bytes - from.bytes) as f64;
        all(from) + slope * (size as f64 - from.bytes as f64)
    };
    let above = points.partition_point(|cost| cost.bytes < size);
    let (near, instructions, basis) = match (&points[..above], &points[above..]) {
        ([], []) => return None,
        (_, [same, ..]) if same.bytes == size => (same, all(same), Basis::Measured),
        ([.., from], [to, ..]) => (to, line(from, to), Basis::Between),
        ([], [only]) | ([only], []) => (only, all(only), Basis::Another),
        ([], [smallest, ..]) => (smallest, all(smallest), Basis::Below),
        ([.., from, to], []) => (to, line(from, to), Basis::Beyond),
    };
    Some(Price {
        operations: vec![near.operation.clone()],
        instructions,
        calls: near.calls,
        basis,
        here: false,
    })
}

/// What several operations cost together.
fn sum(prices: Vec<Price>) -> Price {
    Price {
        instructions: prices.iter().map(|price| price.instructions).sum(),
        calls: prices.iter().map(|price| price.calls).sum(),
        basis: prices
            .iter()
            .map(|price| price.basis)
            .max()
            .unwrap_or(Basis::Measured),
        here: false,
        operations: prices
            .into_iter()
            .flat_map(|price| price.operations)
            .collect(),
    }
}
