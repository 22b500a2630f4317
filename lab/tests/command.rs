// SPDX-License-Identifier: MIT OR Apache-2.0

//! Running programs: what errors say, and that nothing is left running.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use lab::command::{Cmd, Failed, TimedOut};
use rustix::process::{Pid, Signal, kill_process};
use support::another_run;

fn file(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("command");
    fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

fn sh(script: &str) -> Cmd<'static> {
    Cmd::new("sh").args(["-c", script])
}

/// Whether a process has gone, within a few seconds.
fn is_gone(pid: &str) -> bool {
    let started = Instant::now();
    let alive = || {
        // A zombie that nobody has reaped yet runs no more.
        let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    while alive() && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    !alive()
}

#[test]
fn output_is_returned_and_lines_are_handed_over() {
    let mut lines = Vec::new();
    let output = sh("echo one; echo two >&2")
        .on_line(|line| lines.push(line.to_owned()))
        .output();
    assert_eq!(output.unwrap(), "one\n");
    lines.sort();
    assert_eq!(lines, ["one", "two"]);
}

#[test]
fn failure_tells_the_command_its_last_lines_and_the_log() {
    let log = file("failure.log");
    let error = sh("seq 100; exit 3").log(&log).run().unwrap_err();
    let failed = error.downcast_ref::<Failed>().unwrap();
    assert_eq!((failed.code, failed.tail.len()), (Some(3), 30));
    assert_eq!(failed.tail.last().unwrap(), "100");
    let message = error.to_string();
    for part in [
        "`sh -c 'seq 100; exit 3'` exited with status 3",
        "failure.log",
        "  | 100",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(fs::read_to_string(&log).unwrap().contains("\n1\n2\n3\n"));
}

#[test]
fn failure_tells_what_a_compiler_said_first() {
    for said in ["error: no", "error[E0432]: no", "module.c:3:1: error: no"] {
        let script = format!("seq 100; echo '{said}'; seq 101 200; exit 1");
        let error = sh(&script).run().unwrap_err();
        let failed = error.downcast_ref::<Failed>().unwrap();
        assert_eq!((&*failed.tail[0], failed.tail.len()), (said, 30));
        assert_eq!(failed.tail[1], "101");
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Cmd::new("callgate-no-such-program")
        .run()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`callgate-no-such-program` was not found"),
        "{error}"
    );
}

#[test]
fn the_time_limit_ends_the_whole_group() {
    let mut pid = String::new();
    let started = Instant::now();
    let error = sh("sleep 100 & echo $!; sleep 100")
        .on_line(|line| line.clone_into(&mut pid))
        .limit(Duration::from_millis(300))
        .run()
        .unwrap_err();
    assert!(error.is::<TimedOut>(), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(is_gone(&pid));
}

#[test]
fn what_a_program_leaves_running_is_ended_with_it() {
    let pid = sh("sleep 100 & echo $!").output().unwrap();
    assert!(is_gone(pid.trim()));
}

fn start_another_run() -> (Child, Lines<BufReader<ChildStdout>>, Vec<String>) {
    let mut child = another_run(&["command"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pids = lines.find_map(|line| Some(line.unwrap().strip_prefix("pids ")?.to_owned()));
    let pids = pids.unwrap().split(' ').map(str::to_owned).collect();
    (child, lines, pids)
}

#[test]
fn an_interrupted_run_ends_its_programs() {
    let (mut child, mut lines, pids) = start_another_run();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(lines.any(|line| line.unwrap() == "interrupted true"));
    child.wait().unwrap();
    assert!(pids.iter().all(|pid| is_gone(pid)));
}

#[test]
fn a_killed_run_takes_its_program_along() {
    if !Path::new("/usr/bin/setpriv").exists() {
        return;
    }
    let (mut child, _, pids) = start_another_run();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_gone(&pids[0]));
    // The shell's own child is out of reach; end it here.
    let orphan = pids[1].parse().ok().and_then(Pid::from_raw).unwrap();
    let _ = kill_process(orphan, Signal::KILL);
}
