// SPDX-License-Identifier: MIT OR Apache-2.0

//! The report: one HTML file that needs nothing but a browser, made of [`Results`] and nothing else.

mod chart;
mod claims;

use super::BULK;
use super::quantity::{amount, bytes_per_second, nanoseconds, per_second, size, whole};
use super::results::{About, Cost, Results, Room, Spread, Stream, Time};
use crate::show::grouped;
use anyhow::{Context as _, Result};
use chart::{Axis, Chart, Plot, Series, Style, decades, extent};
use minijinja::context;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The gates that are plotted together, as they work alike.
const FAMILIES: [(&str, &[&str]); 3] = [
    (
        "Files",
        &[
            "procfs",
            "seq_file",
            "parameter",
            "sysfs",
            "bus",
            "configfs",
            "debugfs",
            "sysctl",
        ],
    ),
    (
        "Devices, calls and memory",
        &["chardev", "ioctl", "mmap", "syscall"],
    ),
    ("Sockets", &["udp", "packet", "netlink", "genl"]),
];

/// What belongs to no gate, and what none can be below.
const FLOOR: &str = "floor";

/// The size at which distributions are shown, if there is one near it.
const TYPICAL: u64 = 64;

/// Leaves the report below this directory, where what is built from a project goes, and says where.
pub fn leave(results: &Results, output: &Path) -> Result<PathBuf> {
    let directory = output.join("bench");
    let path = directory.join("report.html");
    let html = render(results).context("making the report")?;
    fs::create_dir_all(&directory)
        .and_then(|()| fs::write(&path, html))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// The HTML.
fn render(results: &Results) -> Result<String> {
    let mut templates = minijinja::Environment::new();
    templates.set_trim_blocks(true);
    templates.set_lstrip_blocks(true);
    templates.add_template("report.html", include_str!("report/report.html"))?;
    let page = templates.get_template("report.html")?;
    let timed = results.about.timed.as_ref();
    Ok(page.render(context! {
        style => include_str!("report/report.css"),
        about => facts(&results.about),
        mitigations => timed.map(|timed| &timed.machine.mitigations),
        date => results.about.date,
        timed => timed.is_some(),
        emulated => timed.is_some_and(|timed| timed.emulated),
        accelerator => timed.map(|timed| &timed.accelerator),
        claims => claims::judge(results),
        floors => floors(&results.costs),
        counted => counted(&results.costs),
        notifications => notifications(&results.costs),
        costs => groups(&results.costs, Row::of),
        has_twins => results.costs.iter().any(|cost| cost.twin.is_some()),
        bulk => bulk(&results.costs),
        events => events(&results.costs),
        streams => results.streams.iter().map(StreamRow::of).collect::<Vec<_>>(),
        rooms => results.rooms.iter().map(RoomRow::of).collect::<Vec<_>>(),
        latencies => latencies(&results.times),
        throughputs => throughputs(&results.times),
        distributions => distributions(&results.times),
        heard => heard(&results.times),
        clients => clients(results),
        times => time_groups(&results.times),
        left_out => results.left_out,
    })?)
}

/// A line of a list of facts.
#[derive(Serialize)]
struct Fact {
    name: &'static str,
    value: String,
}

/// What ran on what.
fn facts(about: &About) -> Vec<Fact> {
    let fact = |name, value: &str| Fact {
        name,
        value: value.to_owned(),
    };
    let mut facts = vec![
        fact("callgate", &about.callgate),
        fact("Kernel", &about.kernel),
        fact("Config", &about.config),
        fact("Compilers", &about.compilers.join(", ")),
    ];
    if let Some(timed) = &about.timed {
        let machine = &timed.machine;
        facts.extend([
            fact("Times on", &timed.accelerator),
            fact("Host's CPU", &timed.host_cpu),
            fact("Machine", &format!("{} × {}", machine.cpus, machine.cpu)),
            fact("Release", &timed.release),
            fact("Clock source", &machine.clock_source),
            fact("Reading the clock", &nanoseconds(whole(timed.clock))),
        ]);
    }
    facts
}

/// A bar: the program's part of it, and the kernel's.
#[derive(Serialize)]
struct Bar {
    name: String,
    what: String,
    value: String,
    detail: String,
    program: f64,
    kernel: f64,
    /// It is longer than there is room for.
    beyond: bool,
}

/// Bars for costs, the longest over the whole width; unless it would make all others too short to be told apart.
fn bars<'a>(costs: impl IntoIterator<Item = &'a Cost>) -> Vec<Bar> {
    let costs: Vec<&Cost> = costs.into_iter().collect();
    let mut lengths: Vec<f64> = costs.iter().map(|cost| all(cost)).collect();
    lengths.sort_by(|one, other| other.total_cmp(one));
    let scale = match lengths[..] {
        [most, next, ..] if most > 8.0 * next => next * 1.25,
        [most, ..] => most,
        [] => return Vec::new(),
    };
    let bar = |cost: &&Cost| {
        let beyond = all(cost) > scale;
        let share = |count| percent(whole(count) / if beyond { all(cost) } else { scale });
        let of_floor = cost.gate == FLOOR;
        Bar {
            name: if of_floor {
                &cost.operation
            } else {
                &cost.gate
            }
            .clone(),
            what: match (of_floor, cost.bytes) {
                (true, 0) => String::new(),
                (true, bytes) => size(whole(bytes)),
                (false, _) => operation(cost),
            },
            value: grouped(all(cost)),
            detail: format!(
                "program {}, kernel {}, {}",
                grouped(cost.program),
                grouped(cost.kernel),
                calls(cost.calls)
            ),
            program: share(cost.program),
            kernel: share(cost.kernel),
            beyond,
        }
    };
    costs.iter().map(bar).collect()
}

