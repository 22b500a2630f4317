// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the report makes of results: all of their numbers, and no others.

use super::*;
use crate::bench::results::{Clients, Latency, LeftOut, Machine, Open, SCHEMA, Timed};
use std::collections::BTreeMap;

/// Nothing.
fn nothing() -> Results {
    Results {
        schema: SCHEMA,
        about: About {
            date: "2026-01-31 12:00:00 UTC".into(),
            callgate: "0.1.0".into(),
            kernel: "7.3.4 0123456789ab".into(),
            config: "release".into(),
            compilers: vec!["rustc 1.95.0".into(), "clang 22.1.8".into()],
            timed: None,
        },
        costs: Vec::new(),
        times: Vec::new(),
        clients: Vec::new(),
        streams: Vec::new(),
        rooms: Vec::new(),
        left_out: Vec::new(),
    }
}

fn cost(gate: &str, work: &str, operation: &str, bytes: u64, both: (u64, u64)) -> Cost {
    Cost {
        gate: gate.into(),
        work: work.into(),
        operation: operation.into(),
        bytes,
        calls: 2,
        program: both.0,
        kernel: both.1,
        twin: None,
    }
}

fn latency(scale: u64) -> Latency {
    Latency {
        samples: 1000,
        mean: 1.0,
        p50: 3 * scale,
        p90: 4 * scale,
        p99: 7 * scale,
        p999: 90 * scale,
        max: 91 * scale,
        curve: vec![(0.5, 3 * scale), (0.99, 7 * scale), (1.0, 91 * scale)],
    }
}

fn time(gate: &str, work: &str, bytes: u64, open: bool) -> Time {
    let spread = |median: f64| Spread {
        median,
        least: median * 0.9,
        most: median * 1.1,
    };
    Time {
        gate: gate.into(),
        work: work.into(),
        operation: "an operation".into(),
        bytes,
        rate: spread(123_400.0),
        p50: spread(3456.0),
        p99: spread(7890.0),
        latency: latency(1000),
        cpu: spread(3300.0),
        sleeps: 0.25,
        open: open.then(|| Open {
            rate: 61_000.0,
            missed: 17,
            latency: latency(2000),
        }),
    }
}

/// A little of each.
fn something() -> Results {
    let mut results = nothing();
    results.costs = vec![
        cost(
            "floor",
            "round-trip",
            "pipe: write and read",
            64,
            (28, 1267),
        ),
        cost("floor", "other", "copy", 64, (27, 0)),
        cost("chardev", "round-trip", "write, then read", 64, (69, 1704)),
        cost(
            "chardev",
            "round-trip",
            "write, then read",
            4096,
            (69, 5732),
        ),
        cost("chardev", "notify", "hear of a byte", 1, (402, 2875)),
        cost("chardev", "to-program", "read", 64, (35, 514)),
        cost("udp", "round-trip", "echo", 64, (579, 17307)),
        cost("genl", "round-trip", "echo", 64, (3883, 9647)),
        cost("netlink", "round-trip", "echo", 30, (3477, 8956)),
        cost("mmap", "other", "produce", 16, (159, 0)),
        cost("mmap", "other", "consume", 16, (183, 0)),
        cost("mmap", "other", "produce", 256, (237, 0)),
        cost("mmap", "other", "consume", 256, (260, 0)),
    ];
    results.costs[2].twin = Some(1425);
    results
}

fn timed(emulated: bool) -> Results {
    let mut results = something();
    results.about.timed = Some(Timed {
        accelerator: "how it is run".into(),
        emulated,
        host_cpu: "a fine CPU".into(),
        release: "7.3.4".into(),
        machine: Machine {
            cpu: "a CPU".into(),
            cpus: 2,
            clock_source: "tsc".into(),
            mitigations: BTreeMap::from([("meltdown".to_owned(), "<none>".to_owned())]),
        },
        clock: 25,
    });
    results.times = vec![
        time("chardev", "round-trip", 64, true),
        time("chardev", "round-trip", 4096, true),
        time("chardev", "notify", 1, false),
    ];
    results.clients = vec![Clients {
        gate: "chardev".into(),
        operation: "an operation".into(),
        bytes: 64,
        clients: 1,
        rate: results.times[0].rate,
        latency: latency(1),
    }];
    let stream = |peer: &str, lost, known| Stream {
        peer: peer.into(),
        bytes: 16,
        work: 100,
        produced: 1_234_000 + lost,
        arrived: 1_234_000,
        lost,
        again: 0,
        sleeps: 321,
        wakeups: known,
        full: known,
        rate: 5_670_000.0,
    };
    results.streams = vec![stream("ring", 0, Some(765)), stream("relay", 4321, None)];
    results.rooms = vec![Room {
        peer: "relay".into(),
        bytes: 16,
        produced: 100_000,
        accepted: None,
        arrived: 32_768,
    }];
    results.left_out = vec![LeftOut {
        gate: "genl".into(),
        what: "clients".into(),
        why: "a <reason>".into(),
    }];
    results
}

/// What is to be read, without what it looks like.
fn text(html: &str) -> String {
    let (_, body) = html.split_once("<body>").unwrap();
    let texts = body.split('<').filter_map(|part| part.split_once('>'));
    let texts: Vec<_> = texts.map(|(_, text)| text).collect();
    texts.join(" ").replace("&#x2f;", "/")
}

