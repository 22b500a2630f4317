// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the command answers before anything boots.

use std::process::{Command, Output};

fn callgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn wrong_usage_is_exit_status_2() {
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["demo", "--frobnicate"],
        &["test", "no-gate"],
        &["build", "--kdir", "/", "--kernel", "debug"],
        &["bench", "--exact", "--time"],
        &["bench", "--compare", "/nowhere"],
        &["plant", "warn", "--kernel", "distro"],
    ] {
        let output = callgate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

#[test]
fn an_unknown_gate_is_answered_with_those_there_are() {
    let output = callgate(&["demo", "no-gate"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    let (_, gates) = said.split_once("there are ").expect(&said);
    let listed = stdout(&callgate(&["list"]));
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(gates.trim_end(), names.join(", "));
}

#[test]
fn list_names_every_gate_with_its_title() {
    let output = callgate(&["list"]);
    assert_eq!(output.status.code(), Some(0));
    let list = stdout(&output);
    let ioctl = list
        .lines()
        .find_map(|line| line.strip_prefix("ioctl "))
        .expect(&list);
    assert_eq!(ioctl.trim_start(), "typed commands on an open file");
    assert!(!list.contains('\x1b'), "colour off a terminal");
    let json: serde_json::Value =
        serde_json::from_slice(&callgate(&["list", "--json"]).stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), list.lines().count());
}

#[test]
fn who_chooses_without_a_terminal_says_what_by_arguments() {
    let asked = Command::new(env!("CARGO_BIN_EXE_callgate"))
        .arg("choose")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(asked.status.code(), Some(2));
    assert!(stderr(&asked).contains("there is no terminal to ask at"));

    let answered = callgate(&["choose", "--what", "objects", "--scriptable", "--json"]);
    assert_eq!(answered.status.code(), Some(0));
    let answer: serde_json::Value = serde_json::from_slice(&answered.stdout).unwrap();
    assert_eq!(answer["answer"]["fitting"][0]["gate"], "configfs");
    let plain = stdout(&callgate(&["choose", "--what", "objects", "--scriptable"]));
    assert!(plain.contains("gates/configfs/README.md") && !plain.contains('\x1b'));

    let nothing = callgate(&["choose", "--what", "command", "--scriptable"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(stdout(&nothing).contains("Nothing has all that."));
    let told_of_nothing = callgate(&["choose", "--notify", "--direction", "to-kernel"]);
    assert_eq!(told_of_nothing.status.code(), Some(2));
}

#[test]
fn a_directory_that_no_kernel_was_built_in_is_exit_status_3_and_says_what_to_do() {
    for (directory, advice) in [
        ("/nowhere", "there is no such directory"),
        (env!("CARGO_MANIFEST_DIR"), "no kernel was built there"),
        ("/lib/modules/7.3.4-none/build", "that is no build tree"),
    ] {
        let output = callgate(&["build", "--kdir", directory]);
        assert_eq!(output.status.code(), Some(3), "{directory}");
        assert_eq!(stdout(&output), "", "{directory}");
        let said = stderr(&output);
        assert!(said.contains(directory) && said.contains(advice), "{said}");
    }
}

#[test]
fn without_a_directory_kdir_is_the_running_kernels() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let tree = format!("/lib/modules/{}/build", release.trim());
    // Whatever kernel runs here, without a rustc nothing can be built for it.
    let output = Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(["build", "--kdir"])
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("against {tree}:\n")), "{said}");
}

#[test]
fn what_is_missing_is_exit_status_3_and_says_how_to_get_it() {
    let empty = std::env::temp_dir();
    let output = Command::new(env!("CARGO_BIN_EXE_callgate"))
        .arg("doctor")
        .env("PATH", &empty)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let (said, advice) = (stdout(&output), stderr(&output));
    assert!(said.contains("qemu"), "{said}");
    assert!(advice.contains("apt-get install"), "{advice}");
}

#[test]
fn a_path_that_make_cannot_take_is_refused_at_once() {
    let cache = std::env::temp_dir().join("callgate test with spaces");
    let output = Command::new(env!("CARGO_BIN_EXE_callgate"))
        .arg("list")
        .env("XDG_CACHE_HOME", &cache)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&cache).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("without spaces"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_kernel_source_that_is_none_is_wrong_usage() {
    let output = callgate(&["build", "--kernel-source", "/proc"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("no tree of Linux sources"),
        "{}",
        stderr(&output)
    );
}
