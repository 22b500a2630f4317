// SPDX-License-Identifier: MIT OR Apache-2.0

//! What somebody who knows the kernel would answer, with the facts of the gates' folders and the costs that
//! callgate comes with.

use super::answer::{Answer, Fitting, Wish, answer};
use super::price::{Basis, Costs};
use super::{Wishes, bytes, per_second};
use crate::bench::results::Cost;
use crate::facts::{Direction, Facts, What};
use lab::gates::Gate;
use std::path::Path;

fn gates() -> Vec<(Gate, Facts)> {
    let gates = lab::gates::find(repository()).unwrap().into_iter();
    let with_facts = |gate| (Facts::of(repository(), &gate).unwrap(), gate);
    gates
        .map(with_facts)
        .map(|(facts, gate)| (gate, facts))
        .collect()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn reference() -> Costs {
    Costs::read(repository(), Path::new("/nonexistent")).unwrap()
}

/// Such as `--what value --rate 10`.
fn wishes(arguments: &str) -> Wishes {
    #[derive(clap::Parser)]
    struct Parser {
        #[command(flatten)]
        wishes: Wishes,
    }
    let arguments = ["choose"].into_iter().chain(arguments.split_whitespace());
    <Parser as clap::Parser>::parse_from(arguments).wishes
}

fn names(answer: &Answer<'_>) -> Vec<String> {
    answer
        .fitting
        .iter()
        .map(|one| one.gate.to_owned())
        .collect()
}

/// The gates that fit, the best first.
fn fitting(arguments: &str) -> Vec<String> {
    names(&answer(&gates(), &reference(), &wishes(arguments)))
}

/// Why a gate does not fit.
fn why_not(gate: &str, arguments: &str) -> String {
    let gates = gates();
    let answer = answer(&gates, &reference(), &wishes(arguments));
    let found = answer.excluded.iter().find(|one| one.gate == gate);
    let found = found.unwrap_or_else(|| panic!("{gate} fits: {arguments}"));
    let reasons: Vec<_> = found.reasons.iter().map(|reason| &*reason.why).collect();
    reasons.join("; ")
}

/// Only these fit, in whatever order.
#[track_caller]
fn only(arguments: &str, expected: &[&str]) {
    let mut fitting = fitting(arguments);
    fitting.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(fitting, expected, "{arguments}");
}

/// These fit, in this order.
#[track_caller]
fn ranked(arguments: &str, expected: &[&str]) {
    assert_eq!(fitting(arguments), expected, "{arguments}");
}

#[test]
fn a_number_that_scripts_of_an_administrator_set_is_a_file_of_one_value() {
    let knob = "--what value --direction to-kernel --size 4 --scriptable";
    only(knob, &["sysfs", "parameter", "sysctl"]);
    assert!(why_not("procfs", knob).contains("information about processes"));
    assert!(why_not("debugfs", knob).contains("no stable interface"));
    assert!(why_not("ioctl", knob).contains("cat(1) and echo(1)"));
}

#[test]
fn a_state_that_a_script_waits_for_is_in_sysfs() {
    only(
        "--what value --direction from-kernel --size 4 --notify",
        &["sysfs"],
    );
}

#[test]
fn objects_that_users_make_by_the_shell_are_in_configfs() {
    only("--what objects --scriptable", &["configfs"]);
    ranked("--what objects", &["configfs", "genl"]);
}

#[test]
fn what_helps_to_debug_is_in_debugfs() {
    let dump = "--what debug --direction from-kernel --size 64K --scriptable";
    only(dump, &["debugfs", "seq_file"]);
    only("--what debug --direction to-kernel", &["debugfs"]);
    only("--what debug --unprivileged", &[]);
}

#[test]
fn a_million_events_a_second_are_in_a_mapped_ring() {
    let events = "--what event --direction from-kernel --size 64 --rate 1M --notify";
    assert_eq!(fitting(events)[0], "mmap");
    assert!(why_not("genl", events).contains("of a core at 1,000,000/s"));
    let stream = "--what stream --direction from-kernel --size 256 --rate 1M";
    ranked(stream, &["mmap", "chardev"]);

    let (gates, reference) = (gates(), reference());
    let answer = answer(&gates, &reference, &wishes(events));
    let price = answer.fitting[0].price.as_ref().unwrap();
    // That the kernel puts them there, and looks whether anybody sleeps: no ring of the program's own.
    assert_eq!(price.operations, ["an event by the ring, one of many"]);
    assert!((80.0..160.0).contains(&price.instructions), "{price:?}");
}

#[test]
fn a_command_has_an_answer_and_a_list_is_read() {
    assert!(why_not("genl", "--what command --size 20K").contains("takes 3,700 bytes at most"));
    let (gates, reference) = (gates(), reference());
    let answer = answer(&gates, &reference, &wishes("--what list"));
    let is_list = |one: &&Fitting<'_>| one.gate == "seq_file";
    let list = answer.fitting.iter().find(is_list).unwrap();
    assert_eq!(list.price.as_ref().unwrap().operations, ["read numbers"]);
}

#[test]
fn what_costs_more_is_not_for_when_the_simple_costs_too_much() {
    let (gates, reference) = (gates(), reference());
    let answer = answer(&gates, &reference, &wishes("--size 64"));
    let is_mmap = |one: &&Fitting<'_>| one.gate == "mmap";
    let ring = answer.fitting.iter().find(is_mmap).unwrap();
    assert!(ring.only_if.as_ref().unwrap().contains("many at a time"));
}

#[test]
fn a_few_events_a_second_need_no_memory_in_common() {
    let events = "--what event --direction from-kernel --size 64 --rate 10 --notify";
    only(events, &["chardev", "genl", "sysfs"]);
    assert!(why_not("mmap", events).contains("is simpler"));
}

#[test]
fn requests_with_events_to_many_listeners_are_generic_netlink() {
    let requests = "--what command --direction both --size 200 --notify";
    only(requests, &["genl"]);
    assert!(why_not("ioctl", requests).contains("wakes nobody"));
    assert!(why_not("netlink", requests).contains("no plans"));
}

#[test]
fn a_command_on_a_device_is_an_ioctl() {
    let command = "--what command --direction both --size 200 --unprivileged";
    ranked(command, &["ioctl", "genl"]);
    assert!(why_not("syscall", command).contains("every program"));
}

#[test]
fn a_command_that_does_not_fit_into_an_ioctl_is_generic_netlink() {
    let command = "--what command --direction to-kernel --size 64K";
    ranked(command, &["genl"]);
    assert!(why_not("ioctl", command).contains("16,383 bytes at most"));
}

#[test]
fn a_stream_of_bytes_is_a_device() {
    ranked("--what stream", &["chardev", "mmap"]);
    ranked("--what stream --scriptable --notify", &["chardev"]);
    ranked(
        "--what stream --size 64 --rate 10 --unprivileged",
        &["chardev"],
    );
}

#[test]
fn a_list_is_generic_netlink_for_programs_and_a_seq_file_for_people() {
    only("--what list", &["genl", "seq_file"]);
    only("--what list --unprivileged", &["genl"]);
    only("--what list --scriptable", &["seq_file"]);
    only("--what list --notify", &["genl"]);
}

#[test]
fn what_is_special_is_to_be_asked_for() {
    for (what, gates) in [
        ("process", &["procfs"][..]),
        ("devices", &["bus"]),
        ("remote", &["udp", "packet"]),
        ("interrupt", &["signal"]),
        ("start", &["upcall"]),
        ("everyone", &["syscall"]),
    ] {
        only(&format!("--what {what}"), gates);
        let anything = fitting("");
        for gate in gates {
            assert!(!anything.iter().any(|fits| fits == gate), "{gate}");
        }
    }
}

#[test]
fn nothing_new_is_a_netlink_protocol() {
    for what in clap_values() {
        assert!(!fitting(&format!("--what {what}")).contains(&"netlink".into()));
    }
}

/// All that can be said to cross.
fn clap_values() -> Vec<String> {
    use clap::ValueEnum as _;
    let values = What::value_variants().iter();
    let values = values.filter_map(clap::ValueEnum::to_possible_value);
    values.map(|value| value.get_name().to_owned()).collect()
}

#[test]
fn everything_that_can_cross_has_a_gate() {
    for what in clap_values() {
        assert!(!fitting(&format!("--what {what}")).is_empty(), "{what}");
    }
}

#[test]
fn datagrams_to_other_machines_without_privileges_are_udp() {
    let remote = "--what remote --unprivileged";
    only(remote, &["udp"]);
    assert!(why_not("packet", remote).contains("CAP_NET_RAW"));
    only("--what remote --size 9000", &["udp"]);
}

#[test]
fn no_module_gets_data_back_by_a_signal() {
    let wish = "--what interrupt --direction both";
    only(wish, &[]);
    assert!(why_not("signal", wish).contains("nothing to the kernel"));
    assert!(why_not("signal", "--what interrupt --size 8").contains("4 bytes at most"));
}

#[test]
fn who_writes_to_sysfs_has_privileges_and_who_reads_needs_none() {
    let value = "--what value --unprivileged --size 4";
    only(
        &format!("{value} --direction from-kernel"),
        &["sysfs", "parameter", "sysctl"],
    );
    only(&format!("{value} --direction to-kernel"), &[]);
}

#[test]
fn when_nothing_is_left_the_worst_wish_is_named() {
    let gates = gates();
    let wishes = wishes("--what command --direction both --scriptable --size 4");
    let answer = answer(&gates, &reference(), &wishes);
    assert!(answer.fitting.is_empty());
    let worst = &answer.blame[0];
    assert_eq!(worst.wish, Wish::What);
    assert!(worst.excludes > 12, "{}", worst.excludes);
    let scripts = answer
        .blame
        .iter()
        .find(|blame| blame.wish == Wish::Scriptable);
    assert_eq!(scripts.unwrap().without, ["ioctl", "genl"]);
    let size = answer
        .blame
        .iter()
        .find(|blame| blame.wish == Wish::Size)
        .unwrap();
    assert_eq!((size.excludes, &size.without[..]), (0, &[][..]));
    assert_eq!(answer.blame.len(), 4);
}

#[test]
fn nothing_is_fast_enough_for_everything() {
    let gates = gates();
    let wishes = wishes("--what command --rate 1G");
    let answer = answer(&gates, &reference(), &wishes);
    assert!(answer.fitting.is_empty());
    let rate = answer.blame.iter().find(|blame| blame.wish == Wish::Rate);
    assert_eq!(rate.unwrap().without, ["ioctl", "genl"]);
}

fn cost(gate: &str, work: &str, operation: &str, bytes: u64, all: u64) -> Cost {
    Cost {
        gate: gate.into(),
        work: work.into(),
        operation: operation.into(),
        bytes,
        calls: 1,
        program: 100,
        kernel: all - 100,
        twin: None,
    }
}

fn costs(reference: Vec<Cost>, here: Vec<Cost>) -> Costs {
    Costs {
        reference,
        here,
        about: Vec::new(),
    }
}

/// What a message to the kernel through a character device costs.
fn price(costs: &Costs, size: u64) -> (u64, Basis, bool) {
    let gates = gates();
    let (_, facts) = gates
        .iter()
        .find(|(gate, _)| gate.name == "chardev")
        .unwrap();
    let wishes = Wishes {
        direction: Some(Direction::ToKernel),
        size: Some(size),
        ..Wishes::default()
    };
    let price = costs.price("chardev", facts, &wishes).unwrap();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small"
    )]
    let instructions = price.instructions as u64;
    (instructions, price.basis, price.here)
}

