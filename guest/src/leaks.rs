// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lost memory, as the debug kernel's kmemleak finds it.
//!
//! Described in the kernel's `Documentation/dev-tools/kmemleak.rst`.

use crate::report::Report;
use anyhow::{Context, Result};
use guest::Message;
use std::time::{Duration, Instant};

const FILE: &str = "/sys/kernel/debug/kmemleak";

/// kmemleak lets an object be for its first five seconds.
const MINIMUM_AGE: Duration = Duration::from_secs(6);

/// A watch over the memory allocated from its making on.
pub struct Leaks {
    /// Whether this kernel has kmemleak at all.
    watching: bool,
    /// The processes that ran, oldest first, each with what it was there for.
    processes: Vec<(u32, String)>,
}

impl Leaks {
    /// Starts watching, if the kernel can.
    pub fn watch() -> Self {
        Self {
            watching: std::path::Path::new(FILE).exists(),
            processes: Vec::new(),
        }
    }

    /// Remembers what the process `pid` was there for. Processes run one after the other, so what a
    /// PID between two of them allocated belongs to the first.
    pub fn allocated_by(&mut self, pid: u32, what: &str) {
        self.processes.push((pid, what.into()));
    }

    /// Scans the memory, and reports each lost object; true if there is none.
    pub fn none_found(&self, report: &mut Report) -> Result<bool> {
        if !self.watching {
            return Ok(true);
        }
        report.send(&Message::Busy {
            with: "a scan for lost memory".into(),
        })?;
        std::thread::sleep(MINIMUM_AGE);
        // An object whose only reference was in a register during one scan is seen by the next.
        let start = Instant::now();
        for _ in 0..2 {
            std::fs::write(FILE, "scan").context("asking kmemleak to scan")?;
        }
        let found = std::fs::read_to_string(FILE).context("reading kmemleak's report")?;
        crate::kmsg::say(&format!(
            "callgate: scanned for leaks in {:?}",
            start.elapsed()
        ));

        let mut none = true;
        for object in found.split("unreferenced object").skip(1) {
            none = false;
            report.send(&Message::Leak {
                during: self.process_of(object),
                report: format!("unreferenced object{}", object.trim_end()),
            })?;
        }
        Ok(none)
    }

    fn process_of(&self, object: &str) -> String {
        let pid = object
            .split_once(", pid ")
            .and_then(|(_, rest)| rest.split(',').next()?.parse::<u32>().ok());
        let owner =
            pid.and_then(|pid| self.processes.iter().rev().find(|(first, _)| *first <= pid));
        owner.map_or_else(
            || "loading or unloading a module".into(),
            |(_, what)| what.clone(),
        )
    }
}
