// SPDX-License-Identifier: MIT OR Apache-2.0

//! A module that goes and comes back while it is being used.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::module;

/// The variable that says how often a test unloads its module.
pub const CYCLES: &str = "CALLGATE_CYCLES";

/// How often a test unloads its module, in each of the situations that it does so in: as often as
/// [`CYCLES`] says, or 10 times.
///
/// # Panics
///
/// If [`CYCLES`] is no number.
pub fn cycles() -> usize {
    env::var(CYCLES).map_or(10, |cycles| cycles.parse().expect("a number"))
}

/// What one use of the module came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The module answered.
    Reached,
    /// It was not there, or went meanwhile.
    Missed,
}

/// What came of many unloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cycles {
    /// How often the module was unloaded, and loaded again.
    pub unloaded: usize,
    /// How often the kernel refused to unload it because it was in use.
    pub refused: usize,
    /// How many uses reached the module.
    pub reached: usize,
    /// How many did not.
    pub missed: usize,
}

/// Unloads the module `name` and loads it again from `file`, [`cycles`] times, while each of `users` is
/// called over and over, by a thread of its own. In the end it is loaded. It is never unloaded before a use
/// has reached it.
///
/// A user that keeps the module in use for good makes this fail; one that does so for moments makes the
/// kernel refuse, and then it is tried again.
///
/// # Panics
///
/// If a cycle takes longer than `limit`, as it does when no use reaches the module; if the kernel refuses
/// for another reason than use; or if a user panics.
pub fn while_used(
    name: &str,
    file: &str,
    limit: Duration,
    users: &[&(dyn Fn() -> Use + Sync)],
) -> Cycles {
    let cycles = cycles();
    // Anew, so that it has nothing left of what other tests did to it.
    unload_within(name, limit);
    module::load(file, "").unwrap_or_else(|error| panic!("{error}"));
    let done = AtomicBool::new(false);
    let (reached, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut refused = 0;
    thread::scope(|scope| {
        // Also when this panics, or the scope would wait for the threads for ever.
        let _done = SetOnDrop(&done);
        for user in users {
            scope.spawn(|| {
                let _done = SetOnDrop(&done);
                while !done.load(Ordering::Relaxed) {
                    let count = match user() {
                        Use::Reached => &reached,
                        Use::Missed => &missed,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for cycle in 0..cycles {
            assert!(!done.load(Ordering::Relaxed), "a user gave up");
            let end = Instant::now() + limit;
            let before = reached.load(Ordering::Relaxed);
            while !users.is_empty() && reached.load(Ordering::Relaxed) == before {
                assert!(
                    !done.load(Ordering::Relaxed) && Instant::now() < end,
                    "cycle {cycle}: nobody reached {name}"
                );
                thread::sleep(Duration::from_millis(1));
            }
            refused += unload_within(name, limit);
            module::load(file, "").unwrap_or_else(|error| panic!("cycle {cycle}: {error}"));
            assert!(
                Instant::now() < end,
                "cycle {cycle} took longer than {limit:?}"
            );
        }
    });
    let result = Cycles {
        unloaded: cycles,
        refused,
        reached: reached.into_inner(),
        missed: missed.into_inner(),
    };
    println!("{result:?}");
    result
}

/// Unloads the module, and returns how often the kernel refused because it was in use.
fn unload_within(name: &str, limit: Duration) -> usize {
    let end = Instant::now() + limit;
    let mut refused = 0;
    loop {
        match module::unload(name) {
            Ok(()) => return refused,
            Err(error) if error.errno() == Some(Errno::AGAIN) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < end, "{name} is always in use");
        thread::yield_now();
    }
}

/// A module is not loaded while this lives.
#[derive(Debug)]
#[must_use = "the module is loaded again when this is dropped"]
pub struct Away<'a> {
    file: &'a str,
}

impl<'a> Away<'a> {
    /// Unloads the module `name`. When this is dropped, it is loaded again from `file`.
    ///
    /// # Panics
    ///
    /// If it cannot be unloaded, or, when this is dropped, loaded.
    pub fn new(name: &str, file: &'a str) -> Self {
        module::unload(name).unwrap_or_else(|error| panic!("{error}"));
        Self { file }
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        module::load(self.file, "").unwrap_or_else(|error| panic!("{error}"));
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
