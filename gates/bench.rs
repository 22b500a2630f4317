// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the operations of a gate cost: in instructions, which is below, and in [`time`].
//!
//! All of them are counted by the machine's clock, on a machine whose clock they are; those of the program
//! alone by stepping through it one by one, which ptrace(2) lets its parent do. What is left is the kernel's.
//!
//! Most counts are the same at each boot. The others differ by a few instructions, as they depend on what
//! differs: what else is in tables with a secret order (sockets, names of files), and where there is room for
//! many pages. Where threads take turns or a program is started it may be some percent.

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use callgate::debugfs::Debugfs;
use callgate::sysctl::Setting;
use callgate::testing::instructions;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// How often an operation is carried out before it counts, so that all is there that the first ones had to
/// make.
const WARM_UP: usize = 64;

/// How often it is counted. What the kernel does besides, as at a tick of its clock, hits few of them.
const SAMPLES: usize = 301;

/// The longest that an operation may be, in instructions of the program. Stepping takes a while.
const LONGEST: u64 = 1 << 20;

/// The instruction of a system call, on x86-64.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// What an operation is for. Only operations for the same can be compared across gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Bytes go to the kernel, and as many come back.
    RoundTrip,
    /// Bytes go to the kernel.
    ToKernel,
    /// Bytes come from the kernel.
    ToProgram,
    /// The kernel has something to tell, and a program that waits for it learns of it.
    Notify,
    /// Something else that the mechanism can do.
    Other,
}

impl Work {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "round-trip",
            Self::ToKernel => "to-kernel",
            Self::ToProgram => "to-program",
            Self::Notify => "notify",
            Self::Other => "other",
        }
    }
}

type Step<'a> = Box<dyn FnMut() -> Result<()> + 'a>;
type SentStep = Box<dyn FnMut() -> Result<()> + Send>;

/// How an operation is carried out.
enum Run<'a> {
    /// By one thread.
    Alone(Step<'a>),
    /// One thread has the kernel tell something, and another waits for it.
    Told { tell: SentStep, hear: SentStep },
}

/// Something that a program can do again and again.
pub struct Operation<'a> {
    work: Work,
    name: &'static str,
    bytes: usize,
    first: Option<Step<'a>>,
    each: Option<Step<'a>>,
    run: Run<'a>,
}

impl<'a> Operation<'a> {
    /// One for this work and with this name, which moves this many bytes. A round trip's bytes count once.
    pub fn new(
        work: Work,
        name: &'static str,
        bytes: usize,
        run: impl FnMut() -> Result<()> + 'a,
    ) -> Self {
        Self {
            work,
            name,
            bytes,
            first: None,
            each: None,
            run: Run::Alone(Box::new(run)),
        }
    }

    /// One by which a program learns of something: `tell` has the kernel tell it, and `hear` returns when the
    /// program knows. Instructions are counted with one after the other in one thread; times are taken with
    /// `hear` waiting in another.
    pub fn notify(
        name: &'static str,
        bytes: usize,
        tell: impl FnMut() -> Result<()> + Send + 'static,
        hear: impl FnMut() -> Result<()> + Send + 'static,
    ) -> Self {
        let (tell, hear): (SentStep, SentStep) = (Box::new(tell), Box::new(hear));
        Self {
            work: Work::Notify,
            name,
            bytes,
            first: None,
            each: None,
            run: Run::Told { tell, hear },
        }
    }

    /// Something to be done once before all of its turns. Others of the gate's operations may undo it, so it is done
    /// again after those.
    #[must_use]
    pub fn first(mut self, first: impl FnMut() -> Result<()> + 'a) -> Self {
        self.first = Some(Box::new(first));
        self
    }

    /// Something to be done before each of its turns, which does not count.
    #[must_use]
    pub fn before(mut self, each: impl FnMut() -> Result<()> + 'a) -> Self {
        self.each = Some(Box::new(each));
        self
    }

    /// Nothing: what is left is the price of counting.
    fn nothing() -> Self {
        Self::new(Work::Other, "nothing", 0, || Ok(()))
    }

    fn prepare(&mut self) -> Result<()> {
        self.each.as_mut().map_or(Ok(()), |each| each())
    }

