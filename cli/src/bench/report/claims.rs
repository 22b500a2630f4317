// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the HOWTO says of the gates, each held against what was measured.

use super::{Bar, FAMILIES, FLOOR, TYPICAL, all, bars};
use crate::bench::quantity::{nanoseconds, size, whole};
use crate::bench::results::{Cost, Results};
use crate::show::grouped;
use serde::Serialize;
use std::fmt::Write as _;

/// How many times as much as something else "a lot" is at least.
const A_LOT: f64 = 2.0;

/// Something that the HOWTO says.
#[derive(Serialize)]
pub struct Claim {
    /// Of which gate.
    chapter: &'static str,
    /// In its own words.
    quote: &'static str,
    /// What has become of it.
    verdict: Verdict,
    /// That, in words.
    said: &'static str,
    /// By which figures.
    figure: String,
    /// The same to be seen.
    bars: Vec<Bar>,
}

/// What has become of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is so.
    Confirmed,
    /// It is so in one respect, and not in another.
    Partly,
    /// It is not so.
    Refuted,
    /// Who knows.
    NotMeasured,
}

impl Verdict {
    fn said(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Partly => "true in part",
            Self::Refuted => "refuted",
            Self::NotMeasured => "not measured",
        }
    }

    /// By whether it is so.
    fn of(is_so: bool) -> Self {
        if is_so {
            Self::Confirmed
        } else {
            Self::Refuted
        }
    }
}

/// What was found of a claim: the verdict, the figures in words, and what they are of.
type Found = (Verdict, String, Vec<Cost>);

/// All claims.
pub fn judge(results: &Results) -> Vec<Claim> {
    let costs = &results.costs;
    let judge: [(&'static str, &'static str, Option<Found>); 5] = [
        (
            "udp",
            "The use of UDP sockets for node local communication involves a lot of overhead.",
            udp(results),
        ),
        (
            "netlink",
            "less overhead … compared to standard UDP sockets",
            netlink(results),
        ),
        (
            "mmap",
            "the fastest way to handle large amounts of data",
            mmap(costs),
        ),
        (
            "sockets",
            "This is in contrast to the file system mechanisms, where the kernel can alter a file, but the user \
             program does not know of any change until it choses to access that file.",
            files(costs),
        ),
        (
            "signal",
            "real time signals are queued, whereas normal signals are not",
            None,
        ),
    ];
    let claim = |(chapter, quote, found): (_, _, Option<Found>)| {
        let (verdict, figure, evidence) = found.unwrap_or_else(|| {
            let why = match chapter {
                "signal" => {
                    "This is about what arrives, not about what it costs. The gate's tests and its program hold \
                     it: of 100 signals sent while they are blocked, one normal signal arrives, and all 100 \
                     real-time signals."
                }
                _ => "This run has not measured what it takes to tell.",
            };
            (Verdict::NotMeasured, why.into(), Vec::new())
        });
        Claim {
            chapter,
            quote,
            verdict,
            said: verdict.said(),
            figure,
            bars: bars(&evidence),
        }
    };
    judge.into_iter().map(claim).collect()
}

/// A gate's round trip of the size that is nearest to a typical one.
fn round_trip<'a>(costs: &'a [Cost], gate: &str) -> Option<&'a Cost> {
    let round_trips = costs
        .iter()
        .filter(|cost| cost.gate == gate && cost.work == "round-trip");
    // An eventfd has no payload.
    let round_trips = round_trips.filter(|cost| !cost.operation.starts_with("eventfd"));
    round_trips.min_by_key(|cost| cost.bytes.abs_diff(TYPICAL))
}

/// How many times as much one costs as another.
fn times(one: &Cost, other: &Cost) -> f64 {
    all(one) / all(other).max(1.0)
}

