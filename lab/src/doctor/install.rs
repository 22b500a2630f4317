// SPDX-License-Identifier: MIT OR Apache-2.0

//! Installing what is missing, by apt, and saying exactly what to do where that cannot be done.

use std::fs;

use anyhow::{Context as _, Result};

use crate::command::{Cmd, Interrupted, note, quote, step};
use crate::toolchain::Machine;

use super::{Finding, Needs, Remedy, check};

/// Something the lab needs is not on this machine, and was not installed. Exit status 3.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub struct Missing {
    /// What is missing.
    pub findings: Vec<Finding>,
    /// What installs it.
    pub command: String,
    /// Why callgate did not install it by itself.
    pub reason: String,
}

impl Missing {
    fn message(&self) -> String {
        let mut text = String::from("this machine lacks what the lab needs:");
        for finding in &self.findings {
            text += "\n  ";
            text += &finding.to_string();
        }
        text + &format!("\n{}. To install it:\n  {}", self.reason, self.command)
    }
}

/// The command lines that install what is missing, one a line.
pub fn install_command(findings: &[Finding]) -> String {
    let root = rustix::process::geteuid().is_root();
    let mut lines = Vec::new();
    let packages = packages(findings);
    if !packages.is_empty() {
        let sudo = if root { "" } else { "sudo " };
        let packages: Vec<_> = packages
            .iter()
            .map(|package| quote(package.as_ref()))
            .collect();
        lines.push(format!(
            "{sudo}apt-get install -y --no-install-recommends {}",
            packages.join(" ")
        ));
    }
    for finding in findings.iter().filter(|finding| !finding.is_ok()) {
        if let Remedy::Command(command) = &finding.remedy
            && !lines.contains(command)
        {
            lines.push(command.clone());
        }
    }
    lines.join("\n  ")
}

/// Installs what is missing among the findings, then looks again. Fails with [`Missing`].
pub fn install(findings: &[Finding], needs: Needs) -> Result<()> {
    let packages = packages(findings);
    if packages.is_empty() {
        return require(findings, "callgate installs packages only, not this");
    }
    let machine = Machine::here();
    if machine.find("apt-get").is_none() {
        let reason = "This machine has no apt-get, and its packages may have other names";
        return require(findings, reason);
    }
    let Some(rights) = rights(&machine) else {
        return require(
            findings,
            "Installing takes root, or sudo without a password",
        );
    };

    note(&format!(
        "callgate: installing with apt-get: {}",
        packages.join(" ")
    ));
    for finding in findings.iter().filter(|finding| !finding.is_ok()) {
        note(&format!("  {finding}"));
    }
    if let Err(error) = install_packages(rights, &packages) {
        if error.is::<Interrupted>() {
            return Err(error);
        }
        let reason = format!("apt-get could not install it: {error:#}");
        return require(findings, &reason);
    }
    require(&check(needs)?, "It is still missing after apt-get has run")
}

/// Fails when any of the findings is not met.
fn require(findings: &[Finding], reason: &str) -> Result<()> {
    let findings: Vec<_> = findings.iter().filter(|f| !f.is_ok()).cloned().collect();
    if findings.is_empty() {
        return Ok(());
    }
    let command = install_command(&findings);
    Err(Missing {
        findings,
        command,
        reason: reason.to_owned(),
    }
    .into())
}

/// The packages that bring what is missing, each once.
fn packages(findings: &[Finding]) -> Vec<String> {
    let mut packages = Vec::new();
    for finding in findings.iter().filter(|finding| !finding.is_ok()) {
        if let Remedy::Packages(names) = &finding.remedy {
            packages.extend(names.iter().cloned());
        }
    }
    packages.sort();
    packages.dedup();
    packages
}

/// What goes before a command for it to run as root: nothing, or a sudo that asks for no password.
fn rights(machine: &Machine) -> Option<&'static [&'static str]> {
    if rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    machine
        .ask("sudo", &["-n", "true"])
        .map(|_| &["sudo", "-n"][..])
}

fn install_packages(rights: &[&str], packages: &[String]) -> Result<()> {
    let apt = |args: &[&str]| {
        // sudo drops the environment, so it is set behind it.
        let line = rights
            .iter()
            .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        let mut words = line.copied();
        Cmd::new(words.next().unwrap_or("env"))
            .args(words)
            // Another apt at work is waited for.
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .args(args)
    };
    let install = || {
        let _step = step("installing packages");
        apt(&["install", "--yes", "--no-install-recommends"])
            .args(packages)
            .run()
    };
    let update = || {
        let _step = step("reading the package lists");
        apt(&["update"]).run().context("apt-get update")
    };
    if !have_lists() {
        update()?;
        return install();
    }
    match install() {
        // The lists may be too old to name packages that are still offered.
        Err(error) if !error.is::<Interrupted>() => {
            update()?;
            install()
        }
        done => done,
    }
}

/// Whether apt knows any package lists.
fn have_lists() -> bool {
    let lists = fs::read_dir("/var/lib/apt/lists")
        .into_iter()
        .flatten()
        .flatten();
    lists
        .into_iter()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}
