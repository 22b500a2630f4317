// SPDX-License-Identifier: MIT OR Apache-2.0

//! Completions and manual pages, made of the command's own definitions.

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::{Generator as _, Shell};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::Write as _;
use std::path::Path;

/// Prints a script that makes a shell complete the command's arguments.
pub fn completions(command: &Command, shell: Shell) -> Result<()> {
    // The generators would offer what is hidden.
    let mut shown = Command::new("callgate")
        .bin_name("callgate")
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments().cloned())
        .subcommands(subcommands(command));
    shown.build();
    let mut script = Vec::new();
    shell.try_generate(&shown, &mut script)?;
    std::io::stdout().write_all(&script)?;
    Ok(())
}

/// Writes `callgate.1`, and a page for each subcommand.
pub fn manual(command: Command, directory: &Path) -> Result<()> {
    let long = command.get_long_about().map(ToString::to_string);
    let (about, statuses) = long
        .as_deref()
        .and_then(|long| long.split_once("\n\nExit status: "))
        .context("the long help has no exit statuses")?;
    let mut command = command
        .long_about(about.to_owned())
        .disable_help_subcommand(true);
    command.build();
    for page in [command.clone()].into_iter().chain(subcommands(&command)) {
        let page = Man::new(page)
            // None: but were it empty, what follows would take its place.
            .date(" ")
            .source(concat!("callgate ", env!("CARGO_PKG_VERSION")))
            .manual("callgate");
        let mut text = Vec::new();
        page.render(&mut text)?;
        exit_status(statuses).to_writer(&mut text)?;
        let file = directory.join(page.get_filename());
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Those that are not hidden.
fn subcommands(command: &Command) -> impl Iterator<Item = Command> {
    let all = command.get_subcommands();
    all.filter(|subcommand| !subcommand.is_hide_set()).cloned()
}

/// The section of a page that lists what the long help has in a sentence: `0 good, 1 bad.`
fn exit_status(sentence: &str) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXIT STATUS"]);
    for status in sentence.trim_end_matches('.').split(", ") {
        let (number, meaning) = status.split_once(' ').unwrap_or((status, ""));
        section.control("TP", []);
        section.text([bold(number)]);
        section.text([roman(meaning)]);
    }
    section
}