    fn once(&mut self) -> Result<()> {
        match &mut self.run {
            Run::Alone(run) => run(),
            Run::Told { tell, hear } => {
                tell()?;
                hear()
            }
        }
    }

    fn repeat(&mut self, times: usize) -> Result<()> {
        let (name, bytes) = (self.name, self.bytes);
        let first = self.first.as_mut().map_or(Ok(()), |first| first());
        first
            .and_then(|()| {
                (0..times).try_for_each(|_| {
                    self.prepare()?;
                    self.once()
                })
            })
            .with_context(|| format!("{name} of {bytes} bytes"))
    }

    /// All instructions that it takes: the median, as a clock's tick is in some.
    fn count(&mut self) -> Result<u64> {
        self.repeat(WARM_UP)?;
        let mut samples = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            self.prepare()?;
            let before = instructions::so_far();
            let done = self.once();
            samples.push(instructions::so_far() - before);
            done?;
        }
        samples.sort_unstable();
        Ok(samples[SAMPLES / 2])
    }
}

pub mod bulk;
#[path = "bus/bench.rs"]
mod bus;
#[path = "chardev/bench.rs"]
mod chardev;
#[path = "configfs/bench.rs"]
mod configfs;
#[path = "debugfs/bench.rs"]
mod debugfs;
mod file;
mod floor;
#[path = "genl/bench.rs"]
mod genl;
#[path = "ioctl/bench.rs"]
mod ioctl;
#[path = "mmap/bench.rs"]
mod mmap;
#[path = "netlink/bench.rs"]
mod netlink;
#[path = "packet/bench.rs"]
mod packet;
#[path = "parameter/bench.rs"]
mod parameter;
#[path = "procfs/bench.rs"]
mod procfs;
#[path = "seq_file/bench.rs"]
mod seq_file;
#[path = "signal/bench.rs"]
mod signal;
#[path = "syscall/bench.rs"]
mod syscall;
#[path = "sysctl/bench.rs"]
mod sysctl;
#[path = "sysfs/bench.rs"]
mod sysfs;
pub mod time;
#[path = "udp/bench.rs"]
mod udp;
#[path = "upcall/bench.rs"]
mod upcall;

pub use upcall::{RING as UPCALL, ring as called};

/// The operations of a gate.
fn operations(gate: &str) -> Result<Vec<Operation<'static>>> {
    match gate {
        bulk::GATE => bulk::operations(),
        "bus" => bus::operations(),
        "chardev" => chardev::operations(),
        "configfs" => configfs::operations(),
        "debugfs" => debugfs::operations(),
        "floor" => floor::operations(),
        "genl" => genl::operations(),
        "ioctl" => ioctl::operations(),
        "mmap" => mmap::operations(),
        "netlink" => netlink::operations(),
        "packet" => packet::operations(),
        "parameter" => parameter::operations(),
        "procfs" => procfs::operations(),
        "seq_file" => seq_file::operations(),
        "signal" => signal::operations(),
        "syscall" => Ok(syscall::operations()),
        "sysctl" => sysctl::operations(),
        "sysfs" => sysfs::operations(),
        "udp" => udp::operations(),
        "upcall" => upcall::operations(),
        _ => bail!("{gate} has nothing to be measured"),
    }
}

/// Counts the operations of a gate, and prints a line for each: how many instructions it takes in all, how many
/// of those are the program's, how many of those are system calls, its bytes, what it is for and its name.
pub fn count(gate: &str) -> Result<()> {
    instructions::undisturbed().context("keeping the CPU")?;
    // Else others get 50 ms of each second all the same.
    let server = Debugfs::find()?
        .root()
        .join("sched/fair_server/cpu0/runtime");
    fs::write(server, "0").context("keeping the CPU")?;
    let _quiet = Console::quiet()?;
    let mut operations = operations(gate)?;
    let price = Operation::nothing().count()?;
    let none = step_through(gate, None)?;
    for (index, operation) in operations.iter_mut().enumerate() {
        let all = operation.count()? - price;
        let (program, calls) = step_through(gate, Some(index))?;
        let (program, calls) = (program - none.0, calls - none.1);
        let (bytes, work, name) = (operation.bytes, operation.work.name(), operation.name);
        println!("{all} {program} {calls} {bytes} {work} {name}");
    }
    Ok(())
}

