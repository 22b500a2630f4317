// SPDX-License-Identifier: MIT OR Apache-2.0

//! The settings of the module from user space, as sysctl(8) shows and sets them.

// new: begin
use std::fmt::Display;

use anyhow::bail;
use callgate::Errno;
use callgate::crossing;
use callgate::sysctl::{self, Setting};

use super::abi;

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    // new: end
    howto()?;
    // new: begin
    settings()
}

// new: end
/// The HOWTO's two numbers, from 10 to 20.
fn howto() -> anyhow::Result<()> {
    for name in sysctl::list("net.test")? {
        show(&Setting::named(&name.to_string())?)?;
    }
    let value1 = Setting::named("net.test.value1")?;
    set(&value1, 15)?;
    show(&value1)?;

    let too_much = abi::MAX + 1;
    match set(&value1, too_much) {
        Ok(()) => bail!("{} took {too_much}", value1.name()),
        Err(error) if error.errno() == Some(Errno::INVAL) => println!("{error}"),
        Err(error) => return Err(error.into()),
    }
    show(&value1)
}

// new: begin
/// Several numbers in a row, text, and one of a few words.
fn settings() -> anyhow::Result<()> {
    for (name, value) in [
        ("dev.callgate.ints", "1 2 3 4"),
        ("dev.callgate.string", "good morning"),
        ("dev.callgate.mode", "auto"),
    ] {
        let setting = Setting::named(name)?;
        set(&setting, value)?;
        show(&setting)?;
    }
    show(&Setting::named("dev.callgate.changes")?)
}

/// Prints a setting as sysctl(8) does, and says so in the trace.
fn show(setting: &Setting) -> anyhow::Result<()> {
    let text = setting.text()?;
    crossing::from_kernel(&format!("read(2) {}", setting.path().display()), &text);
    println!("{} = {text}", setting.name());
    Ok(())
}

/// Writes a setting, and says so in the trace.
fn set(setting: &Setting, value: impl Display) -> Result<(), sysctl::Error> {
    let what = format!("write(2) {}", setting.path().display());
    crossing::to_kernel(&what, value.to_string());
    setting.set(value)
}
// new: end
