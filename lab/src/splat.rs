// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads the kernel's console as it comes, and finds what no kernel should have to say.

/// How a complaint begins, wherever in the line. What follows up to the next mark belongs to it.
const COMPLAINTS: &[&str] = &[
    "BUG: ",
    "[ BUG: ",
    "WARNING: ",
    "[ WARNING: ",
    "kernel BUG at ",
    "Oops: ",
    "general protection fault",
    "double fault",
    "stack guard page was hit",
    "UBSAN: ",
    "ODEBUG: ",
    "DEBUG_LOCKS_WARN_ON",
    "rust_kernel: panicked at",
    "INFO: task ",
    "INFO: trying to register non-static key",
    "rcu: INFO: ",
    "rcu_sched detected",
    "refcount_t: ",
    "list_add corruption",
    "list_del corruption",
    "does not have a release() function",
    "unregister_netdevice: waiting for",
    "nobody cared",
    "page allocation failure",
    "possible circular locking dependency",
    "suspicious RCU usage",
    "new suspected memory leaks",
    "has left the machine with locks held",
    "Call Trace:",
];

/// How the end of everything begins.
const PANIC: &str = "Kernel panic - not syncing";

/// Lines that look like a complaint and are none, each with the reason and the day it was accepted.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// How much of a report is kept.
const REPORT_LINES: usize = 120;

/// Something the kernel complained of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splat {
    /// What was going on: a gate, or a gate's test.
    pub during: String,
    /// The line it began with.
    pub title: String,
    /// The report, from that line on.
    pub report: Vec<String>,
}

/// A reader of the console.
#[derive(Debug)]
pub struct Console {
    during: String,
    splats: Vec<Splat>,
    /// Whether lines still belong to the last splat.
    reporting: bool,
    panicked: bool,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            during: "boot".into(),
            splats: Vec::new(),
            reporting: false,
            panicked: false,
        }
    }
}

impl Console {
    /// Takes one line, as the serial console gave it.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        let text = without_timestamp(line);
        if let Some(what) = text.strip_prefix(guest::MARK) {
            self.during = what.into();
            self.reporting = false;
            return;
        }
        if text.contains(PANIC) {
            self.panicked = true;
        }
        let complains = text.contains(PANIC) || COMPLAINTS.iter().any(|start| text.contains(start));
        let excepted = EXCEPTIONS.iter().any(|(start, _)| text.contains(start));
        if complains && !excepted && !self.reporting {
            self.reporting = true;
            self.splats.push(Splat {
                during: self.during.clone(),
                title: text.into(),
                report: Vec::new(),
            });
        }
        if self.reporting
            && let Some(splat) = self.splats.last_mut()
            && splat.report.len() < REPORT_LINES
        {
            splat.report.push(line.into());
        }
    }

    /// Everything the kernel complained of so far.
    pub fn splats(&self) -> &[Splat] {
        &self.splats
    }

    /// Whether the kernel gave up.
    pub fn panicked(&self) -> bool {
        self.panicked
    }

    /// What is going on.
    pub fn during(&self) -> &str {
        &self.during
    }
}

/// The text of a line behind `[    1.234567] `, and behind the caller ID that may follow it.
fn without_timestamp(line: &str) -> &str {
    let behind = |line: &str| -> Option<usize> {
        let line = line.strip_prefix('[')?;
        let (stamp, _) = line.split_once(']')?;
        let stamp_like = stamp
            .trim_start()
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'.');
        (stamp_like && stamp.contains('.')).then_some(stamp.len() + 2)
    };
    match behind(line) {
        Some(length) => line[length..].trim_start(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &str) -> Console {
        let mut console = Console::default();
        log.lines().for_each(|line| console.line(line));
        console
    }

    #[test]
    fn an_ordinary_log_is_clean() {
        let console = read(
            "[    0.000000] Linux version 7.3.4\n\
             [    1.5] callgate_ioctl: loading out-of-tree module taints kernel.\n\
             [    1.9] callgate-mark: ioctl\n\
             [    2.0] callgate_ioctl: message stored, 11 bytes\n",
        );
        assert!(console.splats().is_empty());
        assert_eq!(console.during(), "ioctl");
    }

    #[test]
    fn a_complaint_belongs_to_the_test_it_came_in() {
        let console = read(
            "[    1.9] callgate-mark: ioctl::first\n\
             [    2.0] all is well\n\
             [    2.1] callgate-mark: ioctl::second\n\
             [    3.0] BUG: KASAN: slab-use-after-free in foo+0x1/0x2\n\
             [    3.0] Read of size 8\n\
             [    3.1] callgate-mark: ioctl::third\n\
             [    3.2] more\n",
        );
        let [splat] = console.splats() else {
            panic!("{console:?}")
        };
        assert_eq!(splat.during, "ioctl::second");
        assert_eq!(
            splat.title,
            "BUG: KASAN: slab-use-after-free in foo+0x1/0x2"
        );
        assert_eq!(splat.report.len(), 2);
        assert!(!console.panicked());
    }

    #[test]
    fn a_panic_is_more_than_a_complaint() {
        let console = read("[    3.0] Kernel panic - not syncing: Attempted to kill init!\n");
        assert!(console.panicked());
        assert_eq!(console.splats().len(), 1);
    }

    #[test]
    fn every_kind_of_complaint_is_noticed() {
        for line in [
            "[ 1.0] WARNING: possible recursive locking detected",
            "[ 1.0] WARNING: kernel/foo.c:12 at bar+0x1/0x2, CPU#0: insmod/64",
            "[ 1.0] BUG: sleeping function called from invalid context at mm.c:1",
            "[ 1.0] BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "[ 1.0] [ BUG: Invalid wait context ]",
            "[ 1.0] INFO: task insmod:64 blocked for more than 120 seconds.",
            "[ 1.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[ 1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [x:1]",
            "[ 1.0] UBSAN: shift-out-of-bounds in x.c:1:2",
            "[ 1.0] rust_kernel: panicked at module.rs:1:1:",
            "[ 1.0] kmemleak: 1000 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "[ 1.0] ------------[ cut here ]------------\n[ 1.0] WARNING: CPU: 0 PID: 1 at x.c:1",
        ] {
            assert_eq!(read(line).splats().len(), 1, "{line}");
        }
    }
}
