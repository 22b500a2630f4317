// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rules of the house that no compiler checks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use lab::doctor::{Needs, Remedy, check_on};
use lab::gates::KernelSide;
use lab::toolchain::Machine;
use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The gates' folders.
fn gates() -> Vec<PathBuf> {
    let folders = fs::read_dir(repository().join("gates")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path());
    folders
        .filter(|folder| KernelSide::find(folder).is_some())
        .collect()
}

/// The file of a gate with its kernel side.
fn kernel_side(gate: &Path) -> &'static str {
    KernelSide::find(gate).unwrap().file()
}

fn name(gate: &Path) -> String {
    gate.file_name().unwrap().to_str().unwrap().into()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_gate_is_in_both_lists_and_in_the_readme() {
    let readme = read(repository().join("README.md"));
    // Finding them fails if a list lacks one.
    for gate in lab::gates::find(repository()).unwrap() {
        let name = gate.name;
        assert!(
            readme.contains(&format!("[{name}](gates/{name})")),
            "{name} is not in README.md"
        );
    }
}

#[test]
fn a_gates_module_is_named_after_its_folder() {
    for gate in gates() {
        if KernelSide::find(&gate) == Some(KernelSide::BuiltIn) {
            continue;
        }
        let name = format!("name: \"callgate_{}\"", name(&gate));
        assert!(
            read(gate.join("module.rs")).contains(&name),
            "{}: no `{name}`",
            gate.display()
        );
    }
}

#[test]
fn every_chapter_has_its_sections() {
    for gate in gates() {
        let chapter = read(gate.join("README.md"));
        assert!(
            chapter.starts_with(&format!("# {}: ", name(&gate))),
            "{}",
            gate.display()
        );
        let titles: Vec<_> = chapter
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        let sections = [
            "Description",
            "Implementation",
            "What changed since 2008",
            "When to use it and when not",
            "Further reading",
        ];
        assert_eq!(titles, sections, "{}", gate.display());
    }
}

/// A block that says ```` ```rust from FILE ```` is part of that file, to the letter.
#[test]
fn chapters_quote_the_files_that_are_tested() {
    for gate in gates() {
        let chapter = read(gate.join("README.md"));
        let mut quotations = 0;
        for block in chapter.split("```rust").skip(1) {
            let Some((info, rest)) = block.split_once('\n') else {
                continue;
            };
            let Some(file) = info.strip_prefix(" from ") else {
                panic!("{}: a block of Rust that is no quotation", gate.display());
            };
            let quotation = rest.split("```").next().unwrap();
            // What is marked for a new project is marked for nobody else.
            let text = read(gate.join(file));
            let lines = text.split_inclusive('\n');
            let text: String = lines
                .filter(|line| !line.trim().starts_with("// new: "))
                .collect();
            assert!(
                text.contains(quotation),
                "{}: {file} does not have this any more:\n{quotation}",
                gate.display()
            );
            quotations += 1;
        }
        assert!(quotations > 0, "{} quotes nothing", gate.display());
    }
}

/// Every file of ours below `directory`.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let hidden = name(&path).starts_with('.') || name(&path) == "target";
        if path.is_dir() && !hidden {
            sources(&path, found);
        } else if path
            .extension()
            .is_some_and(|end| ["rs", "c", "h"].iter().any(|e| end == *e))
        {
            found.push(path);
        }
    }
}

