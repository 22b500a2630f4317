// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the parameter gate agree on.

// new: begin
use core::{
    fmt,
    num::{IntErrorKind, ParseIntError},
    str::FromStr,
};

/// How many numbers `list` has at most.
pub const LIST_MAX: usize = 8;

// new: end
/// How many strings `names` has at most.
pub const NAMES_MAX: usize = 4;

/// How long the hook of `pause` sleeps at most, in milliseconds.
pub const PAUSE_MAX: u16 = 1000;

// new: begin
/// The values that `value` may have: from the lowest to the highest, both included.
///
/// As text: `LOW..HIGH`, two decimal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    low: i32,
    high: i32,
}

impl Limits {
    /// Those that every value keeps.
    pub const NONE: Self = Self {
        low: i32::MIN,
        high: i32::MAX,
    };

    /// Whether `value` keeps them.
    pub const fn allow(self, value: i32) -> bool {
        self.low <= value && value <= self.high
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.low, self.high)
    }
}

/// Why a text has no limits in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLimits {
    /// It is not of the form `LOW..HIGH`, or no value would keep them.
    Invalid,
    /// A number is larger or smaller than a value can be.
    Overflow,
}

impl From<ParseIntError> for NoLimits {
    fn from(error: ParseIntError) -> Self {
        match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Self::Overflow,
            _ => Self::Invalid,
        }
    }
}

impl FromStr for Limits {
    type Err = NoLimits;

    fn from_str(text: &str) -> Result<Self, NoLimits> {
        let (low, high) = text.split_once("..").ok_or(NoLimits::Invalid)?;
        let (low, high) = (low.parse()?, high.parse()?);
        if low > high {
            return Err(NoLimits::Invalid);
        }
        Ok(Self { low, high })
    }
}
// new: end
