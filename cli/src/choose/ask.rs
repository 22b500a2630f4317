// SPDX-License-Identifier: MIT OR Apache-2.0

//! The questions, one by one, for whoever has said nothing.

use super::{Wishes, bytes, per_second};
use crate::Usage;
use crate::facts::{Direction, What};
use crate::show::DIM;
use anyhow::Result;
use clap::ValueEnum;
use dialoguer::theme::ColorfulTheme;
use dialoguer::{Confirm, Input, Select};
use lab::command::Interrupted;
use std::io::{ErrorKind, IsTerminal as _};

/// Asks on the terminal.
pub fn wishes() -> Result<Wishes> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let why = "say what you need, such as `callgate choose --what event --rate 1000 --notify`; \
                   there is no terminal to ask at";
        return Err(Usage(why.into()).into());
    }
    let wishes = asked().map_err(|dialoguer::Error::IO(error)| match error.kind() {
        ErrorKind::Interrupted => Interrupted.into(),
        _ => anyhow::Error::from(error),
    })?;
    let arguments = wishes.arguments();
    anstream::eprintln!("{DIM}the same without questions: callgate choose{arguments}{DIM:#}\n");
    Ok(wishes)
}

fn asked() -> dialoguer::Result<Wishes> {
    let what = one_of::<What>("What crosses the boundary?")?;
    let direction = one_of::<Direction>("Which way?")?;
    let size = number(
        "How many bytes are in a message? (64, 4K; nothing if you do not know)",
        bytes,
    )?;
    let rate = number(
        "How many messages a second? (100, 1M; nothing if you do not know)",
        per_second,
    )?;
    let notify = direction != Some(Direction::ToKernel)
        && yes("Must the program be told when there is something for it?")?;
    let scriptable = yes("Must a script be able to use it, by cat and echo?")?;
    let unprivileged = yes("Must a program without privileges be able to use it?")?;
    Ok(Wishes {
        what,
        direction,
        size,
        rate,
        notify,
        scriptable,
        unprivileged,
    })
}

/// One of the values, or none of them.
fn one_of<T: ValueEnum>(question: &str) -> dialoguer::Result<Option<T>> {
    let help = |value: &T| {
        let value = value.to_possible_value()?;
        Some(value.get_help()?.to_string())
    };
    let values = T::value_variants();
    let mut items: Vec<_> = values
        .iter()
        .map(|value| help(value).unwrap_or_default())
        .collect();
    items.push("I do not know yet".into());
    let chosen = Select::with_theme(&ColorfulTheme::default())
        .with_prompt(question)
        .items(&items)
        .default(0)
        .interact()?;
    Ok(values.get(chosen).cloned())
}

/// A number, or none.
fn number(
    question: &str,
    parse: fn(&str) -> Result<u64, String>,
) -> dialoguer::Result<Option<u64>> {
    let text: String = Input::with_theme(&ColorfulTheme::default())
        .with_prompt(question)
        .allow_empty(true)
        .validate_with(|text: &String| match text.trim() {
            "" => Ok(()),
            number => parse(number).map(drop),
        })
        .interact_text()?;
    Ok(parse(text.trim()).ok())
}

fn yes(question: &str) -> dialoguer::Result<bool> {
    Confirm::with_theme(&ColorfulTheme::default())
        .with_prompt(question)
        .default(false)
        .interact()
}
