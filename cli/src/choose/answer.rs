// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which gates fit, the best first, and why the others do not.

use super::Wishes;
use super::price::{CORE, Costs, Price};
use crate::facts::{Direction, Facts, Most};
use crate::show::grouped;
use lab::gates::Gate;
use serde::Serialize;
use std::cmp::Ordering;

/// Below this share of a core, nobody needs a cheaper gate.
const CHEAP: f64 = 0.01;

/// What is to be said.
#[derive(Debug, Serialize)]
pub struct Answer<'a> {
    /// The gates that fit, the best first.
    pub fitting: Vec<Fitting<'a>>,
    /// All others.
    pub excluded: Vec<Excluded<'a>>,
    /// If none fits: what each wish is to blame for, the worst first.
    pub blame: Vec<Blame<'a>>,
}

/// A gate that fits.
#[derive(Debug, Serialize)]
pub struct Fitting<'a> {
    /// Its name.
    pub gate: &'a str,
    /// Where to read on.
    pub chapter: String,
    /// What a message costs; `None` if that was not measured.
    pub price: Option<Price>,
    /// How much of a core all messages take.
    pub share_of_a_core: Option<f64>,
    /// Why it comes after others, whatever it costs.
    pub only_if: Option<String>,
    /// What it can do.
    pub facts: &'a Facts,
}

/// A gate that does not fit.
#[derive(Debug, Serialize)]
pub struct Excluded<'a> {
    /// Its name.
    pub gate: &'a str,
    /// Where to read on.
    pub chapter: String,
    /// Why it does not.
    pub reasons: Vec<Reason>,
}

/// Why a gate does not fit.
#[derive(Debug, Serialize)]
pub struct Reason {
    /// By which wish.
    pub wish: Wish,
    /// In words.
    pub why: String,
}

/// Something that can be wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// `--what`, also where it was not said.
    What,
    /// `--direction`.
    Direction,
    /// `--size`.
    Size,
    /// `--rate`.
    Rate,
    /// `--notify`.
    Notify,
    /// `--scriptable`.
    Scriptable,
    /// `--unprivileged`.
    Unprivileged,
}

/// What a wish is to blame for.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Blame<'a> {
    /// The wish.
    pub wish: Wish,
    /// How many gates it excludes.
    pub excludes: usize,
    /// What would fit without it.
    pub without: Vec<&'a str>,
}

impl Wish {
    const ALL: [Self; 7] = [
        Self::What,
        Self::Direction,
        Self::Size,
        Self::Rate,
        Self::Notify,
        Self::Scriptable,
        Self::Unprivileged,
    ];

    /// How it is said.
    pub fn flag(self) -> &'static str {
        match self {
            Self::What => "--what",
            Self::Direction => "--direction",
            Self::Size => "--size",
            Self::Rate => "--rate",
            Self::Notify => "--notify",
            Self::Scriptable => "--scriptable",
            Self::Unprivileged => "--unprivileged",
        }
    }

    /// All wishes but this one; `None` if it was not among them.
    fn taken_from(self, wishes: &Wishes) -> Option<Wishes> {
        let mut others = wishes.clone();
        match self {
            Self::What => others.what = None,
            Self::Direction => others.direction = None,
            Self::Size => others.size = None,
            Self::Rate => others.rate = None,
            Self::Notify => others.notify = false,
            Self::Scriptable => others.scriptable = false,
            Self::Unprivileged => others.unprivileged = false,
        }
        (others != *wishes).then_some(others)
    }
}

/// Answers.
pub fn answer<'a>(gates: &'a [(Gate, Facts)], costs: &Costs, wishes: &Wishes) -> Answer<'a> {
    let (fitting, excluded) = sort(gates, costs, wishes);
    let blame = if fitting.is_empty() {
        blame(gates, costs, wishes, &excluded)
    } else {
        Vec::new()
    };
    Answer {
        fitting,
        excluded,
        blame,
    }
}

