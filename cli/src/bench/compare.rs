// SPDX-License-Identifier: MIT OR Apache-2.0

//! What has changed since an earlier run, beyond what changes by itself.

use super::quantity::{amount, nanoseconds};
use super::results::{About, Cost, Results, Spread, Time};

/// By how much a count may grow before it counts as worse: a compiler's mood.
const TOLERATED: (f64, u64) = (0.005, 3);

/// What costs more instructions than it did, a line each; or why that cannot be said.
pub fn costs(old: &Results, new: &Results) -> Result<Vec<String>, &'static str> {
    if old.about.kernel != new.about.kernel {
        return Err(
            "the older counts are of another kernel or of other compilers, and say nothing of these",
        );
    }
    let mut lines = Vec::new();
    let mut compared = false;
    for cost in &new.costs {
        let Some(before) = old.costs.iter().find(|before| before.is_of(cost)) else {
            continue;
        };
        compared = true;
        for (whose, before, now) in [
            ("program", before.program, cost.program),
            ("kernel", before.kernel, cost.kernel),
        ] {
            if now > most(before) {
                let Cost {
                    gate,
                    operation,
                    bytes,
                    ..
                } = cost;
                lines.push(format!(
                    "{gate}: {operation}, {bytes} bytes: {whose} {before} → {now}"
                ));
            }
        }
    }
    if compared {
        Ok(lines)
    } else {
        Err("the older run has none of these operations, so nothing was compared")
    }
}

/// The most that a count may be that once was this.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are small, and none is negative"
)]
fn most(before: u64) -> u64 {
    let (share, least) = TOLERATED;
    before + least.max((before as f64 * share) as u64)
}

/// Which times no round of the older run shares with any of the newer one, a line for each operation; or why
/// that cannot be said.
pub fn times(old: &Results, new: &Results) -> Result<Vec<String>, &'static str> {
    let real = |about: &About| {
        let timed = about.timed.as_ref().filter(|timed| !timed.emulated);
        timed.map(|timed| timed.host_cpu.clone())
    };
    match (real(&old.about), real(&new.about)) {
        (Some(old), Some(new)) if old == new => {}
        (Some(_), Some(_)) => return Err("the older times are another CPU's"),
        _ => return Err("times of emulated CPUs are not compared"),
    }
    let mut lines = Vec::new();
    for new in &new.times {
        let same = |old: &&Time| {
            (&old.gate, &old.operation, old.bytes) == (&new.gate, &new.operation, new.bytes)
        };
        let Some(old) = old.times.iter().find(same) else {
            continue;
        };
        let changed: Vec<_> = [
            change("a second", old.rate, new.rate, amount),
            change("p50", old.p50, new.p50, nanoseconds),
            change("p99", old.p99, new.p99, nanoseconds),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !changed.is_empty() {
            let Time {
                gate,
                operation,
                bytes,
                ..
            } = new;
            let changed = changed.join(", ");
            lines.push(format!("{gate}: {operation}, {bytes} bytes: {changed}"));
        }
    }
    Ok(lines)
}

/// What a value was and is, if the two have no round in common.
fn change(what: &str, old: Spread, new: Spread, show: fn(f64) -> String) -> Option<String> {
    let apart = new.least > old.most || new.most < old.least;
    apart.then(|| format!("{what} {} → {}", show(old.median), show(new.median)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::{Latency, Machine, SCHEMA, Timed};

    fn counts(kernel: &str, count: u64) -> Results {
        let cost = Cost {
            gate: "ioctl".into(),
            work: "round-trip".into(),
            operation: "exchange".into(),
            bytes: 204,
            calls: 1,
            program: 100,
            kernel: count,
            twin: Some(900),
        };
        Results {
            schema: SCHEMA,
            about: About {
                date: String::new(),
                callgate: String::new(),
                kernel: kernel.into(),
                config: String::new(),
                compilers: Vec::new(),
                timed: None,
            },
            costs: vec![cost],
            times: Vec::new(),
            clients: Vec::new(),
            streams: Vec::new(),
            rooms: Vec::new(),
            left_out: Vec::new(),
        }
    }

    #[test]
    fn more_than_a_little_more_is_worse() {
        let old = counts("a", 1000);
        for (count, lines) in [(900, 0), (1000, 0), (1005, 0), (1006, 1), (2000, 1)] {
            let worse = costs(&old, &counts("a", count)).unwrap();
            assert_eq!(worse.len(), lines, "{count}");
        }
        let small = counts("a", 10);
        assert_eq!(costs(&small, &counts("a", 13)).unwrap().len(), 0);
        let said = costs(&small, &counts("a", 14)).unwrap();
        assert_eq!(said, ["ioctl: exchange, 204 bytes: kernel 10 → 14"]);
    }

    #[test]
    fn counts_of_another_kernel_are_not_compared() {
        assert!(costs(&counts("a", 10), &counts("b", 20)).is_err());
    }

    fn timed(emulated: bool, cpu: &str, rates: [f64; 3]) -> Results {
        let mut results = counts("a", 1);
        results.about.timed = Some(Timed {
            accelerator: String::new(),
            emulated,
            host_cpu: cpu.into(),
            release: String::new(),
            machine: Machine {
                cpu: String::new(),
                cpus: 2,
                clock_source: String::new(),
                mitigations: [].into(),
            },
            clock: 20,
        });
        results.times = vec![Time {
            gate: "ioctl".into(),
            work: "round-trip".into(),
            operation: "exchange".into(),
            bytes: 204,
            rate: Spread::of(rates),
            p50: Spread::of(rates.map(|rate| 1e9 / rate)),
            p99: Spread::of([1000.0]),
            latency: Latency::default(),
            cpu: Spread::default(),
            sleeps: 0.0,
            open: None,
        }];
        results
    }

    #[test]
    fn only_times_that_no_round_shares_have_changed() {
        let old = timed(false, "a", [1e6, 1.1e6, 1.2e6]);
        let same = timed(false, "a", [0.8e6, 0.9e6, 1e6]);
        assert!(times(&old, &same).unwrap().is_empty());
        let slower = timed(false, "a", [4e5, 5e5, 6e5]);
        let said = times(&old, &slower).unwrap();
        let line = "ioctl: exchange, 204 bytes: a second 1.10 M → 500 k, p50 909 ns → 2.00 µs";
        assert_eq!(said, [line]);
        assert_eq!(times(&slower, &old).unwrap().len(), 1);
    }

    #[test]
    fn times_of_emulated_or_other_cpus_are_not_compared() {
        let rates = [1e6; 3];
        let real = timed(false, "a", rates);
        assert!(times(&real, &timed(true, "a", rates)).is_err());
        assert!(times(&timed(true, "a", rates), &real).is_err());
        assert!(times(&real, &timed(false, "b", rates)).is_err());
        assert!(times(&real, &counts("a", 1)).is_err());
    }
}