#[test]
fn every_source_file_names_its_licence_first() {
    let mut files = Vec::new();
    sources(repository(), &mut files);
    assert!(files.len() > 30);
    for file in files {
        let inside = file.strip_prefix(repository()).unwrap();
        let licence = match name(&file).as_str() {
            "abi.rs" => "GPL-2.0 OR MIT",
            "module.rs" | "builtin.rs" | "twin.c" if inside.starts_with("gates") => "GPL-2.0",
            "module.rs" if inside.parent().unwrap().ends_with("frame") => "GPL-2.0",
            _ if inside.starts_with("kernel") => "GPL-2.0",
            _ if inside.parent().unwrap().ends_with("peers") => "GPL-2.0",
            _ => "MIT OR Apache-2.0",
        };
        let text = read(&file);
        let first = text.lines().next().unwrap_or_default();
        let said = first
            .split_once("SPDX-License-Identifier: ")
            .map(|(_, said)| said);
        let said = said.map(|said| said.trim_end_matches("*/").trim_end());
        assert_eq!(said, Some(licence), "{}", inside.display());
    }
}

#[test]
fn gates_are_free_of_unsafe() {
    for gate in gates() {
        let kernel_side = kernel_side(&gate);
        assert!(read(gate.join(kernel_side)).contains("#![deny(unsafe_code)]"));
        let elsewhere = gate.join("elsewhere.rs").exists();
        let files = [
            "abi.rs",
            kernel_side,
            "program.rs",
            "tests.rs",
            "bench.rs",
            "attack.rs",
        ]
        .into_iter();
        for file in files.chain(elsewhere.then_some("elsewhere.rs")) {
            let text = read(gate.join(file));
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let found = code.clone().find(|line| {
                line.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|word| word == "unsafe")
            });
            assert_eq!(found, None, "{}/{file}", gate.display());
        }
    }
}

/// A patch that adds a file of ours to the kernel has it to the letter. `CALLGATE_BLESS=1` makes it so.
#[test]
fn patches_have_our_files_as_they_are() {
    let mut copies = 0;
    for entry in fs::read_dir(repository().join("kernel/patches")).unwrap() {
        let file = entry.unwrap().path();
        let old = read(&file);
        let new = lab::patches::with_copies(&old, repository()).unwrap();
        if std::env::var_os("CALLGATE_BLESS").is_some() {
            fs::write(&file, &new).unwrap();
        } else {
            assert!(
                old == new,
                "{}: a file that it copies has changed; CALLGATE_BLESS=1 copies it anew",
                file.display()
            );
        }
        copies += old.matches(", to the letter:\n").count();
    }
    assert!(copies > 0);
}

/// The operations of ways for many events, as the chapter calls them.
const MANY_EVENTS: [(&str, &str); 13] = [
    (
        "**ring**, put in 64 at a time, with doorbell",
        "ring, batches: produce",
    ),
    (
        "the same without the doorbell",
        "ring, batches, no wakeup: produce",
    ),
    (
        "**ring**, one by one: the lock and the doorbell each",
        "ring, one by one: produce",
    ),
    (
        "the same without the doorbell",
        "ring, one by one, no wakeup: produce",
    ),
    (
        "BPF, reserve and submit, adaptive",
        "BPF reserve, adaptive: produce",
    ),
    (
        "the same without wake-ups",
        "BPF reserve, no wakeup: produce",
    ),
    ("BPF, output", "BPF output, adaptive: produce"),
    ("relay", "relay: produce"),
    ("netlink multicast", "netlink: produce"),
    ("**ring**, taken out", "ring: consume"),
    ("BPF, taken out by the shortest reader", "BPF: consume"),
    ("relay, read(2)", "relay: consume"),
    ("netlink, recvmsg(2) and our library", "netlink: consume"),
];

