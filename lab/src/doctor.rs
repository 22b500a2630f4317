// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the lab needs from the machine: what is there, what is missing, and how it is installed.

mod install;
mod requirements;

pub use install::{Missing, install, install_command};

use std::fmt;

use anyhow::Result;

use crate::command::check_interrupted;
use crate::kernel::Flavour;
use crate::toolchain::{Machine, Version};

/// What a command is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is asked of the machine by itself"
)]
pub struct Needs {
    /// Build kernels, modules and programs.
    pub build: bool,
    /// Boot a VM.
    pub run: bool,
    /// Run the tests in it.
    pub test: bool,
    /// Do so for the distribution's kernel.
    pub distro: bool,
}

impl Needs {
    /// Building only.
    pub const BUILD: Self = Self {
        build: true,
        run: false,
        test: false,
        distro: false,
    };
    /// Running only.
    pub const RUN: Self = Self {
        build: false,
        run: true,
        test: false,
        distro: false,
    };
    /// Everything but the tests.
    pub const BUILD_AND_RUN: Self = Self {
        build: true,
        run: true,
        test: false,
        distro: false,
    };
    /// Everything, on the kernels that everything is proven on.
    pub const ALL: Self = Self {
        build: true,
        run: true,
        test: true,
        distro: false,
    };

    /// The same on kernels of these flavours.
    #[must_use]
    pub fn on(self, flavours: &[Flavour]) -> Self {
        let distro = flavours.contains(&Flavour::Distro);
        Self { distro, ..self }
    }
}

/// How one requirement is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there.
    Ok {
        /// Its version, where it has one.
        version: Option<Version>,
    },
    /// It is not there, or does not work.
    Missing,
    /// It is too old.
    TooOld {
        /// The version that is there.
        found: Version,
        /// The version that is needed at least.
        need: Version,
    },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok {
                version: Some(version),
            } => version.fmt(f),
            Self::Ok { version: None } => f.write_str("ok"),
            Self::Missing => f.write_str("missing"),
            Self::TooOld { found, need } => write!(f, "{found}, too old: {need} is needed"),
        }
    }
}

/// How something is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// By Debian's packages of these names.
    Packages(Vec<String>),
    /// By a command that callgate leaves to the user.
    Command(String),
}

/// One requirement, looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub name: String,
    /// Why the lab needs it.
    pub why: &'static str,
    /// Whether it is there.
    pub state: State,
    /// What brings it.
    pub remedy: Remedy,
}

impl Finding {
    /// Whether nothing needs to be done.
    pub fn is_ok(&self) -> bool {
        matches!(self.state, State::Ok { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.state, self.why)
    }
}

/// Looks at everything that is needed on this machine.
///
/// # Errors
///
/// Only if interrupted: then the programs that were asked have told nothing.
pub fn check(needs: Needs) -> Result<Vec<Finding>> {
    let findings = check_on(&Machine::here(), needs);
    check_interrupted()?;
    Ok(findings)
}

/// Looks at everything that is needed on the given machine.
pub fn check_on(machine: &Machine, needs: Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    if needs.build {
        findings.extend(requirements::build(machine));
    }
    if needs.distro {
        findings.extend(requirements::distro(machine));
    }
    if needs.run {
        findings.extend(requirements::run(machine));
    }
    if needs.test {
        findings.extend(requirements::test(machine));
    }
    findings
}

/// Makes sure that everything needed is there, installing what is not. Fails with [`Missing`].
pub fn ensure(needs: Needs) -> Result<()> {
    let missing: Vec<_> = check(needs)?
        .into_iter()
        .filter(|finding| !finding.is_ok())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        install(&missing, needs)
    }
}