fn udp(results: &Results) -> Option<Found> {
    let of = |gate| round_trip(&results.costs, gate);
    let (udp, chardev) = (of("udp")?, of("chardev")?);
    let ratio = times(udp, chardev);
    let mut figure = format!(
        "A round trip of {} takes {} instructions, {ratio:.1} times those of a character device",
        size(whole(udp.bytes)),
        grouped(all(udp)),
    );
    let pipe = of(FLOOR);
    if let Some(pipe) = pipe {
        let _ = write!(
            figure,
            ", and {:.1} times those of a pipe",
            times(udp, pipe)
        );
    }
    figure.push('.');
    figure += &in_time(results, udp, chardev).unwrap_or_default();
    let evidence = [
        Some(udp),
        of("packet"),
        of("genl"),
        of("netlink"),
        Some(chardev),
        pipe,
    ];
    let evidence = evidence.into_iter().flatten().cloned().collect();
    Some((Verdict::of(ratio >= A_LOT), figure, evidence))
}

fn netlink(results: &Results) -> Option<Found> {
    let of = |gate| round_trip(&results.costs, gate);
    let (udp, netlink) = (of("udp")?, of("netlink")?);
    let share = |cost| 100.0 * times(cost, udp);
    let mut figure = format!(
        "A round trip by netlink takes {} instructions, {:.0} % of those by UDP",
        grouped(all(netlink)),
        share(netlink)
    );
    let genl = of("genl");
    if let Some(genl) = genl {
        let _ = write!(
            figure,
            "; by generic netlink, {}, {:.0} %",
            grouped(all(genl)),
            share(genl)
        );
    }
    figure.push('.');
    figure += &in_time(results, netlink, udp).unwrap_or_default();
    let less = [Some(netlink), genl]
        .into_iter()
        .flatten()
        .all(|cost| all(cost) < all(udp));
    let evidence = [Some(udp), Some(netlink), genl];
    let evidence = evidence.into_iter().flatten().cloned().collect();
    Some((Verdict::of(less), figure, evidence))
}

/// The same of the medians of times, where those mean something.
fn in_time(results: &Results, one: &Cost, other: &Cost) -> Option<String> {
    let timed = results.about.timed.as_ref()?;
    if timed.emulated {
        return None;
    }
    let median = |cost: &Cost| {
        let found = results.times.iter().find(|time| is_time_of(time, cost));
        found.map(|time| time.p50.median)
    };
    let (one, other) = (median(one)?, median(other)?);
    Some(format!(
        " In time, p50, {} against {}.",
        nanoseconds(one),
        nanoseconds(other)
    ))
}

fn is_time_of(time: &crate::bench::results::Time, cost: &Cost) -> bool {
    (&time.gate, &time.operation, time.bytes) == (&cost.gate, &cost.operation, cost.bytes)
}

/// A message that is put into a ring and taken out, against one that goes to the kernel and comes back; and what
/// each takes more when it is longer.
fn mmap(costs: &[Cost]) -> Option<Found> {
    let ends = |name: &str| of(costs, "mmap", |cost| cost.operation == name);
    let rings: Vec<Cost> = ends("produce")
        .into_iter()
        .zip(ends("consume"))
        .filter(|(produce, consume)| produce.bytes == consume.bytes)
        .map(|(produce, consume)| Cost {
            operation: "produce and consume".into(),
            calls: produce.calls + consume.calls,
            program: produce.program + consume.program,
            kernel: produce.kernel + consume.kernel,
            twin: None,
            ..produce.clone()
        })
        .collect();
    let ring = rings.last()?;
    let gates = FAMILIES.iter().flat_map(|(_, gates)| *gates);
    let others: Vec<Vec<&Cost>> = gates
        .filter(|gate| **gate != "mmap")
        .map(|gate| round_trips(costs, gate))
        .filter(|line| !line.is_empty())
        .collect();
    // No larger ones: they would flatter the ring.
    let same = |line: &Vec<&'_ Cost>| {
        line.iter()
            .rfind(|cost| cost.bytes <= ring.bytes)
            .copied()
            .cloned()
    };
    let mut same: Vec<Cost> = others.iter().filter_map(same).collect();
    same.sort_by_key(|cost| cost.program + cost.kernel);
    let best = same.first()?;
    let slope = per_kib(&rings.iter().collect::<Vec<_>>())?;
    let slopes = others
        .iter()
        .filter_map(|line| Some((per_kib(line)?, &line.first()?.gate)));
    let (least, flattest) = slopes.min_by(|one, other| one.0.total_cmp(&other.0))?;
    let mut figure = format!(
        "A message of {} is put into a ring and taken out by {} instructions, without a system call; the least of the \
         other gates’ round trips, {} of {}, takes {}. Each KiB more takes {}; elsewhere {} at least, by {flattest}.",
        size(whole(ring.bytes)),
        grouped(all(ring)),
        best.gate,
        size(whole(best.bytes)),
        grouped(all(best)),
        grouped(slope),
        grouped(least),
    );
    if let (Some(echo), Some(call)) = (round_trip(costs, "mmap"), round_trip(costs, "chardev"))
        && all(echo) > all(call)
    {
        let _ = write!(
            figure,
            " Who waits for the kernel’s answer to one message, though, pays for doorbells and for being woken: {} for \
             {}, {:.1} times a character device’s.",
            grouped(all(echo)),
            size(whole(echo.bytes)),
            times(echo, call)
        );
    }
    let through_the_kernel = per_kib(&round_trips(costs, "mmap"));
    if let Some(slope) = through_the_kernel {
        let _ = write!(
            figure,
            " Through the kernel and back, by two rings, each KiB more takes {}.",
            grouped(slope)
        );
    }
    let is_flattest = slope < least && through_the_kernel.is_none_or(|slope| slope < least);
    let verdict = match (all(ring) < all(best), is_flattest) {
        (true, true) => Verdict::Confirmed,
        (false, false) => Verdict::Refuted,
        _ => Verdict::Partly,
    };
    same.truncate(6);
    same.insert(0, ring.clone());
    Some((verdict, figure, same))
}

