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
use std::io::{self, PipeReader, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How many lines of output an error repeats: from the first on that speaks of an error, else the last.
const TAIL: usize = 30;

/// How often a wait looks at the interrupt flag, the time limit and the child.
const TICK: Duration = Duration::from_millis(50);

/// The most that a pipe holds: what an unprivileged user can make it, and far more than it holds of itself.
const PIPE_LIMIT: usize = 1 << 20;

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
        let mut streams: Vec<_> = pipes
            .into_iter()
            .map(|(pipe, is_output)| Stream::new(pipe, is_output))
            .collect();

        let mut output = Vec::new();
        let mut tail = VecDeque::with_capacity(TAIL);
        let mut found = false;
        let mut on_line = self.on_line.take();
        let mut take = |is_output: bool, line: Vec<u8>| -> Result<()> {
            if let Some(log) = &mut log {
                log.write_all(&line).context("writing the log")?;
            }
            let text = String::from_utf8_lossy(&line);
            if let Some(call) = &mut on_line {
                call(text.trim_end());
            }
            // What was to be an answer says nothing of why there is none.
            if is_output {
                output.extend_from_slice(&line);
            } else {
                // What follows is often many lines of those that called the one that failed.
                if !found && is_error(&text) {
                    found = true;
                    tail.clear();
                }
                if tail.len() == TAIL && !found {
                    tail.pop_front();
                }
                if tail.len() < TAIL {
                    tail.push_back(text.trim_end().to_owned());
                }
            }
            Ok(())
        };
        let status = self.wait(group, &mut streams, &mut take)?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&output).into_owned());
        }
        let outcome = match status.code() {
            Some(code) => format!("exited with status {code}"),
            None => format!("was ended by {status}"),
        };
        Err(self.failed(&outcome, status.code(), tail).into())
    }

    /// Hands over lines until the program has ended and all that it wrote is read.
    fn wait(
        &mut self,
        mut group: Group,
        streams: &mut [Stream],
        take: &mut dyn FnMut(bool, Vec<u8>) -> Result<()>,
    ) -> Result<std::process::ExitStatus> {
        let started = Instant::now();
        let mut last_tick = started;
        // What the program left running may hold a pipe open, and go on writing: that is not waited for.
        let mut left = PIPE_LIMIT;
        loop {
            // In this order: what is not there after the end never comes.
            let ended = group.has_ended()?;
            let open = streams.iter().any(|stream| stream.pipe.is_some());
            let pause = match (ended, open) {
                (true, _) => Duration::ZERO,
                (false, true) => TICK,
                (false, false) => Duration::from_millis(1),
            };
            let read = read_some(streams, pause, take)?;
            if ended {
                left = left.saturating_sub(read);
                if read == 0 || left == 0 {
                    break;
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
        for stream in streams {
            stream.close(take)?;
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

/// Whether a compiler says here what is wrong.
fn is_error(line: &str) -> bool {
    line.starts_with("error:") || line.starts_with("error[") || line.contains(": error: ")
}

/// What a program writes, line by line.
struct Stream {
    pipe: Option<PipeReader>,
    is_output: bool,
    line: Vec<u8>,
}

impl Stream {
    fn new(pipe: PipeReader, is_output: bool) -> Self {
        Self {
            pipe: Some(pipe),
            is_output,
            line: Vec::new(),
        }
    }

    /// Reads once, and hands over each line that is complete, with its newline. Returns how much was read.
    fn read(&mut self, take: &mut dyn FnMut(bool, Vec<u8>) -> Result<()>) -> Result<usize> {
        let mut bytes = [0; 1 << 14];
        let len = match &mut self.pipe {
            Some(pipe) => pipe.read(&mut bytes).unwrap_or(0),
            None => 0,
        };
        for part in bytes[..len].split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                take(self.is_output, std::mem::take(&mut self.line))?;
            }
        }
        if len == 0 {
            self.close(take)?;
        }
        Ok(len)
    }

    /// Hands over the last line, if nothing ended it.
    fn close(&mut self, take: &mut dyn FnMut(bool, Vec<u8>) -> Result<()>) -> Result<()> {
        self.pipe = None;
        if self.line.is_empty() {
            return Ok(());
        }
        take(self.is_output, std::mem::take(&mut self.line))
    }
}

/// Waits until one of the streams has something, and reads that. Returns how much.
fn read_some(
    streams: &mut [Stream],
    pause: Duration,
    take: &mut dyn FnMut(bool, Vec<u8>) -> Result<()>,
) -> Result<usize> {
    let ready: Vec<bool> = {
        let pipes = streams.iter().filter_map(|stream| stream.pipe.as_ref());
        let mut fds: Vec<_> = pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&Timespec::try_from(pause)?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        fds.iter().map(|fd| !fd.revents().is_empty()).collect()
    };
    let open = streams.iter_mut().filter(|stream| stream.pipe.is_some());
    let mut read = 0;
    for (stream, ready) in open.zip(ready) {
        if ready {
            read += stream.read(take)?;
        }
    }
    Ok(read)
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
