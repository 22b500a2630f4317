// SPDX-License-Identifier: MIT OR Apache-2.0

//! What came of an attack. The programs print these as JSON, one [`Attacked`] a line; the guest hands them on.

use serde::{Deserialize, Serialize};

/// One line of a program that attacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attacked {
    /// How far it is, and what has come of it so far.
    At(Attack),
    /// It is over.
    Done(Attack),
}

/// What came of attacking one gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// The gate.
    pub gate: String,
    /// For how many seconds.
    pub seconds: f64,
    /// How many programs were carried out: sequences of calls, each with nothing open at its beginning.
    pub programs: u64,
    /// How many calls these made.
    pub calls: u64,
    /// How many of them the kernel refused.
    pub refused: u64,
    /// How many programs are kept, as each reached something that those before had not.
    pub kept: u64,
    /// How much of the module was reached. `None` where nothing tells.
    pub reached: Option<Reached>,
    /// What should not be.
    pub findings: Vec<Finding>,
}

/// How many of a module's instrumented places were reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Of the gate's own code.
    pub gate: Share,
    /// Of callgate's kernel library, as far as it is in the module.
    pub library: Share,
    /// Of everything else: the `kernel` crate, and what the compiler made.
    pub others: Share,
    /// The functions of the first two of which nothing was reached.
    pub missed: Vec<String>,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Reached.
    pub reached: u64,
    /// In all.
    pub of: u64,
}

/// Something that should not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// By which program, in hexadecimal digits.
    pub program: String,
}