/// Tells those that fit from the others.
fn sort<'a>(
    gates: &'a [(Gate, Facts)],
    costs: &Costs,
    wishes: &Wishes,
) -> (Vec<Fitting<'a>>, Vec<Excluded<'a>>) {
    let (mut fitting, mut excluded) = (Vec::new(), Vec::new());
    for (gate, facts) in gates {
        let price = costs.price(&gate.name, facts, wishes);
        let share = wishes.rate.zip(price.as_ref());
        let share = share.map(|(rate, price)| price.share_of_a_core(rate));
        let mut reasons = reasons(facts, wishes);
        // Else what it costs is of no account.
        if reasons.is_empty()
            && let (Some(rate), Some(price), Some(share)) = (wishes.rate, &price, share)
            && share > 1.0
        {
            let each = grouped(price.instructions);
            let share = percent(share);
            let why = format!(
                "{each} instructions each are {share} of a core at {}/s",
                grouped(rate)
            );
            reasons.push(Reason {
                wish: Wish::Rate,
                why,
            });
        }
        let gate_name = gate.name.as_str();
        let chapter = format!("{}/README.md", gate.folder);
        if reasons.is_empty() {
            fitting.push(Fitting {
                gate: gate_name,
                chapter,
                price,
                share_of_a_core: share,
                only_if: None,
                facts,
            });
        } else {
            excluded.push(Excluded {
                gate: gate_name,
                chapter,
                reasons,
            });
        }
    }
    put_behind(&mut fitting, &mut excluded, wishes);
    fitting.sort_by(Fitting::by_cost);
    (fitting, excluded)
}

/// What is for when simpler ways cost too much comes after those, or is out if one of them does not.
fn put_behind<'a>(
    fitting: &mut Vec<Fitting<'a>>,
    excluded: &mut Vec<Excluded<'a>>,
    wishes: &Wishes,
) {
    let simple = fitting.iter().filter(|one| !one.is_when_busy(wishes));
    let Some(simple) = simple.min_by(|one, other| one.by_cost(other)) else {
        return;
    };
    let (name, price) = (simple.gate, simple.price.clone());
    let simple_costs = price.as_ref().map(|price| price.instructions);
    let (out, why) = match (&price, simple.share_of_a_core) {
        (_, Some(share)) if share > CHEAP => return,
        (_, Some(share)) => {
            let share = percent(share);
            (
                true,
                format!("{name} is simpler, and takes {share} of a core"),
            )
        }
        (Some(price), None) => {
            let rate = rounded(CHEAP * CORE / price.instructions);
            let why = format!(
                "when {name}, which is simpler, costs too much: from {rate}/s on, that takes {} of a core",
                percent(CHEAP)
            );
            (false, why)
        }
        (None, None) => (
            false,
            format!("when {name}, which is simpler, costs too much"),
        ),
    };
    let (behind, ahead) = std::mem::take(fitting)
        .into_iter()
        .partition(|one| one.is_when_busy(wishes));
    *fitting = ahead;
    for one in behind {
        if out {
            excluded.push(Excluded {
                gate: one.gate,
                chapter: one.chapter,
                reasons: vec![Reason {
                    wish: Wish::Rate,
                    why: why.clone(),
                }],
            });
        } else {
            let is_less = |own: &Price| simple_costs.is_none_or(|other| own.instructions < other);
            let only_if = if one.price.as_ref().is_some_and(is_less) {
                why.clone()
            } else {
                format!("for many at a time: one by one, {name} takes less, and is simpler")
            };
            fitting.push(Fitting {
                only_if: Some(only_if),
                ..one
            });
        }
    }
}

impl Fitting<'_> {
    /// Whether it is taken for this only where simpler ways cost too much.
    fn is_when_busy(&self, wishes: &Wishes) -> bool {
        match wishes.what {
            Some(what) => self.facts.when_busy.contains(&what),
            None => self.facts.r#for.is_empty(),
        }
    }

    /// The fewer instructions, the better; what was not measured comes after what was.
    fn by_cost(&self, other: &Self) -> Ordering {
        let key = |one: &Self| {
            let cost = one
                .price
                .as_ref()
                .map_or(f64::INFINITY, |price| price.instructions);
            (one.only_if.is_some(), cost)
        };
        let ((behind, cost), (other_behind, other_cost)) = (key(self), key(other));
        behind.cmp(&other_behind).then(cost.total_cmp(&other_cost))
    }
}

