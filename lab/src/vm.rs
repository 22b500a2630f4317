// SPDX-License-Identifier: MIT OR Apache-2.0

//! One boot in QEMU: the machine, and the two lines on which we hear from it; or two machines, with a
//! wire between them.
//!
//! Nothing of it touches a disk: the initramfs is a memfd, the lines and the wire are socket pairs, all
//! inherited by QEMU. So nothing is left behind, however this ends, no port of the host's is taken, and
//! the wire leads nowhere else. setpriv(1) has the kernel end QEMU when we die.

use crate::accel::Accel;
use crate::command::{check_interrupted, note, quote, verbose, watch_signals};
use crate::initramfs::Initramfs;
use crate::verdict::{End, Judge};
use anyhow::{Context, Result};
use guest::Message;
use rustix::io::{FdFlags, fcntl_setfd};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The kernel's command line. User space's own lines in the log are not rate limited; a panic ends
/// QEMU at once, with its `-no-reboot`. On a busy host the emulated timer may be too late for the
/// kernel's check that it works, which ends in a panic; under a hypervisor the kernel omits it, too.
const KERNEL_COMMAND_LINE: &str =
    "console=ttyS0 loglevel=7 printk.devkmsg=on panic=-1 no_timer_check rdinit=/init";

/// Held while QEMU's ends of the lines can be inherited: a QEMU that another thread starts meanwhile would
/// keep them open for as long as it runs.
static STARTING: Mutex<()> = Mutex::new(());

/// QEMU's arguments for a machine whose instructions are its clock: each takes 2³ ns, and nothing comes from
/// outside. Each turn of a string instruction counts, so without ERMS and FSRM: the kernel then copies to and from
/// programs by `rep movsq`, 8 bytes a turn, and not by `rep movsb`.
const COUNTED: &[&str] = &[
    "-smp",
    "1",
    "-accel",
    "tcg,thread=single",
    "-icount",
    "shift=3,sleep=off",
    "-cpu",
    "max,la57=off,-erms,-fsrm",
    "-rtc",
    "base=2020-01-01,clock=vm",
    "-seed",
    "1",
];

/// What keeps the kernel from doing something else at each boot.
const SAME: &str = " nokaslr norandmaps randomize_kstack_offset=off";

/// Two CPUs. Without the kernel's help, a second core of one socket would stay off.
const TWO: &[&str] = &["-smp", "2,sockets=2,cores=1"];

/// How often waits look whether they shall go on.
const TICK: Duration = Duration::from_millis(100);

/// How long QEMU may take to end once the guest has delivered its verdict, or was told that it is over.
const POWER_OFF: Duration = Duration::from_secs(30);

/// The CPUs of a machine.
#[derive(Clone, Copy, Debug)]
pub enum Cpus {
    /// Two, run so.
    Two(Accel),
    /// One, emulated so that its instructions are its clock.
    Counted,
}

impl Cpus {
    /// QEMU's arguments for them.
    fn arguments(self) -> impl Iterator<Item = &'static str> {
        let (number, run) = match self {
            Self::Two(accel) => (TWO, accel.arguments()),
            Self::Counted => (COUNTED, &[][..]),
        };
        number.iter().chain(run).copied()
    }

    fn kernel_command_line(self) -> String {
        match self {
            Self::Two(_) => KERNEL_COMMAND_LINE.into(),
            Self::Counted => format!("{KERNEL_COMMAND_LINE}{SAME}"),
        }
    }
}

/// What to boot.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel's image.
    pub image: PathBuf,
    /// All that is there besides.
    pub initramfs: Initramfs,
    /// What it runs on.
    pub cpus: Cpus,
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

