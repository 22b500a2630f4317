// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every way in which a run can go wrong, planted: each its own boot, judged from outside by exit
//! status, message, and what is left behind.
//!
//! These need the kernels, which `callgate test` builds. They run one after the other: each looks at what
//! it has left behind.

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn callgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    command
        .args(arguments)
        .env(MARK, std::process::id().to_string())
        .stdin(Stdio::null());
    command
}

/// In the environment of whatever these tests start, to tell it from other machines on this host.
const MARK: &str = "CALLGATE_TEST_RUN";

/// The QEMU processes that these tests are to blame for.
fn qemus() -> Vec<i32> {
    let mark = format!("{MARK}={}\0", std::process::id());
    let has = |path: String, part: &[u8]| {
        std::fs::read(path).is_ok_and(|text| text.windows(part.len()).any(|found| found == part))
    };
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let ours = has(format!("/proc/{pid}/environ"), mark.as_bytes())
            && has(
                format!("/proc/{pid}/cmdline"),
                b"qemu-system-x86_64\0-nodefaults",
            );
        ours.then_some(pid)
    });
    pids.collect()
}

/// What is in the directories where temporary files could be left.
fn temporary() -> Vec<std::path::PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || std::path::PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
        Into::into,
    );
    let mut found = Vec::new();
    for directory in [std::env::temp_dir(), cache.join("callgate/scratch")] {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains("callgate")
                || entry.path().starts_with(&cache)
            {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Runs a fault and checks what came of it; gives stderr.
fn plant(fault: &str, kernel: &str, status: i32, message: &str) -> String {
    let _alone = alone();
    let before = temporary();
    let Output {
        status: ended,
        stderr,
        ..
    } = callgate(&["plant", fault, "--kernel", kernel])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(
        ended.code(),
        Some(status),
        "{fault} on the {kernel} kernel:\n{stderr}"
    );
    assert!(
        stderr.contains(message),
        "{fault}: no `{message}` in:\n{stderr}"
    );
    assert_eq!(qemus(), [0; 0], "{fault} left QEMU running");
    assert_eq!(temporary(), before, "{fault} left files behind");
    stderr
}

/// Starts a machine that waits to be ended from outside, and waits until it is up.
fn waiting_machine() -> (Child, i32) {
    let mut child = callgate(&["plant", "wait"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        if let [qemu] = qemus()[..] {
            // It is there once its CPUs run; give it the time to reach PID 1.
            sleep(Duration::from_secs(3));
            return (child, qemu);
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "no machine came up"
        );
        sleep(Duration::from_millis(50));
    }
}

/// Starts something for which there are two machines, and waits until both are up; gives them, too, in the
/// order in which they were started.
fn two_machines(arguments: &[&str]) -> (Child, [i32; 2]) {
    let mut child = callgate(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        if let [one, other] = qemus()[..] {
            return (child, [one.min(other), one.max(other)]);
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(
            start.elapsed() < Duration::from_mins(5),
            "the machines did not come up"
        );
        sleep(Duration::from_millis(1));
    }
}

/// The demo of a gate that is reached from another machine, and that machine.
fn joined_machines() -> (Child, i32) {
    let (child, [_, other]) = two_machines(&["demo", "udp"]);
    (child, other)
}

/// The tests of two gates, which run at the same time, and the machine of the lane `index`.
fn lane(index: usize) -> (Child, i32) {
    let (child, machines) = two_machines(&["test", "ioctl", "signal", "--kernel", "release"]);
    (child, machines[index])
}

/// Waits for the end of a child, for so long at most; gives its exit status and stderr.
fn end(mut child: Child) -> (std::process::ExitStatus, String) {
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > Duration::from_mins(3) {
            let _ = child.kill();
            panic!("callgate did not end");
        }
        sleep(Duration::from_millis(50));
    };
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    (status, stderr)
}

fn signal(name: &str, pid: i32) {
    let killed = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
}

fn no_qemu_within_seconds() {
    let start = Instant::now();
    while !qemus().is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "QEMU is left running"
        );
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn without_a_fault_it_passes_on_both_kernels() {
    plant("none", "release", 0, "");
    plant("none", "debug", 0, "");
}

#[test]
fn a_null_dereference_is_a_complaint() {
    let said = plant(
        "null-dereference",
        "release",
        4,
        "BUG: kernel NULL pointer dereference",
    );
    assert!(
        said.contains("faults::planted"),
        "it does not say during what:\n{said}"
    );
    assert!(
        said.contains("Call Trace:"),
        "it does not show the report:\n{said}"
    );
}

#[test]
fn a_warning_is_a_complaint() {
    plant("warn", "release", 4, "WARNING: ");
}

#[test]
fn an_overflow_in_rust_is_a_complaint() {
    plant("overflow", "release", 4, "attempt to add with overflow");
}

#[test]
fn use_after_free_is_a_complaint() {
    plant(
        "use-after-free",
        "debug",
        4,
        "BUG: KASAN: slab-use-after-free",
    );
}

#[test]
fn a_lock_order_that_can_deadlock_is_a_complaint() {
    plant(
        "lock-order",
        "debug",
        4,
        "possible circular locking dependency",
    );
}

#[test]
fn sleep_in_atomic_context_is_a_complaint() {
    plant(
        "sleep-in-atomic",
        "debug",
        4,
        "BUG: sleeping function called from invalid context",
    );
}

#[test]
fn lost_memory_is_a_complaint() {
    plant("leak", "debug", 4, "kmemleak");
}

#[test]
fn undefined_behaviour_in_c_is_a_complaint() {
    plant("undefined", "debug", 4, "UBSAN: shift-out-of-bounds");
}

#[test]
fn the_death_of_pid_1_is_a_panic() {
    plant("init-dies", "release", 5, "Attempted to kill init");
}

#[test]
fn a_kernel_that_hangs_is_ended() {
    plant("hang", "release", 6, "nothing was heard for 15 s");
}

#[test]
fn a_verdict_cut_short_is_none() {
    plant("cut-verdict", "release", 1, "cut or garbled");
}

#[test]
fn two_verdicts_are_none() {
    plant("two-verdicts", "release", 1, "2 verdicts");
}

#[test]
fn no_verdict_is_a_failure() {
    plant("no-verdict", "release", 1, "without a verdict");
}

#[test]
fn a_module_that_refuses_to_load_is_a_failure() {
    plant("load-refused", "release", 1, "No such device");
}

#[test]
fn a_module_that_refuses_to_unload_is_a_failure() {
    plant("unload-refused", "release", 1, "in use");
}

/// Kills the QEMU that `start` names, and looks for what callgate says of it.
fn kill_qemu(start: fn() -> (Child, i32), said: &[&str]) {
    let _alone = alone();
    let (child, qemu) = start();
    signal("KILL", qemu);
    let (status, stderr) = end(child);
    assert_eq!(status.code(), Some(1), "{stderr}");
    for said in said {
        assert!(stderr.contains(said), "{stderr}");
    }
    no_qemu_within_seconds();
}

#[test]
fn qemu_killed_from_outside_is_a_failure() {
    kill_qemu(waiting_machine, &["signal: 9"]);
}

#[test]
fn qemu_killed_in_either_lane_is_a_failure() {
    if available_parallelism().unwrap().get() > 1 {
        kill_qemu(|| lane(0), &["signal: 9"]);
        kill_qemu(|| lane(1), &["signal: 9"]);
    }
}

#[test]
fn the_death_of_the_other_machine_is_a_failure() {
    kill_qemu(joined_machines, &["the other machine: ", "signal: 9"]);
}

/// Interrupts the callgate that `start` starts, which is to leave nothing behind.
fn interrupt(start: fn() -> (Child, i32)) {
    let _alone = alone();
    let before = temporary();
    let (child, _) = start();
    signal("INT", i32::try_from(child.id()).unwrap());
    let (status, stderr) = end(child);
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
    no_qemu_within_seconds();
    assert_eq!(temporary(), before);
}

#[test]
fn ctrl_c_ends_the_vm() {
    interrupt(waiting_machine);
}

#[test]
fn ctrl_c_ends_both_machines() {
    interrupt(joined_machines);
}

#[test]
fn ctrl_c_ends_both_lanes() {
    if available_parallelism().unwrap().get() > 1 {
        interrupt(|| lane(0));
    }
}

#[test]
fn a_killed_callgate_takes_the_vm_with_it() {
    let _alone = alone();
    let (mut child, _) = waiting_machine();
    child.kill().unwrap();
    child.wait().unwrap();
    no_qemu_within_seconds();
}
