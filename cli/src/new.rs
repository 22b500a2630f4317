// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate new` and `callgate update`: a project of the user's own.

use crate::Usage;
use crate::facts::Facts;
use crate::show::{DIM, TITLE};
use anyhow::Result;
use lab::project::Project;
use lab::scaffold::{self, Order, Refused};
use lab::verdict::Outcome;
use std::path::Path;

/// Makes a project, or explains what it can be made of.
pub fn run(
    source: &Path,
    folder: Option<&Path>,
    gates: &[String],
    minimal: bool,
    list: bool,
) -> Result<Outcome> {
    let Some(folder) = folder.filter(|_| !list) else {
        return explain(source);
    };
    let gates: Vec<_> = gates.iter().map(|gate| gate.trim().to_owned()).collect();
    let order = Order {
        folder,
        gates: &gates,
        minimal,
    };
    let made = scaffold::create(source, &order).map_err(usage)?;
    println!("{}", made.display());
    let folder = folder.display();
    let next = if minimal { "demo" } else { "test" };
    anstream::eprintln!(
        "{DIM}next: cd {folder} && callgate {next}; README.md says what to change first{DIM:#}"
    );
    Ok(Outcome::Passed)
}

/// Brings the library in a project up to date.
pub fn update(source: &Path, project: &Project) -> Result<Outcome> {
    if project.root == source {
        let why = "this is callgate itself: `update` is for a project that `callgate new` made";
        return Err(Usage(why.into()).into());
    }
    let updated = scaffold::update(source, &project.root).map_err(usage)?;
    for path in &updated {
        println!("{path}");
    }
    if updated.is_empty() {
        anstream::eprintln!("{DIM}it is up to date{DIM:#}");
    }
    Ok(Outcome::Passed)
}

/// Whoever asks for what cannot be had has used the command wrongly.
fn usage(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Refused>() {
        Ok(refused) => Usage(refused.to_string()).into(),
        Err(error) => error,
    }
}

/// Prints what each gate that a module can have is, a line each.
fn explain(source: &Path) -> Result<Outcome> {
    for gate in lab::gates::find(source)? {
        if gate.module.is_none() {
            continue;
        }
        let facts = Facts::of(source, &gate)?;
        let [what, direction, much, wakes, who] = facts.columns();
        anstream::println!(
            "{TITLE}{:10}{TITLE:#} {what}{DIM} · {direction} · {much} · wakes: {wakes} · {who}{DIM:#}",
            gate.name
        );
    }
    Ok(Outcome::Passed)
}
