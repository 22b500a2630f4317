// SPDX-License-Identifier: MIT OR Apache-2.0

//! `gate NAME` runs the user program of one gate.

#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("usage: gate NAME");
        return ExitCode::from(2);
    };
    match gates::run(&name) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("gate: there is no gate called {name}");
            ExitCode::from(2)
        }
    }
}
