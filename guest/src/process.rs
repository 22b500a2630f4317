// SPDX-License-Identifier: MIT OR Apache-2.0

//! Child processes with a time limit, none of which outlives its turn.

use anyhow::{Context, Result, anyhow, bail};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long killed processes may take to die.
const DEATH: Duration = Duration::from_secs(30);

/// What became of a child.
pub struct Ended {
    /// Its PID.
    pub pid: u32,
    /// How it ended; `None` if it was killed at its time limit.
    pub status: Option<ExitStatus>,
    /// What it wrote to the streams that were not directed elsewhere.
    pub output: String,
    /// How long it ran.
    pub took: Duration,
}

impl Ended {
    /// `None` after success, else what happened, in words.
    pub fn failure(&self) -> Option<String> {
        match self.status {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("{status}\n{}", self.output)),
            None => Some(format!(
                "killed after {} s, its time limit\n{}",
                self.took.as_secs(),
                self.output
            )),
        }
    }
}

/// Ends every process but this one, PID 1: whatever a child left behind, in whatever process group.
/// PID 1 inherits it and has to reap it.
fn kill_all() -> Result<()> {
    // kill(2) takes "the group of PID 1" for all there are, except PID 1 itself.
    let _ = kill_process_group(Pid::INIT, Signal::KILL);
    let start = Instant::now();
    while start.elapsed() < DEATH {
        match waitpid(None, WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("a process was killed and does not die: the kernel holds it in a call")
}

/// Runs `command` to its end, or for `limit` at most, and ends whatever else there is then. With
/// `stdout` given, standard output goes there; all other output is collected.
pub fn run(command: Command, stdout: Option<File>, limit: Duration) -> Result<Ended> {
    let what = command.get_program().display().to_string();
    let ended = run_beside_others(command, stdout, limit)?;
    kill_all().with_context(|| format!("after {what}"))?;
    Ok(ended)
}

/// Like [`run`] for a command that must succeed, and says JSON: `hear` is told of each line as it comes.
pub fn hear<T: DeserializeOwned>(
    command: Command,
    limit: Duration,
    mut hear: impl FnMut(T) -> Result<()> + Send,
) -> Result<()> {
    let (from, to) = std::io::pipe()?;
    let line_by_line = move || {
        BufReader::new(from).lines().try_for_each(|line| {
            let line = line?;
            let said = serde_json::from_str(&line);
            hear(said.with_context(|| format!("the program says `{line}`"))?)
        })
    };
    std::thread::scope(|scope| {
        let heard = scope.spawn(line_by_line);
        let ended = run(command, Some(File::from(OwnedFd::from(to))), limit)?;
        // With the processes, whoever could write into the pipe is gone.
        heard
            .join()
            .map_err(|_| anyhow!("hearing what it says"))??;
        match ended.failure() {
            Some(failure) => bail!("{failure}"),
            None => Ok(()),
        }
    })
}

/// Like [`run`], but leaves alone what else there is: who loads a module may have the kernel start a
/// program, which is not his child and goes on.
pub fn run_beside_others(
    mut command: Command,
    stdout: Option<File>,
    limit: Duration,
) -> Result<Ended> {
    // A file, not a pipe: a child that outlives its parent cannot keep us waiting for its end.
    let path = format!("/tmp/output-{}", std::process::id());
    let mut output = File::options()
        .create_new(true)
        .read(true)
        .append(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;

    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.map_or_else(|| output.try_clone(), Ok)?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let group = Pid::from_child(&child);

    let mut pause = Duration::from_micros(200);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() > limit {
            kill_process_group(group, Signal::KILL)?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    let took = start.elapsed();

    let mut text = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut text)?;
    Ok(Ended {
        pid: child.id(),
        status,
        output: String::from_utf8_lossy(&text).into_owned(),
        took,
    })
}