/// Boots the machine and stays with it to its end, telling `listener` each message of the guest's. The
/// judge has heard everything.
///
/// If there are two, a wire joins them, and the second is there for the first: when that has ended, it is
/// told so, and has to end as well. `listener` hears nothing of it.
pub fn run(machines: &[Machine], mut listener: impl FnMut(&Message)) -> Result<Vec<(Judge, End)>> {
    watch_signals()?;
    let mut wire = Vec::new();
    if let [_, _] = machines {
        wire.extend(<[_; 2]>::from(UnixStream::pair()?));
    }
    let mut ends = wire.into_iter();
    let (sender, heard) = mpsc::channel();
    let mut running = Vec::new();
    for (index, machine) in machines.iter().enumerate() {
        running.push(machine.start(index, ends.next(), &sender)?);
    }
    drop(sender);

    while running.iter().any(|machine| machine.end.is_none()) {
        check_interrupted()?;
        match heard.recv_timeout(TICK) {
            Ok((index, heard)) => {
                let message = running[index].hear(heard);
                if let Some(message) = message.filter(|_| index == 0) {
                    listener(&message);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            // All that is left for QEMU to do is to end.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK / 10),
        }
        for machine in &mut running {
            machine.look()?;
        }
        if let [first, others @ ..] = &mut running[..]
            && first.end.is_some()
        {
            others.iter_mut().for_each(Running::over);
        }
    }
    let ended = running
        .into_iter()
        .filter_map(|machine| Some((machine.judge, machine.end?)));
    Ok(ended.collect())
}

/// A machine that was started.
struct Running<'a> {
    machine: &'a Machine,
    index: usize,
    qemu: Qemu,
    /// The line of the guest's report, on which it can also be told something.
    report: UnixStream,
    /// How many of its lines QEMU has not closed.
    open: usize,
    judge: Judge,
    started: Instant,
    last_heard: Instant,
    /// From when on it has nothing more to do but to turn itself off.
    done: Option<Instant>,
    end: Option<End>,
}

impl Running<'_> {
    fn hear(&mut self, heard: Heard) -> Option<Message> {
        self.last_heard = Instant::now();
        match heard {
            Heard::Console(line) => {
                if verbose() {
                    let name = ["", "the other machine: "][self.index];
                    note(&format!("{name}{}", line.trim_end()));
                }
                self.judge.console_line(&line);
                None
            }
            Heard::Report { line, complete } => {
                let message = self.judge.report_line(line.trim_end(), complete);
                if self.judge.has_verdict() {
                    self.done.get_or_insert_with(Instant::now);
                }
                message
            }
            Heard::Closed => {
                self.open -= 1;
                None
            }
        }
    }

    /// Sees whether it has ended, and ends it if it should have.
    fn look(&mut self) -> Result<()> {
        let &Machine {
            interactive,
            silence,
            limit,
            ..
        } = self.machine;
        if self.end.is_some() {
            return Ok(());
        }
        if self.open == 0
            && let Some(status) = self.qemu.0.try_wait().context("waiting for QEMU")?
        {
            self.end = Some(End::Exited(status));
            return Ok(());
        }
        let too_late = if self.last_heard.elapsed() > silence && !interactive {
            format!("nothing was heard for {} s", silence.as_secs())
        } else if self.started.elapsed() > limit {
            format!("it was not done after {} s", limit.as_secs())
        } else if self.done.is_some_and(|at| at.elapsed() > POWER_OFF) {
            "it did not turn itself off".into()
        } else {
            return Ok(());
        };
        self.qemu.end();
        self.end = Some(End::Killed(too_late));
        Ok(())
    }

    /// Tells it that there is nothing more to do.
    fn over(&mut self) {
        if self.done.is_none() {
            // Should it fail, QEMU has ended.
            let _ = self.report.write_all(guest::OVER.as_bytes());
            self.done = Some(Instant::now());
        }
    }
}

impl Machine {
    fn start(
        &self,
        index: usize,
        wire: Option<UnixStream>,
        sender: &Sender<(usize, Heard)>,
    ) -> Result<Running<'_>> {
        let (console, console_theirs) = UnixStream::pair()?;
        let (report, report_theirs) = UnixStream::pair()?;
        let report_read = report.try_clone()?;
        let qemu = {
            let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
            // Closed before the lock is released, so that the next QEMU inherits none of them.
            let image = self.initramfs.to_memfd()?;
            let lines = [console_theirs.into(), report_theirs.into()];
            let wire = wire.map(|end| (index, OwnedFd::from(end)));
            self.start_qemu(&image, &lines, wire.as_ref())?
        };
        let sender = |wrap: fn(String, bool) -> Heard| {
            let sender = sender.clone();
            move |line: Option<(String, bool)>| {
                let heard = line.map_or(Heard::Closed, |(line, complete)| wrap(line, complete));
                sender.send((index, heard)).is_ok()
            }
        };
        listen(console, sender(|line, _| Heard::Console(line)));
        listen(
            report_read,
            sender(|line, complete| Heard::Report { line, complete }),
        );
        Ok(Running {
            machine: self,
            index,
            qemu,
            report,
            open: 2,
            judge: Judge::default(),
            started: Instant::now(),
            last_heard: Instant::now(),
            done: None,
            end: None,
        })
    }

    fn start_qemu(
        &self,
        image: &OwnedFd,
        [console, report]: &[OwnedFd; 2],
        wire: Option<&(usize, OwnedFd)>,
    ) -> Result<Qemu> {
        let inherited = [image, console, report].into_iter();
        for fd in inherited.chain(wire.map(|(_, end)| end)) {
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
            .args(self.cpus.arguments())
            .arg("-kernel")
            .arg(&self.image)
            .args(["-initrd", &format!("/proc/self/fd/{}", image.as_raw_fd())])
            .args(["-append", &self.cpus.kernel_command_line()])
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
        if let Some((index, end)) = wire {
            command
                .args(["-netdev", &format!("socket,id=wire,fd={}", end.as_raw_fd())])
                // Without the ROM that boots from the network, which not every host has.
                .args([
                    "-device",
                    &format!("virtio-net-pci,netdev=wire,mac=52:54:00:00:00:{index:02x},romfile="),
                ]);
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

/// Reads lines in a thread of its own until the other side closes, of which `heard` is told by `None`, or
/// until `heard` says that nobody wants to know.
fn listen(stream: UnixStream, heard: impl Fn(Option<(String, bool)>) -> bool + Send + 'static) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            // A line without end must not fill the host's memory.
            let read = (&mut lines).take(1 << 20).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                heard(None);
                return;
            }
            let complete = line.ends_with(b"\n");
            if !heard(Some((
                String::from_utf8_lossy(&line).into_owned(),
                complete,
            ))) {
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
