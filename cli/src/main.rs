// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `callgate` command: arguments in, what a person or a machine reads out.

#![forbid(unsafe_code)]

mod attack;
mod bench;
mod choose;
mod demo;
mod doctor;
mod facts;
mod faults;
mod generated;
mod home;
mod new;
mod progress;
mod show;
mod test;
mod watch;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use lab::accel::Accel;
use lab::cache::Cache;
use lab::doctor::Needs;
use lab::kernel::Flavour;
use lab::modules::Variant;
use lab::project::{MANIFEST, Project};
use lab::userspace::Purpose;
use lab::verdict::Outcome;
use lab::{Lab, command, run};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Instant;

/// The doors between the Linux kernel and user space, both sides in Rust, at work in a VM.
///
/// Exit status: 0 all good, 1 a check failed, 2 wrong usage, 3 something is missing on this machine,
/// 4 the kernel complained, 5 kernel panic, 6 time ran out, 130 interrupted.
#[derive(Parser)]
#[command(name = "callgate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: AnyCommand,
    /// Show the commands that run, the kernel's console, and each test.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// How the VM's CPUs are run, instead of by what a probe boot finds.
    #[arg(long, global = true, value_enum)]
    accel: Option<AccelArgument>,
    /// A Linux 7.3 source tree to build the kernels from, instead of a fetched one.
    #[arg(long, global = true, value_name = "DIR")]
    kernel_source: Option<PathBuf>,
}

