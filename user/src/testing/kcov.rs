// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which code of a driver a call reaches, on a kernel with KCOV whose drivers were built to tell.
//!
//! Only what the kernel does for the thread itself counts: nothing that its own threads or interrupts do later.
//!
//! # References
//!  - [Linux](https://docs.kernel.org/dev-tools/kcov.html)

#![expect(unsafe_code, reason = "ioctl(2) with arguments that are numbers")]

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{Errno, Result};

use crate::chardev::Device;
use crate::ioctl::sealed::Target;
use crate::mmap::{self, Mapping};

/// Where a thread asks for it.
const PATH: &str = "/sys/kernel/debug/kcov";

/// `_IOR('c', 1, unsigned long)`: makes room for so many words.
const INIT_TRACE: u32 = 0x8008_6301;
/// `_IO('c', 100)`: traces the calling thread from now on.
const ENABLE: u32 = 0x0000_6364;
/// For [`ENABLE`]: each place that is reached.
const TRACE_PC: usize = 0;

/// How many places there is room for. What a call reaches beyond is lost.
const WORDS: usize = 1 << 14;

/// What the calling thread reaches, until the thread ends.
#[derive(Debug)]
pub struct Coverage {
    memory: Mapping,
    _file: Device,
}

impl Coverage {
    /// Begins. `None` on a kernel without KCOV.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the thread is traced already; what open(2), ioctl(2) and mmap(2) fail with.
    pub fn new() -> Result<Option<Self>> {
        let file = match Device::options().read(true).write(true).open(PATH) {
            Ok(file) => file,
            Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.errno().unwrap_or(Errno::IO)),
        };
        let control = |number, value| {
            // SAFETY: KCOV takes these arguments as numbers, and writes to no address.
            unsafe { file.issue_at(number, value) }
        };
        control(INIT_TRACE, WORDS)?;
        let memory = mmap::options().map(&file, WORDS * size_of::<u64>());
        let memory = memory.map_err(|error| error.errno().unwrap_or(Errno::IO))?;
        control(ENABLE, TRACE_PC)?;
        Ok(Some(Self {
            memory,
            _file: file,
        }))
    }

    /// Forgets what was reached until now.
    pub fn forget(&self) {
        self.memory.words()[0].store(0, Ordering::Relaxed);
    }

    /// What was reached since: addresses in the kernel, in the order of time, each as often as it was reached.
    pub fn reached(&self) -> impl Iterator<Item = u64> {
        let [count, places @ ..] = self.memory.words() else {
            unreachable!("there is room for more than one");
        };
        let count = usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let load = |place: &AtomicU64| place.load(Ordering::Relaxed);
        places.iter().take(count).map(load)
    }
}