/// The chapter on costs has the committed counts. `CALLGATE_BLESS=1` makes it so.
#[test]
fn the_chapter_on_costs_has_the_committed_counts() {
    let reference: Value =
        serde_json::from_str(&read(repository().join("gates/bench/reference.json"))).unwrap();
    let costs = reference["costs"].as_array().unwrap();

    let mut twins = String::new();
    for cost in costs {
        let number = |name: &str| cost[name].as_f64();
        let (Some(kernel), Some(twin)) = (number("kernel"), number("twin")) else {
            continue;
        };
        if twin == 0.0 {
            // The kernel has no part in it.
            continue;
        }
        let [gate, operation] = ["gate", "operation"].map(|name| cost[name].as_str().unwrap());
        let (bytes, ratio) = (&cost["bytes"], kernel / twin);
        writeln!(
            twins,
            "| {gate}: {operation} | {bytes} | {kernel} | {twin} | {ratio:.3} |"
        )
        .unwrap();
    }

    let all = |operation: &str, bytes: u64| {
        let is_it = |cost: &&Value| cost["operation"] == operation && cost["bytes"] == bytes;
        let cost = costs.iter().find(is_it).expect(operation);
        cost["kernel"].as_f64().unwrap() + cost["program"].as_f64().unwrap()
    };
    let mut events = String::new();
    for (name, operation) in MANY_EVENTS {
        let none = |bytes| all(&format!("{operation} 0"), bytes);
        let each = |bytes| (all(&format!("{operation} 100"), bytes) - none(bytes)) / 100.0;
        let (once, [small, middle, large]) = (none(16), [16, 64, 256].map(each));
        writeln!(
            events,
            "| {name} | {once} | {small:.1} | {middle:.1} | {large:.1} |"
        )
        .unwrap();
    }

    let path = repository().join("book/cost.md");
    let old = read(&path);
    let new = with_table(&old, "| operation | bytes | Rust | C | Rust / C |", &twins);
    let header = "| instructions | once | each of 16 | of 64 | of 256 bytes |";
    let new = with_table(&new, header, &events);
    if std::env::var_os("CALLGATE_BLESS").is_some() {
        fs::write(&path, &new).unwrap();
    } else {
        assert!(
            old == new,
            "the counts have changed; CALLGATE_BLESS=1 copies them anew"
        );
    }
}

/// The same text with other rows in the table that has this header.
fn with_table(text: &str, header: &str, rows: &str) -> String {
    let (before, rest) = text.split_once(header).expect(header);
    let (rule, rest) = rest.trim_start().split_once('\n').expect("a rule");
    let is_row = |line: &&str| line.starts_with('|');
    let old: usize = rest
        .split_inclusive('\n')
        .take_while(is_row)
        .map(str::len)
        .sum();
    format!("{before}{header}\n{rule}\n{rows}{}", &rest[old..])
}

/// Two lists of the same packages, in different languages.
#[test]
fn the_package_names_what_the_doctor_asks_for() {
    let control = read(repository().join("debian/control"));
    // A field whose first line has nothing but its name, and what is indented below it.
    let field = |name: &str| -> BTreeSet<String> {
        let (_, rest) = control.split_once(&format!("\n{name}:\n")).unwrap();
        let lines = rest.lines().map_while(|line| line.strip_prefix(' '));
        lines
            .map(|line| line.trim_end_matches(',').to_owned())
            .collect()
    };
    // A Debian without these is none.
    let essential = ["bash", "tar", "util-linux"].map(str::to_owned);
    let asked_for = |needs| -> BTreeSet<String> {
        let findings = check_on(&Machine::with("/nonexistent", "/nonexistent"), needs);
        let packages = findings
            .into_iter()
            .filter_map(|finding| match finding.remedy {
                Remedy::Packages(packages) => Some(packages),
                Remedy::Command(_) => None,
            });
        packages
            .flatten()
            .filter(|package| !essential.contains(package))
            .collect()
    };
    let mut build_and_run = asked_for(Needs::BUILD_AND_RUN);
    // That is for a machine without apt-get.
    build_and_run.remove("curl");
    assert_eq!(field("Recommends"), build_and_run);
    let mut test = asked_for(Needs {
        build: false,
        run: false,
        test: true,
        distro: true,
    });
    test.retain(|package| !build_and_run.contains(package));
    test.extend(["cargo (>= 1.95)", "rustup"].map(str::to_owned));
    assert_eq!(field("Suggests"), test);
}
