// SPDX-License-Identifier: MIT OR Apache-2.0

//! Completions and manual pages, as the programs take them that they are made for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn callgate(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    // Whoever makes a package has neither of them.
    let command = command.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    succeeded(&command.args(arguments).output().unwrap())
}

fn succeeded(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert_eq!(said, "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = "
        source /dev/stdin <<< \"$SCRIPT\"
        COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1))
        $(complete -p callgate | sed 's/.* -F \\([^ ]*\\) .*/\\1/') callgate \"${@: -1}\" \"${@: -2:1}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash"])
        .args(words)
        .env("SCRIPT", callgate(&["completions", "bash"]))
        .output()
        .unwrap();
    succeeded(&output)
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(offered(&["callgate", "de"]), ["demo"]);
    assert_eq!(offered(&["callgate", "test", "--fil"]), ["--filter"]);
    assert_eq!(
        offered(&["callgate", "test", "--kernel", ""]),
        ["release", "debug", "distro"]
    );
    assert_eq!(offered(&["callgate", "--accel", "k"]), ["kvm"]);
}

#[test]
fn nothing_hidden_is_offered() {
    let all = offered(&["callgate", ""]);
    assert!(all.contains(&"shell".to_owned()), "{all:?}");
    for hidden in ["plant", "man"] {
        assert!(!all.contains(&hidden.to_owned()), "{all:?}");
    }
}

/// A directory with the manual pages, and their names.
fn pages(name: &str) -> (PathBuf, Vec<String>) {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    callgate(&["man", place.to_str().unwrap()]);
    let entries = fs::read_dir(&place).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    (place, names)
}

/// A page as a reader sees it.
fn read(page: &Path) -> String {
    let output = Command::new("man")
        .args(["--warnings", "--encoding=utf-8", "--local-file"])
        .arg(page)
        .env("MANWIDTH", "100")
        .output()
        .expect("is man-db installed?");
    succeeded(&output)
}

#[test]
fn every_command_has_a_page_without_a_warning() {
    let (place, names) = pages("pages");
    let help = callgate(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let mut expected: Vec<_> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|command| !["", "help"].contains(command))
        .map(|command| format!("callgate-{command}.1"))
        .chain(["callgate.1".to_owned()])
        .collect();
    expected.sort();
    assert_eq!(names, expected);
    for name in names {
        let page = read(&place.join(&name));
        for part in ["NAME", "SYNOPSIS", "EXIT STATUS", "\ncallgate 0."] {
            assert!(page.contains(part), "{name}: no {part} in\n{page}");
        }
    }
}

#[test]
fn a_page_has_the_exit_statuses_of_the_long_help() {
    let (place, _) = pages("statuses");
    let page = read(&place.join("callgate-demo.1"));
    for status in [
        "0      all good",
        "4      the kernel complained",
        "130    interrupted",
    ] {
        assert!(page.contains(status), "no `{status}` in\n{page}");
    }
}
