// SPDX-License-Identifier: MIT OR Apache-2.0

//! The other process in tests that need one: a run that holds something until it is killed.
//!
//! `another_run cache DIR` holds a lock and a scratch directory of the cache at `DIR`;
//! `another_run command` runs a command that takes long.

use std::time::Duration;

use lab::cache::Cache;
use lab::command::{Cmd, Interrupted};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cache", root] => {
            let cache = Cache::open_at(root).unwrap();
            let _lock = cache.lock("kernel").unwrap();
            let scratch = cache.scratch("kernel").unwrap();
            std::fs::write(scratch.path().join("half"), "made").unwrap();
            println!("ready");
            std::thread::sleep(Duration::from_mins(1));
        }
        ["command"] => {
            let result = Cmd::new("sh")
                .args(["-c", "sleep 101 & echo $$ $!; wait"])
                .on_line(|line| println!("pids {line}"))
                .run();
            println!("interrupted {}", result.unwrap_err().is::<Interrupted>());
        }
        _ => std::process::exit(2),
    }
}
