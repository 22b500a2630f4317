// SPDX-License-Identifier: MIT OR Apache-2.0

//! What runs in the VM's user space: PID 1, the gates' programs and their tests, all of them static,
//! so that they need nothing else there.

use crate::Lab;
use crate::command::{Cmd, step};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::PathBuf;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The programs, as files on the host.
#[derive(Clone, Debug)]
pub struct Userspace {
    /// PID 1.
    pub init: PathBuf,
    /// Every gate's program.
    pub programs: PathBuf,
    /// Every gate's tests.
    pub tests: PathBuf,
}

/// The line in which cargo tells of a test binary.
#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds them.
pub fn build(lab: &Lab) -> Result<Userspace> {
    let _step = step("building the programs and tests");
    let target = lab.output().join("userspace");
    let cargo = |subcommand: &str| {
        Cmd::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                subcommand,
                "--locked",
                "--profile",
                "guest",
                "--target",
                TARGET,
            ])
            .arg("--target-dir")
            .arg(&target)
            .arg("--manifest-path")
            .arg(lab.repository.join("Cargo.toml"))
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .log(lab.log_file(&format!("userspace-{subcommand}")))
    };
    cargo("build")
        .args(["--package", "callgate-guest", "--bin", "init"])
        .args(["--package", "callgate-gates", "--bin", "gate"])
        .run()
        .context("building the programs")?;
    let artifacts = cargo("test")
        .args([
            "--no-run",
            "--package",
            "callgate-gates",
            "--lib",
            "--message-format=json",
        ])
        .output()
        .context("building the tests")?;
    let tests = artifacts
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| {
            artifact
                .profile
                .as_ref()
                .is_some_and(|profile| profile.test)
        })
        .find_map(|artifact| artifact.executable)
        .context("cargo built no test binary")?;
    let programs = target.join(TARGET).join("guest");
    Ok(Userspace {
        init: programs.join("init"),
        programs: programs.join("gate"),
        tests,
    })
}
