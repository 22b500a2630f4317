// SPDX-License-Identifier: MIT OR Apache-2.0

//! What one run has found, for people to read.

use super::quantity::{amount, nanoseconds, whole};
use super::results::{Clients, Cost, LeftOut, Results, Room, Spread, Stream, Time};
use crate::show::{BAD, TITLE};
use comfy_table::{CellAlignment, Table, presets};
use std::collections::BTreeSet;

/// Prints all of it.
pub fn print(results: &Results) {
    if !results.costs.is_empty() {
        title("Instructions of one operation");
        println!("{}", costs(&results.costs));
    }
    if !results.times.is_empty() {
        title("Times of one operation");
        warn(results);
        if let Some(timed) = &results.about.timed {
            println!(
                "{} · Linux {} · {} · clock {}, {} to read",
                timed.host_cpu,
                timed.release,
                timed.accelerator,
                timed.machine.clock_source,
                nanoseconds(whole(timed.clock)),
            );
        }
        println!("{}", times(&results.times));
    }
    if !results.clients.is_empty() {
        title("Round trips in a second, all clients together");
        println!("{}", clients(&results.clients, |of| amount(of.rate.median)));
        title("What 99 of 100 of them stay below");
        println!(
            "{}",
            clients(&results.clients, |of| nanoseconds(whole(of.latency.p99)))
        );
    }
    if !results.streams.is_empty() {
        title("Many events, as fast as they are produced");
        warn(results);
        println!("{}", streams(&results.streams));
    }
    if !results.rooms.is_empty() {
        title("Many events that nobody reads");
        println!("{}", rooms(&results.rooms));
    }
    if !results.left_out.is_empty() {
        title("Left out");
        for LeftOut { gate, what, why } in &results.left_out {
            println!("{gate}: {what}: {why}");
        }
    }
}

fn warn(results: &Results) {
    if results
        .about
        .timed
        .as_ref()
        .is_some_and(|timed| timed.emulated)
    {
        anstream::println!(
            "{BAD}THESE TIMES ARE NOT REPRESENTATIVE: THE MACHINE'S CPUS ARE EMULATED.{BAD:#}"
        );
    }
}

fn title(text: &str) {
    anstream::println!("\n{TITLE}{text}{TITLE:#}");
}

fn costs(costs: &[Cost]) -> Table {
    let header = "gate,operation,bytes,calls,program,kernel,in C,ratio";
    let row = |cost: &Cost| {
        vec![
            cost.gate.clone(),
            cost.operation.clone(),
            cost.bytes.to_string(),
            cost.calls.to_string(),
            cost.program.to_string(),
            cost.kernel.to_string(),
            cost.twin.map_or(String::new(), |twin| twin.to_string()),
            cost.ratio()
                .map_or(String::new(), |ratio| format!("{ratio:.3}")),
        ]
    };
    table(header.split(','), costs.iter().map(row))
}

fn times(times: &[Time]) -> Table {
    let header = "gate,operation,bytes,a second,±,p50,p90,p99,p99.9,max,CPU,sleeps,open p50,p99";
    let row = |of: &Time| {
        let open = of.open.as_ref().map(|open| &open.latency);
        let in_open =
            |value: Option<u64>| value.map_or(String::new(), |value| nanoseconds(whole(value)));
        vec![
            of.gate.clone(),
            of.operation.clone(),
            of.bytes.to_string(),
            amount(of.rate.median),
            share(of.rate),
            nanoseconds(whole(of.latency.p50)),
            nanoseconds(whole(of.latency.p90)),
            nanoseconds(whole(of.latency.p99)),
            nanoseconds(whole(of.latency.p999)),
            nanoseconds(whole(of.latency.max)),
            nanoseconds(of.cpu.median),
            format!("{:.2}", of.sleeps),
            in_open(open.map(|open| open.p50)),
            in_open(open.map(|open| open.p99)),
        ]
    };
    table(header.split(','), times.iter().map(row))
}

/// A row for each gate, a column for each number of clients.
fn clients(all: &[Clients], value: impl Fn(&Clients) -> String) -> Table {
    let counts: BTreeSet<u32> = all.iter().map(|of| of.clients).collect();
    let header = ["gate", "operation", "bytes"].map(String::from);
    let header = header
        .into_iter()
        .chain(counts.iter().map(ToString::to_string));
    let rows = all
        .chunk_by(|one, other| one.gate == other.gate)
        .map(|gate| {
            let mut row = vec![
                gate[0].gate.clone(),
                gate[0].operation.clone(),
                gate[0].bytes.to_string(),
            ];
            row.extend(counts.iter().map(|&count| {
                let of = gate.iter().find(|of| of.clients == count);
                of.map_or(String::new(), &value)
            }));
            row
        });
    table(header, rows)
}

fn streams(streams: &[Stream]) -> Table {
    let header =
        "way,work an event,produced,arrived,lost,again,reader's sleeps,wakeups,no room,a second";
    let row = |of: &Stream| {
        vec![
            of.peer.clone(),
            of.work.to_string(),
            of.produced.to_string(),
            of.arrived.to_string(),
            of.lost.to_string(),
            of.again.to_string(),
            of.sleeps.to_string(),
            if_known(of.wakeups),
            if_known(of.full),
            amount(of.rate),
        ]
    };
    table(header.split(','), streams.iter().map(row))
}

fn rooms(rooms: &[Room]) -> Table {
    let row = |of: &Room| {
        vec![
            of.peer.clone(),
            of.produced.to_string(),
            if_known(of.accepted),
            of.arrived.to_string(),
        ]
    };
    table(
        "way,produced,accepted,arrived".split(','),
        rooms.iter().map(row),
    )
}

/// What nobody is told is not 0.
fn if_known(count: Option<u64>) -> String {
    count.map_or("?".into(), |count| count.to_string())
}

/// A table with names in its first two columns, and numbers in the others.
fn table(
    header: impl Iterator<Item = impl ToString>,
    rows: impl Iterator<Item = Vec<String>>,
) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header.map(|column| column.to_string()));
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// By how much the rounds differ, as a share of the median.
fn share(spread: Spread) -> String {
    let half = (spread.most - spread.least) / 2.0;
    format!("{:.0} %", 100.0 * half / spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_half_of_what_is_between_its_ends() {
        let spread = Spread::of([90.0, 100.0, 110.0]);
        assert_eq!(share(spread), "10 %");
    }
}
