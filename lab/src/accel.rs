// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the VM's CPUs are run: by the host's CPU (KVM), or by emulation (TCG).
//!
//! That `/dev/kvm` can be opened says little: on some hosts it is there and no guest ever starts.
//! So KVM is used only after a probe boot under it has reached PID 1.

use crate::Lab;
use crate::cache::Cache;
use crate::command::step;
use crate::initramfs::Initramfs;
use crate::verdict::{End, Judge, Outcome};
use crate::vm::{self, Cpus, Machine};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// How long a probe boot may take; under a working KVM it takes less than a second.
const PROBE: Duration = Duration::from_secs(10);

/// How the CPUs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// By the host's CPU.
    Kvm,
    /// By emulation.
    Tcg,
}

impl Accel {
    /// QEMU's arguments for it.
    ///
    /// Without 5-level paging: while the kernel identifies the boot CPU it has cleared its notes of
    /// the CPU's features, KASAN asks them how many levels there are, and an interrupt just then is
    /// reported as a wild access.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Accel::Kvm => &["-accel", "kvm", "-cpu", "host,la57=off"],
            Accel::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"],
        }
    }
}

/// What was chosen, and why.
#[derive(Clone, Debug)]
pub struct Choice {
    /// How the CPUs are run.
    pub accel: Accel,
    /// Why so, and what it means for timings.
    pub why: String,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.accel {
            Accel::Kvm => write!(f, "KVM: {}", self.why),
            Accel::Tcg => write!(f, "emulated (TCG): {}; timings mean little", self.why),
        }
    }
}

/// What a probe found, kept until something it depends on changes.
#[derive(Serialize, Deserialize)]
struct Probed {
    host: String,
    works: bool,
}

/// Chooses, by a probe boot of this kernel if need be.
pub fn choose(lab: &Lab, image: &Path, init: &Path) -> Result<Choice> {
    if let Some(accel) = lab.accel {
        return Ok(Choice {
            accel,
            why: "as --accel says".into(),
        });
    }
    let tcg = |why: &str| {
        Ok(Choice {
            accel: Accel::Tcg,
            why: why.into(),
        })
    };
    match std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
    {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return tcg("there is no /dev/kvm");
        }
        Err(error) => return tcg(&format!("/dev/kvm cannot be opened ({error})")),
    }
    let works = if let Some(works) = recall(&lab.cache) {
        works
    } else {
        let _step = step("trying a boot under KVM (at most 10 s, once)");
        let works = probe(image, init)?;
        remember(&lab.cache, works)?;
        works
    };
    if works {
        Ok(Choice {
            accel: Accel::Kvm,
            why: "a probe boot succeeded".into(),
        })
    } else {
        tcg("/dev/kvm is there but a probe boot did not start")
    }
}

fn probe(image: &Path, init: &Path) -> Result<bool> {
    let plan = serde_json::to_vec(&guest::Plan::Probe)?;
    let machine = Machine {
        image: image.into(),
        initramfs: Initramfs::default()
            .executable("/init", init)
            .bytes(guest::PLAN, plan),
        cpus: Cpus::Two(Accel::Kvm),
        interactive: false,
        host_root: false,
        // Where KVM does not work, QEMU dies of it noisily.
        quiet: true,
        silence: PROBE,
        limit: PROBE,
    };
    let ended = vm::run(&[machine], |_| ())?;
    let passed = |(judge, end): &(Judge, End)| judge.outcome(end) == Outcome::Passed;
    Ok(ended.iter().all(passed))
}

/// The host as far as KVM depends on it.
fn host() -> String {
    let uname = rustix::system::uname();
    format!(
        "{} {}",
        uname.release().to_string_lossy(),
        uname.version().to_string_lossy()
    )
}

fn recall(cache: &Cache) -> Option<bool> {
    let text = std::fs::read(cache.path("kvm.json")).ok()?;
    let probed: Probed = serde_json::from_slice(&text).ok()?;
    (probed.host == host()).then_some(probed.works)
}

fn remember(cache: &Cache, works: bool) -> Result<()> {
    let text = serde_json::to_vec(&Probed {
        host: host(),
        works,
    })?;
    std::fs::write(cache.path("kvm.json"), text).context("remembering whether KVM works")
}
