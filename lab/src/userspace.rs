// SPDX-License-Identifier: MIT OR Apache-2.0

//! What runs in the VM's user space: PID 1, the gates' programs and their tests, all of them static,
//! so that they need nothing else there.

use crate::Lab;
use crate::command::{Cmd, step};
use crate::project::Project;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What programs are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be tested. Emulated CPUs are slow, and the machine's whole disk is memory.
    Tested,
    /// To be measured, as one would ship them.
    Measured,
}

impl Purpose {
    /// The profile's name, and what is in it.
    fn profile(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Tested => (
                "guest",
                &[
                    "profile.guest.inherits='dev'",
                    "profile.guest.opt-level=1",
                    "profile.guest.strip='debuginfo'",
                ],
            ),
            Self::Measured => (
                "measured",
                &[
                    "profile.measured.inherits='release'",
                    "profile.measured.lto='thin'",
                    "profile.measured.strip='debuginfo'",
                ],
            ),
        }
    }
}

/// The programs of a project, as files on the host.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The user sides of its gates.
    pub program: PathBuf,
    /// Their tests, if it is for them that they were built.
    pub tests: Option<PathBuf>,
}

/// The line in which cargo tells of what it has built.
#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds PID 1, as `project` has its programs built, and gives its path.
pub fn init(lab: &Lab, project: &Project) -> Result<PathBuf> {
    let _lock = lab
        .cache
        .lock(&format!("cargo{}", project.target.display()))?;
    let built = cargo(project, &lab.source, Purpose::Tested)
        .arg("--locked")
        .args(["--package", "callgate-guest", "--bin", "init"])
        .output()
        .context("building PID 1")?;
    keep(&built, false, project, "init")
}

/// Builds the programs of a project.
pub fn programs(lab: &Lab, project: &Project, purpose: Purpose) -> Result<Programs> {
    let _step = step("building the programs and tests");
    let _lock = lab
        .cache
        .lock(&format!("cargo{}", project.target.display()))?;
    let built = cargo(project, &project.root, purpose)
        .args(["--package", &project.package, "--bins"])
        .args((purpose == Purpose::Tested).then_some("--tests"))
        // Without it, cargo test would run the tests on the host.
        .args(["--features", "vm"])
        .output()
        .context("building the programs and tests")?;
    let name = &project.program;
    Ok(match purpose {
        Purpose::Tested => Programs {
            program: keep(&built, false, project, name)?,
            tests: Some(keep(&built, true, project, &format!("{name}-tests"))?),
        },
        Purpose::Measured => Programs {
            program: keep(&built, false, project, &format!("{name}-measured"))?,
            tests: None,
        },
    })
}

/// Has clippy look at the user sides; a warning is an error.
pub fn lint(project: &Project) -> Result<()> {
    let _step = step("linting the user side");
    Cmd::new(cargo_itself())
        .args(["clippy", "--workspace", "--all-targets", "--all-features"])
        .arg("--manifest-path")
        .arg(project.root.join("Cargo.toml"))
        .args(["--", "--deny", "warnings"])
        .log(project.log_file("userspace-lint"))
        .run()
        .context("linting the user side")
}

/// The cargo that runs us, if one does.
fn cargo_itself() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo(project: &Project, workspace: &Path, purpose: Purpose) -> Cmd<'static> {
    let (profile, settings) = purpose.profile();
    let cargo = Cmd::new(cargo_itself())
        .args(["build", "--profile", profile, "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(&project.target)
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .log(project.log_file("userspace"));
    settings
        .iter()
        .fold(cargo, |cargo, setting| cargo.args(["--config", setting]))
}

/// Copies the one test binary, or the one other program, that cargo says it has built, to where no other
/// run builds: that keeps what it has for this one.
fn keep(built: &str, test: bool, project: &Project, name: &str) -> Result<PathBuf> {
    let from = built
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.profile.as_ref().is_some_and(|p| p.test == test))
        .find_map(|artifact| artifact.executable)
        .with_context(|| format!("cargo built no {name}"))?;
    let directory = project.output.join("programs");
    fs::create_dir_all(&directory).context("making a place for the programs")?;
    let (new, to) = (directory.join(format!("{name}.new")), directory.join(name));
    fs::copy(&from, &new).with_context(|| format!("copying {}", from.display()))?;
    // In one step: a machine that boots at this moment reads the old one to its end, and another run that
    // goes on booting always finds one.
    fs::rename(&new, &to).with_context(|| format!("replacing {}", to.display()))?;
    Ok(to)
}
