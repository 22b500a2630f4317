// SPDX-License-Identifier: MIT OR Apache-2.0

//! `gate NAME` runs the user program of one gate, and `gate NAME ADDRESS` what it does on another machine
//! than the one at that address, if it does anything there. `gate bench NAME` counts what the gate's operations
//! cost, and `gate time NAME…` takes their times. `gate attack NAME …` attacks it, and `gate replay NAME PROGRAM` does so
//! by a program that an attack told of. Called by one of the names that the module of the upcall gate uses, it is what
//! that module starts.

#![deny(unsafe_code)]

use std::process::ExitCode;

use gates::{attack, bench};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(code) = gates::upcall::program::called(&arguments) {
        return code;
    }
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let (name, result) = match words[..] {
        ["attack", name, module, parameters, seconds, seed] => {
            let attacked = attack::run(name, module, parameters, seconds, seed);
            (name, Some(attacked))
        }
        ["replay", name, program] => (name, Some(attack::replay(name, program))),
        ["bench", name] => (name, Some(bench::count(name))),
        [bench::UPCALL, _] => ("upcall", Some(bench::called())),
        ["step", name, index] => (name, Some(bench::stepped(name, index))),
        ["time", ref names @ ..] => ("time", Some(bench::time::run(names))),
        ["clients", name] => (name, Some(bench::time::clients(name))),
        ["streams", name] => (name, Some(bench::bulk::streams::run())),
        [name, ..] => (name, gates::run(name)),
        [] => {
            eprintln!("usage: gate [bench|time] NAME [ADDRESS]");
            return ExitCode::from(2);
        }
    };
    match result {
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
