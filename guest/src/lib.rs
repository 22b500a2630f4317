// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the host and PID 1 inside the VM say to each other.
//!
//! The host puts one [`Plan`] into the initramfs, at [`PLAN`]. The guest answers with one JSON
//! [`Message`] a line on the virtio-serial port called [`PORT`]; the last one is the verdict. The host
//! says nothing there, except to a machine that would wait for ever: that it is [over](OVER). What the
//! kernel has to say does not come this way: the host reads the kernel's console itself, so
//! that it hears of a crash that leaves nobody to report it.

#![forbid(unsafe_code)]

pub mod attacked;
pub mod measured;

use attacked::Attacked;
use measured::{Machine, Measured};
use serde::{Deserialize, Serialize};

/// Name of the virtio-serial port the guest reports on.
pub const PORT: &str = "org.callgate.0";

/// What the host says to the other machine when the first one has ended.
pub const OVER: &str = "over\n";

/// Where the plan is in the initramfs.
pub const PLAN: &str = "/plan.json";

/// Where the modules are in the initramfs.
pub const MODULES: &str = "/modules";

/// Where the modules' twins are in the initramfs, if they are not in their places.
pub const TWINS: &str = "/twins";

/// Where the programs are in the initramfs, each beside its [tests].
pub const PROGRAMS: &str = "/callgate";

/// Where the program called `name` is: one for all gates of a project, which is told which by its argument.
#[must_use]
pub fn program(name: &str) -> String {
    format!("{PROGRAMS}/{name}")
}

/// Where the tests are that go with the program called `name`.
#[must_use]
pub fn tests(name: &str) -> String {
    format!("{PROGRAMS}/{name}-tests")
}

/// How a line in the kernel log begins that says what the guest is about to do. The host finds it
/// in the console's stream, and so knows during what a complaint of the kernel came.
pub const MARK: &str = "callgate-mark: ";

/// How the line in the kernel log begins that says why PID 1 cannot go on.
pub const GIVES_UP: &str = "callgate: PID 1 gives up: ";

/// One gate to be shown or tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What the report calls it.
    pub name: String,
    /// What its program and its tests call it.
    pub gate: String,
    /// The module with its kernel side; `None` if that is part of the kernel.
    pub module: Option<String>,
    /// The [program] that has its user side.
    pub program: String,
}

/// What the guest shall do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Boot and say so; the host wants to know whether this machine boots at all.
    Probe,
    /// Load each gate's module, run its program, show what crossed, unload.
    Demo {
        /// In this order.
        turns: Vec<Turn>,
    },
    /// Run each gate's tests with its module loaded.
    Test {
        /// In this order.
        turns: Vec<Turn>,
        /// Only tests whose name contains this.
        filter: Option<String>,
        /// How often a test that unloads its module does so, in each situation.
        cycles: Option<u8>,
    },
    /// Count what the operations of each gate cost: with its module loaded, and with its twin if it has one.
    Count {
        /// In this order.
        turns: Vec<Turn>,
    },
    /// Take the times of the operations of all gates, which take turns.
    Time {
        /// In this order.
        turns: Vec<Turn>,
    },
    /// Attack each gate, with its module loaded.
    Attack {
        /// In this order.
        turns: Vec<Turn>,
        /// What the modules are loaded with.
        parameters: String,
        /// For how many seconds each.
        seconds: u64,
        /// What chance begins with.
        seed: u64,
    },
    /// Be the other machine, which another one reaches by a wire: run a program when that one asks, for
    /// the gate that it names, until the host says that it is over.
    Elsewhere {
        /// The [program].
        program: String,
    },
    /// An interactive shell on the host's tools.
    Shell {
        /// The [programs](program) to have at hand.
        programs: Vec<String>,
        /// Rows and columns of the host's terminal.
        window: Option<(u16, u16)>,
    },
    /// Do something wrong on purpose, to prove that the host notices.
    Fault(Fault),
}

impl Plan {
    /// The gates that may be reached from another machine. While times are taken there is none: it would take
    /// the host's CPUs from this one.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        match self {
            Self::Demo { turns } | Self::Test { turns, .. } | Self::Count { turns } => turns,
            _ => &[],
        }
    }

    /// Whether it is carried out with the host's root as the guest's own: for the tools in it.
    #[must_use]
    pub fn needs_host_root(&self) -> bool {
        matches!(self, Self::Test { .. } | Self::Shell { .. })
    }
}

