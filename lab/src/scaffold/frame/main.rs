// SPDX-License-Identifier: MIT OR Apache-2.0

//! `{{ name }} [PART…]`: the user side of each part, or of these.

#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
{%- for part in parts if part.called %}
    if let Some(code) = {{ name }}::{{ part.gate }}::program::called(&arguments) {
        return code;
    }
{%- endfor %}
    let named = arguments.get(1..).unwrap_or_default();
    let parts = match {{ name }}::chosen(named) {
        Ok(parts) => parts,
        Err(why) => {
            eprintln!("{{ name }}: {why}");
            return ExitCode::from(2);
        }
    };
    for (name, program) in parts {
        if let Err(error) = program() {
            eprintln!("{name}: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
