// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every project that `callgate new` can make of one gate, and the one of all gates: linted, built, and tested.
//!
//! Of any two gates there is a project with both, one with either alone, and one with neither. What a project
//! takes is what each of its gates takes: so if the first three are complete, and in the last one nothing
//! clashes, those in between are and do neither.

use guest::{Message, Plan};
use lab::cache::Cache;
use lab::kernel::Flavour;
use lab::project::Project;
use lab::run;
use lab::userspace::Purpose;
use lab::verdict::Outcome;
use lab::{Lab, gates, lanes};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

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

/// Makes a project with these gates, has it linted, and opens it.
fn made(root: &Path, gates: &[&str], cache: &Cache) -> Project {
    let target = cache.path("userspace");
    let (folder, list) = (root.display().to_string(), gates.join(","));
    callgate(repository(), &["new", &folder, "--gate", &list], &target);
    callgate(root, &["lint"], &target);
    Project::open(root.to_owned(), cache).unwrap()
}

/// Builds projects and runs all of their tests on a kernel.
fn tested(lab: &Lab, projects: &[Project], flavour: Flavour) {
    let prepared = run::prepare(lab, projects, &[flavour], Purpose::Tested).unwrap();
    let (lanes, turns) = (lanes::of_this_host(), prepared.turns(&[]));
    let expected: BTreeSet<_> = turns.iter().map(|turn| turn.name.clone()).collect();
    let plan = |turns| Plan::Test {
        turns,
        filter: None,
        cycles: Some(3),
    };
    let mut ran = BTreeSet::new();
    let mut failures = Vec::new();
    let boot = prepared.boots(flavour, lanes, turns, plan, |message| match message {
        Message::Test {
            gate,
            name,
            failure,
            ..
        } => {
            ran.insert(gate.clone());
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
    assert_eq!(ran, expected, "on the {flavour} kernel");
}

#[test]
fn every_template_is_without_a_warning_and_passes_its_tests() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    let gates = gates::find(repository()).unwrap();
    let modules = gates.iter().filter(|gate| gate.module.is_some());
    let names: Vec<_> = modules.map(|gate| gate.name.as_str()).collect();

    let lab = Lab {
        cache: Cache::open().unwrap(),
        source: repository().to_owned(),
        output: repository().join("target/callgate"),
        kernel_source: None,
        accel: None,
    };
    let alone = names.iter().map(|name| {
        let root = place.join(format!("only_{name}"));
        made(&root, &[name], &lab.cache)
    });
    let mut projects: Vec<_> = alone.collect();
    projects.push(made(&place.join("all"), &names, &lab.cache));

    tested(&lab, &projects, Flavour::Release);
    // Each gate's tests once: there they take several times as long.
    tested(&lab, &projects[names.len()..], Flavour::Debug);
    fs::remove_dir_all(&place).unwrap();
}
