// SPDX-License-Identifier: MIT OR Apache-2.0

//! One boot in QEMU: the machine, and the two lines on which we hear from it.
//!
//! Nothing of it touches a disk: the initramfs is a memfd and the lines are socket pairs, all
//! inherited by QEMU. So nothing is left behind, however this ends. setpriv(1) has the kernel end
//! QEMU when we die.

use crate::accel::Accel;
use crate::command::{check_interrupted, note, quote, verbose, watch_signals};
use crate::initramfs::Initramfs;
use crate::verdict::{End, Judge};
use anyhow::{Context, Result};
use guest::Message;
use rustix::io::{FdFlags, fcntl_setfd};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// The kernel's command line. User space's own lines in the log are not rate limited; a panic ends
/// QEMU at once, with its `-no-reboot`. On a busy host the emulated timer may be too late for the
/// kernel's check that it works, which ends in a panic; under a hypervisor the kernel omits it, too.
const KERNEL_COMMAND_LINE: &str =
    "console=ttyS0 loglevel=7 printk.devkmsg=on panic=-1 no_timer_check rdinit=/init";

/// How often waits look whether they shall go on.
const TICK: Duration = Duration::from_millis(100);

/// How long QEMU may take to end once the guest has delivered its verdict.
const POWER_OFF: Duration = Duration::from_secs(30);

/// What to boot.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel's image.
    pub image: PathBuf,
    /// How the CPU is run.
    pub accel: Accel,
    /// The host's terminal becomes the guest's second console.
    pub interactive: bool,
    /// The host's root is there for the guest to read.
    pub host_root: bool,
    /// What QEMU itself has to say does not matter.
    pub quiet: bool,
    /// It is ended if nothing is heard of it for so long.
    pub silence: Duration,
    /// It is ended if it has not ended by itself by then.
    pub limit: Duration,
}

/// What is heard while a machine runs.
enum Heard {
    Console(String),
    Report {
        line: String,
        complete: bool,
    },
    /// A line came to its end, because QEMU closed it.
    Closed,
}