/// Those of a gate's costs, from the shortest to the longest.
fn of<'a>(costs: &'a [Cost], gate: &str, is_it: impl Fn(&Cost) -> bool) -> Vec<&'a Cost> {
    let of = costs.iter().filter(|cost| cost.gate == gate && is_it(cost));
    let mut of: Vec<&Cost> = of.collect();
    of.sort_by_key(|cost| cost.bytes);
    of
}

/// The round trips of a gate, of the operation that was measured at most sizes.
fn round_trips<'a>(costs: &'a [Cost], gate: &str) -> Vec<&'a Cost> {
    let all = of(costs, gate, |cost| cost.work == "round-trip");
    let count = |name: &str| all.iter().filter(|cost| cost.operation == name).count();
    let Some(most) = all.iter().max_by_key(|cost| count(&cost.operation)) else {
        return Vec::new();
    };
    let name = most.operation.clone();
    all.into_iter()
        .filter(|cost| cost.operation == name)
        .collect()
}

/// What a KiB more takes, from the shortest to the longest of these.
fn per_kib(line: &[&Cost]) -> Option<f64> {
    let (first, last) = (line.first()?, line.last()?);
    let bytes = whole(last.bytes.checked_sub(first.bytes)?);
    // Less is not what one calls longer.
    (bytes >= 128.0).then(|| (all(last) - all(first)) / bytes * 1024.0)
}

/// That files cannot tell.
fn files(costs: &[Cost]) -> Option<Found> {
    let told = |gates: &[&str]| {
        let told = costs
            .iter()
            .filter(|cost| cost.work == "notify" && gates.contains(&&*cost.gate));
        let mut told: Vec<&Cost> = told.collect();
        told.sort_by_key(|cost| cost.program + cost.kernel);
        // The least of each.
        let mut seen: Vec<&str> = Vec::new();
        told.retain(|cost| {
            let first = !seen.contains(&&*cost.gate);
            seen.push(&cost.gate);
            first
        });
        told
    };
    let files = told(&["sysfs", "chardev", "debugfs", "procfs"]);
    let sockets = told(&["genl", "netlink", "udp", "packet"]);
    let quickest = files.first()?;
    let names: Vec<&str> = files.iter().map(|cost| &*cost.gate).collect();
    let mut figure = format!(
        "Files can tell today, by poll(2): here, {}. To hear of something takes {} instructions by {}",
        names.join(" and "),
        grouped(all(quickest)),
        quickest.gate
    );
    if let Some(socket) = sockets.first() {
        let _ = write!(
            figure,
            ", {} by {}, the least of the sockets",
            grouped(all(socket)),
            socket.gate
        );
    }
    figure.push('.');
    let evidence = files.iter().chain(&sockets).copied().cloned().collect();
    Some((Verdict::Refuted, figure, evidence))
}
