// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the commands do: prepare what is missing, boot, listen, judge.

use crate::accel::{self, Choice};
use crate::initramfs::Initramfs;
use crate::kernel::{self, Flavour, Kernel, Tools};
use crate::splat::Splat;
use crate::userspace::{self, Userspace};
use crate::verdict::{self, Outcome};
use crate::vm::{self, Machine, Terminal};
use crate::{Lab, editor, gates, modules};
use anyhow::{Context, Result};
use guest::{Message, Plan};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Everything that is built before a machine can boot.
#[derive(Debug)]
pub struct Prepared {
    tools: Tools,
    /// The kernels, in the order asked for, each with the directory of its modules.
    kernels: Vec<(Kernel, PathBuf)>,
    userspace: Userspace,
    choice: Choice,
    /// The gates whose program runs on another machine as well.
    elsewhere: Vec<String>,
}

/// Builds what is missing for runs on kernels of these flavours.
pub fn prepare(lab: &Lab, flavours: &[Flavour]) -> Result<Prepared> {
    let tools = Tools::find(lab)?;
    let userspace = userspace::build(lab)?;
    let kernels = kernel::ensure(lab, &tools, flavours)?
        .into_iter()
        .map(|kernel| {
            let modules = modules::build(lab, &tools, &kernel)?;
            Ok((kernel, modules))
        })
        .collect::<Result<Vec<_>>>()?;
    let (first, _) = kernels.first().context("no kernel was asked for")?;
    let choice = accel::choose(lab, &first.image(), &userspace.init)?;
    let elsewhere = gates::find(&lab.repository)?
        .into_iter()
        .filter_map(|gate| gate.elsewhere.then_some(gate.name))
        .collect();
    Ok(Prepared {
        tools,
        kernels,
        userspace,
        choice,
        elsewhere,
    })
}

/// Builds what is missing, and describes the kernel side for editors.
pub fn build(lab: &Lab, flavours: &[Flavour]) -> Result<()> {
    let Prepared { tools, kernels, .. } = prepare(lab, flavours)?;
    let (kernel, _) = kernels.first().context("no kernel was asked for")?;
    editor::describe(lab, &tools, kernel)
}

/// Lints the kernel side and builds its documentation, with a warning being an error.
pub fn lint(lab: &Lab) -> Result<()> {
    let tools = Tools::find(lab)?;
    for kernel in kernel::ensure(lab, &tools, &[Flavour::Release])? {
        modules::lint(lab, &tools, &kernel)?;
    }
    Ok(())
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
            silence: Duration::from_mins(2),
            total: Duration::from_hours(1),
        }
    }
}

impl Prepared {
    /// The line that says what will run, and what that means for timings.
    pub fn headline(&self, flavour: Flavour) -> String {
        let version = self
            .kernel(flavour)
            .map_or("?", |(kernel, _)| &kernel.version);
        format!("Linux {version} {flavour} · 2 CPUs · {}", self.choice)
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
            accel: self.choice.accel,
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
        let reached = |gate| self.elsewhere.contains(gate);
        if plan.gates().iter().any(reached) {
            machines.push(Machine {
                initramfs: self.initramfs(kernel, modules, &Plan::Elsewhere)?,
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

    fn kernel(&self, flavour: Flavour) -> Option<(&Kernel, &PathBuf)> {
        let found = self
            .kernels
            .iter()
            .find(|(kernel, _)| kernel.flavour == flavour);
        found.map(|(kernel, modules)| (kernel, modules))
    }

    fn initramfs(&self, kernel: &Kernel, modules: &PathBuf, plan: &Plan) -> Result<Initramfs> {
        let mut initramfs = Initramfs::default()
            .directory(guest::BINARIES)
            .directory(guest::MODULES)
            .executable("/init", &self.userspace.init)
            .executable(guest::PROGRAMS, &self.userspace.programs)
            .executable(guest::TESTS, &self.userspace.tests)
            .bytes(guest::PLAN, serde_json::to_vec(plan)?)
            .link(&format!("{}/build", guest::MODULES), &kernel.build_tree());
        for entry in std::fs::read_dir(modules).context("reading the built modules")? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "ko") {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                initramfs = initramfs.file(&format!("{}/{name}", guest::MODULES), &path);
            }
        }
        Ok(initramfs)
    }
}
