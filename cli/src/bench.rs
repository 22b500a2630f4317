// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate bench`: what each gate's operations cost, in instructions and in time.
//!
//! [`count`] and [`time`] fill in the [`results`], each by a machine of its own; [`table`] shows them, and
//! [`mod@compare`] says what has changed since an earlier run.

mod compare;
mod count;
mod quantity;
mod report;
pub mod results;
mod table;
mod time;

use crate::show::{BAD, DIM, TITLE};
use anyhow::{Context as _, Result};
use clap::Args;
use guest::Turn;
use lab::Lab;
use lab::command::{Cmd, note};
use lab::kernel::Flavour;
use lab::project::Project;
use lab::run::Prepared;
use lab::verdict::Outcome;
use results::{About, Results, SCHEMA};
use std::path::{Path, PathBuf};

/// Ways for many events. A call moves a hundred of them, and how long it takes is not what counts: what is seen in
/// time is what becomes of them.
const BULK: &str = "bulk";

/// What is measured beside the gates: what nothing can be cheaper than, and ways for many events.
pub const BESIDE: [&str; 2] = ["floor", BULK];

/// What to measure, and what to do with it.
#[derive(Args)]
pub struct Bench {
    /// The gates; all of them if none is named. `floor` is what nothing can be cheaper than, `bulk` are ways for
    /// many events.
    pub gates: Vec<String>,
    /// Only count instructions.
    #[arg(long)]
    pub exact: bool,
    /// Only take times.
    #[arg(long, conflicts_with = "exact")]
    pub time: bool,
    /// Print JSON instead.
    #[arg(long)]
    json: bool,
    /// An older JSON: fail if something costs more instructions now, and say what takes another time.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

impl Bench {
    /// Whether this, of a gate or beside them, is measured.
    fn has(&self, name: &str) -> bool {
        self.gates.is_empty() || self.gates.iter().any(|named| named == name)
    }

    /// Whether it takes more modules than those of the gates.
    pub fn needs_twins(&self) -> bool {
        !self.time || self.has(BULK)
    }

    /// The older run to compare with.
    pub fn old(&self) -> Result<Option<Results>> {
        self.compare.as_deref().map(Results::read).transpose()
    }
}

/// Measures the operations of the gates, and prints what came of it; then, if there is an older run, what has
/// changed since.
pub fn run(
    lab: &Lab,
    project: &Project,
    prepared: &Prepared,
    bench: &Bench,
    old: Option<&Results>,
) -> Result<Outcome> {
    let mut turns = prepared.turns(&bench.gates);
    for name in BESIDE {
        if bench.has(name) {
            turns.push(turn_beside(prepared, name)?);
        }
    }
    let mut results = Results {
        schema: SCHEMA,
        about: about(lab, prepared),
        costs: Vec::new(),
        times: Vec::new(),
        clients: Vec::new(),
        streams: Vec::new(),
        rooms: Vec::new(),
        left_out: Vec::new(),
    };
    let mut outcome = Outcome::Passed;
    if !bench.time {
        outcome = outcome.worse(count::run(prepared, turns.clone(), &mut results)?);
    }
    if !bench.exact {
        outcome = outcome.worse(time::run(prepared, turns, &mut results)?);
    }
    if bench.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        table::print(&results);
    }
    let left = results.leave(&project.output)?;
    let report = report::leave(&results, &project.output)?;
    note(&format!("all of it is in {}", left.display()));
    note(&format!("to be read in a browser: {}", report.display()));
    Ok(match old {
        Some(old) => outcome.worse(compare(old, &results)),
        None => outcome,
    })
}

/// Tells what has changed, and whether any of that is a failure.
fn compare(old: &Results, new: &Results) -> Outcome {
    let tell = |changes: Result<Vec<String>, &str>, style| {
        let (changes, style) = changes.map_or_else(
            |why| (vec![why.to_owned()], DIM),
            |changes| (changes, style),
        );
        for line in &changes {
            anstream::eprintln!("{style}{line}{style:#}");
        }
    };
    if !new.times.is_empty() {
        tell(compare::times(old, new), TITLE);
    }
    if new.costs.is_empty() {
        return Outcome::Passed;
    }
    let worse = compare::costs(old, new);
    let failed = worse.as_ref().is_ok_and(|worse| !worse.is_empty());
    if worse.as_ref().is_ok_and(Vec::is_empty) {
        note("no count has grown");
    }
    tell(worse, BAD);
    if failed {
        Outcome::Failed("something costs more than before".into())
    } else {
        Outcome::Passed
    }
}

fn about(lab: &Lab, prepared: &Prepared) -> About {
    About {
        date: jiff::Timestamp::now().strftime("%F %T UTC").to_string(),
        callgate: version(&lab.source),
        kernel: prepared.identity(Flavour::Release).unwrap_or_default(),
        config: Flavour::Release.to_string(),
        compilers: prepared.compilers(),
        timed: None,
    }
}

/// callgate's version, and the commit of its source, if that is a checkout.
fn version(source: &Path) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let commit = source.join(".git").exists().then(|| {
        Cmd::new("git")
            .args(["describe", "--always", "--dirty", "--exclude=*"])
            .dir(source)
            .output()
            .ok()
    });
    match commit.flatten() {
        Some(commit) => format!("{version}, commit {}", commit.trim()),
        None => version.into(),
    }
}

/// The turn of what belongs to no gate.
fn turn_beside(prepared: &Prepared, name: &str) -> Result<Turn> {
    let program = prepared.programs().into_iter().next();
    Ok(Turn {
        name: name.into(),
        gate: name.into(),
        module: None,
        program: program.context("there is no program")?,
    })
}
