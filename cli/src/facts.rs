// SPDX-License-Identifier: MIT OR Apache-2.0

//! What each gate can do, and what it is for: the table `choose` in the `new.toml` of its folder. `callgate choose`
//! and `callgate new --list` have it from there, and a test holds the table in README.md to it.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use lab::gates::Gate;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What crosses the boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A setting or a state: one value, now and then.
    Value,
    /// Objects that users make and remove.
    Objects,
    /// A command with arguments and an answer.
    Command,
    /// A list of records.
    List,
    /// That something happened.
    Event,
    /// A stream of bytes or of messages.
    Stream,
    /// Whatever helps to debug.
    Debug,
    /// Information about a process.
    Process,
    /// Devices and drivers that find each other.
    Devices,
    /// Messages to and from other machines.
    Remote,
    /// A word to a program that does not wait for it.
    Interrupt,
    /// The start of a program, where none is running.
    Start,
    /// What every program may need, for ever.
    Everyone,
}

impl What {
    /// In words.
    pub fn describe(self) -> String {
        let value = self.to_possible_value();
        let help = value.as_ref().and_then(|value| value.get_help());
        help.map(ToString::to_string).unwrap_or_default()
    }

    /// What one has to ask for to get it.
    fn is_special(self) -> bool {
        match self {
            Self::Value
            | Self::Objects
            | Self::Command
            | Self::List
            | Self::Event
            | Self::Stream
            | Self::Debug => false,
            Self::Process
            | Self::Devices
            | Self::Remote
            | Self::Interrupt
            | Self::Start
            | Self::Everyone => true,
        }
    }
}

/// Which way it crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the program to the kernel.
    ToKernel,
    /// From the kernel to the program.
    FromKernel,
    /// A question and its answer, or each way by itself.
    Both,
}

impl Direction {
    /// The ways that it consists of.
    pub fn ways(self) -> &'static [Self] {
        match self {
            Self::ToKernel => &[Self::ToKernel],
            Self::FromKernel => &[Self::FromKernel],
            Self::Both => &[Self::ToKernel, Self::FromKernel],
        }
    }
}

/// How many bytes a message can have at most.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Most {
    /// So many.
    Bytes(u64),
    /// As many as one likes.
    Any(Any),
}

/// The word for it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Any {
    /// The only one.
    Any,
}

/// What a gate can do, and what it is for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Facts {
    /// What it is, in a few words.
    pub what: String,
    /// What the kernel's maintainers take it for.
    pub r#for: Vec<What>,
    /// What they take it for where simpler ways cost too much.
    #[serde(default)]
    pub when_busy: Vec<What>,
    /// What its chapter says of both.
    pub policy: String,
    /// How much goes to the kernel at once; nothing, if it says nothing.
    pub to_kernel: Option<Most>,
    /// How much comes from the kernel at once, likewise.
    pub from_kernel: Option<Most>,
    /// Both of these, in words.
    pub much: String,
    /// How the other side learns of it, or `no`.
    pub wakes: String,
    /// Who may use it.
    pub who: String,
    /// Which ways there are for a program without privileges, if the module allows it.
    pub unprivileged: Vec<Direction>,
    /// Whether cat(1) and echo(1) are all that it takes.
    pub scriptable: bool,
    /// What becomes of several programs that use it at once.
    pub clients: String,
    /// How long what was said lasts.
    pub lasts: String,
    /// The operations of its bench that a message is made of, where it has others besides. Those that are for no
    /// work in particular are all part of one.
    #[serde(default)]
    pub operations: Vec<String>,
}

impl Facts {
    /// What its gate's folder says.
    pub fn of(source: &Path, gate: &Gate) -> Result<Self> {
        #[derive(Deserialize)]
        struct Manual {
            choose: Facts,
        }
        let path = source.join(&gate.folder).join("new.toml");
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        let manual: Manual = toml::from_str(&text)
            .with_context(|| format!("understanding {}/new.toml", gate.folder))?;
        Ok(manual.choose)
    }

    /// How much goes this way at once.
    pub fn most(&self, way: Direction) -> Option<Most> {
        match way {
            Direction::ToKernel => self.to_kernel,
            Direction::FromKernel => self.from_kernel,
            Direction::Both => None,
        }
    }

    /// Whether the other side learns of something without asking.
    pub fn wakes(&self) -> bool {
        self.wakes != "no"
    }

    /// Whether it is for nothing but what one has to ask for.
    pub fn is_special(&self) -> bool {
        let mut all = self.r#for.iter().chain(&self.when_busy);
        all.all(|what| what.is_special())
    }

    /// What a table says of it: what it is, which ways there are, how much goes, whether it wakes, who may.
    pub fn columns(&self) -> [&str; 5] {
        [
            &self.what,
            self.direction(),
            &self.much,
            &self.wakes,
            &self.who,
        ]
    }

    /// Which ways there are, in words.
    pub fn direction(&self) -> &'static str {
        match (self.to_kernel, self.from_kernel) {
            (Some(_), None) => "user → kernel",
            (None, Some(_)) => "kernel → user",
            _ => "both",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_the_same_of_each_gate() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
        for gate in lab::gates::find(root).unwrap() {
            let facts = Facts::of(root, &gate).unwrap();
            let (name, columns) = (gate.name, facts.columns().join(" | "));
            let row = format!("\n| [{name}](gates/{name}) | {columns} |\n");
            assert!(readme.contains(&row), "README.md lacks {row}");
        }
    }
}
