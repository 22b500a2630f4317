// SPDX-License-Identifier: MIT OR Apache-2.0

//! Loading and unloading modules, each time in a process of its own: should the kernel oops over it,
//! that process is killed, and not PID 1.

use crate::process;
use anyhow::{Context, Result, bail};
use std::process::Command;
use std::time::Duration;

/// How long loading or unloading may take.
const LIMIT: Duration = Duration::from_mins(1);

/// The argument that makes this binary load a module: then its path and its parameters.
const LOAD: &str = "load";
/// The argument that makes this binary unload a module: then its name.
const UNLOAD: &str = "unload";

/// Loads the module called `name` with these parameters.
pub fn load(name: &str, parameters: &str) -> Result<()> {
    load_from(guest::MODULES, name, parameters)
}

/// Loads the module called `name` that is in this directory.
pub fn load_from(directory: &str, name: &str, parameters: &str) -> Result<()> {
    in_a_process(&[LOAD, &format!("{directory}/{name}.ko"), parameters])
}

/// Unloads the module called `name`.
pub fn unload(name: &str) -> Result<()> {
    in_a_process(&[UNLOAD, name])
}

fn in_a_process(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(crate::SELF);
    command.args(arguments);
    match process::run_beside_others(command, None, LIMIT)?.failure() {
        None => Ok(()),
        Some(failure) => bail!("{}", failure.trim_end()),
    }
}

/// Does what the arguments of such a process say; `None` if they say nothing of modules.
pub fn carry_out(arguments: &[String]) -> Option<Result<()>> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [LOAD, path, parameters] => Some(
            callgate::module::load(path, parameters).with_context(|| format!("loading {path}")),
        ),
        [UNLOAD, name] => {
            Some(callgate::module::unload(name).with_context(|| format!("unloading {name}")))
        }
        _ => None,
    }
}
