// SPDX-License-Identifier: MIT OR Apache-2.0

//! What one run has found: the tables, the report and later comparisons are made of nothing else.

use crate::Usage;
use anyhow::{Context as _, Result};
pub use guest::measured::*;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

/// Changes whenever what is below does so in a way that older files do not fit any more.
pub const SCHEMA: u32 = 1;

/// What one run has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What ran on what.
    pub about: About,
    /// What each operation costs in instructions. None if only times were taken.
    pub costs: Vec<Cost>,
    /// How long each operation takes. None if instructions were only counted.
    pub times: Vec<Time>,
    /// What becomes of round trips when several clients make them, by gate and number of clients.
    pub clients: Vec<Clients>,
    /// What becomes of many events. Older files have none of it.
    #[serde(default)]
    pub streams: Vec<Stream>,
    /// What becomes of events that nobody reads.
    #[serde(default)]
    pub rooms: Vec<Room>,
    /// What has no time although one could expect it.
    pub left_out: Vec<LeftOut>,
}

/// What ran on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// When it ended, such as `2026-01-31 12:00:00 UTC`.
    pub date: String,
    /// callgate's version, and its commit if it is a checkout; `-dirty` if that was changed.
    pub callgate: String,
    /// What the kernel was built of and by. Counts of another one are others.
    pub kernel: String,
    /// Its config, such as `release`.
    pub config: String,
    /// The compilers of kernel and modules, such as `rustc 1.95.0`.
    pub compilers: Vec<String>,
    /// Where the times come from; `None` if none were taken.
    pub timed: Option<Timed>,
}

/// Where times come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// How the machine's CPUs are run, and why so, such as `KVM: a probe boot succeeded`.
    pub accelerator: String,
    /// They are emulated: the times are not representative.
    pub emulated: bool,
    /// The model of the host's CPU.
    pub host_cpu: String,
    /// `uname -r` of the machine.
    pub release: String,
    /// What its kernel says of it.
    pub machine: Machine,
    /// How long reading the clock takes, in nanoseconds: so much of each latency is the measuring's own.
    pub clock: u64,
}

/// What an operation costs, in instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The gate that it is one of; `floor` for what belongs to none.
    pub gate: String,
    /// What it is for: `round-trip`, `to-kernel`, `to-program`, `notify` or `other`.
    pub work: String,
    /// What it is called.
    pub operation: String,
    /// How many bytes it moves; those of a round trip count once.
    pub bytes: u64,
    /// How many system calls the program makes.
    pub calls: u64,
    /// The program's instructions.
    pub program: u64,
    /// The kernel's.
    pub kernel: u64,
    /// The kernel's, with the gate's twin.
    pub twin: Option<u64>,
}

impl Cost {
    /// Whether it is the same operation.
    pub fn is_of(&self, other: &Self) -> bool {
        (&self.gate, &self.operation, self.bytes) == (&other.gate, &other.operation, other.bytes)
    }

    /// The price of Rust and of the library: the kernel's instructions, by those with the twin.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub fn ratio(&self) -> Option<f64> {
        let twin = self.twin.filter(|&twin| twin > 0)?;
        Some(self.kernel as f64 / twin as f64)
    }
}

impl Results {
    /// Reads what an earlier run has left.
    pub fn read(path: &Path) -> Result<Self> {
        let useless =
            |why: &dyn fmt::Display| Usage(format!("--compare {}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| useless(&error))?;
        Self::parse(&text).map_err(|why| useless(&why).into())
    }

    /// Understands what a run has left, if it is of this [`SCHEMA`].
    pub fn parse(text: &str) -> Result<Self, String> {
        /// What all of them have.
        #[derive(Deserialize)]
        struct Any {
            schema: u32,
        }
        let any: Any = serde_json::from_str(text)
            .map_err(|error| format!("this is nothing that `bench` has left: {error}"))?;
        if any.schema != SCHEMA {
            let found = any.schema;
            return Err(format!(
                "it is of another version of callgate: its schema is {found}, and not {SCHEMA}"
            ));
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Leaves them below this directory, where what is built from a project goes, and says where.
    pub fn leave(&self, output: &Path) -> Result<PathBuf> {
        let directory = output.join("bench");
        let path = directory.join("results.json");
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&path, serde_json::to_vec_pretty(self)?))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_version_has_left_can_be_read() {
        let old = r#"{"schema":1,"about":{"date":"","callgate":"","kernel":"","config":"","compilers":[],
            "timed":null},"costs":[],"times":[],"clients":[],"left_out":[]}"#;
        let results = Results::parse(old).unwrap();
        assert!(results.streams.is_empty() && results.rooms.is_empty());
        for (other, why) in [
            (
                old.replace(r#""schema":1"#, r#""schema":9"#),
                "another version",
            ),
            ("[]".into(), "nothing that `bench` has left"),
            (old.replace(r#""costs":[],"#, ""), "missing field `costs`"),
        ] {
            let error = Results::parse(&other).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
