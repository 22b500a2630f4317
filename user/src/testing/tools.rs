// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ordinary tools as the clients of a driver: `cat`, `sysctl`, `modprobe`, or a line for the shell.
//!
//! Users meet a kernel's files by these first, and their habits differ from those of a careful
//! program: `cat` reads until nothing comes any more, `echo` writes a newline too.
//!
//! ```no_run
//! use callgate::Errno;
//! use callgate::testing::tools::{self, Tool};
//!
//! let kind = Tool::new("sysctl").args(["-n", "kernel.ostype"]).run();
//! assert_eq!(kind.success(), "Linux\n");
//!
//! let refused = tools::shell("echo nonsense > /proc/sys/kernel/panic");
//! assert_eq!(refused.answer(), Err(Errno::INVAL));
//! ```
//!
//! A tool acts on the kernel it runs on. So outside of its own unit tests this runs none, unless
//! [`PERMISSION`] is given: PID 1 of the lab's VM gives it, where all tools of the host are, under a
//! writable layer that is forgotten with the VM.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open,
    set_child_subreaper, waitpgid,
};

/// The variable of the environment that says that tools may act on this kernel.
pub const PERMISSION: &str = "CALLGATE_MAY_RUN_TOOLS";

/// Where tools are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a tool may take unless [`Tool::limit`] says otherwise: more than any needs, as an
/// emulated debug kernel is slow, and less than a test may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How much a tool may say, in bytes. A file that never ends must not fill the VM's memory.
const ENOUGH: u64 = 16 << 20;

/// How often a tool's output is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long a killed tool may take to die.
const DEATH: Duration = Duration::from_secs(10);

/// How many bytes of each stream are shown when a tool's end is told.
const SHOWN: usize = 8 << 10;

/// EHWPOISON, the last that has a text.
const LAST_ERRNO: i32 = 133;

/// A tool, about to be run: as root, with nothing on standard input, in `/`, and with nothing in its
/// environment but `PATH` and `LC_ALL=C`.
#[derive(Debug)]
#[must_use = "it does nothing until it is run"]
pub struct Tool {
    command: Command,
    /// The line as one would type it.
    line: String,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Tool {
    /// The tool called `name`.
    pub fn new(name: &str) -> Self {
        let mut command = Command::new(name);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .current_dir("/")
            .process_group(0);
        Self {
            command,
            line: name.to_owned(),
            stdin: Vec::new(),
            limit: LIMIT,
        }
    }

    /// A line for the shell, with all that it knows of redirections and pipes.
    ///
    /// The shell is bash(1): it is what people type such lines into, and its `echo` says which errno
    /// a write was answered with, where other shells know only "I/O error".
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man1/bash.1.html)
    pub fn shell(line: &str) -> Self {
        let mut shell = Self::new("bash");
        shell.command.args(["-c", line]);
        line.clone_into(&mut shell.line);
        shell
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        let argument = argument.as_ref();
        self.command.arg(argument);
        self.line.push(' ');
        self.line.push_str(&argument.to_string_lossy());
        self
    }

    /// More arguments.
    pub fn args(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// What it finds on its standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Runs it as this user and this group and as a member of no other.
    pub fn user(mut self, user: u32, group: u32) -> Self {
        self.command.uid(user).gid(group);
        self
    }

    /// How long it may take.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end, or to its limit, at which it is killed. What it leaves behind in its
    /// process group is killed in any case, and gone when this returns.
    ///
    /// # Panics
    ///
    /// If it cannot be started, above all because there is no such tool; if it cannot be killed; and
    /// without [`PERMISSION`].
    pub fn run(mut self) -> Ran {
        if !cfg!(test) {
            demand_permission(&self.line);
        }
        match self.try_run() {
            Ok(ran) => ran,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = self.command.get_program().to_string_lossy();
                panic!("there is no {name} on the host; {}", remedy(&name));
            }
            Err(error) => panic!("cannot run `{}`: {error}", self.line),
        }
    }

