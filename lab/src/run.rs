// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the commands do: prepare what is missing, boot, listen, judge.

use crate::accel::{self, Choice};
use crate::initramfs::Initramfs;
use crate::kernel::{self, Flavour, Kernel, Tools};
use crate::modules::Variant;
use crate::project::Project;
use crate::splat::Splat;
use crate::userspace::{self, Programs, Purpose};
use crate::verdict::{self, Outcome};
use crate::vm::{self, Cpus, Machine, Terminal};
use crate::{Lab, editor, lanes, modules};
use anyhow::{Context, Result};
use guest::{Message, Plan, Turn};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Everything that is built before a machine can boot.
#[derive(Debug)]
pub struct Prepared {
    tools: Tools,
    /// The kernels, in the order asked for, each with the modules for it: directories, and where in the guest
    /// their modules go.
    kernels: Vec<(Kernel, Vec<(&'static str, PathBuf)>)>,
    init: PathBuf,
    projects: Vec<(Project, Programs)>,
    choice: Choice,
}

/// Builds what is missing for runs of these projects on kernels of these flavours.
pub fn prepare(
    lab: &Lab,
    projects: &[Project],
    flavours: &[Flavour],
    purpose: Purpose,
) -> Result<Prepared> {
    let tools = Tools::find(lab)?;
    let init = userspace::init(lab, projects.first().context("there is no project")?)?;
    let projects = projects
        .iter()
        .map(|project| Ok((project.clone(), userspace::programs(lab, project, purpose)?)))
        .collect::<Result<Vec<_>>>()?;
    let kernels = kernel::ensure(lab, &tools, flavours)?
        .into_iter()
        .map(|kernel| {
            let modules = projects
                .iter()
                .map(|(project, _)| {
                    let built = modules::build(lab, &tools, &kernel, project)?;
                    Ok((guest::MODULES, built))
                })
                .collect::<Result<_>>()?;
            Ok((kernel, modules))
        })
        .collect::<Result<Vec<_>>>()?;
    let (first, _) = kernels.first().context("no kernel was asked for")?;
    let choice = accel::choose(lab, &first.image(), &init)?;
    Ok(Prepared {
        tools,
        kernels,
        init,
        projects,
        choice,
    })
}

/// Builds what is missing, and describes the kernel side for editors.
pub fn build(lab: &Lab, project: &Project, flavours: &[Flavour]) -> Result<()> {
    let Prepared { tools, kernels, .. } = prepare(
        lab,
        std::slice::from_ref(project),
        flavours,
        Purpose::Tested,
    )?;
    // The distribution's tree has no sources that an editor could show.
    let described = kernels
        .iter()
        .find(|(kernel, _)| kernel.flavour != Flavour::Distro);
    described.map_or(Ok(()), |(kernel, _)| {
        editor::describe(lab, &tools, kernel, project)
    })
}

/// Lints both sides, and builds the documentation of callgate's own kernel side, with a warning being an
/// error.
pub fn lint(lab: &Lab, project: &Project) -> Result<()> {
    let tools = Tools::find(lab)?;
    for kernel in kernel::ensure(lab, &tools, &[Flavour::Release])? {
        modules::lint(lab, &tools, &kernel, project)?;
    }
    userspace::lint(project)
}

/// What came of one boot.
#[derive(Debug)]
pub struct Boot {
    /// The judgement.
    pub outcome: Outcome,
    /// What the kernel complained of.
    pub splats: Vec<Splat>,
    /// From the start of QEMU to its end.
    pub took: Duration,
    /// From the start of QEMU to the first line of PID 1.
    pub booted_in: Option<Duration>,
}

/// How long a boot may be silent, and how long it may take in all.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// It is ended if nothing is heard of it for so long.
    pub silence: Duration,
    /// It is ended if it has not ended by itself by then.
    pub total: Duration,
}

impl Default for Limits {
    /// More than the longest test may take on the debug kernel, emulated.
    fn default() -> Self {
        Self {
            silence: Duration::from_mins(4),
            total: Duration::from_hours(1),
        }
    }
}

impl Prepared {
    /// Builds a variant of the projects' modules as well, to be in this directory of the guest. If that is where
    /// the modules are, they take the places of their own.
    pub fn with(mut self, lab: &Lab, variant: Variant, directory: &'static str) -> Result<Self> {
        for (kernel, modules) in &mut self.kernels {
            for (project, _) in &self.projects {
                let built = modules::variant(lab, &self.tools, kernel, project, variant)?;
                modules.push((directory, built));
            }
        }
        Ok(self)
    }

    /// The turns of the gates with these names, in all projects; of all gates if none is named. If there
    /// are several projects, each gate is called after its own as well.
    pub fn turns(&self, named: &[String]) -> Vec<Turn> {
        let several = self.projects.len() > 1;
        let of = |project: &Project| {
            let Project { gates, program, .. } = project.clone();
            gates.into_iter().map(move |gate| Turn {
                name: if several {
                    format!("{program}/{}", gate.name)
                } else {
                    gate.name.clone()
                },
                gate: gate.name,
                module: gate.module,
                program: program.clone(),
            })
        };
        self.projects
            .iter()
            .flat_map(|(project, _)| of(project))
            .filter(|turn| named.is_empty() || named.contains(&turn.gate))
            .collect()
    }

    /// The names of the projects' programs.
    pub fn programs(&self) -> Vec<String> {
        let names = self.projects.iter();
        names.map(|(project, _)| project.program.clone()).collect()
    }

    /// The line that says what will run, and what that means for timings.
    pub fn headline(&self, flavour: Flavour) -> String {
        let version = self
            .kernel(flavour)
            .map_or("?", |(kernel, _)| &kernel.version);
        format!("Linux {version} {flavour} · 2 CPUs · {}", self.choice)
    }

