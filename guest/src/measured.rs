// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is measured in the guest: how long operations take. All times are in nanoseconds.
//!
//! The programs print these as JSON, one [`Measured`] a line; the guest hands them on as they are.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line of a program that takes times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// So many seconds are over, of about so many.
    At {
        /// Over.
        seconds: f64,
        /// In all.
        of: f64,
    },
    /// Reading the clock takes so long; it is part of each operation's time.
    Clock {
        /// The median.
        nanoseconds: u64,
    },
    /// How long an operation takes.
    Time(Time),
    /// What becomes of it when several clients do it at once.
    Clients(Clients),
    /// What becomes of many events.
    Stream(Stream),
    /// What becomes of events that nobody reads.
    Room(Room),
    /// Something that could not be measured.
    LeftOut(LeftOut),
}

/// A value that was found once in each round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// In the middle.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// That of these values; all zero if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let half = values.len() / 2;
        Self {
            median: f64::midpoint(values[half], values[(values.len() - 1) / 2]),
            least,
            most,
        }
    }
}

/// How long many operations took, each by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many there were.
    pub samples: u64,
    /// The mean.
    pub mean: f64,
    /// Half of them took at most so long,
    pub p50: u64,
    /// nine of ten,
    pub p90: u64,
    /// 99 of 100,
    pub p99: u64,
    /// 999 of 1000,
    pub p999: u64,
    /// and all of them.
    pub max: u64,
    /// The whole distribution: this share of them took at most so long. Both only grow, and the last share is 1.
    /// The closer to 1, the closer are the points.
    pub curve: Vec<(f64, u64)>,
}

/// How long an operation takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// The gate that it is one of; `floor` for what belongs to none.
    pub gate: String,
    /// What it is for: `round-trip`, `to-kernel`, `to-program` or `notify`.
    pub work: String,
    /// What it is called.
    pub operation: String,
    /// How many bytes it moves; those of a round trip count once.
    pub bytes: u64,
    /// How many were done in a second, one right after the other. A notification is told when the one before has
    /// been heard.
    pub rate: Spread,
    /// The median of each round's latencies,
    pub p50: Spread,
    /// and what 99 of 100 stayed below.
    pub p99: Spread,
    /// How long each took, of all rounds. That of a notification is from before it was told to when it was
    /// heard.
    pub latency: Latency,
    /// The CPU time of an operation, the kernel's part for the thread included, of all its threads.
    pub cpu: Spread,
    /// How often a thread went to sleep, for an operation: as often it had to be woken.
    pub sleeps: f64,
    /// When they were to begin at fixed moments. `None` for a notification.
    pub open: Option<Open>,
}

impl Time {
    /// How many bytes were moved in a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
    pub fn bytes_per_second(&self) -> f64 {
        self.rate.median * self.bytes as f64
    }
}

/// Operations that were to begin at fixed moments, whether or not the one before was done by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// How many in a second: half as many as there is room for, with a look at the clock before and after each.
    pub rate: f64,
    /// How many could not be begun before the time was up.
    pub missed: u64,
    /// How long each took from the moment at which it was to begin.
    pub latency: Latency,
}

/// What becomes of an operation when several clients do it at once, each in a thread of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clients {
    /// The gate.
    pub gate: String,
    /// What the operation is called. It is a round trip.
    pub operation: String,
    /// How many bytes it moves.
    pub bytes: u64,
    /// How many clients there are.
    pub clients: u32,
    /// How many operations all of them do in a second, with a look at the clock before and after each.
    pub rate: Spread,
    /// How long each operation took, of all clients and rounds.
    pub latency: Latency,
}

/// What becomes of many events: one thread has them produced for a while as fast as it can, another reads them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// The way that they take.
    pub peer: String,
    /// How many bytes an event has.
    pub bytes: u64,
    /// What the reader does with each: so many rounds of a loop.
    pub work: u32,
    /// How many were produced.
    pub produced: u64,
    /// How many of them arrived,
    pub arrived: u64,
    /// and how many did not.
    pub lost: u64,
    /// How many came once more. Those do not count.
    pub again: u64,
    /// How often the reader slept.
    pub sleeps: u64,
    /// How often the producer woke it. `None` where nobody counts that.
    pub wakeups: Option<u64>,
    /// How often the producer found no room. `None` where it is not told.
    pub full: Option<u64>,
    /// How many arrived in a second.
    pub rate: f64,
}

/// What becomes of events that nobody reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The way that they take.
    pub peer: String,
    /// How many bytes an event has.
    pub bytes: u64,
    /// How many there were.
    pub produced: u64,
    /// For how many of them there was room, by what the producer was told. `None` where it is told nothing.
    pub accepted: Option<u64>,
    /// How many were there when somebody read at last: the first ones.
    pub arrived: u64,
}

/// Something that could not be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The gate.
    pub gate: String,
    /// What it lacks: an operation, or `clients`.
    pub what: String,
    /// Why.
    pub why: String,
}

/// The machine on which times were taken, as its own kernel sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of its CPU.
    pub cpu: String,
    /// How many of them there are.
    pub cpus: usize,
    /// The clock that the kernel reads.
    pub clock_source: String,
    /// What the kernel does against each of the CPU's vulnerabilities, by their names.
    pub mitigations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = |median, least, most| Spread {
            median,
            least,
            most,
        };
        assert_eq!(Spread::of([3.0, 1.0, 9.0]), spread(3.0, 1.0, 9.0));
        assert_eq!(Spread::of([4.0, 1.0, 9.0, 2.0]), spread(3.0, 1.0, 9.0));
        assert_eq!(Spread::of([7.0]), spread(7.0, 7.0, 7.0));
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn what_a_producer_does_not_know_may_be_left_out() {
        let line = r#"{"stream":{"peer":"relay","bytes":16,"work":0,"produced":9,"arrived":7,"lost":2,
            "again":0,"sleeps":1,"wakeups":null,"full":null,"rate":70.0}}"#;
        let Measured::Stream(stream) = serde_json::from_str(line).unwrap() else {
            panic!("{line}");
        };
        assert_eq!((stream.lost, stream.wakeups, stream.full), (2, None, None));
        let line = r#"{"room":{"peer":"ring","bytes":16,"produced":9,"accepted":7,"arrived":7}}"#;
        let said = serde_json::from_str::<Measured>(line).unwrap();
        assert_eq!(serde_json::to_string(&said).unwrap(), line);
    }
}