    fn try_run(&mut self) -> io::Result<Ran> {
        // Files, not pipes: nothing that a tool does, or leaves behind, can keep us waiting.
        let mut stdin = unnamed_file()?;
        let mut stdout = unnamed_file()?;
        let mut stderr = unnamed_file()?;
        stdin.write_all(&self.stdin)?;
        stdin.rewind()?;
        // What the tool leaves behind becomes ours, so that we learn when that is gone.
        set_child_subreaper(Some(getpid()))?;
        let mut child = self
            .command
            .stdin(stdin)
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .spawn()?;
        let pid = Pid::from_child(&child);
        let end = pidfd_open(pid, PidfdFlags::empty())?;

        let start = Instant::now();
        let killed = loop {
            let left = self.limit.saturating_sub(start.elapsed());
            if comes(&end, left.min(TICK))? {
                break None;
            }
            if left.is_zero() {
                break Some(Killed::TimeLimit);
            }
            if stdout.metadata()?.len() + stderr.metadata()?.len() > ENOUGH {
                break Some(Killed::TooMuchOutput);
            }
        };
        // It is not reaped yet, so the number is its own still. There may be nobody in the group.
        let _ = kill_process_group(pid, Signal::KILL);
        if !comes(&end, DEATH)? {
            return Err(immortal());
        }
        let status = child.wait()?;
        reap(pid)?;
        Ok(Ran {
            line: self.line.clone(),
            status,
            stdout: contents(&mut stdout)?,
            stderr: String::from_utf8_lossy(&contents(&mut stderr)?).into_owned(),
            killed,
        })
    }
}

/// Runs a line in the shell, as [`Tool::shell`] would by itself.
///
/// # Panics
///
/// As [`Tool::run`].
pub fn shell(line: &str) -> Ran {
    Tool::shell(line).run()
}

/// Lets modprobe(8) and modinfo(8) find the modules of all gates by their names, and gives the
/// directory that they are in.
///
/// PID 1 has put the modules there. What is missing is the index that depmod(8) makes of them.
///
/// # Panics
///
/// If depmod(8) fails, and as [`Tool::run`].
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man8/depmod.8.html)
pub fn module_tree() -> PathBuf {
    let release = rustix::system::uname();
    let tree = Path::new("/lib/modules").join(&*release.release().to_string_lossy());
    if !tree.join("modules.dep").exists() {
        Tool::new("depmod").run().success();
    }
    tree
}

/// What became of a tool.
#[derive(Debug)]
pub struct Ran {
    line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: String,
    /// Why it was killed, if it was.
    pub killed: Option<Killed>,
}

/// Why a tool was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// It took longer than it may.
    TimeLimit,
    /// It wrote more than any tool should have to say.
    TooMuchOutput,
}

impl Ran {
    /// What the tool printed; it must have succeeded.
    ///
    /// # Panics
    ///
    /// If the tool failed, with everything that it said; or if it printed what is not UTF-8.
    pub fn success(self) -> String {
        assert!(self.status.success(), "{self}");
        String::from_utf8(self.stdout).expect("the tool prints text")
    }

    /// What the kernel answered, as far as the tool tells: what it printed if it succeeded, else the
    /// errno that its complaint ends in.
    ///
    /// # Errors
    ///
    /// The errno.
    ///
    /// # Panics
    ///
    /// If the tool failed without naming an errno, with everything that it said.
    pub fn answer(self) -> rustix::io::Result<String> {
        if self.status.success() {
            return Ok(self.success());
        }
        match errno_in(&self.stderr) {
            Some(errno) => Err(errno),
            None => panic!("no errno in what it says: {self}"),
        }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.line, self.status)?;
        match self.killed {
            Some(Killed::TimeLimit) => f.write_str(", at its time limit")?,
            Some(Killed::TooMuchOutput) => f.write_str(", because it wrote without end")?,
            None => {}
        }
        for said in [self.stderr.as_bytes(), &self.stdout] {
            let shown = &said[..said.len().min(SHOWN)];
            write!(f, "\n{}", String::from_utf8_lossy(shown).trim_end())?;
            if shown.len() < said.len() {
                write!(f, " … {} bytes in all", said.len())?;
            }
        }
        Ok(())
    }
}

/// Stops here where a tool would act on a kernel that is not there for tests.
fn demand_permission(line: &str) {
    assert!(
        env::var_os(PERMISSION).is_some(),
        "`{line}` is for the lab's VM: here it would act on a kernel that somebody needs"
    );
}

/// How to get the tool called `name`.
fn remedy(name: &str) -> String {
    let package = match name {
        "bash" => "bash",
        "depmod" | "insmod" | "lsmod" | "modinfo" | "modprobe" | "rmmod" => "kmod",
        "ps" | "sysctl" => "procps",
        "findmnt" | "mount" | "umount" => "mount",
        "dmesg" | "nsenter" | "setpriv" | "unshare" => "util-linux",
        "ip" => "iproute2",
        "cat" | "dd" | "echo" | "ln" | "mkdir" | "rmdir" | "stat" | "tee" => "coreutils",
        _ => return "install what brings it".to_owned(),
    };
    format!("on Debian it is in the package {package}")
}