/// All instructions of an operation.
fn all(cost: &Cost) -> f64 {
    whole(cost.program + cost.kernel)
}

fn percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}

fn operation(cost: &Cost) -> String {
    match cost.bytes {
        0 => cost.operation.clone(),
        bytes => format!("{}, {}", cost.operation, size(whole(bytes))),
    }
}

fn calls(calls: u64) -> String {
    match calls {
        0 => "no system call".into(),
        1 => "1 system call".into(),
        calls => format!("{calls} system calls"),
    }
}

/// The same without digits that say nothing, for a mark on an axis.
fn mark(say: impl Fn(f64) -> String) -> impl Fn(f64) -> String {
    move |value| {
        let text = say(value);
        match text.split_once('.') {
            Some((whole, rest)) => format!("{whole}{}", rest.trim_start_matches('0')),
            None => text,
        }
    }
}

fn instructions(count: f64) -> String {
    format!("{} instructions", grouped(count))
}

fn sizes() -> Axis {
    let marks = [1, 16, 256, 4 << 10, 64 << 10, 1 << 20].map(whole);
    Axis {
        name: "payload",
        ticks: marks.map(|mark| (mark, size(mark))).into(),
        say: size,
        range: None,
    }
}

fn counts() -> Axis {
    Axis {
        name: "instructions",
        ticks: decades(mark(amount)),
        say: instructions,
        range: None,
    }
}

fn durations(name: &'static str) -> Axis {
    Axis {
        name,
        ticks: decades(mark(nanoseconds)),
        say: nanoseconds,
        range: None,
    }
}

/// The plots of a family are drawn to the same scale.
fn to_one_scale(plots: &mut [Plot]) {
    let points = || {
        plots
            .iter()
            .flat_map(|plot| &plot.series)
            .flat_map(|series| &series.points)
    };
    let (x, y) = (
        extent(points().map(|point| point.0)),
        extent(points().map(|point| point.1)),
    );
    for plot in plots {
        plot.x.range = Some(x);
        plot.y.range = Some(y);
    }
}

