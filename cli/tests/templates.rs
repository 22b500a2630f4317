// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every project that `callgate new` can make of one gate, and combinations of several: linted, built, and
//! tested on both kernels.
//!
//! A gate must go with every other one, and without it. So the combinations are such that of any two gates
//! there is one with both, one with the first alone, and one with the second alone; and then, there is the
//! one with all.

use guest::{Message, Plan};
use lab::cache::Cache;
use lab::kernel::Flavour;
use lab::project::Project;
use lab::run;
use lab::verdict::Outcome;
use lab::{Lab, gates, lanes};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// How many combinations of several there are, beside that of all.
const COMBINATIONS: u32 = 7;

/// In how many of them each gate is: more than half, so that any two gates meet.
const MEMBERSHIPS: u32 = 4;

/// The gates of a project, by the name of the project.
type Template<'a> = (String, Vec<&'a str>);

/// All of them, of these gates.
fn templates<'a>(gates: &[&'a str]) -> Vec<Template<'a>> {
    // No two gates are in the same combinations, and so each is somewhere without the other.
    let memberships: Vec<u32> = (0..1 << COMBINATIONS)
        .filter(|set: &u32| set.count_ones() == MEMBERSHIPS)
        .collect();
    assert!(gates.len() <= memberships.len());
    // Neighbours in that list have most in common, and would make some combinations large.
    let stride = memberships.len() / gates.len();
    let of = |gate: usize| memberships[gate * stride];
    let alone = gates
        .iter()
        .map(|gate| (format!("only_{gate}"), vec![*gate]));
    let some = (0..COMBINATIONS).map(|combination| {
        let in_it =
            |(at, gate): (usize, &&'a str)| (of(at) & 1 << combination != 0).then_some(*gate);
        let chosen = gates.iter().enumerate().filter_map(in_it);
        (format!("some_{combination}"), chosen.collect())
    });
    let all = ("all".into(), gates.to_vec());
    alone.chain(some).chain([all]).collect()
}

#[test]
fn any_two_gates_are_together_and_each_without_the_other() {
    let gates = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q",
    ];
    let templates = templates(&gates);
    let some = &templates[gates.len()..templates.len() - 1];
    for one in gates {
        for other in gates.into_iter().filter(|other| *other != one) {
            let has = |gate: &str, (_, gates): &Template| gates.contains(&gate);
            assert!(
                some.iter().any(|t| has(one, t) && has(other, t)),
                "{one}, {other}"
            );
            assert!(
                some.iter().any(|t| has(one, t) && !has(other, t)),
                "{one}, not {other}"
            );
        }
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The command, which must succeed.
fn callgate(directory: &Path, arguments: &[&str], target: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(arguments)
        .current_dir(directory)
        // What the projects have in common is compiled once.
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {arguments:?}: {said}",
        directory.display()
    );
}

#[test]
fn every_template_is_without_a_warning_and_passes_its_tests_on_both_kernels() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    let gates = gates::find(repository()).unwrap();
    let names: Vec<_> = gates
        .iter()
        .filter(|gate| gate.module.is_some())
        .map(|gate| gate.name.as_str())
        .collect();
    let templates = templates(&names);

    let cache = Cache::open().unwrap();
    let target = cache.path("userspace");
    let mut projects = Vec::new();
    let mut expected = BTreeSet::new();
    for (name, gates) in &templates {
        let root = place.join(name);
        let (folder, list) = (root.display().to_string(), gates.join(","));
        callgate(repository(), &["new", &folder, "--gate", &list], &target);
        callgate(&root, &["lint"], &target);
        projects.push(Project::open(root, &cache).unwrap());
        expected.extend(gates.iter().map(|gate| format!("{name}/{gate}")));
    }

    let lab = Lab {
        cache,
        source: repository().to_owned(),
        output: repository().join("target/callgate"),
        kernel_source: None,
        accel: None,
    };
    let flavours = [Flavour::Release, Flavour::Debug];
    let prepared = run::prepare(&lab, &projects, &flavours).unwrap();
    let plan = |turns| Plan::Test {
        turns,
        filter: None,
        cycles: None,
    };
    for flavour in flavours {
        let mut tested = BTreeSet::new();
        let mut failures = Vec::new();
        let (lanes, turns) = (lanes::of_this_host(), prepared.turns(&[]));
        let boot = prepared.boots(flavour, lanes, turns, plan, |message| match message {
            Message::Test {
                gate,
                name,
                failure,
                ..
            } => {
                tested.insert(gate.clone());
                failures.extend(failure.iter().map(|why| format!("{gate}::{name}: {why}")));
            }
            Message::GateEnds {
                gate,
                error: Some(error),
                ..
            } => {
                failures.push(format!("{gate}: {error}"));
            }
            _ => {}
        });
        let boot = boot.unwrap();
        assert!(
            failures.is_empty(),
            "on the {flavour} kernel: {}",
            failures.join("\n")
        );
        assert_eq!(
            boot.outcome,
            Outcome::Passed,
            "on the {flavour} kernel: {:?}",
            boot.splats
        );
        assert_eq!(tested, expected, "on the {flavour} kernel");
    }
    fs::remove_dir_all(&place).unwrap();
}