/// Something wrong done on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The kernel reads through a null pointer.
    NullDereference,
    /// A `WARN_ON` that is true.
    Warn,
    /// Use of memory after it was freed (debug kernel).
    UseAfterFree,
    /// Two locks taken in both orders (debug kernel).
    LockOrder,
    /// A sleep under a spinlock (debug kernel).
    SleepInAtomic,
    /// A thousand allocations that nothing points to any more (debug kernel).
    Leak,
    /// An integer overflow in Rust code of the kernel.
    Overflow,
    /// An array index out of bounds in C's sense: a shift too far (debug kernel).
    Undefined,
    /// Both CPUs spin for ever with interrupts off.
    Hang,
    /// PID 1 exits.
    InitDies,
    /// The verdict stops in the middle of the line.
    CutVerdict,
    /// A second verdict follows the first.
    TwoVerdicts,
    /// No verdict: the machine just turns itself off.
    NoVerdict,
    /// A module whose init fails.
    LoadRefused,
    /// A module that is in use when it shall go.
    UnloadRefused,
    /// Nothing is wrong; the guest waits for somebody to kill the VM from outside.
    Wait,
    /// Nothing is wrong at all: the control.
    None,
}

impl Fault {
    /// Every fault, in the order of the enum.
    pub const ALL: [Fault; 17] = [
        Fault::NullDereference,
        Fault::Warn,
        Fault::UseAfterFree,
        Fault::LockOrder,
        Fault::SleepInAtomic,
        Fault::Leak,
        Fault::Overflow,
        Fault::Undefined,
        Fault::Hang,
        Fault::InitDies,
        Fault::CutVerdict,
        Fault::TwoVerdicts,
        Fault::NoVerdict,
        Fault::LoadRefused,
        Fault::UnloadRefused,
        Fault::Wait,
        Fault::None,
    ];

    /// The value of the fault module's `kind` parameter that does this; `None` if the kernel has no
    /// part in it.
    #[must_use]
    pub fn kind(self) -> Option<u32> {
        Some(match self {
            Fault::NullDereference => 1,
            Fault::Warn => 2,
            Fault::UseAfterFree => 3,
            Fault::LockOrder => 4,
            Fault::SleepInAtomic => 5,
            Fault::Leak => 6,
            Fault::Overflow => 7,
            Fault::Undefined => 8,
            Fault::Hang => 9,
            Fault::LoadRefused => 10,
            _ => return None,
        })
    }

    /// Whether only the debug kernel notices this.
    #[must_use]
    pub fn needs_debug_kernel(self) -> bool {
        matches!(
            self,
            Fault::UseAfterFree
                | Fault::LockOrder
                | Fault::SleepInAtomic
                | Fault::Leak
                | Fault::Undefined
        )
    }
}

/// Which way data crossed the boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the program to the module.
    ToKernel,
    /// From the module to the program.
    FromKernel,
}

/// One line of the guest's report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// PID 1 runs.
    Hello {
        /// `uname -r`.
        release: String,
        /// CPUs that are really up.
        cpus: usize,
    },
    /// A gate's turn begins.
    GateBegins {
        /// Its name.
        gate: String,
    },
    /// Data crossed the boundary.
    Crossing {
        /// Which way.
        direction: Direction,
        /// By what call.
        what: String,
        /// What crossed.
        payload: String,
    },
    /// The kernel logged a line.
    Kernel {
        /// The line.
        line: String,
    },
    /// The program printed a line.
    Program {
        /// The line.
        line: String,
    },
    /// What an operation of a gate's costs.
    Cost {
        /// The gate.
        gate: String,
        /// Whether its twin was loaded.
        twin: bool,
        /// What the operation is for: `round-trip`, `to-kernel`, `to-program`, `notify` or `other`.
        work: String,
        /// What the operation is called.
        operation: String,
        /// How many bytes it moves.
        bytes: u64,
        /// How many instructions it takes in all.
        instructions: u64,
        /// How many of those are the program's.
        program: u64,
        /// How many of those are system calls.
        calls: u64,
    },
    /// The machine on which times are taken.
    Machine(Machine),
    /// What a program has measured.
    Measured(Box<Measured>),
    /// What has come of an attack.
    Attacked(Box<Attacked>),
    /// A gate's turn is over.
    GateEnds {
        /// Its name.
        gate: String,
        /// What went wrong with it as a whole (load, program, unload).
        error: Option<String>,
        /// How long its turn took, in milliseconds.
        millis: u64,
    },
    /// A test ran.
    Test {
        /// The gate it belongs to.
        gate: String,
        /// Its name.
        name: String,
        /// `None` if it passed, else what it printed.
        failure: Option<String>,
        /// How long it took, in milliseconds.
        millis: u64,
    },
    /// The kernel lost memory.
    Leak {
        /// During what, as far as the allocating process tells.
        during: String,
        /// kmemleak's report.
        report: String,
    },
    /// The guest takes a while over something that has no result of its own.
    Busy {
        /// Over what.
        with: String,
    },
    /// The last message: everything was done, and this is what came of it.
    Verdict {
        /// Whether every check passed.
        passed: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_listed_once() {
        for (index, fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(*fault as usize, index);
        }
    }

    #[test]
    fn messages_are_one_line_each() {
        let message = Message::Program {
            line: "a\nb".into(),
        };
        let line = serde_json::to_string(&message).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Message>(&line).unwrap(), message);
    }
}
