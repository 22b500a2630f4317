// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate doctor`: what this machine lacks.

use crate::show::{self, BAD, DIM, TITLE};
use anyhow::Result;
use lab::doctor::{self, Needs, State};
use lab::verdict::Outcome;
use serde_json::json;

/// Looks at the machine, and installs what is missing if asked to.
pub fn run(install: bool, json: bool) -> Result<Outcome> {
    if install {
        doctor::ensure(Needs::ALL)?;
    }
    let findings = doctor::check(Needs::ALL);
    let missing = findings.iter().any(|finding| !finding.is_ok());
    let command = missing.then(|| doctor::install_command(&findings));
    if json {
        let list: Vec<_> = findings
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
        let report = json!({ "findings": list, "install": command });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for finding in &findings {
            let mark = show::mark(finding.is_ok());
            let state = match finding.state {
                State::Ok { .. } => finding.state.to_string(),
                _ => format!("{BAD}{}{BAD:#}", finding.state),
            };
            anstream::println!(
                "{mark} {TITLE}{}{TITLE:#} {state} {DIM}{}{DIM:#}",
                finding.name,
                finding.why
            );
        }
        if let Some(command) = &command {
            anstream::println!(
                "\nTo install what is missing, run `callgate doctor --install`, or:\n  {command}"
            );
        }
    }
    if missing {
        let findings = findings
            .into_iter()
            .filter(|finding| !finding.is_ok())
            .collect();
        let reason = "some of it must be installed by hand".into();
        return Err(doctor::Missing {
            findings,
            command: command.unwrap_or_default(),
            reason,
        }
        .into());
    }
    Ok(Outcome::Passed)
}