    /// What the kernel of this flavour was built of and by.
    pub fn identity(&self, flavour: Flavour) -> Option<String> {
        let (kernel, _) = self.kernel(flavour)?;
        Some(format!("{} {}", kernel.version, kernel.key))
    }

    /// How the CPUs of machines are run whose instructions are not counted.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The compilers of the kernels for all flavours but the distribution's, and of their modules.
    pub fn compilers(&self) -> Vec<String> {
        self.tools.compilers()
    }

    /// Boots the kernel of this flavour with this plan, telling `listener` all that the guest says. If a
    /// gate in the plan can be reached from another machine, there is one, and all that goes wrong there
    /// goes wrong with this boot.
    pub fn boot(
        &self,
        flavour: Flavour,
        plan: &Plan,
        limits: Limits,
        mut listener: impl FnMut(&Message),
    ) -> Result<Boot> {
        let interactive = matches!(plan, Plan::Shell { .. });
        let (kernel, modules) = self
            .kernel(flavour)
            .context("that kernel was not prepared")?;
        let initramfs = self.initramfs(kernel, modules, plan)?;
        let machine = Machine {
            image: kernel.image(),
            initramfs,
            cpus: match plan {
                Plan::Count { .. } => Cpus::Counted,
                _ => Cpus::Two(self.choice.accel),
            },
            interactive,
            host_root: plan.needs_host_root(),
            quiet: false,
            silence: limits.silence,
            limit: if interactive {
                Duration::MAX
            } else {
                limits.total
            },
        };
        let mut machines = vec![machine];
        if let Some(program) = self.reached_from_elsewhere(plan.turns()) {
            machines.push(Machine {
                initramfs: self.initramfs(kernel, modules, &Plan::Elsewhere { program })?,
                host_root: false,
                // It waits to be asked.
                silence: Duration::MAX,
                ..machines[0].clone()
            });
        }
        let _terminal = interactive.then(Terminal::keep);
        let start = Instant::now();
        let mut booted_in = None;
        let ended = vm::run(&machines, |message| {
            if matches!(message, Message::Hello { .. }) {
                booted_in = Some(start.elapsed());
            }
            listener(message);
        })?;
        let took = start.elapsed();
        let (outcome, splats) = verdict::of_all(&ended);
        Ok(Boot {
            outcome,
            splats,
            took,
            booted_in,
        })
    }

    /// Boots the kernel of this flavour several times, at once where the host has room for that, until each
    /// of the turns was in the plan of one of them; tells `listener` all that the guests say, as they say it.
    /// Gives what came of it all as if it were one boot.
    pub fn boots(
        &self,
        flavour: Flavour,
        lanes: usize,
        turns: Vec<Turn>,
        plan: impl Fn(Vec<Turn>) -> Plan + Sync,
        listener: impl FnMut(&Message) + Send,
    ) -> Result<Boot> {
        let start = Instant::now();
        let listener = Mutex::new(listener);
        let boots = lanes::share(lanes, turns, |turns| {
            self.boot(flavour, &plan(turns), Limits::default(), |message| {
                let mut listener = listener.lock().unwrap_or_else(PoisonError::into_inner);
                listener(message);
            })
        })?;
        let took = start.elapsed();
        let all = boots.into_iter().reduce(|one, other| Boot {
            outcome: one.outcome.and(other.outcome),
            splats: [one.splats, other.splats].concat(),
            took,
            booted_in: one.booted_in.max(other.booted_in),
        });
        all.context("there is no gate to boot for")
    }

    /// The program to have on another machine, if one of the turns needs it there.
    fn reached_from_elsewhere(&self, turns: &[Turn]) -> Option<String> {
        let (project, _) = self.projects.iter().find(|(project, _)| {
            let reached = |turn: &Turn| {
                let gate = project.gates.iter().find(|gate| gate.name == turn.gate);
                turn.program == project.program && gate.is_some_and(|gate| gate.elsewhere)
            };
            turns.iter().any(reached)
        })?;
        Some(project.program.clone())
    }

    fn kernel(&self, flavour: Flavour) -> Option<(&Kernel, &[(&'static str, PathBuf)])> {
        let found = self
            .kernels
            .iter()
            .find(|(kernel, _)| kernel.flavour == flavour);
        found.map(|(kernel, modules)| (kernel, modules.as_slice()))
    }

    fn initramfs(
        &self,
        kernel: &Kernel,
        modules: &[(&str, PathBuf)],
        plan: &Plan,
    ) -> Result<Initramfs> {
        let mut initramfs = Initramfs::default()
            .directory(guest::PROGRAMS)
            .directory(guest::MODULES)
            .directory(guest::TWINS)
            .executable("/init", &self.init)
            .bytes(guest::PLAN, serde_json::to_vec(plan)?)
            .link(&format!("{}/build", guest::MODULES), &kernel.build_tree());
        for (Project { program, .. }, built) in &self.projects {
            initramfs = initramfs.executable(&guest::program(program), &built.program);
            if let Some(tests) = &built.tests {
                initramfs = initramfs.executable(&guest::tests(program), tests);
            }
        }
        let mut files = BTreeMap::new();
        for (place, directory) in modules {
            for entry in std::fs::read_dir(directory).context("reading the built modules")? {
                let path = entry?.path();
                if path.extension().is_some_and(|end| end == "ko") {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    files.insert(format!("{place}/{name}"), path);
                }
            }
        }
        for (place, path) in &files {
            initramfs = initramfs.file(place, path);
        }
        Ok(initramfs)
    }
}
