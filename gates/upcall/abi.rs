// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module of the upcall gate, the program that it starts, and whoever has it started agree on.

// new: begin
use core::ffi::CStr;

/// The program that the module starts, where PID 1 of the VM has it.
pub const PROGRAM: &CStr = c"/callgate/gate";

/// What it is called by, as `argv[0]`. With `argv[1]` it is told how often it shall ring the bell.
pub const BEEP: &CStr = c"beep";

/// What `argv[1]` is then.
pub const BEEPS: &CStr = c"2";

/// What it is called by when it shall end with the status that `argv[1]` has.
pub const EXIT: &CStr = c"exit";

/// The status that it shall end with.
pub const EXIT_STATUS: &CStr = c"3";

/// What it is called by when it shall crash.
pub const CRASH: &CStr = c"crash";

/// What it is called by when it shall never end.
pub const HANG: &CStr = c"hang";

/// The environment that it gets.
pub const ENVIRONMENT: &[&CStr] = &[c"HOME=/", c"PATH=/sbin:/usr/sbin:/bin:/usr/bin"];

/// The directory in which each process that was started leaves a file that tells what it found, under its
/// number.
pub const EVIDENCE: &str = "/run/callgate_upcall";

/// The directory of its file, below the place where debugfs is mounted.
pub const GATE: &str = "callgate_upcall";

/// The file in [`GATE`] that has helpers called: `MODE NAME`, by one write(2). It reads as what came of
/// the last call by the same open file.
pub const CALL: &str = "call";

/// The permissions of that file.
pub const CALL_MODE: u16 = 0o600;

/// Mode: does not wait at all. Reads as `queued`.
pub const NO_WAIT: &str = "no_wait";

/// Mode: waits until the program has been executed. Reads as `started`.
pub const WAIT_EXEC: &str = "wait_exec";

/// Mode: waits until the process has ended. Reads as `exited 3` or `killed by signal 6`.
pub const WAIT_PROC: &str = "wait_proc";

/// How long a process may take that is waited for, in milliseconds. Then it is ended, and the write(2)
/// fails with `ETIMEDOUT`.
pub const TIME_LIMIT: u32 = 20_000;

/// The same for one that is known never to end.
pub const SHORT_TIME_LIMIT: u32 = 1_000;

/// The group that `no_capabilities` runs in.
pub const NOGROUP: u32 = 65534;

/// The directory that `no_capabilities` runs in.
pub const DIRECTORY: &CStr = c"/tmp";
// new: end

/// A program for the tests to make: a script, or what is not a program at all.
pub const SCRIPT: &CStr = c"/tmp/callgate_upcall_script";

/// There is nothing here.
pub const MISSING: &CStr = c"/callgate/missing";

/// A file that is there, and that nobody may execute.
pub const TEXT: &CStr = c"/proc/version";