#[test]
fn between_measured_sizes_costs_are_on_a_line() {
    let written = |bytes, all| cost("chardev", "to-kernel", "write", bytes, all);
    let costs = costs(
        vec![written(1000, 2000), written(10, 1000), written(2010, 4000)],
        vec![],
    );
    assert_eq!(price(&costs, 10), (1000, Basis::Measured, false));
    assert_eq!(price(&costs, 505), (1500, Basis::Between, false));
    assert_eq!(price(&costs, 1), (1000, Basis::Below, false));
    assert_eq!(price(&costs, 3020), (6000, Basis::Beyond, false));
}

#[test]
fn the_operation_that_was_measured_nearest_counts() {
    let costs = costs(
        vec![
            cost("chardev", "to-kernel", "cheap", 8, 400),
            cost("chardev", "to-kernel", "write", 1, 500),
            cost("chardev", "to-kernel", "write", 101, 600),
            cost("chardev", "to-program", "read", 51, 300),
            cost("ioctl", "to-kernel", "write", 51, 300),
        ],
        vec![],
    );
    assert_eq!(price(&costs, 51), (550, Basis::Between, false));
    assert_eq!(price(&costs, 8), (400, Basis::Measured, false));
}

#[test]
fn what_was_measured_here_takes_precedence_gate_by_gate() {
    let written = |gate, all| cost(gate, "to-kernel", "write", 64, all);
    let both = costs(vec![written("chardev", 700)], vec![written("chardev", 900)]);
    assert_eq!(price(&both, 64), (900, Basis::Measured, true));
    let another = costs(vec![written("chardev", 700)], vec![written("ioctl", 900)]);
    assert_eq!(price(&another, 64), (700, Basis::Measured, false));
}

#[test]
fn what_was_not_measured_comes_last() {
    let some = costs(vec![cost("sysctl", "to-kernel", "write", 4, 9000)], vec![]);
    let gates = gates();
    let wishes = wishes("--what value --direction to-kernel --size 4");
    assert_eq!(
        names(&answer(&gates, &some, &wishes)),
        ["sysctl", "parameter", "sysfs"]
    );
}

#[test]
fn numbers_have_units() {
    assert_eq!(bytes("4K"), Ok(4096));
    assert_eq!(bytes("64"), Ok(64));
    assert_eq!(per_second("1M"), Ok(1_000_000));
    assert_eq!(per_second("20k"), Ok(20_000));
    for wrong in [
        "",
        "0",
        "K",
        "-1",
        "1.5K",
        "1T",
        "99999999999999999999",
        "18446744073709551615K",
    ] {
        assert!(bytes(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_was_answered_to_questions_can_be_said_by_arguments() {
    let said = "--what event --direction from-kernel --size 64 --rate 1000 --notify --unprivileged";
    let all = wishes(said);
    assert_eq!(all.arguments().trim(), said);
    assert_eq!(wishes(&all.arguments()), all);
}