#[test]
fn of_nothing_there_is_a_report_too() {
    let html = render(&nothing()).unwrap();
    let text = text(&html);
    assert_eq!(html.matches("class=\"not-measured\"").count(), 5);
    assert!(text.contains("No times were taken") && text.contains("7.3.4 0123456789ab"));
    assert!(!html.contains("<table") && !html.contains("NaN") && !html.contains("inf"));
}

#[test]
fn the_numbers_are_those_of_the_results() {
    let results = something();
    let html = render(&results).unwrap();
    for cost in &results.costs {
        let cells: Vec<_> = [cost.bytes, cost.calls, cost.program, cost.kernel]
            .map(|number| format!("<td class=\"n\">{}</td>", grouped(number)))
            .into();
        assert!(html.contains(&cells.concat()), "{cost:?}");
    }
    assert!(html.contains("<td class=\"n\">1,425</td><td class=\"ratio\">1.196<svg"));
    assert!(!html.contains("NaN") && !html.contains("inf"));
}

#[test]
fn claims_are_held_against_the_figures() {
    let verdicts = |results: &Results| -> Vec<_> {
        let html = render(results).unwrap();
        let verdicts = html.split("<b class=\"").skip(1);
        verdicts
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect()
    };
    let mut results = something();
    assert_eq!(
        verdicts(&results),
        [
            "confirmed",
            "confirmed",
            "confirmed",
            "refuted",
            "not-measured"
        ]
    );
    let said = text(&render(&results).unwrap());
    for figure in [
        "A round trip of 64 B takes 17,886 instructions, 10.1 times those of a character device, and 13.8 times",
        "12,433 instructions, 70 % of those by UDP",
        "A message of 256 B is put into a ring and taken out by 497 instructions",
        "chardev of 64 B, takes 1,773. Each KiB more takes 661; elsewhere 1,023 at least, by chardev.",
        "takes 3,277 instructions by chardev",
    ] {
        assert!(said.contains(figure), "{figure}\n{said}");
    }
    // Another world.
    results.costs[6].kernel = 1000;
    results.costs[11].program = 5000;
    assert_eq!(
        verdicts(&results),
        ["refuted", "refuted", "refuted", "refuted", "not-measured"]
    );
}

#[test]
fn emulated_times_come_with_a_warning() {
    let warning = "These times are not representative.";
    let emulated = render(&timed(true)).unwrap();
    assert_eq!(emulated.matches(warning).count(), 3);
    let real = render(&timed(false)).unwrap();
    assert!(!real.contains(warning) && !real.contains("No times were taken"));
    let text = text(&real);
    for figure in [
        "3.46 µs", "7.89 µs", "123 k/s", "90.0 µs", "61.0 k/s", " 17 ", "0.25",
    ] {
        assert!(text.contains(figure), "{figure}");
    }
}

#[test]
fn many_events_are_shown_and_what_nobody_is_told_is_not_zero() {
    let html = render(&timed(false)).unwrap();
    for (name, cells) in [
        ("ring", "100 1,234,000 1,234,000 0 0 321 765 765 5.67 M/s"),
        ("relay", "100 1,238,321 1,234,000 4,321 0 321 ? ? 5.67 M/s"),
        ("relay", "100,000 ? 32,768"),
    ] {
        let said = text(&html);
        let words: Vec<_> = said.split_whitespace().collect();
        let row = format!("{name} {cells}");
        assert!(words.join(" ").contains(&row), "{row}");
    }
    assert!(!render(&something()).unwrap().contains("id=\"streams\""));
}

#[test]
fn what_is_paid_once_is_told_from_what_each_event_takes() {
    let mut results = nothing();
    for (peer, none, some) in [
        ("ring", 150, 2150),
        ("BPF", 80, 2380),
        ("relay", 500, 2300),
        ("netlink", 900, 99_900),
    ] {
        for (count, both) in [(0, none), (100, some)] {
            let operation = format!("{peer}: consume {count}");
            results
                .costs
                .push(cost("bulk", "other", &operation, 16, (both, 0)));
        }
    }
    let rows: Vec<_> = events(&results.costs)
        .into_iter()
        .map(|row| (row.fixed, row.each, row.ring_from))
        .collect();
    let row = |fixed: &str, each: &str, ring_from: Option<&str>| {
        (
            fixed.to_owned(),
            each.to_owned(),
            ring_from.map(str::to_owned),
        )
    };
    assert_eq!(
        rows,
        [
            row("150", "20.0", None),
            row("80", "23.0", Some("24")),
            // The ring takes less at first, but more for each.
            row("500", "18.0", None),
            row("900", "990.0", Some("0")),
        ]
    );
}

#[test]
fn what_others_have_written_stays_text() {
    let html = render(&timed(false)).unwrap();
    assert!(html.contains("a &lt;reason&gt;") && html.contains("&lt;none&gt;"));
}

#[test]
fn it_needs_nothing_from_elsewhere_and_no_script() {
    let html = render(&timed(true)).unwrap();
    for foreign in [
        "http:", "https:", "<script", "<link", "<img", "@import", "url(",
    ] {
        assert!(!html.contains(foreign), "{foreign}");
    }
}

#[test]
fn every_plot_says_what_is_to_be_seen() {
    let html = render(&timed(true)).unwrap();
    let plots = html.matches("role=\"img\"").count();
    assert!(plots >= 5, "{plots}");
    assert_eq!(html.matches("<desc").count(), plots);
    let description = "chardev: 1,773 instructions at 64 B, 5,801 instructions at 4 KiB.";
    assert!(html.contains(description));
}
