// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate choose`: the HOWTO's question, which of all these one should use.

mod answer;
mod ask;
mod price;

use crate::Usage;
use crate::facts::{Direction, Facts, What};
use crate::show::{BAD, DIM, TITLE, grouped};
use answer::{Answer, Blame, Fitting, Reason, percent};
use anyhow::Result;
use clap::Args;
use lab::Lab;
use lab::verdict::Outcome;
use price::{Basis, CORE, Costs, Price, SIZE};
use serde::Serialize;
use serde_json::json;
use std::fmt::Write as _;

/// How long lines are at most.
const COLUMNS: usize = 100;

/// What somebody wishes for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize)]
pub struct Wishes {
    /// What crosses the boundary.
    #[arg(long, value_enum)]
    what: Option<What>,
    /// Which way.
    #[arg(long, value_enum)]
    direction: Option<Direction>,
    /// How many bytes are in a message, such as `64` or `4K`.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    size: Option<u64>,
    /// How many messages there are in a second, such as `100` or `1M`.
    #[arg(long, value_name = "PER_SECOND", value_parser = per_second)]
    rate: Option<u64>,
    /// The program must be told when there is something for it.
    #[arg(long)]
    notify: bool,
    /// A script must be able to use it, by cat(1) and echo(1).
    #[arg(long)]
    scriptable: bool,
    /// A program without privileges must be able to use it.
    #[arg(long)]
    unprivileged: bool,
}

fn bytes(text: &str) -> Result<u64, String> {
    number(text, 1024)
}

fn per_second(text: &str) -> Result<u64, String> {
    number(text, 1000)
}

/// A number that may end in `K`, `M` or `G`.
fn number(text: &str, kilo: u64) -> Result<u64, String> {
    let units = [("K", kilo), ("M", kilo.pow(2)), ("G", kilo.pow(3))];
    let unit = units.into_iter().find_map(|(letter, unit)| {
        let upper = text.strip_suffix(letter);
        let digits = upper.or_else(|| text.strip_suffix(&letter.to_lowercase()))?;
        Some((digits, unit))
    });
    let (digits, unit) = unit.unwrap_or((text, 1));
    let number: Option<u64> = digits.parse().ok();
    let number = number.and_then(|number| number.checked_mul(unit));
    number
        .filter(|&number| number > 0)
        .ok_or_else(|| "this takes a number above 0, which may end in K, M or G".into())
}

/// Answers, after it has asked if nothing was said.
pub fn run(lab: &Lab, mut wishes: Wishes, json: bool) -> Result<Outcome> {
    if wishes == Wishes::default() {
        wishes = ask::wishes()?;
    }
    if wishes.notify && wishes.direction == Some(Direction::ToKernel) {
        let why = "--notify is about what comes from the kernel: --direction from-kernel, or both";
        return Err(Usage(why.into()).into());
    }
    let mut gates = Vec::new();
    for gate in lab::gates::find(&lab.source)? {
        let facts = Facts::of(&lab.source, &gate)?;
        gates.push((gate, facts));
    }
    let costs = Costs::read(&lab.source, &lab.output)?;
    let answer = answer::answer(&gates, &costs, &wishes);
    if json {
        let all = json!({
            "wishes": wishes,
            "assumed": {
                "size": wishes.size.unwrap_or(SIZE),
                "instructions_of_a_core_in_a_second": CORE,
            },
            "counted": costs.about,
            "answer": answer,
        });
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        print(&answer, &costs, &wishes);
    }
    Ok(if answer.fitting.is_empty() {
        Outcome::Failed("no gate has all that".into())
    } else {
        Outcome::Passed
    })
}

impl Wishes {
    /// Which way it crosses, if that is said, or goes without saying: a command has an answer, and a list and an event
    /// are the kernel's.
    fn way(&self) -> Option<Direction> {
        let goes_without_saying = match self.what {
            Some(What::Command) => Some(Direction::Both),
            Some(What::List | What::Event) => Some(Direction::FromKernel),
            _ => None,
        };
        self.direction.or(goes_without_saying)
    }

    /// In words.
    fn describe(&self) -> String {
        let mut words = vec![self.what.map_or("Whatever it is".into(), What::describe)];
        words.extend(self.direction.map(|direction| {
            match direction {
                Direction::ToKernel => "to the kernel",
                Direction::FromKernel => "from the kernel",
                Direction::Both => "both ways",
            }
            .to_owned()
        }));
        words.extend(self.size.map(|size| format!("{} bytes", grouped(size))));
        words.extend(self.rate.map(|rate| format!("{} a second", grouped(rate))));
        let also = [
            (self.notify, "the program is told"),
            (self.scriptable, "a script can use it"),
            (self.unprivileged, "without privileges"),
        ];
        words.extend(
            also.into_iter()
                .filter(|(wished, _)| *wished)
                .map(|(_, it)| it.to_owned()),
        );
        words.join(" · ")
    }

