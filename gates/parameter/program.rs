// SPDX-License-Identifier: MIT OR Apache-2.0

//! A module's parameters from user space: read, set, and refused.

// new: begin
use std::fmt::Display;

use anyhow::ensure;
use callgate::parameter::{Error, Flag, List, Parameters};
use callgate::{Errno, crossing};

use super::abi::Limits;

const MODULE: &str = "callgate_parameter";

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    let parameters = Parameters::of(MODULE)?;
    println!("its parameters: {}", parameters.names()?.join(" "));

    let value: i32 = get(&parameters, "value")?;
    println!("value is {value}");
    set(&parameters, "value", 42)?;
    let value: i32 = get(&parameters, "value")?;
    println!("value is {value}");

    // The module is told, and may refuse. Then the old value stays.
    set(&parameters, "limits", "0..100")?;
    let limits: Limits = get(&parameters, "limits")?;
    println!("value may be {limits}");
    let refused = set(&parameters, "value", 101).map_err(|error| error.errno());
    ensure!(refused == Err(Some(Errno::RANGE)), "value was set beyond its limits: {refused:?}");
    let value: i32 = get(&parameters, "value")?;
    println!("101 is refused, and value is {value}");

    set(&parameters, "flag", Flag(true))?;
    set(&parameters, "charp", "hello world")?;
    set(&parameters, "list", List(vec![4, 5, 6, 7]))?;
    let list: List<i32> = get(&parameters, "list")?;
    println!("list has {} numbers", list.0.len());
    Ok(())
}

/// Sets a parameter, and says so in the trace.
fn set(parameters: &Parameters, name: &str, value: impl Display) -> Result<(), Error> {
    crossing::to_kernel(&format!("write(2) {name}"), value.to_string());
    parameters.set(name, value)
}

/// Reads a parameter, and says so in the trace.
fn get<T: std::str::FromStr + Display>(parameters: &Parameters, name: &str) -> Result<T, Error> {
    let value: T = parameters.get(name)?;
    crossing::from_kernel(&format!("read(2) {name}"), value.to_string());
    Ok(value)
}
// new: end