/// Plots that belong together.
#[derive(Serialize)]
struct Panel {
    title: &'static str,
    note: &'static str,
    charts: Vec<Chart>,
}

impl Panel {
    /// `None` if there is nothing to be seen.
    fn of(title: &'static str, note: &'static str, mut plots: Vec<Plot>) -> Option<Self> {
        plots.retain(Plot::shows_something);
        to_one_scale(&mut plots);
        let charts: Vec<_> = plots.into_iter().map(Plot::place).collect();
        (!charts.is_empty()).then_some(Self {
            title,
            note,
            charts,
        })
    }
}

/// Of a gate's operations for a work, the one that was measured at most sizes: its points.
fn line<T>(
    all: &[T],
    is_of: impl Fn(&T) -> bool,
    name: impl Fn(&T) -> &str,
    point: impl Fn(&T) -> (f64, f64),
) -> Vec<(f64, f64)> {
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for one in all.iter().filter(|one| is_of(one)) {
        let at = point(one);
        // Neither has a place on a logarithmic axis.
        if at.0 <= 0.0 || at.1 <= 0.0 {
            continue;
        }
        match lines.iter_mut().find(|(other, _)| *other == name(one)) {
            Some((_, points)) => points.push(at),
            None => lines.push((name(one), vec![at])),
        }
    }
    // The first of those that are equally long.
    let longest = lines
        .into_iter()
        .rev()
        .max_by_key(|(_, points)| points.len());
    let mut points = longest.map(|(_, points)| points).unwrap_or_default();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}

/// A plot for each family: a line for each of its gates.
fn by_family(
    axes: impl Fn() -> (Axis, Axis),
    points: impl Fn(&str) -> Vec<(f64, f64)>,
) -> Vec<Plot> {
    let plot = |(title, gates): &(&str, &[&str])| {
        let (x, y) = axes();
        let series = gates.iter().enumerate().map(|(nth, gate)| Series {
            name: (*gate).to_owned(),
            points: points(gate),
            style: Style::Colour(nth),
        });
        Plot {
            title: (*title).to_owned(),
            x,
            y,
            series: series.collect(),
        }
    };
    FAMILIES.iter().map(plot).collect()
}

