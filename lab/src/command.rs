// SPDX-License-Identifier: MIT OR Apache-2.0

//! Running other programs: logged, bounded in time, and never left behind.
//!
//! Every program runs in a process group of its own. The whole group is ended when the user
//! interrupts, when the time limit passes, and when the [`Group`] is dropped. Should callgate itself
//! be killed, the kernel ends the program (`setpriv --pdeathsig`, where the machine has it).

mod error;
mod group;
mod interrupt;
mod progress;
mod words;

pub use error::{Failed, TimedOut};
pub use group::Group;
pub use interrupt::{Interrupted, check_interrupted, interrupted, watch_signals};
pub use progress::{Progress, Step, note, set_progress, step};
pub(crate) use words::find_in;
pub use words::quote;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How many of the last lines of output an error repeats.
const TAIL: usize = 20;

/// How often a wait looks at the interrupt flag, the time limit and the child.
const TICK: Duration = Duration::from_millis(50);

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Makes every command line appear on stderr before it runs (`-v`).
pub fn set_verbose(on: bool) {
    VERBOSE.store(on, Ordering::Relaxed);
}

/// Whether `-v` was given.
pub fn verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

type OnLine<'a> = Box<dyn FnMut(&str) + 'a>;

/// A program to run. Like [`std::process::Command`], with the manners of this module.
pub struct Cmd<'a> {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, Option<OsString>)>,
    dir: Option<PathBuf>,
    log: Option<PathBuf>,
    limit: Option<Duration>,
    on_line: Option<OnLine<'a>>,
    on_tick: Option<Box<dyn FnMut() + 'a>>,
}

impl<'a> Cmd<'a> {
    /// A command without arguments; messages are in English (`LC_ALL=C`).
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: vec![("LC_ALL".into(), Some("C".into()))],
            dir: None,
            log: None,
            limit: None,
            on_line: None,
            on_tick: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((key.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Sets several environment variables.
    #[must_use]
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        vars.into_iter()
            .fold(self, |cmd, (key, value)| cmd.env(key, value))
    }

    /// Removes one environment variable.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.envs.push((key.as_ref().to_owned(), None));
        self
    }

    /// Runs in this directory.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Writes all output to this file, for example `cache.log_file("kernel-release")`.
    #[must_use]
    pub fn log(mut self, file: impl Into<PathBuf>) -> Self {
        self.log = Some(file.into());
        self
    }

    /// Stops the program when it runs longer than this; the error is [`TimedOut`].
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Calls this with every line of output, as it comes.
    #[must_use]
    pub fn on_line(mut self, call: impl FnMut(&str) + 'a) -> Self {
        self.on_line = Some(Box::new(call));
        self
    }

    /// Calls this several times a second while the program runs.
    #[must_use]
    pub fn on_tick(mut self, call: impl FnMut() + 'a) -> Self {
        self.on_tick = Some(Box::new(call));
        self
    }

    /// Runs it to its end. Standard output and standard error go to the log together.
    pub fn run(self) -> Result<()> {
        let (reader, writer) = io::pipe().context("making a pipe")?;
        let other = writer.try_clone().context("making a pipe")?;
        self.execute(vec![(reader, false)], writer.into(), other.into())
            .map(|_| ())
    }

    /// Runs it to its end and returns its standard output; standard error goes to the log.
    pub fn output(self) -> Result<String> {
        let (out, out_writer) = io::pipe().context("making a pipe")?;
        let (err, err_writer) = io::pipe().context("making a pipe")?;
        self.execute(
            vec![(out, true), (err, false)],
            out_writer.into(),
            err_writer.into(),
        )
    }

