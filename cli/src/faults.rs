// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate plant`: one boot with one thing done wrong on purpose.

use crate::{Usage, prepared, show};
use anyhow::Result;
use guest::{Fault, Plan};
use lab::Lab;
use lab::doctor::Needs;
use lab::kernel::Flavour;
use lab::project::Project;
use lab::run::Limits;
use lab::verdict::Outcome;
use std::time::Duration;

/// A fault has less time than a test: some of them never end by themselves. But the debug kernel is
/// silent for a while as it boots, the longer the busier the host is.
fn limits(flavour: Flavour) -> Limits {
    let silence = match flavour {
        Flavour::Debug => Duration::from_mins(1),
        Flavour::Release | Flavour::Distro => Duration::from_secs(15),
    };
    Limits {
        silence,
        total: Duration::from_mins(5),
    }
}

/// Plants the fault of this name.
pub fn run(lab: &Lab, project: &Project, name: &str, flavour: Flavour) -> Result<Outcome> {
    if name == "list" {
        for fault in Fault::ALL {
            let debug = if fault.needs_debug_kernel() {
                " debug"
            } else {
                ""
            };
            println!("{}{debug}", spelt(fault));
        }
        return Ok(Outcome::Passed);
    }
    let fault = Fault::ALL.into_iter().find(|&fault| spelt(fault) == name);
    let fault = fault.ok_or_else(|| {
        Usage(format!(
            "there is no fault `{name}`; `plant list` lists them"
        ))
    })?;
    if fault.needs_debug_kernel() && flavour != Flavour::Debug {
        let why = "only the debug kernel notices that: add --kernel debug";
        return Err(Usage(format!("{name}: {why}")).into());
    }
    if fault.kind().is_some() && flavour == Flavour::Distro {
        let why = "its module cannot be built against the distribution's tree: see Kbuild";
        return Err(Usage(format!("{name}: {why}")).into());
    }
    let prepared = prepared(lab, project, Needs::BUILD_AND_RUN, &[flavour])?;
    let boot = prepared.boot(flavour, &Plan::Fault(fault), limits(flavour), |_| ())?;
    show::complaints(&boot);
    Ok(boot.outcome)
}

/// The name of a fault as one types it.
fn spelt(fault: Fault) -> String {
    serde_json::to_value(fault)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}