/// The kernel's console, to which it is quiet: what it writes there goes byte by byte, and is none of what
/// is counted. What modules say is still in the log.
pub(crate) struct Console(String);

impl Console {
    /// Warnings still get there.
    pub(crate) fn quiet() -> Result<Self> {
        let levels = Self::levels()?;
        let before = levels.text()?;
        levels.set(6)?;
        Ok(Self(before))
    }

    fn levels() -> Result<Setting> {
        Ok(Setting::named("kernel.printk")?)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // The host misses the rest of the log if this fails, and says so.
        let _ = Self::levels().map(|levels| levels.set(&self.0));
    }
}

/// Has another process of this program be [`stepped`] through an operation of a gate's; through none, if none
/// is given. Returns how many steps it took, and how many of them were system calls.
fn step_through(gate: &str, index: Option<usize>) -> Result<(u64, u64)> {
    let index = index.map_or(String::new(), |index| index.to_string());
    let mut child = Command::new("/proc/self/exe")
        .args(["step", gate, &index])
        .stdout(Stdio::null())
        .spawn()
        .context("starting what is stepped through")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut counting = false;
    let (mut steps, mut calls) = (0, 0);
    let mut clock = Clock::default();
    loop {
        match waitpid(pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGSTOP) if counting => {
                // It puts away what it had to make.
                ptrace::detach(pid, None)?;
                let ended = child.wait()?;
                ensure!(ended.success(), "what is stepped through fails: {ended}");
                return Ok((steps, calls));
            }
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {
                clock = Clock::of(pid)?;
                counting = true;
            }
            WaitStatus::Stopped(_, Signal::SIGTRAP) if counting => {}
            WaitStatus::Stopped(_, signal) => {
                if counting {
                    ptrace::step(pid, signal)?;
                } else {
                    ptrace::cont(pid, signal)?;
                }
                continue;
            }
            other => bail!("what is stepped through ended: {other:?}"),
        }
        ensure!(
            steps < LONGEST,
            "an operation has more than {LONGEST} instructions"
        );
        if counting {
            let at = ptrace::getregs(pid)?.rip;
            let instruction = ptrace::read(pid, at as ptrace::AddressType)?.to_ne_bytes();
            steps += u64::from(!clock.is_again_at(at));
            calls += u64::from(instruction.starts_with(&SYSCALL));
        }
        ptrace::step(pid, None)?;
    }
}

/// The part of a process that reads the clock without a system call. It does so again if the clock ticks
/// meanwhile, which is likely where each step takes so long, and happens in a program now and then. So each of its
/// instructions counts once for each time that the program is there.
#[derive(Default)]
struct Clock {
    code: Range<u64>,
    been: HashSet<u64>,
}

impl Clock {
    fn of(pid: Pid) -> Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let line = maps.lines().find(|line| line.ends_with("[vdso]"));
        let (start, rest) = line
            .and_then(|line| line.split_once('-'))
            .context("there is no vDSO")?;
        let end = rest.split(' ').next().unwrap_or_default();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16));
        Ok(Self {
            code: start?..end?,
            been: HashSet::new(),
        })
    }

    /// Whether the program is there, and has been just here without leaving.
    fn is_again_at(&mut self, at: u64) -> bool {
        if self.code.contains(&at) {
            return !self.been.insert(at);
        }
        self.been.clear();
        false
    }
}

/// Carries out one of a gate's operations between two stops, for the process that started this one and steps
/// through it.
pub fn stepped(gate: &str, index: &str) -> Result<()> {
    let mut operations = operations(gate)?;
    let mut nothing = Operation::nothing();
    let operation = match index {
        "" => &mut nothing,
        index => operations
            .get_mut(index.parse::<usize>()?)
            .context("there is no such operation")?,
    };
    operation.repeat(WARM_UP)?;
    operation.prepare()?;
    ptrace::traceme()?;
    raise(Signal::SIGSTOP)?;
    let done = operation.once();
    raise(Signal::SIGSTOP)?;
    done
}
