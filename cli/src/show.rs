// SPDX-License-Identifier: MIT OR Apache-2.0

//! What all commands print alike.

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use lab::gates::Gate;
use lab::run::Boot;
use lab::splat::Splat;
use lab::verdict::Outcome;
use serde_json::{Value, json};

/// Something good.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something bad.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// A title.
pub const TITLE: Style = Style::new().bold();
/// Something that may be overlooked.
pub const DIM: Style = Style::new().dimmed();

/// The check mark or the cross.
pub fn mark(good: bool) -> String {
    if good {
        format!("{GOOD}✔{GOOD:#}")
    } else {
        format!("{BAD}✘{BAD:#}")
    }
}

/// Prints the list of gates.
pub fn gates(gates: &[Gate], json: bool) -> Result<()> {
    if json {
        let list: Vec<_> = gates
            .iter()
            .map(|gate| json!({ "gate": gate.name, "title": gate.title }))
            .collect();
        println!("{}", serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    let width = gates
        .iter()
        .map(|gate| gate.name.len())
        .max()
        .unwrap_or_default();
    for Gate { name, title, .. } in gates {
        anstream::println!("{TITLE}{name:width$}{TITLE:#}  {title}");
    }
    Ok(())
}

/// Tells on stderr what went wrong in a boot, with the kernel's own words.
pub fn complaints(boot: &Boot) {
    for Splat {
        during,
        title,
        report,
    } in &boot.splats
    {
        anstream::eprintln!(
            "{BAD}the kernel complained{BAD:#} during {TITLE}{during}{TITLE:#}: {title}"
        );
        for line in report {
            anstream::eprintln!("  {DIM}│{DIM:#} {line}");
        }
    }
    match &boot.outcome {
        Outcome::Passed => {}
        Outcome::Panicked => anstream::eprintln!("{BAD}kernel panic{BAD:#}"),
        Outcome::Complained => {
            let title = boot.splats.first().map_or("", |splat| &splat.title);
            anstream::eprintln!("{BAD}kernel log not clean{BAD:#}: {title}");
        }
        Outcome::TimedOut(why) => anstream::eprintln!("{BAD}time ran out{BAD:#}: {why}"),
        Outcome::Failed(why) => anstream::eprintln!("{BAD}failed{BAD:#}: {why}"),
    }
}

/// An outcome in a word, for machines.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed(_) => "failed",
        Outcome::Complained => "kernel complained",
        Outcome::Panicked => "kernel panic",
        Outcome::TimedOut(_) => "time ran out",
    }
}

/// What came of a boot, for machines.
pub fn boot_json(boot: &Boot) -> Value {
    let why = match &boot.outcome {
        Outcome::Failed(why) | Outcome::TimedOut(why) => Some(why),
        _ => None,
    };
    let splats: Vec<_> = boot
        .splats
        .iter()
        .map(
            |splat| json!({ "during": splat.during, "title": splat.title, "report": splat.report }),
        )
        .collect();
    json!({
        "outcome": word(&boot.outcome),
        "why": why,
        "exit_status": boot.outcome.exit_status(),
        "splats": splats,
        "seconds": boot.took.as_secs_f64(),
        "boot_seconds": boot.booted_in.map(|time| time.as_secs_f64()),
    })
}

/// A whole number, in groups of three digits.
pub fn grouped(number: impl Into<Number>) -> String {
    let digits = number.into().0;
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The digits of what is a whole number, or is made one.
pub struct Number(String);

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self(format!("{:.0}", number.abs()))
    }
}