    /// As arguments.
    fn arguments(&self) -> String {
        use clap::ValueEnum as _;
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned())
        };
        let valued = [
            (
                "what",
                name(self.what.and_then(|what| what.to_possible_value())),
            ),
            (
                "direction",
                name(
                    self.direction
                        .and_then(|direction| direction.to_possible_value()),
                ),
            ),
            ("size", self.size.map(|size| size.to_string())),
            ("rate", self.rate.map(|rate| rate.to_string())),
        ];
        let flags = [
            ("notify", self.notify),
            ("scriptable", self.scriptable),
            ("unprivileged", self.unprivileged),
        ];
        let valued = valued
            .into_iter()
            .filter_map(|(flag, value)| Some(format!(" --{flag} {}", value?)));
        let flags = flags
            .into_iter()
            .filter(|(_, wished)| *wished)
            .map(|(flag, _)| format!(" --{flag}"));
        valued.chain(flags).collect()
    }
}

fn print(answer: &Answer<'_>, costs: &Costs, wishes: &Wishes) {
    let all = answer.fitting.iter().map(|one| one.gate);
    let all = all.chain(answer.excluded.iter().map(|one| one.gate));
    let width = all.map(str::len).max().unwrap_or_default();
    anstream::println!("{TITLE}{}{TITLE:#}\n", wishes.describe());
    for (place, one) in answer.fitting.iter().enumerate() {
        let number = place + 1;
        let Fitting { gate, facts, .. } = one;
        anstream::println!("{number:2} {TITLE}{gate:width$}{TITLE:#}  {}", price(one));
        let wakes = match &*facts.wakes {
            "no" => "wakes nobody".into(),
            by => format!("wakes by: {by}"),
        };
        let lines = [
            one.only_if.clone(),
            Some(facts.policy.clone()),
            Some(format!("who: {} · {wakes} · {}", facts.who, facts.much)),
            Some(format!("{} · {}", facts.clients, facts.lasts)),
            Some(one.chapter.clone()),
        ];
        for text in lines.into_iter().flatten() {
            for line in wrapped(&text, COLUMNS - width) {
                anstream::println!("   {:width$}  {DIM}{line}{DIM:#}", "");
            }
        }
    }
    if let [worst, ..] = &answer.blame[..] {
        anstream::println!(
            "{BAD}Nothing has all that.{BAD:#} {}",
            blame(worst, &answer.blame)
        );
    }
    if !answer.excluded.is_empty() {
        anstream::println!("\n{TITLE}Not these{TITLE:#}\n");
    }
    for one in &answer.excluded {
        let reasons: Vec<_> = one
            .reasons
            .iter()
            .map(|Reason { why, .. }| &**why)
            .collect();
        let mut name = one.gate;
        for line in wrapped(&reasons.join("; "), COLUMNS - width) {
            anstream::println!("   {name:width$}  {DIM}{line}{DIM:#}");
            name = "";
        }
    }
    let mut about = format!(
        "Instructions are those of the program and the kernel together, counted exactly. A core is taken to carry \
         out {} of them in a second. How long one takes differs up to fourfold between gates: `callgate bench` takes \
         the times as well.",
        grouped(CORE)
    );
    if wishes.size.is_none() {
        let _ = write!(about, " A message is taken to have {SIZE} bytes.");
    }
    anstream::println!();
    for text in [&about].into_iter().chain(&costs.about) {
        for line in wrapped(text, COLUMNS) {
            anstream::println!("{DIM}{line}{DIM:#}");
        }
    }
}

/// Lines of at most so many characters, if there are no longer words.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What the gate costs, in words.
fn price(one: &Fitting<'_>) -> String {
    let Some(price) = &one.price else {
        return "not measured".into();
    };
    let Price {
        operations,
        instructions,
        calls,
        basis,
        here,
    } = price;
    let mut text = format!("{} instructions", grouped(*instructions));
    if let Some(share) = one.share_of_a_core {
        let _ = write!(text, ", {} of a core", percent(share));
    }
    let calls = match calls {
        0 => "no system call".into(),
        1 => "1 system call".into(),
        calls => format!("{calls} system calls"),
    };
    let _ = write!(text, " {DIM}({}, {calls}", operations.join(" + "));
    text.push_str(match basis {
        Basis::Measured => "",
        Basis::Between => ", between measured sizes",
        Basis::Below => ", measured with more bytes",
        Basis::Beyond => ", beyond measured sizes",
        Basis::Another => ", measured with another size",
    });
    let here = if *here { ", here" } else { "" };
    let _ = write!(text, "{here}){DIM:#}");
    text
}

/// Who is to blame that nothing is left, in words.
fn blame(worst: &Blame<'_>, all: &[Blame<'_>]) -> String {
    let mut text = format!(
        "What excludes most is {}: {} gates.",
        worst.wish.flag(),
        worst.excludes
    );
    let mut helps = false;
    for one in all.iter().filter(|one| !one.without.is_empty()) {
        let _ = write!(
            text,
            " Without {}: {}.",
            one.wish.flag(),
            one.without.join(", ")
        );
        helps = true;
    }
    if !helps {
        text.push_str(" Nothing would fit without any one wish either.");
    }
    text
}

#[cfg(test)]
mod tests;