#[derive(Subcommand)]
enum AnyCommand {
    #[command(flatten)]
    OfTheLab(Command),
    /// Print what makes a shell complete this command's arguments.
    Completions {
        /// For this shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages.
    #[command(hide = true)]
    Man {
        /// Into this directory.
        directory: PathBuf,
    },
}

#[derive(Subcommand)]
enum Command {
    /// Show gates at work: load each module, run its program, show what crossed the boundary.
    Demo {
        /// The gates; all of them if none is named.
        gates: Vec<String>,
        /// Print JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Run the behaviour tests on the release kernel and on the debug kernel.
    Test {
        /// The gates; all of them if none is named.
        gates: Vec<String>,
        /// Only on this kernel.
        #[arg(long, value_enum)]
        kernel: Option<KernelArgument>,
        /// Only the tests whose name contains this.
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
        /// How often a test that unloads its module in use does so; 10 if not given.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
        cycles: Option<u8>,
        /// Test the gates' twins in C instead, of those that have one.
        #[arg(long)]
        twin: bool,
        /// Print JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Measure what each gate's operations cost: in instructions, beside their twins in C, and in time.
    Bench(bench::Bench),
    /// Try to break gates, for a while, by calls with anything in them: a search for what reaches new code.
    Attack {
        #[command(flatten)]
        arguments: attack::Arguments,
        /// On this kernel.
        #[arg(long, value_enum, default_value = "debug")]
        kernel: KernelArgument,
    },
    /// Run the tests again whenever a file is saved, until interrupted.
    Watch {
        /// The gates; all of them if none is named.
        gates: Vec<String>,
        /// On this kernel.
        #[arg(long, value_enum, default_value = "release")]
        kernel: KernelArgument,
        /// Only the tests whose name contains this.
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
    },
    /// An interactive VM with the modules at hand and a copy of the host's files, forgotten at its end.
    Shell {
        /// Boot this kernel.
        #[arg(long, value_enum, default_value = "release")]
        kernel: KernelArgument,
    },
    /// Say which gate is for what you need, why the others are not, and what each costs; asks if nothing is said.
    Choose {
        #[command(flatten)]
        wishes: choose::Wishes,
        /// Print JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// List the gates.
    List {
        /// Print JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Build kernel, modules and programs: what demo and test do first.
    Build {
        /// Only for this kernel.
        #[arg(long, value_enum)]
        kernel: Option<KernelArgument>,
        /// Only the modules, for a kernel that is not callgate's: against its build tree. Without DIR, for the
        /// kernel that runs here: /lib/modules/$(uname -r)/build.
        #[arg(long, value_name = "DIR", conflicts_with = "kernel")]
        #[expect(clippy::option_option, reason = "where DIR may be left out")]
        kdir: Option<Option<PathBuf>>,
    },
    /// Start a project of your own: a folder with a module, a program and tests.
    New {
        /// The folder to make. Its name is that of the module and the program.
        #[arg(required_unless_present = "list")]
        folder: Option<PathBuf>,
        /// The gates to begin with, such as `ioctl,mmap`.
        #[arg(
            long,
            value_name = "GATE,…",
            value_delimiter = ',',
            required_unless_present = "list"
        )]
        gate: Vec<String>,
        /// Only what works, without tests.
        #[arg(long)]
        minimal: bool,
        /// Explain the gates instead.
        #[arg(long, conflicts_with_all = ["folder", "gate", "minimal"])]
        list: bool,
    },
    /// Bring what your project has of callgate up to date: the kernel library, and where its crate is.
    Update,
    /// Lint both sides; of callgate itself, build the kernel side's documentation as well.
    Lint,
    /// Make the handbook of the chapters, and say which file to open.
    Book,
    /// Check what the lab needs of this machine.
    Doctor {
        /// Install what is missing (as root, or by sudo).
        #[arg(long)]
        install: bool,
        /// Print JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Empty the cache.
    Clean,
    /// Do something wrong in the VM on purpose, to see it noticed.
    #[command(hide = true)]
    Plant {
        /// What; `list` lists them.
        fault: String,
        /// On this kernel.
        #[arg(long, value_enum, default_value = "release")]
        kernel: KernelArgument,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum AccelArgument {
    Kvm,
    Tcg,
}

#[derive(Clone, Copy, ValueEnum)]
enum KernelArgument {
    Release,
    Debug,
    /// As a distribution builds its own: by gcc, loading only versioned and signed modules.
    Distro,
}

impl From<KernelArgument> for Flavour {
    fn from(argument: KernelArgument) -> Self {
        match argument {
            KernelArgument::Release => Flavour::Release,
            KernelArgument::Debug => Flavour::Debug,
            KernelArgument::Distro => Flavour::Distro,
        }
    }
}

/// When this began.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn main() -> ExitCode {
    LazyLock::force(&START);
    let arguments = Arguments::parse();
    command::set_verbose(arguments.verbose);
    progress::install();
    match dispatch(arguments) {
        Ok(outcome) => ExitCode::from(outcome.exit_status()),
        Err(error) if error.is::<command::Interrupted>() => {
            anstream::eprintln!("callgate: interrupted");
            ExitCode::from(130)
        }
        Err(error) if error.is::<doctor::Told>() => ExitCode::from(3),
        Err(error) => {
            anstream::eprintln!("callgate: {error:#}");
            let missing = error.is::<lab::doctor::Missing>() || error.is::<lab::kdir::Unsuited>();
            ExitCode::from(if missing {
                3
            } else if error.is::<Usage>() {
                2
            } else {
                1
            })
        }
    }
}

#[expect(clippy::too_many_lines, reason = "an arm for each command")]
fn dispatch(arguments: Arguments) -> Result<Outcome> {
    let command = match arguments.command {
        AnyCommand::OfTheLab(command) => command,
        AnyCommand::Completions { shell } => {
            generated::completions(&Arguments::command(), shell)?;
            return Ok(Outcome::Passed);
        }
        AnyCommand::Man { directory } => {
            generated::manual(Arguments::command(), &directory)?;
            return Ok(Outcome::Passed);
        }
    };
    if let Some(tree) = &arguments.kernel_source
        && !tree.join("Kbuild").is_file()
    {
        let tree = tree.display();
        return Err(Usage(format!(
            "--kernel-source {tree}: this is no tree of Linux sources"
        ))
        .into());
    }
    let cache = Cache::open()?;
    let home = home::find(&cache)?;
    let lab = Lab {
        cache,
        source: home.source,
        output: home.output,
        kernel_source: arguments.kernel_source,
        accel: arguments.accel.map(|accel| match accel {
            AccelArgument::Kvm => Accel::Kvm,
            AccelArgument::Tcg => Accel::Tcg,
        }),
    };
    let project = project(&lab)?;
    for path in [&project.root, &lab.source, &lab.cache.path("")] {
        // make takes it for the end of the path.
        if path.to_string_lossy().contains(char::is_whitespace) {
            let path = path.display();
            bail!("the kernel's build cannot work in `{path}`: it must be a path without spaces");
        }
    }
    match command {
        Command::Demo { gates, json } => {
            check(&project, &gates)?;
            let needs = Needs::BUILD_AND_RUN;
            let prepared = prepared(&lab, &project, needs, &[Flavour::Release])?;
            demo::run(&prepared, &project.gates, &gates, json)
        }
        Command::Test {
            gates,
            kernel,
            filter,
            cycles,
            twin,
            json,
        } => {
            let mut project = project;
            if twin {
                project.gates.retain(|gate| gate.twin);
            }
            check(&project, &gates)?;
            let flavours = flavours(kernel);
            let mut prepared = prepared(&lab, &project, Needs::ALL, &flavours)?;
            if twin {
                prepared = prepared.with(&lab, Variant::Twins, guest::MODULES)?;
            }
            let lanes = test::lanes(filter.as_deref());
            let outcome = test::run(&prepared, &flavours, &gates, lanes, filter, cycles, json)?;
            let seconds = START.elapsed().as_secs_f32();
            anstream::eprintln!("{DIM}{seconds:.0} s in all{DIM:#}", DIM = show::DIM);
            Ok(outcome)
        }
        Command::Bench(bench) => {
            let mut named = bench.gates.clone();
            named.retain(|name| !bench::BESIDE.contains(&name.as_str()));
            check(&project, &named)?;
            let old = bench.old()?;
            let needs = Needs::BUILD_AND_RUN;
            let flavours = [Flavour::Release];
            let mut prepared = prepared_for(Purpose::Measured, &lab, &project, needs, &flavours)?;
            if bench.needs_twins() {
                prepared = prepared.with(&lab, Variant::Twins, guest::TWINS)?;
            }
            bench::run(&lab, &project, &prepared, &bench, old.as_ref())
        }
        Command::Attack { arguments, kernel } => {
            // A project's program has no such part.
            let project = own(&lab)?;
            check(&project, &arguments.gates)?;
            let (needs, flavour) = (Needs::BUILD_AND_RUN, kernel.into());
            let prepared = prepared_for(Purpose::Measured, &lab, &project, needs, &[flavour])?;
            let prepared = prepared.with(&lab, Variant::Telling, guest::MODULES)?;
            attack::run(&prepared, flavour, &arguments, &project.output)
        }
        Command::Watch {
            gates,
            kernel,
            filter,
        } => {
            check(&project, &gates)?;
            watch::run(&lab, &project, kernel.into(), &gates, filter.as_deref())
        }
        Command::Shell { kernel } => {
            let prepared = prepared(&lab, &project, Needs::BUILD_AND_RUN, &[kernel.into()])?;
            anstream::eprintln!("{}", prepared.headline(kernel.into()));
            let plan = guest::Plan::Shell {
                programs: prepared.programs(),
                window: lab::vm::Terminal::window(),
            };
            let boot = prepared.boot(kernel.into(), &plan, run::Limits::default(), |_| ())?;
            show::complaints(&boot);
            Ok(boot.outcome)
        }
        Command::Choose { wishes, json } => choose::run(&lab, wishes, json),
        Command::List { json } => {
            show::gates(&project.gates, json)?;
            Ok(Outcome::Passed)
        }
        Command::Build {
            kdir: Some(directory),
            ..
        } => {
            let directory = directory.unwrap_or_else(lab::kdir::of_this_machine);
            for module in lab::kdir::build(&lab, &project, &directory)? {
                println!("{}", module.display());
            }
            Ok(Outcome::Passed)
        }
        Command::Build { kernel, kdir: None } => {
            let flavours = flavours(kernel);
            lab::doctor::ensure(Needs::BUILD_AND_RUN.on(&flavours))?;
            run::build(&lab, &project, &flavours).map(|()| Outcome::Passed)
        }
        Command::New {
            folder,
            gate,
            minimal,
            list,
        } => new::run(&lab.source, folder.as_deref(), &gate, minimal, list),
        Command::Update => new::update(&lab.source, &project),
        Command::Lint => {
            tell_whose(&lab, &project)?;
            lab::doctor::ensure(Needs::BUILD)?;
            run::lint(&lab, &project).map(|()| Outcome::Passed)
        }
        Command::Book => {
            let index = lab::book::build(&lab, &own(&lab)?)?;
            println!("{}", index.display());
            Ok(Outcome::Passed)
        }
        Command::Doctor { install, json } => doctor::run(install, json),
        Command::Clean => {
            let size = lab.cache.size();
            lab.cache.clear()?;
            println!("{} MB freed", size / 1_000_000);
            Ok(Outcome::Passed)
        }
        Command::Plant { fault, kernel } => faults::run(&lab, &own(&lab)?, &fault, kernel.into()),
    }
}

/// Sees to it that the machine has what is needed, then that everything is built.
fn prepared(
    lab: &Lab,
    project: &Project,
    needs: Needs,
    flavours: &[Flavour],
) -> Result<run::Prepared> {
    prepared_for(Purpose::Tested, lab, project, needs, flavours)
}

fn prepared_for(
    purpose: Purpose,
    lab: &Lab,
    project: &Project,
    needs: Needs,
    flavours: &[Flavour],
) -> Result<run::Prepared> {
    tell_whose(lab, project)?;
    lab::doctor::ensure(needs.on(flavours))?;
    run::prepare(lab, std::slice::from_ref(project), flavours, purpose)
}

/// Says so where one may believe to be in a project, and is not.
fn tell_whose(lab: &Lab, project: &Project) -> Result<()> {
    let here = std::env::current_dir().context("where are we?")?;
    if project.root == lab.source && !here.starts_with(&lab.source) {
        command::note("callgate: there is no project here; these are callgate's own gates");
    }
    Ok(())
}

fn flavours(only: Option<KernelArgument>) -> Vec<Flavour> {
    match only {
        Some(kernel) => vec![kernel.into()],
        None => vec![Flavour::Release, Flavour::Debug],
    }
}

/// The command was called in a way that makes no sense.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Sees to it that the project has these gates.
fn check(project: &Project, named: &[String]) -> Result<()> {
    let known: Vec<_> = project.gates.iter().map(|gate| &*gate.name).collect();
    match named.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let known = known.join(", ");
            Err(Usage(format!("there is no gate `{name}`; there are {known}")).into())
        }
    }
}

/// The project around the current directory, else callgate itself.
fn project(lab: &Lab) -> Result<Project> {
    let here = std::env::current_dir().context("where are we?")?;
    let is_project = |directory: &&Path| directory.join(MANIFEST).is_file();
    match here.ancestors().find(is_project) {
        Some(root) => Project::open(root.to_owned(), &lab.cache),
        None => own(lab),
    }
}

/// callgate itself.
fn own(lab: &Lab) -> Result<Project> {
    Project::checkout(lab.source.clone(), lab.output.clone())
}