impl Price {
    /// How much of a core so many messages a second take.
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    fn share_of_a_core(&self, rate: u64) -> f64 {
        self.instructions * rate as f64 / CORE
    }
}

/// What else than its costs speaks against a gate.
fn reasons(facts: &Facts, wishes: &Wishes) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut out = |wish, why: String| reasons.push(Reason { wish, why });
    let taken = match wishes.what {
        Some(what) => facts.r#for.contains(&what) || facts.when_busy.contains(&what),
        None => !facts.is_special(),
    };
    if !taken {
        out(Wish::What, facts.policy.clone());
    }
    let ways = wishes.way().map_or(&[][..], Direction::ways);
    for &way in ways {
        match (facts.most(way), way) {
            (Some(_), _) => {}
            (None, Direction::ToKernel) => {
                out(Wish::Direction, "says nothing to the kernel".into());
            }
            (None, _) => out(Wish::Direction, "says nothing to the program".into()),
        }
    }
    if let Some(size) = wishes.size {
        let room = |way: &Direction| match facts.most(*way)? {
            Most::Bytes(most) => Some(most),
            Most::Any(_) => Some(u64::MAX),
        };
        // If nobody says which way, one that has room is enough.
        let most = match wishes.way() {
            Some(_) => ways.iter().filter_map(room).min(),
            None => Direction::Both.ways().iter().filter_map(room).max(),
        };
        if let Some(most) = most.filter(|&most| most < size) {
            let why = format!("takes {} bytes at most ({})", grouped(most), facts.much);
            out(Wish::Size, why);
        }
    }
    if wishes.notify && !facts.wakes() {
        out(Wish::Notify, "wakes nobody".into());
    }
    if wishes.scriptable && !facts.scriptable {
        let why = "needs a program: cat(1) and echo(1) cannot use it";
        out(Wish::Scriptable, why.into());
    }
    if wishes.unprivileged {
        let can = |way: &Direction| facts.unprivileged.contains(way);
        let why = if facts.unprivileged.is_empty() {
            Some(format!("takes privileges ({})", facts.who))
        } else if !ways.iter().all(can) {
            Some(format!("takes privileges to be written ({})", facts.who))
        } else {
            None
        };
        if let Some(why) = why {
            out(Wish::Unprivileged, why);
        }
    }
    reasons
}

/// What each wish is to blame for, if nothing fits: first the one that excludes most.
fn blame<'a>(
    gates: &'a [(Gate, Facts)],
    costs: &Costs,
    wishes: &Wishes,
    excluded: &[Excluded<'_>],
) -> Vec<Blame<'a>> {
    let of = |wish: Wish| {
        let others = wish.taken_from(wishes)?;
        let by_it = |one: &&Excluded<'_>| one.reasons.iter().any(|reason| reason.wish == wish);
        let (fitting, _) = sort(gates, costs, &others);
        Some(Blame {
            wish,
            excludes: excluded.iter().filter(by_it).count(),
            without: fitting.iter().map(|one| one.gate).collect(),
        })
    };
    let mut blame: Vec<_> = Wish::ALL.into_iter().filter_map(of).collect();
    blame.sort_by_key(|blame| std::cmp::Reverse(blame.excludes));
    blame
}

/// A share in words.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        ..0.1 => "less than 0.1 %".into(),
        0.1..10.0 => format!("{percent:.1} %"),
        _ => format!("{} %", grouped(percent)),
    }
}

/// A number of which only the size matters.
fn rounded(number: f64) -> String {
    let unit = 10_f64.powf(number.max(1.0).log10().floor());
    grouped((number / unit).round() * unit)
}
