// SPDX-License-Identifier: MIT OR Apache-2.0

//! `gate NAME` runs the user program of one gate, and `gate NAME ADDRESS` what it does on another machine
//! than the one at that address, if it does anything there. Called by one of the names that the module of the
//! upcall gate uses, it is what that module starts.

#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(code) = gates::upcall::program::called(&arguments) {
        return code;
    }
    let Some(name) = arguments.get(1) else {
        eprintln!("usage: gate NAME [ADDRESS]");
        return ExitCode::from(2);
    };
    match gates::run(name) {
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
