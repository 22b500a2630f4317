// SPDX-License-Identifier: MIT OR Apache-2.0

//! What modules and programs are built from: callgate's own checkout, or a folder that `callgate new` made.
//!
//! Both have the same shape: a Kbuild file, a Cargo package with the user side, and a folder for each gate.
//! A checkout has a module for each gate; a folder of the user's own has one for all of them, and says in
//! [`MANIFEST`] which these are.

use crate::cache::Cache;
use crate::gates::{self, Gate};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The file by which a folder of the user's own is known.
pub const MANIFEST: &str = "callgate.toml";

/// What is in [`MANIFEST`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the module, the program and the package are called.
    pub name: String,
    /// The gates, in the order in which they are shown and tested.
    pub gate: Vec<Listed>,
}

/// One gate in a [`Manifest`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The name of its folder.
    pub name: String,
    /// What it is.
    pub title: String,
}

/// A folder with gates in it.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder.
    pub root: PathBuf,
    /// Its gates, in the order in which they are shown and tested.
    pub gates: Vec<Gate>,
    /// The crates that its modules are made of: name and file.
    pub crates: Vec<(String, PathBuf)>,
    /// The Cargo package with the user sides.
    pub package: String,
    /// The name of the program in it.
    pub program: String,
    /// Where what is built from it goes.
    pub output: PathBuf,
    /// Where Cargo builds. What projects have in common is built once for all of them.
    pub target: PathBuf,
}

impl Project {
    /// The checkout of callgate at `root`.
    pub fn checkout(root: PathBuf, output: PathBuf) -> Result<Self> {
        let gates = gates::find(&root)?;
        let of = |gate: &Gate| {
            let file = root.join(&gate.folder).join(gate.kernel_side().file());
            (format!("callgate_{}", gate.name), file)
        };
        Ok(Self {
            crates: gates.iter().map(of).collect(),
            gates,
            package: "callgate-gates".into(),
            program: "gate".into(),
            target: output.join("userspace"),
            output,
            root,
        })
    }

    /// The user's own folder at `root`.
    pub fn open(root: PathBuf, cache: &Cache) -> Result<Self> {
        let path = root.join(MANIFEST);
        let manifest = fs::read_to_string(&path).with_context(|| reading(&path))?;
        let Manifest { name, gate: listed } =
            toml::from_str(&manifest).with_context(|| reading(&path))?;
        let gate = |Listed { name: gate, title }| Gate {
            folder: gate.clone(),
            name: gate,
            title,
            module: Some(name.clone()),
            elsewhere: false,
            twin: false,
        };
        Ok(Self {
            gates: listed.into_iter().map(gate).collect(),
            crates: vec![(name.clone(), root.join("module.rs"))],
            package: name.clone(),
            program: name,
            output: root.join("target/callgate"),
            target: cache.path("userspace"),
            root,
        })
    }

    /// Where the output of a step that builds from it is kept.
    pub fn log_file(&self, step: &str) -> PathBuf {
        self.output.join("logs").join(format!("{step}.log"))
    }
}

fn reading(path: &Path) -> String {
    format!("reading {}", path.display())
}