impl Machine {
    /// Boots the machine with this initramfs and stays with it to its end, telling `listener` each
    /// message of the guest's. The judge has heard everything.
    pub fn run(
        &self,
        initramfs: &Initramfs,
        mut listener: impl FnMut(&Message),
    ) -> Result<(Judge, End)> {
        let (console, console_theirs) = UnixStream::pair()?;
        let (report, report_theirs) = UnixStream::pair()?;
        let image = initramfs.to_memfd()?;
        watch_signals()?;
        let mut qemu = self.start([image, console_theirs.into(), report_theirs.into()])?;

        let (sender, heard) = mpsc::channel();
        listen(console, sender.clone(), |line, _| Heard::Console(line));
        listen(report, sender, |line, complete| Heard::Report {
            line,
            complete,
        });

        let start = Instant::now();
        let mut judge = Judge::default();
        let mut last_heard = Instant::now();
        let mut verdict_at = None;
        let mut open = 2;
        while open > 0 {
            check_interrupted()?;
            let too_late = if last_heard.elapsed() > self.silence {
                Some(format!(
                    "nothing was heard for {} s",
                    self.silence.as_secs()
                ))
            } else if start.elapsed() > self.limit {
                Some(format!("it was not done after {} s", self.limit.as_secs()))
            } else if verdict_at.is_some_and(|at: Instant| at.elapsed() > POWER_OFF) {
                Some("it did not turn itself off".into())
            } else {
                None
            };
            if let Some(why) = too_late {
                qemu.end();
                return Ok((judge, End::Killed(why)));
            }
            match heard.recv_timeout(TICK) {
                Ok(Heard::Console(line)) => {
                    last_heard = Instant::now();
                    if verbose() {
                        note(line.trim_end());
                    }
                    judge.console_line(&line);
                }
                Ok(Heard::Report { line, complete }) => {
                    last_heard = Instant::now();
                    if let Some(message) = judge.report_line(line.trim_end(), complete) {
                        listener(&message);
                    }
                    if judge.has_verdict() {
                        verdict_at.get_or_insert_with(Instant::now);
                    }
                }
                Ok(Heard::Closed) => open -= 1,
                Err(RecvTimeoutError::Timeout) if self.interactive => last_heard = Instant::now(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = qemu.0.wait().context("waiting for QEMU")?;
        Ok((judge, End::Exited(status)))
    }

    fn start(&self, [image, console, report]: [OwnedFd; 3]) -> Result<Qemu> {
        for fd in [&image, &console, &report] {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
            ])
            .args(["-nic", "none", "-m", "1G"])
            // The older machine's ACPI tables compute their interrupt routing in a loop, which takes
            // the debug kernel, emulated, up to 30 s and then fails.
            .args(["-machine", "q35"])
            // Without the kernel's help, a second core of one socket would stay off.
            .args(["-smp", "2,sockets=2,cores=1"])
            .args(self.accel.arguments())
            .arg("-kernel")
            .arg(&self.image)
            .args(["-initrd", &format!("/proc/self/fd/{}", image.as_raw_fd())])
            .args(["-append", KERNEL_COMMAND_LINE])
            .args([
                "-chardev",
                &format!("socket,id=console,fd={}", console.as_raw_fd()),
            ])
            .args(["-serial", "chardev:console"])
            .args(["-device", "virtio-serial-pci"])
            .args([
                "-chardev",
                &format!("socket,id=report,fd={}", report.as_raw_fd()),
            ])
            .args([
                "-device",
                &format!("virtserialport,chardev=report,name={}", guest::PORT),
            ]);
        if self.host_root {
            command
                // QEMU itself refuses every write, whatever the guest's kernel does. Files of the
                // host's many file systems need numbers of their own, or the guest mixes them up.
                .args([
                    "-fsdev",
                    "local,id=host,path=/,security_model=none,multidevs=remap,readonly=on",
                ])
                .args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]);
        }
        if self.interactive {
            command
                .args(["-chardev", "stdio,id=terminal,signal=off"])
                .args(["-device", "virtconsole,chardev=terminal"]);
        } else {
            // Out of reach of the terminal's Ctrl-C, which is for us to deal with.
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .process_group(0);
        }
        if self.quiet && !verbose() {
            command.stderr(Stdio::null());
        }
        if verbose() {
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            note(&format!(
                "+ {}",
                words.map(quote).collect::<Vec<_>>().join(" ")
            ));
        }
        command.spawn().map(Qemu).context("starting QEMU")
    }
}

/// A running QEMU, ended when this goes out of scope.
struct Qemu(Child);

impl Qemu {
    fn end(&mut self) {
        // Either may fail because it has just ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads lines in a thread of its own until the other side closes.
fn listen(
    stream: UnixStream,
    heard: Sender<Heard>,
    wrap: impl Fn(String, bool) -> Heard + Send + 'static,
) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            // A line without end must not fill the host's memory.
            let read = (&mut lines).take(1 << 20).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                let _ = heard.send(Heard::Closed);
                return;
            }
            let complete = line.ends_with(b"\n");
            if heard
                .send(wrap(String::from_utf8_lossy(&line).into_owned(), complete))
                .is_err()
            {
                return;
            }
        }
    });
}

/// The terminal's settings, put back when this goes out of scope: QEMU changes them, and may be
/// ended before it can undo that.
pub struct Terminal(Option<rustix::termios::Termios>);

impl Terminal {
    /// Remembers the settings of the terminal on standard input, if there is one.
    pub fn keep() -> Self {
        Self(rustix::termios::tcgetattr(std::io::stdin()).ok())
    }

    /// Its size in rows and columns.
    pub fn window() -> Option<(u16, u16)> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout().as_fd()).ok()?;
        Some((size.ws_row, size.ws_col)).filter(|&(rows, columns)| rows > 0 && columns > 0)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        if let Some(settings) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, settings);
        }
    }
}