    /// Starts it in a group of its own and leaves the waiting to the caller.
    ///
    /// For programs one talks to while they run, such as qemu. The log, the time limit and the
    /// callbacks play no part. Where the kernel ends children with their parent, the parent is the
    /// *thread* that called this: it must live as long as the program.
    pub fn spawn(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Group> {
        watch_signals()?;
        check_interrupted()?;
        if verbose() {
            note(&format!("+ {}", self.display()));
        }
        if !self.program_exists() {
            return Err(self.failed("was not found", None, VecDeque::new()).into());
        }
        let mut command = self.command();
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        Group::spawn(&mut command).with_context(|| format!("starting `{}`", self.display()))
    }

    /// The command line as one would type it, with its directory and environment.
    pub fn display(&self) -> String {
        let mut words = Vec::new();
        if let Some(dir) = &self.dir {
            words.push(format!("cd {} &&", quote(dir.as_os_str())));
        }
        for (key, value) in &self.envs[1..] {
            match value {
                Some(value) => words.push(format!("{}={}", key.display(), quote(value))),
                None => words.push(format!("{}=", key.display())),
            }
        }
        words.push(quote(&self.program));
        words.extend(self.args.iter().map(|arg| quote(arg)));
        words.join(" ")
    }

    fn command(&self) -> Command {
        let mut command = match group::setpriv() {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command
                    .args(["--pdeathsig", "TERM", "--"])
                    .arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(&self.args);
        for (key, value) in &self.envs {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    fn program_exists(&self) -> bool {
        if Path::new(&self.program).components().count() > 1 {
            return self.dir.is_some() || Path::new(&self.program).exists();
        }
        let own = self.envs.iter().rev().find(|(key, _)| key == "PATH");
        let path = match own {
            Some((_, value)) => value.clone(),
            None => std::env::var_os("PATH"),
        };
        path.is_some_and(|path| find_in(&path, &self.program).is_some())
    }

    fn execute(
        mut self,
        pipes: Vec<(PipeReader, bool)>,
        stdout: Stdio,
        stderr: Stdio,
    ) -> Result<String> {
        let mut log = self.log.as_deref().map(create_log).transpose()?;
        if let Some(log) = &mut log {
            writeln!(log, "$ {}", self.display()).context("writing the log")?;
        }
        let group = self.spawn(Stdio::null(), stdout, stderr)?;
        let (sender, lines) = channel();
        for (pipe, is_output) in pipes {
            let sender = sender.clone();
            thread::spawn(move || read_lines(pipe, is_output, &sender));
        }
        drop(sender);

        let mut output = Vec::new();
        let mut tail = VecDeque::with_capacity(TAIL);
        let mut on_line = self.on_line.take();
        let mut take = |is_output: bool, line: Vec<u8>| -> Result<()> {
            if let Some(log) = &mut log {
                log.write_all(&line).context("writing the log")?;
            }
            let text = String::from_utf8_lossy(&line);
            if let Some(call) = &mut on_line {
                call(text.trim_end());
            }
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(text.trim_end().to_owned());
            if is_output {
                output.extend_from_slice(&line);
            }
            Ok(())
        };
        let status = self.wait(group, &lines, &mut take)?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&output).into_owned());
        }
        let outcome = match status.code() {
            Some(code) => format!("exited with status {code}"),
            None => format!("was ended by {status}"),
        };
        Err(self.failed(&outcome, status.code(), tail).into())
    }

    /// Hands over lines until the program has ended and its output is drained.
    fn wait(
        &mut self,
        mut group: Group,
        lines: &Receiver<(bool, Vec<u8>)>,
        take: &mut dyn FnMut(bool, Vec<u8>) -> Result<()>,
    ) -> Result<std::process::ExitStatus> {
        let started = Instant::now();
        let mut last_tick = started;
        let mut drained = false;
        let mut ended = false;
        loop {
            let pause = if drained {
                Duration::from_millis(1)
            } else {
                TICK
            };
            match lines.recv_timeout(pause) {
                Ok((is_output, line)) => take(is_output, line)?,
                // What the program left running may hold the pipe open: that is not waited for.
                Err(RecvTimeoutError::Timeout) if ended => break,
                Err(RecvTimeoutError::Timeout) => ended = group.has_ended()?,
                Err(RecvTimeoutError::Disconnected) => {
                    drained = true;
                    if group.has_ended()? {
                        break;
                    }
                    thread::sleep(pause);
                }
            }
            if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                if let Some(call) = &mut self.on_tick {
                    call();
                }
                if interrupted() {
                    group.stop();
                    return Err(Interrupted.into());
                }
                if let Some(limit) = self.limit.filter(|limit| started.elapsed() > *limit) {
                    group.stop();
                    return Err(TimedOut {
                        command: self.display(),
                        limit,
                    }
                    .into());
                }
            }
        }
        let status = group.finish().context("waiting for a program")?;
        // Ctrl-C may have reached the program by another way than through this process.
        check_interrupted()?;
        Ok(status)
    }

    fn failed(&self, outcome: &str, code: Option<i32>, tail: VecDeque<String>) -> Failed {
        Failed {
            command: self.display(),
            outcome: outcome.to_owned(),
            code,
            tail: tail.into(),
            log: self.log.clone(),
        }
    }
}

/// Sends each line with its newline, as raw bytes.
fn read_lines(pipe: PipeReader, is_output: bool, sender: &Sender<(bool, Vec<u8>)>) {
    let mut reader = BufReader::new(pipe);
    loop {
        let mut line = Vec::new();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if sender.send((is_output, line)).is_err() {
                    return;
                }
            }
        }
    }
}

/// A new file: another run that still writes to the old one keeps it to itself.
fn create_log(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::create(path),
    }
    .with_context(|| format!("making the log {}", path.display()))
}
