// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate doctor`: what this machine lacks.

use crate::show::{self, BAD, DIM, TITLE};
use anyhow::Result;
use lab::doctor::{self, Finding, Needs, Remedy, State};
use lab::verdict::Outcome;
use serde_json::json;

/// Something is missing, and the user has been told. Exit status 3.
#[derive(Debug)]
pub struct Told;

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("something is missing on this machine")
    }
}

impl std::error::Error for Told {}

/// Looks at the machine, and installs what is missing if asked to.
pub fn run(install: bool, json: bool) -> Result<Outcome> {
    if install {
        doctor::ensure(Needs::ALL)?;
    }
    let findings = doctor::check(Needs::ALL)?;
    let missing: Vec<_> = findings.iter().filter(|finding| !finding.is_ok()).collect();
    if json {
        print_json(&findings, &missing)?;
    } else {
        print(&findings);
    }
    if missing.is_empty() {
        return Ok(Outcome::Passed);
    }
    if !json {
        let packages = missing
            .iter()
            .any(|finding| matches!(finding.remedy, Remedy::Packages(_)));
        let by_itself = if packages {
            " (`cargo callgate doctor --install` does the packages)"
        } else {
            ""
        };
        let command = doctor::install_command(&findings);
        anstream::eprintln!("\nto install what is missing{by_itself}:\n  {command}");
    }
    Err(Told.into())
}

fn print(findings: &[Finding]) {
    let names = findings
        .iter()
        .map(|finding| finding.name.chars().count())
        .max()
        .unwrap_or(0);
    for Finding {
        name, why, state, ..
    } in findings
    {
        let (mark, style) = match state {
            State::Ok { .. } => (show::mark(true), DIM),
            _ => (show::mark(false), BAD),
        };
        let state = state.to_string();
        anstream::println!(
            "{mark} {TITLE}{name:names$}{TITLE:#}  {style}{state:9}{style:#}  {DIM}{why}{DIM:#}"
        );
    }
}

fn print_json(findings: &[Finding], missing: &[&Finding]) -> Result<()> {
    let (mut packages, mut by_hand) = (Vec::new(), Vec::new());
    for finding in missing {
        match &finding.remedy {
            Remedy::Packages(names) => packages.extend(names),
            Remedy::Command(command) => by_hand.push(command),
        }
    }
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "name": finding.name,
                "why": finding.why,
                "ok": finding.is_ok(),
                "state": finding.state.to_string(),
            })
        })
        .collect();
    let report = json!({
        "findings": findings,
        "install": { "debian_packages": packages, "by_hand": by_hand },
    });
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