/// What instructions cost against the payload.
fn counted(costs: &[Cost]) -> Vec<Panel> {
    let points = |work: &str, gate: &str| {
        let is_of = |cost: &Cost| cost.gate == gate && cost.work == work;
        line(
            costs,
            is_of,
            |cost| &cost.operation,
            |cost| (whole(cost.bytes), all(cost)),
        )
    };
    let floor = |operation: &str| {
        let is_of = |cost: &Cost| cost.gate == FLOOR && cost.operation == operation;
        line(
            costs,
            is_of,
            |cost| &cost.operation,
            |cost| (whole(cost.bytes), all(cost)),
        )
    };
    let panel = |title, note, work: &str, floors: &[(&str, &str)]| {
        let mut plots = by_family(|| (sizes(), counts()), |gate| points(work, gate));
        for plot in &mut plots {
            for (name, operation) in floors {
                plot.series.push(Series {
                    name: (*name).to_owned(),
                    points: floor(operation),
                    style: Style::Floor,
                });
            }
        }
        Panel::of(title, note, plots)
    };
    [
        panel(
            "Round trips",
            "Bytes go to the kernel, and as many come back.",
            "round-trip",
            &[("pipe", "pipe: write and read"), ("copy", "copy")],
        ),
        panel(
            "To the kernel",
            "Bytes go one way.",
            "to-kernel",
            &[("copy", "copy")],
        ),
        panel(
            "To the program",
            "Bytes come one way.",
            "to-program",
            &[("copy", "copy")],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What nothing can be below.
fn floors(costs: &[Cost]) -> Vec<Bar> {
    let is_short = |cost: &&Cost| cost.gate == FLOOR && cost.bytes <= TYPICAL;
    bars(costs.iter().filter(is_short))
}

/// What it costs that a program learns of something, the cheapest first.
fn notifications(costs: &[Cost]) -> Vec<Bar> {
    let mut told: Vec<&Cost> = costs.iter().filter(|cost| cost.work == "notify").collect();
    told.sort_by_key(|cost| cost.program + cost.kernel);
    bars(told)
}

/// Rings, and what else moves many events from the kernel to a program.
fn bulk(costs: &[Cost]) -> Vec<Bar> {
    let mut peers: Vec<&Cost> = costs.iter().filter(|cost| is_bulk(cost)).collect();
    peers.sort_by_key(|cost| cost.program + cost.kernel);
    bars(peers)
}

/// What moving events costs besides each of them, and what each costs.
#[derive(Serialize)]
struct EventRow {
    name: String,
    bytes: String,
    fixed: String,
    each: String,
    /// From how many events on, for all larger numbers, the ring takes no more. `None` if there is no such number.
    ring_from: Option<String>,
}

/// An operation with some events, by the one with none.
struct Events<'a> {
    name: &'a str,
    bytes: u64,
    fixed: f64,
    each: f64,
}

/// By how many events an operation is done, as its name says: `way: consume 100`.
fn count_of(cost: &Cost) -> Option<(&str, u64)> {
    let (name, count) = cost.operation.rsplit_once(' ')?;
    Some((name, count.parse().ok()?))
}

fn events(costs: &[Cost]) -> Vec<EventRow> {
    let bulk = || costs.iter().filter(|cost| cost.gate == BULK);
    let of = |some: &'static str| {
        bulk().filter_map(move |cost| {
            let (name, count) = count_of(cost).filter(|(_, count)| *count > 0)?;
            let is_none = |none: &&Cost| {
                none.bytes == cost.bytes && count_of(none).is_some_and(|of| of == (name, 0))
            };
            let none = bulk().find(is_none)?;
            name.ends_with(some).then(|| Events {
                name,
                bytes: cost.bytes,
                fixed: all(none),
                each: (all(cost) - all(none)) / whole(count),
            })
        })
    };
    let consumed: Vec<_> = of("consume").collect();
    let row = |events: &Events| {
        let is_ring =
            |other: &&Events| other.bytes == events.bytes && other.name == "ring: consume";
        let ring = consumed.iter().find(is_ring);
        let ring = ring.filter(|ring| events.name.ends_with("consume") && ring.name != events.name);
        EventRow {
            name: events.name.to_owned(),
            bytes: grouped(events.bytes),
            fixed: grouped(events.fixed),
            each: format!("{:.1}", events.each),
            ring_from: ring.and_then(|ring| ring_from(ring, events)).map(grouped),
        }
    };
    of("produce")
        .chain(of("consume"))
        .map(|events| row(&events))
        .collect()
}

/// From how many events on, for all larger numbers, the ring takes no more than another way.
fn ring_from(ring: &Events, other: &Events) -> Option<f64> {
    let (fixed, each) = (ring.fixed - other.fixed, other.each - ring.each);
    match (fixed <= 0.0, each > 0.0) {
        (true, true) => Some(0.0),
        (false, true) => Some((fixed / each).ceil()),
        (_, false) => None,
    }
}

/// What became of many events.
#[derive(Serialize)]
struct StreamRow {
    peer: String,
    work: String,
    produced: String,
    arrived: String,
    lost: String,
    again: String,
    sleeps: String,
    wakeups: Option<String>,
    full: Option<String>,
    rate: String,
}

impl StreamRow {
    fn of(stream: &Stream) -> Self {
        Self {
            peer: stream.peer.clone(),
            work: grouped(u64::from(stream.work)),
            produced: grouped(stream.produced),
            arrived: grouped(stream.arrived),
            lost: grouped(stream.lost),
            again: grouped(stream.again),
            sleeps: grouped(stream.sleeps),
            wakeups: stream.wakeups.map(grouped),
            full: stream.full.map(grouped),
            rate: per_second(stream.rate),
        }
    }
}

/// What became of events that nobody read.
#[derive(Serialize)]
struct RoomRow {
    peer: String,
    produced: String,
    accepted: Option<String>,
    arrived: String,
}

impl RoomRow {
    fn of(room: &Room) -> Self {
        Self {
            peer: room.peer.clone(),
            produced: grouped(room.produced),
            accepted: room.accepted.map(grouped),
            arrived: grouped(room.arrived),
        }
    }
}

fn is_bulk(cost: &Cost) -> bool {
    let in_family = |(_, gates): &(&str, &[&str])| gates.contains(&&*cost.gate);
    let is_gate =
        FAMILIES.iter().any(in_family) || ["signal", "upcall", FLOOR].contains(&&*cost.gate);
    let ring = ["produce", "consume"]
        .iter()
        .any(|end| cost.operation.contains(end));
    !is_gate || (cost.gate == "mmap" && ring)
}

/// The rows of a gate.
#[derive(Serialize)]
struct Group<R> {
    gate: String,
    rows: Vec<R>,
}

/// Rows by gate, in the order in which they come.
fn groups<'a, R>(costs: &'a [Cost], row: fn(&'a Cost) -> R) -> Vec<Group<R>> {
    grouped_by(costs, |cost| &cost.gate, row)
}

fn grouped_by<'a, T, R>(all: &'a [T], gate: fn(&T) -> &str, row: fn(&'a T) -> R) -> Vec<Group<R>> {
    let mut groups: Vec<Group<R>> = Vec::new();
    for one in all {
        match groups.iter_mut().find(|group| group.gate == gate(one)) {
            Some(group) => group.rows.push(row(one)),
            None => groups.push(Group {
                gate: gate(one).to_owned(),
                rows: vec![row(one)],
            }),
        }
    }
    groups
}

/// A row of the table of costs.
#[derive(Serialize)]
struct Row {
    operation: String,
    work: String,
    bytes: String,
    calls: u64,
    program: String,
    kernel: String,
    all: String,
    twin: Option<String>,
    ratio: Option<String>,
    /// Where the mark of the ratio is, from 0.5 at 0 to 2 at 100: equal distances are equal factors.
    mark: Option<f64>,
}

impl Row {
    fn of(cost: &Cost) -> Self {
        let ratio = cost.ratio();
        let place = |ratio: f64| percent(f64::midpoint(ratio.log2(), 1.0).clamp(0.0, 1.0));
        Self {
            operation: cost.operation.clone(),
            work: cost.work.clone(),
            bytes: grouped(cost.bytes),
            calls: cost.calls,
            program: grouped(cost.program),
            kernel: grouped(cost.kernel),
            all: grouped(all(cost)),
            twin: cost.twin.map(grouped),
            ratio: ratio.map(|ratio| format!("{ratio:.3}")),
            mark: ratio.map(place),
        }
    }
}

/// Latency against the payload: a plot for each gate, with the others for comparison.
fn latencies(times: &[Time]) -> Option<Panel> {
    let points = |gate: &str, value: fn(&Time) -> f64| {
        let is_of = |time: &Time| time.gate == gate && time.work == "round-trip";
        let point = |time: &Time| (whole(time.bytes), value(time));
        line(times, is_of, |time| &time.operation, point)
    };
    let series = |name: &str, points, style| Series {
        name: name.to_owned(),
        points,
        style,
    };
    let plot = |gate: &str| {
        let others = gates(times).filter(|other| *other != gate);
        let p50 = |gate| points(gate, |time| time.p50.median);
        let others = others.map(|other| series(other, p50(other), Style::Context));
        let own = [
            series(
                "p99",
                points(gate, |time| time.p99.median),
                Style::Dashed(1),
            ),
            series("p50", p50(gate), Style::Colour(0)),
        ];
        Plot {
            title: gate.to_owned(),
            x: sizes(),
            y: durations("latency"),
            series: others.chain(own).collect(),
        }
    };
    let note = "Half of all round trips took at most p50, 99 of 100 at most p99; medians of all rounds. In grey, p50 \
                of the others.";
    Panel::of("Latency", note, gates(times).map(plot).collect())
}

/// The gates that were timed, without the floors, which come last.
fn gates(times: &[Time]) -> impl Iterator<Item = &str> {
    let mut gates: Vec<&str> = Vec::new();
    for time in times {
        if !gates.contains(&&*time.gate) {
            gates.push(&time.gate);
        }
    }
    gates.sort_by_key(|gate| *gate == FLOOR);
    gates.into_iter()
}

/// Throughput against the payload.
fn throughputs(times: &[Time]) -> Vec<Panel> {
    let axes = || {
        let y = Axis {
            name: "throughput",
            ticks: decades(mark(bytes_per_second)),
            say: bytes_per_second,
            range: None,
        };
        (sizes(), y)
    };
    let panel = |title, note, work: &str| {
        let points = |gate: &str| {
            let is_of = |time: &Time| time.gate == gate && time.work == work;
            let point = |time: &Time| (whole(time.bytes), time.bytes_per_second());
            line(times, is_of, |time| &time.operation, point)
        };
        Panel::of(title, note, by_family(axes, points))
    };
    [
        panel(
            "Throughput of round trips",
            "One after the other. A round trip's bytes count once.",
            "round-trip",
        ),
        panel(
            "Throughput to the kernel",
            "One message after the other.",
            "to-kernel",
        ),
        panel(
            "Throughput to the program",
            "One message after the other.",
            "to-program",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The whole distribution of a gate's latencies, closed loop and open.
fn distributions(times: &[Time]) -> Option<Panel> {
    let plot = |gate: &str| {
        let round_trips = times
            .iter()
            .filter(|time| time.gate == gate && time.work == "round-trip");
        let time = round_trips.min_by_key(|time| time.bytes.abs_diff(TYPICAL));
        let closed = time
            .map(|time| tail(&time.latency.curve))
            .unwrap_or_default();
        let open = time.and_then(|time| time.open.as_ref());
        let open = open
            .map(|open| tail(&open.latency.curve))
            .unwrap_or_default();
        let bytes = time.map(|time| format!(", {}", size(whole(time.bytes))));
        Plot {
            title: format!("{gate}{}", bytes.unwrap_or_default()),
            x: Axis {
                name: "share of all",
                ticks: [
                    (2.0, "50 %"),
                    (10.0, "90 %"),
                    (100.0, "99 %"),
                    (1e3, "99.9 %"),
                    (1e4, "99.99 %"),
                    (1e5, ""),
                ]
                .map(|(place, text)| (place, text.to_owned()))
                .into(),
                say: |place| format!("{} of 1", 1.0 - 1.0 / place),
                range: None,
            },
            y: durations("latency"),
            series: vec![
                Series {
                    name: "open".into(),
                    points: open,
                    style: Style::Dashed(1),
                },
                Series {
                    name: "closed".into(),
                    points: closed,
                    style: Style::Colour(0),
                },
            ],
        }
    };
    let note = "How many took at most so long. Closed: one begins when the one before is done. Open: each has a \
                moment at which it is to begin, at half the rate that there is room for, and its latency counts \
                from then; who waits for the one before is not overlooked.";
    Panel::of("Distributions", note, gates(times).map(plot).collect())
}

/// A distribution, with more room the rarer something is.
fn tail(curve: &[(f64, u64)]) -> Vec<(f64, f64)> {
    let finite = curve.iter().filter(|(share, _)| *share < 1.0);
    let mut points: Vec<_> = finite
        .map(|&(share, time)| (1.0 / (1.0 - share), whole(time)))
        .collect();
    points.dedup();
    points
}

/// What becomes of round trips as clients come.
fn clients(results: &Results) -> Option<Panel> {
    let axes = || {
        let x = Axis {
            name: "clients",
            ticks: [1, 2, 4, 8, 16, 32, 64]
                .map(|clients| (whole(clients), clients.to_string()))
                .into(),
            say: |clients| match clients {
                ..1.5 => "1 client".into(),
                clients => format!("{} clients", grouped(clients)),
            },
            range: None,
        };
        let y = Axis {
            name: "operations of all",
            ticks: decades(mark(per_second)),
            say: per_second,
            range: None,
        };
        (x, y)
    };
    let points = |gate: &str| {
        line(
            &results.clients,
            |clients| clients.gate == gate,
            |clients| &clients.operation,
            |clients| (f64::from(clients.clients), clients.rate.median),
        )
    };
    let note = "Each client is a thread with a file or socket of its own.";
    Panel::of("Growth with clients", note, by_family(axes, points))
}

/// How long it takes to hear of something, the quickest first.
#[derive(Serialize)]
struct Heard {
    gate: String,
    operation: String,
    p50: String,
    p99: String,
    /// Where their marks are, of 100.
    from: f64,
    to: f64,
}

fn heard(times: &[Time]) -> Vec<Heard> {
    let mut told: Vec<&Time> = times.iter().filter(|time| time.work == "notify").collect();
    told.sort_by(|one, other| one.p50.median.total_cmp(&other.p50.median));
    let both = told
        .iter()
        .flat_map(|time| [time.p50.median, time.p99.median]);
    let (least, most) = extent(both.filter(|time| *time > 0.0));
    let place = |time: f64| {
        let share = (time / least).ln() / (most / least).ln().max(f64::MIN_POSITIVE);
        percent(share.clamp(0.0, 1.0))
    };
    let heard = |time: &Time| Heard {
        gate: time.gate.clone(),
        operation: match time.bytes {
            0 => time.operation.clone(),
            bytes => format!("{}, {}", time.operation, size(whole(bytes))),
        },
        p50: nanoseconds(time.p50.median),
        p99: nanoseconds(time.p99.median),
        from: place(time.p50.median),
        to: place(time.p99.median),
    };
    told.into_iter().map(heard).collect()
}

/// A row of the table of times.
#[derive(Serialize)]
struct TimeRow {
    operation: String,
    work: String,
    bytes: String,
    rate: (String, String),
    p50: (String, String),
    p90: String,
    p99: (String, String),
    p999: String,
    max: String,
    cpu: String,
    sleeps: String,
    open: Option<OpenRow>,
}

#[derive(Serialize)]
struct OpenRow {
    rate: String,
    p50: String,
    p99: String,
    missed: String,
}

fn time_groups(times: &[Time]) -> Vec<Group<TimeRow>> {
    let row = |time: &Time| TimeRow {
        operation: time.operation.clone(),
        work: time.work.clone(),
        bytes: grouped(time.bytes),
        rate: spread(&time.rate, per_second),
        p50: spread(&time.p50, nanoseconds),
        p90: nanoseconds(whole(time.latency.p90)),
        p99: spread(&time.p99, nanoseconds),
        p999: nanoseconds(whole(time.latency.p999)),
        max: nanoseconds(whole(time.latency.max)),
        cpu: nanoseconds(time.cpu.median),
        sleeps: format!("{:.2}", time.sleeps),
        open: time.open.as_ref().map(|open| OpenRow {
            rate: per_second(open.rate),
            p50: nanoseconds(whole(open.latency.p50)),
            p99: nanoseconds(whole(open.latency.p99)),
            missed: grouped(open.missed),
        }),
    };
    grouped_by(times, |time| &time.gate, row)
}

/// A median, and from where to where all rounds were.
fn spread(spread: &Spread, say: fn(f64) -> String) -> (String, String) {
    let (least, most) = (say(spread.least), say(spread.most));
    (say(spread.median), format!("{least} – {most}"))
}

#[cfg(test)]
mod tests;