/// The errno whose text the last line of a complaint ends in.
fn errno_in(complaint: &str) -> Option<Errno> {
    let text = complaint.trim_end().rsplit(": ").next()?;
    (1..=LAST_ERRNO)
        .map(Errno::from_raw_os_error)
        .find(|errno| {
            let described = io::Error::from(*errno).to_string();
            described.split(" (os error").next() == Some(text)
        })
}

/// Whether the process whose end this is ends within `limit`.
fn comes(end: &OwnedFd, limit: Duration) -> rustix::io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => {}
            other => return other.map(|ready| ready > 0),
        }
    }
}

/// Waits until nobody is left of a group whose members were killed.
fn reap(group: Pid) -> io::Result<()> {
    let deadline = Instant::now() + DEATH;
    while Instant::now() < deadline {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(immortal())
}

fn immortal() -> io::Error {
    io::Error::other("it was killed and does not die: the kernel holds it in a call")
}

/// A new file that goes when nobody has it open any more.
fn unnamed_file() -> io::Result<File> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("tool-{}-{count}", std::process::id()));
    let file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// All that is in a file.
fn contents(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_reads_prints_and_complains() {
        let ran = Tool::new("cat").arg("-").stdin("one\ntwo").run();
        assert_eq!((ran.stderr.as_str(), ran.killed), ("", None));
        assert_eq!(ran.success(), "one\ntwo");
        let ran = Tool::new("cat").args(["/no", "/such"]).run();
        assert_eq!(ran.status.code(), Some(1));
        assert!(ran.stderr.starts_with("cat: /no: "), "{ran}");
        assert_eq!(ran.answer(), Err(Errno::NOENT));
    }

    #[test]
    fn the_shell_says_what_a_write_was_answered() {
        assert_eq!(shell("echo -n a; echo b | cat").success(), "ab\n");
        assert_eq!(shell("echo x > /dev/full").answer(), Err(Errno::NOSPC));
        assert_eq!(shell("echo x > /").answer(), Err(Errno::ISDIR));
    }

    #[test]
    fn the_environment_is_the_same_everywhere() {
        let environment = Tool::new("env").run().success();
        assert_eq!(environment, format!("LC_ALL=C\nPATH={PATH}\n"));
        assert_eq!(shell("pwd").success(), "/\n");
    }

    #[test]
    fn a_tool_that_never_ends_is_killed_with_all_that_it_started() {
        let start = Instant::now();
        let limit = Duration::from_millis(200);
        let ran = Tool::shell("echo $$; sleep 1000 | sleep 1000")
            .limit(limit)
            .run();
        assert_eq!(ran.killed, Some(Killed::TimeLimit), "{ran}");
        assert!(start.elapsed() >= limit);
        assert!(ran.to_string().contains("at its time limit"), "{ran}");
        let group: i32 = String::from_utf8_lossy(&ran.stdout).trim().parse().unwrap();
        let group = Pid::from_raw(group).unwrap();
        let left = rustix::process::test_kill_process_group(group);
        assert_eq!(left, Err(Errno::SRCH));
    }

    #[test]
    fn what_a_tool_leaves_behind_keeps_nobody_waiting() {
        let ran = Tool::shell("sleep 1000 & echo started").run();
        assert_eq!(ran.success(), "started\n");
    }

    #[test]
    fn a_tool_that_prints_without_end_is_killed() {
        let ran = Tool::new("yes").run();
        assert_eq!(ran.killed, Some(Killed::TooMuchOutput));
        assert!(ran.to_string().len() < 2 * SHOWN);
    }

    #[test]
    #[should_panic(expected = "exit status: 3\nwhy\nwhat")]
    fn success_shows_everything_said() {
        shell("echo what; echo why >&2; exit 3").success();
    }

    #[test]
    #[should_panic(expected = "there is no sysctl-of-callgate on the host")]
    fn a_missing_tool_is_named() {
        Tool::new("sysctl-of-callgate").run();
    }

    #[test]
    fn a_missing_tool_of_debians_has_its_package_named() {
        assert!(remedy("modinfo").ends_with("the package kmod"));
        assert!(remedy("sysctl").ends_with("the package procps"));
    }

    #[test]
    fn an_errno_is_read_from_the_end_of_a_complaint() {
        let sysctl = "sysctl: setting key \"kernel.x\": Invalid argument\n";
        assert_eq!(errno_in(sysctl), Some(Errno::INVAL));
        assert_eq!(errno_in("modprobe: ERROR: unknown parameter"), None);
        assert_eq!(errno_in(""), None);
    }
}
