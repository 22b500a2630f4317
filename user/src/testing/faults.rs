// SPDX-License-Identifier: MIT OR Apache-2.0

//! Making a call fail wherever the kernel may run out of memory in it, one place after the other.
//!
//! A debug kernel can be told to let the n-th place fail that one thread comes by from now on: an
//! allocation of memory, or a copy from or to user memory. Its
//! [documentation](https://docs.kernel.org/fault-injection/fault-injection.html) calls it systematic
//! faults.
//!
//! Only what this thread does counts. A call should do little in user space: a page of memory that it
//! touches for the first time is an allocation too.

use std::fs;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::chardev::Device;

/// Where a thread tells its n.
const NTH: &str = "/proc/thread-self/fail-nth";

/// What can fail, and what it has to be told: not to say so in the log, and that it may also where the
/// caller could wait for memory.
const SETTINGS: [(&str, &str); 5] = [
    ("failslab/verbose", "0"),
    ("failslab/ignore-gfp-wait", "N"),
    ("fail_page_alloc/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_usercopy/verbose", "0"),
];

/// A number that no call has so many places.
const FAR: usize = 1 << 30;

/// How often a call is made to learn how many places it has.
const TRIALS: usize = 3;

/// Calls `call` over and over, and lets the first place fail in it, then the second, and so on, until
/// it has come to its end without. `judge` gets what it returned each time, when all works again.
/// Returns how many places there are; `None`, without any call, on a kernel that cannot do this.
///
/// # Panics
///
/// If the kernel can do this and is not to be told so: without root, or with debugfs elsewhere than in
/// `/sys/kernel/debug`.
pub fn at_each_place<T>(
    mut call: impl FnMut() -> T,
    mut judge: impl FnMut(usize, T),
) -> Option<usize> {
    let faults = Faults::new()?;
    for n in 1.. {
        let (result, passed) = faults.at(n, &mut call);
        judge(n, result);
        if passed < n {
            println!("{passed} places where it can fail");
            return Some(passed);
        }
    }
    None
}

/// As [`at_each_place`], but only at the last `count` places. What comes before is the kernel's own
/// affair, as when a module is loaded, whose `init` comes last.
///
/// # Panics
///
/// As [`at_each_place`].
pub fn at_last_places<T>(
    count: usize,
    mut call: impl FnMut() -> T,
    mut judge: impl FnMut(usize, T),
) -> Option<usize> {
    let faults = Faults::new()?;
    // A busy kernel comes by some more of them now and then, as when a cache is empty.
    let mut places = FAR;
    for _ in 0..TRIALS {
        let (result, passed) = faults.at(FAR, &mut call);
        judge(0, result);
        places = places.min(passed);
    }
    for n in places.saturating_sub(count) + 1..=places {
        let (result, _) = faults.at(n, &mut call);
        judge(n, result);
    }
    println!("the last {count} of {places} places where it can fail");
    Some(places)
}

/// This thread's n.
struct Faults(Device);

impl Faults {
    fn new() -> Option<Self> {
        if !Path::new(NTH).exists() {
            println!("this kernel injects no faults");
            return None;
        }
        for (setting, value) in SETTINGS {
            let path = Path::new("/sys/kernel/debug").join(setting);
            fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let nth = rustix::fs::open(NTH, flags, Mode::empty()).expect("root may inject faults");
        Some(Self(nth.into()))
    }

    /// Lets the `n`-th place fail in `call`. Returns how many places it came by, up to `n`.
    fn at<T>(&self, n: usize, call: impl FnOnce() -> T) -> (T, usize) {
        let written = self.0.pwrite(n.to_string().as_bytes(), 0);
        assert!(written.is_ok(), "{written:?}");
        let result = call();
        // Should the fault still be to come, it may come in the first of these calls.
        let mut left = [0; 16];
        let len = self.0.pread(&mut left, 0).unwrap_or(0);
        while self.0.pwrite(b"0", 0).is_err() {}
        let left = String::from_utf8_lossy(&left[..len]);
        let left = left.trim().parse().unwrap_or(1);
        (result, n - left)
    }
}
